"""Presence: people and connections of a topic, and fragments that show them."""

import asyncio
import json
import random
import re
from collections.abc import Collection, Mapping
from contextlib import AsyncExitStack
from http.cookies import SimpleCookie

import pytest
from bs4 import BeautifulSoup
from quart import Quart, render_template_string, request
from quart.testing import QuartClient

from quart_sse import SSE, ConnectionHandle, Person, Presence, Topic
from quart_sse.broker import Keep, Kind, Message, Moves
from quart_sse.broker.redis import commands
from quart_sse.channels import presence
from quart_sse.errors import BrokerUnavailable
from quart_sse.wire import Id
from tests.support.halls import Halls
from tests.support.sites import serving
from tests.support.streams import SSE_ACCEPT, Stream, client_of, connect_urls, open_stream, until


@pytest.fixture
def app(app: Quart) -> Quart:
    """An app in which who leaves is gone at once."""
    app.config["QUART_SSE_PRESENCE_LINGER"] = 0
    return app


@pytest.fixture
def sse(app: Quart) -> SSE:
    """An extension that knows who is who by a cookie."""
    sse = SSE(app)

    @sse.identity
    async def who() -> str | None:
        return request.cookies.get("who")

    sse.channel("rooms", "/rooms/<int:room>", public=True, presence=True)
    return sse


async def known_browser(app: Quart) -> QuartClient:
    """Return an anonymous browser that has its cookie already."""
    client = QuartClient(app)
    async with open_stream(client, "/sse/rooms/99") as stream:
        for morsel in SimpleCookie(stream.headers["set-cookie"]).values():
            client.set_cookie("localhost", morsel.key, morsel.value)
    return client


async def until_present(topic: Topic, connections: int) -> Presence:
    """Wait until so many connections are present, and return who they are."""
    async with asyncio.timeout(5):
        present = await topic.presence()
        while present.connections != connections:
            await asyncio.sleep(0)
            present = await topic.presence()
    return present


class LateBroker:
    """Lets what an app's broker is told of presence come late, and in another order."""

    def __init__(self, app: Quart, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
        self._random = random.Random(seed)
        self._inner = app.extensions["quart_sse"].broker.inner
        self._enter, self._exit = self._inner.enter, self._inner.exit
        self.under_way = 0
        monkeypatch.setattr(self._inner, "enter", self.enter)
        monkeypatch.setattr(self._inner, "exit", self.exit)

    async def _wait(self) -> None:
        self.under_way += 1
        try:
            for _ in range(self._random.randrange(20)):
                await asyncio.sleep(0)
        finally:
            self.under_way -= 1

    async def enter(self, members: Mapping[str, Mapping[str, str]]) -> Moves:
        await self._wait()
        moves: Moves = await self._enter(members)
        await self._wait()
        return moves

    async def exit(self, members: Mapping[str, Collection[str]]) -> Moves:
        await self._wait()
        moves: Moves = await self._exit(members)
        await self._wait()
        return moves


async def rooms_of_presence(sse: SSE) -> list[int]:
    """Return the rooms in which any connection is present."""
    rooms = [sse.topic("rooms", room=room) for room in range(5)]
    present = [await topic.presence() for topic in rooms]
    return [number for number, found in enumerate(present) if found.connections]


async def next_count(stream: Stream) -> str:
    """Return the text of the next message."""
    return BeautifulSoup((await stream.next("message")).data, "html.parser").get_text()


async def until_count(stream: Stream, count: str) -> None:
    """Wait for a message with this text."""
    async with asyncio.timeout(5):
        while await next_count(stream) != count:
            pass


async def test_people_are_fewer_than_connections(app: Quart, sse: SSE) -> None:
    """A user with two tabs is one person; the cookie distinguishes anonymous browsers.

    Those without a cookie are one person for each address.
    """
    known, other = await known_browser(app), await known_browser(app)
    clients = [
        client_of(app, "ada"),
        client_of(app, "ada"),
        client_of(app, "bob"),
        known,
        known,
        other,
        client_of(app),
        client_of(app),
    ]
    topic = sse.topic("rooms", room=7)

    async with AsyncExitStack() as stack:
        for client in clients:
            await stack.enter_async_context(open_stream(client, "/sse/rooms/7"))
        present = await topic.presence()
    gone = await until_present(topic, 0)

    assert present == Presence(people=5, connections=8, identities=frozenset({"ada", "bob"}))
    assert gone == Presence(people=0, connections=0, identities=frozenset())


async def test_browser_is_one_person_from_its_first_stream_on(app: Quart, sse: SSE) -> None:
    """The stream that sets a browser's cookie counts as that browser's already."""
    client = client_of(app)

    async with open_stream(client, "/sse/rooms/7") as first:
        for morsel in SimpleCookie(first.headers["set-cookie"]).values():
            client.set_cookie("localhost", morsel.key, morsel.value)
        async with open_stream(client, "/sse/rooms/7"):
            present = await sse.topic("rooms", room=7).presence()

    assert (present.people, present.connections) == (1, 2)


async def test_topics_are_counted_apart(app: Quart, sse: SSE) -> None:
    """A stream is present on each of its topics, and on no other."""
    async with (
        open_stream(client_of(app, "ada"), "/sse?t=~rooms?room%3D1+rooms?room%3D2"),
        open_stream(client_of(app, "bob"), "/sse/rooms/2"),
    ):
        present = [await sse.topic("rooms", room=room).presence() for room in range(4)]

    assert [sorted(found.identities) for found in present] == [[], ["ada"], ["ada", "bob"], []]
    assert [found.people for found in present] == [0, 1, 2, 0]


async def test_no_identity_can_pass_for_an_anonymous_browser(app: Quart, sse: SSE) -> None:
    """Whatever an application calls its users, they are not mixed up with anonymous ones."""
    async with open_stream(client_of(app), "/sse/rooms/7"):
        (anonymous,) = (each.id for each in app.extensions["quart_sse"].connections)
        async with AsyncExitStack() as stack:
            for who in (anonymous, f"-{anonymous}", f"+{anonymous}", "-"):
                client = client_of(app, who)
                await stack.enter_async_context(open_stream(client, "/sse/rooms/7"))
            present = await sse.topic("rooms", room=7).presence()

    assert present.people == 5
    assert present.identities == {anonymous, f"-{anonymous}", f"+{anonymous}", "-"}


@pytest.mark.parametrize("url", ["/sse/inner", "/sse?t=~inner", "/sse?t=nonsense"])
async def test_refused_stream_is_not_present(app: Quart, sse: SSE, url: str) -> None:
    """Who may not listen is not here, nor is who asks for headers alone."""
    inner = sse.channel("inner", "/inner")

    async with open_stream(client_of(app, "ada"), url):
        present = await inner.topic().presence()

    assert present.connections == 0


async def test_head_is_not_present(app: Quart, sse: SSE) -> None:
    """Asking for headers is no listening."""
    await client_of(app, "ada").head("/sse/rooms/7", headers=SSE_ACCEPT)

    assert (await sse.topic("rooms", room=7).presence()).connections == 0


async def test_who_leaves_lingers(app: Quart) -> None:
    """A closed connection counts for a while, and a reload adds none."""
    app.config["QUART_SSE_PRESENCE_LINGER"] = 60
    sse = SSE(app)
    sse.identity(lambda: request.cookies.get("who"))
    topic = sse.channel("rooms", "/rooms", public=True).topic()
    shown: list[int] = []

    @topic.channel.fragment("people", presence=True, debounce=0)
    async def people() -> str:
        shown.append((await topic.presence()).people)
        return str(shown[-1])

    async with open_stream(client_of(app, "bob"), "/sse/rooms") as stream:
        await next_count(stream)
        for _ in range(3):
            async with open_stream(client_of(app, "ada"), "/sse/rooms"):
                await next_count(stream)
            present = await topic.presence()

    assert present.people == 2
    assert present.connections == 4
    assert set(shown) == {1, 2}
    assert shown == sorted(shown)


@pytest.mark.parametrize("where", ["own URL", "page"])
async def test_fragment_that_shows_presence_follows_it(app: Quart, sse: SSE, where: str) -> None:
    """It is refreshed when a viewer joins or leaves the topic, without a line of the app's."""
    halls = sse.channel("halls", "/halls/<int:hall>", public=True)

    @halls.fragment("people", presence=True, debounce=0)
    async def people(hall: int) -> str:
        present = await halls.topic(hall=hall).presence()
        return " ".join(sorted(present.identities))

    @app.get("/")
    async def page() -> str:
        return await render_template_string(
            '{% from "quart_sse/macros.html" import sse_live %}'
            '{{ sse_live("halls.people", hall=7) }}'
        )

    ada = client_of(app, "ada")
    url = "/sse/halls/7"
    if where == "page":
        answer = await ada.get("/")
        (url,) = connect_urls(await answer.get_data(as_text=True))
    seen = []
    async with open_stream(ada, url) as stream:
        seen.append(await next_count(stream))
        async with open_stream(client_of(app, "eve"), "/sse/halls/8"):
            async with open_stream(client_of(app, "bob"), "/sse/halls/7"):
                seen.append(await next_count(stream))
                async with open_stream(client_of(app, "carl"), "/sse/halls/7"):
                    seen.append(await next_count(stream))
                seen.append(await next_count(stream))
            seen.append(await next_count(stream))

    assert seen == ["ada", "ada bob", "ada bob carl", "ada bob", "ada"]


async def test_personal_fragment_that_shows_presence_is_fetched_anew(app: Quart, sse: SSE) -> None:
    """Also a personal one: its viewers receive a loader that fetches it."""
    halls = sse.channel("halls", "/halls", public=True)

    @halls.fragment("others", presence=True, personal=True)
    async def others() -> str:
        present = await halls.topic().presence()
        return " ".join(sorted(present.identities - {request.cookies["who"]}))

    ada = client_of(app, "ada")
    async with open_stream(ada, "/sse/halls") as stream:
        await stream.next("message")
        async with open_stream(client_of(app, "bob"), "/sse/halls"):
            message = await stream.next("message")
            loader = BeautifulSoup(message.data, "html.parser").find("span")
            assert loader is not None
            answer = await ada.get(str(loader["hx-get"]))

    assert await answer.get_data(as_text=True) == "bob"


async def test_evicted_and_disconnected_streams_leave(app: Quart, sse: SSE) -> None:
    """However a stream ends, its presence ends with it."""
    topic = sse.topic("rooms", room=7)

    async with (
        open_stream(client_of(app, "ada"), "/sse/rooms/7") as ada,
        open_stream(client_of(app, "bob"), "/sse/rooms/7"),
    ):
        await sse.disconnect(identity="ada")
        await ada.rest()
        present = await until_present(topic, 1)

    assert present.identities == {"bob"}


async def test_fragment_is_refreshed_although_the_broker_was_away_meanwhile(
    app: Quart, sse: SSE, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes away between the exit of a client and the refresh that shows it."""
    rooms = sse.channels["rooms"]

    @rooms.fragment("here", presence=True)
    async def here(room: int) -> str:
        return f"{(await rooms.topic(room=room).presence()).connections}"

    services = app.extensions["quart_sse"]
    publish, failures = services.broker.inner.publish, 2

    async def fail(message: Message, keep: Keep) -> Id:
        nonlocal failures
        if message.kind is Kind.REFRESH and failures and is_away:
            failures -= 1
            raise BrokerUnavailable("The broker is away.")
        id: Id = await publish(message, keep)
        return id

    monkeypatch.setattr(services.broker.inner, "publish", fail)
    is_away = False
    async with app.test_app(), open_stream(app, "/sse/rooms/7?fragments=here&since=0") as stays:
        await until_count(stays, "1")
        async with open_stream(app, "/sse/rooms/7?fragments=here"):
            await until_count(stays, "2")
            is_away = True
        await until_count(stays, "1")

    assert failures == 0


@pytest.mark.parametrize("seed", range(5))
async def test_topic_that_a_hook_takes_off_while_the_stream_opens_is_not_present(
    app: Quart, sse: SSE, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """The report of the stream's topics is then on its way, and must not come after the other."""
    late = LateBroker(app, monkeypatch, seed)
    is_done = asyncio.Event()

    @sse.on_connect
    async def leave_rooms(connection: ConnectionHandle) -> None:
        await connection.unsubscribe(sse.topic("rooms", room=1))
        await connection.unsubscribe(sse.topic("rooms", room=3))
        is_done.set()

    url = "/sse?t=~rooms?room%3D1+rooms?room%3D2+rooms?room%3D3"
    async with app.test_app():
        async with open_stream(client_of(app, "ada"), url):
            await is_done.wait()
            await until(lambda: not late.under_way)
            assert await rooms_of_presence(sse) == [2]
        await until_present(sse.topic("rooms", room=2), 0)
        assert await rooms_of_presence(sse) == []


@pytest.mark.parametrize("seed", range(20))
async def test_presence_is_what_a_connection_listens_to_however_its_topics_change(
    app: Quart, sse: SSE, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Changes overtake each other and the regular report; the last change counts."""
    late = LateBroker(app, monkeypatch, seed)
    choose = random.Random(seed)
    tracker = app.extensions["quart_sse"].presence
    changed = [sse.topic("rooms", room=room) for room in range(4)]

    async def change(handle: ConnectionHandle) -> None:
        for _ in range(choose.randrange(20)):
            await asyncio.sleep(0)
        topic = choose.choice(changed)
        await choose.choice([handle.subscribe, handle.unsubscribe])(topic)

    async with app.test_app():
        async with open_stream(client_of(app, "ada"), "/sse/rooms/4") as stream:
            await stream.next("sse-open")
            (handle,) = sse.connections
            for _ in range(5):
                changes = [change(handle) for _ in range(8)]
                await asyncio.gather(tracker.announce(), *changes, tracker.announce())
                await until(lambda: not late.under_way)
                topics = {topic.name for topic in handle.topics}
                rooms = [n for n in range(5) if sse.topic("rooms", room=n).name in topics]
                assert await rooms_of_presence(sse) == rooms
        await until_present(sse.topic("rooms", room=4), 0)
        for room in range(5):
            await until_present(sse.topic("rooms", room=room), 0)
        await until(lambda: not late.under_way)
        assert await rooms_of_presence(sse) == []


async def test_topic_that_comes_while_the_stream_leaves_is_not_present_for_ever(
    app: Quart, sse: SSE, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The report of the topic arrives after the connection was removed everywhere."""
    services = app.extensions["quart_sse"]
    enter, is_held, may_enter = services.broker.inner.enter, asyncio.Event(), asyncio.Event()

    async def hold(members: Mapping[str, Mapping[str, str]]) -> Moves:
        if sse.topic("rooms", room=2).name in members:
            is_held.set()
            await may_enter.wait()
        moves: Moves = await enter(members)
        return moves

    monkeypatch.setattr(services.broker.inner, "enter", hold)
    async with app.test_app():
        async with open_stream(client_of(app, "ada"), "/sse/rooms/1") as stream:
            await stream.next("sse-open")
            (handle,) = sse.connections
            topic = sse.topic("rooms", room=2)
            subscribing = asyncio.create_task(handle.subscribe(topic))
            await is_held.wait()
        await until(lambda: not sse.connections)
        sweeping = asyncio.create_task(services.presence.sweep(float("inf")))
        await asyncio.sleep(0)  # it has removed what it need not wait for
        may_enter.set()
        await asyncio.gather(subscribing, sweeping)

        assert await rooms_of_presence(sse) == []
        await services.presence.sweep(float("inf"))
        assert not services.presence._announcer._recorded
        assert not services.presence._members._departed
        assert not services.presence._announcer._changed


def renew_often(site: Halls, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a process renew its records twenty times a second."""
    monkeypatch.setattr(presence, "RENEW", 0.05)
    site.tracker._renew_at = 0.0
    site.tracker._wake.set()


async def test_records_are_renewed_in_time(site: Halls, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the broker has lost is on record again, without any change."""
    connection = site.connect("halls?hall=1")
    await until(lambda: site.entered)
    await site.app.extensions["quart_sse"].broker.exit({"halls?hall=1": [connection.id]})
    assert await site.record("halls?hall=1") == {}
    renew_often(site, monkeypatch)
    record: Mapping[str, str] = {}
    async with asyncio.timeout(5):
        while not record:
            await asyncio.sleep(0)
            record = await site.record("halls?hall=1")

    assert record.keys() == {connection.id}


@pytest.mark.parametrize("end", ["killed", "stopped"])
async def test_page_shows_when_the_viewers_of_a_dead_process_expire(
    sites: tuple[Halls, Halls], monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """Those that are here renew their records, and find the others that have expired."""
    here, there = sites
    async with open_stream(here.app, "/sse/shows/1") as stays:
        await until(lambda: here.people)
        monkeypatch.setattr(commands, "PRESENT_MS", 1_500)
        renew_often(here, monkeypatch)
        async with open_stream(there.app, "/sse/shows/1"):
            await until_count(stays, "2")
            # Nothing of it renews its record, nor takes it back.
            await there.tracker.stop()
            if end == "stopped":
                await there.app.shutdown()
            here.refreshed.clear()
            await until_count(stays, "1")

        assert (await here.show(1).presence()).connections == 1
        assert (here.left, there.left) == ([], [])


async def test_slow_broker_keeps_no_stream_and_no_heartbeat_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What it is told of presence has a task of its own."""
    site = Halls("memory://", heartbeat=0.1, probe=0.1)
    inner, is_asked = site.app.extensions["quart_sse"].broker.inner, asyncio.Event()

    async def hang(members: Mapping[str, Mapping[str, str]]) -> Moves:
        if "" not in members:
            is_asked.set()
            await asyncio.Event().wait()
        return Moves()

    monkeypatch.setattr(inner, "enter", hang)
    async with serving(site), open_stream(site.app, "/sse/halls/1") as stream:
        await stream.next("sse-open")
        await is_asked.wait()
        for _ in range(3):
            before = stream.last_id
            async with asyncio.timeout(5):
                while stream.last_id == before:
                    await stream._read()
        async with open_stream(site.app, "/sse/halls/1") as other:
            await other.next("sse-open")
            assert (await site.hall(1).presence()).connections == 2


@pytest.mark.parametrize("where", ["here", "there"])
async def test_presence_carries_the_metadata_that_the_channel_lists(
    sites: tuple[Halls, Halls], where: str
) -> None:
    """Of each person those of one connection, in every process; no other keys."""
    here, there = sites
    metas = {
        "ada": {"name": "Ada", "role": "admin", "secret": 1},
        "bob": {"secret": 2},
        "eve": None,
    }
    async with AsyncExitStack() as stack:
        for who, meta in metas.items():
            url = f"/sse/clubs/chess?meta={json.dumps(meta)}"
            await stack.enter_async_context(open_stream(here.client(who), url))
        await stack.enter_async_context(open_stream(here.app, "/sse/clubs/chess"))
        await until(lambda: len(here.entered) > 0)
        await here.tracker.sweep(float("inf"))
        found = (await (here if where == "here" else there).club().presence()).who

    assert found[:3] == [
        Person("ada", 1, {"name": "Ada", "role": "admin"}),
        Person("bob", 1),
        Person("eve", 1),
    ]
    assert [(each.identity, each.connections) for each in found[3:]] == [(None, 1)]
    assert "secret" not in str(here.entered)


async def test_metadata_that_are_too_long_are_left_out(
    site: Halls, caplog: pytest.LogCaptureFixture
) -> None:
    """The person counts all the same, and the log says why the metadata are not there."""
    url = f"/sse/clubs/chess?meta={json.dumps({'name': 'A' * 1_000})}"
    async with open_stream(site.client("ada"), url):
        found = (await site.club().presence()).who

    assert found == [Person("ada", 1)]
    assert [each.message for each in caplog.records if "1012 characters" in each.message]


async def test_people_join_and_leave_once_over_all_processes(sites: tuple[Halls, Halls]) -> None:
    """Another tab, another process and a visitor without an identity are no join."""
    here, there = sites

    async def settle(*expected: str) -> None:
        for site in sites:
            await site.tracker.sweep(float("inf"))
        await until(lambda: len(here.moves + there.moves) >= len(expected))
        assert sorted(here.moves + there.moves) == sorted(expected)

    url, meta = "/sse/clubs/chess", '?meta={"name": "Ada"}'
    async with open_stream(here.client("ada"), url + meta):
        await settle("+ada Ada chess")
        async with (
            open_stream(here.client("ada"), url),
            open_stream(there.client("ada"), url),
            open_stream(there.app, url),
            open_stream(there.client("bob"), url),
            open_stream(there.client("ada"), "/sse/clubs/go"),
        ):
            await settle("+ada Ada chess", "+bob  chess", "+ada  go")
    await until(lambda: not here.sse.connections and not there.sse.connections)
    moves = ["+ada Ada chess", "+bob  chess", "+ada  go", "-bob  chess", "-ada  go"]
    for site in sites:
        await site.tracker.sweep(float("inf"))
    await until(lambda: len(here.moves + there.moves) == 6)

    # Whose name is that of the connection which closed last.
    (last,) = {*here.moves, *there.moves} - {*moves}
    assert re.fullmatch("-ada (Ada)? chess", last)


async def test_reload_is_no_leave(site: Halls) -> None:
    """What closes counts for a while, in which the next page has come."""
    site.tracker._members._linger = 60.0
    url = "/sse/clubs/chess"
    async with open_stream(site.client("bob"), url):
        for _ in range(3):
            async with open_stream(site.client("ada"), url):
                await until(lambda: "+ada  chess" in site.moves)
            await site.tracker.sweep(asyncio.get_running_loop().time() + 30)
        people = (await site.club().presence()).identities

    assert people == {"ada", "bob"}
    assert sorted(site.moves) == ["+ada  chess", "+bob  chess"]


async def test_record_that_the_broker_has_lost_makes_no_one_join(site: Halls) -> None:
    """Who was here before is renewed, and that is all."""
    async with open_stream(site.client("ada"), "/sse/clubs/chess"):
        await until(lambda: site.moves)
        await site.app.extensions["quart_sse"].broker.exit(
            {site.club().name: list(site.announcer.recorded(site.club().name))}
        )
        await site.tracker.announce()
        assert await site.record(site.club().name)
        async with open_stream(site.client("bob"), "/sse/clubs/chess"):
            await site.tracker.sweep(float("inf"))
            await until(lambda: len(site.moves) > 1)

    assert site.moves[:2] == ["+ada  chess", "+bob  chess"]


async def test_people_of_a_dead_process_leave_when_they_expire(
    sites: tuple[Halls, Halls], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process with viewers of the topic finds it out, and calls its hooks."""
    here, there = sites
    monkeypatch.setattr(commands, "PRESENT_MS", 1_500)
    async with open_stream(here.client("bob"), "/sse/clubs/chess"):
        renew_often(here, monkeypatch)
        async with open_stream(there.client("ada"), "/sse/clubs/chess"):
            await until(lambda: "+ada  chess" in there.moves)
            await there.tracker.stop()
            await until(lambda: "-ada  chess" in here.moves)
            assert (await here.club().presence()).identities == {"bob"}
    assert there.moves == ["+ada  chess"]


@pytest.mark.parametrize("names", [False, True])
async def test_built_in_fragment_shows_who_is_here(sites: tuple[Halls, Halls], names: bool) -> None:
    """In words that follow it, in every process; it is refreshed only where a page shows it."""
    here, there = sites
    fragment = "presence-names" if names else "presence"
    async with open_stream(there.client("eve"), "/sse/clubs/chess"):
        await until(lambda: there.entered)
        await there.tracker.sweep(float("inf"))
        assert here.refreshed == there.refreshed == []
        url = (
            f"/sse/clubs/chess?fragments={fragment}&since=0&meta={json.dumps({'name': 'Bob <b>'})}"
        )
        async with open_stream(here.client("bob"), url) as stream:
            text = await next_count(stream)
            while "2" not in text:
                text = await next_count(stream)
            async with open_stream(there.client("ada"), "/sse/clubs/chess"):
                await there.tracker.sweep(float("inf"))
                while "3 people here" not in (text := await next_count(stream)):
                    pass

    assert text == ("3 people hereadaBob <b>eve" if names else "3 people here")


async def test_page_without_the_macro_and_a_channels_own_url_have_no_built_in_fragment(
    site: Halls,
) -> None:
    """It is part of a stream only where it is named, and of no refresh of all fragments."""
    async with open_stream(site.app, "/sse/clubs/chess") as stream:
        await stream.next("sse-open")
        (connection,) = site.app.extensions["quart_sse"].connections
        assert connection.subscription == {"clubs?club=chess": frozenset()}
        await site.club().refresh()

    assert site.clubs.record().fragments == ()
