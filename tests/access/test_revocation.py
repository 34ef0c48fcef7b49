"""Revocations: clients that are meant are judged again, wherever the revocation finds them."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from quart import Quart, Response, render_template_string, request
from quart.testing import QuartClient
from werkzeug.datastructures import ImmutableMultiDict

from quart_sse import SSE, Channel
from quart_sse.access import revocation
from quart_sse.access.revocation import REMEMBERED, Revocation
from quart_sse.broker import CONTROL_HISTORY, Broker, Kind, Message
from quart_sse.config import Config
from quart_sse.host import KEY
from quart_sse.hub.connection import Connection
from quart_sse.wire.ending import Ending
from quart_sse.wire.position import ZERO
from quart_sse.wiring import Services
from tests.support.streams import Stream, open_stream, until


class Door:
    """A channel that lets every client in, as slowly as a test wants."""

    def __init__(self, app: Quart, sse: SSE) -> None:
        self.app, self.sse = app, sse
        self.asked = 0
        self.is_open = asyncio.Event()
        self.is_open.set()
        self.rooms: Channel = sse.channel("rooms", "/rooms/<int:room>")
        self.rooms.authorize(self._may_enter)
        self.rooms.fragment("list")(lambda room: "<b>list</b>")
        sse.channel("news", "/news", public=True)

        @sse.identity
        async def who() -> str | None:
            return request.cookies.get("who")

    async def _may_enter(self, room: int) -> bool:
        self.asked += 1
        await self.is_open.wait()
        return True

    @property
    def state(self) -> Services:
        state = self.app.extensions[KEY]
        assert isinstance(state, Services)
        return state

    def stream(self, who: str, url: str) -> "asyncio.Task[list[str]]":
        """Connect; returns the messages until the stream ends or is silent."""
        return asyncio.create_task(self._stream(who, url))

    async def _stream(self, who: str, url: str) -> list[str]:
        async with open_stream(self.client(who), url) as stream:
            return await _told(stream)

    def client(self, who: str) -> QuartClient:
        client = QuartClient(self.app)
        client.set_cookie("localhost", "who", who)
        return client


async def _told(stream: Stream) -> list[str]:
    """Return the names of all messages up to the end, or up to the event "last"."""
    names: list[str] = []
    while not names or names[-1] != "last":
        try:
            names.append((await stream.next()).event)
        except EOFError:
            break
    return names


@pytest.fixture
def door(app: Quart, sse: SSE) -> Door:
    return Door(app, sse)


@pytest.mark.parametrize("revocation", ["disconnect", "recheck"])
async def test_revocation_finds_clients_judged_before_it_came(door: Door, revocation: str) -> None:
    """A stream that is just being opened ends, and nothing that it missed is sent to it."""
    door.is_open.clear()
    position = await door.sse.broker.position()
    topic = door.rooms.topic(room=1)
    meant = door.stream("ada", f"/sse/rooms/1?since={position}")
    other = door.stream("bob", f"/sse/rooms/2?since={position}")
    await until(lambda: door.asked == 2)
    await topic.publish("secret")
    if revocation == "disconnect":
        await door.sse.disconnect(identity="ada")
    else:
        await door.sse.recheck(topic)
    door.is_open.set()
    await until(lambda: door.state.hub.receivers("rooms?room=2"))
    await door.rooms.topic(room=2).publish("last")

    assert await meant == ["sse-holdoff"]
    assert await other == ["sse-open", "last"]


async def test_revocation_that_came_before_the_request_is_over(door: Door) -> None:
    """A client that reconnects later is judged by what is true then, and may stay."""
    await door.sse.disconnect(identity="ada")
    await door.sse.recheck(door.rooms.topic(room=1))
    stream = door.stream("ada", "/sse/rooms/1")
    await until(lambda: door.state.hub.receivers("rooms?room=1"))
    await door.rooms.topic(room=1).publish("last")

    assert await stream == ["sse-open", "last"]


async def test_what_is_pending_does_not_outlive_the_right_to_read_it(door: Door) -> None:
    """A revocation ends a stream before what has not been sent yet."""
    async with open_stream(door.client("ada"), "/sse/rooms/1") as stream:
        await stream.next("sse-open")
        await door.rooms.topic(room=1).publish("sent")
        await stream.next("sent")
        (connection,) = door.state.connections.listening("rooms?room=1")
        connection.ahead([b"event: secret\ndata: 1\n\n"] * 2)  # of which the server has one
        await door.sse.recheck(door.rooms.topic(room=1))
        rest = await stream.rest()

    assert [event.event for event in rest].count("secret") == 1
    assert rest[-1].event == "sse-holdoff"


async def test_more_revocations_than_are_remembered_mean_every_client(door: Door) -> None:
    """A client that was judged before the oldest remembered one may have been meant by another."""
    door.is_open.clear()
    stream = door.stream("ada", "/sse/rooms/1")
    await until(lambda: door.asked == 1)
    for number in range(REMEMBERED):
        await door.sse.disconnect(identity=f"other {number}")
    door.is_open.set()

    assert await stream == ["sse-holdoff"]


@pytest.mark.parametrize(
    ("of", "identity", "is_meant"),
    [
        ({"identity": "ada"}, "ada", True),
        ({"identity": "ada"}, None, False),
        ({"topic": "rooms?room=1"}, None, True),
        ({"topic": "rooms?room=2"}, "ada", False),
    ],
)
async def test_revocation_means_its_identity_or_its_topic_alone(
    of: dict[str, str], identity: str | None, is_meant: bool
) -> None:
    """One of an identity means no client without one."""
    connection = Connection(
        {"rooms?room=1": frozenset()}, Config(), loader=lambda _: b"", identity=identity
    )

    assert Revocation(0.0, Ending.RECHECK, **of).means(connection) is is_meant


async def test_revocation_of_another_release_is_a_warning(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    """An unknown message is logged, and ends no stream."""
    broker: Broker = door.sse.broker
    async with open_stream(door.client("ada"), "/sse/rooms/1") as stream:
        await stream.next("sse-open")
        await broker.publish(Message(Kind.CONTROL, ZERO, "", "dance", "{}"), CONTROL_HISTORY)
        await door.rooms.topic(room=1).publish("last")
        assert await _told(stream) == ["last"]

    assert "'dance'" in caplog.text


async def test_lost_revocations_end_the_streams_that_they_may_have_meant(door: Door) -> None:
    """Streams with an identity or of a channel that is not public end soon, others stay."""
    now = asyncio.get_running_loop().time()
    anonymous = QuartClient(door.app)
    async with (
        open_stream(door.client("ada"), "/sse/news") as named,
        open_stream(anonymous, "/sse/rooms/1") as gated,
        open_stream(anonymous, "/sse/news") as free,
    ):
        for stream in (named, gated, free):
            await stream.next("sse-open")
        door.state.control.lose()
        ends = {
            (connection.identity, *connection.subscription): connection.ends_at - now
            for connection in door.state.connections
        }

    assert ends["ada", "news"] <= revocation.SPREAD + 5
    assert ends[None, "rooms?room=1"] <= revocation.SPREAD + 5
    assert ends[None, "news"] > 0.7 * door.state.config.max_age


@pytest.mark.parametrize("way", ["recheck", "lost"])
async def test_revocation_finds_what_is_seen_inside_another_topic(
    app: Quart, sse: SSE, way: str
) -> None:
    """A client that sees a topic only inside a fragment of a public one is judged again, too."""
    is_allowed = True
    inner = sse.channel("inner", "/inner")
    inner.authorize(lambda: is_allowed)
    inner.fragment("list")(lambda: "secret list")
    outer = sse.channel("outer", "/outer", public=True)

    @outer.fragment("all", includes=["inner.list"], debounce=0)
    async def everything() -> str:
        return await render_template_string(
            '{% from "quart_sse/macros.html" import sse_fragment %}{{ sse_fragment("inner.list") }}'
        )

    client = QuartClient(app)
    state: Services = app.extensions[KEY]
    async with open_stream(client, "/sse/outer?since=0") as stream:
        await stream.next("sse-holdoff")  # only now it is known what is inside
    async with open_stream(client, "/sse/outer?since=0") as stream:
        assert "secret list" in (await stream.next("message")).data
        is_allowed = False
        (connection,) = state.connections
        if way == "recheck":
            await sse.recheck(inner.topic())
            await outer.topic().refresh("all")
            assert (await stream.next()).data == "recheck"
        else:
            state.control.lose()
            left = connection.ends_at - asyncio.get_running_loop().time()
            assert left <= revocation.SPREAD


# -- signing out -----------------------------------------------------------------------------------


def add_logout(app: Quart, sse: SSE, *, is_late: bool) -> None:
    """Let users sign out, with the one line before or after the user is forgotten."""

    @app.post("/logout")
    async def logout() -> Response:
        response = Response("bye")
        response.delete_cookie("who")
        if is_late:
            request.cookies = ImmutableMultiDict(
                [(name, value) for name, value in request.cookies.items() if name != "who"]
            )
        await sse.logout()
        return response


async def browser_of(door: Door, who: str) -> QuartClient:
    """Return a browser that has been given the cookie by which it is known."""
    client = door.client(who)
    async with open_stream(client, "/sse/news") as stream:
        name, _, value = stream.headers["set-cookie"].partition(";")[0].partition("=")
    client.set_cookie("localhost", name, value)
    return client


@pytest.mark.parametrize("is_late", [False, True], ids=["before", "after"])
async def test_signing_out_ends_the_user_s_streams_in_this_browser(
    door: Door, is_late: bool
) -> None:
    """All tabs of the browser are sent to the gate again; other browsers of the user stay."""
    add_logout(door.app, door.sse, is_late=is_late)
    here, elsewhere = await browser_of(door, "ada"), await browser_of(door, "ada")
    bob = await browser_of(door, "bob")

    async with (
        open_stream(here, "/sse/rooms/1") as one,
        open_stream(here, "/sse/news") as two,
        open_stream(elsewhere, "/sse/rooms/1") as three,
        open_stream(bob, "/sse/rooms/1") as four,
    ):
        for stream in (one, two, three, four):
            await stream.next("sse-open")
        assert (await here.post("/logout")).status_code == 200
        await door.rooms.topic(room=1).publish("last")

        assert (await _told(one), await _told(two)) == (["sse-holdoff"], ["sse-holdoff"])
        assert (await _told(three), await _told(four)) == (["last"], ["last"])
    assert (await first_of(here, "/sse/rooms/1")) == "sse-open"


async def test_signing_out_ends_streams_of_the_time_before_the_cookie(door: Door) -> None:
    """Of streams that a new browser opens at the same time only one gives it its cookie."""
    add_logout(door.app, door.sse, is_late=False)
    here, bob = door.client("ada"), door.client("bob")

    async with (
        open_stream(here, "/sse/rooms/1") as one,
        open_stream(here, "/sse/rooms/1") as two,
        open_stream(bob, "/sse/rooms/1") as three,
    ):
        for stream in (one, two, three):
            await stream.next("sse-open")
        name, _, value = two.headers["set-cookie"].partition(";")[0].partition("=")
        here.set_cookie("localhost", name, value)
        assert (await here.post("/logout")).status_code == 200
        await door.rooms.topic(room=1).publish("last")

        assert (await _told(one), await _told(two)) == (["sse-holdoff"], ["sse-holdoff"])
        assert await _told(three) == ["last"]


async def first_of(client: QuartClient, url: str) -> str:
    """Return the name of the first event of a stream."""
    async with open_stream(client, url) as stream:
        return (await stream.next()).event


async def test_stream_that_comes_back_before_the_answer_ends_too(door: Door) -> None:
    """A session's cookie is good until the browser has the answer that deletes it."""
    back: list[Stream] = []
    here = await browser_of(door, "ada")

    @door.app.post("/logout")
    async def logout() -> Response:
        await door.sse.logout()
        stream = await stack.enter_async_context(open_stream(here, "/sse/rooms/1"))
        await stream.next("sse-open")
        back.append(stream)
        return Response("bye")

    async with AsyncExitStack() as stack:
        await here.post("/logout")

        assert await _told(back[0]) == ["sse-holdoff"]


async def test_request_that_was_on_its_way_at_the_logout_is_given_no_stream_to_keep(
    door: Door,
) -> None:
    """It has the session's cookie, and may arrive after the answer that deletes it was sent."""
    add_logout(door.app, door.sse, is_late=False)
    here, elsewhere = await browser_of(door, "ada"), await browser_of(door, "ada")
    tardy = await browser_of(door, "ada")
    assert here.cookie_jar is not None
    for cookie in here.cookie_jar:
        tardy.set_cookie("localhost", cookie.name, str(cookie.value))
    assert (await here.post("/logout")).status_code == 200

    async with (
        open_stream(tardy, "/sse/rooms/1") as one,
        open_stream(elsewhere, "/sse/rooms/1") as two,
        asyncio.timeout(max(revocation.ON_THEIR_WAY) + 5),
    ):
        for stream in (one, two):
            await stream.next("sse-open")
        assert await _told(one) == ["sse-holdoff"]
        await door.rooms.topic(room=1).publish("last")
        assert await _told(two) == ["last"]


async def test_visitors_stay_connected_when_another_signs_out(door: Door) -> None:
    """Streams of visitors in the same browser stay open."""
    add_logout(door.app, door.sse, is_late=True)
    here = await browser_of(door, "ada")
    here.delete_cookie("localhost", "who")

    async with open_stream(here, "/sse/news") as stream:
        await stream.next("sse-open")
        await here.post("/logout")
        await door.sse.topic("news").publish("last")

        assert await _told(stream) == ["last"]


async def test_signing_out_where_nothing_tells_whom_is_said(
    app: Quart, caplog: pytest.LogCaptureFixture
) -> None:
    """Without identity and cookie nothing can be ended, and the log names the remedy."""
    app.config["QUART_SSE_BROWSER_COOKIE"] = ""
    sse = SSE(app)
    add_logout(app, sse, is_late=True)

    assert (await QuartClient(app).post("/logout")).status_code == 200
    assert "before the session is cleared" in caplog.text


@pytest.mark.parametrize(
    "data",
    [
        *("no JSON", "[]", "{}", "7", "null", '{"topic": 7}', '{"topic": {}}', '{"topic": null}'),
        *('{"identity": []}', '{"identity": null}', '{"browser": {}}'),
    ],
)
@pytest.mark.parametrize("name", ["disconnect", "recheck", "logout"])
async def test_revocation_that_cannot_be_read_is_skipped(door: Door, name: str, data: str) -> None:
    """It ends no open stream, and refuses no opening one."""
    async with open_stream(door.client("ada"), "/sse/rooms/1") as stream:
        await stream.next("sse-open")
        door.is_open.clear()
        late = door.stream("bob", "/sse/rooms/1")
        await until(lambda: door.asked == 2)
        await door.sse.broker.publish(Message(Kind.CONTROL, ZERO, "", name, data), CONTROL_HISTORY)
        door.is_open.set()
        await until(lambda: door.state.hub.receivers("rooms?room=1") == 2)
        await door.rooms.topic(room=1).publish("last")

        assert await _told(stream) == ["last"]
        assert await late == ["sse-open", "last"]


async def test_disconnect_ends_the_streams_of_one_identity(app: Quart, sse: SSE, news: str) -> None:
    """All streams of the identity end so that they are judged again, and no others."""
    clients = [QuartClient(app) for _ in range(3)]
    clients[0].set_cookie("localhost", "who", "ada")
    clients[1].set_cookie("localhost", "who", "bob")

    async with (
        open_stream(clients[0], news) as ada,
        open_stream(clients[0], "/sse/rooms/1") as also_ada,
        open_stream(clients[1], news) as bob,
        open_stream(clients[2], news) as anonymous,
    ):
        await sse.disconnect(identity="ada")
        gone = [(await stream.rest())[-1] for stream in (ada, also_ada)]
        published = await sse.topic("news").publish("said")
        stayed = [await stream.next("said") for stream in (bob, anonymous)]

    assert [(event.event, event.data) for event in gone] == [("sse-holdoff", "disconnect")] * 2
    assert all(event.retry is not None and 0 < event.retry <= 1000 for event in gone)
    assert len(stayed) == published.local_receivers == 2


async def test_recheck_ends_the_streams_of_one_topic(app: Quart, sse: SSE, news: str) -> None:
    """All streams of the topic end so that they are judged again, and no others."""
    both = "/sse?t=~news+rooms?room%3D1"

    async with (
        open_stream(app, both) as multiplexed,
        open_stream(app, "/sse/rooms/1") as own,
        open_stream(app, "/sse/rooms/2") as other,
        open_stream(app, news) as unrelated,
    ):
        await sse.recheck(sse.topic("rooms", room=1))
        gone = [(await stream.rest())[-1] for stream in (multiplexed, own)]
        await sse.topic("rooms", room=2).publish("said")
        await sse.topic("news").publish("said")
        stayed = [await stream.next("said") for stream in (other, unrelated)]

    assert [(event.event, event.data) for event in gone] == [("sse-holdoff", "recheck")] * 2
    assert len(stayed) == 2


async def test_recheck_lets_authorize_judge_again(app: Quart, sse: SSE) -> None:
    """A client that may no longer listen is refused when it reconnects."""
    allowed = {"ada"}
    rooms = sse.channel("rooms", "/rooms")
    rooms.authorize(lambda: request.cookies.get("who") in allowed)
    client = QuartClient(app)
    client.set_cookie("localhost", "who", "ada")

    async with open_stream(client, "/sse/rooms") as stream:
        allowed.clear()
        await sse.recheck(rooms.topic())
        before = await stream.rest()
    async with open_stream(client, "/sse/rooms") as stream:
        after = await stream.rest()

    assert before[-1].event == "sse-holdoff"
    assert [event.event for event in after] == ["sse-stop"]
