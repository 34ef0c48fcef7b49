"""The registry: connections are found, and stay the same over their streams."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import quote

import pytest
from quart import Response

from quart_sse import ConnectionHandle, ParameterError, hub
from tests.support.sites import Site, heard, serving
from tests.support.streams import open_stream, until

HUB = Path(hub.__file__).parent
#: Number of streams of one topic alone, and of as many that listen to another one, too.
STREAMS = 2


async def test_connections_are_counted_iterated_and_found(site: Site) -> None:
    """By id, topic, channel, identity and metadata, and by all of these at once."""
    connections = site.sse.connections
    async with (
        site.view(1, who="ada", meta={"role": "admin"}) as (_, ada),
        site.view(1, 2, who="bob", meta={"role": "guest"}) as (_, bob),
        site.view(2) as (_, visitor),
    ):
        assert len(connections) == 3
        assert set(connections) == {ada, bob, visitor}
        assert ada in connections
        assert ada.id in connections
        assert connections.get(bob.id) == bob
        assert connections.of(topic=site.room(1)) == [ada, bob]
        assert connections.of(topic="rooms?room=2") == [bob, visitor]
        assert connections.of(channel=site.rooms) == [ada, bob, visitor]
        assert connections.of(channel="news") == []
        assert connections.of(identity="ada") == [ada]
        assert connections.of(where={"role": ["admin", "guest"]}) == [ada, bob]
        assert connections.of(where=lambda metadata: metadata["role"] == "guest") == [bob]
        assert connections.of(topic=site.room(2), where={"role": "guest"}, identity="bob") == [bob]
        assert connections.count(topic=site.room(2)) == 2
        assert connections.count() == 3
    await until(lambda: len(connections) == 0)
    assert ada not in connections
    assert connections.get(ada.id) is None


async def test_streams_of_one_connection_are_one(site: Site) -> None:
    """A stream that names the one before takes its place: same handle, id and subscriptions."""
    client = site.client("ada")
    url = await site.page(1, client=client)
    async with open_stream(client, url) as first:
        opened = json.loads((await first.next("sse-open")).data)
        (handle,) = site.sse.connections
        await handle.subscribe(site.room(9))
        await first.next("sse-open")
        since = handle.connected_at
        url = f"{await site.page(1, 2, client=client)}&replaces={opened['secret']}"
        async with open_stream(client, url) as second:
            again = json.loads((await second.next("sse-open")).data)

            assert (again["id"], again["secret"]) == (opened["id"], opened["secret"])
            assert len(site.sse.connections) == 1
            assert set(handle.topics) == {site.room(1), site.room(2), site.room(9)}
            assert handle.connected_at == since

            # While both are open both are sent it, by a name that the script knows.
            await handle.send("note", "x")
            await site.room(9).publish("said", "y")
            assert sorted(await heard(first, 2)) == sorted(await heard(second, 2))
        await until(lambda: len(site.app.extensions["quart_sse"].connections) == 1)
        # The client has gone back before it closed the first one.
        assert handle.is_open
        assert set(handle.topics) == {site.room(1), site.room(9)}
        await handle.send("note", "z")
        assert await heard(first, 1) == [("connection.note", "z")]
    await until(lambda: not handle.is_open)


@pytest.mark.parametrize("who", [None, "bob"])
async def test_stream_of_another_user_takes_no_place(site: Site, who: str | None) -> None:
    """Also if it knows the secret; so do streams that make one up."""
    client = site.client("ada")
    async with open_stream(client, await site.page(1, client=client)) as first:
        opened = json.loads((await first.next("sse-open")).data)
        other = site.client(who)
        url = await site.page(1, client=other)
        for secret in (opened["secret"], opened["id"], "x" * 40, "", "x" * 5000):
            async with open_stream(other, f"{url}&replaces={secret}") as second:
                again = json.loads((await second.next("sse-open")).data)
                assert again["id"] != opened["id"]
                assert len(site.sse.connections) == 2
            await until(lambda: len(site.sse.connections) == 1)


async def test_id_of_the_apps_own(site: Site) -> None:
    """One that is open, or looks like one that is made, is refused."""
    errors: list[str] = []

    @site.app.get("/ticker/<path:id>")
    async def ticker(id: str) -> Response | str:
        try:
            return await site.sse.stream(site.news.topic(), connection_id=id)
        except ParameterError as error:
            errors.append(str(error))
            return "refused"

    async with open_stream(site.app, "/ticker/order-7") as stream:
        await stream.next("sse-open")
        assert [connection.id for connection in site.sse.connections] == ["order-7"]
        client = site.client()
        for id in ("order-7", "a.b", "x" * 65, "a b", "é"):
            answer = await client.get(f"/ticker/{quote(id)}")
            assert await answer.get_data(as_text=True) == "refused"
    await until(lambda: not site.sse.connections)
    async with open_stream(site.app, "/ticker/order-7") as stream:
        await stream.next("sse-open")

    assert "is open already" in errors[0]
    assert all("Use 1 to 64 letters" in error for error in errors[1:])


async def test_next_stream_is_sent_again_what_was_on_its_way(site: Site) -> None:
    """Its client reads it first, and then no longer what the one before has brought."""
    client = site.client("ada")
    url = await site.page(1, client=client)
    async with open_stream(client, url) as first:
        opened = json.loads((await first.next("sse-open")).data)
        (handle,) = site.sse.connections
        for number in range(100):
            await handle.send("note", number)
        async with open_stream(client, f"{url}&replaces={opened['secret']}") as second:
            await handle.send("note", "new")
            again = [data for _, data in await heard(second, 65)]
            async with open_stream(client, f"{url}&replaces={opened['secret']}") as third:
                last = [data for _, data in await heard(third, 64)]
        async with open_stream(client, url) as other:
            await site.room().publish("said", "end")
            assert await heard(other, 1) == [("rooms.said?room=1", "end")]

    assert again == [*map(str, range(36, 100)), "new"]
    assert last == [*map(str, range(37, 100)), "new"]


async def test_client_that_comes_back_to_an_id_of_the_app_is_held_off(site: Site) -> None:
    """Its stream may have been cut without a word; at an error ``EventSource`` would stop."""

    @site.app.get("/order")
    async def order() -> Response:
        return await site.sse.stream(site.news.topic(), connection_id="order-12")

    async with open_stream(site.app, "/order") as stream:
        await site.news.topic().publish("said", "x")
        await stream.next("said")
        last = {"Last-Event-ID": stream.last_id}
        async with open_stream(site.app, "/order", last) as second:
            (ending,) = await second.rest()
    await until(lambda: not site.sse.connections)
    async with open_stream(site.app, "/order", last) as third:
        await site.news.topic().publish("said", "y")
        assert (await third.next("said")).data == "y"

    assert (ending.event, ending.data) == ("sse-holdoff", "overloaded")
    assert ending.retry is not None


async def test_parameters_of_a_view_are_its_own(site: Site) -> None:
    """They are called like those of pages, and change nothing of where its stream starts."""

    @site.app.get("/ticker")
    async def ticker() -> Response:
        return await site.sse.stream(site.news.topic())

    await site.news.topic().publish("said", "before")
    async with open_stream(site.app, "/ticker?t=AAPL&t=MSFT") as stream:
        await site.news.topic().publish("said", "1")
        assert await heard(stream, 1) == [("said", "1")]
        last = {"Last-Event-ID": stream.last_id}
    await site.news.topic().publish("said", "missed")
    for query in ("", "?t=AAPL", "?t=AAPL&t=MSFT", "?t=&t=&first=1&replaces="):
        async with open_stream(site.app, f"/ticker{query}", last) as stream:
            events = [(await stream.next()).event for _ in range(2)]
            assert events == ["sse-open", "said"]


async def test_presence_follows_what_the_app_changes(site: Site) -> None:
    """Who is on a topic is who listens to it, however that has come."""
    async with site.view(1, who="ada") as (_, handle):
        await handle.subscribe(site.room(2))
        assert (await site.room(2).presence()).identities == {"ada"}
        await handle.unsubscribe(site.room(2))
        assert (await site.room(2).presence()).connections == 0
        await site.room(1).close()
        await until(lambda: not handle.is_open)
        assert (await site.room(1).presence()).connections == 0


async def test_next_stream_takes_over_what_has_changed_while_it_opened(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A topic that the app adds or takes away in between is one of the connection."""
    client = site.client("ada")
    url = await site.page(1, client=client)
    hub = site.app.extensions["quart_sse"].hub
    join = hub.join
    async with open_stream(client, url) as first:
        opened = json.loads((await first.next("sse-open")).data)
        (handle,) = site.sse.connections
        await handle.subscribe(site.room(8))

        async def join_slowly(*args: object) -> None:
            await handle.subscribe(site.room(9))
            await handle.unsubscribe(site.room(8))
            await join(*args)

        monkeypatch.setattr(hub, "join", join_slowly)
        async with open_stream(client, f"{url}&replaces={opened['secret']}") as second:
            await until(lambda: handle.topics == (site.room(1), site.room(9)))
            await site.room(8).publish("said", "no")
            await site.room(9).publish("said", "yes")
            assert await heard(second, 1) == [("rooms.said?room=9", "yes")]


@pytest.mark.parametrize("change", ["added", "taken away"])
async def test_stream_that_is_revoked_while_it_takes_over_changes_is_held_off(
    site: Site, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """Its client comes back as after any revocation, and no error is logged."""
    services = site.app.extensions["quart_sse"]
    hub = services.hub
    join = hub.join
    client = site.client("ada")
    url = await site.page(1, client=client)
    async with open_stream(client, url) as first:
        opened = json.loads((await first.next("sse-open")).data)
        (handle,) = site.sse.connections
        await handle.subscribe(site.room(8))

        async def join_slowly(*args: object) -> None:
            if change == "added":
                await handle.subscribe(site.room(9))
            else:
                await handle.unsubscribe(site.room(8))
            await join(*args)
            await site.sse.disconnect(identity="ada")
            await until(lambda: all(each.is_ended for each in services.connections))

        monkeypatch.setattr(hub, "join", join_slowly)
        async with open_stream(client, f"{url}&replaces={opened['secret']}") as second:
            rest = await second.rest()
        await first.rest()

    assert (rest[-1].event, rest[-1].data) == ("sse-holdoff", "disconnect")
    await until(lambda: not services.connections)


async def test_presence_stays_with_the_next_stream() -> None:
    """Its connection has the same id; the end of the first stream ends nothing of it."""
    site = Site("memory://", presence_linger=0)
    async with serving(site):
        client = site.client("ada")
        url = await site.page(1, client=client)
        async with open_stream(client, url) as first:
            secret = json.loads((await first.next("sse-open")).data)["secret"]
            url = await site.page(2, client=client)
            async with open_stream(client, f"{url}&replaces={secret}") as second:
                await second.next("sse-open")
                assert (await site.room(1).presence()).connections == 1
                async with open_stream(client, f"{url}&replaces={secret}") as third:
                    await third.next("sse-open")
                    await first.connection.disconnect()
                    await second.connection.disconnect()
                    await until(lambda: len(site.app.extensions["quart_sse"].connections) == 1)
                    presence = site.app.extensions["quart_sse"].presence
                    await presence.sweep(float("inf"))

                    assert (await site.room(1).presence()).connections == 0
                    assert (await site.room(2).presence()).connections == 1


# -- other threads ---------------------------------------------------------------------------------


class Restless:
    """A site that changes whenever a thread that watches it runs another instruction of the hub.

    Of two threads the one may be stopped anywhere; here it is stopped everywhere.
    """

    def __init__(self, site: Site, stack: AsyncExitStack, handle: ConnectionHandle) -> None:
        self._site, self._stack, self._handle = site, stack, handle
        self._loop = asyncio.get_running_loop()
        self.changes = 0

    async def _change(self) -> None:
        room, self.changes = 100 + self.changes // 4, self.changes + 1
        if self.changes % 4 == 1:
            await self._handle.subscribe(self._site.room(room))
        elif self.changes % 4 == 2:
            await self._stack.enter_async_context(self._site.view(1, 1000 + room))
        elif self.changes % 4 == 3:
            await self._handle.unsubscribe(self._site.room(room))
        else:
            await self._stack.pop_all().aclose()

    def _trace(self, frame: FrameType, event: str, arg: object) -> Any:
        if HUB not in Path(frame.f_code.co_filename).parents:
            return None
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        if event == "opcode":
            asyncio.run_coroutine_threadsafe(self._change(), self._loop).result(5)
        return self._trace

    def watch(self, ask: Callable[[Site], Awaitable[None]]) -> None:
        """Ask in this thread, which is not the loop's."""

        async def call() -> None:
            async with self._site.app.app_context():
                before = sys.gettrace()
                sys.settrace(self._trace)
                try:
                    await ask(self._site)
                finally:
                    sys.settrace(before)

        asyncio.run(call())


async def _topics(site: Site) -> None:
    assert site.room(1) in site.rooms.topics()


async def _registry(site: Site) -> None:
    connections = site.sse.connections
    assert min(len(list(connections)), len(connections), connections.count()) >= 2 * STREAMS
    assert len(connections.of(channel="rooms", where={"a": 1})) == 0
    assert connections.count(topic=site.room(1)) >= 2 * STREAMS


async def _publish(site: Site) -> None:
    assert (await site.room(1).publish("said", 1)).local_receivers


async def _publish_to_some(site: Site) -> None:
    assert not (await site.room(1).publish("said", 1, where={"a": 1})).local_receivers


async def _publish_to_channel(site: Site) -> None:
    assert (await site.rooms.everyone.publish("said", 1)).local_receivers


async def _publish_to_everyone(site: Site) -> None:
    assert (await site.sse.everyone.publish("said", 1)).local_receivers


@pytest.mark.parametrize(
    "ask",
    [_topics, _registry, _publish, _publish_to_some, _publish_to_channel, _publish_to_everyone],
)
async def test_other_threads_may_ask_while_streams_come_and_go(
    ask: Callable[[Site], Awaitable[None]],
) -> None:
    """They read copies of what the loop changes meanwhile."""
    site = Site("memory://")
    async with serving(site), AsyncExitStack() as stack, AsyncExitStack() as passing:
        for number in range(1, STREAMS + 1):
            await stack.enter_async_context(site.view(1, 10 * number))
            _, handle = await stack.enter_async_context(site.view(1))
        restless = Restless(site, passing, handle)
        await asyncio.to_thread(restless.watch, ask)

        assert restless.changes > STREAMS
