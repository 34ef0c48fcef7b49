"""What is measured behind one proxy, and what must hold."""

import asyncio
import contextlib
import signal
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.support.servers import PAUSE, Server

from .catalogue import STREAMS, Proxy
from .running import Running, in_front_of, serve_app

URL = "/sse/news"
#: Seconds after which the proxies here close what is silent, and how often streams say something.
IDLE, HEARTBEAT = 2, 0.5
#: Events whose delay is measured.
EVENTS = 10
#: Longest time that a client may take to get an event, in seconds.
SLOW = 0.1
#: Longest time until the app knows that a client has left, behind a proxy that tells it.
NOTICED = 3.0


@dataclass
class Outcome:
    """The row of one proxy. Times are in seconds; None for what was not measured."""

    name: str
    first: float = 0.0  #: until the first byte of a stream
    event: float = 0.0  #: until an event is there, at the median
    is_idle_open: bool = False  #: whether a stream without events outlives the proxy's timeout
    stop: float = 0.0  #: from SIGTERM of the app until the client has the end of its stream
    is_whole: bool = False  #: whether the end was ``sse-holdoff`` and a last chunk
    down: int = 0  #: status while the app is not there
    noticed: float | None = None  #: until the app knows that a client has left
    streams: int | None = None  #: open at once over one HTTP/2 connection
    tabs: float | None = None  #: until 8 tabs are current after a restart
    broken: list[str] = field(default_factory=list)  #: what does not hold

    def expect(self, holds: bool, what: str) -> None:
        """Note what does not hold."""
        if not holds:
            self.broken.append(what)


class Reading:
    """An event stream that is read, and when what came."""

    def __init__(self, response: httpx.Response) -> None:
        self.text = ""
        self.at: float = 0.0  #: when the last bytes came
        self._chunks = response.aiter_text()

    async def until(self, text: str, seconds: float = 10.0) -> None:
        """Read until a text has come."""
        async with asyncio.timeout(seconds):
            while text not in self.text:
                await self._more()

    async def outlives(self, seconds: float) -> bool:
        """Read for so long; return whether the stream is still open."""
        ends_at = time.monotonic() + seconds
        try:
            while time.monotonic() < ends_at:
                await asyncio.wait_for(self._more(), IDLE + 2)
        except (httpx.HTTPError, StopAsyncIteration, TimeoutError):
            return False
        return True

    async def _more(self) -> None:
        self.text += await anext(self._chunks)
        self.at = time.monotonic()

    async def rest(self) -> bool:
        """Read to the end; return whether it was whole."""
        try:
            async with asyncio.timeout(20):
                async for chunk in self._chunks:
                    self.text += chunk
        except httpx.HTTPError:
            return False
        self.at = time.monotonic()
        return True


@asynccontextmanager
async def opened(client: httpx.AsyncClient) -> AsyncIterator[Reading]:
    """Open a stream until the block ends."""
    async with client.stream("GET", URL) as response:
        if response.status_code != 200:
            raise ConnectionError(f"status {response.status_code}")
        reading = Reading(response)
        await reading.until("sse-open")
        yield reading


async def measure(
    proxy: Proxy,
    folder: Path,
    *,
    late: float | None = None,
    tabs: Callable[[Running, Server], Awaitable[float]] | None = None,
) -> Outcome:
    """Measure one proxy.

    Args:
        proxy: Which one.
        folder: An empty folder of its own.
        late: The heartbeat at which it is measured until a client that has left is noticed; None
            for the short one of the other measurements.
        tabs: Measures pages in a browser; None to leave that out.
    """
    outcome = Outcome(proxy.name)
    async with (
        serve_app(HEARTBEAT) as app,
        in_front_of(app.port, proxy, folder / "proxy", IDLE) as running,
    ):
        async with running.client() as client:
            await measure_delays(outcome, app, client)
        if proxy.is_secure:
            outcome.streams = await count_streams(running, app)
        if late is None:
            outcome.noticed = await until_noticed(running, app)
        await _stop(outcome, running, app)
    if late is not None:
        outcome.noticed = await _noticed_at(proxy, folder, late)
    if tabs is not None:
        async with (
            serve_app(HEARTBEAT) as app,
            in_front_of(app.port, proxy, folder / "of-tabs", IDLE) as running,
        ):
            outcome.tabs = await tabs(running, app)
    judge(proxy, outcome)
    return outcome


async def measure_delays(outcome: Outcome, app: Server, client: httpx.AsyncClient) -> None:
    """Measure when bytes and events are there, and whether a silent stream stays open."""
    begun = time.monotonic()
    async with opened(client) as reading:
        outcome.first = reading.at - begun
        delays = []
        for number in range(EVENTS):
            begun = time.monotonic()
            await app.post(f"/publish/number-{number}-")
            await reading.until(f"number-{number}-")
            delays.append(max(0.0, reading.at - begun))
        outcome.event = statistics.median(delays)
        outcome.is_idle_open = await reading.outlives(IDLE + HEARTBEAT)


async def how_many(app: Server) -> int:
    """Return how many streams the app has open."""
    return int((await app.get_json("/open"))["open"])


async def until_open(app: Server, number: int, seconds: float = 20.0) -> None:
    """Wait until the app has so many streams open."""
    async with asyncio.timeout(seconds):
        while await how_many(app) != number:  # noqa: ASYNC110 - it is another process
            await asyncio.sleep(PAUSE)


async def count_streams(running: Running, app: Server) -> int:
    """Return how many of some streams open over one fresh HTTP/2 connection."""
    await until_open(app, 0)
    leave = asyncio.Event()

    async def stay(client: httpx.AsyncClient) -> None:
        async with opened(client):
            await leave.wait()

    async with running.client() as client:
        tasks = [asyncio.ensure_future(stay(client)) for _ in range(STREAMS)]
        with contextlib.suppress(TimeoutError):  # fewer is a result, too
            await until_open(app, STREAMS, 3)
        number = await how_many(app)
        leave.set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return number


async def until_noticed(running: Running, app: Server) -> float:
    """Return how long the app takes to know that a client has left."""
    await until_open(app, 0)
    async with running.client() as client, opened(client):
        await until_open(app, 1)
    begun = time.monotonic()
    await until_open(app, 0, 90)
    return time.monotonic() - begun


async def _noticed_at(proxy: Proxy, folder: Path, heartbeat: float) -> float:
    async with (
        serve_app(heartbeat) as app,
        in_front_of(app.port, proxy, folder / "of-leaving", 120) as running,
    ):
        return await until_noticed(running, app)


async def _stop(outcome: Outcome, running: Running, app: Server) -> None:
    async with running.client() as client:
        async with opened(client) as reading:
            begun = time.monotonic()
            app.process.send_signal(signal.SIGTERM)
            is_ended = await reading.rest()
            outcome.stop = reading.at - begun
            outcome.is_whole = is_ended and "sse-holdoff" in reading.text
        await app.process.wait()
        try:
            outcome.down = (await client.get(URL)).status_code
        except httpx.HTTPError:
            outcome.down = 0


def judge(proxy: Proxy, outcome: Outcome) -> None:
    """Note what does not hold of what docs/deploy.md says."""
    outcome.expect(outcome.first < 1, f"the first byte took {outcome.first:.2f} s")
    outcome.expect(outcome.event < SLOW, f"an event took {outcome.event:.3f} s")
    outcome.expect(outcome.is_idle_open, "a stream without events was closed")
    outcome.expect(outcome.is_whole, "the stop of the app did not come through whole")
    if outcome.noticed is not None and not proxy.is_late:
        outcome.expect(
            outcome.noticed < NOTICED,
            f"a client that left was noticed after {outcome.noticed:.1f} s",
        )
    outcome.expect(outcome.down in (502, 503), f"{outcome.down} stands for an app that is away")
    if outcome.streams is not None:
        outcome.expect(
            outcome.streams >= proxy.streams, f"{outcome.streams} streams of {proxy.streams}"
        )
    if outcome.tabs is not None:
        outcome.expect(outcome.tabs < 15, f"tabs were current after {outcome.tabs:.1f} s")
