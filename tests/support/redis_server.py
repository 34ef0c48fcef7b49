"""A real Redis for one test: started, frozen, killed and restarted at will.

``REDIS_SERVER`` names another program than the first ``redis-server`` of the ``PATH``, such as
another version's, or Valkey's.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

PROGRAM = os.environ.get("REDIS_SERVER", "redis-server")
#: Seconds between two looks whether the server answers.
POLL = 0.005


class RedisServer:
    """A ``redis-server`` on a unix socket, with its data in the same directory.

    Args:
        directory: A short path; those of sockets may have 107 bytes.
        options: Command-line options.
    """

    def __init__(self, directory: Path, *options: str) -> None:
        self.directory = directory
        self.socket = directory / "redis.sock"
        self.url = f"unix://{self.socket}"
        self.options = list(options)
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start it, and wait until it has loaded its data and answers."""
        command = [PROGRAM, "--port", "0", "--unixsocket", str(self.socket)]
        command += ["--dir", str(self.directory), "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(  # noqa: ASYNC220 - starts it and does not wait
            [*command, *self.options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        async with asyncio.timeout(10):
            while not await self._answers():  # noqa: ASYNC110 - it is another program
                await asyncio.sleep(POLL)

    async def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "redis-server did not start"
        with contextlib.suppress(RedisError, OSError):
            await self.ask("PING")
            return True
        return False

    async def ask(self, *command: str | bytes) -> Any:
        """Run one command over a connection of its own."""
        client = Redis.from_url(self.url, decode_responses=True, socket_timeout=5)
        try:
            return await client.execute_command(*command)  # type: ignore[no-untyped-call]
        finally:
            await client.aclose()

    async def kill(self) -> None:
        """End it at once, as a crash does; what it wrote to its directory stays."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            await asyncio.to_thread(process.wait)

    async def restart(self) -> None:
        """Kill it and start it again."""
        await self.kill()
        await self.start()

    def freeze(self) -> None:
        """Stop it from doing anything; its sockets stay open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


@asynccontextmanager
async def running_redis(directory: Path, *options: str) -> AsyncIterator[RedisServer]:
    """Run a Redis until the block ends."""
    server = RedisServer(directory, *options)
    try:
        await server.start()
        yield server
    finally:
        await server.kill()
