"""Batching: the cost of fan-out grows with the connections, not with the rate of publishing.

The first message goes out at once. The next batch begins only after a pause as long as the last
one took; messages of the meantime are joined to one write per connection and conflated to the
newest version of each fragment.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from ..error_log import ErrorLog
from ..logs import LogLine
from ..tracing import Recorded, Tracing
from ..wire import Ending, public_name
from .batch import Batch, Part
from .connection import Connection
from .durations import Durations
from .group import Feed, Group
from .traffic import Traffic

FEED_FAILED = LogLine(
    "hub",
    "feed-failed",
    logging.ERROR,
    "Feeding a stream failed. The stream ends; its client reconnects and resumes.",
    connection=str,
)

#: Number of connections fed in one turn of the event loop, so that other callbacks run in between.
SLICE = 1000


class Batcher:
    """Decides when the pending messages of groups go out.

    Args:
        after: Callback for each batch, after groups handed over their messages and before
            connections are fed.
        errors: Log for exceptions of feeding a connection.
        traffic: Counts the batches; None for one of its own.
        tracing: Makes a span of each batch with a message whose publish is recorded; None for none.
    """

    def __init__(
        self,
        after: Callable[[], None],
        errors: ErrorLog,
        traffic: Traffic | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._traffic = Traffic() if traffic is None else traffic
        #: From the publishing of the oldest event of each batch until the server was given it.
        self.lag: Durations = Durations()
        self._after = after
        self.tracing: Tracing | None = tracing
        self._errors = errors
        self.clear()

    def clear(self) -> None:
        """Begin without a pending message, in whatever loop adds the first."""
        self._dirty: dict[Group, None] = {}
        #: set while no group has pending messages and no batch is on its way
        self.idle: asyncio.Event = asyncio.Event()
        self.idle.set()
        #: those of the running batch that are not fed yet, the next one last
        self._feeds: list[Feed] = []
        self._late: dict[Connection, Batch] | None = None  #: the others, if they were asked for
        #: (span, topic) of the recorded messages of the next batch
        self._noted: list[tuple[str, str]] = []
        self._span: Recorded | None = None  #: of the running batch, if it is recorded
        self._begun = 0.0  #: loop time of the running batch's begin
        self._not_before = 0.0  #: earliest loop time of the next batch
        self._oldest: int | None = (
            None  #: when the oldest event to send was published, see note_time()
        )
        self._oldest_now: int | None = None  #: that of the running batch

    def add(self, group: Group) -> None:
        """Flush a group's pending messages with the next batch."""
        self._dirty[group] = None
        if self.idle.is_set():
            self.idle.clear()
            self._plan()

    def note(self, trace: str, topic: str) -> None:
        """Note that the next batch has a message whose publish is recorded.

        Args:
            trace: The span of the message's publish or render.
            topic: The message's topic.
        """
        if self.tracing is not None and self._dirty:
            self._noted.append((trace, topic))

    def note_time(self, published: int) -> None:
        """Note when an event was published, if a batch is to come.

        Args:
            published: The time by the broker's clock, in milliseconds since 1970. Events come in
                its order.
        """
        if self._oldest is None and self._dirty:
            self._oldest = published

    def _plan(self) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() >= self._not_before:
            loop.call_soon(self._begin)
        else:
            loop.call_at(self._not_before, self._begin)

    def _begin(self) -> None:
        self._begun = asyncio.get_running_loop().time()
        self._oldest_now, self._oldest = self._oldest, None
        feeds = self._feeds
        for group in self._dirty:
            if group.is_pending:
                for batch, members in group.take_feeds(self._traffic):
                    slices = range(0, len(members), SLICE)
                    feeds.extend((batch, members[at : at + SLICE]) for at in slices)
        feeds.reverse()
        self._dirty.clear()
        if self._noted:
            self._begin_span(sum(len(members) for _, members in feeds))
        self._after()
        self._feed()

    def _feed(self) -> None:
        feeds, number = self._feeds, 0
        self._late = None
        while feeds and number < SLICE:
            batch, members = feeds.pop()
            number += len(members)
            for connection in members:
                try:
                    direct = connection.direct
                    if direct is None or not direct.write(batch):
                        connection.feed(batch)
                except Exception as error:
                    self._fail(connection, error)
        loop = asyncio.get_running_loop()
        if feeds:
            loop.call_soon(self._feed)
        else:
            # Scheduled behind the tasks that were just woken, so that it measures their writes.
            loop.call_soon(self._finish)

    def finish(self, connection: Connection, parts: list[Part]) -> None:
        """Feed a connection that is about to end what is on its way to it.

        Args:
            connection: The connection, which may be in a later slice of the running batch.
            parts: What would come with the next batch.
        """
        if self._late is None:
            self._late = {each: batch for batch, members in self._feeds for each in members}
        late = self._late.get(connection)
        try:
            if late is not None:
                connection.feed(late)
            if parts:
                batch = Batch.of(parts)
                self._traffic.add(batch)
                connection.feed(batch)
        except Exception as error:
            self._fail(connection, error)

    def _fail(self, connection: Connection, error: Exception) -> None:
        self._errors.log("feeding of streams", error, FEED_FAILED, connection=connection.id)
        connection.end(Ending.ERROR)

    def _begin_span(self, streams: int) -> None:
        noted, self._noted = self._noted, []
        channels = [public_name(topic).partition("?")[0] for _, topic in noted]
        if self.tracing is not None and streams:
            self._span = self.tracing.write([trace for trace, _ in noted], channels, streams)

    def _finish(self) -> None:
        if self._span is not None:
            self._span.end()
            self._span = None
        now = asyncio.get_running_loop().time()
        self._not_before = now + (now - self._begun)
        if self._oldest_now is not None:
            self.lag.observe(time.time() - self._oldest_now / 1000)
            self._oldest_now = None
        if self._dirty:
            self._plan()
        else:
            self.idle.set()
