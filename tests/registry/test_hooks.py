"""Hooks: functions of the app that are called when connections come and go."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from typing import Any

import pytest
from quart import Response, current_app, has_request_context

from quart_sse import ConnectionHandle, Ending, Topic
from tests.support.sites import Site, heard, serving
from tests.support.streams import open_stream, until


@pytest.fixture
async def noted() -> AsyncIterator[Site]:
    """A site whose hooks note what they are given."""
    site = Site("memory://")

    @site.sse.on_connect
    async def came(connection: ConnectionHandle) -> None:
        assert current_app.name == site.app.name
        site.seen.append(f"{connection.identity} came")

    @site.sse.on_disconnect
    def went(connection: ConnectionHandle, ending: Ending | None) -> None:
        site.seen.append(f"{connection.identity} went {ending and ending.reason}")

    @site.rooms.on_connect
    def entered(connection: ConnectionHandle, topic: Topic) -> None:
        site.seen.append(f"{connection.identity} in {topic.params['room']}")

    @site.rooms.on_disconnect
    async def left(connection: ConnectionHandle, topic: Topic, ending: Ending | None) -> None:
        reason = ending and ending.reason
        site.seen.append(f"{connection.identity} out {topic.params['room']} {reason}")

    async with serving(site):
        yield site


async def test_hooks_are_called_once_and_in_order(noted: Site) -> None:
    """The connection first, then its topics; at the end the other way round."""
    async with noted.view(1, 2, who="ada"):
        await until(lambda: len(noted.seen) == 3)
    await until(lambda: len(noted.seen) == 6)

    assert noted.seen == [
        *("ada came", "ada in 1", "ada in 2"),
        *("ada out 1 None", "ada out 2 None", "ada went None"),
    ]


async def test_hooks_know_how_the_stream_ended(noted: Site) -> None:
    """Whether the app has closed it, or the server stops."""
    async with noted.view(1, who="ada") as (stream, handle):
        await handle.close()
        await stream.rest()
    await until(lambda: "ada went closed" in noted.seen)

    assert "ada out 1 closed" in noted.seen


async def test_topics_that_come_and_go_call_the_hooks_of_their_channel(noted: Site) -> None:
    """Also if the app makes them do so; those of the connection are not called again."""
    async with noted.view(1, who="ada") as (_, handle):
        await handle.subscribe(noted.room(5))
        await handle.subscribe(noted.news.topic())
        await handle.unsubscribe(noted.room(1))
        await until(lambda: len(noted.seen) == 4)
        await noted.rooms.close()
        await until(lambda: len(noted.seen) == 5)

    assert noted.seen[:5] == [
        *("ada came", "ada in 1"),
        *("ada in 5", "ada out 1 None", "ada out 5 None"),
    ]


async def test_next_stream_of_a_connection_is_no_other_connection(noted: Site) -> None:
    """As when a second tab opens; only its topics are new."""
    client = noted.client("ada")
    async with open_stream(client, await noted.page(1, client=client)) as first:
        opened = json.loads((await first.next("sse-open")).data)
        url = f"{await noted.page(1, 2, client=client)}&replaces={opened['secret']}"
        async with open_stream(client, url) as second:
            await second.next("sse-open")
            await first.connection.disconnect()
            await until(lambda: len(noted.app.extensions["quart_sse"].connections) == 1)
            await until(lambda: len(noted.seen) == 3)
            url = f"{await noted.page(2, client=client)}&replaces={opened['secret']}"
            async with open_stream(client, url) as third:
                await third.next("sse-open")
                await second.connection.disconnect()
                await until(lambda: len(noted.seen) == 4)
    await until(lambda: len(noted.seen) == 6)

    assert noted.seen == [
        *("ada came", "ada in 1", "ada in 2"),
        "ada out 1 None",
        *("ada out 2 None", "ada went None"),
    ]


async def test_stream_that_opens_late_is_not_taken_for_the_newest(noted: Site) -> None:
    """It was replaced while it opened; its topics are no longer those of the connection."""
    services = noted.app.extensions["quart_sse"]
    client = noted.client("ada")
    async with open_stream(client, await noted.page(1, client=client)) as first:
        opened = json.loads((await first.next("sse-open")).data)
        old = services.connections.get(opened["id"])
        url = f"{await noted.page(2, client=client)}&replaces={opened['secret']}"
        async with open_stream(client, url) as second:
            await second.next("sse-open")
            await until(lambda: len(noted.seen) == 4)
            services.registry._desk._hooks.note(old)
            await first.connection.disconnect()
            await until(lambda: len(services.connections) == 1)
    await until(lambda: "ada went None" in noted.seen)

    assert noted.seen == [
        *("ada came", "ada in 1"),
        *("ada in 2", "ada out 1 None"),
        *("ada out 2 None", "ada went None"),
    ]


async def test_hooks_of_one_stream(site: Site) -> None:
    """A view may have hooks for the stream that it answers with."""
    seen: list[str] = []

    @site.app.get("/ticker")
    async def ticker() -> Response:
        async def came(connection: ConnectionHandle) -> None:
            await connection.send("hello", connection.id)
            seen.append("came")

        return await site.sse.stream(
            site.news.topic(),
            connection_id="own",
            on_connect=came,
            on_disconnect=lambda connection, ending: seen.append("went"),
        )

    async with open_stream(site.app, "/ticker") as stream:
        assert (await stream.next("hello")).data == "own"
        async with open_stream(site.app, "/sse/news"):
            pass
    await until(lambda: seen == ["came", "went"])


async def test_hook_that_fails_harms_nothing(noted: Site, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and the others are called."""
    noted.sse.on_connect(lambda connection: 1 / 0)
    noted.rooms.on_disconnect(lambda connection, topic, ending: 1 / 0)

    async with noted.view(1, who="ada") as (stream, handle):
        await until(lambda: "ada in 1" in noted.seen)
        await handle.send("note", "x")
        assert await heard(stream, 1) == [("connection.note", "x")]
    await until(lambda: "ada went None" in noted.seen)

    failed = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.__dict__["sse_fields"]["hook"] for record in failed] == [
        "on_connect",
        "on_disconnect of channel 'rooms'",
    ]


async def test_hook_of_the_end_waits_for_that_of_the_begin(site: Site) -> None:
    """However long it takes, and off the way of what is delivered."""
    seen: list[str] = []
    goes_on = asyncio.Event()

    @site.sse.on_connect
    async def came(connection: ConnectionHandle) -> None:
        await goes_on.wait()
        seen.append("came")

    site.sse.on_disconnect(lambda connection, ending: seen.append("went"))

    async with site.view(1) as (stream, _):
        await site.room().publish("said", "x")
        assert await heard(stream, 1) == [("rooms.said?room=1", "x")]
    await until(lambda: not site.sse.connections)
    assert seen == []
    goes_on.set()
    await until(lambda: seen == ["came", "went"])


async def test_event_for_others_leaves_out_the_connection_of_the_hook(site: Site) -> None:
    """Who comes is not sent that it has come; nor when it resumes."""

    @site.rooms.on_connect
    async def entered(connection: ConnectionHandle, topic: Topic) -> None:
        await topic.publish("came", connection.identity, to_others=True)
        site.seen.append(f"{connection.identity} came")

    async with site.view(1, who="ada") as (ada, _):
        await until(lambda: site.seen == ["ada came"])
        async with site.view(1, who="bob") as (bob, _):
            await until(lambda: len(site.seen) == 2)
            await site.room().publish("said", "x")
            expected = [("rooms.came?room=1", "bob"), ("rooms.said?room=1", "x")]

            assert await heard(ada, 2) == expected
            assert await heard(bob, 1) == expected[1:]


#: What an app keeps for the time of a request.
current_user: ContextVar[str] = ContextVar("current_user", default="")


async def test_hook_runs_outside_of_the_request_that_changed_its_connection(site: Site) -> None:
    """Its user is that of the connection, whoever has invited or sent away."""
    contexts: list[tuple[str | None, bool, str]] = []

    def note(connection: ConnectionHandle) -> None:
        contexts.append((connection.identity, has_request_context(), current_user.get()))

    site.sse.on_connect(note)
    site.sse.on_disconnect(lambda connection, ending: note(connection))
    site.rooms.on_connect(lambda connection, topic: note(connection))
    site.rooms.on_disconnect(lambda connection, topic, ending: note(connection))

    @site.app.post("/<action>")
    async def change(action: str) -> str:
        current_user.set("ada")
        (bob,) = site.sse.connections.of(identity="bob")
        if action == "invite":
            await bob.subscribe(site.room(7))
        elif action == "send-away":
            await bob.unsubscribe(site.room(7))
        elif action == "close-room":
            await site.room(1).close()
        else:
            await bob.close()
        return ""

    async with site.view(1, 2, who="bob"):
        await until(lambda: len(contexts) == 3)
        for number, action in enumerate(("invite", "send-away", "close-room"), start=4):
            await site.client("ada").post(f"/{action}")
            await until(lambda number=number: len(contexts) == number)  # type: ignore[misc]
        await site.client("ada").post("/close")
    await until(lambda: len(contexts) == 8)

    assert set(contexts) == {("bob", False, "")}


async def test_event_of_a_hook_names_no_page_of_another_user(site: Site) -> None:
    """The page that invited is sent that the other has come."""

    @site.rooms.on_connect
    async def entered(connection: ConnectionHandle, topic: Topic) -> None:
        await topic.publish("came", connection.identity, to_others=True)
        site.seen.append(f"{connection.identity} came")

    @site.app.post("/invite")
    async def invite() -> str:
        (bob,) = site.sse.connections.of(identity="bob")
        await bob.subscribe(site.room(7))
        await site.room(7).publish("invited", "bob", to_others=True)
        return ""

    async with site.view(7, who="ada") as (ada, handle), site.view(1, who="bob"):
        await until(lambda: len(site.seen) == 2)
        connection = site.app.extensions["quart_sse"].connections.get(handle.id)
        header = {"X-SSE-Page": f"{connection.lasting.secret}.p1"}
        await site.client("ada").post("/invite", headers=header)
        await until(lambda: len(site.seen) == 3)
        await site.room(7).publish("said", "end")
        raw = b""
        while b"data: end\n" not in raw:
            raw += await ada.connection.receive()

    origins = {
        name: f"origin: {handle.id}.p1" in block
        for block in raw.decode().split("\n\n")
        for name in ("came", "invited", "said")
        if f"event: rooms.{name}?room=7\n" in block
    }
    assert origins == {"came": False, "invited": True, "said": False}


@pytest.mark.parametrize(
    ("way", "last"),
    [
        ("disconnect", ("sse-holdoff", "disconnect")),
        ("close", ("sse-stop", "closed")),
        ("pause", ("sse-holdoff", "paused")),
    ],
)
async def test_stream_that_ended_before_it_opened_calls_no_hook(
    site: Site, monkeypatch: pytest.MonkeyPatch, way: str, last: tuple[str, str]
) -> None:
    """Neither for its begin nor for its end: the app has never had the connection."""
    services = site.app.extensions["quart_sse"]
    broker = services.broker.inner
    resume = broker.resume

    def note(connection: ConnectionHandle, *args: object) -> None:
        site.seen.append(connection.identity or "")

    for decorate in (site.sse.on_connect, site.sse.on_disconnect):
        decorate(note)
    for decorate in (site.rooms.on_connect, site.rooms.on_disconnect):
        decorate(note)

    async def resume_late(starts: Any, budget: Any) -> Any:
        replay = await resume(starts, budget)
        (connection,) = services.connections
        if way == "disconnect":
            await site.sse.disconnect(identity="ada")
        else:
            await site.sse.close(connection.id, retry=None if way == "close" else 5)
        await until(lambda: connection.is_ended)
        return replay

    client = site.client("ada")
    url = await site.page(1, client=client)
    monkeypatch.setattr(broker, "resume", resume_late)
    async with open_stream(client, url) as stream:
        rest = [(event.event, event.data) for event in await stream.rest()]
    await until(lambda: not services.connections)
    monkeypatch.setattr(broker, "resume", resume)
    async with site.view(1, who="bob"):
        await until(lambda: site.seen.count("bob") == 2)
    await until(lambda: site.seen.count("bob") == 4)

    assert rest[-1] == last
    assert set(site.seen) == {"bob"}


@pytest.mark.parametrize("declare", [lambda site: site.sse, lambda site: site.rooms])
def test_decorators_return_the_function(declare: Callable[[Site], Any]) -> None:
    """So that it can still be called, or have another decorator."""
    site = Site("memory://")

    def function() -> None: ...

    for decorator in (declare(site).on_connect, declare(site).on_disconnect):
        assert decorator(function) is function


async def test_server_that_stops_lets_hooks_end() -> None:
    """Those of the end run before the app is gone."""
    site, seen = Site("memory://"), list[str]()
    site.sse.on_disconnect(lambda connection, ending: seen.append(str(ending)))

    async with serving(site), site.view(1):
        pass
    assert seen == ["None"]
