"""Where a scenario is played: real web processes, a real Redis, and the wires between them."""

import os
import re
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.network import Balancer, Wire
from tests.support.redis_server import RedisServer, running_redis
from tests.support.servers import Server, serve, until_so

from .viewer import RETRY

#: Seconds after which something that was to happen is given up.
PATIENCE = 40.0

#: name -> the command that serves the app on a port
SERVERS: Mapping[str, Callable[[int], Sequence[str]]] = {
    "uvicorn": lambda port: [
        *("-m", "uvicorn", "faults.app:app", "--port", str(port), "--log-level", "warning"),
        *("--timeout-graceful-shutdown", "5"),
    ],
    "hypercorn": lambda port: [
        *("-m", "hypercorn", "faults.app:app", "--bind", f"127.0.0.1:{port}"),
        *("--log-level", "warning"),
    ],
}


@dataclass(frozen=True)
class Pace:
    """How large and how long a scenario is.

    Args:
        processes: That serve.
        viewers: Over all processes.
        rate: Events a second.
        more: Events that are published after everybody has healed.
        outage: Seconds that something is away.
        keys: ``QUART_SSE_*`` keys, without that prefix.
    """

    processes: int = 3
    viewers: int = 12
    rate: float = 20.0
    more: int = 100
    outage: float = 8.0
    keys: Mapping[str, object] = field(default_factory=dict)
    is_brief: bool = False


#: With the defaults of all keys.
FULL = Pace()
#: What the tests play.
BRIEF = Pace(
    processes=2,
    viewers=6,
    rate=40.0,
    more=12,
    outage=0.6,
    # A machine that does much else may hold up a process for a second, which is no outage.
    keys={"probe": 1, "heartbeat": 0.3, "join_timeout": 1},
    is_brief=True,
)


@dataclass(eq=False)
class Process:
    """A web process and its wire to Redis."""

    server: Server
    wire: Wire
    log: str = ""  #: what it had printed when it ended

    async def state(self) -> dict[str, Any]:
        """Return what it says about itself."""
        return await self.server.state()

    async def is_in(self, *states: str) -> bool:
        """Whether its broker is in one of some states."""
        return (await self.state())["broker"] in states

    def signal(self, number: signal.Signals) -> None:
        """Signal it with its workers, if it has any."""
        os.killpg(self.server.process.pid, number)

    @property
    def lines(self) -> list[str]:
        """What it has logged."""
        return (self.log or self.server.output).splitlines()

    @property
    def raised(self) -> set[str]:
        """The errors whose tracebacks it has logged."""
        return {
            line for line in self.lines if re.match(r"[\w.]+(Error|Exception|Unavailable)\b", line)
        }

    def count(self, beginning: str) -> int:
        """How many lines of its log begin so."""
        return sum(line.startswith(beginning) for line in self.lines)


class Stage:
    """Web processes that share a Redis, a database and an address.

    Args:
        folder: Of the database and of Redis; a short path.
        stack: Ends everything.
        pace: How large.
        server: The web server's name.
    """

    def __init__(self, folder: Path, stack: AsyncExitStack, pace: Pace, server: str) -> None:
        self.folder = folder
        self.stack = stack
        self.pace = pace
        self.processes: list[Process] = []  #: those that serve, and those that have ended
        self._command = SERVERS[server]

    async def redis(self, name: str = "redis", *options: str) -> RedisServer:
        """Start a Redis in a folder of its own."""
        folder = self.folder / name
        folder.mkdir()
        return await self.stack.enter_async_context(running_redis(folder, *options))

    async def balancer(self) -> Balancer:
        """Return an address that leads nowhere yet."""
        balancer = Balancer()
        await self.stack.enter_async_context(balancer)
        return balancer

    async def boot(
        self, redis: RedisServer, balancer: Balancer, database: Path, **environ: str
    ) -> Process:
        """Start one more process, and lead the address to it."""
        wire = Wire(redis.socket)
        await self.stack.enter_async_context(wire)
        keys = {"broker_url": wire.url, "history": 5000, "retry": RETRY, **self.pace.keys}
        environ |= {f"QUART_SSE_{key.upper()}": str(value) for key, value in keys.items()}
        environ["FAULTS_DATABASE"] = str(database)
        process = Process(await self.stack.enter_async_context(serve(self._command, environ)), wire)
        self.processes.append(process)
        await until_so(lambda: process.is_in("ready", "degraded"))
        balancer.ports.append(process.server.port)
        return process

    async def end(
        self, process: Process, balancer: Balancer, number: signal.Signals = signal.SIGTERM
    ) -> float:
        """End a process; returns the seconds that it took."""
        if number is signal.SIGKILL:
            process.signal(number)
        seconds = await process.server.stop(number)
        process.log = process.server.output or "\n"
        balancer.ports.remove(process.server.port)
        return seconds
