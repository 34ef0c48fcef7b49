"""Attacks by many streams, by slow readers, and by what streams resume from."""

import asyncio
import re
import socket
from contextlib import AsyncExitStack

from .crowd import Crowd, quietly, request

#: Streams that are asked for at the same time.
AT_ONCE = 8
#: Streams that one address tries to have: more than ``QUART_SSE_MAX_PER_ADDRESS``.
OF_ADDRESS = 1500
#: ``QUART_SSE_MAX_PER_BROWSER``.
OF_BROWSER = 4
#: Clients that read nothing, and bytes that their sockets take.
SLOW, NARROW = 200, 4096
#: Seconds between two events that they do not read.
EACH = 0.1
#: Topics and events of long histories, bytes of each event, and clients that ask at once.
TOPICS, EVENTS, SIZE, RESUMING = 128, 256, 200, 8
#: Most seconds until the histories are full.
FILLED = 200.0
_SECRET = re.compile(rb'"secret": "([^"]+)"')


async def collected_cookies(crowd: Crowd) -> None:
    """Open as many streams as one address may, with cookies of many browsers; drop them; repeat."""
    cookies = []
    for _ in range(crowd.part(OF_ADDRESS // OF_BROWSER)):
        async with crowd.stream("/sse/o/1") as stream:
            cookies.append(f"Cookie: {stream.cookie}")
    await crowd.begin()
    while not crowd.is_over:
        async with AsyncExitStack() as streams:
            waiting = cookies * OF_BROWSER

            async def open_one(
                _: int, streams: AsyncExitStack = streams, waiting: list[str] = waiting
            ) -> None:
                if waiting:
                    stream = crowd.stream("/sse/o/1", waiting.pop())
                    await streams.enter_async_context(stream)

            await crowd.repeat(AT_ONCE, open_one, crowd.begun + len(waiting))


async def replacing(crowd: Crowd) -> None:
    """Let a stream take the place of the one before it, as fast as it can, and close none."""
    await crowd.begin()

    async def replace(number: int) -> None:
        async with AsyncExitStack() as streams:
            secret = ""
            for _ in range(100):
                path = f"/sse?t=~o?n={number}:l&since=0&replaces={secret}"
                stream = await streams.enter_async_context(crowd.stream(path))
                found = _SECRET.search(stream.answer)
                if found is None or crowd.is_over:
                    break
                secret = found[1].decode()

    await crowd.repeat(AT_ONCE, replace)


async def slow_readers(crowd: Crowd) -> None:
    """Read nothing of what is published, 200 clients at once."""
    await crowd.begin()
    loop, readers = asyncio.get_running_loop(), list[socket.socket]()

    async def come(_: int) -> None:
        reader = narrow(crowd.port)
        readers.append(reader)
        stream = request("GET", "/sse/o/loud", "Accept: text/event-stream")
        await loop.sock_sendall(reader, stream)
        await loop.sock_recv(reader, 12)  # the beginning of the answer, and nothing more
        crowd.ends["open"] += 1

    await crowd.repeat(crowd.part(AT_ONCE), come, crowd.part(SLOW))

    async def publish(_: int) -> None:
        await crowd.ask("/loud", method="POST")
        await asyncio.sleep(EACH)

    await crowd.repeat(1, publish)
    for reader in readers:
        reader.close()


def narrow(port: int) -> socket.socket:
    """Return a connection that takes few bytes of what is not read."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, NARROW)
    connection.connect(("127.0.0.1", port))
    connection.setblocking(False)
    return connection


async def long_replays(crowd: Crowd) -> None:
    """Resume 128 topics from before all that their full histories have, 8 clients at once."""
    topics, events = crowd.part(TOPICS), crowd.part(EVENTS)
    page = await crowd.connect_url(f"/wide?first=0&count={topics}")
    fill = f"/fill?topics={topics}&events={events}&size={SIZE}"
    await crowd.ask(fill, method="POST", patience=FILLED)
    await crowd.begin()

    async def resume(number: int) -> None:
        # From positions that differ, or the server would ask once for all of them.
        path = re.sub(r"(since=\w+\.\d+)-\d+", rf"\1-{number}", page)
        async with crowd.stream(path) as stream, asyncio.timeout(1):
            await stream.reader.read(1 << 20)

    await crowd.repeat(RESUMING, lambda number: quietly(resume(number)))
