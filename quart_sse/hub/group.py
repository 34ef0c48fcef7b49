"""Connections that get the same bytes, and the one that still has a missing of its own."""

from collections.abc import Mapping
from typing import NamedTuple

from ..wire import ZERO, Ending, Id, Position
from .batch import Batch, Part
from .connection import Connection, Subscription
from .fragment import next_number
from .outgoing import Outgoing

#: Messages that are held for a connection while the broker is asked what it missed.
MAX_HELD = 2000


class Group:
    """Connections with the same topics and fragments: a batch is joined once for all of them."""

    def __init__(
        self, subscription: Subscription, bare: bool, granted: int | None, root: str = ""
    ) -> None:
        self.root = root  #: the root path of their pages
        self.subscription = subscription
        self.bare = bare
        self.granted = granted
        self.members: set[Connection] = set()
        self.pending: list[Part] = []

    def shows(self, topic: str, fragment: str, parents: Mapping[str, set[str]]) -> bool:
        """Whether its pages show a fragment, by itself or inside one of its parents."""
        names = self.subscription.get(topic, frozenset())
        return fragment in names or not names.isdisjoint(parents.get(fragment, ()))

    def add(self, outgoing: Outgoing) -> bool:
        """Put a message into the next batch; returns whether there is now something to send."""
        self.pending.append(outgoing.part(self.bare, self.granted))
        return True

    def take(self) -> Batch:
        """Return what has gathered since the last batch."""
        batch = Batch.of(self.pending)
        self.pending = []
        return batch


class Missing(NamedTuple):
    """What will do for a page that lacks a fragment."""

    version: Id  #: the least version
    since: int = 0  #: its render began after this number was given


class Joining(Group):
    """The group of one connection that has just come and may still owe its page something.

    At first it only holds what comes, while the broker is asked what was missed. Then its
    messages carry a position of their own, whose fragments stay where the page was until every
    fragment that the page lacks has been sent. Its page may know more than this process, which
    then has HTML that is older than what the page shows: that is not sent.
    """

    def __init__(self, connection: Connection, granted: int | None) -> None:
        super().__init__(connection.subscription, connection.bare, granted, connection.root)
        self.connection = connection
        self.members = {connection}
        self.is_holding = True
        self.has_gap = False  #: something was lost that may be newer than the answer
        self.missing: dict[str, Missing] = {}  #: by fragment key
        self.page_fragments: dict[str, Id] = {}  #: topic -> current up to here
        self._held: list[Outgoing] = []
        self._floor: Id | None = None
        self.last: Id = ZERO  #: events are delivered up to here
        self.current: Id = ZERO  #: fragments are current up to here, by the positions sent
        self._began = next_number()

    def add(self, outgoing: Outgoing) -> bool:
        """Hold a message, or put it into the next batch with this connection's position."""
        if self.is_holding:
            self._held.append(outgoing)
            if len(self._held) > MAX_HELD:
                self.connection.end(Ending.OVERFLOW)
                self._held.clear()
            return False
        is_event = outgoing.fragment is None and outgoing.key is None
        if is_event and outgoing.position.events <= self.last:
            return False  # was in the replay: the process catches up with what this one has
        if outgoing.version > ZERO and not self._is_wanted(outgoing):
            return False
        self.missing.pop(outgoing.key or "", None)
        if not self.missing:
            self._floor = None
        self.last = max(self.last, outgoing.position.events)
        self.pending.append(outgoing.part_at(self._at(outgoing.position), self.bare))
        return True

    def _is_wanted(self, outgoing: Outgoing) -> bool:
        """Whether HTML is not older than what the page has, or is missing."""
        missing = self.missing.get(outgoing.key or "")
        if missing is not None:
            return outgoing.version >= missing.version and outgoing.begun >= missing.since
        known = max(self.current, self.page_fragments.get(outgoing.topic, ZERO))
        # What began after the page had come shows all that the page can claim.
        return outgoing.version > known or (outgoing.is_extra and outgoing.begun > self._began)

    def _at(self, position: Position) -> Position:
        # The page's own claim stands, also where the hub lags behind it.
        current = position.fragments if self._floor is None else self._floor
        self.current = min(max(self.current, current), self.last)
        return Position(position.epoch, self.last, self.current, self.granted)

    def mark_current(self) -> None:
        """Owe nothing: positions say what is true of everybody."""
        self._floor = None

    def lag(self, floor: Id) -> None:
        """Let positions say that fragments are current up to ``floor`` alone."""
        self._floor = self.current = floor

    def replayed(self, outgoing: Outgoing) -> bytes:
        """Return a message of what is sent before all else."""
        self.last = max(self.last, outgoing.position.events)
        data = outgoing.part_at(self._at(outgoing.position), self.bare).data
        return data if isinstance(data, bytes) else self.connection.loader(data)

    def release(self, snapshot: Id) -> None:
        """Stop holding: go on with what came after the snapshot that the replay was made of."""
        self.is_holding = False
        self.last = max(self.last, snapshot)
        held, self._held = self._held, []
        for outgoing in held:
            if outgoing.fragment is not None or outgoing.position.events > snapshot:
                self.add(outgoing)

    @property
    def page_current(self) -> Id:
        """Up to where the fragments of its page are current, by what it has said or was sent."""
        return max(self.current, *self.page_fragments.values(), ZERO)

    @property
    def is_caught_up(self) -> bool:
        """Whether it owes nothing and everything was sent, so that it may share bytes."""
        return not self.is_holding and not self.missing and not self.pending
