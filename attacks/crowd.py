"""Attackers: raw clients in a process of their own, and what became of their requests."""

import asyncio
import contextlib
import html
import re
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

#: The address that all attackers have, as a proxy would say it; one for documents (RFC 5737).
ADDRESS = "203.0.113.66"
#: Seconds after which a request without an answer is given up; it counts as ``no answer``.
PATIENCE = 10.0
#: Bytes of an answer that are looked at.
ENOUGH = 1 << 20
_ENDING = re.compile(rb"event: sse-(?:stop|holdoff)\n(?:[^\n]+\n)*?data: ([\w-]+)")
_URL = re.compile(r'(?:sse-connect|hx-sse:connect)="([^"]+)"')
_COOKIE = re.compile(r"(?im)^set-cookie: ([^;\r]+)")


class Socket:
    """One connection to the server.

    Args:
        reader: What comes.
        writer: What goes.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.head = ""
        self.answer = b""  #: what came until the request counted as answered

    def write(self, data: bytes) -> None:
        """Send something, whole requests or not."""
        self.writer.write(data)

    @property
    def cookie(self) -> str:
        """The cookie that the answer has set, or ""."""
        found = _COOKIE.search(self.head)
        return found[1] if found else ""


class Crowd:
    """All attackers of one attack.

    Args:
        port: Of the server.
        seconds: How long the attack lasts.
        size: How large it is: 1 in full, and less in tests.
        first: Number from which attacks are counted, so that another round has other ones.

    Example:
        ``await crowd.repeat(20, lambda number: crowd.come(f"/sse/o/{number}"))``
    """

    def __init__(self, port: int, seconds: float, size: float, first: int) -> None:
        self.port = port
        self.seconds = seconds
        self.size = size
        self.first = first
        self.ends: Counter[str] = Counter()  #: Ending, status or ``open`` -> how many requests
        self.end = 0.0
        self.begun = 0  #: attacks so far

    def part(self, count: int) -> int:
        """Return a part of some number, as large as the attack."""
        return max(1, round(count * self.size))

    async def begin(self) -> None:
        """Say that all is prepared, and wait until it is to begin."""
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        self.end = time.monotonic() + self.seconds

    @property
    def is_over(self) -> bool:
        """Whether the attack has lasted long enough."""
        return time.monotonic() >= self.end

    async def repeat(
        self, at_once: int, attack: Callable[[int], Awaitable[object]], most: int = sys.maxsize
    ) -> None:
        """Attack again and again, each time with another number.

        Args:
            at_once: How many attack at the same time.
            attack: One attack, by its number.
            most: Most attacks.
        """

        async def go_on() -> None:
            while not self.is_over and self.begun < most:
                self.begun += 1
                try:
                    await attack(self.first + self.begun)
                except (OSError, EOFError):
                    self.ends["cut"] += 1
                except TimeoutError:
                    self.ends["no answer"] += 1

        await asyncio.gather(*(go_on() for _ in range(at_once)))

    async def last(self) -> None:
        """Wait until the end."""
        await asyncio.sleep(max(0.0, self.end - time.monotonic()))

    @asynccontextmanager
    async def socket(self) -> AsyncIterator[Socket]:
        """Open a connection, and drop it at the end."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield Socket(reader, writer)
        finally:
            writer.transport.abort()

    @asynccontextmanager
    async def stream(self, path: str, *fields: str) -> AsyncIterator[Socket]:
        """Open a stream, count how it was answered, and drop it at the end.

        Args:
            path: And query.
            fields: Further fields of the request's head, such as ``Cookie: a=b``.
        """
        async with self.socket() as socket:
            socket.write(request("GET", path, "Accept: text/event-stream", *fields))
            async with asyncio.timeout(PATIENCE):
                self.ends[await self._outcome(socket)] += 1
            yield socket

    async def come(self, path: str, *fields: str) -> None:
        """Open a stream, and drop it as soon as it was answered."""
        async with self.stream(path, *fields):
            pass

    async def ask(
        self, path: str, *fields: str, method: str = "GET", patience: float = PATIENCE
    ) -> str:
        """Send a request, and return the answer; its status is counted."""
        async with self.socket() as socket:
            socket.write(request(method, path, *fields))
            async with asyncio.timeout(patience):
                answer = await socket.reader.read(ENOUGH)
                while data := await socket.reader.read(ENOUGH):
                    answer += data
        self.ends[status(answer)] += 1
        return answer.decode(errors="replace")

    async def connect_url(self, path: str) -> str:
        """Load a page, and return the URL by which it connects; "" if the page failed."""
        found = _URL.findall(await self.ask(path))
        return html.unescape(found[0]) if found else ""

    async def _outcome(self, socket: Socket) -> str:
        while data := await socket.reader.read(65536):
            answer = socket.answer = socket.answer + data
            if b"\r\n\r\n" in answer and not socket.head:
                socket.head = answer.partition(b"\r\n\r\n")[0].decode("latin1")
            if found := _ENDING.search(answer):
                return found[1].decode()
            if b"event: sse-open" in answer:
                return "open"
        return status(socket.answer)


def status(answer: bytes) -> str:
    """Return the status of an answer, or that there was none."""
    return answer[9:12].decode("latin1") if answer.startswith(b"HTTP/1.") else "cut"


def request(method: str, path: str, *fields: str) -> bytes:
    """Return a request, whose answer ends with its connection."""
    lines = [f"{method} {path} HTTP/1.0", "Host: localhost", f"X-Forwarded-For: {ADDRESS}"]
    lines += [*fields, "Content-Length: 0", "", ""]
    return "\r\n".join(lines).encode("latin1")


async def quietly(work: Awaitable[object]) -> None:
    """Do something of which no failure counts."""
    with contextlib.suppress(OSError, EOFError, TimeoutError):
        await work
