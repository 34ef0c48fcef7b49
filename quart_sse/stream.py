"""The response that is an event stream."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType

from quart import Request, Response
from quart.wrappers.response import ResponseBody

from . import presence
from .broker import Start
from .connection import Connection, Personal, Subscription
from .ending import STOPPED, Ending
from .errors import BrokerUnavailable
from .state import State

logger = logging.getLogger("quart_sse")

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store, no-transform",
    "X-Accel-Buffering": "no",
    "X-Content-Type-Options": "nosniff",
}
#: Seconds between two log lines that say that the process is full.
SAY_FULL = 60.0


class EventStream(Response):
    """A response that is an event stream; it never times out and is never stored.

    Args:
        body: What gives the stream's bytes; a whole short stream, or b"" for an answer to HEAD.
    """

    automatically_set_content_length = False

    def __init__(self, body: ResponseBody | bytes = b"") -> None:
        super().__init__(body, headers=HEADERS)
        # Quart would cut the stream after RESPONSE_TIMEOUT, or (0.23) leave it open and silent.
        self.timeout = None


def was_stopped(request: Request) -> bool:
    """Whether a client comes back that was told to stop; clients of ours never do."""
    return request.headers.get("Last-Event-ID") == STOPPED


def no_stream() -> Response:
    """Return the answer after which no client comes back that keeps to the standard.

    See https://html.spec.whatwg.org/multipage/server-sent-events.html#sse-processing-model; other
    clients see by its type that it is no event stream.
    """
    return Response(status=204, headers={"Cache-Control": "no-store"})


def is_full(state: State, topics: Iterable[str] = (), address: str | None = None) -> bool:
    """Whether the process, one of the topics or the address has as many streams as it may."""
    config = state.config
    if len(state.hub.connections) >= config.max_connections:
        _say_full(state, "QUART_SSE_MAX_CONNECTIONS streams are open; further ones must wait.")
        return True
    return (
        any(state.hub.receivers(topic) >= config.max_per_topic for topic in topics)
        or len(state.limits.of("address", address)) >= config.max_per_address
    )


def has_room(state: State, root: str) -> bool:
    """Whether streams of pages below a root path can be open beside those of others."""
    if state.hub.has_room(root):
        return True
    _say_full(
        state,
        "Pages come from below too many root paths, now from %r, so its streams must wait. If "
        "clients make them up, set QUART_SSE_BASE_URL to the app's own address.",
        root,
    )
    return False


def _say_full(state: State, message: str, *args: object) -> None:
    """Log why streams must wait, once a minute: a flood of streams is none of log lines."""
    now = time.monotonic()
    if now - state.said_full_at >= SAY_FULL:
        state.said_full_at = now
        logger.warning(message, *args)


@dataclass(slots=True)
class Viewer:
    """Who asks for a stream, as its request says.

    Args:
        identity: The app's name for the user, or None.
        browser: The id of the browser, or None if it is not known.
        address: Where the request comes from, if the browser is not known.
        root: The root path of its pages.
        is_multiplexed: Whether the browser has many streams on one socket, as over HTTP/2.
        is_browser_new: Whether it came without the browser's cookie.
        judged_at: ``time.monotonic`` before the client was judged.
        kick: Ends the request from outside; see :class:`Connection`.
    """

    identity: str | None
    browser: str | None
    address: str | None
    root: str
    is_multiplexed: bool
    is_browser_new: bool
    judged_at: float
    kick: Callable[[], bool] | None


class OpenStream(EventStream):
    """The response that is an open stream of a connection."""

    def __init__(self, body: "StreamBody") -> None:
        super().__init__(body)
        self.connection = body.connection


def open_stream(
    state: State,
    viewer: Viewer,
    subscription: Subscription,
    starts: Mapping[str, Start],
    *,
    granted: int | None = None,
    loader: Callable[[Personal], bytes],
    bare: bool,
    metadata: Mapping[str, object] | None = None,
) -> OpenStream:
    """Return the response that is a viewer's stream: the one place where connections are made.

    It is open when the server begins to send it.

    Args:
        state: Of the app.
        viewer: Who asks for it.
        subscription: Topic -> the fragments of it that the page shows.
        starts: Where each topic starts.
        granted: For positions, if some topics of the URL were refused.
        loader: Makes the messages by which the viewer fetches personal fragments.
        bare: Whether event names go out without their topic.
        metadata: What the app wants to remember of the connection.
    """
    connection = Connection(
        subscription,
        state.config,
        loader=loader,
        identity=viewer.identity,
        browser=viewer.browser,
        address=viewer.address,
        bare=bare,
        root=viewer.root,
        metadata=metadata,
    )
    connection.is_browser_new = viewer.is_browser_new
    connection.judged_at = viewer.judged_at
    connection.kick = viewer.kick
    return OpenStream(StreamBody(state, connection, starts, granted, viewer.is_multiplexed))


@dataclass(slots=True)
class StreamBody(ResponseBody):
    """The body of a stream: joins the hub when the server begins to send, and always leaves it.

    Nothing is registered before that, because a response that is never sent is never ended.
    """

    state: State
    connection: Connection
    starts: Mapping[str, Start]
    granted: int | None = None
    is_multiplexed: bool = False

    async def __aenter__(self) -> Connection:
        """Join the hub and return the iterator over the stream's bytes."""
        try:
            await self._join()
        except BaseException:
            self._leave()
            raise
        return self.connection

    async def _join(self) -> None:
        state, connection = self.state, self.connection
        state.wake_sweeper()
        now = asyncio.get_running_loop().time()
        ends_at = now + state.config.max_age * random.uniform(0.8, 1.0)
        connection.ends_at = min(connection.ends_at, ends_at)
        # Others have come since this one was let in: its authorize may have taken a while.
        if is_full(state, connection.subscription, connection.address):
            connection.end(Ending.OVERLOADED)
            return
        state.limits.enter(connection, state.config, self.is_multiplexed)
        state.revocations.check(connection)
        if connection.is_ended:
            return
        try:
            await state.hub.join(connection, self.starts, self.granted)
            await presence.enter(state, connection)
        except BrokerUnavailable as error:
            # No warning: that the broker is away was one, and everybody who looks comes here now.
            logger.info("A stream was told to come back later: %s", error)
            connection.end(Ending.BROKER_AWAY)
        if state.is_closing:
            connection.end(Ending.SHUTDOWN)

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Leave the hub, however the stream ended."""
        self._leave()

    def _leave(self) -> None:
        self.connection.end()
        self.state.limits.leave(self.connection)
        self.state.hub.leave(self.connection)
        presence.leave(self.state, self.connection, asyncio.get_running_loop().time())
