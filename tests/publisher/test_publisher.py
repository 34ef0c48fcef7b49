"""The publisher that awaits: what it reaches, what it refuses, and what it holds."""

import asyncio
import gc
import sys
import tracemalloc
from collections.abc import Awaitable, Callable

import pytest

from quart_sse import (
    AsyncPublisher,
    BrokerUnavailable,
    ConfigError,
    EventError,
    FilterError,
    FragmentError,
    ParameterError,
    SetupError,
    SSEError,
    UnknownChannelError,
    UnknownFragmentError,
)
from quart_sse.broker.memory import MemoryBroker
from tests.support.redis_server import RedisServer
from tests.support.servers import ROOT
from tests.support.sites import Site, heard, serving
from tests.support.streams import until


async def test_events_reach_the_pages_of_the_app(site: Site, redis: RedisServer) -> None:
    """A topic, a user, a channel as a whole and everyone; the id is that of the broker."""
    async with AsyncPublisher(redis.url) as publisher, site.view(3, who="mira") as (stream, _):
        id = await publisher.topic("rooms", room=3).publish("said", {"b": 1, "a": None})
        await publisher.topic("rooms", room=4).publish("said", "elsewhere")
        await publisher.channel("rooms").topic(room=3).publish("said", "[]")
        await publisher.channel("rooms").everyone.publish("closing")
        await publisher.user("mira").publish("saved", 7)
        await publisher.everyone.publish("maintenance", "soon")
        assert await heard(stream, 5) == [
            ("rooms.said?room=3", '{"a": null, "b": 1}'),
            ("rooms.said?room=3", "[]"),
            ("rooms.closing", "null"),
            ("user.saved", "7"),
            ("everyone.maintenance", "soon"),
        ]
        assert (await site.room(3).history())[0].id == id


async def test_filters_and_exclusions_are_those_of_the_app(site: Site, redis: RedisServer) -> None:
    """Only connections with the metadata, and not the one that is left out."""
    async with (
        AsyncPublisher(redis.url) as publisher,
        site.view(3, meta={"role": "admin"}) as (admin, handle),
        site.view(3, meta={"role": "guest"}) as (guest, _),
    ):
        topic = publisher.topic("rooms", room=3)
        await topic.publish("said", "to admins", where={"role": "admin"})
        await topic.publish("said", "to others", exclude=handle.id)
        await topic.publish("said", "to all")

        assert [data for _, data in await heard(admin, 2)] == ["to admins", "to all"]
        assert [data for _, data in await heard(guest, 2)] == ["to others", "to all"]


async def test_topic_is_closed_and_connection_is_sent_to(site: Site, redis: RedisServer) -> None:
    """Both by messages to the processes; what has no connection says so."""
    async with AsyncPublisher(redis.url) as publisher, site.view(3, 4) as (stream, handle):
        assert await publisher.send(handle.id, "note", {"n": 1}) is True
        assert await heard(stream, 1) == [("connection.note", '{"n": 1}')]
        assert await publisher.send(f"{handle.id}x", "note") is False
        assert await publisher.send("order-12", "note") is False

        await publisher.topic("rooms", room=3).close()
        await until(lambda: "rooms?room=3" not in handle.topics)
        await publisher.channel("rooms").close()
        await until(lambda: not handle.topics)


WRONG: list[tuple[Callable[[AsyncPublisher], Awaitable[object]], type[SSEError], str]] = [
    (lambda p: p.topic("room").publish("said"), UnknownChannelError, "Did you mean 'rooms'?"),
    (lambda p: p.channel("room").close(), UnknownChannelError, "Declared: 'news', 'rooms'"),
    (lambda p: p.topic("rooms").publish("said"), ParameterError, "takes room, not none"),
    (lambda p: p.topic("rooms", room="x").publish("said"), ParameterError, "room='x'"),
    (lambda p: p.topic("rooms", room=True).publish("said"), ParameterError, "room=True"),
    (lambda p: p.topic("news").publish("message"), EventError, "is reserved"),
    (lambda p: p.topic("news").publish("said", {1, 2}), EventError, "as JSON"),
    (lambda p: p.topic("news").publish("said", "x" * 2**20), EventError, "PENDING_BYTES"),
    (lambda p: p.topic("news").publish("said", where={}), FilterError, "empty"),
    (lambda p: p.topic("news").publish("said", exclude=""), ParameterError, "exclude="),
    (lambda p: p.topic("rooms", room=1).refresh("lst"), UnknownFragmentError, "'list', 'mine'"),
    (lambda p: p.topic("rooms", room=1).push("lst", "x"), UnknownFragmentError, "'lst'"),
    (lambda p: p.topic("rooms", room=1).push("mine", "x"), FragmentError, "personal"),
    (lambda p: p.send("x", "message"), EventError, "is reserved"),
]


@pytest.mark.parametrize(("call", "kind", "text"), WRONG, ids=range(len(WRONG)))
async def test_mistake_is_the_error_that_it_is_in_the_app(
    site: Site,
    redis: RedisServer,
    call: Callable[[AsyncPublisher], Awaitable[object]],
    kind: type[SSEError],
    text: str,
) -> None:
    """Nothing is published."""
    before = site.sse.broker.known
    async with AsyncPublisher(redis.url) as publisher:
        with pytest.raises(kind, match=text.replace("?", r"\?").replace("(", r"\(")):
            await call(publisher)
    assert before is not None
    assert await site.room(1).history() == await site.news.topic().history() == []


async def test_pushed_html_is_checked_and_escaped(site: Site, redis: RedisServer) -> None:
    """Text is escaped; the HTML of one viewer goes to nobody else."""
    async with AsyncPublisher(redis.url) as publisher:
        topic = publisher.topic("rooms", room=3)
        await topic.push("list", "<b>")
        for html in ('<p sse-connect="/sse?t=x">', "<p data-sse='rooms.mine?room=3'>"):
            with pytest.raises(FragmentError, match="contains"):
                await topic.push("list", Html(html))


class Html(str):
    """HTML as markupsafe marks it."""

    __slots__ = ()

    def __html__(self) -> str:
        return str(self)


async def test_url_of_one_process_is_refused() -> None:
    """It leads nowhere; a broker object of that kind is an app's own."""
    with pytest.raises(SetupError, match="QUART_SSE_BROKER_URL=redis://"):
        AsyncPublisher("memory://")
    with pytest.raises(ConfigError, match=r"QUART_SSE_BROKER_URL is 'reddis://...@h'"):
        AsyncPublisher("reddis://:secret@h")
    with pytest.raises(ConfigError, match="QUART_SSE_REDIS_PREFIX"):
        AsyncPublisher("redis://h", prefix="a b")
    with pytest.raises(ConfigError, match="QUART_SSE_BROKER_TIMEOUT"):
        AsyncPublisher("redis://h", timeout=0)


@pytest.mark.parametrize("kind", ["memory", "redis"])
async def test_broker_of_an_app_is_published_through(kind: str, redis: RedisServer) -> None:
    """Memory or Redis; closing the publisher leaves the broker open."""
    site = Site("memory://" if kind == "memory" else redis.url)
    async with serving(site), site.view(3) as (stream, _):
        async with AsyncPublisher(site.sse.broker) as publisher:
            await publisher.topic("rooms", room=3).publish("said", "one")
        await site.room(3).publish("said", "other")
        assert [data for _, data in await heard(stream, 2)] == ["one", "other"]
        if kind == "memory":
            with pytest.raises(SetupError, match=r"Use sse\.send\(\)"):
                await AsyncPublisher(site.sse.broker).send("order-12", "note")


async def test_app_that_has_declared_nothing_is_an_error(redis: RedisServer) -> None:
    """No process lives, or none of this prefix; a URL is named without its password."""
    async with AsyncPublisher(redis.url, prefix="other") as publisher:
        with pytest.raises(SetupError, match=r"No process of the app.*Start the app"):
            await publisher.everyone.publish("x")
    with pytest.raises(SetupError, match="MemoryBroker"):
        await AsyncPublisher(MemoryBroker()).everyone.publish("x")


async def test_closed_publisher_refuses(site: Site, redis: RedisServer) -> None:
    """Its connections are closed."""
    publisher = AsyncPublisher(redis.url)
    await publisher.everyone.publish("x")
    await publisher.aclose()
    await publisher.aclose()

    with pytest.raises(SetupError, match="closed"):
        publisher.topic("news")
    with pytest.raises(SetupError, match="closed"):
        _ = publisher.everyone
    with pytest.raises(SetupError, match="closed"):
        await publisher.send("x", "y")


async def test_broker_that_is_away_says_whether_it_may_have_published(
    site: Site, redis: RedisServer
) -> None:
    """Before the channels were read it certainly has not; a frozen Redis may have."""
    async with AsyncPublisher("unix:///nowhere/redis.sock", timeout=0.3) as publisher:
        with pytest.raises(BrokerUnavailable, match="Nothing was published") as raised:
            await publisher.everyone.publish("x")
        assert raised.value.maybe_published is False
    async with AsyncPublisher(redis.url, timeout=0.3) as publisher:
        await publisher.everyone.publish("x")
        redis.freeze()
        try:
            with pytest.raises(BrokerUnavailable) as raised:
                await publisher.everyone.publish("x")
        finally:
            redis.thaw()
        assert raised.value.maybe_published is True


LOOPS = """
import asyncio, gc, sys, tracemalloc
from redis import Redis
from quart_sse import AsyncPublisher

url, calls = sys.argv[1], int(sys.argv[2])
publisher = AsyncPublisher(url + "?client_name=worker")
topic = publisher.topic("rooms", room=3)
client = Redis.from_url(url)

def connections():
    return sum(each["name"] == "worker" for each in client.client_list())

def work(number):
    for _ in range(number):
        asyncio.run(topic.publish("said", "x"))

async def look():
    await topic.publish("said", "x")
    return connections()

work(100)
assert asyncio.run(look()) == 1, "the loop's own"
gc.collect()
tracemalloc.start()
held = tracemalloc.get_traced_memory()[0]
work(calls)
gc.collect()
grown = tracemalloc.get_traced_memory()[0] - held
print(connections(), grown)
"""


@pytest.mark.parametrize(
    "calls", [500, pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(600)])]
)
async def test_event_loop_for_each_call_leaves_nothing(
    site: Site, redis: RedisServer, calls: int
) -> None:
    """A task queue calls ``asyncio.run`` for each task: no connection and no memory stay."""
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", LOOPS, redis.url, str(calls)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, complaints = await worker.communicate()

    assert complaints.decode() == ""
    connections, grown = map(int, printed.split())
    assert connections == 0
    # CPython enlarges tables of its own by up to 1 MB; a connection takes 20 KB and more.
    assert grown < 2_000_000


async def test_forked_process_publishes_over_connections_of_its_own(
    site: Site, redis: RedisServer
) -> None:
    """The parent's go on: both publish, in loops of their own."""
    code = """
import asyncio, os, sys
from quart_sse import AsyncPublisher
publisher = AsyncPublisher(sys.argv[1])

async def work(who):
    await publisher.topic("rooms", room=3).publish("said", who)

async def main():
    await work("before")
    child = os.fork()
    if child == 0:
        os._exit(0 if is_child_done() else 1)
    assert os.waitpid(child, 0)[1] == 0
    await work("parent")

def is_child_done():
    import threading
    thread = threading.Thread(target=lambda: asyncio.run(work("child")))
    thread.start()
    thread.join()
    return True

asyncio.run(main())
"""
    worker = await asyncio.create_subprocess_exec(sys.executable, "-c", code, redis.url, cwd=ROOT)
    async with asyncio.timeout(20):
        assert await worker.wait() == 0

    history = await site.room(3).history()
    assert [event.data for event in history] == ["before", "child", "parent"]


def test_publisher_is_collected_with_what_it_holds() -> None:
    """A program may make one for each task."""
    gc.collect()
    tracemalloc.start()
    try:
        for _ in range(20):
            AsyncPublisher("redis://localhost")
        gc.collect()
        held = tracemalloc.get_traced_memory()[0]
        for _ in range(200):
            AsyncPublisher("redis://localhost")
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - held < 20_000
    finally:
        tracemalloc.stop()
