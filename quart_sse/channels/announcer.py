"""Tell the broker who is present, and refresh the fragments that show it."""

import asyncio
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Protocol

from ..broker import Broker, Keep
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


class Declared(Protocol):
    """Declared channels; :class:`~quart_sse.channels.AppChannels` implements it."""

    def announces(self, topic: str) -> bool:
        """Whether the presence of a topic is announced to the broker."""

    def specs(self, topic: str) -> list[FragmentSpec]:
        """Return the declared options of all fragments of a topic."""

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
    """

    def __init__(
        self,
        broker: Broker,
        publisher: MessagePublisher,
        members: Members,
        channels: Declared,
        debounce: float,
    ) -> None:
        self._broker = broker
        self._publisher = publisher
        self._members = members
        self._channels = channels
        self._debounce = max(debounce, DEBOUNCE)
        self._changed = Debounce(self._seconds)
        #: Topic -> connection id -> whom the broker has recorded.
        self._recorded: dict[str, dict[str, str]] = {}
        self._stale: set[str] = set()  #: topics whose fragments must be refreshed

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
        self._stale.clear()

    def _shown(self, topic: str) -> list[FragmentSpec]:
        """Return the fragments of a topic that show its presence."""
        return [spec for spec in self._channels.specs(topic) if spec.presence]

    def _mark_stale(self, topics: Iterable[str]) -> None:
        self._stale.update(topic for topic in topics if self._shown(topic))

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
        for topic, ids in due.items():
            recorded = self._recorded.get(topic, {})
            for id in ids:
                who, before = self._members.who(topic, id), recorded.get(id)
                if who is not None and (is_renewal or who != before):
                    entering.setdefault(topic, {})[id] = who
                elif who is None and before is not None:
                    leaving.setdefault(topic, []).append(id)
                if who != before:
                    self._mark_stale([topic])
        if entering:
            await self._enter(entering)
        if leaving:
            await self._exit(leaving)

    async def _enter(self, entering: Mapping[str, Mapping[str, str]]) -> None:
        for topic, members in entering.items():
            recorded = self._recorded.setdefault(topic, {})
            recorded.update((id, UNSURE) for id, who in members.items() if recorded.get(id) != who)
        self._mark_stale(await self._broker.enter(entering))
        for topic, members in entering.items():
            self._recorded[topic].update(members)

    async def _exit(self, leaving: Mapping[str, Collection[str]]) -> None:
        for topic, ids in leaving.items():
            self._recorded[topic].update(dict.fromkeys(ids, UNSURE))
        await self._broker.exit(leaving)
        for topic, ids in leaving.items():
            recorded = self._recorded[topic]
            for id in ids:
                del recorded[id]
            if not recorded:
                del self._recorded[topic]

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
        names = [spec.name for spec in self._shown(topic)]
        self._stale.discard(topic)
        try:
            await self._publisher.refresh(topic, names, self._channels.keep(topic))
        except BrokerUnavailable:
            self._stale.add(topic)
            raise
