"""What an app declares, written and read."""

import json

import pytest

from quart_sse import ChannelRecord
from quart_sse.broker import Keep
from quart_sse.publisher.declared import Declared, read, write

ROOM = ChannelRecord(
    "room",
    "/room/<slug:id>",
    history=7,
    history_ttl=60.0,
    fragments=("list", "mine"),
    personal=("mine",),
    events=("said",),
    converters={"slug": None},
    types={"said": {"type": "string"}},
    on={"said": ("list", "mine")},
    refresh_on=("news.said", "user.saved"),
)
NEWS = ChannelRecord("news", "/news")
APP = Declared({"room": ROOM, "news": NEWS}, "/live", "/app", Keep(3, 9.0), 4096)


def test_what_was_written_is_read() -> None:
    """All of it, but classes of converters."""
    assert read([write(APP)]) == APP


def test_equal_declarations_are_equal_texts() -> None:
    """Processes of one release keep one text."""
    other = ChannelRecord("news", "/news", fragments={"b", "a"})
    again = ChannelRecord("news", "/news", fragments=["a", "b"])

    assert write(Declared({"news": other})) == write(Declared({"news": again}))


def test_union_takes_the_newer_where_two_differ() -> None:
    """In a deployment the channels of both releases are known."""
    older = Declared({"news": NEWS, "gone": ChannelRecord("gone", "/gone")}, max_bytes=1)
    newer = Declared({"news": ChannelRecord("news", "/all/news"), "room": ROOM}, max_bytes=2)
    union = read([write(older), write(newer)])

    assert union is not None
    assert {name: each.rule for name, each in union.channels.items()} == {
        "news": "/all/news",
        "gone": "/gone",
        "room": "/room/<slug:id>",
    }
    assert union.max_bytes == 2


def test_text_of_an_older_release_has_no_types_and_no_refreshes() -> None:
    """As while both are deployed; all else of it counts."""
    told = json.loads(write(APP))
    for channel in told["channels"]:
        for key in ("types", "on", "refresh_on"):
            del channel[key]
    older = read([json.dumps(told)])

    assert older is not None
    assert older.channels["room"].events == ROOM.events
    assert older.refreshed_by("news", "said") == []
    assert APP.refreshed_by("news", "said") == APP.refreshed_by("user", "saved") == ["room"]
    assert APP.refreshed_by("news", "sai") == []
    assert read([json.dumps(told), write(APP)]) == APP


@pytest.mark.parametrize("text", ["", "[]", "7", '{"channels": 7}', '{"channels": [{}]}'])
def test_text_of_another_release_is_skipped(text: str) -> None:
    """What is unknown in a text that can be read is left out."""
    told = json.loads(write(APP))
    told["colour"] = told["channels"][0]["colour"] = "red"

    assert read([text]) is None
    assert read([json.dumps(told), text]) == APP
