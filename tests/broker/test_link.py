"""Calls reach the right database, from any loop, at the server that the address leads to now."""

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from quart_sse.broker import Keep, Kind, Message, State
from quart_sse.broker.redis import RedisBroker
from quart_sse.broker.redis.blocking import BlockingLink
from quart_sse.broker.redis.link import AnyLink, Link, check_url
from quart_sse.errors import BrokerUnavailable, ConfigError
from quart_sse.wire import ZERO
from tests.support.processes import Inbox, event, replicated
from tests.support.redis_server import RedisServer
from tests.support.servers import ROOT, free_port
from tests.support.streams import until

KEEP = Keep(10, 60)
#: Seconds between two tries.
POLL = 0.05


async def test_databases_of_one_server_do_not_meet(redis: RedisServer) -> None:
    """Apps in two databases are two apps, although pub/sub knows no databases."""
    one, other = (RedisBroker(f"{redis.url}?db={number}") for number in (1, 2))
    inboxes = Inbox(), Inbox()
    for broker, inbox in zip((one, other), inboxes, strict=True):
        await broker.start(inbox)
        await broker.subscribe(["t"])

    for number in range(3):
        await one.publish(event(f"one {number}"), KEEP)
    await other.publish(event("other"), KEEP)
    await until(lambda: "other" in inboxes[1].data and len(inboxes[0].data) >= 3)

    assert inboxes[1].data == ["other"]
    assert inboxes[0].data == ["one 0", "one 1", "one 2"]
    assert [inbox.catches for inbox in inboxes] == [1, 1]
    for broker in (one, other):
        await broker.stop()


@pytest.mark.parametrize("option", ["protocol=3", "decode_responses=true", "socket_timeout=60"])
async def test_options_of_the_url_that_would_break_reading_do_not(
    redis: RedisServer, option: str
) -> None:
    """Options in the URL that are the library's own have no effect."""
    broker, inbox = RedisBroker(f"{redis.url}?{option}", timeout=1.0), Inbox()
    await broker.start(inbox)
    assert broker.state is State.READY
    await broker.subscribe(["t"])
    await broker.publish(event("x"), KEEP)
    await until(lambda: inbox.data == ["x"])
    await broker.stop()


@pytest.mark.parametrize("make", [Link, BlockingLink])
@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis://localhost?timeouts=3", "a URL without the option 'timeouts'"),
        ("unix:///run/redis.sock?ssl_ca_certs=x", "a URL without the option 'ssl_ca_certs'"),
        ("redis://localhost?db=one", "a redis://, rediss:// or unix:// URL"),
        ("rediss://localhost?ssl_cert_reqs=perhaps", "a redis://, rediss:// or unix:// URL"),
        ("redis://localhost:port", "a redis://, rediss:// or unix:// URL"),
        ("redis://:sec/ret@localhost", "write %40 for '@'"),
        ("redis://:7sec#ret@localhost", "write %40 for '@'"),
        ("redis://:7#sec@localhost", "write %40 for '@'"),
        ("redis://:7/sec@localhost", "write %40 for '@'"),
        ("redis://:7?sec@localhost", "write %40 for '@'"),
        ("redis://:[sec@localhost", "write %40 for '@'"),
    ],
)
def test_url_by_which_no_connection_could_be_made_is_an_error_at_once(
    make: Callable[[str, float], object], url: str, says: str
) -> None:
    """An unknown option would raise at each connect, and part of a password be taken for a port."""
    with pytest.raises(ConfigError) as caught:
        make(url, 1.0)

    assert says in str(caught.value)
    assert "sec" not in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    "url",
    [
        *("redis://:p%40ss%2F%23@localhost:7000/3", "redis://:p@ss@localhost", "redis://[::1]/1"),
        *("rediss://localhost?ssl_ca_certs=/ca.pem", "unix:///run/a@b.sock?db=1&password=a@b"),
        *("redis://localhost?health_check_interval=5&client_name=x&max_connections=3",),
    ],
)
def test_url_of_a_server_is_taken(url: str) -> None:
    """Also with options that the Redis client knows."""
    check_url(url)


@pytest.mark.parametrize("make", [Link, BlockingLink])
async def test_node_of_a_cluster_says_what_it_is(
    tmp_path_factory: pytest.TempPathFactory, make: Callable[[str, float], AnyLink]
) -> None:
    """Of two nodes each has half of the keys, and answers MOVED for the others."""
    nodes = [await _start_node(tmp_path_factory.mktemp("n")) for _ in range(2)]
    try:
        for node, slots in zip(nodes, (("0", "8191"), ("8192", "16383")), strict=True):
            await node.ask("CLUSTER", "ADDSLOTSRANGE", *slots)
        await nodes[0].ask("CLUSTER", "MEET", "127.0.0.1", nodes[1].options[1])
        link = make(nodes[0].url, 2.0)
        # The slots of "foo" (12182) are the other node's; until it is known, no one's.
        said: set[str] = set()
        async with asyncio.timeout(20):
            while not any("(Moved)" in each for each in said):
                with pytest.raises(BrokerUnavailable) as caught:
                    await link.ask("GET", "foo")
                said.add(str(caught.value))
                await asyncio.sleep(POLL)
        assert all("a node of a Redis Cluster, which is not supported" in each for each in said)
        assert all("Name a server that is no cluster" in each for each in said)
        await link.close()
    finally:
        for node in nodes:
            await node.kill()


async def _start_node(folder: Path) -> RedisServer:
    port = free_port()
    while port > 55_000:  # the bus of the cluster is 10,000 above
        port = free_port()
    node = RedisServer(folder, "--port", str(port), "--cluster-enabled", "yes")
    await node.start()
    return node


async def test_messages_of_a_batch_are_sent_at_once_although_a_script_is_missing(
    redis: RedisServer,
) -> None:
    """Each once, in their order: a server that has restarted knows no script."""
    broker, inbox = RedisBroker(redis.url), Inbox()
    await broker.start(inbox)
    await broker.subscribe(["t"])
    await broker.publish(event("first"), KEEP)  # loads one of the two scripts
    for _ in range(2):
        before = await reads(redis)
        await broker.publish_all(
            [
                each
                for number in range(20)
                for each in (
                    (Message(Kind.REFRESH, ZERO, "t", f"f{number}"), KEEP),
                    (event(str(number)), KEEP),
                )
            ]
        )
        # One for the call, two for this test, and some for probes.
        assert await reads(redis) - before < 12
        await redis.ask("SCRIPT", "FLUSH")
    await until(lambda: len(inbox.data) >= 81)
    await broker.stop()

    said = [text for text in inbox.data if text]
    assert said == ["first", *map(str, range(20)), *map(str, range(20))]


async def reads(redis: RedisServer) -> int:
    """Return how often the server has read from a socket."""
    return int((await redis.ask("INFO", "stats"))["total_reads_processed"])


TASKS = """
import asyncio
from tests.apps.cluster import app, talks

async def work(number):
    async with app.app_context():
        await talks.topic(number=1).publish("said", f"done {number}")

async def several():
    await asyncio.gather(*(work(number) for number in range(5)))

for number in range(3):
    asyncio.run(work(number))
    asyncio.run(several())
"""


async def test_worker_with_a_loop_for_each_task_publishes(
    redis: RedisServer, tmp_path: Path
) -> None:
    """A task queue calls ``asyncio.run`` for each task; no connection is left behind."""
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", TASKS),
        cwd=ROOT,
        env={"CLUSTER_DATABASE": str(tmp_path), "QUART_SSE_BROKER_URL": redis.url},
        stderr=asyncio.subprocess.PIPE,
    )
    _, complaints = await worker.communicate()

    assert complaints.decode() == ""
    assert worker.returncode == 0


async def test_cancelled_call_ends_wherever_it_is(redis: RedisServer) -> None:
    """A client that goes while its stream waits for Redis is noticed in every step of the call."""
    steps = 0
    while True:
        link = Link(redis.url, timeout=5.0)
        task = asyncio.create_task(link.ask("PING"))
        for _ in range(steps):
            await asyncio.sleep(0)
        is_done = task.done()
        task.cancel()
        await asyncio.wait([task])
        await link.close()
        if is_done:
            break
        assert task.cancelled(), f"in step {steps}"
        steps += 1

    assert steps > 5


async def test_address_that_moves_to_another_server_is_followed(tmp_path: Path) -> None:
    """When a replica was promoted behind one address, no call stays with the old server."""
    async with replicated(tmp_path) as (address, fail_over):
        broker, inbox = (
            RedisBroker(f"redis://127.0.0.1:{address.port}", timeout=0.5, probe=0.2),
            Inbox(),
        )
        await broker.start(inbox)
        await broker.subscribe(["t"])
        await asyncio.gather(*(broker.publish(event(str(n)), KEEP) for n in range(5)))
        before = await broker.position()

        await fail_over()
        async with asyncio.timeout(10):
            while inbox.catches < 2 or broker.state is not State.READY:
                with suppress(BrokerUnavailable):
                    await broker.probe()
                await asyncio.sleep(POLL)
        await broker.subscribe(["t"])
        assert (await broker.position()).epoch != before.epoch, "the new one may know less"
        await asyncio.gather(*(broker.publish(event(f"now {n}"), KEEP) for n in range(5)))
        await until(lambda: sum(str(d).startswith("now") for d in inbox.data) == 5)
        await broker.stop()
