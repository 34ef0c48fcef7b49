"""How messages are written in Redis: what one process writes, each one reads."""

import contextlib
import string

from hypothesis import example, given, settings
from hypothesis import strategies as st

from quart_sse.broker import Kind, Message
from quart_sse.broker.redis.payload import VERSION, Reader, write
from quart_sse.wire.position import LAST, Id

NAMES = st.text(string.ascii_letters + string.digits + "_.-", min_size=1)
#: Anything that UTF-8 can carry.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@given(
    kind=st.sampled_from(Kind),
    name=NAMES,
    data=TEXTS,
    retry_ms=st.none() | st.integers(0, 10**9),
    origin=TEXTS,
    trace=st.sampled_from(["", f"00-{'a' * 32}-{'b' * 16}-01"]),
)
def test_message_is_read_as_it_was_written(
    kind: Kind, name: str, data: str, retry_ms: int | None, origin: str, trace: str
) -> None:
    """Whatever its parts hold, bars and signs of percent too, none runs into another."""
    message = Message(kind, Id(7, 1), "news", name, data, retry_ms, origin, trace=trace)
    text = f"{VERSION}|epoch|{kind.value}|7-1|{write(message)}"

    assert Reader().message("news", text.encode()) == (message, "epoch")


# -- bytes of no release ---------------------------------------------------------------------------

#: What means something in a message, and what does not.
PIECES = [
    *(b"1", b"2", b"|", b"||", b"epoch", b"event", b"refresh", b"push", b"control", b"probe"),
    *(b"7-1", b"0-0", b"-1", b"x-1", b"9" * 5000, b";", b"where=", b"exclude=", b"other=", b"="),
    *(b"%", b"%7C", b"%ff", b"null", b"5", b"{}", b"[]", b'{"a":1}', b"%7B%22a%22%3A%5B%5D%7D"),
    *(
        b"NaN",
        b"1e999",
        b"[" * 9000,
        b"\xff",
        b"\0",
        b"\n",
        b";text",
        b";trace=",
        b";trace=00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01",
        "\u0663".encode(),
        b"said",
    ),
]
RAW = st.binary(max_size=20) | st.lists(st.sampled_from(PIECES), max_size=8).map(b"".join)
#: A message of ours, of which one part was changed.
NEARLY = st.tuples(
    *(
        st.just(each) | RAW
        for each in (b"1", b"epoch", b"event", b"7-1", b"said", b"", b"", b"data")
    )
).map(b"|".join)
BAD = settings(deadline=None, derandomize=True, database=None, max_examples=400)


@BAD
@given(topic=st.sampled_from(["news", ""]), text=RAW | NEARLY)
@example(topic="news", text=b"1|epoch|event|7-1|said|;where=5||data")
@example(topic="news", text=b"1|epoch|event|7-1|said|;where=" + b"[" * 200_000 + b"||data")
@example(topic="news", text=b"1|epoch|event|7-1|said|-5||data")
def test_message_is_read_or_is_none(topic: str, text: bytes) -> None:
    """Whatever comes over a channel, its listener has to expect one kind of error alone."""
    with contextlib.suppress(ValueError):
        read = Reader().message(topic, text)
        if read is not None:
            message, epoch = read
            assert message.topic == topic
            assert "|" not in epoch
            assert message.retry_ms is None or message.retry_ms >= 0


ENTRIES = st.lists(
    st.tuples(
        RAW | st.just(b"7-1"),
        st.lists(RAW | NEARLY, max_size=4)
        | (RAW | st.just(b"epoch|said|||data")).map(lambda text: [b"b", b"6-0", b"m", text]),
    ),
    max_size=4,
)


@BAD
@given(
    entries=ENTRIES,
    last=st.tuples(RAW | st.just(b"7-1"), RAW | st.just(b"7-1")),
    changes=st.lists(RAW | st.sampled_from([b"epoch|7-1", b"list", b""]), max_size=5),
)
@example(
    entries=[(b"7-1", [b"b", b"6-0", b"m", b"epoch|said|;where=" + b"[" * 200_000 + b"||x"])],
    last=(b"", b""),
    changes=[],
)
@example(entries=[], last=(b"", b""), changes=[b"list"])
def test_history_is_read_or_counts_as_lost(
    entries: list[tuple[bytes, list[bytes]]], last: tuple[bytes, bytes], changes: list[bytes]
) -> None:
    """A client of a history with an entry that cannot be read is reset; nothing is left out."""
    past, unread = Reader().past("news", "epoch", entries, *last, changes)

    if unread is None:
        assert all(event.topic == "news" for event in past.events)
    else:
        assert not past.events
        assert past.tip == past.unrecorded == LAST
