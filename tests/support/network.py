"""What lies between browsers, processes and Redis: an address for all, and wires that fail."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Self

#: Bytes that are read at once, and that wait in a socket or a writer, so that the
#: other end soon notices a client that takes nothing.
SMALL = 8192

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Pair:
    """Two connections of which each is given what the other one says.

    Args:
        here: The client's connection.
        there: To where it leads.
    """

    def __init__(self, here: Streams, there: Streams) -> None:
        self.here = here
        self.there = there
        self.swallows_up = False  #: what goes there is lost
        self.swallows_down = False  #: what comes from there is lost
        self.is_subscription = False
        self.is_reset = False  #: one end was not closed but reset
        self.delay = 0.0  #: seconds that everything takes but the messages of a subscription

    async def run(self) -> None:
        """Carry bytes until either end has gone."""
        up = asyncio.ensure_future(self._carry(self.here[0], self.there[1], self._goes_up))
        down = asyncio.ensure_future(self._carry(self.there[0], self.here[1], self._goes_down))
        try:
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            up.cancel()
            down.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
            self.cut()

    def _goes_up(self, data: bytes) -> bool:
        self.is_subscription = self.is_subscription or b"SUBSCRIBE" in data
        return not self.swallows_up

    def _goes_down(self, data: bytes) -> bool:
        return not self.swallows_down

    async def _carry(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        passes: Callable[[bytes], bool],
    ) -> None:
        try:
            while data := await reader.read(SMALL):
                # Messages come at once: so they overtake the answer to what is asked.
                await asyncio.sleep(0 if self.is_subscription else self.delay)
                if passes(data):
                    writer.write(data)
                    await writer.drain()
        except OSError:
            self.is_reset = True

    def cut(self) -> None:
        """End both connections, as one of them ended."""
        for _, writer in (self.here, self.there):
            if self.is_reset:
                reset(writer)
            else:
                writer.close()


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection at once and rudely, as a machine does whose program has died."""
    if not writer.is_closing():
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


class Relay:
    """Listens on a port of its own and connects each client to a server."""

    def __init__(self) -> None:
        self.port = 0
        self.delay = 0.0  #: of new connections
        self.pairs: set[Pair] = set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        """Listen."""
        await self.listen()
        return self

    async def __aexit__(self, *failure: object) -> None:
        """Refuse new connections and end all others, without what is still to be read."""
        for pair in self.pairs:
            pair.is_reset = True
        await self.refuse()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def listen(self) -> None:
        """Accept connections; the port stays the same."""
        if self._server is None:
            self._server = await asyncio.start_server(self._let_in, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """End all connections, and refuse new ones."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        self.cut()

    def cut(self) -> None:
        """End all connections."""
        for pair in self.pairs:
            pair.cut()

    def _let_in(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._take(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await self._lead()
        if there is None:
            writer.close()
            return
        for end in (writer, there[1]):
            end.transport.set_write_buffer_limits(SMALL)
            narrow = end.get_extra_info("socket")
            narrow.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        pair = Pair((reader, writer), there)
        pair.delay = self.delay
        self.pairs.add(pair)
        try:
            await pair.run()
        finally:
            self.pairs.discard(pair)

    async def _lead(self) -> Streams | None:
        raise NotImplementedError


class Balancer(Relay):
    """One address of several servers: each connection goes to the next that answers.

    Args:
        ports: Of the servers.
    """

    def __init__(self, *ports: int) -> None:
        super().__init__()
        self.ports = list(ports)

    async def _lead(self) -> Streams | None:
        for _ in range(len(self.ports)):
            self.ports.append(self.ports.pop(0))
            with contextlib.suppress(OSError):
                return await _connect(self.ports[-1])
        return None


async def _connect(port: int) -> Streams:
    """Connect with little room for what is not read."""
    narrow = socket.socket()
    narrow.setblocking(False)
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
    try:
        await asyncio.get_running_loop().sock_connect(narrow, ("127.0.0.1", port))
    except OSError:
        narrow.close()
        raise
    return await asyncio.open_connection(sock=narrow, limit=SMALL)


class Wire(Relay):
    """What leads from one process to its Redis.

    Args:
        target: The socket of the server.
    """

    def __init__(self, target: Path) -> None:
        super().__init__()
        self.target = target

    @property
    def url(self) -> str:
        """Where the process finds its Redis."""
        return f"redis://127.0.0.1:{self.port}"

    async def _lead(self) -> Streams | None:
        with contextlib.suppress(OSError):
            return await asyncio.open_unix_connection(self.target, limit=SMALL)
        return None

    def swallow(self, *, up: bool = False, subscription: bool = False) -> None:
        """Lose what those connections say from now on that are open, and keep them open.

        Args:
            up: Whether also what goes to Redis is lost, not only what comes from there.
            subscription: Whether only the subscription is meant.
        """
        for pair in self.pairs:
            if pair.is_subscription or not subscription:
                pair.swallows_down = True
                pair.swallows_up = up
