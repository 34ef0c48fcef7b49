"""What several processes cost their Redis and themselves: ``python -m benchmarks sizing``.

CPU time of Redis is what it says itself (``INFO cpu``), of a process what the system says; wall
time only for the one figure that is a latency. Events have about 120 bytes.
"""

import asyncio
import json
import re
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from redis.asyncio import Redis

from quart_sse.broker import Keep, Kind, Message, Start
from quart_sse.broker.redis import RedisBroker
from quart_sse.wire.position import ZERO
from tests.support.redis_server import running_redis

from .apps import PAYLOAD
from .servers import ROOT, serve

#: Calls of each kind that are measured, topics of a stream, and processes that listen.
CALLS, TOPICS, PROCESSES = 2000, 100, 10
KEEP = Keep(256, 300)


class Inbox:
    """What stands for a hub: counts."""

    def __init__(self) -> None:
        self.count = 0
        self.begun = 0.0

    def receive(self, message: Message) -> None:
        """Count a message."""
        self.begun = self.begun or time.process_time()
        self.count += 1

    async def catch_up(self) -> None:
        """Need nothing of before."""


def event(topic: str = "news") -> Message:
    """Return an event of about 120 bytes."""
    return Message(Kind.EVENT, ZERO, topic, "news", f"{time.monotonic():.6f} {PAYLOAD}")


class Server:
    """A Redis of its own, and brokers that talk to it.

    Args:
        url: Of the Redis.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.client: Redis = Redis.from_url(url)
        self.brokers: list[RedisBroker] = []

    async def info(self, *names: str) -> float:
        """Return the sum of some of its figures."""
        info = await self.client.info("everything")
        return float(sum(info[name] for name in names))

    async def cost(self, calls: int, work: Callable[[], Awaitable[object]]) -> float:
        """Return the microseconds of its CPU that a call takes: the least of four turns."""
        turns = []
        for _ in range(4):
            before = await self.info("used_cpu_user", "used_cpu_sys")
            for _ in range(calls // 4):
                await work()
            turns.append(await self.info("used_cpu_user", "used_cpu_sys") - before)
        return min(turns) / (calls // 4) * 1e6

    async def listen(self, processes: int, topics: Sequence[str] = ("news",)) -> None:
        """Let so many more processes listen to topics."""
        for _ in range(processes):
            broker = RedisBroker(self.url, probe=60)
            await broker.start(Inbox())
            await broker.subscribe(topics)
            self.brokers.append(broker)


@asynccontextmanager
async def redis() -> AsyncIterator[Server]:
    """Run a Redis until the block ends."""
    with tempfile.TemporaryDirectory() as folder:
        async with running_redis(Path(folder)) as running:
            server = Server(running.url)
            yield server
            for broker in server.brokers:
                await broker.stop()
            await server.client.aclose()


def row(name: str, value: float, unit: str) -> None:
    """Print one line of the table."""
    print(f"{name:64}{value:>8.{1 if value % 1 and value < 100 else 0}f} {unit}", flush=True)


async def measure_calls(server: Server) -> None:
    """Measure what publishing, probing and resuming take of Redis."""
    broker = RedisBroker(server.url)
    said, refresh = partial(publish, broker), Message(Kind.REFRESH, ZERO, "news", "list")
    row("event, nobody listens", await server.cost(CALLS, said), "us")
    await server.listen(1)
    row("event, 1 process listens", await server.cost(CALLS, said), "us")
    await server.listen(PROCESSES - 1)
    for name, work in (
        ("event", said),
        ("refresh", partial(broker.publish, refresh, KEEP)),
        ("probe", broker.probe),
    ):
        row(f"{name}, {PROCESSES} processes listen", await server.cost(CALLS, work), "us")
    topics = [f"t{number}" for number in range(TOPICS)]
    for missed in (0, 10):
        await fill(broker, topics, 1)
        since = await broker.position()
        await fill(broker, topics, missed)
        for count in (1, 10, TOPICS):
            starts = {topic: Start(since, frozenset(), KEEP) for topic in topics[:count]}
            cost = await server.cost(CALLS // 10, partial(broker.resume, starts))
            row(f"resume of {count} topics, {missed} events missed in each", cost, "us")
    await broker.stop()


async def fill(broker: RedisBroker, topics: Sequence[str], count: int) -> None:
    """Publish so many events to each of some topics."""
    for topic in topics:
        for _ in range(count):
            await broker.publish(event(topic), KEEP)


async def publish(broker: RedisBroker) -> object:
    """Publish an event."""
    return await broker.publish(event(), KEEP)


async def measure_memory(server: Server) -> None:
    """Measure what topics take of the memory of Redis."""
    broker = RedisBroker(server.url)
    row("memory of an empty Redis", await server.info("used_memory") / 1024, "KiB")
    await broker.probe()
    names = [[f"topic?kind={kind}&id={number}" for number in range(TOPICS)] for kind in range(4)]

    async def refresh() -> None:
        for topic in names[2]:
            await broker.publish(Message(Kind.REFRESH, ZERO, topic, "list"), KEEP)

    for what, work in (
        ("topic with 256 events", partial(fill, broker, names[0], 256)),
        ("topic with 1 event", partial(fill, broker, names[1], 1)),
        ("topic with a fragment that was refreshed", refresh),
        ("topic that a process listens to", partial(server.listen, 1, names[3])),
    ):
        before = await server.info("used_memory")
        await work()
        row(f"... {what}", (await server.info("used_memory") - before) / TOPICS / 1024, "KiB")
    await broker.stop()


async def client(url: str) -> None:
    """Run in a process of its own: publish, then receive, and tell what that took."""
    broker, inbox = RedisBroker(url, probe=60), Inbox()
    await broker.start(inbox)
    await publish(broker)
    begun = time.process_time()
    for _ in range(CALLS):
        await publish(broker)
    published = time.process_time() - begun
    await broker.subscribe(["client"])
    print("ready", flush=True)
    while inbox.count < CALLS:  # noqa: ASYNC110 - what is measured is not to be slowed down
        await asyncio.sleep(0.005)
    received = time.process_time() - inbox.begun
    print(json.dumps([published / CALLS * 1e6, received / CALLS * 1e6]), flush=True)
    await broker.stop()


async def measure_client(server: Server, parser: str) -> None:
    """Measure what publishing and receiving take of a process, with one of two parsers."""
    hide = "" if parser == "hiredis" else "sys.modules['hiredis'] = None; "
    code = f"import sys; {hide}import asyncio; from benchmarks import sizing; "
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", f"{code}asyncio.run(sizing.client({server.url!r}))"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    broker = RedisBroker(server.url)
    for _ in range(CALLS):
        await broker.publish(event("client"), KEEP)
    published, received = json.loads(await process.stdout.readline())
    await process.wait()
    await broker.stop()
    row(f"CPU of the process: publish an event ({parser})", published, "us")
    row(f"CPU of the process: receive one ({parser})", received, "us")


async def measure_process(server: Server) -> None:
    """Measure the way from a publisher over a web process to a stream; count connections."""
    broker = RedisBroker(server.url)
    environ = {"QUART_SSE_BROKER_URL": server.url}
    before = await server.info("connected_clients")
    async with serve("uvicorn", "ours", environ=environ) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /sse/news HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n")
        await reader.readuntil(b"sse-open")
        took = []
        for _ in range(200):
            await publish(broker)
            found = await reader.readuntil(PAYLOAD.encode())
            sent = re.findall(rb"data: ([\d.]+) ", found)[-1]
            took.append((time.monotonic() - float(sent)) * 1000)
            await asyncio.sleep(0.01)
        row("way from publish to a stream of another process", statistics.median(took), "ms")
        row("the same, 99th percentile", sorted(took)[197], "ms")
        # The publisher here has one, too.
        connections = await server.info("connected_clients") - before - 1
        row("connections of a web process at rest", connections, "")
        writer.close()
    before = await server.info("connected_clients")
    await asyncio.gather(*(publish(broker) for _ in range(200)))
    # Its first one is counted before.
    connections = await server.info("connected_clients") - before + 1
    row("connections for calls, of a process that publishes 200 at once", connections, "")
    await broker.stop()


async def main() -> None:
    """Measure everything, each on a Redis of its own."""
    async with redis() as server:
        version = (await server.client.info("server"))["redis_version"]
        print(f"Redis {version}, events of about 120 bytes; the first eleven: CPU of Redis")
        await measure_calls(server)
    async with redis() as server:
        await measure_memory(server)
    async with redis() as server:
        await measure_process(server)
        for parser in ("hiredis", "Python"):
            await measure_client(server, parser)
