"""Handles: one connection as an app uses it."""

import asyncio
import json
import sys
from collections.abc import Iterable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from quart_sse import ConnectionClosedError, FilterError, ParameterError
from tests.support.redis_server import running_redis
from tests.support.sites import Site, heard, serving
from tests.support.streams import open_stream, until


async def test_handle_shows_what_the_connection_is(site: Site) -> None:
    """What a moderator's page lists."""
    before = datetime.now(UTC) - timedelta(seconds=1)
    headers = {"User-Agent": "Test/1.0", "Last-Event-ID": "x.1-0"}
    client = site.client("ada")
    async with open_stream(client, '/sse/rooms/3?meta={"a":[1]}', headers) as stream:
        await stream.next("sse-open")
        (handle,) = site.sse.connections

        assert handle.topics == (site.room(3),)
        assert (handle.identity, handle.metadata) == ("ada", {"a": [1]})
        assert before < handle.connected_at < datetime.now(UTC)
        assert handle.connected_at.tzinfo is UTC
        assert handle.last_event_id == "x.1-0"
        assert handle.user_agent == "Test/1.0"
        assert handle.is_open
        assert handle.metadata is not None
        handle.metadata["a"].append(2)
        assert handle.metadata == {"a": [1]}
    await until(lambda: not handle.is_open)
    assert handle.identity == "ada"


async def test_what_clients_make_up_is_not_kept_when_they_have_left(site: Site) -> None:
    """Equal clients share a text; interned it would stay as long as the process, on Python 3.12."""
    made_up = {"User-Agent": f"Made/{'-'.join(map(str, range(50)))}"}
    client = site.client("ada")
    async with (
        open_stream(client, "/sse/rooms/3", made_up) as one,
        open_stream(client, "/sse/rooms/3", made_up) as other,
    ):
        await one.next("sse-open")
        await other.next("sse-open")
        first, second = (handle.user_agent for handle in site.sse.connections)

    assert first == made_up["User-Agent"]
    assert first is second
    assert sys.intern("".join([*first])) is not first


async def test_message_for_one_connection_reaches_it_alone(site: Site) -> None:
    """Behind all that has arrived before it."""
    async with site.view(1) as (one, handle), site.view(1) as (other, _):
        await site.room().publish("said", "first")
        assert await heard(one, 1) == [("rooms.said?room=1", "first")]
        await handle.send("note", {"to": "you"})
        await site.room().publish("said", "last")

        assert await heard(one, 2) == [
            ("connection.note", '{"to": "you"}'),
            ("rooms.said?room=1", "last"),
        ]
        assert await heard(other, 2) == [
            ("rooms.said?room=1", "first"),
            ("rooms.said?room=1", "last"),
        ]


async def test_stream_of_one_topic_has_the_bare_name(site: Site) -> None:
    """A client of one's own waits for the name that was sent."""
    async with open_stream(site.app, "/sse/news") as stream:
        await stream.next("sse-open")
        (handle,) = site.sse.connections
        await handle.send("note", "x")

        assert (await stream.next("note")).data == "x"


async def test_closed_connection_says_so(site: Site) -> None:
    """A handle that is kept too long is a clear error; closing again is none."""
    async with site.view(1) as (_, handle):
        pass
    await until(lambda: not handle.is_open)

    for call in (handle.send("x"), handle.subscribe(site.room(2)), handle.unsubscribe(site.room())):
        with pytest.raises(ConnectionClosedError, match=handle.id):
            await call
    await handle.close()


@pytest.mark.parametrize("who", ["ada", None])
async def test_topic_that_the_app_subscribes(site: Site, who: str | None) -> None:
    """Its events come from then on, and until it is unsubscribed."""
    async with site.view(1, who=who) as (stream, handle):
        await site.room(2).publish("said", "before")

        assert await handle.subscribe(site.room(2)) is True
        assert await handle.subscribe(site.room(2)) is False
        assert await handle.subscribe(site.room(1)) is False
        await site.room(2).publish("said", "now")
        await site.room(1).publish("said", "too")
        assert handle.topics == (site.room(1), site.room(2))
        assert await heard(stream, 2) == [
            ("rooms.said?room=2", "now"),
            ("rooms.said?room=1", "too"),
        ]

        assert await handle.unsubscribe(site.room(2)) is True
        assert await handle.unsubscribe(site.room(2)) is False
        await site.room(2).publish("said", "after")
        await site.room(1).publish("said", "still")
        assert await heard(stream, 1) == [("rooms.said?room=1", "still")]


@pytest.mark.parametrize("kind", ["memory", "redis"])
async def test_audience_of_a_topic_that_is_subscribed_is_kept_meanwhile(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However late the broker confirms, and if nothing lingers (QUART_SSE_LINGER=0)."""
    async with AsyncExitStack() as stack:
        url = "memory://"
        if kind == "redis":
            url = (await stack.enter_async_context(running_redis(tmp_path))).url
        site = Site(url, linger=0)
        await stack.enter_async_context(serving(site))
        hub, broker = (getattr(site.app.extensions["quart_sse"], of) for of in ("hub", "broker"))
        subscribe, unsubscribe = broker.inner.subscribe, broker.inner.unsubscribe
        gone: list[str] = []

        async def subscribe_slowly(topics: Iterable[str]) -> None:
            await subscribe(topics)
            await hub.forget(asyncio.get_running_loop().time())

        async def note_unsubscribe(topics: Iterable[str]) -> None:
            gone.extend(topics)
            await unsubscribe(gone)

        async with site.view(who="ada") as (stream, handle):
            monkeypatch.setattr(broker.inner, "unsubscribe", note_unsubscribe)
            monkeypatch.setattr(broker.inner, "subscribe", subscribe_slowly)
            await handle.subscribe(site.room(1))
            await site.rooms.everyone.publish("said", "x")

            assert await heard(stream, 1) == [("rooms.said", "x")]
            assert gone == []


async def test_client_learns_the_names_of_a_topic_that_was_subscribed(site: Site) -> None:
    """In another sse-open, before the topic's first event; only pages of the same user take it."""
    client = site.client("ada")
    own = await site.page(1, client=client)
    public = await site.page(2)
    async with open_stream(client, f"{own}&{public.partition('?')[2]}") as stream:
        first = json.loads((await stream.next("sse-open")).data)
        (handle,) = site.sse.connections
        await handle.subscribe(site.room(3))
        second = json.loads((await stream.next("sse-open")).data)
        await handle.unsubscribe(site.room(1))
        third = json.loads((await stream.next("sse-open")).data)

    room = "rooms?room={}".format
    assert first["topics"] == second["topics"] == [[room(1)], [room(2)]]
    assert first["names"] == [
        [room(1), "everyone", "rooms", "connection", "user"],
        [room(2), "everyone", "rooms"],
    ]
    assert second["names"] == [[*first["names"][0], room(3)], first["names"][1]]
    assert third["names"][0] == ["everyone", "rooms", "connection", "user", room(3)]
    assert third["topics"] == [[], [room(2)]]


async def test_closed_for_good_and_closed_for_a_time(site: Site) -> None:
    """The client does not come back, or after exactly the time that the app says."""
    async with site.view(1) as (one, for_good), site.view(1) as (other, for_a_time):
        await site.room().publish("said", "x")
        await for_good.close()
        await for_a_time.close(retry=7.5)
        first, second = (await one.rest())[-1], (await other.rest())[-1]

    assert (first.event, first.data) == ("sse-stop", "closed")
    assert (second.event, second.data, second.retry) == ("sse-holdoff", "paused", 7500)


async def test_bad_arguments_say_what_is_right(site: Site) -> None:
    """And nothing has changed."""
    async with site.view(1) as (_, handle):
        for retry in (-1, True, float("nan"), float("inf"), "5"):
            with pytest.raises(ParameterError, match="retry"):
                await handle.close(retry=retry)  # type: ignore[arg-type]
        for method in (handle.subscribe, handle.unsubscribe):
            with pytest.raises(ParameterError, match="no topic"):
                await method(site.rooms)  # type: ignore[arg-type]
        with pytest.raises(ParameterError, match="no Topic"):
            site.sse.connections.of(topic=site.rooms)  # type: ignore[arg-type]
        with pytest.raises(FilterError, match="empty"):
            site.sse.connections.of(where={})
        assert handle.is_open
