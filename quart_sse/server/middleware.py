"""The middleware: the ASGI app around the framework's.

It notes the position that a page starts at, turns answers that are no stream into short streams,
and lets the headers of all be completed; what it gives the framework is a ``Relay``. Its messages
follow the ASGI specification: https://asgi.readthedocs.io/en/latest/specs/www.html
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from types import CodeType
from typing import Any

from ..broker import Broker
from ..errors import BrokerUnavailable
from ..host import KEY, Exchange
from ..hub import Connections
from ..logs import LogLine
from ..streams import HEADERS
from ..wire import STOPPED, Ending
from .headers import AnswerHeaders, Headers, Message, Send, header, path_of, send_empty
from .lifecycle import Lifecycle
from .relay import Receive, Relay
from .shutdown import Shutdown

NO_POSITION = LogLine(
    "server",
    "page-without-position",
    logging.DEBUG,
    "The broker is away; a page starts without a position, and its stream sends every fragment.",
)

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
        sender: Code of the coroutine by which the framework sends an answer; None if it is unknown.
        is_direct: Whether messages of streams may go past the server's ``send``.

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
        sender: CodeType | None = None,
        *,
        is_direct: bool = True,
    ) -> None:
        self._sender = sender
        self._is_direct = is_direct
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
        # Whatever the client accepts: a view may answer any request with a stream.
        relay = Relay(scope, receive, send, asyncio.current_task(), self._sender)
        exchange.kick = relay.kick
        exchange.find_outlet = partial(relay.find_outlet, is_direct=self._is_direct)
        if self._headers.are_used:
            relay.onward = self._headers.completing(send, scope, exchange)
        wants_stream = "text/event-stream" in header(scope["headers"], b"accept")
        if wants_stream and scope["method"] in ("GET", "HEAD"):
            relay.replace = partial(self._replace, scope, exchange)
        del receive, send  # this frame lasts as long as a stream, and the relay has what it needs
        try:
            await self._inner(scope, relay.receive, relay.send)
            for function in exchange.after:
                await function()
        finally:
            # The scope has the exchange, and the relay the scope: the server's objects would stay
            # until the collector of garbage comes.
            exchange.kick = exchange.find_outlet = None

    async def _replace(self, scope: Any, exchange: Exchange, begun: Message, send: Send) -> bool:
        """Send a short stream in place of an answer that is none, to a request for one of ours.

        A login redirect or an error makes htmx 2 lose its position, and htmx 4 show the answer in
        the page. Only a client that reconnects after ``sse-stop`` gets a status, the 204 that stops
        ``EventSource``; and pages of other origins get theirs unchanged.

        Args:
            scope: The request's scope.
            exchange: The request's exchange.
            begun: The message with which the answer begins.
            send: The server's.

        Returns:
            Whether the answer is replaced.
        """
        status = begun["status"]
        is_stream = header(begun["headers"], b"content-type").startswith("text/event-stream")
        if (
            exchange.is_foreign
            or (status == 200 and is_stream)
            or not self._is_ours(scope, exchange)
        ):
            return False
        shared = [each for each in begun["headers"] if _is_for_other_origins(*each)]
        if _was_stopped(scope):
            await send_empty(send, [*_NO_STREAM, *shared])
            return True
        is_transient = status >= 500 or status in _TRANSIENT
        ending = Ending.ERROR if is_transient else Ending.REFUSED
        self._connections.refuse(ending)
        await _send_whole(send, b"" if scope["method"] == "HEAD" else ending.encode(), shared)
        return True

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


def _was_stopped(scope: Any) -> bool:
    """Whether a client reconnects after ``sse-stop``."""
    return header(
        scope["headers"], b"last-event-id"
    ) == STOPPED or f"lastEventId={STOPPED}".encode() in scope.get("query_string", b"").split(b"&")


def _is_for_other_origins(name: bytes, _: bytes) -> bool:
    """Whether a header says which pages may read the answer; the app, or a package, has set it."""
    return name.lower().startswith(b"access-control-") or name.lower() == b"vary"


async def _send_whole(send: Send, body: bytes, more: Headers) -> None:
    headers = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
    await send({"type": "http.response.start", "status": 200, "headers": [*headers, *more]})
    await send({"type": "http.response.body", "body": body, "more_body": False})
