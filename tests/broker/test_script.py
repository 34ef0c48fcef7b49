"""Lua scripts: read from the package, and named by what they contain."""

import hashlib
import shutil
from collections.abc import Awaitable, Callable
from functools import partial
from importlib.resources import files

import pytest
from redis.asyncio import Redis

from quart_sse.broker import Claim, Keep, Kind, Message, Shelf, Start
from quart_sse.broker.redis import RedisBroker
from quart_sse.broker.redis.script import Script, ScriptCall
from quart_sse.wire.position import ZERO
from tests.support.processes import Inbox
from tests.support.redis_server import RedisServer

#: Longest time that a script may take, in microseconds, and how many runs it has to show that.
BOUND, RUNS = 5000, 20
KEEP = Keep(events=256, ttl=300.0)
PREFIX = "{sse:1}"
needs_redis = pytest.mark.skipif(
    shutil.which("redis-server") is None, reason="there is no redis-server"
)
MEMBERS = {f"connection-{number:08}": f"user {number}" for number in range(10_000)}


def test_script_is_made_of_its_files_in_their_order() -> None:
    """Functions that several scripts call are in a file of their own, which comes first."""
    folder = files("quart_sse.broker.redis") / "scripts"
    parts = [(folder / f"{name}.lua").read_text("utf-8") for name in ("prelude", "publish")]

    assert Script("prelude", "publish").source == parts[0] + parts[1]


async def test_redis_knows_a_script_by_the_same_name(redis: RedisServer) -> None:
    """So a script is sent once to a server, and its name from then on."""
    script = Script("present")
    name = await redis.ask(*ScriptCall(script, [], []).load)

    assert name == script.sha == hashlib.sha1(script.source.encode()).hexdigest()


# -- what scripts take -----------------------------------------------------------------------------


async def run_in_time(redis: RedisServer, work: Callable[[], Awaitable[object]]) -> None:
    """Run something, until Redis itself says that none of its commands has taken too long."""
    await redis.ask("CONFIG", "SET", "slowlog-log-slower-than", str(BOUND))
    slow: list[tuple[int, str]] = []
    for _ in range(RUNS):
        await redis.ask("SLOWLOG", "RESET")
        await work()
        log = await redis.ask("SLOWLOG", "GET", "100")
        slow = [(duration, command[0]) for _, _, duration, command, *_ in log]
        if not slow:
            return
    pytest.fail(f"{len(slow)} commands took longer than {BOUND} us, up to {max(slow)}")


async def copy_topic(redis: RedisServer, count: int) -> None:
    """Let so many topics have what the topic t0 has."""
    client = Redis.from_url(redis.url)
    pipe = client.pipeline(transaction=False)
    for number in range(1, count):
        for kind in ("events", "tip", "fragments"):
            pipe.copy(f"{PREFIX}:{kind}:t0", f"{PREFIX}:{kind}:t{number}")
    await pipe.execute()
    await client.aclose()


@needs_redis
@pytest.mark.parametrize(
    ("topics", "events", "size", "fragments"),
    [
        pytest.param(1024, 256, 1000, 1, id="full-histories"),
        pytest.param(8, 256, 64_000, 1, id="large-events"),
        pytest.param(16, 16, 1 << 20, 1, id="largest-events"),
        pytest.param(64, 1, 10, 200, id="many-fragments"),
        pytest.param(1, 1, 10, 5000, id="too-many-fragments"),
        pytest.param(1500, 1, 10, 1, id="many-topics"),
    ],
)
@pytest.mark.parametrize("missed", ["all", "none", "more than is kept"])
async def test_no_resume_keeps_redis_from_others(
    redis: RedisServer, topics: int, events: int, size: int, fragments: int, missed: str
) -> None:
    """However many topics, events and fragments there are."""
    broker = RedisBroker(redis.url, timeout=10.0)
    if missed == "more than is kept":
        since = await broker.position()
        await broker.publish(Message(Kind.EVENT, ZERO, "t0", "said", "gone"), KEEP)
    else:
        await broker.publish(Message(Kind.EVENT, ZERO, "t0", "said", "before"), KEEP)
        since = await broker.position()
    for _ in range(events):
        await broker.publish(Message(Kind.EVENT, ZERO, "t0", "said", "x" * size), KEEP)
    for number in range(fragments):
        await broker.publish(Message(Kind.REFRESH, ZERO, "t0", f"f{number}"), KEEP)
    await copy_topic(redis, topics)
    if missed == "none":
        since = await broker.position()
    start = Start(since, frozenset(), KEEP)
    await run_in_time(
        redis, partial(broker.resume, {f"t{number}": start for number in range(topics)})
    )
    await broker.release()


@needs_redis
async def test_no_publishing_keeps_redis_from_others(redis: RedisServer) -> None:
    """Large events, and full histories."""
    broker = RedisBroker(redis.url, timeout=10.0)

    async def publish(size: int, keep: int) -> None:
        message = Message(Kind.EVENT, ZERO, "t0", "said", "x" * size)
        await broker.publish(message, Keep(keep, 300.0))

    for _ in range(256):
        await publish(64_000, 256)
    await run_in_time(redis, partial(publish, 64_000, 256))
    await run_in_time(redis, partial(publish, 1 << 19, 256))
    await run_in_time(
        redis, partial(broker.publish, Message(Kind.PUSH, ZERO, "t0", "list", "x" * 64_000), KEEP)
    )
    await broker.release()


@needs_redis
async def test_history_that_became_shorter_goes_eight_events_at_a_time(redis: RedisServer) -> None:
    """To free hundreds of large ones takes long, and the newest are always kept."""
    broker = RedisBroker(redis.url, timeout=10.0)

    async def publish(keep: int) -> int:
        await broker.publish(Message(Kind.EVENT, ZERO, "t0", "said", "x"), Keep(keep, 300.0))
        return int(await redis.ask("XLEN", f"{PREFIX}:events:t0"))

    assert [await publish(20) for _ in range(21)] == [*range(1, 21), 20]
    assert [await publish(3) for _ in range(4)] == [13, 6, 3, 3]
    await broker.release()


@needs_redis
async def test_no_history_keeps_redis_from_others(redis: RedisServer) -> None:
    """It is read in pages, and whole, whatever the sizes of its events are."""
    broker = RedisBroker(redis.url, timeout=10.0)
    ids = [
        await broker.publish(Message(Kind.EVENT, ZERO, "t0", "said", "x" * size), KEEP)
        for size in [1 << 20] * 60 + [10] * 41
    ]
    await run_in_time(redis, partial(broker.kept, "t0", 256))

    assert [message.id for message in await broker.kept("t0", 1000)] == ids
    assert [message.id for message in await broker.kept("t0", 20)] == ids[-20:]
    await broker.release()


@needs_redis
async def test_no_presence_keeps_redis_from_others(redis: RedisServer) -> None:
    """With ten thousand members that enter, leave, are asked for and expire."""
    broker = RedisBroker(redis.url, timeout=10.0)
    await run_in_time(redis, partial(broker.enter, {"t": MEMBERS}))
    await run_in_time(redis, partial(broker.enter, {"t": {"one": "ada"}}))
    await run_in_time(redis, partial(broker.present, "t"))
    await run_in_time(redis, partial(broker.exit, {"t": ["one"]}))
    assert await broker.present("t") == MEMBERS

    client = Redis.from_url(redis.url)

    async def expire() -> None:
        await client.zadd(f"{PREFIX}:expiries:t", dict.fromkeys(MEMBERS, 1))
        await redis.ask("SLOWLOG", "RESET")
        assert await broker.present("t") == {}

    await run_in_time(redis, expire)
    await client.aclose()
    await broker.release()


@needs_redis
async def test_no_kept_list_keeps_redis_from_others(redis: RedisServer) -> None:
    """Also with a thousand others, when many of them have ended, and if one is far too long."""
    broker = RedisBroker(redis.url, timeout=10.0)
    for number in range(1000):
        await broker.keep_text(f"{number:08}" + "x" * 8000, 0.01, Claim(Shelf.USERS, f"{number}"))
    claim = Claim(Shelf.USERS, "ada")
    await run_in_time(redis, partial(broker.keep_text, "x" * 1_000_000, 60.0, claim))
    await run_in_time(redis, partial(broker.keep_text, "x" * 10_000_000, 60.0, claim))
    await broker.release()


@needs_redis
async def test_no_subscription_keeps_redis_from_others(redis: RedisServer) -> None:
    """A process may listen to ten thousand topics, and leave them together."""
    broker = RedisBroker(redis.url, timeout=10.0)
    await broker.start(Inbox())
    topics = [f"t{number}" for number in range(10_000)]
    await run_in_time(redis, partial(broker.subscribe, topics))
    await run_in_time(redis, partial(broker.unsubscribe, topics))
    await broker.stop()
