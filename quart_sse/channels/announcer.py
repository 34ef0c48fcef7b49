"""Tell the broker who is present, and refresh the fragments that show it."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Set
from typing import Protocol

from ..broker import Broker, Keep, Moves
from ..errors import BrokerUnavailable
from ..hub import FragmentSpec
from ..publisher import MessagePublisher
from .debounce import Debounce
from .members import Members

#: Time in which a topic is recorded and refreshed at most once, in seconds, unless its fragments
#: have a ``debounce`` of their own. A render goes to all viewers, and who comes and goes decides
#: when.
DEBOUNCE = 1.0
#: Most topics, and most connections, in one call to the broker.
MOST_TOPICS, MOST_MEMBERS = 500, 2_000
#: Most refreshes at the same time.
MOST_REFRESHES = 16
#: Whom a connection counts as while it is unknown what the broker has recorded.
UNSURE = ""

#: Is called with a topic, whom those count as who have joined it, and those who have left it.
Report = Callable[[str, Collection[str], Collection[str]], None]


class Declared(Protocol):
    """Declared channels; :class:`~quart_sse.channels.AppChannels` implements it."""

    def announces(self, topic: str) -> bool:
        """Whether the presence of a topic is announced to the broker."""

    def specs(self, topic: str) -> list[FragmentSpec]:
        """Return the declared options of all fragments of a topic."""

    def built_in(self, topic: str) -> Iterable[str]:
        """Return the names of the built-in fragments that a topic has."""

    def keep(self, topic: str) -> Keep:
        """Return how much history a topic keeps."""


class Announcer:
    """Keeps the broker's record of this process's connections as they are.

    It notes what has changed, and when the topic is due it compares what is here with the broker's
    record. So the order of changes does not matter, and a burst of them is one call.

    One call runs at a time, so the broker has the last change last.

    Args:
        broker: Keeps the presence of all processes.
        publisher: Publishes the refreshes.
        members: Who is here.
        channels: The app's channels.
        debounce: The app's debounce time, in seconds.
        report: Is called with a topic, whom those counted as who have joined it, and whom those
            who have left it.
    """

    def __init__(
        self,
        broker: Broker,
        publisher: MessagePublisher,
        members: Members,
        channels: Declared,
        debounce: float,
        report: Report,
    ) -> None:
        self._broker = broker
        self._publisher = publisher
        self._members = members
        self._channels = channels
        self._report = report
        self._debounce = max(debounce, DEBOUNCE)
        self._changed = Debounce(self._seconds)
        #: Topic -> connection id -> whom the broker has recorded.
        self._recorded: dict[str, dict[str, str]] = {}
        self._showing: set[str] = set()  #: recorded topics of which a page shows built-in fragments
        self._stale: dict[str, set[str]] = {}  #: topic -> fragments that must be refreshed

    @property
    def next(self) -> float:
        """Loop time at which there is something to tell; infinity if there is nothing."""
        return 0.0 if self._stale else self._changed.next

    def note(self, topic: str, id: str, now: float) -> None:
        """Note that a connection may have begun or ceased to listen to an announced topic.

        It has not if a stream has taken the place of another one.
        """
        if self._members.who(topic, id) != self._recorded.get(topic, {}).get(id):
            self._changed.add(topic, id, now)

    def recorded(self, topic: str) -> Collection[str]:
        """Return the ids of this process that the broker may have on record for a topic."""
        return self._recorded.get(topic, {})

    def clear(self) -> None:
        """Forget all, as when the process stops; the broker's records expire by themselves."""
        self._changed.clear()
        self._recorded.clear()
        self._showing.clear()
        self._stale.clear()

    def _shown(self, topic: str) -> list[FragmentSpec]:
        """Return the app's fragments of a topic that show its presence."""
        return [spec for spec in self._channels.specs(topic) if spec.presence]

    def _mark_stale(self, topics: Iterable[str]) -> None:
        for topic in topics:
            names = {spec.name for spec in self._shown(topic)}
            if topic in self._showing:
                names.update(self._channels.built_in(topic))
            if names:
                self._stale.setdefault(topic, set()).update(names)

    def _seconds(self, topic: str) -> float:
        own = [spec.debounce for spec in self._shown(topic)]
        return min(
            (self._debounce if each is None else each for each in own), default=self._debounce
        )

    # -- telling -----------------------------------------------------------------------------------

    async def tell(self, now: float) -> None:
        """Tell the broker what is due, and refresh what shows it.

        Args:
            now: Current loop time, in seconds.

        Raises:
            BrokerUnavailable: If the broker cannot be reached; the next call repeats it.
        """
        while due := self._changed.take(now, MOST_TOPICS):
            # Also if all is as before: a render may have shown what was in between.
            self._mark_stale(due)
            try:
                await self._tell(due)
            except BaseException:
                for topic, ids in due.items():
                    for id in ids:
                        self._changed.add(topic, id, now)
                raise
        await self._refresh()

    async def renew(self) -> None:
        """Record all connections again; the broker expires those that are not renewed.

        Raises:
            BrokerUnavailable: If the broker cannot be reached.
        """
        for some in self._batches():
            await self._tell(some, is_renewal=True)

    def _batches(self) -> Iterator[dict[str, list[str]]]:
        """Yield topics with their ids on record, in parts of a bounded size."""
        batch: dict[str, list[str]] = {}
        size = 0
        for topic in list(self._recorded):
            ids = list(self._recorded.get(topic, ()))
            for begin in range(0, len(ids), MOST_MEMBERS):
                some = ids[begin : begin + MOST_MEMBERS]
                if batch and (size + len(some) > MOST_MEMBERS or topic in batch):
                    yield batch
                    batch, size = {}, 0
                batch[topic] = some
                size += len(some)
        if batch:
            yield batch

    async def _tell(self, due: Mapping[str, Iterable[str]], *, is_renewal: bool = False) -> None:
        """Make the broker's record of some connections what they are now."""
        entering: dict[str, dict[str, str]] = {}
        leaving: dict[str, list[str]] = {}
        changed: set[str] = set()
        for topic, ids in due.items():
            recorded = self._recorded.get(topic, {})
            for id in ids:
                who, before = self._members.who(topic, id), recorded.get(id)
                if who is not None and (is_renewal or who != before):
                    entering.setdefault(topic, {})[id] = who
                elif who is None and before is not None:
                    leaving.setdefault(topic, []).append(id)
                if who != before:
                    changed.add(topic)
        self._mark_stale(changed)
        if entering:
            await self._enter(entering, changed)
        if leaving:
            await self._exit(leaving, changed)

    async def _enter(self, entering: Mapping[str, Mapping[str, str]], changed: Set[str]) -> None:
        renewed: set[tuple[str, str]] = set()
        for topic, members in entering.items():
            recorded = self._recorded.setdefault(topic, {})
            renewed.update((topic, id) for id, who in members.items() if recorded.get(id) == who)
            recorded.update((id, UNSURE) for id, who in members.items() if recorded.get(id) != who)
        moves = await self._broker.enter(entering)
        for topic, members in entering.items():
            self._recorded[topic].update(members)
        self._follow(moves, entering, changed)
        for topic, ids in moves.joined.items():
            # A renewal is no join: the broker has lost its record.
            new = [entering[topic][id] for id in ids if (topic, id) not in renewed]
            self._report(topic, new, ())

    async def _exit(self, leaving: Mapping[str, Collection[str]], changed: Set[str]) -> None:
        for topic, ids in leaving.items():
            self._recorded[topic].update(dict.fromkeys(ids, UNSURE))
        moves = await self._broker.exit(leaving)
        self._follow(moves, leaving, changed)
        for topic, ids in leaving.items():
            recorded = self._recorded[topic]
            for id in ids:
                del recorded[id]
            if not recorded:
                del self._recorded[topic]
                self._showing.discard(topic)

    def _follow(self, moves: Moves, topics: Iterable[str], changed: Set[str]) -> None:
        """Follow what a call has changed: who shows it, who has expired, and who has left."""
        self._showing.difference_update(topics)
        self._showing.update(moves.showing)
        self._mark_stale(changed & self._showing)
        self._mark_stale(moves.expired)
        for topic, left in moves.left.items():
            self._report(topic, (), left)

    async def _refresh(self) -> None:
        """Refresh the fragments of the topics that have changed."""
        stale = list(self._stale)
        for begin in range(0, len(stale), MOST_REFRESHES):
            some = stale[begin : begin + MOST_REFRESHES]
            outcomes = await asyncio.gather(*map(self._refresh_one, some), return_exceptions=True)
            for outcome in outcomes:
                if outcome is not None:
                    raise outcome

    async def _refresh_one(self, topic: str) -> None:
        names = self._stale.pop(topic)
        try:
            await self._publisher.refresh(topic, sorted(names), self._channels.keep(topic))
        except BrokerUnavailable:
            self._stale.setdefault(topic, set()).update(names)
            raise
