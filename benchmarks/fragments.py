"""A load of HTML: what a delivery of a fragment costs, and one of an item of a list.

Pages of all streams show a fragment of a topic without lists, or a list of another topic. Each time
it is refreshed, rendered once, and sent to all. Versions may be left out where the machine is busy,
so those count that came.
"""

import asyncio
import json
import re
import statistics
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from html import unescape

from .load import Load, LoadError, Served, allow_sockets, ask, assert_imported
from .servers import cpu_seconds, serve

#: Is once in each version that is delivered, and in nothing else.
MARK = b"@@"
_URL = re.compile(rb'sse-connect="([^"]+)"')
_END = re.compile(rb"event: [a-z.]*end\n")


@dataclass(frozen=True)
class HtmlFigures:
    """Microseconds of CPU per delivery; None for items if that ``quart_sse`` has no lists."""

    fragment_us: float
    item_us: float | None


class HtmlStream(asyncio.Protocol):
    """One stream; counts the versions that it gets, and the events that end each measurement.

    Args:
        path: Path of its URL.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self.opened = asyncio.get_running_loop().create_future()
        self.versions = 0
        self.ends = 0
        self._line = b""
        self._came = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self.transport = transport
        head = f"GET {self._path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"
        transport.write(head.encode())

    def data_received(self, data: bytes) -> None:
        if not self.opened.done() and b"sse-open" in data:
            self.opened.set_result(None)
        # A line may be cut in two.
        lines, _, self._line = (self._line + data).rpartition(b"\n")
        self.versions += lines.count(MARK)
        self.ends += len(_END.findall(lines + b"\n"))

        self._came.set()

    async def wait_for(self, ends: int) -> None:
        """Wait until so many measurements have ended."""
        while self.ends < ends:
            self._came.clear()
            await self._came.wait()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(LoadError("The server closed a stream that was opening."))


class HtmlLoaded:
    """The streams of one server whose pages show the same.

    Args:
        port: Of the server.
        pid: Its process.
        what: The name of what the pages show.
        load: How many streams there are, and how often it changes.
    """

    def __init__(self, port: int, pid: int, what: str, load: Load) -> None:
        self._port = port
        self._pid = pid
        self._what = what
        self._load = load
        self._streams: list[HtmlStream] = []
        self._ends = 0
        self._us: list[float] = []

    async def open(self) -> None:
        """Open the streams, and let each get something."""
        page = await ask(self._port, "GET", f"/page/{self._what}")
        found = _URL.search(page)
        if found is None:
            raise LoadError(f"The page of {self._what} has no connect element.")
        # Our script always says what the stream replaces, and it alone takes items.
        path = f"{unescape(found[1].decode())}&replaces="
        loop = asyncio.get_running_loop()
        for _ in range(self._load.streams):
            made = partial(HtmlStream, path)
            _, stream = await loop.create_connection(made, "127.0.0.1", self._port)
            await stream.opened
            self._streams.append(stream)
        await self.do_round()
        self._us.clear()

    async def do_round(self) -> None:
        """Measure some deliveries, which come one by one."""
        before, versions = cpu_seconds(self._pid), self._versions
        self._ends += 1
        load = self._load
        await ask(self._port, "POST", f"/change/{self._what}?count={load.paced}&rate={load.rate}")
        try:
            async with asyncio.timeout(load.patience):
                await asyncio.gather(*(stream.wait_for(self._ends) for stream in self._streams))
        except TimeoutError:
            raise LoadError(f"Streams of {self._what} lack events.") from None
        seconds, came = cpu_seconds(self._pid) - before, self._versions - versions
        if not len(self._streams) <= came <= load.paced * len(self._streams):
            raise LoadError(
                f"{came} versions of {self._what} came to {len(self._streams)} streams, of "
                f"{load.paced} that were rendered for each."
            )
        self._us.append(seconds / came * 1e6)

    @property
    def _versions(self) -> int:
        return sum(stream.versions for stream in self._streams)

    def close(self) -> float:
        """Close the streams; return what a delivery cost, in microseconds."""
        for stream in self._streams:
            stream.transport.close()
        return statistics.fmean(self._us)


async def measure_html(
    these: Sequence[Served], load: Load, server: str = "uvicorn"
) -> list[HtmlFigures]:
    """Measure some servers, each in a process of its own, in turns as in ``load.measure``.

    Args:
        these: What is measured; each is served as ``apps.html``.
        load: How many streams there are, and how often what they show changes.
        server: The name of the server.

    Raises:
        LoadError: If one imported another tree, or what was published did not come.
    """
    allow_sockets(load.streams * len(these))
    async with AsyncExitStack() as stack:
        ports, has_lists = [], []
        for served in these:
            port, pid = await stack.enter_async_context(serve(server, "html", served.tree))
            told = json.loads(await ask(port, "GET", "/imported"))
            assert_imported(told["quart_sse"], served.tree)
            ports.append((port, pid))
            has_lists.append(told["has_lists"])
        fragments = await _measure(ports, "list", load)
        having = [each for each, has in zip(ports, has_lists, strict=True) if has]
        items = iter(await _measure(having, "rows", load))
        pairs = zip(fragments, has_lists, strict=True)
        return [HtmlFigures(us, next(items) if has else None) for us, has in pairs]


async def _measure(ports: Sequence[tuple[int, int]], what: str, load: Load) -> list[float]:
    all_loaded = [HtmlLoaded(port, pid, what, load) for port, pid in ports]
    for loaded in all_loaded:
        await loaded.open()
    for number in range(load.rounds):
        for loaded in all_loaded if number % 2 == 0 else reversed(all_loaded):
            await loaded.do_round()
    return [loaded.close() for loaded in all_loaded]


async def measure_html_pairs(
    this: Served, base: Served, load: Load, pairs: int, server: str = "uvicorn"
) -> list[tuple[HtmlFigures, HtmlFigures]]:
    """Measure two trees in pairs, of which every second one begins with the other tree.

    The arguments, and what is raised, are those of ``check.measure_pairs``.
    """
    found = list[tuple[HtmlFigures, HtmlFigures]]()
    both = [this, base]
    await measure_html(both, replace(load, streams=1, rounds=1), server)
    for number in range(pairs):
        step = 1 if number % 2 == 0 else -1
        one, other = (await measure_html(both[::step], load, server))[::step]
        found.append((one, other))
        ratios = [f"{one.fragment_us / other.fragment_us:14.3f}"]
        if one.item_us is not None and other.item_us is not None:
            ratios.append(f"{one.item_us / other.item_us:14.3f}")
        print(f"pair {number + 1:2}", *ratios, flush=True)
    return found
