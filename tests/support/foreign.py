"""The server of clients that no page has: it is killed, and a proxy answers in its place."""

import asyncio
import re
import signal
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from quart_sse import AsyncPublisher
from tests.apps.clients import news
from tests.support.redis_server import RedisServer
from tests.support.servers import Server, serve


def serving(redis: RedisServer, port: int | None = None) -> AbstractAsyncContextManager[Server]:
    """Serve the app of this test."""
    command = ("-m", "uvicorn", "tests.apps.clients:app", "--log-level", "warning", "--port")
    environ = {"QUART_SSE_BROKER_URL": redis.url}
    return serve(lambda free: [*command, str(free)], environ, port)


async def publish(redis: RedisServer, text: str) -> None:
    """Publish an event while no process of the app lives."""
    async with AsyncPublisher(redis.url, channels=[news]) as publisher:
        await publisher.topic("news").publish("said", {"text": text})


async def kill(server: Server) -> None:
    """Kill a server."""
    server.process.send_signal(signal.SIGKILL)
    await server.process.wait()


@asynccontextmanager
async def bad_gateway(port: int) -> AsyncIterator[set[str]]:
    """Answer as a proxy without its server; the set is of those who have asked."""
    asked: set[str] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()
        asked.update(re.findall(r"client=([\w-]+)", head.decode()))

    async with await asyncio.start_server(answer, "127.0.0.1", port, reuse_address=True):
        yield asked
