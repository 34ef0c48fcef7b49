"""What a source may send, and what becomes of it."""

import json
from typing import Any

import pytest

from quart_sse import Event, EventError
from quart_sse.broker import MemoryBroker
from quart_sse.publisher import MessagePublisher
from quart_sse.streams.items import Items
from tests.support.streams import Read, parse


def make(resumes: bool = False, most: int = 1 << 20) -> Items:
    """Return what encodes the items of a source."""
    return Items(MessagePublisher(MemoryBroker(), most, json.dumps), resumes)


@pytest.mark.parametrize(
    ("item", "read"),
    [
        (("progress", {"percent": 40}), Read('{"percent": 40}', "progress")),
        (("said", "a\nb"), Read("a\nb", "said")),
        (("nothing", None), Read("null", "nothing")),
        ("token", Read("token")),
        (Event("a", name="b", id="7", retry_ms=5), Read("a", "b", "7", 5)),
        (b"event: raw\ndata: 1\n\n", Read("1", "raw")),
        (b"event: raw\r\ndata: 1\r\n\r\n", Read("1", "raw")),
        (memoryview(b"data: 1\r\r"), Read("1")),
    ],
)
def test_item_is_a_message(item: Any, read: Read) -> None:
    """Each kind of item is what a client of the standard reads."""
    assert parse(make().encode(item)) == [read]


def test_text_that_reads_like_json_is_marked() -> None:
    """So a page's script is handed the text, as with ``publish``."""
    assert make().encode(("said", "42")) == b"event: said\ntype: text\ndata: 42\n\n"
    assert b"type:" not in make().encode(("said", 42))


@pytest.mark.parametrize(
    "item", [None, 5, ("a",), ("a", 1, 2), (1, 2), ["a", 1], {"a": 1}, object()]
)
def test_what_is_no_item_is_an_error(item: Any) -> None:
    """It names what came, and what may come."""
    with pytest.raises(TypeError, match=r"which is no item\. Send an Event, a pair"):
        make().encode(item)


@pytest.mark.parametrize(
    "item",
    [("sse-stop", 1), ("error", 1), ("a b", 1), ("a", object()), ("a", float("nan")), "\ud800"],
)
def test_what_cannot_be_sent_is_an_error(item: Any) -> None:
    """The rules of names and data are those of ``publish``."""
    with pytest.raises(EventError):
        make().encode(item)


def test_raw_bytes_may_be_cut_anywhere() -> None:
    """What another server sends goes out in whole messages: nothing comes between lines."""
    text = b"event: a\r\ndata: 1\r\n\r\ndata: 2\r\n\r\n:\r\n\r\n"
    items = make()

    parts = [items.encode(text[i : i + 1]) for i in range(len(text))]

    assert all(part == b"" or part.endswith(b"\n\n") for part in parts)
    assert parse(*parts) == [Read("1", "a"), Read("2")]
    items.check_whole()


def test_raw_bytes_that_end_nowhere_are_an_error() -> None:
    """Before another item, at the end of the source, and when they are too many."""
    items = make(most=2000)
    items.encode(b"data: 1\n")

    with pytest.raises(EventError, match="without the blank line that ends a message"):
        items.encode("token")
    with pytest.raises(EventError, match="without the blank line"):
        items.check_whole()
    with pytest.raises(EventError, match="QUART_SSE_PENDING_BYTES"):
        items.encode(b"x" * 2000)


def test_only_a_source_that_resumes_clears_the_id() -> None:
    """By its id a client is known that comes again."""
    assert make().encode(Event("a", id="")).startswith(b"id: started\n")
    assert make(resumes=True).encode(Event("a", id="")).startswith(b"id: \n")
