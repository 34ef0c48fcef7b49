"""Work that is done once: encodings and URLs are counted, not timed."""

from collections import Counter
from typing import Any

import pytest
from quart import Quart
from werkzeug.routing import MapAdapter

from quart_sse import SSE
from quart_sse.wire import event as event_module
from tests.support.streams import open_stream, until


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count what is encoded, and the URLs that are built and matched."""
    counts: Counter[str] = Counter()

    def count(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def counted(*args: Any, **options: Any) -> Any:
            counts[name] += 1
            return original(*args, **options)

        monkeypatch.setattr(owner, name, counted)

    count(event_module, "encode_body")
    count(event_module, "_utf8")
    count(MapAdapter, "build")
    count(MapAdapter, "match")
    return counts


async def test_event_is_encoded_once_for_each_form_that_is_heard(
    app: Quart, sse: SSE, counts: Counter[str]
) -> None:
    """Streams of several topics share one form, those of one topic the other; a third is none."""
    topic = sse.channel("news", "/news", public=True).topic()
    await topic.publish("said", {"text": "Gr\u00fc\u00dfe"})
    assert counts["encode_body"] == 0

    async with open_stream(app, "/sse/news") as one, open_stream(app, "/sse/news") as two:
        for stream in (one, two):
            await stream.next("sse-open")
        counts.clear()
        await topic.publish("said", "bare")
        for stream in (one, two):
            await stream.next("said")
        assert counts["encode_body"] == 1

        async with open_stream(app, "/sse?t=~news") as three:
            await three.next("sse-open")
            counts.clear()
            await topic.publish("said", "both")
            await three.next("news.said")
            await two.next("said")

    assert counts["encode_body"] == 2


async def test_replay_encodes_each_event_once(app: Quart, sse: SSE, counts: Counter[str]) -> None:
    """Ten events that are replayed are ten encodings of the form that is sent."""
    topic = sse.channel("news", "/news", public=True).topic()
    since = str(await sse.broker.position())
    for number in range(10):
        await topic.publish("said", number)
    counts.clear()

    async with open_stream(app, f"/sse/news?since={since}") as stream:
        for _ in range(10):
            await stream.next("said")

    assert counts["encode_body"] == 10


async def test_refresh_encodes_its_html_and_builds_its_url_once(
    app: Quart, sse: SSE, counts: Counter[str]
) -> None:
    """However many look on, one render makes one URL and one message."""
    rooms = sse.channel("rooms", "/rooms/<int:room>", public=True)
    rooms.fragment("list", debounce=0)(lambda room: "<b>Gr\u00fc\u00dfe</b>")
    topic = rooms.topic(room=7)

    async with open_stream(app, "/sse/rooms/7") as one, open_stream(app, "/sse/rooms/7") as two:
        for stream in (one, two):
            await stream.next("sse-open")
        hub = app.extensions["quart_sse"].hub
        await until(lambda: hub.receivers(topic.name) == 2)
        counts.clear()
        await topic.refresh("list")
        for stream in (one, two):
            assert "Gr\u00fc\u00dfe" in (await stream.next("message")).data

    assert counts["_utf8"] == 1
    assert counts["build"] == 1
    assert counts["match"] <= 1  # by the request in which it is rendered
