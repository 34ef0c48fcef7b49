"""The response of a stream: opening its connection, and its body."""

import asyncio
import logging
import random
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from types import FrameType, TracebackType

from ..access import Revocations
from ..broker import Processes, Start
from ..channels import AppChannels, PresenceTracker
from ..config import Config
from ..error_log import OnceLog
from ..errors import BrokerUnavailable
from ..hub import Connection, Connections, Hub, Outlet, OwnConnection, Personal, Subscription
from ..logs import LogLine
from ..registry import Closing, Hooks
from ..serving_loop import Pauses, ServingLoop
from ..wire import Ending, is_audience
from .jobs import Jobs
from .replacing import start_with_changes
from .request import Viewer
from .source import Source

ROOTS_FULL = LogLine(
    "streams",
    "roots-full",
    logging.WARNING,
    "Limit of root paths reached, so streams below %(root)r are refused; clients retry in about "
    "%(seconds)g s. If clients make root paths up, set QUART_SSE_BASE_URL to the app's own "
    "address.",
    root=str,
    seconds=float,
)
SYNC_FULL = LogLine(
    "streams",
    "sync-sources-full",
    logging.WARNING,
    "Limit of streams with sync sources reached (%(limit)d, QUART_SSE_SYNC_STREAMS); new streams "
    "retry in about %(seconds)g s. Raise the limit, or use async sources, which need no thread.",
    limit=int,
    seconds=float,
)
OTHER_LOOP = LogLine(
    "streams",
    "other-loop",
    logging.WARNING,
    "A stream was opened in an event loop beside the one that serves the app, and is refused. Let "
    "one process serve an app in one loop. This is logged once.",
)
NOT_JOINED = LogLine(
    "streams",
    "stream-not-joined",
    logging.DEBUG,
    "A stream could not join the hub; its client retries in about %(seconds)g s: %(why)s",
    connection=str,
    seconds=float,
    why=str,
)
STREAM_OPENED = LogLine(
    "streams",
    "stream-opened",
    logging.DEBUG,
    "The stream of connection %(connection)s is open, with %(topics)d topics.",
    connection=str,
    topics=int,
)
STREAM_ENDED = LogLine(
    "streams",
    "stream-ended",
    logging.DEBUG,
    "The stream of connection %(connection)s has ended after %(seconds).1f s (%(reason)s).",
    connection=str,
    reason=str,
    seconds=float,
)

#: Headers of an event stream. ``no-transform`` (RFC 9111) keeps proxies from compressing it, which
#: would buffer messages; ``X-Accel-Buffering`` turns off the buffer of nginx.
HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store, no-transform",
    "X-Accel-Buffering": "no",
    "X-Content-Type-Options": "nosniff",
}


#: Of a stream that is open.
NO_STARTS: Mapping[str, Start] = {}


@lru_cache(1000)
def _shared(topics: tuple[str, ...]) -> tuple[str, ...]:
    """Return one object for equal topics: most connections have the same audiences."""
    return topics


def _describe(connection: Connection, viewer: Viewer) -> None:
    """Let a connection know what the request says of its client."""
    connection.is_browser_new = viewer.is_browser_new
    connection.judged_at = viewer.judged_at
    connection.kick = viewer.kick
    connection.remote_address = viewer.remote_address
    connection.user_agent = viewer.user_agent
    connection.last_event_id = viewer.last_event_id
    connection.listed = viewer.listed


@dataclass(slots=True)
class StreamAnswer:
    """Answer to a request for a stream, in no framework's own form.

    Attributes:
        body: A stream's body, or all bytes of a short stream; ``b""`` for HEAD.
        status: HTTP status.
        headers: Name -> value.
    """

    body: "StreamBody | OwnBody | bytes" = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: dict(HEADERS))


def no_stream() -> StreamAnswer:
    """Return the answer after which clients stop reconnecting: a 204 without a body.

    The standard demands it of ``EventSource``
    (https://html.spec.whatwg.org/multipage/server-sent-events.html#server-sent-events-intro); other
    clients see that the answer has no event stream's type.
    """
    return StreamAnswer(status=204, headers={"Cache-Control": "no-store"})


class Streams:
    """Opens and closes the streams of one process; no other place makes connections.

    Args:
        hub: Sends messages to the connections that have joined it.
        connections: The open connections of this process, and their limits.
        revocations: End opening streams whose clients were judged before a revocation.
        presence: Counts the connections of each topic.
        hooks: Are called when connections come and go.
        closing: Ends opening streams whose clients were judged before a topic was closed.
        processes: Knows the id of this process, with which those of its connections begin.
        channels: The app's channels, which may have settings of their own.
        config: The app's settings.
        serving: The loop in which streams can be opened.
        jobs: Run the sources of streams that have one.
    """

    def __init__(
        self,
        hub: Hub,
        connections: Connections,
        revocations: Revocations,
        presence: PresenceTracker,
        hooks: Hooks,
        closing: Closing,
        processes: Processes,
        channels: AppChannels,
        config: Config,
        serving: ServingLoop,
        jobs: Jobs,
    ) -> None:
        self._jobs = jobs
        self._hooks = hooks
        self._closing = closing
        self._processes = processes
        self._hub = hub
        self._connections = connections
        self._revocations = revocations
        self._presence = presence
        self._channels = channels
        self._config = config
        self._serving = serving
        self._once = OnceLog()

    def has_room(self, root: str) -> bool:
        """Whether this process can serve streams of pages below a root path; if not, it is logged.

        Args:
            root: Root path of the pages, ``""`` or such as ``"/app"``.
        """
        if self._hub.has_room(root):
            return True
        self._connections.say_full(ROOTS_FULL, root=root, seconds=Ending.OVERLOADED.seconds)
        return False

    def open_stream(
        self,
        viewer: Viewer,
        subscription: Subscription,
        starts: Mapping[str, Start],
        *,
        loader: Callable[[Personal], bytes],
        bare: bool,
        first: Iterable[bytes] = (),
        retry: float | None = None,
    ) -> "StreamBody":
        """Return the body of a viewer's stream, which opens when the server begins to send it.

        Args:
            viewer: The client of the stream.
            subscription: Topic -> names of the fragments that the page shows.
            starts: Topic -> where it starts.
            loader: Makes the messages that let the viewer fetch personal fragments.
            bare: Whether event names go out without their topic.
            first: Encoded messages that go out before what the viewer missed.
            retry: Reconnect delay of the client, in seconds, if the stream is cut; None for the
                app's.

        Returns:
            An async context manager; entering it joins the hub and returns the connection, an async
            iterator over the stream's bytes.

        Example:
            ::

                async with streams.open_stream(viewer, {"board": shown}, starts, ...) as chunks:
                    async for chunk in chunks:
                        await send(chunk)
        """
        own = self._processes.own
        connection = Connection(
            subscription,
            self._config,
            loader=loader,
            identity=viewer.identity,
            browser=viewer.browser,
            address=viewer.address,
            bare=bare,
            root=viewer.root,
            heartbeat=self._channels.settings(subscription).heartbeat,
            retry=retry,
            metadata=viewer.metadata,
            process="" if own is None else own.id,
        )
        connection.audiences = _shared(tuple(topic for topic in starts if is_audience(topic)))
        _describe(connection, viewer)
        return StreamBody(
            self, connection, starts, viewer.is_multiplexed, first, viewer.find_outlet
        )

    def open_own(self, viewer: Viewer, source: Source) -> "OwnBody":
        """Return the body of a stream that a source feeds, which begins when the client reads it.

        Args:
            viewer: The client of the stream.
            source: What feeds it.
        """
        own = self._processes.own
        connection = OwnConnection(
            self._config,
            begin=partial(self._jobs.begin, source),
            resumes=source.resumes,
            identity=viewer.identity,
            browser=viewer.browser,
            address=viewer.address,
            root=viewer.root,
            metadata=viewer.metadata,
            process="" if own is None else own.id,
        )
        _describe(connection, viewer)
        return OwnBody(self, connection, source, viewer.is_multiplexed)

    def enter_own(self, connection: OwnConnection, source: Source, is_multiplexed: bool) -> None:
        """Register the connection of a source, or end it at once; :meth:`leave_own` must follow.

        Args:
            connection: The stream's connection.
            source: What feeds it.
            is_multiplexed: Whether the browser sends all requests over one socket.
        """
        if not self._may_enter(connection):
            return
        if source.is_sync and not self._jobs.take_place(connection):
            self.say_sync_full()
            connection.end(Ending.OVERLOADED)
            return
        # What does not resume would be lost with the stream, so it may last.
        max_age = self._config.max_age if source.resumes else float("inf")
        if not self._enter(connection, is_multiplexed, max_age):
            return
        connection.ahead([connection.encode_opening(connection.retry_ms)])
        connection.is_open = True
        self._hooks.note(connection)

    def leave_own(self, connection: OwnConnection) -> None:
        """Release all that was registered for the stream of a source."""
        self.leave(connection)
        self._jobs.give_place(connection)

    def say_sync_full(self) -> None:
        """Log that no further sync source may run."""
        self._connections.say_full(
            SYNC_FULL, limit=self._config.sync_streams, seconds=Ending.OVERLOADED.seconds
        )

    async def join(
        self,
        connection: Connection,
        starts: Mapping[str, Start],
        is_multiplexed: bool,
        first: Iterable[bytes] = (),
    ) -> None:
        """Register a connection and let it join the hub, or end it at once.

        A limit, a revocation, an unavailable broker or a stopping server ends it; :meth:`leave`
        must follow in each case.

        Args:
            connection: The stream's connection.
            starts: Topic -> where it starts.
            is_multiplexed: Whether the browser sends all requests over one socket.
            first: Encoded messages that go out before what the viewer missed.
        """
        if not self._may_enter(connection):
            return
        starts = start_with_changes(connection, starts, self._channels)
        settings, connections = self._channels.settings(connection.subscription), self._connections
        pauses = Pauses()
        if not self._enter(connection, is_multiplexed, settings.max_age):
            return
        before = connection.subscription
        try:
            await self._hub.join(connection, starts, first)
            self._hub.changes.apply(connection)
            connection.is_open = not connection.is_ended
            if connection.is_open:
                # Not before: however long it took to join, the stream is sent first what it missed.
                now = asyncio.get_running_loop().time()
                self._hub.idle.watch(connection, settings.max_idle, now)
                if STREAM_OPENED.is_on:
                    topics = len(connection.subscription)
                    STREAM_OPENED.log(connection=connection.id, topics=topics)
            self._hooks.note(connection)
            for topic in before.keys() - connection.subscription.keys():
                self._presence.withdraw(topic, [connection])
            await pauses.due()
            self._presence.enter(connection)
        except BrokerUnavailable as error:
            # No warning: the broker has logged one, and each reconnecting client logs this line.
            NOT_JOINED.log(
                connection=connection.id, seconds=Ending.BROKER_AWAY.seconds, why=str(error)
            )
            connection.end(Ending.BROKER_AWAY)
        if connections.is_closing:
            connection.end(Ending.SHUTDOWN)

    def _may_enter(self, connection: Connection) -> bool:
        """Whether a stream may enter, as far as its loop and its connection are concerned.

        If not, it is ended.
        """
        if self._serving.is_elsewhere:
            self._once.warn("loop", OTHER_LOOP)
            connection.end(Ending.ERROR)
            return False
        lasting = connection.lasting
        newest = self._connections.get(connection.id)
        if newest is not None and newest.lasting is not lasting:
            connection.end(Ending.EVICTED)  # another stream has just opened with the app's own id
        elif lasting.end is not None:
            connection.end(*lasting.end)  # the app has closed the connection meanwhile
        return not connection.is_ended

    def _enter(self, connection: Connection, is_multiplexed: bool, max_age: float) -> bool:
        """Add a stream to the open ones, and return whether it may go on; if not, it is ended."""
        connections = self._connections
        # Other streams may have opened since the endpoint checked: authorize may take a while.
        if connections.is_full(
            connection.subscription, connection.address, connection.id, connection.listed
        ):
            connection.end(Ending.OVERLOADED)
            return False
        now = asyncio.get_running_loop().time()
        connection.ends_at = min(connection.ends_at, now + max_age * random.uniform(0.8, 1.0))
        connections.enter(connection, is_multiplexed)
        self._revocations.check(connection)
        self._closing.check(connection)
        if connections.is_closing and connection.is_own:
            connection.end(Ending.SHUTDOWN)
        return not connection.is_ended

    def leave(self, connection: Connection) -> None:
        """Release all that was registered for a stream, however far it was opened and has ended."""
        connection.end()
        connection.outlet = None  # it holds the server's objects
        if STREAM_ENDED.is_on:
            ending = connection.ending
            STREAM_ENDED.log(
                connection=connection.id,
                reason="client-gone" if ending is None else ending.reason,
                seconds=time.monotonic() - connection.judged_at,
            )
        is_last = self._connections.leave(connection)
        self._hub.leave(connection)
        self._presence.leave(connection, asyncio.get_running_loop().time())
        if is_last:
            self._hooks.forget(connection)
        else:
            newest = self._connections.get(connection.id)
            if newest is not None:
                self._hooks.note(newest)


@dataclass(slots=True)
class StreamBody:
    """The body of a stream: joins the hub when the server begins to send, and always leaves it.

    The stream registers nothing earlier, because the server never closes a response that it never
    began to send.

    Args:
        streams: Registers and releases the connection.
        connection: The stream's connection.
        starts: Topic -> where it starts.
        is_multiplexed: Whether the browser sends all requests over one socket.
        first: Encoded messages that go out before what the viewer missed.
        find_outlet: Finds where batches may go without the stream's task, given the frame that
            enters the body; None if there is no such place.
        at_open: Called when the stream is open; None for nothing.
    """

    streams: Streams
    connection: Connection
    starts: Mapping[str, Start]
    is_multiplexed: bool = False
    first: Iterable[bytes] = ()
    find_outlet: Callable[[FrameType], Outlet | None] | None = None
    at_open: Callable[[], None] | None = None

    async def __aenter__(self) -> Connection:
        """Join the hub and return the connection, an async iterator over the stream's bytes."""
        try:
            if self.find_outlet is not None:
                self.connection.outlet = self.find_outlet(sys._getframe(1))
            await self.streams.join(self.connection, self.starts, self.is_multiplexed, self.first)
            if self.at_open is not None:
                self.at_open()
            # They would be kept as long as the stream is open.
            self.starts, self.first = NO_STARTS, ()
            self.find_outlet = self.at_open = None
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


@dataclass(slots=True)
class OwnBody:
    """The body of a stream that a source feeds; it registers nothing before it is entered, too.

    Args:
        streams: Registers and releases the connection.
        connection: The stream's connection.
        source: What feeds it.
        is_multiplexed: Whether the browser sends all requests over one socket.
        initial: Encoded messages that go out before those of the source.
        at_open: Called when the stream is open; None for nothing.
    """

    streams: Streams
    connection: OwnConnection
    source: Source
    is_multiplexed: bool = False
    initial: Iterable[bytes] = ()
    at_open: Callable[[], None] | None = None

    async def __aenter__(self) -> OwnConnection:
        """Register the connection and return it, an async iterator over the stream's bytes."""
        try:
            self.streams.enter_own(self.connection, self.source, self.is_multiplexed)
            self.connection.ahead([*self.initial])
            if self.at_open is not None:
                self.at_open()
                self.at_open = None
        except BaseException:
            self.streams.leave_own(self.connection)
            raise
        return self.connection

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Release the connection, and let the source clean up, however the stream ended."""
        self.streams.leave_own(self.connection)
