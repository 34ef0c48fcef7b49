"""Calls reach the right database, from any loop, at the server that the address leads to now."""

import asyncio
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from quart_sse.broker import Keep, Kind, Message, State
from quart_sse.broker.redis import RedisBroker
from quart_sse.broker.redis.link import Link
from quart_sse.errors import BrokerUnavailable
from quart_sse.wire import ZERO
from tests.support.processes import Inbox, event, replicated
from tests.support.redis_server import RedisServer
from tests.support.servers import ROOT
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
