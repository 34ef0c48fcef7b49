"""Batching: the cost of fan-out grows with the connections, not with the rate of publishing.

The first message goes out at once. The next batch begins only after a pause as long as the last
one took; messages of the meantime are joined to one write per connection and conflated to the
newest version of each fragment.
"""

import asyncio
from collections.abc import Callable

from ..error_log import ErrorLog
from ..wire import Ending
from .batch import Batch
from .connection import Connection
from .group import Group

#: Number of connections fed in one turn of the event loop, so that other callbacks run in between.
SLICE = 1000


class Batcher:
    """Decides when the pending messages of groups go out.

    Args:
        after: Callback for each batch, after groups handed over their messages and before
            connections are fed.
        errors: Log for exceptions of feeding a connection.
    """

    def __init__(self, after: Callable[[], None], errors: ErrorLog) -> None:
        self._after = after
        self._errors = errors
        self.clear()

    def clear(self) -> None:
        """Begin without a pending message, in whatever loop adds the first."""
        self._dirty: dict[Group, None] = {}
        #: set while no group has pending messages and no batch is on its way
        self.idle: asyncio.Event = asyncio.Event()
        self.idle.set()
        self._begun = 0.0  #: loop time of the running batch's begin
        self._not_before = 0.0  #: earliest loop time of the next batch

    def add(self, group: Group) -> None:
        """Flush a group's pending messages with the next batch."""
        self._dirty[group] = None
        if self.idle.is_set():
            self.idle.clear()
            self._plan()

    def _plan(self) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() >= self._not_before:
            loop.call_soon(self._begin)
        else:
            loop.call_at(self._not_before, self._begin)

    def _begin(self) -> None:
        self._begun = asyncio.get_running_loop().time()
        feeds: list[tuple[Connection, Batch]] = []
        for group in self._dirty:
            if group.is_pending:
                feeds.extend(group.take_feeds())
        self._dirty.clear()
        self._after()
        self._feed(feeds, 0)

    def _feed(self, feeds: list[tuple[Connection, Batch]], at: int) -> None:
        for connection, batch in feeds[at : at + SLICE]:
            try:
                connection.feed(batch)
            except Exception as error:
                self._errors.log(
                    "feeding of streams",
                    error,
                    "Feeding a stream failed. The stream ends; its client reconnects and resumes.",
                )
                connection.end(Ending.ERROR)
        loop = asyncio.get_running_loop()
        if at + SLICE < len(feeds):
            loop.call_soon(self._feed, feeds, at + SLICE)
        else:
            # Scheduled behind the tasks that were just woken, so that it measures their writes.
            loop.call_soon(self._finish)

    def _finish(self) -> None:
        now = asyncio.get_running_loop().time()
        self._not_before = now + (now - self._begun)
        if self._dirty:
            self._plan()
        else:
            self.idle.set()
