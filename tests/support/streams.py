"""What several test files need: streams read as a browser reads them, conditions awaited."""

import asyncio
import html
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from httpx import Response
from httpx_sse import EventSource, ServerSentEvent
from httpx_sse._decoders import SSEDecoder
from quart import Quart
from quart.testing import QuartClient, connections

SSE_ACCEPT = {"Accept": "text/event-stream"}


@dataclass
class Stream:
    """An open event stream, decoded by a parser that is not ours."""

    connection: connections.TestHTTPConnection
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    last_id: str = ""
    is_over: bool = False
    _events: list[ServerSentEvent] = field(default_factory=list)
    _buffer: str = ""
    _decoder: SSEDecoder = field(default_factory=SSEDecoder)

    async def _read(self) -> None:
        chunk = await self.connection.receive()
        self.status = self.connection.status_code or 0
        self.headers = dict(self.connection.headers or {})
        if not chunk and not self._buffer:
            self.is_over = True
            return
        self._buffer += chunk.decode()
        *lines, self._buffer = self._buffer.split("\n")
        for line in lines:
            has_data = bool(self._decoder._data)
            event = self._decoder.decode(line)
            # An id moves the position even in a block that dispatches nothing.
            self.last_id = self._decoder._last_event_id or self.last_id
            # The decoder hands on a block without data, which browsers do not dispatch.
            if event is not None and has_data:
                self._events.append(event)

    async def next(self, name: str | None = None) -> ServerSentEvent:
        """Return the next event, or the next one of that name ("message" if it has none)."""
        async with asyncio.timeout(5):
            while True:
                while not self._events:
                    if self.is_over:
                        raise EOFError("the stream has ended")
                    await self._read()
                event = self._events.pop(0)
                if name is None or event.event == name:
                    return event

    async def rest(self) -> list[ServerSentEvent]:
        """Return everything until the stream ends by itself."""
        async with asyncio.timeout(5):
            while not self.is_over:
                await self._read()
        return self._events


@asynccontextmanager
async def open_stream(
    app: Quart | QuartClient,
    url: str,
    headers: Mapping[str, str] | None = None,
    address: str | None = None,
) -> AsyncIterator[Stream]:
    """Open an event stream on an app's test client, and leave as a browser that goes away.

    Args:
        app: The app, or a client of it (which has cookies).
        url: Path and query.
        headers: Beside ``Accept``, such as ``Last-Event-ID``.
        address: IP address of the client; None for none, as over a Unix socket.
    """
    client = app.test_client() if isinstance(app, Quart) else app
    headers = {**SSE_ACCEPT, **(headers or {})}
    scope = {} if address is None else {"client": (address, 1)}
    async with client.request(url, headers=headers, scope_base=scope) as connection:
        assert isinstance(connection, connections.TestHTTPConnection)
        await connection.send_complete()
        stream = Stream(connection)
        await stream._read()
        try:
            yield stream
        finally:
            await connection.disconnect()


def connect_urls(page: str) -> list[str]:
    """Return the URLs of the connect elements of a page, for either version of htmx."""
    found = re.findall(r'(?:sse-connect|hx-sse:connect)="([^"]+)"', page)
    return [html.unescape(url) for url in found]


async def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until a condition is true, looking at it in every turn of the event loop."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the condition is anything
            await asyncio.sleep(0)


class Read(NamedTuple):
    """An event as a client has it (httpx-sse's own class knows no equality)."""

    data: str
    name: str = "message"
    last_id: str = ""
    retry_ms: int | None = None


def parse(*chunks: bytes) -> list[Read]:
    """Decode a stream, cut into chunks anywhere, as httpx-sse does with one from a socket."""
    headers = {"Content-Type": "text/event-stream; charset=utf-8"}
    source = EventSource(Response(200, headers=headers, content=iter(chunks)))
    return [Read(event.data, event.event, event.id, event.retry) for event in source.iter_sse()]


def client_of(app: Quart, who: str | None = None) -> QuartClient:
    """Return the browser of a user; of a visitor without a name."""
    client = QuartClient(app)
    if who is not None:
        client.set_cookie("localhost", "who", who)
    return client
