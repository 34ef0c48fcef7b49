"""A client of HTTP/3 that reads event streams, by aioquic."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, H3Event, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import QuicEvent


class Http3Stream:
    """What has come of one answer.

    Attributes:
        status: Of HTTP, once its head has come.
        text: The body so far.
        is_complete: Whether the server has ended the answer, and not cut it.
    """

    def __init__(self) -> None:
        self.status: str | None = None
        self.text = ""
        self.is_complete = False
        self._changed = asyncio.Event()

    def add(self, event: H3Event) -> None:
        """Take what has come."""
        if isinstance(event, HeadersReceived):
            self.status = dict(event.headers)[b":status"].decode()
            self.is_complete = event.stream_ended
        elif isinstance(event, DataReceived):
            self.text += event.data.decode()
            self.is_complete = event.stream_ended
        self._changed.set()

    async def read_until(self, text: str) -> None:
        """Read until some text has come."""
        async with asyncio.timeout(10):
            while text not in self.text:
                await self._change()

    async def read_to_end(self) -> None:
        """Read until the server says that it is complete."""
        async with asyncio.timeout(20):
            while not self.is_complete:
                await self._change()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()


class Http3Client(QuicConnectionProtocol):
    """One connection, which carries any number of streams."""

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)  # type: ignore[arg-type]
        self._http = H3Connection(self._quic)
        self._streams: dict[int, Http3Stream] = {}

    def get(self, path: str) -> Http3Stream:
        """Ask for a path."""
        number = self._quic.get_next_available_stream_id()
        head = {":method": "GET", ":scheme": "https", ":authority": "localhost", ":path": path}
        lines = [(name.encode(), value.encode()) for name, value in head.items()]
        lines.append((b"accept", b"text/event-stream"))
        self._streams[number] = stream = Http3Stream()
        self._http.send_headers(number, lines, end_stream=True)
        self.transmit()
        return stream

    def quic_event_received(self, event: QuicEvent) -> None:
        """Take what has come to the stream that it belongs to."""
        for each in self._http.handle_event(event):
            if isinstance(each, HeadersReceived | DataReceived):
                self._streams[each.stream_id].add(each)


@asynccontextmanager
async def http3_client(port: int, authority: Path) -> AsyncIterator[Http3Client]:
    """Connect to a server by HTTP/3 until the block ends.

    Args:
        port: Of UDP.
        authority: The file of the certificate that has signed the server's.
    """
    configuration = QuicConfiguration(
        alpn_protocols=H3_ALPN, verify_mode=ssl.CERT_REQUIRED, server_name="localhost"
    )
    configuration.load_verify_locations(str(authority))
    async with connect(
        "127.0.0.1", port, configuration=configuration, create_protocol=Http3Client
    ) as client:
        assert isinstance(client, Http3Client)
        yield client
