"""Groups of connections that share bytes, and the group of a connection that still joins."""

import asyncio
from collections.abc import Container, Mapping, Set
from typing import NamedTuple

from ..wire import ZERO, Ending, Id, Position, item_key, items_of, topic_of
from .batch import Batch, Part
from .connection import Connection, Subscription
from .outgoing import Outgoing
from .rendered import next_number
from .traffic import Traffic, messages

#: Most messages held for a connection while its replay is on the way.
MAX_HELD = 2000
#: Their largest size, in bytes. Streams of one topic hold the same messages, not copies.
MAX_HELD_BYTES = 8 << 20

#: A batch, and the connections that it is for.
Feed = tuple[Batch, list[Connection]]


class Group:
    """Connections with the same subscription, which share each batch.

    Args:
        subscription: Topic -> the fragments of the topic that the pages show.
        bare: Whether event names go out without their topic.
        granted: Bitmask of the granted topics of the URL; None if all were.
        root: Root path of the pages.
        heartbeat: Interval in which idle streams send their position, in seconds; 0 for never.
    """

    def __init__(
        self,
        subscription: Subscription,
        bare: bool,
        granted: int | None,
        root: str = "",
        heartbeat: float = 0.0,
    ) -> None:
        self.root = root
        self.heartbeat = heartbeat
        self.subscription = subscription
        self.bare = bare
        self.granted = granted
        self.members: set[Connection] = set()
        self.pending: list[Part] = []
        #: what is pending for some members only: its place in ``pending``, the part, the members
        self.aimed: list[tuple[int, Part, Set[Connection]]] = []

    def shows(self, topic: str, fragment: str, parents: Mapping[str, set[str]]) -> bool:
        """Whether the pages show a fragment, by itself or inside one of its parents.

        Args:
            topic: The fragment's topic.
            fragment: The fragment's name.
            parents: Fragment -> the fragments of the topic that contain it.
        """
        names = self.subscription.get(topic, frozenset())
        return fragment in names or not names.isdisjoint(parents.get(fragment, ()))

    def takes_items(self, topic: str, fragment: str | None) -> bool:
        """Whether the pages take single items of a list."""
        names = self.subscription.get(topic, frozenset())
        return fragment is not None and items_of(fragment) in names

    def _has_items(self, outgoing: Outgoing) -> bool:
        """Whether a message is of a list of which the pages take single items."""
        return bool(outgoing.within) and self.takes_items(outgoing.topic, outgoing.fragment)

    def _part(self, outgoing: Outgoing) -> Part:
        return outgoing.part(self.bare, self.granted, self._has_items(outgoing))

    def add(self, outgoing: Outgoing) -> bool:
        """Put a message into the next batch.

        Returns:
            Whether the group has to be flushed.
        """
        self.pending.append(self._part(outgoing))
        return True

    def aim(self, outgoing: Outgoing, members: Set[Connection]) -> bool:
        """Put a message for some members into the next batch, at its place in the order.

        Returns:
            Whether the group has to be flushed.
        """
        if len(members) == len(self.members):
            return self.add(outgoing)
        if not members:
            return False
        self.aimed.append((len(self.pending), outgoing.part(self.bare, self.granted), members))
        return True

    @property
    def is_pending(self) -> bool:
        """Whether messages wait for the next batch."""
        return bool(self.pending or self.aimed)

    def take(self, traffic: Traffic) -> Batch:
        """Return the messages that are pending for all members as a batch, and clear them.

        Args:
            traffic: Counts the batch, for each member.
        """
        batch = _counted(self.pending, len(self.members), traffic)
        self.pending = []
        return batch

    def take_feeds(self, traffic: Traffic) -> list[Feed]:
        """Return the pending batches with the members that each is for, and clear them.

        Args:
            traffic: Counts the batches.
        """
        if not self.aimed:
            return [(self.take(traffic), list(self.members))]
        own: dict[Connection, list[int]] = {}
        for number, (_, _, members) in enumerate(self.aimed):
            for connection in members:
                own.setdefault(connection, []).append(number)
        sharing: dict[tuple[int, ...], list[Connection]] = {}
        for each in self.members:
            sharing.setdefault(tuple(own.get(each, ())), []).append(each)
        feeds = [
            (_counted(self._merged(numbers), len(members), traffic), members)
            for numbers, members in sharing.items()
        ]
        self.pending, self.aimed = [], []
        return [feed for feed in feeds if feed[0].parts]

    def parts_for(self, connection: Connection) -> list[Part]:
        """Return what is pending for one member, in order."""
        return self._merged(
            tuple(number for number, each in enumerate(self.aimed) if connection in each[2])
        )

    def _merged(self, numbers: tuple[int, ...]) -> list[Part]:
        """Return the parts for all members, and those of some aimed messages in their places."""
        parts: list[Part] = []
        begin = 0
        for number in numbers:
            place, part, _ = self.aimed[number]
            parts += [*self.pending[begin:place], part]
            begin = place
        return parts + self.pending[begin:]


def _counted(parts: list[Part], members: int, traffic: Traffic) -> Batch:
    """Return messages as a batch, which is counted for its members."""
    batch = Batch.of(parts)
    is_conflated = len(batch.parts) < len(parts)
    traffic.add(batch, members, messages(parts) if is_conflated else 0)
    return batch


class Missing(NamedTuple):
    """The oldest HTML that a page accepts of a fragment that it lacks."""

    version: Id  #: least version
    since: int = 0  #: least number of the render's begin; see ``next_number``


class Joining(Group):
    """The group of one connection that joins, until its page has caught up.

    While the replay is on the way it holds live messages (rule 10 of ``docs/protocol.md``). Then
    its messages carry positions of their own, whose fragments' half stays where the page was
    until every missing fragment is sent (rule 4). A page may know newer HTML than this process;
    older HTML is then not sent (rule 29).

    Args:
        connection: The connection, the group's only member.
        granted: Bitmask of the granted topics of the URL; None if all were.
    """

    def __init__(self, connection: Connection, granted: int | None) -> None:
        super().__init__(
            connection.subscription,
            connection.bare,
            granted,
            connection.root,
            connection.heartbeat,
        )
        self.connection = connection
        self.members: set[Connection] = {connection}
        self.is_holding: bool = True
        self.has_gap = False  #: messages were lost that the replay may lack
        #: key of a fragment, or of an item of a list -> the HTML that will do
        self.missing: dict[str, Missing] = {}
        self.wholes: dict[str, Id] = {}  #: list -> version of the newest whole that was sent
        #: topic -> the page's fragments were current up to here when it connected
        self.page_fragments: dict[str, Id] = {}
        self._held: list[Outgoing] = []
        self._held_bytes = 0
        self._floor: Id | None = None  #: bound of the positions' fragments while some are missing
        self.last: Id = ZERO  #: events are sent up to here
        self.current: Id = ZERO  #: fragments are current up to here, by the positions sent
        self._began = next_number()  #: when the connection came, compared with renders
        self._released: asyncio.Future[None] | None = None

    @classmethod
    def of_live(
        cls, connection: Connection, granted: int | None, parts: list[Part], position: Position
    ) -> "Joining":
        """Return the group of a connection that is live already.

        Args:
            connection: The connection, with the topics that it has from now on.
            granted: Bitmask of the granted topics of the URL; None if all were.
            parts: What is pending for the connection.
            position: The process's position.
        """
        joining = cls(connection, granted)
        joining.is_holding = False
        joining.pending = parts
        joining.last, joining.current = position.events, position.fragments
        return joining

    async def released(self) -> None:
        """Wait until the connection has its replay, or has left."""
        if self.is_holding:
            if self._released is None:
                self._released = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._released)

    def stop_holding(self) -> None:
        """Let those go on who wait for the replay; also if the connection leaves without it."""
        self.is_holding = False
        if self._released is not None and not self._released.done():
            self._released.set_result(None)

    def miss_only(self, topics: Container[str]) -> None:
        """Stop waiting for fragments of topics that the connection no longer listens to."""
        self.missing = {key: each for key, each in self.missing.items() if topic_of(key) in topics}
        if not self.missing and not self.is_holding:
            self.mark_current()

    def add(self, outgoing: Outgoing) -> bool:
        """Hold a message, or put it into the next batch with this connection's position.

        Too many held messages end the stream with ``Ending.OVERFLOW``.

        Returns:
            Whether the group has to be flushed.
        """
        if self.is_holding:
            self._held.append(outgoing)
            self._held_bytes += outgoing.size
            if len(self._held) > MAX_HELD or self._held_bytes > MAX_HELD_BYTES:
                self.connection.end(Ending.OVERFLOW)
                self._held.clear()
            return False
        if outgoing.is_direct:
            self.pending.append(outgoing.part(self.bare, self.granted))
            return True
        is_event = outgoing.fragment is None and outgoing.key is None
        if is_event and outgoing.position.events <= self.last:
            return False  # the replay had it: the process is still catching up to it
        if outgoing.version > ZERO and not self._is_wanted(outgoing):
            return False
        self.missing.pop(outgoing.key or "", None)
        has_items = self._has_items(outgoing)
        if has_items and outgoing.key == outgoing.within:
            self._note_whole(outgoing)
        if not self.missing:
            self._floor = None
        self.last = max(self.last, outgoing.position.events)
        self.pending.append(outgoing.part_at(self._at(outgoing.position), self.bare, has_items))
        return True

    def _note_whole(self, outgoing: Outgoing) -> None:
        """Note that a whole list is sent, and so all items whose version it has."""
        self.wholes[outgoing.within] = max(outgoing.version, self.wholes.get(outgoing.within, ZERO))
        prefix = item_key(outgoing.within, "").partition("?")[0]
        for key in [key for key in self.missing if key.partition("?")[0].startswith(prefix)]:
            item = key.partition("?")[0].removeprefix(prefix)
            has = max(outgoing.version, (outgoing.newer or {}).get(item, ZERO))
            if key == item_key(outgoing.within, item) and self.missing[key].version <= has:
                del self.missing[key]

    def aim(self, outgoing: Outgoing, members: Set[Connection]) -> bool:
        """Add a message, if it is for this connection."""
        return self.add(outgoing) if self.connection in members else False

    def _is_wanted(self, outgoing: Outgoing) -> bool:
        """Whether HTML is as new as the page needs it, and newer than what the page may have."""
        missing = self.missing.get(outgoing.key or "")
        if missing is not None:
            return outgoing.version >= missing.version and outgoing.begun >= missing.since
        is_targeted = outgoing.is_targeted or outgoing.within in self.missing
        if is_targeted and self._has_items(outgoing):
            # What only others lack may be older than what this page has been sent.
            return False
        known = max(
            self.current,
            self.page_fragments.get(outgoing.topic, ZERO),
            self.wholes.get(outgoing.within, ZERO),
        )
        # A render that began after the connection came shows everything that its page knows.
        return outgoing.version > known or (outgoing.is_extra and outgoing.begun > self._began)

    def _at(self, position: Position) -> Position:
        # Positions never go back, even if the page was ahead of this process.
        current = position.fragments if self._floor is None else self._floor
        self.current = min(max(self.current, current), self.last)
        return Position(position.epoch, self.last, self.current, self.granted)

    def mark_current(self) -> None:
        """Let positions advance: the page lacks no fragment."""
        self._floor = None

    def lag(self, floor: Id) -> None:
        """Hold positions' fragments at ``floor`` until no fragment is missing."""
        self._floor = self.current = floor

    def replayed(self, outgoing: Outgoing) -> bytes:
        """Return a message of the replay, encoded with this connection's position."""
        self.last = max(self.last, outgoing.position.events)
        data = outgoing.part_at(self._at(outgoing.position), self.bare).data
        return data if isinstance(data, bytes) else self.connection.loader(data)

    def release(self, snapshot: Id) -> None:
        """Go live with the held messages that came after the replay's snapshot.

        Args:
            snapshot: The broker's newest id when it made the replay.
        """
        self.stop_holding()
        self.last = max(self.last, snapshot)
        held, self._held = self._held, []
        for outgoing in held:
            is_later = outgoing.position.events > snapshot
            if outgoing.is_direct or outgoing.fragment is not None or is_later:
                self.add(outgoing)

    @property
    def page_current(self) -> Id:
        """Id up to which the page's fragments are current, by its own or a sent position."""
        return max(self.current, *self.page_fragments.values(), *self.wholes.values(), ZERO)

    @property
    def is_caught_up(self) -> bool:
        """Whether no fragment is missing and no message pending, so that it may share bytes."""
        return not self.is_holding and not self.missing and not self.pending
