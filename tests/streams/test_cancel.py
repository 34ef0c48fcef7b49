"""A request that is cancelled anywhere frees all that was registered for it.

A harness runs the real app and counts each time its request waits for something: connecting, being
judged, subscribing, asking what was missed, entering presence, writing, waiting for news. At the
first of them the request is cancelled; then all is checked, and it is done again for the second,
until one lives to its own end. The memory broker waits for nothing, so it is made to let others run
around every call; a real Redis waits for itself.

What happens to order and resume when streams are cut is the business of ``test_model.py``, which
knows neither requests nor limits nor presence. Here it is only what is left behind.
"""

import asyncio
import random
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from dataclasses import dataclass, field
from pathlib import Path
from types import coroutine
from typing import Any

import pytest
from quart import Quart, request

from quart_sse import SSE
from quart_sse.access import Gate, Judgement
from quart_sse.broker import Keep, Kind, Message
from quart_sse.broker.memory import MemoryBroker
from quart_sse.broker.redis import RedisBroker
from quart_sse.broker.redis.link import Link
from quart_sse.hub import Connection, Hub
from quart_sse.wire.position import ZERO
from quart_sse.wiring import Services
from tests.support.redis_server import running_redis
from tests.support.streams import open_stream, until

#: More often than any request waits.
ENDLESS = 500
#: Seconds by the loop's clock after which nothing lingers.
LATER = 1000.0
#: What Quart handles a request in, and cancels when its client leaves.
HANDLER = "ASGIHTTPConnection.handle_request"
#: Functions of ours in which every request waits.
PLACES = [
    function.__qualname__
    for function in (
        Gate.identity,
        Judgement.judge,
        Hub.join,
        Connection.__anext__,
    )
]
KEEP = Keep(2 * ENDLESS, 300.0)
TOPICS = ["rooms?number=1", "rooms?number=2"]
QUERY = "t=~rooms%3Fnumber%3D1:list,people+rooms%3Fnumber%3D2:list,people"


@pytest.fixture(params=["memory", "redis"])
async def url(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """Where the broker is."""
    if request.param == "memory":
        yield "memory://"
        return
    with tempfile.TemporaryDirectory() as directory:
        async with running_redis(Path(directory)) as server:
            yield server.url


def make_app(url: str) -> Quart:
    """Return an app of which everything waits that can."""
    app = Quart(__name__)
    app.secret_key = "for tests only"
    app.config["QUART_SSE_BROKER_URL"] = url
    sse = SSE(app)
    rooms = sse.channel("rooms", "/rooms/<int:number>")

    @sse.identity
    async def who() -> str | None:
        await asyncio.sleep(0)
        return request.cookies.get("who")

    @rooms.authorize
    async def may_enter(number: int) -> bool:
        await asyncio.sleep(0)
        return number > 0

    rooms.fragment("list", debounce=0)(lambda number: f"<b>{number}</b>")

    @rooms.fragment("people", presence=True, debounce=0)
    async def people(number: int) -> str:
        here = await rooms.topic(number=number).presence()
        return f"<i>{here.people}</i>"

    return app


@pytest.fixture(autouse=True)
def _yielding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let others run before and after whatever the memory broker does."""
    for name in ("subscribe", "unsubscribe", "resume", "enter", "exit", "present", "publish"):
        monkeypatch.setattr(MemoryBroker, name, yielding(getattr(MemoryBroker, name)))


def yielding(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Return a method that lets others run before and after."""

    async def yields(*args: Any, **options: Any) -> Any:
        await asyncio.sleep(0)
        result = await method(*args, **options)
        await asyncio.sleep(0)
        return result

    return yields


# -- the harness -----------------------------------------------------------------------------------


@dataclass
class Steps:
    """Counts how often a request waits, and ends it when it does so for the ``at``-th time.

    Args:
        at: When; 0 for the first time in ``place``.
        place: A function of ours.
        leave: Called then; None if what handles the request is cancelled.
    """

    at: int
    leave: Callable[[], None] | None
    place: str = ""
    count: int = 0
    where: list[str] = field(default_factory=list)  #: what waited in what when it was ended

    def factory(self, loop: Any, work: Any, **options: Any) -> Any:
        """Make a task, of which the steps are counted if it is a request."""
        if getattr(work, "__qualname__", "") == HANDLER:
            return asyncio.Task(self._run(work), loop=loop, **options)
        return asyncio.Task(work, loop=loop, **options)

    async def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return await self._step(work)

    @coroutine
    def _step(self, work: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
        go: Callable[[Any], Any] = work.send
        value: Any = None
        while True:
            try:
                waits_for = go(value)
            except StopIteration as stop:
                return stop.value
            self.count += 1
            where = place(work)
            if not self.where and (self.count == self.at or (not self.at and self.place in where)):
                self.where = where or ["elsewhere"]
                task = asyncio.current_task()
                assert task is not None
                (self.leave or task.cancel)()
            try:
                value = yield waits_for
                go = work.send
            except BaseException as error:
                value = error
                go = work.throw


def place(work: Any) -> list[str]:
    """Return the names of our functions that a coroutine waits in."""
    names = []
    while work is not None:
        code = getattr(work, "cr_code", None)
        if code is not None and "quart_sse" in code.co_filename:
            names.append(code.co_qualname)
        work = getattr(work, "cr_await", None)
    return names


@dataclass
class Browser:
    """The server's side of one request, whose client takes its time and then leaves."""

    app: Quart
    query: str
    news: str = "news"
    body: bytes = b""
    has_news: asyncio.Event = field(default_factory=asyncio.Event)
    is_done: bool = False
    _is_sent: bool = False

    async def run(self) -> None:
        """Ask for a stream."""
        app: Any = self.app
        await app(self.scope, self.receive, self.send)

    @property
    def scope(self) -> dict[str, Any]:
        headers = [
            (b"host", b"localhost"),
            (b"accept", b"text/event-stream"),
            (b"cookie", b"who=ada"),
        ]
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": "/sse",
            "raw_path": b"/sse",
            "query_string": self.query.encode(),
            "root_path": "",
            "headers": headers,
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }

    async def receive(self) -> dict[str, Any]:
        if not self._is_sent:
            self._is_sent = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.has_news.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        await asyncio.sleep(0)
        self.body += message.get("body", b"")
        if f"data: {self.news}\n".encode() in self.body:
            self.is_done = True
            self.has_news.set()
        await asyncio.sleep(0)


async def leave_in_peace(state: Services) -> None:
    """Do the regular work until nothing lingers."""
    later = asyncio.get_running_loop().time() + LATER
    await state.presence.sweep(later)
    await until(
        lambda: all(
            shared.is_idle for each in state.hub._roots.values() for shared in each._shared.values()
        ),
        5,
    )
    await state.hub.forget(later)


async def check_nothing_is_left(state: Services, where: str) -> None:
    """Check all that can be registered for a stream."""
    hub, broker = state.hub, state.broker
    left = {
        "connections": state.connections,
        "groups of connections": hub._groups.items(),
        "groups": hub._groups._shared,
        "joining": hub._groups._joining,
        "limits": state.connections._by_owner,
    }
    assert not any(left.values()), (where, left)
    assert state.connections.emptied.is_set()
    await leave_in_peace(state)
    assert not state.presence._members._departed
    assert not hub.subscribers, where
    assert not any(each._shared for each in hub._roots.values()), where
    for topic in TOPICS:
        assert not await broker.present(topic), where
    if isinstance(broker, RedisBroker):
        listener = broker._listener
        subscription, link = listener._subscription, broker._link
        assert isinstance(link, Link)
        assert subscription is not None, where
        assert not listener._wanted, where
        # A probe of the regular work may be under way.
        await until(lambda: not link._lane().pool._in_use_connections, 5)
        # What was given up is answered in time, and counts for nothing.
        await until(lambda: not subscription._due, 5)
        assert subscription._confirmed == {broker._names.service}, where


def is_waiting(state: Services) -> bool:
    """Whether a stream has sent all it has, and waits for news."""
    return any(connection._waiter is not None for connection in state.connections)


async def live_through(state: Services, browser: Browser) -> None:
    """Let a browser connect, get what it missed, wait, and get news, or not come so far."""
    task = asyncio.get_running_loop().create_task(browser.run())
    async with asyncio.timeout(20):
        await until(lambda: task.done() or is_waiting(state))
        for topic in TOPICS if not task.done() else ():
            await state.broker.publish(Message(Kind.REFRESH, ZERO, topic, "list"), KEEP)
            await state.broker.publish(Message(Kind.EVENT, ZERO, topic, "said", browser.news), KEEP)
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("how", ["cancelled", "client leaves"])
async def test_request_that_ends_anywhere_leaves_nothing(url: str, how: str) -> None:
    """Whatever a request waits for when it ends, nothing of it stays; the next one is served."""
    app, loop = make_app(url), asyncio.get_running_loop()
    places: set[str] = set()
    async with app.test_app():
        state: Services = app.extensions["quart_sse"]
        before = asyncio.all_tasks()
        # Everywhere in turn; and, as no two requests wait alike, where each must have ended once.
        ends = [(at, "") for at in range(1, ENDLESS)]
        while ends:
            at, name = ends.pop(0)
            since = str(await state.broker.position())
            for topic in TOPICS:
                await state.broker.publish(Message(Kind.EVENT, ZERO, topic, "said", "missed"), KEEP)
            browser = Browser(app, f"{QUERY}&since={since}", f"news {at} {name}")
            steps = Steps(at, None if how == "cancelled" else browser.has_news.set, name)
            loop.set_task_factory(steps.factory)
            await live_through(state, browser)
            loop.set_task_factory(None)
            places.update(steps.where)
            await until(lambda: asyncio.all_tasks() <= before | renders(), 5)
            await check_nothing_is_left(state, f"{at}: {steps.where}")
            if not steps.where and ends:
                assert browser.is_done, "it did not live to its own end, although nothing ended it"
                assert browser.body.count(b"data: missed") == len(TOPICS)
                ends = [(0, name) for name in PLACES]
    assert set(PLACES) <= places


async def test_request_that_is_cancelled_as_a_whole_ends_with_the_others(url: str) -> None:
    """What is put around an app may cancel all of it; Quart goes on with what handles the request.

    It counts as a stream like any other, until it ends or the server stops.
    """
    app = make_app(url)
    async with app.test_app():
        state: Services = app.extensions["quart_sse"]
        before = asyncio.all_tasks()
        browser = Browser(app, QUERY)
        task = asyncio.get_running_loop().create_task(browser.run())
        await until(lambda: is_waiting(state), 5)

        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        state.connections.close()
        browser.has_news.set()

        await until(lambda: asyncio.all_tasks() <= before | renders(), 5)
        await check_nothing_is_left(state, "")
    assert b"event: sse-holdoff" in browser.body


def renders() -> set["asyncio.Task[Any]"]:
    """Return the tasks that render fragments which may still have viewers."""
    return {task for task in asyncio.all_tasks() if "SharedFragment" in repr(task.get_coro())}


# -- joining and leaving at the same time ----------------------------------------------------------


class Listener:
    """A client that comes and goes, and must get everything once and in order."""

    def __init__(self, app: Quart, number: int, dice: random.Random) -> None:
        self.app = app
        self.number = number
        self.dice = dice
        self.heard: list[int] = []
        self.last_id = ""

    async def live(self, since: str, is_over: Callable[[], bool], last: int) -> None:
        """Connect, hear some, and leave without notice, until all has been said and heard."""
        url = f"/sse/rooms/{self.number}?since={since}&fragments="
        while not is_over() or self.heard[-1:] != [last]:
            headers = {"Last-Event-ID": self.last_id, "Cookie": f"who={self.number}"}
            async with open_stream(self.app, url, headers) as stream:
                await stream.next("sse-open")
                for _ in range(self.dice.randrange(6)):
                    if self.heard[-1:] == [last]:
                        break
                    said = await stream.next("said")
                    self.heard.append(int(said.data))
                    self.last_id = said.id


async def test_who_joins_while_others_leave_misses_nothing(url: str) -> None:
    """Topics gain and lose subscribers all the time; each of these gets all events, in order."""
    rooms, each, count = 4, 4, 60
    dice = random.Random(3)
    app = make_app(url)
    async with app.test_app():
        state: Services = app.extensions["quart_sse"]
        since = str(await state.broker.position())
        said = 0

        async def publish() -> None:
            nonlocal said
            while said < count:
                for number in range(1, rooms + 1):
                    topic = f"rooms?number={number}"
                    message = Message(Kind.EVENT, ZERO, topic, "said", str(said))
                    await state.broker.publish(message, KEEP)
                said += 1
                for _ in range(dice.randrange(10)):
                    await asyncio.sleep(0)

        async def forget() -> None:
            while said < count:
                # At once, as if no task were ever waited for.
                await state.hub.forget(asyncio.get_running_loop().time() + LATER)
                await asyncio.sleep(0)

        listeners = [Listener(app, i % rooms + 1, dice) for i in range(rooms * each)]
        async with asyncio.timeout(40), asyncio.TaskGroup() as group:
            for listener in listeners:
                group.create_task(listener.live(since, lambda: said >= count, count - 1))
            group.create_task(publish())
            group.create_task(forget())

        await check_nothing_is_left(state, "")
    assert [listener.heard for listener in listeners] == [list(range(count))] * len(listeners)


async def test_topic_asked_for_while_many_are_given_up_stays_subscribed() -> None:
    """A Redis that is slow to take commands gets them in the order in which they were meant."""
    received: list[str] = []

    class Hub:
        def receive(self, message: Message) -> None:
            received.append(message.topic)

        async def catch_up(self) -> None:
            pass

    # More than goes out with one command, and than fits into a socket's buffers.
    topics = [f"{'x' * 500}{number}" for number in range(2000)]
    with tempfile.TemporaryDirectory() as directory:
        async with running_redis(Path(directory)) as server, asyncio.timeout(20):
            broker = RedisBroker(server.url)
            await broker.start(Hub())
            await broker.subscribe(topics)
            server.freeze()
            leaving = asyncio.ensure_future(broker.unsubscribe(topics))
            await until(lambda: not broker._listener._wanted)
            coming = asyncio.ensure_future(broker.subscribe(topics[-1:]))
            await until(lambda: broker._listener._wanted)
            assert not leaving.done()
            server.thaw()
            await asyncio.gather(leaving, coming)

            await broker.publish(Message(Kind.EVENT, ZERO, topics[-1], "said", "x"), KEEP)
            await broker.probe()
            await until(lambda: "" in received, 5)
            await broker.stop()

    assert topics[-1] in received
