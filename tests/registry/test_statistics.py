"""Each figure moves by what has happened, in one process and over all of them."""

import asyncio
import json
from contextlib import AsyncExitStack

import pytest
from markupsafe import Markup

from quart_sse.broker import Claim, Keep, Kind, Message, Shelf
from quart_sse.broker.texts import size_of
from quart_sse.registry import statistics
from quart_sse.wire.position import ZERO
from tests.support.redis_server import RedisServer
from tests.support.sites import Site, serving
from tests.support.streams import SSE_ACCEPT, open_stream, until

KEEP = Keep(10, 60.0)


@pytest.fixture
def shown(site: Site) -> Site:
    """A site whose rooms have a fragment, which fails in room 13."""

    async def people(room: int) -> Markup:
        if room == 13:
            raise LookupError
        return Markup("<b>12345</b>")

    site.rooms.fragment("people", debounce=0)(people)
    return site


async def test_connections_identities_channels_and_topics(site: Site) -> None:
    """A stream of several topics counts once in each channel, and a user once with all of it."""
    assert site.sse.stats().connections == 0
    async with (
        site.view(1, 2, who="ada") as (_, _),
        site.view(2, who="ada"),
        site.view(2, who="bob"),
        site.view(3),
    ):
        stats = site.sse.stats()

        assert (stats.processes, stats.broker) == (1, "ready")
        assert (stats.connections, stats.anonymous, stats.identities) == (4, 1, 2)
        assert stats.top_identities == {"ada": 2, "bob": 1}
        assert stats.by_channel == {"rooms": 4}
        assert (stats.topics, stats.top_topics) == (
            3,
            {"rooms?room=2": 3, "rooms?room=1": 1, "rooms?room=3": 1},
        )
        assert 0 < stats.oldest < 60
        assert (stats.opened, stats.ended) == (4, {})
    await until(lambda: not site.sse.connections)
    stats = site.sse.stats()
    assert (stats.connections, stats.topics, stats.by_channel, stats.oldest) == (0, 0, {}, 0)
    assert (stats.opened, stats.ended) == (4, {"gone": 4})


async def test_connection_counts_once_while_a_stream_replaces_another(site: Site) -> None:
    """In all of its numbers; the streams are counted when they open."""
    client = site.client("ada")
    url = await site.page(1, 2, client=client)
    async with open_stream(client, url) as first:
        opened = json.loads((await first.next("sse-open")).data)
        async with open_stream(client, f"{url}&replaces={opened['secret']}") as second:
            await second.next("sse-open")
            stats = site.sse.stats()

            assert (stats.connections, stats.opened) == (1, 2)
            assert stats.top_identities == {"ada": 1}
            assert (stats.by_channel, stats.topics) == ({"rooms": 1}, 2)
            assert stats.top_topics == {"rooms?room=1": 1, "rooms?room=2": 1}


async def test_endings_and_refusals_are_counted_by_their_reasons(site: Site) -> None:
    """One that the app ends, one that a new one evicts, and requests that open nothing."""
    async with site.view(1, who="ada") as (stream, handle):
        await handle.close(retry=1)
        await stream.rest()
    await until(lambda: not site.sse.connections)
    client = site.client()
    for url in ("/sse", "/sse?t=x"):
        async with open_stream(client, url) as stream:
            await stream.rest()
    foreign = {"Origin": "https://elsewhere.example", "Sec-Fetch-Site": "cross-site"}
    assert (await client.get("/sse/rooms/1", headers=foreign)).status_code == 403

    stats = site.sse.stats()
    assert stats.ended == {"paused": 1}
    assert stats.refused == {"no-token": 1, "refused": 2}


async def test_answers_of_the_app_that_are_no_streams_are_refusals(site: Site) -> None:
    """A login redirect becomes a short stream."""

    @site.app.before_request
    def refuse() -> tuple[str, int]:
        return "sign in", 401

    answer = await site.client().get("/sse/rooms/1", headers=SSE_ACCEPT)
    assert b"data: refused" in await answer.get_data(as_text=False)

    assert site.sse.stats().refused == {"refused": 1}


async def test_messages_and_bytes_are_counted(site: Site) -> None:
    """Published once, received once by the process, delivered to each stream that it is for."""
    async with site.view(1) as (one, _), site.view(1, 2) as (other, _), site.view(2):
        before = site.sse.stats()
        await site.room(1).publish("said", "x" * 100)
        await site.room(9).publish("said")  # which no stream is for
        async with site.sse.batch():
            await site.room(2).publish("said")
            await site.room(2).publish("said")
        first = await one.next("rooms.said?room=1")
        await other.next("rooms.said?room=1")
        for _ in range(2):
            await other.next("rooms.said?room=2")
        stats = site.sse.stats()

    assert first.data == "x" * 100
    assert stats.published - before.published == 4
    assert stats.received - before.received == 3
    assert stats.delivered - before.delivered == 2 + 2 * 2
    assert 200 < stats.written - before.written < 1500
    assert (stats.conflated, stats.dropped, stats.resets) == (0, 0, 0)
    assert 1 <= stats.lag.number <= 3
    assert stats.lag.p50 is not None
    assert stats.lag.p99 is not None
    assert stats.lag.p50 <= stats.lag.p99 <= 60


async def test_written_bytes_are_those_of_the_stream(site: Site) -> None:
    """To the byte, from the first one to the farewell."""
    before = site.sse.stats().written
    size = 0
    async with site.client().request(
        "/sse/rooms/1", headers={"Accept": "text/event-stream"}
    ) as connection:
        await connection.send_complete()
        size += len(await connection.receive())
        while site.sse.stats().connections == 0 or site.sse.connections.count() == 0:
            size += len(await connection.receive())
        await site.room(1).publish("said", "hello")
        await site.sse.close_all()
        async with asyncio.timeout(5):
            while chunk := await connection.receive():
                size += len(chunk)

    assert site.sse.stats().written - before == size > 0


async def test_renders_are_counted_with_their_time_and_their_failures(
    shown: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """Those of pages, too."""
    client = shown.client()
    before = shown.sse.stats()
    assert (await client.get("/sse/~/people/rooms/1")).status_code == 200
    assert (await client.get("/sse/~/people/rooms/13")).status_code == 500
    stats = shown.sse.stats()

    assert stats.renders.number - before.renders.number == 2
    assert stats.renders_failed - before.renders_failed == 1
    assert stats.renders.seconds > 0
    assert stats.renders.p99 is not None


async def test_html_that_is_kept_is_counted(shown: Site) -> None:
    """Of fragments that a page shows."""
    assert shown.sse.stats().html == 0
    async with open_stream(shown.client(), "/sse/rooms/1") as stream:
        await stream.next("sse-open")
        await shown.room(1).refresh("people")
        await stream.next("message")
        assert shown.sse.stats().html == len("<b>12345</b>")


async def test_lost_events_are_resets(site: Site) -> None:
    """A client comes with a position that the history does not reach."""
    headers = {"Last-Event-ID": "elsewhere.1795302000123-0"}
    async with open_stream(site.client(), "/sse/rooms/1", headers) as stream:
        await stream.next("sse-reset")

    assert site.sse.stats().resets == 1


async def test_replayed_events_are_delivered(site: Site) -> None:
    """What a client has missed."""
    async with open_stream(site.client(), "/sse/rooms/1") as stream:
        await stream.next("sse-open")
        await site.room(1).publish("said", "a")
        await stream.next("said")
        last = stream.last_id
    await until(lambda: not site.sse.connections)
    await site.room(1).publish("said", "b")
    await site.room(1).publish("said", "c")
    before = site.sse.stats().delivered
    async with open_stream(site.client(), "/sse/rooms/1", {"Last-Event-ID": last}) as stream:
        await stream.next("said")
        await stream.next("said")

    assert site.sse.stats().delivered - before == 2


async def test_kept_lists_are_counted_where_the_process_keeps_them(site: Site) -> None:
    """Redis keeps them itself."""
    services = site.app.extensions["quart_sse"]
    before = site.sse.stats().kept
    await services.broker.keep_text("x" * 1000, 60.0, Claim(Shelf.OPEN, "address"))
    kept = site.sse.stats().kept - before

    assert kept == (0 if site.sse.broker.is_shared else size_of("x" * 1000))


async def test_figures_of_all_processes_are_added_up(sites: tuple[Site, Site]) -> None:
    """A user of both processes is one."""
    here, there = sites
    async with (
        here.view(1, who="ada") as (one, _),
        there.view(1, who="ada") as (other, _),
        there.view(1, 2),
    ):
        await here.room(1).publish("said")
        await one.next("rooms.said?room=1")
        await other.next("rooms.said?room=1")
        for site in sites:
            found = await site.sse.processes.stats()

            assert found.silent == ()
            assert len(found.by_process) == 2
            assert sorted(each.connections for each in found.by_process.values()) == [1, 2]
            total = found.total
            assert (total.processes, total.broker, total.connections) == (2, "ready", 3)
            assert (total.identities, total.anonymous) == (1, 1)
            assert total.top_identities == {"ada": 2}
            assert total.by_channel == {"rooms": 3}
            assert total.top_topics == {"rooms?room=1": 3, "rooms?room=2": 1}
            assert (total.published, total.received, total.delivered) == (1, 2, 3)
            assert total.lag.number == 2


async def test_one_process_is_asked_without_others(site: Site) -> None:
    """The same with each broker."""
    async with site.view(1, who="ada"):
        found = await site.sse.processes.stats()

        (own,) = found.by_process.values()
        assert own.top_identities == found.total.top_identities == {"ada": 1}
        assert own.connections == found.total.connections == 1


async def test_more_names_than_an_answer_holds(
    sites: tuple[Site, Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are asked for in parts, so that the sums are exact."""
    monkeypatch.setattr(statistics, "PAGE_CHARS", 100)
    here, there = sites
    async with AsyncExitStack() as stack:
        for number in range(8):
            await stack.enter_async_context(there.view(number, who=f"user{number}"))
        await stack.enter_async_context(here.view(7, who="user7"))

        found = await here.sse.processes.stats()

    assert found.silent == ()
    assert (found.total.identities, found.total.topics) == (8, 8)
    assert found.total.top_identities["user7"] == 2
    assert found.total.top_topics["rooms?room=7"] == 2


async def test_broker_that_is_away_is_told(redis: RedisServer) -> None:
    """The figures of this process need no broker."""
    site = Site(redis.url)
    async with serving(site):
        assert site.sse.stats().broker == "ready"
        await redis.kill()
        await until(lambda: site.sse.stats().broker == "away")
        await redis.start()


async def test_refresh_counts_as_received(shown: Site) -> None:
    """A probe does not."""
    async with open_stream(shown.client(), "/sse/rooms/1") as stream:
        await stream.next("sse-open")
        before = shown.sse.stats()
        await shown.sse.broker.probe()
        await shown.sse.broker.publish(Message(Kind.REFRESH, ZERO, "rooms?room=1", "people"), KEEP)
        await stream.next("message")
        stats = shown.sse.stats()

    assert stats.received - before.received == 1
    assert stats.delivered - before.delivered == 1
    assert stats.published == before.published  # another publisher's
