"""Whom a connection counts as, as brokers record it for presence: one text for each connection.

``[!][<metadata as JSON> NUL]<name>``. The mark ``!`` says that a page of the connection shows what
``sse_presence`` writes. JSON holds no NUL, so the first one ends it, whatever the name is. A name
that begins with ``+`` is an identity. ``enter.lua`` reads the text as :func:`read_who` does.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Who(NamedTuple):
    """Whom a connection counts as.

    Attributes:
        name: ``+identity``, or another text that says whom an anonymous connection counts as.
        metadata: What is recorded of the connection's metadata, as JSON; ``""`` for nothing.
        is_showing: Whether a page of the connection shows the built-in fragment of presence.
    """

    name: str
    metadata: str = ""
    is_showing: bool = False

    @property
    def is_named(self) -> bool:
        """Whether it counts as a person with an identity, who joins and leaves."""
        return self.name.startswith("+")

    def write(self) -> str:
        """Return it as text."""
        metadata = f"{self.metadata}\0" if self.metadata else ""
        return f"{'!' if self.is_showing else ''}{metadata}{self.name}"


@dataclass(slots=True)
class Moves:
    """What a call has changed of who is present, beside the members that it names.

    Attributes:
        expired: Topics of which entries have expired, because their process has died.
        showing: Topics of which a page shows the built-in fragment of presence, in any process.
        joined: Topic -> the members by which people have joined it.
        left: Topic -> whom the last members of people counted as who have left it.
    """

    expired: set[str] = field(default_factory=set)
    showing: set[str] = field(default_factory=set)
    joined: dict[str, list[str]] = field(default_factory=dict)
    left: dict[str, list[str]] = field(default_factory=dict)

    def add(
        self,
        topic: str,
        *,
        is_expired: bool = False,
        is_showing: bool = False,
        joined: Iterable[str] = (),
        left: Iterable[str] = (),
    ) -> None:
        """Add what has changed of a topic."""
        if is_expired:
            self.expired.add(topic)
        if is_showing:
            self.showing.add(topic)
        for moves, more in ((self.joined, [*joined]), (self.left, [*left])):
            if more:
                moves.setdefault(topic, []).extend(more)


def read_who(text: str) -> Who:
    """Return what a text says; one that is no ``Who`` is a name.

    Args:
        text: What :meth:`Who.write` returned.
    """
    is_showing = text.startswith("!")
    rest = text[1:] if is_showing else text
    metadata, end, name = rest.partition("\0")
    if end and metadata.startswith("{"):
        return Who(name, metadata, is_showing)
    return Who(rest, "", is_showing)


class Roll:
    """Who is present on one topic, in the memory of one process; ``enter.lua`` does the same.

    Attributes:
        members: Member -> whom it counts as.
    """

    def __init__(self) -> None:
        self.members: dict[str, str] = {}
        # Name of a person -> number of members; "" -> number of those that show presence.
        self._counts: Counter[str] = Counter()

    def change(self, moves: Moves, topic: str, members: Mapping[str, str | None]) -> None:
        """Let members enter, change and leave.

        Args:
            moves: To which is added what has changed.
            topic: The topic's name.
            members: Member -> whom it counts as; None for one that leaves.
        """
        joined, left = [], []
        for member, text in members.items():
            before = self.members.pop(member, None)
            if text is not None:
                self.members[member] = text
            if text == before:
                continue
            if text is not None and self._count(read_who(text), 1):
                joined.append(member)
            if before is not None and self._count(read_who(before), -1):
                left.append(before)
        moves.add(topic, is_showing="" in self._counts, joined=joined, left=left)

    def _count(self, who: Who, by: int) -> bool:
        """Count a member, and return whether it is the first or was the last of a person."""
        names = ([""] if who.is_showing else []) + ([who.name] if who.is_named else [])
        for name in names:
            self._counts[name] += by
            if not self._counts[name]:
                del self._counts[name]
        return who.is_named and self._counts.get(who.name, 0) == (by > 0)
