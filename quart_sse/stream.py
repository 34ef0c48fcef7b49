"""The response that is an event stream."""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType

from .broker import Start
from .config import Config
from .connection import Connection, Personal, Subscription
from .connections import Connections
from .ending import Ending
from .errors import BrokerUnavailable
from .hub import Hub
from .presence import PresenceTracker
from .revocation import Revocations
from .stream_request import Viewer

logger = logging.getLogger("quart_sse")

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store, no-transform",
    "X-Accel-Buffering": "no",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(slots=True)
class StreamAnswer:
    """What a request for a stream is answered with, whatever the framework."""

    #: What gives the stream's bytes; a whole short stream, or b"" for an answer to HEAD.
    body: "StreamBody | bytes" = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: dict(HEADERS))


def no_stream() -> StreamAnswer:
    """Return the answer after which no client comes back that keeps to the standard.

    See https://html.spec.whatwg.org/multipage/server-sent-events.html#sse-processing-model; other
    clients see by its type that it is no event stream.
    """
    return StreamAnswer(status=204, headers={"Cache-Control": "no-store"})


class Streams:
    """Opens the streams of one process: the one place where connections are made.

    Args:
        hub: What they join.
        connections: Those that are open.
        revocations: End those whose clients were judged before a revocation.
        presence: Is told of who comes and goes.
        config: The app's settings.
        wake: Sees to it that the regular work is done while a stream is open.
    """

    def __init__(
        self,
        hub: Hub,
        connections: Connections,
        revocations: Revocations,
        presence: PresenceTracker,
        config: Config,
        wake: Callable[[], None],
    ) -> None:
        self._hub = hub
        self._connections = connections
        self._revocations = revocations
        self._presence = presence
        self._config = config
        self._wake = wake

    def has_room(self, root: str) -> bool:
        """Whether streams of pages below a root path can be open beside those of others."""
        if self._hub.has_room(root):
            return True
        self._connections.say_full(
            "Pages come from below too many root paths, now from %r, so its streams must wait. If "
            "clients make them up, set QUART_SSE_BASE_URL to the app's own address.",
            root,
        )
        return False

    def open_stream(
        self,
        viewer: Viewer,
        subscription: Subscription,
        starts: Mapping[str, Start],
        *,
        granted: int | None = None,
        loader: Callable[[Personal], bytes],
        bare: bool,
        metadata: Mapping[str, object] | None = None,
    ) -> "StreamBody":
        """Return the body of a viewer's stream, which opens when the server begins to send it.

        Args:
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
            self._config,
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
        return StreamBody(self, connection, starts, granted, viewer.is_multiplexed)

    async def join(
        self,
        connection: Connection,
        starts: Mapping[str, Start],
        granted: int | None,
        is_multiplexed: bool,
    ) -> None:
        """Open a stream, or end it at once; :meth:`leave` must follow.

        Args:
            connection: The stream's.
            starts: Where each topic starts.
            granted: For positions, if some topics of the URL were refused.
            is_multiplexed: Whether the browser has many streams on one socket.
        """
        self._wake()
        now = asyncio.get_running_loop().time()
        ends_at = now + self._config.max_age * random.uniform(0.8, 1.0)
        connection.ends_at = min(connection.ends_at, ends_at)
        # Others have come since this one was let in: its authorize may have taken a while.
        if self._connections.is_full(connection.subscription, connection.address):
            connection.end(Ending.OVERLOADED)
            return
        self._connections.enter(connection, is_multiplexed)
        self._revocations.check(connection)
        if connection.is_ended:
            return
        try:
            await self._hub.join(connection, starts, granted)
            await self._presence.enter(connection)
        except BrokerUnavailable as error:
            # No warning: that the broker is away was one, and all clients come here now.
            logger.info("A stream was told to come back later: %s", error)
            connection.end(Ending.BROKER_AWAY)
        if self._connections.is_closing:
            connection.end(Ending.SHUTDOWN)

    def leave(self, connection: Connection) -> None:
        """Close a stream, however far it was opened and however it ended."""
        connection.end()
        self._connections.leave(connection)
        self._hub.leave(connection)
        self._presence.leave(connection, asyncio.get_running_loop().time())


@dataclass(slots=True)
class StreamBody:
    """The body of a stream: joins the hub when the server begins to send, and always leaves it.

    Nothing is registered before that, because a response that is never sent is never ended.
    """

    streams: Streams
    connection: Connection
    starts: Mapping[str, Start]
    granted: int | None = None
    is_multiplexed: bool = False

    async def __aenter__(self) -> Connection:
        """Join the hub and return the iterator over the stream's bytes."""
        try:
            await self.streams.join(self.connection, self.starts, self.granted, self.is_multiplexed)
        except BaseException:
            self.streams.leave(self.connection)
            raise
        return self.connection

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Leave the hub, however the stream ended."""
        self.streams.leave(self.connection)
