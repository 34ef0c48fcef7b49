"""Real servers in processes of their own, and raw clients of theirs."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
#: Seconds between two looks at another process.
PAUSE = 0.02

APP = "tests.apps.server:app"
#: Hypercorn would cut streams after 3 s; told to be patient, it shows that it need not.
PATIENT = ("--graceful-timeout", "30")

#: name -> the command that serves ``tests.apps.server:app`` on a port
SERVERS: Mapping[str, Callable[[int], Sequence[str]]] = {
    "hypercorn": lambda port: ("-m", "hypercorn", *PATIENT, "-b", f"127.0.0.1:{port}", APP),
    "hypercorn-2": lambda port: (*SERVERS["hypercorn"](port), "--workers", "2"),
    "hypercorn-uvloop": lambda port: (*SERVERS["hypercorn"](port), "--worker-class", "uvloop"),
    "uvicorn": lambda port: ("-m", "uvicorn", "--no-access-log", "--port", str(port), APP),
    "uvicorn-2": lambda port: (*SERVERS["uvicorn"](port), "--workers", "2"),
    "uvicorn-h11": lambda port: (*SERVERS["uvicorn"](port), "--http", "h11", "--loop", "asyncio"),
    "granian": lambda port: ("-m", "granian", "--interface", "asgi", "--port", str(port), APP),
    "granian-2": lambda port: (*SERVERS["granian"](port), "--workers", "2"),
    "quart-run": lambda port: ("-m", "quart", "--app", APP, "run", "--port", str(port)),
    "app.run": lambda _: ("-m", "tests.apps.server"),
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

    async def state(self) -> dict[str, Any]:
        """Return what the app says at ``/state``, as ``tests.apps.server`` does of its streams."""
        told: dict[str, Any] = await self.get_json("/state")
        return told

    async def until_all_serve(self, workers: int) -> None:
        """Ask until each of its workers has answered: one that has not may be starting yet."""
        async with asyncio.timeout(20):
            seen = set[int]()
            while len(seen) < workers:
                seen.add((await self.state())["pid"])

    async def post(self, path: str) -> bytes:
        """Send a POST without body; returns the whole answer."""
        return await self._ask("POST", path)

    async def get(self, path: str) -> bytes:
        """Send a GET; returns the whole answer."""
        return await self._ask("GET", path)

    async def get_json(self, path: str) -> Any:
        """Send a GET; returns what the JSON of the answer says."""
        return json.loads((await self.get(path)).partition(b"\r\n\r\n")[2])

    async def _ask(self, method: str, path: str) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n"
        writer.write(f"{head}Connection: close\r\n\r\n".encode())
        try:
            return await reader.read()
        finally:
            writer.close()
            await writer.wait_closed()

    async def stop(self, number: signal.Signals = signal.SIGTERM, *, to_all: bool = False) -> float:
        """Signal the server and return the seconds until it is gone; then nothing is left of it.

        It may have been signalled before, and be gone already.

        Args:
            number: The signal.
            to_all: Whether its workers are sent it too, as by CTRL+C in a terminal.
        """
        loop = asyncio.get_running_loop()
        begun = loop.time()
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if to_all else os.kill)(self.process.pid, number)
        async with asyncio.timeout(20):
            await self.process.wait()
            seconds = loop.time() - begun
            # Not timed: a worker that has ended counts until the system has taken note of it.
            with contextlib.suppress(ProcessLookupError):
                while True:
                    os.killpg(self.process.pid, 0)  # asks only whether any is left
                    await asyncio.sleep(PAUSE)
        return seconds


@asynccontextmanager
async def serve(
    command: Callable[[int], Sequence[str]],
    environ: Mapping[str, str] | None = None,
    port: int | None = None,
    folder: Path = ROOT,
    inherits: Sequence[int] = (),
    path: Path | None = None,
) -> AsyncIterator[Server]:
    """Run a server until the block ends; it has answered once when the block begins.

    Args:
        command: What follows ``python`` on a port.
        environ: More than the usual environment.
        port: If not one that the system gives.
        folder: Where it runs; the modules of the repository are found from anywhere.
        inherits: File descriptors that it gets, by the same numbers.
        path: Of a unix socket, if it listens there and at no port.
    """
    port = free_port() if port is None else port
    always = {
        "PYTHONUNBUFFERED": "1",
        "PYTHONPATH": str(ROOT),
        # Pages ask less and less often while a server is away: from this, they come back in good
        # time after one that took long to start.
        "QUART_SSE_RETRY": "0.5",
    }
    with tempfile.NamedTemporaryFile() as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *command(port),
            cwd=folder,
            env={**os.environ, **always, "PORT": str(port), **(environ or {})},
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=inherits,
        )
        server = Server(process, port, Path(log.name))
        try:
            async with asyncio.timeout(20):
                await _answers(server, path or port)
            yield server
        finally:
            # The whole session: a server that is killed leaves its workers behind.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


@asynccontextmanager
async def serve_pages(
    module: str, htmx: int, environ: Mapping[str, str] | None = None, port: int | None = None
) -> AsyncIterator[Server]:
    """Serve a module of ``tests.apps`` to a browser, by Uvicorn and for either htmx."""
    command = [
        *("-m", "uvicorn", f"tests.apps.{module}:app", "--log-level", "warning"),
        *("--timeout-graceful-shutdown", "5", "--port"),
    ]
    environ = {"QUART_SSE_HTMX": str(htmx), **(environ or {})}
    async with serve(lambda free: [*command, str(free)], environ, port=port) as server:
        yield server


async def until_so(look: Callable[[], Awaitable[bool]], seconds: float = 40.0) -> None:
    """Look until another program says yes."""
    async with asyncio.timeout(seconds):
        while not await look():  # noqa: ASYNC110 - it is another program
            await asyncio.sleep(PAUSE)


async def _connect(place: int | Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to a port, or to a unix socket."""
    if isinstance(place, Path):
        return await asyncio.open_unix_connection(place)
    return await asyncio.open_connection("127.0.0.1", place)


async def _answers(server: Server, place: int | Path) -> None:
    while True:
        if server.process.returncode is not None:
            raise RuntimeError(f"the server ended at once: {server.output}")
        try:
            _, writer = await _connect(place)
        except (ConnectionRefusedError, FileNotFoundError):
            await asyncio.sleep(PAUSE)
            continue
        writer.close()
        await writer.wait_closed()
        return


class RawStream:
    """An event stream read from a socket, with nothing between that could hide how it ends.

    The chunks of HTTP/1.1 are taken apart here, so that a body that was cut is told from one that
    is whole: `is_complete` is set by the chunk of no bytes, and by nothing else.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.head = ""
        self.text = ""
        self.is_complete = False
        self._raw = b""

    @classmethod
    async def open(
        cls,
        place: int | Path,
        path: str = "/sse/news",
        headers: Mapping[str, str] | None = None,
        until: str = "sse-open",
    ) -> "RawStream":
        """Connect and read up to some text, by default the ``sse-open`` event.

        Args:
            place: The port of the server, or its unix socket.
            path: And query.
            headers: More than the usual ones, such as ``Last-Event-ID``.
            until: Where to stop reading.
        """
        reader, writer = await _connect(place)
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
                if not await self._read():
                    raise EOFError(f"the stream ended without {text!r}: {self.text[-500:]!r}")

    async def read_to_end(self) -> None:
        """Read until the server closes the stream or says that it is complete."""
        async with asyncio.timeout(20):
            while not self.is_complete and await self._read():
                pass

    async def _read(self) -> bool:
        data = await self.reader.read(65536)
        self._raw += data
        if not self.head:
            head, separator, rest = self._raw.partition(b"\r\n\r\n")
            if separator:
                self.head, self._raw = head.decode("latin1").lower(), rest
                assert "transfer-encoding: chunked" in self.head, self.head
        while self.head and not self.is_complete:
            size, separator, rest = self._raw.partition(b"\r\n")
            length = int(size, 16) if separator else 0
            if not separator or len(rest) < length + 2:
                break
            assert rest[length : length + 2] == b"\r\n", "a chunk is longer than it says"
            self.text += rest[:length].decode()
            self._raw = rest[length + 2 :]
            self.is_complete = length == 0
        return bool(data)

    async def close(self) -> None:
        """Go away."""
        self.writer.close()
        with contextlib.suppress(ConnectionError):  # the server was quicker, and rude
            await self.writer.wait_closed()
