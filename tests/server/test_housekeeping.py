"""What is done regularly: heartbeats, and the ends of old and of stalled streams."""

import asyncio
import logging
from typing import Any

import pytest
from quart import Quart
from quart.testing import QuartClient, connections

from quart_sse.hub import changes
from quart_sse.hub.hub import Hub
from tests.support import settings
from tests.support.clock import all_quiet
from tests.support.sites import Site, heard, serving
from tests.support.streams import SSE_ACCEPT, Stream, open_stream, until
from tests.support.topic import make_topic


class Tap(connections.TestHTTPConnection):
    """A client that takes what comes only while it is open, as one whose socket is full.

    With ``closes_at`` it closes by itself before that message of the server's.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.is_open = asyncio.Event()
        self.is_open.set()
        self.closes_at = -1

    async def __aenter__(self) -> "Tap":
        await super().__aenter__()
        return self

    async def _asgi_send(self, message: Any) -> None:
        self.closes_at -= 1
        if self.closes_at == 0:
            self.is_open.clear()
        await self.is_open.wait()
        await super()._asgi_send(message)


def tap(app: Quart, url: str) -> Tap:
    """Return a connection that can be made to take nothing."""
    client = QuartClient(app)
    client.http_connection_class = Tap
    connection = client.request(url, headers=SSE_ACCEPT)
    assert isinstance(connection, Tap)
    return connection


async def test_heartbeat_moves_the_position_of_an_idle_stream() -> None:
    """A stream on which nothing happens is sent its position, and nothing that is dispatched."""
    app, _ = make_topic(QUART_SSE_HEARTBEAT=0.1, QUART_SSE_PROBE=0.1)

    async with QuartClient(app).request("/sse/news", headers=SSE_ACCEPT) as connection:
        await connection.send_complete()
        chunks: list[bytes] = []
        async with asyncio.timeout(5):
            while len(chunks) < 5:
                chunks.append(await connection.receive())
        await connection.disconnect()

    preamble, opened, *beats = [chunk.decode() for chunk in chunks]
    assert preamble == "retry: 3000\n:\n\n"
    assert opened.startswith("retry: 3000\nevent: sse-open")
    assert all(beat.startswith("id: ") and beat.endswith("\n\n") for beat in beats)
    assert all(beat.count("\n") == 2 for beat in beats)
    assert len(set(beats)) == 3
    assert beats == sorted(beats)


async def test_position_of_a_heartbeat_resumes() -> None:
    """An idle stream resumes from its last heartbeat after a cut."""
    app, topic = make_topic(QUART_SSE_HEARTBEAT=0.1, QUART_SSE_PROBE=0.1)
    async with open_stream(app, "/sse/news") as stream:
        await stream.next("sse-open")
        while not stream.last_id:
            await stream._read()
        last = stream.last_id
    await topic.publish("said", "meanwhile")

    async with open_stream(app, "/sse/news", {"Last-Event-ID": last}) as stream:
        await stream.next("sse-open")
        event = await stream.next()

    assert (event.event, event.data) == ("said", "meanwhile")


async def test_stream_ends_at_its_maximum_age() -> None:
    """A stream at its maximum age ends, so that its client is judged again."""
    app, topic = make_topic(QUART_SSE_MAX_AGE=1)

    async with open_stream(app, "/sse/news") as stream:
        await topic.publish("said", "x")
        *rest, last = await stream.rest()

    assert [event.event for event in rest] == ["sse-open", "said"]
    assert (last.event, last.data) == ("sse-holdoff", "max-age")
    assert last.retry
    assert 0 < last.retry <= 1500


async def test_maximum_age_is_spread() -> None:
    """Streams that began together do not end together: at 80 to 100 % of the age."""
    app, _ = make_topic(QUART_SSE_MAX_AGE=1000)
    now = asyncio.get_running_loop().time()

    ages = []
    for _ in range(20):
        async with open_stream(app, "/sse/news"):
            (connection,) = app.extensions["quart_sse"].connections
            ages.append(connection.ends_at - now)

    assert min(ages) >= 800
    assert max(ages) <= 1001
    assert max(ages) - min(ages) > 10


URLS = ["/sse/rooms/1", "/sse?t=~rooms?room=1", "/sse?t=~rooms?room=1+news", "/own", "/both"]


@pytest.mark.parametrize("url", URLS)
async def test_channel_may_have_a_heartbeat_of_its_own(url: str) -> None:
    """A stream that has the channel is sent its position as often as the channel says."""
    app, _ = settings.make_app({"heartbeat": 0.1}, QUART_SSE_HEARTBEAT=30, QUART_SSE_PROBE=0.1)

    async with open_stream(app, url) as stream:
        await stream.next("sse-open")
        seen = set[str]()
        async with asyncio.timeout(10):
            while len(seen) < 3:
                await stream._read()
                seen |= {stream.last_id} - {""}


async def beats(app: Quart, connection: connections.TestHTTPConnection) -> int:
    """Return how many heartbeats have come before an event that is published now."""
    for channel in app.extensions["quart_sse"].channels.declared.values():
        params = {"room": 1} if channel.name == "rooms" else {}
        await channel.topic(**params).publish("said", "x")
    received = b""
    async with asyncio.timeout(5):
        while b"said" not in received:
            received += await connection.receive()
    await connection.disconnect()
    return sum(b"\n" not in block for block in received.split(b"\n\n") if block[:3] == b"id:")


async def test_each_interval_has_its_own_time() -> None:
    """Streams of one interval are sent nothing when another one is due, nor before it is over."""
    app, _ = settings.make_app({"heartbeat": 10}, QUART_SSE_HEARTBEAT=30)
    housekeeping = app.extensions["quart_sse"].housekeeping
    now = asyncio.get_running_loop().time()

    async with (
        QuartClient(app).request("/sse/rooms/1", headers=SSE_ACCEPT) as rooms,
        QuartClient(app).request("/sse/news", headers=SSE_ACCEPT) as news,
    ):
        for connection in (rooms, news):
            await connection.send_complete()
            while b"sse-open" not in await connection.receive():
                pass
        for seconds in range(66):
            housekeeping._send_heartbeats(now + seconds)
            await all_quiet()

        assert isinstance(rooms, connections.TestHTTPConnection)
        assert isinstance(news, connections.TestHTTPConnection)
        assert [await beats(app, rooms), await beats(app, news)] == [6, 2]


@pytest.mark.parametrize("url", URLS)
async def test_channel_may_have_a_maximum_age_of_its_own(url: str) -> None:
    """It counts for each stream that has the channel, and is spread as that of the app."""
    app, _ = settings.make_app({"max_age": 1000}, QUART_SSE_MAX_AGE=3600)
    now = asyncio.get_running_loop().time()

    async with open_stream(app, url), open_stream(app, "/sse/news"):
        first, second = app.extensions["quart_sse"].connections

    assert 800 <= first.ends_at - now <= 1001
    assert second.ends_at - now > 2800


async def test_maximum_age_of_a_channel_ends_its_streams() -> None:
    """The client is judged again, as at that of the app."""
    app, _ = settings.make_app({"max_age": 1})

    async with open_stream(app, "/sse/rooms/1") as stream:
        *_, last = await stream.rest()

    assert (last.event, last.data) == ("sse-holdoff", "max-age")


@pytest.mark.parametrize("url", URLS)
async def test_idle_stream_ends_and_its_client_misses_nothing(url: str) -> None:
    """It comes back after about half a minute, and resumes where it was."""
    app, sse = settings.make_app({"max_idle": 1}, QUART_SSE_HEARTBEAT=0.1, QUART_SSE_PROBE=0.1)

    async with open_stream(app, url) as stream:
        *_, last = await stream.rest()
        position = stream.last_id
    await sse.topic("rooms", room=1).publish("said", "meanwhile")
    async with open_stream(app, url, {"Last-Event-ID": position}) as stream:
        await stream.next("sse-open")
        said = await stream.next()

    assert (last.event, last.data) == ("sse-holdoff", "idle")
    assert last.retry
    assert 15_000 <= last.retry <= 45_000
    assert said.data == "meanwhile"


@pytest.mark.parametrize("url", URLS)
async def test_stream_is_not_idle_before_it_was_sent_what_it_missed(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    """However long it took to open."""
    app, sse = settings.make_app({"max_idle": 1})
    room = sse.topic("rooms", room=1)
    async with open_stream(app, url) as stream:
        await stream.next("sse-open")
        await room.publish("said", "first")
        await stream.next()
        position = stream.last_id
    await room.publish("said", "meanwhile")
    join = Hub.join

    async def join_late(self: Hub, *arguments: Any) -> None:
        self.idle.end(asyncio.get_running_loop().time() + 2)
        await join(self, *arguments)

    monkeypatch.setattr(Hub, "join", join_late)

    async with open_stream(app, url, {"Last-Event-ID": position}) as stream:
        await stream.next("sse-open")
        assert (await stream.next()).data == "meanwhile"


async def test_client_that_takes_nothing_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    """A stalled client is let go of after a while; idle and busy ones are not."""
    caplog.set_level(logging.INFO, "quart_sse")
    app, topic = make_topic(QUART_SSE_SEND_TIMEOUT=0.1)

    async with open_stream(app, "/sse/news") as idle, tap(app, "/sse/news") as stalled:
        await stalled.send_complete()
        while b"sse-open" not in await stalled.receive():
            pass
        stalled.is_open.clear()
        await topic.publish("said", "x")
        await idle.next("said")
        receivers = (await topic.publish("said", "y")).local_receivers
        await idle.next("said")

        async with asyncio.timeout(5):
            await stalled._task
        published = await topic.publish("said", "z")
        said = await idle.next("said")

    cut = [record for record in caplog.records if record.__dict__["sse_event"] == "client-cut"]
    (record,) = cut
    assert receivers == 2
    assert published.local_receivers == 1
    assert said.data == "z"
    assert "QUART_SSE_SEND_TIMEOUT" in record.getMessage()


async def test_client_that_is_cut_at_the_very_start_is_forgotten() -> None:
    """A client that takes not even the first bytes leaves nothing behind, either."""
    app, topic = make_topic(QUART_SSE_SEND_TIMEOUT=0.1)

    async with asyncio.timeout(5), tap(app, "/sse/news") as stalled:
        stalled.closes_at = 2  # after the headers
        await stalled.send_complete()
        await until(lambda: app.extensions["quart_sse"].connections)
        await stalled._task

    assert (await topic.publish("said")).local_receivers == 0


async def test_client_that_is_slow_resumes_from_history() -> None:
    """Over its bound a slow client's stream ends, and it comes back for what it missed."""
    app, topic = make_topic(QUART_SSE_PENDING_EVENTS=10)

    async with open_stream(app, "/sse/news") as quick, tap(app, "/sse/news") as slow:
        await slow.send_complete()
        stream = Stream(slow)
        await stream.next("sse-open")
        await topic.publish("said", "0")
        heard = [(await stream.next("said")).data]
        slow.is_open.clear()
        for number in range(1, 30):
            await topic.publish("said", str(number))
            while (await quick.next("said")).data != str(number):
                pass
        slow.is_open.set()
        *events, last = await stream.rest()
        position = stream.last_id
    heard += [event.data for event in events]
    async with open_stream(app, "/sse/news", {"Last-Event-ID": position}) as stream:
        while heard[-1] != "29":
            heard.append((await stream.next("said")).data)

    assert (last.event, last.data) == ("sse-holdoff", "overflow")
    assert last.retry
    assert len(events) < 29
    assert heard == [str(number) for number in range(30)]


async def test_slow_client_is_sent_only_the_newest_html() -> None:
    """Of a fragment that changed many times a slow client gets the last version alone."""
    app, topic = make_topic(QUART_SSE_PENDING_EVENTS=5)
    value = 0
    topic.channel.fragment("count", debounce=0)(lambda: f"<b>{value}</b>")

    async with open_stream(app, "/sse/news") as quick, tap(app, "/sse/news") as slow:
        await slow.send_complete()
        stream = Stream(slow)
        await stream.next("sse-open")
        slow.is_open.clear()
        for _ in range(20):
            value += 1
            await topic.refresh("count")
            while f"<b>{value}</b>" not in (await quick.next("message")).data:
                pass
        slow.is_open.set()
        versions = [(await stream.next("message")).data]
        while "<b>20</b>" not in versions[-1]:
            versions.append((await stream.next("message")).data)
        await slow.disconnect()

    # One was on its way when the socket became full.
    assert len(versions) <= 2


async def test_messages_for_one_connection_are_not_kept_as_long_as_it_is_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They are for its next stream, which comes soon or not at all."""
    monkeypatch.setattr(changes, "SENT_SECONDS", 0.5)
    site = Site("memory://")
    async with serving(site), site.view(1) as (stream, handle):
        await handle.send("note", "x")
        assert await heard(stream, 1) == [("connection.note", "x")]
        (connection,) = site.app.extensions["quart_sse"].connections
        assert connection.lasting.sent

        await until(lambda: not connection.lasting.sent)


async def test_sweeper_survives_a_failure(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What fails is logged and tried no worse the next time; heartbeats go on."""
    app, topic = make_topic(QUART_SSE_HEARTBEAT=0.1, QUART_SSE_PROBE=0.1)
    forget = Hub.forget
    failures = 0

    async def fail_at_first(self: Hub, now: float) -> None:
        nonlocal failures
        failures += 1
        if failures == 1:
            raise ZeroDivisionError("in the hub")
        await forget(self, now)

    monkeypatch.setattr(Hub, "forget", fail_at_first)
    async with open_stream(app, "/sse/news") as stream:
        await until(lambda: caplog.records)
        before = stream.last_id
        async with asyncio.timeout(5):
            while stream.last_id == before:
                await stream._read()
        await until(lambda: failures >= 2)
        await topic.publish("said", "x")
        said = await stream.next("said")

    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError
    assert said.data == "x"


async def test_sweeper_rests_when_there_is_nothing_to_do() -> None:
    """After the app's end there is no task."""
    app, _ = make_topic(QUART_SSE_PRESENCE_LINGER=0)
    before = asyncio.all_tasks()

    async with open_stream(app, "/sse/news"):
        during = asyncio.all_tasks() - before
    await app.extensions["quart_sse"].lifecycle.stop()

    assert during
    assert asyncio.all_tasks() <= before
