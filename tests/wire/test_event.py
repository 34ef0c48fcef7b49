"""One message and its wire form: every case of the format, read back by parsers not ours."""

import re
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quart_sse.errors import EventError
from quart_sse.wire.event import Event, encode_body, encode_id, encode_preamble
from quart_sse.wire.position import Id, Position
from tests.support.streams import Read, parse

#: Everything that ``str.splitlines`` splits at and an event stream does not.
NO_LINE_ENDS = "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"


@pytest.mark.parametrize(
    ("event", "wire"),
    [
        pytest.param(Event(), b"\n", id="nothing"),
        pytest.param(Event("hello"), b"data: hello\n\n", id="data"),
        pytest.param(Event(""), b"data: \n\n", id="empty data"),
        pytest.param(Event("a\nb"), b"data: a\ndata: b\n\n", id="LF"),
        pytest.param(Event("a\rb"), b"data: a\ndata: b\n\n", id="CR"),
        pytest.param(Event("a\r\nb"), b"data: a\ndata: b\n\n", id="CRLF"),
        pytest.param(Event("a\n\rb"), b"data: a\ndata: \ndata: b\n\n", id="LF CR are two"),
        pytest.param(Event("a\r\r\nb"), b"data: a\ndata: \ndata: b\n\n", id="CR CRLF are two"),
        pytest.param(Event("a\n\nb"), b"data: a\ndata: \ndata: b\n\n", id="empty line in data"),
        pytest.param(Event("a\n"), b"data: a\ndata: \n\n", id="line end at the end"),
        pytest.param(Event("\na"), b"data: \ndata: a\n\n", id="line end at the beginning"),
        pytest.param(
            Event(NO_LINE_ENDS), b"data: " + NO_LINE_ENDS.encode() + b"\n\n", id="no line ends"
        ),
        pytest.param(Event("  a "), b"data:   a \n\n", id="spaces in data"),
        pytest.param(Event(":a:"), b"data: :a:\n\n", id="colons in data"),
        pytest.param(Event("id: 5\nretry: 1"), b"data: id: 5\ndata: retry: 1\n\n", id="fields"),
        pytest.param(Event("a\0b"), b"data: a\0b\n\n", id="NUL in data"),
        pytest.param(Event("é€😀"), "data: é€😀\n\n".encode(), id="UTF-8"),
        pytest.param(Event("a", name="x"), b"event: x\ndata: a\n\n", id="name"),
        pytest.param(Event("a", name=" x:y"), b"event:  x:y\ndata: a\n\n", id="name kept as it is"),
        pytest.param(Event(name="x"), b"event: x\n\n", id="name without data"),
        pytest.param(Event(id="5"), b"id: 5\n\n", id="id"),
        pytest.param(Event(id=""), b"id: \n\n", id="empty id"),
        pytest.param(Event(id=" 5:é"), "id:  5:é\n\n".encode(), id="id kept as it is"),
        pytest.param(Event(retry_ms=0), b"retry: 0\n\n", id="retry 0"),
        pytest.param(Event(retry_ms=1500), b"retry: 1500\n\n", id="retry"),
        pytest.param(Event(comment="hi"), b": hi\n\n", id="comment"),
        pytest.param(Event(comment=""), b": \n\n", id="empty comment"),
        pytest.param(Event(comment="a\r\nb\rc"), b": a\n: b\n: c\n\n", id="comment of lines"),
        pytest.param(
            Event("a\nb", name="x", id="5", retry_ms=9, comment="c"),
            b": c\nid: 5\nretry: 9\nevent: x\ndata: a\ndata: b\n\n",
            id="all fields",
        ),
    ],
)
def test_event_is_encoded_as_the_format_wants(event: Event, wire: bytes) -> None:
    """Every field has its line, lines end at CRLF, CR and LF alone, and a blank line ends all."""
    encoded = event.encode()

    assert encoded == wire


@pytest.mark.parametrize("bad", ["\n", "\r", "\r\n", "a\nid: 6", "a\0", "\0"])
@pytest.mark.parametrize("field", ["id", "name"])
def test_field_that_would_end_its_line_raises(field: str, bad: str) -> None:
    """CR, LF and NUL in an id or a name are refused, and the message says where they are."""
    event = Event("data", id=bad) if field == "id" else Event("data", name=bad)

    with pytest.raises(EventError, match=rf"^The {field} .* contains CR, LF or NUL"):
        event.encode()


@pytest.mark.parametrize("retry_ms", [-1, True, False])
def test_retry_that_is_no_count_of_milliseconds_raises(retry_ms: int) -> None:
    """A negative or boolean retry is refused: a client would ignore it."""
    event = Event("data", retry_ms=retry_ms)

    with pytest.raises(EventError, match=f"retry_ms is {retry_ms}"):
        event.encode()


@pytest.mark.parametrize(
    "event",
    [Event("\ud800"), Event(name="\udfff"), Event(id="a\udc80"), Event(comment="\ud83d")],
    ids=["data", "name", "id", "comment"],
)
def test_lone_surrogate_raises(event: Event) -> None:
    """Text that is not valid Unicode raises an error that says how to repair it."""
    with pytest.raises(EventError, match=r"UTF-8 .*surrogates.*\.encode\('utf-8', 'replace'\)"):
        event.encode()


# What httpx-sse cannot represent is left out or written as it would be read: it gives "" both
# for no data and for empty data, and dispatches a block without data, which a browser does not
# (so every event here has data); it gives the last id to events that have none of their own; it
# drops comments; and no parser can tell by which line end the data was broken.
IN_FIELDS = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=20)
ANY_TEXT = st.text(max_size=40) | st.text(NO_LINE_ENDS + "\r\n: a\0", max_size=20)
EVENTS = st.builds(
    Event,
    data=ANY_TEXT,
    name=st.none() | IN_FIELDS,
    id=st.none() | IN_FIELDS,
    retry_ms=st.none() | st.integers(0, 10**9),
    comment=st.none() | ANY_TEXT,
)


def as_read(events: list[Event]) -> Iterator[Read]:
    """Yield what a client makes of events, by the text of the specification."""
    last_id = ""
    for event in events:
        last_id = last_id if event.id is None else event.id
        data = re.sub(r"\r\n|\r", "\n", event.data or "")
        yield Read(data, event.name or "message", last_id, event.retry_ms)


@settings(deadline=None)
@given(events=st.lists(EVENTS, max_size=5), cuts=st.lists(st.integers(0, 400), max_size=12))
def test_events_are_read_back_however_they_are_cut(events: list[Event], cuts: list[int]) -> None:
    """A stream gives the same events to a parser that is not ours, wherever chunks end."""
    wire = b":\n\n" + b"".join(event.encode() for event in events)
    ends = sorted({0, len(wire), *(cut for cut in cuts if cut < len(wire))})

    read = parse(*(wire[begin:end] for begin, end in pairwise(ends)))

    assert read == list(as_read(events))


def test_preamble_says_when_to_reconnect_and_dispatches_nothing() -> None:
    """The first bytes of a stream take nothing from what follows; they have no data."""
    assert encode_preamble(1500) == b"retry: 1500\n:\n\n"
    # httpx-sse hands on a block without data, which browsers and htmx do not.
    assert parse(encode_preamble(1500)) == [Read("", retry_ms=1500)]
    assert parse(encode_preamble(1500), b"data: a\n\n")[1:] == [Read("a")]


def test_body_and_id_line_make_the_whole_message() -> None:
    """An id line before a body is the same as an event with that id."""
    position = Position("b3k9", Id(1795302000123, 4), Id(1795302000123, 4))

    joined = encode_id(position) + encode_body("a\nb", "x", 5)

    assert joined == b"id: b3k9.1795302000123-4\nretry: 5\nevent: x\ndata: a\ndata: b\n\n"
    assert joined == Event("a\nb", name="x", id=str(position), retry_ms=5).encode()


def test_fields_of_the_protocol_are_read_by_no_other_client() -> None:
    """Fields that the standard does not have change nothing for others; empty ones are not sent."""
    encoded = encode_body("a", "x", 5, origin="o", key="notes.list?a=1&b=2", load="", token=" t")

    assert encoded == (
        b"retry: 5\nevent: x\norigin: o\nkey: notes.list?a=1&b=2\ntoken:  t\ndata: a\n\n"
    )
    assert parse(encoded) == parse(encode_body("a", "x", 5)) == [Read("a", "x", "", 5)]


@pytest.mark.parametrize("bad", ["\n", "\r", "\r\n", "a\ndata: b", "a\0"])
@pytest.mark.parametrize("field", ["origin", "key", "load", "token"])
def test_field_of_the_protocol_that_would_end_its_line_raises(field: str, bad: str) -> None:
    """What would begin another field is refused in these fields too, by their names."""
    with pytest.raises(EventError, match=rf"^The {field} .* contains CR, LF or NUL"):
        encode_body("data", None, None, **{field: bad})


def test_only_data_is_given_without_its_name() -> None:
    """``Event("price", "42")`` would be read as either, so it is an error."""
    with pytest.raises(TypeError, match="positional"):
        Event("price", "42")  # type: ignore[call-arg]
