"""Real servers in processes of their own, and raw clients of theirs."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]

#: name -> the command that serves ``tests.server_app:app`` on a port
SERVERS: Mapping[str, Callable[[int], Sequence[str]]] = {
    "uvicorn-httptools-uvloop": lambda port: [
        *("-m", "uvicorn", "tests.server_app:app", "--port", str(port)),
        *("--http", "httptools", "--loop", "uvloop", "--log-level", "info"),
    ],
    "hypercorn": lambda port: [
        *("-m", "hypercorn", "tests.server_app:app", "--bind", f"127.0.0.1:{port}"),
    ],
    "granian": lambda port: [
        *("-m", "granian", "tests.server_app:app", "--port", str(port)),
        *("--interface", "asgi", "--host", "127.0.0.1"),
    ],
}


def free_port() -> int:
    """Return a port that the system gives."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@dataclass
class Server:
    """A server that runs in a process of its own."""

    process: asyncio.subprocess.Process
    port: int
    log: Path

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return self.log.read_text()

    async def post(self, path: str) -> bytes:
        """Send a POST without body; returns the whole answer."""
        return await self._ask("POST", path)

    async def get(self, path: str) -> bytes:
        """Send a GET; returns the whole answer."""
        return await self._ask("GET", path)

    async def _ask(self, method: str, path: str) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n"
        writer.write(f"{head}Connection: close\r\n\r\n".encode())
        try:
            return await reader.read()
        finally:
            writer.close()
            await writer.wait_closed()

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> float:
        """Signal the server and return the seconds until it is gone."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        self.process.send_signal(number)
        await self.process.wait()
        return loop.time() - begun


@asynccontextmanager
async def serve(
    command: Callable[[int], Sequence[str]],
    environ: Mapping[str, str] | None = None,
    port: int | None = None,
) -> AsyncIterator[Server]:
    """Run a server until the block ends; it has answered once when the block begins."""
    port = free_port() if port is None else port
    with tempfile.NamedTemporaryFile() as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *command(port),
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "PORT": str(port), **(environ or {})},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        server = Server(process, port, Path(log.name))
        try:
            async with asyncio.timeout(20):
                await _answers(server)
            yield server
        finally:
            # The whole session: a server that is killed leaves its workers behind.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def _answers(server: Server) -> None:
    pause = 0.02
    while True:
        if server.process.returncode is not None:
            raise RuntimeError(f"the server ended at once: {server.output}")
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        except ConnectionRefusedError:
            await asyncio.sleep(pause)
            continue
        writer.close()
        await writer.wait_closed()
        return


class RawStream:
    """An event stream read from a socket, with nothing between that could hide how it ends."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.text = ""
        self.is_chunked_to_the_end = False

    @classmethod
    async def open(
        cls,
        port: int,
        path: str = "/sse/news",
        headers: Mapping[str, str] | None = None,
        until: str = "sse-open",
    ) -> "RawStream":
        """Connect and read up to some text, by default the ``sse-open`` event.

        Args:
            port: Of the server.
            path: And query.
            headers: More than the usual ones, such as ``Last-Event-ID``.
            until: Where to stop reading.
        """
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        lines = {"Host": "localhost", "Accept": "text/event-stream", **(headers or {})}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        writer.write(f"GET {path} HTTP/1.1\r\n{head}\r\n".encode())
        stream = cls(reader, writer)
        await stream.read_until(until)
        return stream

    async def read_until(self, text: str) -> None:
        """Read until some text has come."""
        async with asyncio.timeout(10):
            while text not in self.text:
                data = await self.reader.read(65536)
                if not data:
                    raise EOFError(f"the stream ended without {text!r}: {self.text[-500:]!r}")
                self.text += data.decode()

    async def read_to_end(self) -> None:
        """Read until the server closes the stream or says that it is complete."""
        async with asyncio.timeout(10):
            while not self.text.endswith("\r\n0\r\n\r\n"):
                data = await self.reader.read(65536)
                if not data:
                    return
                self.text += data.decode()
        self.is_chunked_to_the_end = True

    async def close(self) -> None:
        """Go away."""
        self.writer.close()
        await self.writer.wait_closed()
