"""A server of another origin, which answers as it likes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.apps.browser import EVIL


class Elsewhere:
    """A server of another origin, which answers every request as it likes, and lets it be read."""

    def __init__(self) -> None:
        self.port = 0
        self.requests: list[str] = []
        self.heads: list[str] = []

    @property
    def origin(self) -> str:
        """Its origin."""
        return f"http://127.0.0.1:{self.port}"

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer with a stream that takes the place of what the page shows, or with a fragment."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            method, path, *_ = head.split(" ")
            self.requests.append(f"{method} {path.partition('?')[0]}")
            self.heads.append(head)
            allow = "Access-Control-Allow-Origin: *\r\nAccess-Control-Allow-Headers: *\r\n"
            if path.startswith("/sse?"):
                writer.write(
                    f"HTTP/1.1 200 OK\r\n{allow}Connection: close\r\n"
                    "Content-Type: text/event-stream\r\n\r\n"
                    'event: sse-open\ndata: {"topics": [["board?name=a"]]}\n\n'
                    f"{EVIL}{LOADER}".encode()
                )
                await reader.read()  # until the browser ends it
            else:
                writer.write(f"HTTP/1.1 200 OK\r\n{allow}Connection: close\r\n\r\nfetched".encode())
        writer.close()


LOADER = (
    "key: board.mine?name=a\nload: 1 /sse/~/mine\n"
    """data: <hx-partial hx-target="[data-sse='board.mine?name=a']" hx-swap="beforeend">"""
    """<span hidden hx-get="/sse/~/mine" hx-trigger="load delay:1ms"></span></hx-partial>\n\n"""
)


@asynccontextmanager
async def serve_elsewhere() -> AsyncIterator[Elsewhere]:
    """Serve another origin until the block ends."""
    elsewhere = Elsewhere()
    server = await asyncio.start_server(elsewhere.answer, "127.0.0.1", 0)
    elsewhere.port = server.sockets[0].getsockname()[1]
    try:
        yield elsewhere
    finally:
        server.close()
