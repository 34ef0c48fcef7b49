"""Ids and positions: the order of a broker's messages, and a stream's place in it.

An id ``<ms>-<n>`` is a hybrid logical clock: the broker's clock in milliseconds, and a counter
for messages of the same millisecond or of a clock that was set back. Ids compare as two numbers
and order the messages of all topics, so that one position serves a connection of many topics.
See rules 1 to 4 of ``docs/protocol.md``.
"""

import re
import secrets
from typing import NamedTuple

#: Largest lead of a position over the broker's clock, in milliseconds; beyond, it is not trusted.
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
        """Return the wire form, such as ``1795302000123-0``."""
        return f"{self.ms}-{self.n}"

    @classmethod
    def parse(cls, text: str) -> "Id":
        """Parse the wire form ``<ms>-<n>``.

        Raises:
            ValueError: If the text has another form.
        """
        found = _ID.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is not an id such as '1795302000123-0'.")
        return cls(int(found[1]), int(found[2]))

    def next(self, now_ms: int) -> "Id":
        """Return the id of the next message; it is larger even if the clock was set back.

        Args:
            now_ms: The broker's clock, in milliseconds since 1970.
        """
        return Id(now_ms, 0) if now_ms > self.ms else Id(self.ms, self.n + 1)


#: Before every id of a broker.
ZERO = Id(0, 0)
#: After every id of a broker.
LAST = Id(10**15 - 1, 0)


class Position(NamedTuple):
    """How far a stream, a page or a process has come: in events, and in fragments.

    It has two ids because HTML is ready later than the refresh that asked for it.
    """

    epoch: str  #: name of the broker's data set, without which ids mean nothing
    events: Id  #: all events up to here are delivered
    fragments: Id  #: all fragments are current up to here; never after ``events``
    #: bit i is set if topic i of the URL was granted; None if all were
    granted: int | None = None

    def __str__(self) -> str:
        """Return ``<epoch>.<events>``, with ``~<fragments>`` if older, ``@<granted>`` if not None.

        The bitmask is hexadecimal, and ``~0`` means that no fragment is known to be current.
        """
        text = f"{self.epoch}.{self.events}"
        if self.fragments != self.events:
            text += "~0" if self.fragments == ZERO else f"~{self.fragments}"
        return text + encode_mask(self.granted)

    @classmethod
    def parse(cls, text: str | None) -> "Position | None":
        """Parse the position that a client sent, which may be any text.

        Returns:
            The position; None if the text has another form. Callers treat None as "knows
            nothing", which leads to a reset, never as "now", which would lose events silently.
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


def encode_mask(granted: int | None) -> str:
    """Return what a position ends with for a bitmask of granted topics; "" if all were."""
    return "" if granted is None else f"@{granted:x}"


def new_epoch() -> str:
    """Return a random name for a broker's new data set."""
    return secrets.token_hex(4)
