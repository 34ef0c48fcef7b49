"""Browsers: raw clients of streams that do what an ``EventSource`` does."""

import asyncio
import contextlib
import html
import json
import random
import re
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass

from quart_sse.wire.position import ZERO, Id, Position
from tests.support.network import SMALL, reset

#: Seconds after which one comes back whose stream is cut (``QUART_SSE_RETRY``), or that was not let
#: in: sooner than browsers do.
RETRY = 0.3


@dataclass(frozen=True, slots=True)
class Seen:
    """An event that came."""

    number: int
    id: Id  #: the events' half of the position that came with it
    at: float  #: loop time


class Viewer:
    """One page in one browser.

    Args:
        port: Of the address of all processes.
        room: That the page shows.
    """

    def __init__(self, port: int, room: int) -> None:
        self.port = port
        self.room = room
        self.seen: list[Seen] = []
        self.resets: list[Id] = []  #: up to where it was told that events are lost
        self.reconnects = 0
        self.told: list[str] = []  #: the reasons for which streams ended by themselves
        self.shown = ""  #: what the fragment shows
        self.is_open = False
        self.last_id = ""
        self._retry = RETRY
        self._url = ""
        self._cookie = ""
        self._task: asyncio.Future[None] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._abandoned: list[asyncio.StreamWriter] = []
        self._may_read = asyncio.Event()
        self._may_read.set()

    async def open(self) -> None:
        """Load the page."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(f"GET /rooms/{self.room} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        page = (await reader.read()).decode()
        writer.close()
        self._show(page)
        self._url = html.unescape(re.findall(r'sse-connect="([^"]+)"', page)[0])

    async def watch(self) -> None:
        """Hold a stream, and open another one whenever it ends."""
        while True:
            self._task = asyncio.ensure_future(self._stream())
            try:
                await asyncio.wait({self._task})
            finally:
                self._task.cancel()
            if not self._task.cancelled():
                with contextlib.suppress(OSError, EOFError):
                    self._task.result()
            self.is_open = False
            await asyncio.sleep(self._retry * random.uniform(0.8, 1.2))
            self.reconnects += 1

    # -- the stream --------------------------------------------------------------------------------

    async def _stream(self) -> None:
        narrow = socket.socket()
        narrow.setblocking(False)
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        await asyncio.get_running_loop().sock_connect(narrow, ("127.0.0.1", self.port))
        reader, writer = await asyncio.open_connection(sock=narrow, limit=SMALL)
        self._writer = writer
        lines = ["Host: localhost", "Accept: text/event-stream"]
        lines += [f"Last-Event-ID: {self.last_id}"] if self.last_id else []
        lines += [f"Cookie: {self._cookie}"] if self._cookie else []
        head = "".join(f"{line}\r\n" for line in lines)
        writer.write(f"GET {self._url} HTTP/1.1\r\n{head}\r\n".encode())
        try:
            answer = (await reader.readuntil(b"\r\n\r\n")).decode()
            assert answer.startswith("HTTP/1.1 200 "), answer
            for cookie in re.findall(r"(?im)^set-cookie: ([^;\r]+)", answer):
                self._cookie = cookie
            async for block in self._blocks(reader):
                self._take(block)
        finally:
            if writer not in self._abandoned:
                writer.close()

    async def _blocks(self, reader: asyncio.StreamReader) -> AsyncIterator[str]:
        """Read chunks, and give what ends with a blank line."""
        text = b""
        while length := int(await reader.readuntil(b"\r\n"), 16):
            for at in range(0, length, SMALL):
                await self._may_read.wait()
                text += await reader.readexactly(min(SMALL, length - at))
            await reader.readexactly(2)
            *blocks, text = text.split(b"\n\n")
            for block in blocks:
                yield block.decode()

    def _take(self, block: str) -> None:
        fields: dict[str, str] = {}
        for line in block.split("\n"):
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            fields[name] = f"{fields[name]}\n{value}" if name in fields else value
        self.last_id = fields.get("id", self.last_id)
        self._retry = float(fields["retry"]) / 1000 if "retry" in fields else self._retry
        name, data = fields.get("event", ""), fields.get("data", "")
        position = Position.parse(self.last_id)
        id = position.events if position else ZERO
        if name.endswith(f".said?room={self.room}"):
            self.seen.append(Seen(int(data), id, asyncio.get_running_loop().time()))
        elif name == "sse-open":
            self.is_open = True
        elif name == "sse-reset":
            assert json.loads(data) == [f"rooms?room={self.room}"]
            self.resets.append(id)
        elif name in {"sse-holdoff", "sse-stop"}:
            self.told.append(data)
            assert name == "sse-holdoff", data
        elif not name:
            self._show(data)

    def _show(self, text: str) -> None:
        self.shown = "".join(re.findall(r"<b>(\d+)</b>", text)) or self.shown

    # -- what a browser may do ---------------------------------------------------------------------

    def leave(self) -> None:
        """Close the stream, as a browser does."""
        if self._writer is not None:
            self._writer.close()

    def die(self) -> None:
        """Reset the stream, as a machine does whose browser has crashed."""
        if self._writer is not None:
            reset(self._writer)

    def sleep(self) -> None:
        """Read nothing more, as a laptop does that was shut."""
        self._may_read.clear()

    def wake(self) -> None:
        """Read on."""
        self._may_read.set()

    def move(self) -> None:
        """Come back over another network: nobody closes or reads the stream there was."""
        if self._writer is not None and self._task is not None:
            self._abandoned.append(self._writer)
            self._task.cancel()
        self.wake()

    def close(self) -> None:
        """Close what was abandoned, too."""
        for writer in self._abandoned:
            writer.transport.abort()
