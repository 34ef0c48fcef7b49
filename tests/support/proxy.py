"""A small proxy between browsers and a server, which fails in the ways that networks fail."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

#: Returns the bytes with which a request for a stream is answered, given who asks. None holds it,
#: and lets the server answer those that come later.
Answer = Callable[[str], bytes | None]
#: A page that asks for this lets those requests fail that are held.
RELEASE = "/release"


@dataclass(frozen=True)
class Attempt:
    """A request for a stream that the proxy answered itself."""

    at: float  #: by ``time.monotonic``
    who: str  #: the value of the cookie ``who``
    head: str


def http(status: str, *headers: str, body: str = "") -> bytes:
    """Return a whole answer, after which the connection is closed."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


class Proxy:
    """Passes bytes between browsers and a server, until a test lets it fail.

    Args:
        server_port: Of the server.
    """

    def __init__(self, server_port: int) -> None:
        self.port = 0
        self.attempts: list[Attempt] = []
        self._server_port = server_port
        self._asked = asyncio.Event()
        self._answer: Answer | None = None
        self._passes_pages = False
        self._held: set[asyncio.StreamWriter] = set()
        self._listener: asyncio.Server | None = None
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Where browsers find it."""
        return f"http://127.0.0.1:{self.port}"

    async def open(self) -> None:
        """Pass bytes from now on."""
        self._answer = None
        if self._listener is None:
            self._listener = await asyncio.start_server(
                self._serve, "127.0.0.1", self.port, reuse_address=True
            )
            self.port = self._listener.sockets[0].getsockname()[1]

    async def shut(self) -> None:
        """Cut every connection and refuse new ones, as when a network is gone."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        self.cut()

    def cut(self) -> None:
        """Cut every connection, both ways."""
        for link in self._links:
            link.cut()

    def swallow(self) -> None:
        """Pass no byte and no end of connections: neither end learns that they died."""
        for link in self._links:
            link.is_dead = True

    async def answer(self, answer: Answer, *, passes_pages: bool = False) -> None:
        """Cut what there is, and answer requests for streams in the server's place.

        Args:
            answer: The answer.
            passes_pages: Whether other requests come to the server.
        """
        await self.open()
        self._answer = answer
        self._passes_pages = passes_pages
        self.cut()

    def attempts_of(self, who: str) -> list[Attempt]:
        """Return a user's requests for streams that were answered here."""
        return [attempt for attempt in self.attempts if attempt.who == who]

    async def until_attempts(self, who: str, number: int) -> None:
        """Wait until so many of a user's requests for streams were answered here."""
        async with asyncio.timeout(40):
            while len(self.attempts_of(who)) < number:
                self._asked.clear()
                await self._asked.wait()

    async def close(self) -> None:
        """End everything."""
        await self.shut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._connect(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = b""
        if self._answer is not None or self._held:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                head = await reader.readuntil(b"\r\n\r\n")
            path = head.decode("latin1").partition(" ")[2]
            is_ours = path.startswith("/sse?") or not self._passes_pages
            if path.startswith(RELEASE) or (self._answer is not None and is_ours):
                self._take(head, path, writer)
                return
            # The next request may be one for a stream, so it gets a connection of its own.
            head = head.replace(b"keep-alive", b"close")
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self._server_port)
        to_server.write(head)
        link = _Link(writer, to_server)
        self._links.add(link)
        try:
            await asyncio.gather(link.pass_on(reader, to_server), link.pass_on(from_server, writer))
        finally:
            self._links.discard(link)
            link.cut()

    def _take(self, head: bytes, path: str, writer: asyncio.StreamWriter) -> None:
        """Answer a request in the server's place."""
        if path.startswith(RELEASE):
            for held in self._held:
                held.transport.abort()
            writer.write(http("204 No Content"))
        elif head:
            answer = self._answered(head.decode("latin1"))
            if answer is None:
                self._held.add(writer)
                self._answer = None
                return
            writer.write(answer)
        writer.close()

    def _answered(self, head: str) -> bytes | None:
        path = head.split(" ")[1]
        if not path.startswith("/sse?") or self._answer is None:
            return http("200 OK", "Content-Type: text/html", body="<p>Please sign in.")
        _, _, who = head.partition("who=")
        attempt = Attempt(time.monotonic(), who.split("\r\n")[0].split(";")[0], head)
        self.attempts.append(attempt)
        self._asked.set()
        return self._answer(attempt.who)


class _Link:
    """One connection of a browser to the server."""

    def __init__(self, *writers: asyncio.StreamWriter) -> None:
        self.writers = writers
        self.is_dead = False

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                if not self.is_dead:
                    writer.write(data)
                    await writer.drain()
        if not self.is_dead and writer.can_write_eof() and not writer.is_closing():
            writer.write_eof()

    def cut(self) -> None:
        for writer in self.writers:
            writer.transport.abort()


@asynccontextmanager
async def proxy_to(server_port: int) -> AsyncIterator[Proxy]:
    """Run a proxy before a server until the block ends."""
    proxy = Proxy(server_port)
    await proxy.open()
    try:
        yield proxy
    finally:
        await proxy.close()
