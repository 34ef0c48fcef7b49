"""One message and its wire form: every case of the format, read back by parsers not ours."""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import pytest
from bs4 import BeautifulSoup
from bs4.element import Tag
from httpx import Response
from httpx_sse import EventSource
from hypothesis import given, settings
from hypothesis import strategies as st

from quart_sse.errors import EventError, FragmentError
from quart_sse.event import (
    PREAMBLE,
    Event,
    check_html,
    encode_body,
    encode_fragment,
    encode_id,
    encode_loader,
)
from quart_sse.naming import selector
from quart_sse.position import Id, Position

KEY = "notes.list?room=a%26b&user=7"

#: Everything that ``str.splitlines`` splits at and an event stream does not.
NO_LINE_ENDS = "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"


class Read(NamedTuple):
    """An event as a client has it (httpx-sse's own class knows no equality)."""

    data: str
    name: str = "message"
    last_id: str = ""
    retry_ms: int | None = None


def parse(*chunks: bytes) -> list[Read]:
    """Decode a stream, cut into chunks anywhere, as httpx-sse does with one from a socket."""
    headers = {"Content-Type": "text/event-stream; charset=utf-8"}
    source = EventSource(Response(200, headers=headers, content=iter(chunks)))
    return [Read(event.data, event.event, event.id, event.retry) for event in source.iter_sse()]


def partial_of(message: bytes) -> Tag:
    """Return the one element that an unnamed message consists of."""
    (event,) = parse(message)
    assert event.name == "message"
    (partial,) = BeautifulSoup(event.data, "html.parser").contents
    assert isinstance(partial, Tag)
    assert partial.name == "hx-partial"
    return partial


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
    wire = PREAMBLE + b"".join(event.encode() for event in events)
    ends = sorted({0, len(wire), *(cut for cut in cuts if cut < len(wire))})

    read = parse(*(wire[begin:end] for begin, end in pairwise(ends)))

    assert read == list(as_read(events))


def test_preamble_dispatches_nothing() -> None:
    """The first bytes of a stream are a comment, which takes nothing from what follows."""
    assert parse(PREAMBLE) == []
    assert parse(PREAMBLE, b"data: a\n\n") == [Read("a")]


def test_body_and_id_line_make_the_whole_message() -> None:
    """An id line before a body is the same as an event with that id."""
    position = Position("b3k9", Id(1795302000123, 4), Id(1795302000123, 4))

    joined = encode_id(position) + encode_body("a\nb", "x", 5)

    assert joined == b"id: b3k9.1795302000123-4\nretry: 5\nevent: x\ndata: a\ndata: b\n\n"
    assert joined == Event("a\nb", "x", str(position), 5).encode()


def test_fragment_is_an_unnamed_partial_over_its_elements() -> None:
    """A fragment goes out as one hx-partial that morphs every element of its key."""
    encoded = encode_fragment("comments.list?discussion_id=7", "<p>a</p>\n<p>b</p>")

    assert encoded == (
        b"data: <hx-partial hx-target=\"[data-sse='comments.list?discussion_id=7']\""
        b' hx-swap="innerMorph"><p>a</p>\ndata: <p>b</p></hx-partial>\n\n'
    )


def test_fragment_key_of_several_parameters_keeps_its_selector() -> None:
    """An & between parameters reaches the browser's selector as it is, and so does the HTML."""
    html = '<p title="&amp;copy">a &amp; b</p>'

    encoded = encode_fragment(KEY, html)

    assert b"?room=a%26b&amp;user=7'" in encoded
    partial = partial_of(encoded)
    assert partial["hx-target"] == selector(KEY)
    assert partial["hx-swap"] == "innerMorph"
    assert partial.decode_contents() == html


@pytest.mark.parametrize(
    "html",
    [
        "a</hx-partial>b",
        "<hx-partial>",
        "<HX-Partial hx-target='body'>",
        "</HX-PARTIAL\n>",
        "<p>\n<hx-partial/>",
        '<i title="</hx-partial>">x</i>',
        "<!-- </hx-partial> -->",
    ],
)
def test_fragment_with_a_partial_tag_stays_one_partial(html: str) -> None:
    """A tag that would end the partial, or begin another, is written as text: once."""
    encoded = encode_fragment(KEY, html)

    assert len(re.findall(rb"</?hx-partial", encoded, re.IGNORECASE)) == 2
    assert encoded.lower().count(b"hx-partial") > 2
    assert check_html(KEY, check_html(KEY, html)) == check_html(KEY, html)


def test_script_that_holds_a_partial_tag_is_named() -> None:
    """A script cannot write the tag in another way, so the fragment's key is named instead."""
    with pytest.raises(FragmentError, match=re.escape(repr(KEY))):
        encode_fragment(KEY, "<script>say('<hx-partial>')</script>")


@pytest.mark.parametrize("html", ["", "&lt;/hx-partial&gt;", "hx-partial", "<p>hx-partial</p>"])
def test_fragment_that_only_speaks_of_partials_is_sent(html: str) -> None:
    """Escaped tags and plain text are no partial tags."""
    partial = partial_of(encode_fragment(KEY, html))

    assert partial.decode_contents() == html


def test_fragment_of_a_lone_surrogate_raises() -> None:
    """HTML that is not valid Unicode raises before anything is sent."""
    with pytest.raises(EventError, match="UTF-8"):
        encode_fragment(KEY, "<p>\ud800</p>")


def test_loader_fetches_beside_what_is_shown() -> None:
    """A loader adds a hidden element that fetches the fragment later into the element around."""
    url = "/app/sse/~/mine/notes?t=a.b~c&x=\"'<"

    encoded = encode_loader(KEY, url, 250)

    assert encoded.count(b"?room=a%26b&amp;user=7") == 2
    partial = partial_of(encoded)
    assert (partial["hx-target"], partial["hx-swap"]) == (selector(KEY), "beforeend")
    (loader,) = partial.contents
    assert isinstance(loader, Tag)
    assert loader.attrs == {
        "hidden": "",
        "hx-get": url,
        "hx-trigger": "load delay:250ms",
        "hx-target": f"closest {selector(KEY)}",
        "hx-swap": "innerMorph",
    }
    assert loader.contents == []
