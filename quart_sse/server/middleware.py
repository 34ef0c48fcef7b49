"""The middleware: the ASGI app around the framework's.

It notes the position that a page starts at, ends requests of stalled clients from outside, turns
answers that are no stream into short streams, and lets the headers of all be completed. Its
messages follow the ASGI specification: https://asgi.readthedocs.io/en/latest/specs/www.html
"""

import asyncio
import contextlib
import logging
import socket
import struct
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from ..broker import Broker
from ..errors import BrokerUnavailable
from ..host import KEY, Exchange
from ..hub import Connections
from ..logs import LogLine
from ..streams import HEADERS
from ..wire import STOPPED, Ending
from .headers import AnswerHeaders, Headers, Message, Send, drop, header, path_of, send_empty
from .internals import find_transport
from .lifecycle import Lifecycle
from .shutdown import Shutdown

NO_POSITION = LogLine(
    "server",
    "page-without-position",
    logging.DEBUG,
    "The broker is away; a page starts without a position, and its stream sends every fragment.",
)

Receive = Callable[[], Awaitable[Message]]
App = Callable[[Any, Any, Any], Awaitable[None]]

#: Headers of the 204 that stops clients which reconnect after ``sse-stop``.
_NO_STREAM = [(b"cache-control", b"no-store")]

#: Client errors after which a retry may succeed: timeout, too early, too many requests (RFC 9110,
#: 8470, 6585). Other statuses below 500 are final.
_TRANSIENT = frozenset({408, 425, 429})


class Middleware:
    """The ASGI app around the framework's.

    Args:
        inner: The framework's own ASGI app.
        lifecycle: Started with the first request if no lifespan has started it.
        shutdown: Looks for the server's sign of its stop.
        broker: Has the position that a page starts at.
        headers: Completes the headers of answers at the extension's URLs.
        url_prefix: First segment of every URL of the extension, such as ``"/sse"``.
        connections: Count the refused streams.

    Example:
        ``app.asgi_app = Middleware(app.asgi_app, lifecycle, shutdown, ...)``
    """

    def __init__(
        self,
        inner: App,
        lifecycle: Lifecycle,
        shutdown: Shutdown,
        broker: Broker,
        headers: AnswerHeaders,
        url_prefix: str,
        connections: Connections,
    ) -> None:
        self._connections = connections
        self._inner = inner
        self._lifecycle = lifecycle
        self._shutdown = shutdown
        self._broker = broker
        self._headers = headers
        self._url_prefix = url_prefix

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Handle one ASGI scope; only HTTP requests are touched."""
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        # Before the app's hooks: a preflight has no cookies, and a limiter need not count it.
        if self._headers.are_used and await self._headers.answer_preflight(send, scope):
            return
        if not self._lifecycle.is_here:
            await self._lifecycle.start()
        self._shutdown.look()
        is_multiplexed = scope.get("http_version", "1.1")[:1] not in {"0", "1"}
        exchange = Exchange(await self._since(), is_multiplexed=is_multiplexed)
        scope[KEY] = exchange
        is_get, is_head = scope["method"] == "GET", scope["method"] == "HEAD"
        # Whatever the client accepts: a view may answer any request with a stream.
        receive = _kickable(
            receive, exchange, partial(find_transport, scope, send, asyncio.current_task())
        )
        wants_stream = "text/event-stream" in header(scope["headers"], b"accept")
        if self._headers.are_used:
            send = self._headers.completing(send, scope, exchange)
        if (is_get or is_head) and wants_stream:
            query = scope.get("query_string", b"").split(b"&")
            was_stopped = (
                header(scope["headers"], b"last-event-id") == STOPPED
                or f"lastEventId={STOPPED}".encode() in query
            )
            is_ours = partial(self._is_ours, scope, exchange)
            send = _replacing_non_streams(
                send, exchange, is_ours, is_head, was_stopped, self._connections.refuse
            )
        await self._inner(scope, receive, send)
        for function in exchange.after:
            await function()

    async def _since(self) -> Any:
        """Return the position that a page of this request starts at; None if the broker is away.

        The position comes from the broker alone: clocks of processes differ.
        """
        known = self._broker.known
        if known is None:
            try:
                known = await self._broker.position()
            except BrokerUnavailable:
                NO_POSITION.log()
        return known

    def _is_ours(self, scope: Any, exchange: Exchange) -> bool:
        """Whether a request is for a stream of the extension."""
        path, prefix = path_of(scope, exchange), self._url_prefix
        # Fragments and static files are excluded: htmx 4 sends the same Accept for each request.
        is_below = path.startswith(f"{prefix}/") and not path.startswith(f"{prefix}/~")
        return path == prefix or is_below


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


def _kickable(receive: Receive, exchange: Exchange, find: Callable[[], Any]) -> Receive:
    """Return a ``receive`` that ``exchange.kick`` makes report a disconnect.

    A client that reads nothing blocks its request inside the server's ``send``, so its end must
    come from outside. The kick cancels only the pending ``receive``, and closes the socket.

    Args:
        receive: The server's.
        exchange: The request's exchange, whose ``kick`` is set.
        find: Returns the transport of the request's socket; None if it is out of reach.
    """
    is_kicked = False
    waiting: asyncio.Task[Any] | None = None

    def kick() -> bool:
        nonlocal is_kicked
        is_kicked = True
        if waiting is not None:
            waiting.cancel()
        return _close(find())

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
    send: Send,
    exchange: Exchange,
    is_ours: Callable[[], bool],
    is_head: bool,
    was_stopped: bool,
    refuse: Callable[[Ending], None],
) -> Send:
    """Return a ``send`` that turns each answer of ours that is no stream into a short stream.

    A login redirect or an error makes htmx 2 lose its position, and htmx 4 show the answer in the
    page. Only a client that reconnects after ``sse-stop`` gets a status, the 204 that stops
    ``EventSource``; and pages of other origins get theirs unchanged.

    Args:
        send: The server's.
        exchange: The request's exchange.
        is_ours: Tells at the time of the answer whether the request was for a stream of ours.
        is_head: Whether the method is HEAD, so that the answer has no body.
        was_stopped: Whether the client reconnects after ``sse-stop``.
        refuse: Counts a refused stream.
    """
    is_replaced = False

    async def begin(message: Message) -> None:
        nonlocal is_replaced
        status = message["status"]
        is_stream = header(message["headers"], b"content-type").startswith("text/event-stream")
        if exchange.is_foreign or (status == 200 and is_stream) or not is_ours():
            await send(message)
            return
        is_replaced = True
        shared = [each for each in message["headers"] if _is_for_other_origins(*each)]
        if was_stopped:
            await send_empty(send, [*_NO_STREAM, *shared])
            return
        is_transient = status >= 500 or status in _TRANSIENT
        ending = Ending.ERROR if is_transient else Ending.REFUSED
        refuse(ending)
        await _send_whole(send, b"" if is_head else ending.encode(), shared)

    # A plain function: it hands on the server's coroutine, without another one for each message.
    def replacing(message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            return begin(message)
        return drop() if is_replaced else send(message)

    return replacing


def _is_for_other_origins(name: bytes, _: bytes) -> bool:
    """Whether a header says which pages may read the answer; the app, or a package, has set it."""
    return name.lower().startswith(b"access-control-") or name.lower() == b"vary"


async def _send_whole(send: Send, body: bytes, more: Headers) -> None:
    headers = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
    await send({"type": "http.response.start", "status": 200, "headers": [*headers, *more]})
    await send({"type": "http.response.body", "body": body, "more_body": False})
