"""Serve the forum as in a deployment: `python -m example.redis_demo`, or `make demo-redis`.

Starts a Redis of its own, web processes and a worker, and ends all of them together: on Ctrl+C, or
when one of them ends by itself. `PORTS` says where, with one web process for each port.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

PATIENCE = 5.0  # time that a process has to stop before it is killed, in seconds

OPEN = """The forum is open at
    {urls}
Each is a process of its own; they share a database, a Redis and a worker.
Open the board in both and move a card, or ask one for a report and watch the other.
(Ctrl+C closes everything)"""


class EndedError(Exception):
    """A process of the demo has ended by itself."""


class Demo:
    """The processes that run together.

    Args:
        group: Tasks of the demo; cancelled when a process ends.
        stack: Callbacks that end the processes, the last one first.
    """

    def __init__(self, group: asyncio.TaskGroup, stack: AsyncExitStack) -> None:
        self._group = group
        self._stack = stack

    async def start(self, ports: list[str], folder: Path) -> list[str]:
        """Start Redis, then the processes that need it; return the URLs of the web processes."""
        socket = folder / "redis.sock"
        options = {"port": "0", "unixsocket": str(socket), "dir": str(folder), "save": ""}
        flags = [word for name, value in options.items() for word in (f"--{name}", value)]
        await self._run("Redis", "redis-server", *flags, stdout=DEVNULL)
        while not socket.exists():  # noqa: ASYNC110 - it is another program
            await asyncio.sleep(0.02)

        environ = {**os.environ, "QUART_SSE_BROKER_URL": f"unix://{socket}"}
        urls = await asyncio.gather(*(self._start_web(port, environ) for port in ports))
        await self._run("The worker", sys.executable, "-m", "example.worker", env=environ)
        return urls

    async def _start_web(self, port: str, environ: Mapping[str, str]) -> str:
        name, env = f"The web process for port {port}", {**environ, "PORT": port}
        web = await self._run(name, sys.executable, "-m", "example", stdout=PIPE, env=env)
        assert web.stdout is not None
        line = (await web.stdout.readline()).decode()  # all that it prints
        if not line:
            await asyncio.Event().wait()  # until its watcher cancels this, which is about to happen
        return next(word for word in line.split() if word.startswith("http"))

    async def _run(self, name: str, *command: str, **options: Any) -> Process:
        # In a process group of its own, where no Ctrl+C reaches it but ours.
        process = await asyncio.create_subprocess_exec(
            *command, stdin=DEVNULL, process_group=0, **options
        )
        watcher = self._group.create_task(_watch(name, process))
        self._stack.push_async_callback(_stop, process, watcher)
        return process


async def _watch(name: str, process: Process) -> None:
    status = await process.wait()
    raise EndedError(f"{name} has ended (status {status}), so everything was stopped.")


async def _stop(process: Process, watcher: asyncio.Task[None]) -> None:
    watcher.cancel()
    try:
        with contextlib.suppress(ProcessLookupError, TimeoutError):
            process.terminate()
            async with asyncio.timeout(PATIENCE):
                await process.wait()
    finally:
        # Also if another process ends just now, which cancels the waiting.
        with contextlib.suppress(ProcessLookupError):
            process.kill()


async def run(ports: list[str]) -> str | None:
    """Run the demo until the user ends it; return the problem if a process ended."""
    demo = asyncio.current_task()
    assert demo is not None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Not twice, for that would cancel the cleaning up.
        asyncio.get_running_loop().add_signal_handler(
            number, lambda: demo.cancelling() or demo.cancel()
        )
    problems: list[str] = []
    with (
        tempfile.TemporaryDirectory(prefix="shed-") as folder,
        contextlib.suppress(asyncio.CancelledError),
    ):
        try:
            async with asyncio.TaskGroup() as group, AsyncExitStack() as stack:
                urls = await Demo(group, stack).start(ports, Path(folder))
                print(OPEN.format(urls="\n    ".join(urls)), flush=True)
                await asyncio.Event().wait()
        except* EndedError as ended:
            problems = [str(error) for error in ended.exceptions]
    return problems[0] if problems else None


def main() -> None:
    if shutil.which("redis-server") is None:
        sys.exit("redis-server is missing. On Debian and Ubuntu: apt-get install redis-server")
    sys.exit(asyncio.run(run(os.environ.get("PORTS", "8001 8002").split())))


if __name__ == "__main__":
    main()
