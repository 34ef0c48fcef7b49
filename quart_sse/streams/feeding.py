"""The stream as a callback of the app feeds it, with or without an event loop."""

import asyncio
from collections.abc import Coroutine
from types import EllipsisType
from typing import Any, overload

from ..errors import ConnectionClosedError
from ..hub import OwnConnection
from ..wire import Ending
from .items import Items, StreamItem

#: Interval in which a thread that waits looks whether the event loop is still there, in seconds.
LOOK = 1.0


class OwnStream:
    """The stream that an async callback of ``sse.stream()`` feeds.

    Attributes:
        id: The connection's id, as ``sse.connections`` has it.

    Example:
        .. code-block:: python

            async def count(stream: OwnStream) -> None:
                for number in range(10):
                    await stream.send("number", number)
                    await asyncio.sleep(1)

            @app.get("/count")
            async def counting() -> Response:
                return await sse.stream(count)
    """

    def __init__(self, connection: OwnConnection, items: Items) -> None:
        self._connection = connection
        self._items = items
        self.id: str = connection.id

    @property
    def is_open(self) -> bool:
        """Whether the client is there, as far as the server knows, and the stream is not closed."""
        return not self._connection.is_ended

    @overload
    async def send(self, item: StreamItem, /) -> None: ...
    @overload
    async def send(self, name: str, data: Any, /) -> None: ...
    async def send(self, item: Any, data: Any = ..., /) -> None:
        """Send an item, or an event by its name and data, and wait until the client keeps up.

        Args:
            item: What a generator may yield; or the name of an event.
            data: The event's data, as for :meth:`Topic.publish`.

        Raises:
            ConnectionClosedError: If the stream has ended.
            EventError: If the name or the data cannot be sent.
            TypeError: If the item cannot be sent.

        Example:
            ``await stream.send("progress", {"percent": 40})``
        """
        await self._connection.put(self._encode(item, data))

    async def send_raw(self, data: bytes | str) -> None:
        r"""Send messages that are encoded already, such as those of another server.

        Args:
            data: Their bytes, which may be cut anywhere.

        Raises:
            ConnectionClosedError: If the stream has ended.
            EventError: If one message is larger than ``QUART_SSE_PENDING_BYTES``.

        Example:
            ``await stream.send_raw(b"event: done\ndata: 1\n\n")``
        """
        await self._connection.put(self._items.raw(_bytes(data)))

    async def close(self) -> None:
        """End the stream for good, behind all that was sent; the callback goes on.

        Example:
            ``await stream.close()``
        """
        self._items.check_whole()
        self._connection.finish(Ending.DONE)

    def _encode(self, item: Any, data: Any | EllipsisType) -> bytes:
        return self._items.encode(item if data is ... else (item, data))


class BlockingOwnStream:
    """The same for a sync callback, which runs in a thread of its own.

    When the client has gone, the next call raises :class:`ConnectionClosedError`, which ends the
    callback and is no error.

    Attributes:
        id: The connection's id, as ``sse.connections`` has it.

    Example:
        .. code-block:: python

            def count(stream: BlockingOwnStream) -> None:
                for number in range(10):
                    stream.send("number", number)
                    time.sleep(1)
    """

    def __init__(self, stream: OwnStream, loop: asyncio.AbstractEventLoop) -> None:
        self._stream = stream
        self._loop = loop
        self.id: str = stream.id

    @property
    def is_open(self) -> bool:
        """Whether the client is there, as far as the server knows, and the stream is not closed."""
        return self._stream.is_open

    @overload
    def send(self, item: StreamItem, /) -> None: ...
    @overload
    def send(self, name: str, data: Any, /) -> None: ...
    def send(self, item: Any, data: Any = ..., /) -> None:
        """Send an item, or an event by its name and data; see :meth:`OwnStream.send`.

        Args:
            item: What a generator may yield; or the name of an event.
            data: The event's data.

        Raises:
            ConnectionClosedError: If the stream has ended.
            EventError: If the name or the data cannot be sent.
            TypeError: If the item cannot be sent.

        Example:
            ``stream.send("progress", {"percent": 40})``
        """
        self.put(self._stream._encode(item, data))

    def send_raw(self, data: bytes | str) -> None:
        r"""Send messages that are encoded already; see :meth:`OwnStream.send_raw`.

        Args:
            data: Their bytes, which may be cut anywhere.

        Raises:
            ConnectionClosedError: If the stream has ended.
            EventError: If one message is larger than ``QUART_SSE_PENDING_BYTES``.

        Example:
            ``stream.send_raw(b"data: 1\n\n")``
        """
        self.put(self._stream._items.raw(_bytes(data)))

    def close(self) -> None:
        """End the stream for good, behind all that was sent; the callback goes on.

        Example:
            ``stream.close()``
        """
        self._wait(self._stream.close())

    def put(self, data: bytes) -> None:
        """Send encoded messages, and wait until the client keeps up.

        Raises:
            ConnectionClosedError: If the stream has ended.
        """
        if not self.is_open:
            raise ConnectionClosedError(self.id)
        self._wait(self._stream._connection.put(data))

    def _wait(self, call: Coroutine[Any, Any, None]) -> None:
        try:
            done = asyncio.run_coroutine_threadsafe(call, self._loop)
        except RuntimeError:  # the loop is closed
            call.close()
            raise ConnectionClosedError(self.id) from None
        while True:
            try:
                done.result(LOOK)
                return
            except TimeoutError:
                if self._loop.is_closed():
                    raise ConnectionClosedError(self.id) from None


def _bytes(data: bytes | str) -> bytes:
    return data.encode() if isinstance(data, str) else bytes(data)
