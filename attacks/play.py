"""One attack from begin to end: a server, what is usual, the attackers, and the quiet after."""

import asyncio
import contextlib
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.servers import memory_kib
from tests.support.redis_server import running_redis
from tests.support.servers import ROOT, Server, serve

from .catalogue import ATTACKS
from .verdict import LEFT, Outcome
from .watch import Watch, counts


@dataclass(frozen=True)
class Pace:
    """How large and how long attacks are.

    Args:
        seconds: Of an attack.
        usual: Seconds before it, in which the ordinary page is measured.
        size: Of an attack: a part of the whole.
        slack: See :class:`~attacks.verdict.Outcome`.
        quiet: Most seconds until the memory is as it was; topics linger for ten.
    """

    seconds: float = 10.0
    usual: float = 3.0
    size: float = 1.0
    slack: float = 0.0
    quiet: float = 12.0


FULL = Pace()
#: What the tests play.
BRIEF = Pace(seconds=1.5, usual=0.8, size=0.4, slack=4.0, quiet=13.0)

#: Most seconds until attackers are prepared.
PREPARED = 240.0
#: Number from which the attacks of the second round are counted.
SECOND = 1_000_000
#: Pages that warm a process up.
WARM = 30


def command(port: int) -> Sequence[str]:
    """Return the command that serves the app, with the defaults of the server."""
    where = f"127.0.0.1:{port}"
    return "-m", "hypercorn", "attacks.app:served", "--bind", where, "--log-level", "warning"


async def play(name: str, broker: str, folder: Path, pace: Pace = FULL) -> Outcome:
    """Attack a server of its own.

    Args:
        name: Of the attack.
        broker: ``memory`` or ``redis``.
        folder: For Redis; a short path.
        pace: How large and how long.
    """
    async with AsyncExitStack() as stack:
        environ = {}
        if broker == "redis":
            redis = await stack.enter_async_context(running_redis(folder))
            environ["QUART_SSE_BROKER_URL"] = redis.url
        server = await stack.enter_async_context(serve(command, environ))
        for _ in range(WARM):
            await server.get("/")
        seconds = pace.seconds * (ATTACKS[name].lasts if pace is FULL else 1)
        watch = Watch(server)
        async with attacking(name, server, seconds, pace.size) as attackers:
            await attackers.until_ready()
            before = await watch.watch(pace.usual)
            asked = await counts(server)
            during = await watch.watch(seconds + PREPARED, attackers.attack())
            ends = await attackers.ends()
        asked = {key: value - asked.get(key, 0) for key, value in (await counts(server)).items()}
        shown = {key: asked.get(key, 0) for key in ("authorize", "renders")}
        held = statistics.median(before.memory)
        after, again = await quiet(server, held * LEFT, pace.quiet), None
        if after > held * LEFT:
            async with attacking(name, server, seconds, pace.size, SECOND) as attackers:
                await attackers.until_ready()
                await attackers.attack()
            again = await quiet(server, after, pace.quiet)
        return Outcome(name, broker, before, during, after, ends, shown, again, pace.slack)


class Attackers:
    """The process of the attackers.

    Args:
        process: That has been started.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._ends: asyncio.Future[bytes] | None = None

    async def _line(self) -> bytes:
        assert self._process.stdout is not None
        return await self._process.stdout.readline()

    async def until_ready(self) -> None:
        """Wait until the attack is prepared."""
        async with asyncio.timeout(PREPARED):
            assert await self._line() == b"ready\n", "the attackers have failed"

    def attack(self) -> asyncio.Future[bytes]:
        """Begin, and return what is done when the attack is over."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        self._ends = asyncio.ensure_future(self._line())
        return self._ends

    async def ends(self) -> Mapping[str, int]:
        """Return how their requests were answered."""
        assert self._ends is not None
        found: dict[str, int] = json.loads(await self._ends)
        return found


@asynccontextmanager
async def attacking(
    name: str, server: Server, seconds: float, size: float, first: int = 0
) -> AsyncIterator[Attackers]:
    """Run the attackers' process until the block ends."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "attacks.attacker", name),
        *map(str, (server.port, seconds, size, first)),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield Attackers(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def quiet(server: Server, goal: float, seconds: float) -> float:
    """Wait until the memory is as it was, or for long enough; returns what it is, in KiB."""
    end = time.monotonic() + seconds
    while True:
        memory = await asyncio.to_thread(memory_kib, server.process.pid)
        if memory <= goal or time.monotonic() > end:
            return memory
        await server.get("/")
        await asyncio.sleep(0.25)
