"""The app ``tests.apps.load`` in a process of its own, and clients of its streams."""

import asyncio
import json
import re
import time
from collections.abc import Sequence
from typing import Any

from tests.support.servers import Server

LOAD = "tests.apps.load:app"
#: What must be no more than it was, of what a process holds.
EXACT = ["connections", "groups", "topics", "fragments", "owners", "departed", "files", "tasks"]

_EVENT = re.compile(rb"\ndata: (\d+) (\d+) ")
_ID = re.compile(rb"(?:^|\n)id: ([^\n]+)\n")
_STATE = re.compile(rb"<b>(\d+)</b>")


def uvicorn(port: int) -> Sequence[str]:
    """Return the command that serves the app of these tests."""
    return "-m", "uvicorn", LOAD, "--port", str(port), "--log-level", "warning"


def hypercorn(port: int) -> Sequence[str]:
    """Return the same for another server."""
    return "-m", "hypercorn", LOAD, "--bind", f"127.0.0.1:{port}"


async def look(server: Server) -> dict[str, int]:
    """Return what a server's process holds."""
    found = re.search(rb"\{[^}]*\}", await server.get("/held"))
    assert found is not None
    held: dict[str, int] = json.loads(found[0])
    return held


class Viewer(asyncio.Protocol):
    """A client that reads all, as it comes, and keeps what it means but not the bytes."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.delays: list[float] = []
        self.states: list[int] = []
        self.resets = 0
        self.last_id = ""
        self.is_open = asyncio.Event()
        self.transport: asyncio.Transport | None = None
        self._rest = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        # Without the lengths of chunks, which may stand between any two bytes.
        *blocks, self._rest = (self._rest + data).replace(b"\r\n", b"\n").split(b"\n\n")
        for block in blocks:
            self._take(b"\n" + block + b"\n", now)

    def _take(self, block: bytes, now: int) -> None:
        if b"\nevent: sse-open\n" in block:
            self.is_open.set()
        for found in _ID.findall(block):
            self.last_id = found.decode()
        if b"number=2\n" in block:
            return
        self.resets += b"\nevent: sse-reset\n" in block
        for number, sent in _EVENT.findall(block):
            self.numbers.append(int(number))
            self.delays.append((now - int(sent)) / 1e9)
        self.states += map(int, _STATE.findall(block))


def ask(path: str, last_id: str = "") -> bytes:
    """Return a request for a stream."""
    last = f"Last-Event-ID: {last_id}\r\n" if last_id else ""
    # By HTTP/1.0, so that no lengths of chunks stand between the bytes.
    head = f"GET {path} HTTP/1.0\r\nHost: localhost\r\nAccept: text/event-stream\r\n{last}\r\n"
    return head.encode()
