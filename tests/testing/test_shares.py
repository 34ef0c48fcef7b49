"""What the connect elements of a page ask for, by the URL of its stream."""

from urllib.parse import parse_qsl, urlsplit

import pytest

from quart_sse.testing.shares import Shares

ONE = "/sse?t=one&k=a&n=1&since=e.5-0"
OTHER = "/sse?t=two&k=b&n=1&since=e.7-0~e"
OPEN = {"secret": "s", "names": [["news", "everyone"], ["rooms?n=1"]]}


def query(shares: Shares) -> list[tuple[str, str]]:
    """Return the query of the next stream."""
    return parse_qsl(urlsplit(shares.url).query, keep_blank_values=True)


def test_url_is_as_the_script_writes_it() -> None:
    """A share for each key: its newest token, all positions, and a mark the first time."""
    shares = Shares([ONE, OTHER, "/sse?t=newer&k=a&n=1&since=e.6-0", "/elsewhere?t=x&k=c"])
    first, second = (share.mark for share in shares.open)

    assert shares.url.startswith("/sse?")
    assert query(shares) == [
        *(("t", "newer"), ("since", "e.5-0,e.6-0"), ("first", first)),
        *(("t", "two"), ("since", "e.7-0~e"), ("first", second)),
        ("replaces", ""),
    ]
    assert first.isalnum()
    assert len(first) <= 32

    assert shares.opened(OPEN) is None
    assert [value for name, value in query(shares) if name in ("first", "replaces")] == [
        "",
        "",
        "s",
    ]


@pytest.mark.parametrize(("more", "reason"), [({}, "refused"), ({"expired": [1]}, "expired")])
def test_share_without_names_is_asked_for_no_more(more: dict[str, object], reason: str) -> None:
    """The others go on; when none is left, the reason is that of the last."""
    shares = Shares([ONE, OTHER])

    assert shares.opened({"secret": "s", "names": [["news"], []], **more}) is None
    assert [share.key for share in shares.open] == ["a"]

    shares = Shares([ONE, OTHER])
    assert shares.opened({"secret": "s", "names": [[], []], **more}) == reason


def test_messages_are_taken_by_topic_and_order() -> None:
    """Those of topics that were granted, and events that are newer than the page."""
    shares = Shares([ONE, OTHER])
    shares.opened(OPEN)

    assert shares.takes({"event": "news.a", "id": "e.6-0", "data": ""})
    assert not shares.takes({"event": "news.a", "id": "e.6-0", "data": ""})
    assert not shares.takes({"event": "rooms.a?n=2", "id": "e.8-0", "data": ""})
    assert shares.takes({"event": "rooms.a?n=1", "id": "e.9-0", "data": ""})
    assert shares.takes({"key": "news.list", "id": "e.9-0", "data": ""})
    assert not shares.takes({"key": "other.list", "id": "e.9-0", "data": ""})
    assert shares.takes({"event": "sse-reset", "data": "[]"})
    assert not shares.takes({"event": "sse-open", "data": "{}"})
    assert [value for name, value in query(shares) if name == "since"] == ["e.9-0", "e.9-0"]


def test_initial_event_is_for_its_mark() -> None:
    """One for another page of the stream is not taken."""
    shares = Shares([ONE])
    shares.opened({"secret": "s", "names": [["news"]]})
    (share,) = shares.open

    assert shares.takes({"event": "news.hello", "for": f"other {share.mark}"})
    assert not shares.takes({"event": "news.hello", "for": "other"})


def test_new_token_and_masks_are_for_the_next_stream() -> None:
    """As the script keeps them."""
    shares = Shares([ONE, OTHER])
    shares.opened({**OPEN, "masks": ["", "@5"]})
    shares.takes({"id": "e.9-0"})
    assert [value for name, value in query(shares) if name == "since"] == ["e.9-0", "e.9-0@5"]

    shares.renew("other new e.8-0@1 0")

    assert query(shares)[:2] == [("t", "new"), ("since", "e.8-0@1")]
    shares.renew("a newest e.8-0@1 7")
    assert query(shares)[0] == ("t", "new")
