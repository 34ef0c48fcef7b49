"""One request's receive and send as the framework has them, in one object instead of closures.

It lasts as long as a stream, so it is small. It ends requests of stalled clients from outside, lets
answers be replaced, and knows whether anything stands between the framework and the server.
"""

import asyncio
import contextlib
import socket
import struct
import sys
from collections.abc import Awaitable, Callable
from types import CodeType, FrameType
from typing import Any

from ..hub import Outlet
from .direct import find_outlet
from .headers import Message, Send, drop
from .internals import find_transport

Receive = Callable[[], Awaitable[Message]]
#: Given the message with which an answer begins, and the server's ``send``: whether another answer
#: was sent in its place.
Replace = Callable[[Message, Send], Awaitable[bool]]


class Relay:
    """The ``receive`` and ``send`` of one request.

    Args:
        scope: The request's scope.
        receive: The server's.
        send: The server's.
        task: The task that the app was called in.
        sender: Code of the coroutine by which the framework sends an answer; None if it is unknown.
    """

    __slots__ = (
        "_begun_by",
        "_is_kicked",
        "_is_replaced",
        "_receive",
        "_scope",
        "_send",
        "_sender",
        "_task",
        "_waiting",
        "onward",
        "replace",
    )

    def __init__(
        self,
        scope: Any,
        receive: Receive,
        send: Send,
        task: "asyncio.Task[Any] | None",
        sender: CodeType | None,
    ) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._task = task
        self._sender = sender
        self._is_kicked = self._is_replaced = False
        self._waiting: asyncio.Task[Any] | None = None
        #: Id of the frame of the framework that has begun an answer without a length; 0 for none.
        self._begun_by = 0
        self.onward: Send = send  #: where messages go
        self.replace: Replace | None = None  #: may replace an answer; None if it stays in any case

    def kick(self) -> bool:
        """Let the request end as if its client had gone; return whether its socket is closed.

        A client that reads nothing blocks its request inside the server's ``send``, so its end must
        come from outside. Only the pending ``receive`` is cancelled, and the socket closed.
        """
        self._is_kicked = True
        if self._waiting is not None:
            self._waiting.cancel()
        return _close(find_transport(self._scope, self._send, self._task))

    async def receive(self) -> Message:
        """Return the next message of the client."""
        self._waiting = asyncio.current_task()
        try:
            return {"type": "http.disconnect"} if self._is_kicked else await self._receive()
        except asyncio.CancelledError:
            if not self._is_kicked or self._waiting is None:
                raise
            self._waiting.uncancel()
            return {"type": "http.disconnect"}
        finally:
            self._waiting = None

    # A plain function: it hands on the server's coroutine, without another one for each message.
    def send(self, message: Message) -> Awaitable[None]:
        """Send a message of the app."""
        if message["type"] == "http.response.start":
            caller = sys._getframe(1)
            is_usual = caller.f_code is self._sender and not _has_length(message)
            self._begun_by = id(caller) if is_usual else 0
            return self.onward(message) if self.replace is None else self._begin(message)
        return drop() if self._is_replaced else self.onward(message)

    async def _begin(self, message: Message) -> None:
        assert self.replace is not None
        self._is_replaced = await self.replace(message, self.onward)
        self.replace = None  # what it holds is not needed again
        if not self._is_replaced:
            await self.onward(message)

    def find_outlet(self, frame: FrameType, is_direct: bool = True) -> Outlet | None:
        """Return where batches may go without the stream's task; None if only the task may send.

        The coroutine that iterates over the stream must be the framework's own, and it must have
        begun the answer by :meth:`send` itself: then no middleware inside ours, no other response
        class and no wrapper of the body sees any message that the server does not get as it is.

        Args:
            frame: The frame that has entered the stream's body.
            is_direct: Whether batches may go past the server's ``send``.
        """
        if not self._begun_by or id(frame) != self._begun_by or self._is_replaced:
            return None
        return find_outlet(self._scope, self._send, is_direct)


def _has_length(message: Message) -> bool:
    names = {bytes(name).lower() for name, _ in message.get("headers", ())}
    return not names.isdisjoint({b"content-length", b"transfer-encoding"})


def _close(transport: Any) -> bool:
    """Close a socket at once, with all unsent data; return whether it is closed.

    Args:
        transport: The asyncio transport of the socket; None if it is out of reach.
    """
    if transport is None:
        return False
    with contextlib.suppress(OSError, AttributeError):
        # A linger time of zero discards unsent data (RFC 9293, ABORT); otherwise the system would
        # retransmit megabytes for minutes.
        number = transport.get_extra_info("socket").fileno()
        with socket.fromfd(number, socket.AF_INET, socket.SOCK_STREAM) as same:
            same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    return True
