"""How messages are written in Redis: what one process writes, each one reads."""

import string

from hypothesis import given
from hypothesis import strategies as st

from quart_sse.broker import Kind, Message
from quart_sse.broker.redis.payload import VERSION, Reader, write
from quart_sse.position import Id

NAMES = st.text(string.ascii_letters + string.digits + "_.-", min_size=1)
#: Anything that UTF-8 can carry.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@given(
    kind=st.sampled_from(Kind),
    name=NAMES,
    data=TEXTS,
    retry_ms=st.none() | st.integers(0, 10**9),
    origin=TEXTS,
)
def test_message_is_read_as_it_was_written(
    kind: Kind, name: str, data: str, retry_ms: int | None, origin: str
) -> None:
    """Whatever its parts hold, bars and signs of percent too, none runs into another."""
    message = Message(kind, Id(7, 1), "news", name, data, retry_ms, origin)
    text = f"{VERSION}|epoch|{kind.value}|7-1|{write(message)}"

    assert Reader().message("news", text.encode()) == (message, "epoch")
