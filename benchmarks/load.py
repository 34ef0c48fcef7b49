"""A load client: many streams of one server, in one process, every delivery counted."""

import asyncio
import json
import resource
import statistics
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

from .servers import ROOT, cpu_seconds, memory_kib, serve

#: Begins each delivery; the client counts it.
MARK = b"event: news"


class LoadError(Exception):
    """The server under load did not do what is measured, so there is no figure."""


@dataclass(frozen=True)
class Load:
    """What a server is asked to do.

    Args:
        streams: Open streams.
        rounds: How often it has all of the following.
        paced: Events that come one by one.
        rate: Of them, in events per second.
        bursts: How often events come at once. A burst costs little more than a collection of
            garbage, which meets some and spares others, so there are many.
        burst: Events of a burst.
        patience: Seconds that deliveries may take.
    """

    streams: int = 500
    rounds: int = 10
    paced: int = 20
    rate: float = 20.0
    bursts: int = 2
    burst: int = 500
    patience: float = 60.0


@dataclass(frozen=True)
class Figures:
    """What a load cost: microseconds of CPU per delivery and connect, KiB of memory per stream."""

    paced_us: float
    burst_us: float
    kib_per_stream: float
    connect_us: float


#: Memory per stream that is too little to be measured.
LEAST_KIB = 0.1
#: The names of the figures, in their order.
FIGURES = [field.name for field in fields(Figures)]


class Stream(asyncio.Protocol):
    """One stream; counts the events that it gets.

    Args:
        number: Its number among those of its server.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self.opened = asyncio.get_running_loop().create_future()
        self.events = 0
        self.is_lost = False
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self.transport = transport
        # Only the app with users asks who it is.
        head = f"GET /sse/news?user={self._number} HTTP/1.1\r\nHost: localhost\r\n"
        transport.write(f"{head}Accept: text/event-stream\r\n\r\n".encode())

    def data_received(self, data: bytes) -> None:
        if not self.opened.done() and b"sse-open" in data:
            self.opened.set_result(None)
        # A mark may be cut in two; what is kept is shorter than a whole one.
        data = self._tail + data
        self.events += data.count(MARK)
        self._tail = data[1 - len(MARK) :]

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        if not self.opened.done():
            self.opened.set_exception(LoadError("The server closed a stream that was opening."))


async def ask(port: int, method: str, path: str) -> bytes:
    """Send a request without a body; return the body of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n"
    writer.write(f"{head}Connection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    status, _, body = answer.partition(b"\r\n")
    if b" 200 " not in status:
        raise LoadError(f"{method} {path} was answered {status.decode()!r}; see the server's log.")
    return body.partition(b"\r\n\r\n")[2]


class Loaded:
    """One server under load.

    Args:
        port: Of the server.
        pid: Its process.
        load: What it is asked to do.
    """

    def __init__(self, port: int, pid: int, load: Load) -> None:
        self.port = port
        self.pid = pid
        self.load = load
        self._streams: list[Stream] = []
        self._published = 0
        self._kib_per_stream = self._connect_us = 0.0
        self._paced_us: list[float] = []
        self._burst_us: list[float] = []

    async def open(self) -> None:
        """Open the streams, and measure their memory."""
        await self._publish(1, 0)  # so that imports and first-time work are done
        self._published = 0  # no stream was open for that one
        empty, before = memory_kib(self.pid), cpu_seconds(self.pid)
        await self._open_streams()
        self._connect_us = (cpu_seconds(self.pid) - before) / self.load.streams * 1e6
        grown = memory_kib(self.pid) - empty
        # A process that gives memory back meanwhile needs less with few streams than without.
        self._kib_per_stream = max(grown / self.load.streams, LEAST_KIB)
        await self._deliver(20, 0)

    async def do_round(self) -> None:
        """Measure one round."""
        self._paced_us.append(await self._deliver(self.load.paced, self.load.rate))
        for _ in range(self.load.bursts):
            self._burst_us.append(await self._deliver(self.load.burst, 0))

    async def close(self) -> Figures:
        """Close the streams; return what the load cost."""
        await self._deliver(1, 0)  # after which nothing published before can still come
        for stream in self._streams:
            stream.transport.close()
        paced, burst = statistics.fmean(self._paced_us), statistics.fmean(self._burst_us)
        return Figures(paced, burst, self._kib_per_stream, self._connect_us)

    async def _open_streams(self) -> None:
        loop = asyncio.get_running_loop()
        for number in range(self.load.streams):
            _, stream = await loop.create_connection(
                partial(Stream, number), "127.0.0.1", self.port
            )
            await stream.opened
            self._streams.append(stream)

    async def _publish(self, count: int, rate: float) -> None:
        """Let the server publish, and wait until it has."""
        self._published += count
        await ask(self.port, "POST", f"/go?count={count}&rate={rate}")

    async def _deliver(self, count: int, rate: float) -> float:
        """Return the microseconds of CPU per delivery of some events."""
        before = cpu_seconds(self.pid)
        await self._publish(count, rate)
        try:
            async with asyncio.timeout(self.load.patience):
                while any(stream.events < self._published for stream in self._streams):
                    if any(stream.is_lost for stream in self._streams):
                        raise LoadError("The server closed a stream.")
                    await asyncio.sleep(0.02)
        except TimeoutError:
            self._refuse(f"after {self.load.patience:g} s")
        seconds = cpu_seconds(self.pid) - before
        if any(stream.events > self._published for stream in self._streams):
            self._refuse("at once")
        return seconds / (count * len(self._streams)) * 1e6

    def _refuse(self, when: str) -> None:
        """Raise, because a cost per delivery means nothing if the deliveries are wrong."""
        wrong = [s.events for s in self._streams if s.events != self._published]
        raise LoadError(
            f"{len(wrong)} of {len(self._streams)} streams had other than the {self._published} "
            f"events that were published, {when}: from {min(wrong)} to {max(wrong)}."
        )


def assert_imported(path: str, tree: Path) -> None:
    """Raise if a server imported another ``quart_sse`` than that of a tree."""
    expected = tree / "quart_sse/__init__.py"
    if Path(path).resolve() != expected.resolve():
        raise LoadError(f"The server imported {path}, not {expected}.")


@dataclass(frozen=True)
class Served:
    """What is measured.

    Args:
        app: The function of ``apps.py`` that makes it.
        tree: The folder whose ``quart_sse`` it imports.
    """

    app: str = "ours"
    tree: Path = ROOT


async def measure(
    these: Sequence[Served],
    load: Load,
    server: str = "uvicorn",
    environ: Mapping[str, str] | None = None,
) -> list[Figures]:
    """Measure some servers, each in a process of its own.

    They are there at the same time and have their rounds in turns, so that other work on the
    machine meets all of them alike.

    Args:
        these: What is measured.
        load: What each is asked to do.
        server: The name of the server.
        environ: More than the usual environment.

    Returns:
        What each cost.

    Raises:
        LoadError: If one imported another tree, or a delivery is missing or came twice.
    """
    allow_sockets(load.streams * len(these))
    async with AsyncExitStack() as stack:
        all_loaded = []
        for served in these:
            serving = serve(server, served.app, served.tree, environ)
            port, pid = await stack.enter_async_context(serving)
            imported = json.loads(await ask(port, "GET", "/imported"))["quart_sse"]
            assert_imported(imported, served.tree)
            all_loaded.append(Loaded(port, pid, load))
            await all_loaded[-1].open()
        for number in range(load.rounds):
            for loaded in all_loaded if number % 2 == 0 else reversed(all_loaded):
                await loaded.do_round()
        return [await loaded.close() for loaded in all_loaded]


def allow_sockets(number: int) -> None:
    """Let this process have so many sockets, as far as the system permits."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = number + 100
    if soft != resource.RLIM_INFINITY and soft < wanted:
        wanted = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
