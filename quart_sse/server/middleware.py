"""What wraps ``app.asgi_app``: remembers where a page starts, ends streams from outside."""

import asyncio
import contextlib
import logging
import socket
import struct
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from functools import partial
from typing import Any

from ..broker import Broker
from ..errors import BrokerUnavailable
from ..host import KEY, Exchange
from ..streams import HEADERS
from ..wire import STOPPED, Ending
from .lifecycle import Lifecycle
from .shutdown import Shutdown

logger = logging.getLogger("quart_sse")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Any, Any, Any], Awaitable[None]]

#: Headers of an answer that ends clients which do not know how to stop.
_NO_STREAM = [(b"cache-control", b"no-store")]

#: Statuses after which coming back later may help; others are final.
_TRANSIENT = frozenset({408, 425, 429})


class Middleware:
    """The ASGI app around the framework's.

    Args:
        inner: The framework's own ASGI app.
        lifecycle: Starts with the first request, where no lifespan has started it.
        shutdown: Learns from each request how its server stops.
        broker: Knows the position that a page starts at.
        url_prefix: Begins every URL of ours.
    """

    def __init__(
        self, inner: App, lifecycle: Lifecycle, shutdown: Shutdown, broker: Broker, url_prefix: str
    ) -> None:
        self._inner = inner
        self._lifecycle = lifecycle
        self._shutdown = shutdown
        self._broker = broker
        self._url_prefix = url_prefix

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        if not self._lifecycle.is_started:
            await self._lifecycle.start()
        self._shutdown.watch(send)
        is_multiplexed = scope.get("http_version", "1.1")[:1] not in {"0", "1"}
        exchange = Exchange(await self._since(), is_multiplexed=is_multiplexed)
        scope[KEY] = exchange
        is_get, is_head = scope["method"] == "GET", scope["method"] == "HEAD"
        wants_stream = "text/event-stream" in _header(scope["headers"], b"accept")
        if is_get and wants_stream:
            receive = _kickable(receive, exchange, _transport(scope, send))
        if (is_get or is_head) and wants_stream:
            was_stopped = _header(scope["headers"], b"last-event-id") == STOPPED
            is_ours = partial(self._is_ours, scope, exchange)
            send = _replacing_non_streams(send, exchange, is_ours, is_head, was_stopped)
        await self._inner(scope, receive, send)
        for function in exchange.after:
            await function()

    async def _since(self) -> Any:
        """Return the position that a page of this request starts at; never the local clock."""
        known = self._broker.known
        if known is None:
            try:
                known = await self._broker.position()
            except BrokerUnavailable:
                logger.info("The broker is away; a page is told that its start is unknown.")
        return known

    def _is_ours(self, scope: Any, exchange: Exchange) -> bool:
        """Whether a request is for a stream of ours.

        Middleware between this and the framework may have taken a prefix off the path, so what the
        framework saw counts; where middleware answered, what came.
        """
        path = exchange.path
        if path is None:
            path = scope["path"].removeprefix(scope.get("root_path", ""))
        prefix = self._url_prefix
        # Not fragments and static files: htmx 4 takes event streams for an answer to anything.
        is_below = path.startswith(f"{prefix}/") and not path.startswith(f"{prefix}/~")
        return path == prefix or is_below


def _header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str:
    return ", ".join(value.decode("latin1") for key, value in headers if key.lower() == name)


def _transport(scope: Any, send: Send) -> Any:
    """Return the transport of a request's socket; None where the server shows none.

    Uvicorn's ``send`` belongs to what has it. Hypercorn's belongs to a stream, which sends by its
    protocol, which sends by what has it. Granian's is out of reach, and over HTTP/2 other requests
    have the same socket.
    """
    if scope.get("http_version") not in {"1.0", "1.1"}:
        return None
    for _ in range(3):
        owner = getattr(send, "__self__", None)
        for holder in (owner, getattr(owner, "writer", None)):
            transport = getattr(holder, "transport", None)
            if hasattr(transport, "abort"):
                return transport
        send = getattr(owner, "send", send)
    return None


def _close(transport: Any) -> bool:
    """Close a socket without waiting for what its client does not take; returns whether it is."""
    if transport is None:
        return False
    with contextlib.suppress(OSError, AttributeError):
        # Or the system goes on offering what is unsent, megabytes of it, for minutes.
        number = transport.get_extra_info("socket").fileno()
        with socket.fromfd(number, socket.AF_INET, socket.SOCK_STREAM) as same:
            same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    return True


def _kickable(receive: Receive, exchange: Exchange, transport: Any) -> Receive:
    """Let ``exchange.kick`` make ``receive`` say that the client has gone, and close its socket.

    A client that takes nothing parks the whole request in ``send``, where nothing of ours runs.
    """
    is_kicked = False
    waiting: asyncio.Task[Any] | None = None

    def kick() -> bool:
        nonlocal is_kicked
        is_kicked = True
        if waiting is not None:
            waiting.cancel()
        return _close(transport)

    async def kickable() -> Message:
        nonlocal waiting
        waiting = asyncio.current_task()
        try:
            return {"type": "http.disconnect"} if is_kicked else await receive()
        except asyncio.CancelledError:
            if not is_kicked or waiting is None:
                raise
            waiting.uncancel()
            return {"type": "http.disconnect"}
        finally:
            waiting = None

    exchange.kick = kick
    return kickable


def _replacing_non_streams(
    send: Send, exchange: Exchange, is_ours: Callable[[], bool], is_head: bool, was_stopped: bool
) -> Send:
    """Turn every answer of ours that is no stream (a login redirect) into a short stream.

    Any other status makes htmx 2 lose its position, and htmx 4 show the answer in the page. Only
    a client that was told to stop before, and comes back, is answered by a status.

    Args:
        send: The server's.
        exchange: Of the request.
        is_ours: Tells, when there is an answer, whether the request was for a stream of ours.
        is_head: Whether the client wants the headers alone.
        was_stopped: Whether it was told to stop before.
    """
    is_replaced = False

    async def begin(message: Message) -> None:
        nonlocal is_replaced
        status = message["status"]
        is_stream = _header(message["headers"], b"content-type").startswith("text/event-stream")
        if exchange.is_foreign or (status == 200 and is_stream) or not is_ours():
            await send(message)
            return
        is_replaced = True
        if was_stopped:
            await send({"type": "http.response.start", "status": 204, "headers": _NO_STREAM})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        is_transient = status >= 500 or status in _TRANSIENT
        ending = Ending.ERROR if is_transient else Ending.REFUSED
        await _send_whole(send, b"" if is_head else ending.encode())

    async def drop() -> None:
        """Send nothing: the answer was replaced."""

    # No coroutine of our own around each delivery: that of the server is handed on.
    def replacing(message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            return begin(message)
        return drop() if is_replaced else send(message)

    return replacing


async def _send_whole(send: Send, body: bytes) -> None:
    headers = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
