"""What an ordinary user and a publisher notice, and what the server's process has."""

import asyncio
import json
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.servers import memory_kib, processes
from tests.support.load import ask
from tests.support.servers import Server

from .app import HEARTBEAT

#: Seconds between two pages, two events and two looks at the memory.
PAGES, EVENTS, LOOKS = 0.03, 0.1, 0.1
#: Seconds after which a page or an event counts as failed.
PATIENCE = 10.0
_HEARTBEAT = re.compile(rb"id: [^\n]+\n")


@dataclass
class Phase:
    """What was noticed before an attack, or during it."""

    pages: list[float] = field(default_factory=list)  #: seconds that the ordinary page took
    lags: list[float] = field(default_factory=list)  #: seconds that heartbeats came late
    memory: list[float] = field(default_factory=list)  #: KiB
    published: int = 0
    failures: list[str] = field(default_factory=list)  #: of publishers
    ends: list[str] = field(default_factory=list)  #: what ended the ordinary stream
    errors: list[str] = field(default_factory=list)  #: of the ordinary page
    stretch: float = 1.0  #: how many times as long all took, because the server had no processor


class Watch:
    """An ordinary user, a publisher, and a look at the process; all at the same time.

    Args:
        server: The server.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._beat_at = 0.0
        self.phase = Phase()

    async def watch(self, seconds: float, until: asyncio.Future[bytes] | None = None) -> Phase:
        """Return what was noticed for so long, or until something is done."""
        phase = self.phase = Phase()
        self._beat_at = time.monotonic()
        before = schedule(self._server.process.pid)
        chores = (self._pages, self._stream, self._publish, self._look)
        tasks = [asyncio.create_task(chore()) for chore in chores]
        waited: list[asyncio.Future[Any]] = [*tasks, *([until] if until else [])]
        await asyncio.wait(waited, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()  # a chore that ended has failed
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        after = schedule(self._server.process.pid)
        phase.stretch = 1 + (after[1] - before[1]) / max(after[0] - before[0], 1)
        # One that is due and has not come is late, too.
        phase.lags.append(max(0.0, time.monotonic() - self._beat_at - HEARTBEAT))
        return phase

    async def _pages(self) -> None:
        while True:
            begun = time.monotonic()
            try:
                async with asyncio.timeout(PATIENCE):
                    answer = await self._server.get("/")
                if not answer.startswith(b"HTTP/1.1 200 "):
                    self.phase.errors.append(answer[:80].decode())
            except (OSError, TimeoutError) as error:
                self.phase.errors.append(repr(error))
            self.phase.pages.append(time.monotonic() - begun)
            await asyncio.sleep(PAGES)

    async def _publish(self) -> None:
        while True:
            try:
                async with asyncio.timeout(PATIENCE):
                    answer = await self._server.post("/news")
                if not answer.startswith(b"HTTP/1.1 200 "):
                    self.phase.failures.append(answer[:80].decode())
            except (OSError, TimeoutError) as error:
                self.phase.failures.append(repr(error))
            self.phase.published += 1
            await asyncio.sleep(EVENTS)

    async def _stream(self) -> None:
        while True:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._server.port)
            writer.write(ask("/sse/news"))
            try:
                while True:
                    self._take(await reader.readuntil(b"\n\n"))
            except (OSError, EOFError):
                self.phase.ends.append("cut")
            finally:
                writer.close()
            await asyncio.sleep(PAGES)

    def _take(self, block: bytes) -> None:
        now = time.monotonic()
        if b"event: sse-open" in block:
            self._beat_at = now
        elif _HEARTBEAT.fullmatch(block.removesuffix(b"\n")):
            self.phase.lags.append(max(0.0, now - self._beat_at - HEARTBEAT))
            self._beat_at = now
        elif b"event: sse-holdoff" in block or b"event: sse-stop" in block:
            self.phase.ends.append(block.partition(b"data: ")[2].strip().decode())

    async def _look(self) -> None:
        while True:
            self.phase.memory.append(await asyncio.to_thread(memory_kib, self._server.process.pid))
            await asyncio.sleep(LOOKS)


def schedule(pid: int) -> tuple[int, int]:
    """Return how long a server has run, and waited for a processor, in nanoseconds.

    The first thread of each of its processes counts: that of the event loop (proc(5), schedstat).
    """
    ran = waited = 0
    for process in processes(pid):
        fields = Path(f"/proc/{process}/schedstat").read_text().split()
        ran, waited = ran + int(fields[0]), waited + int(fields[1])
    return ran, waited


async def counts(server: Server) -> dict[str, int]:
    """Return what the app was asked so far."""
    answer = await server.get("/counts")
    told: dict[str, int] = json.loads(answer.partition(b"\r\n\r\n")[2])
    return told
