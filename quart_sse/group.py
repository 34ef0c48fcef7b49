"""Connections that get the same bytes, and the one that still has a debt of its own."""

from collections.abc import Mapping
from typing import NamedTuple

from .connection import Connection, Part, Subscription, Wave
from .ending import Ending
from .fragment import next_number
from .items import Outgoing
from .position import ZERO, Id, Position

#: Messages that are held for a connection while the broker is asked what it missed.
MAX_HELD = 2000


class Group:
    """Connections with the same topics and fragments: a wave is joined once for all of them."""

    def __init__(
        self, subscription: Subscription, bare: bool, granted: int | None, root: str = ""
    ) -> None:
        self.root = root  #: the root path of their pages
        self.subscription = subscription
        self.bare = bare
        self.granted = granted
        self.members: set[Connection] = set()
        self.pending: list[Part] = []

    def wants(self, topic: str, fragment: str, parents: Mapping[str, set[str]]) -> bool:
        """Whether its pages show a fragment, by itself or inside one of its parents."""
        names = self.subscription.get(topic, frozenset())
        return fragment in names or not names.isdisjoint(parents.get(fragment, ()))

    def add(self, item: Outgoing) -> bool:
        """Put a message into the next wave; returns whether there is now something to send."""
        self.pending.append(item.part(self.bare, self.granted))
        return True

    def take(self) -> Wave:
        """Return what has gathered since the last wave."""
        wave = Wave.of(self.pending)
        self.pending = []
        return wave


class Debt(NamedTuple):
    """What will do for a page that lacks a fragment."""

    version: Id  #: the least version
    since: int = 0  #: its render began after this number was given


class Solo(Group):
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
        self.is_overtaken = False  #: something was lost that may be newer than the answer
        self.owed: dict[str, Debt] = {}  #: by fragment key
        self.claims: dict[str, Id] = {}  #: topic -> the page's fragments were current up to there
        self._held: list[Outgoing] = []
        self._floor: Id | None = None
        self.last: Id = ZERO  #: events are delivered up to here
        self.told: Id = ZERO  #: fragments are current up to here, as the client was told
        self._began = next_number()

    def add(self, item: Outgoing) -> bool:
        """Hold a message, or put it into the next wave with this connection's position."""
        if self.is_holding:
            self._held.append(item)
            if len(self._held) > MAX_HELD:
                self.connection.end(Ending.OVERFLOW)
                self._held.clear()
            return False
        is_event = item.fragment is None and item.key is None
        if is_event and item.position.events <= self.last:
            return False  # was in the replay: the process catches up with what this one has
        if item.version > ZERO and not self._is_wanted(item):
            return False
        self.owed.pop(item.key or "", None)
        if not self.owed:
            self._floor = None
        self.last = max(self.last, item.position.events)
        self.pending.append(item.part_at(self._at(item.position), self.bare))
        return True

    def _is_wanted(self, item: Outgoing) -> bool:
        """Whether HTML is not older than what the page has, or is owed."""
        debt = self.owed.get(item.key or "")
        if debt is not None:
            return item.version >= debt.version and item.begun >= debt.since
        claim = max(self.told, self.claims.get(item.topic, ZERO))
        # What began after the page had come shows all that the page can claim.
        return item.version > claim or (item.is_extra and item.begun > self._began)

    def _at(self, position: Position) -> Position:
        # The page's own claim stands, also where the hub lags behind it.
        current = position.fragments if self._floor is None else self._floor
        self.told = min(max(self.told, current), self.last)
        return Position(position.epoch, self.last, self.told, self.granted)

    def settle(self) -> None:
        """Owe nothing: positions say what is true of everybody."""
        self._floor = None

    def lag(self, floor: Id) -> None:
        """Let positions say that fragments are current up to ``floor`` alone."""
        self._floor = self.told = floor

    def replayed(self, item: Outgoing) -> bytes:
        """Return a message of what is sent before all else."""
        self.last = max(self.last, item.position.events)
        data = item.part_at(self._at(item.position), self.bare).data
        return data if isinstance(data, bytes) else self.connection.loader(data)

    def release(self, snapshot: Id) -> None:
        """Stop holding: go on with what came after the snapshot that the replay was made of."""
        self.is_holding = False
        self.last = max(self.last, snapshot)
        held, self._held = self._held, []
        for item in held:
            if item.fragment is not None or item.position.events > snapshot:
                self.add(item)

    @property
    def claim(self) -> Id:
        """Up to where the fragments of its page are current, by what it has said or was told."""
        return max(self.told, *self.claims.values(), ZERO)

    @property
    def is_settled(self) -> bool:
        """Whether it owes nothing and everything was sent, so that it may share bytes."""
        return not self.is_holding and not self.owed and not self.pending
