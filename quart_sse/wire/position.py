"""Ids and positions: the one order of a broker's messages, and where a stream stands in it.

An id is a hybrid logical clock ``<ms>-<n>``: the broker's clock in milliseconds, and a counter
for messages of the same millisecond or of a clock that was set back. Ids are compared as two
numbers and give one order over all topics of a broker, so one position serves a connection of
many topics.
"""

import re
import secrets
from typing import NamedTuple

#: Milliseconds that a position may lie ahead of the broker's clock before it is disbelieved.
MAX_AHEAD_MS = 1000

_ID = re.compile(r"(\d{1,15})-(\d{1,9})", re.ASCII)
_POSITION = re.compile(
    r"(?P<epoch>[a-z0-9]{1,16})\.(?P<e>\d{1,15}-\d{1,9})"
    r"(?:~(?P<s>0|\d{1,15}-\d{1,9}))?(?:@(?P<granted>[0-9a-f]{1,256}))?",
    re.ASCII,
)


class Id(NamedTuple):
    """The place of one message in a broker's order."""

    ms: int  #: milliseconds since 1970 by the broker's clock
    n: int  #: counter within the millisecond

    def __str__(self) -> str:
        """Write the id as it goes over the wire: ``1795302000123-0``."""
        return f"{self.ms}-{self.n}"

    @classmethod
    def parse(cls, text: str) -> "Id":
        """Read ``<ms>-<n>``.

        Raises:
            ValueError: If the text is anything else.
        """
        found = _ID.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is no id such as '1795302000123-0'.")
        return cls(int(found[1]), int(found[2]))

    def next(self, now_ms: int) -> "Id":
        """Return the id that follows this one at the time ``now_ms``, never a smaller one."""
        return Id(now_ms, 0) if now_ms > self.ms else Id(self.ms, self.n + 1)


ZERO = Id(0, 0)
#: After every id that a broker gives.
LAST = Id(10**15 - 1, 0)


class Position(NamedTuple):
    """Where a stream, a page or a process stands: what it has of facts and of state.

    Two ids, because HTML is ready later than the refresh that asked for it.
    """

    epoch: str  #: which data set of the broker the ids belong to
    events: Id  #: events are delivered up to here
    fragments: Id  #: fragments are current up to here, never after ``events``
    #: bit i is set if topic i of the URL was granted; None when all were
    granted: int | None = None

    def __str__(self) -> str:
        """Write ``epoch.e``, ``epoch.e~s`` where they differ, and ``@granted`` where refused."""
        text = f"{self.epoch}.{self.events}"
        if self.fragments != self.events:
            text += "~0" if self.fragments == ZERO else f"~{self.fragments}"
        return text if self.granted is None else f"{text}@{self.granted:x}"

    @classmethod
    def parse(cls, text: str | None) -> "Position | None":
        """Read a position that a client sent; it may be anything.

        Returns:
            The position, or None for whatever is not one. A caller treats None as "knows
            nothing" (which is told to the client), never as "now" (which would lose events).
        """
        found = _POSITION.fullmatch(text) if text else None
        if found is None:
            return None
        events = Id.parse(found["e"])
        stated = found["s"]
        fragments = events if stated is None else ZERO if stated == "0" else Id.parse(stated)
        if fragments > events:
            return None
        granted = found["granted"]
        return cls(found["epoch"], events, fragments, None if granted is None else int(granted, 16))


def new_epoch() -> str:
    """Return a random name for a new data set of a broker."""
    return secrets.token_hex(4)
