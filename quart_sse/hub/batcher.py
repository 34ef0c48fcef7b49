"""When messages go out: in batches, so that the cost grows with connections, not with publishing.

The first message is written at once; the next batch starts no sooner than the last one took, and
what arrives meanwhile goes out joined: one write per connection, with only the newest version
of each fragment.
"""

import asyncio
from collections.abc import Callable

from ..error_log import ErrorLog
from ..wire import Ending
from .batch import Batch
from .connection import Connection
from .group import Group

#: Connections that are fed before other callbacks of the event loop have their turn.
SLICE = 1000


class Batcher:
    """Decides when what has gathered goes out.

    Args:
        after: Called when groups have been emptied, before the batch is fed.
        errors: Takes what feeding a stream raises.
    """

    def __init__(self, after: Callable[[], None], errors: ErrorLog) -> None:
        self._after = after
        self._errors = errors
        self._dirty: dict[Group, None] = {}
        self.idle = asyncio.Event()  #: set while nothing waits to be fed to a connection
        self.idle.set()
        self._begun = 0.0
        self._not_before = 0.0

    def add(self, group: Group) -> None:
        """Send a group's pending messages with the next batch."""
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
            if group.pending:
                batch = group.take()
                feeds.extend((connection, batch) for connection in group.members)
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
                    "A stream could not be fed and ends; its browser comes back.",
                )
                connection.end(Ending.ERROR)
        loop = asyncio.get_running_loop()
        if at + SLICE < len(feeds):
            loop.call_soon(self._feed, feeds, at + SLICE)
        else:
            # Runs after the tasks that were just woken have written.
            loop.call_soon(self._finish)

    def _finish(self) -> None:
        now = asyncio.get_running_loop().time()
        self._not_before = now + (now - self._begun)
        if self._dirty:
            self._plan()
        else:
            self.idle.set()
