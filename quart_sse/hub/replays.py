"""Replays: concurrent, identical requests share one broker call."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..broker import Broker, Budget, Kind, Message, Replay, Start, bound
from ..errors import BrokerUnavailable
from ..wire import identity_of

Key = frozenset[tuple[str, Start]]


@dataclass(slots=True)
class _Flight:
    """The broker calls for the same starts, one after the other."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    askers: int = 0  #: number of requests that wait
    begun: int = 0  #: number of the last call
    ended: int = 0  #: number of the last call with an outcome
    outcome: Replay | BrokerUnavailable | None = None


class Replays:
    """Shares replays among connections that resume from the same positions.

    When a process stops, its clients reconnect together, most of them from the same position. A
    request gets the outcome only of a call that began after it (rule 14 of ``docs/protocol.md``):
    an earlier snapshot may miss messages that the connection has not received live, either.

    Args:
        broker: The app's broker.
        max_events: Largest number of events in a replay; a longer replay becomes a reset.
        max_bytes: Largest size of these events, in bytes.
    """

    def __init__(self, broker: Broker, max_events: int, max_bytes: int) -> None:
        self._broker = broker
        self._budget = Budget(max_events, max_bytes)
        self._flights: dict[Key, _Flight] = {}

    def clear(self) -> None:
        """Forget the calls of a loop that has ended."""
        self._flights.clear()

    async def resume(self, starts: Mapping[str, Start]) -> Replay:
        """Return the bounded replay of a broker call for these starts alone.

        Args:
            starts: Topic -> the position at which it starts.

        Raises:
            BrokerUnavailable: If the broker cannot be asked.
        """
        replay = await self._broker.resume(starts, self._budget)
        bound(replay, self._budget)
        return replay

    async def ask(self, starts: Mapping[str, Start]) -> Replay:
        """Return a replay that concurrent requests for the same starts may share.

        What a user's audience missed is asked apart, so that users share the rest. Callers must
        not change the replay, and must have subscribed before.

        Args:
            starts: Topic -> the position at which it starts.

        Raises:
            BrokerUnavailable: If the broker cannot be asked.
        """
        own = {
            topic: start
            for topic, start in starts.items()
            if identity_of(topic) is not None and not start.now
        }
        if not own:
            return await self._ask(starts)
        rest = {topic: start for topic, start in starts.items() if topic not in own}
        replay = merged(*await asyncio.gather(self._ask(rest), self._ask(own)))
        bound(replay, self._budget)
        return replay

    async def _ask(self, starts: Mapping[str, Start]) -> Replay:
        key = frozenset(starts.items())
        flight = self._flights.setdefault(key, _Flight())
        before = flight.begun
        flight.askers += 1
        try:
            async with flight.lock:
                if flight.ended <= before:
                    await self._call(flight, starts)
                outcome = flight.outcome
        finally:
            flight.askers -= 1
            if not flight.askers:
                self._flights.pop(key, None)
        if isinstance(outcome, Replay):
            return outcome
        raise BrokerUnavailable(str(outcome)) from outcome

    async def _call(self, flight: _Flight, starts: Mapping[str, Start]) -> None:
        flight.begun += 1
        number = flight.begun
        try:
            flight.outcome = await self.resume(starts)
        except BrokerUnavailable as error:
            flight.outcome = error
        flight.ended = number


def merged(first: Replay, second: Replay) -> Replay:
    """Return two replays of other topics as one of the earlier snapshot.

    What is between the two snapshots is left to the messages that a joining connection holds.

    Raises:
        BrokerUnavailable: If the broker's data set was replaced between them.
    """
    if first.position.epoch != second.position.epoch:
        raise BrokerUnavailable("The broker's data set was replaced. The client reconnects.")
    position = min(first.position, second.position)
    events = [*first.events, *second.events]
    return Replay(
        position,
        sorted((each for each in events if each.id <= position.events), key=lambda event: event.id),
        first.incomplete | second.incomplete,
        {**first.changes, **second.changes},
        first.unknown | second.unknown,
        first.stale | second.stale,
        first.bodies,
        {**first.items, **second.items},
    )


def missed(replay: Replay) -> list[Message]:
    """Return the messages that a process missed, in the order of ids.

    Changes on record become refreshes, also those that the process has seen already. One after the
    replay's position comes live, in its place in the order, as all that is after it.
    """
    changes = [
        Message(Kind.REFRESH, change, topic, name)
        for (topic, name), change in replay.changes.items()
        if change <= replay.position.events and (topic, name) not in replay.items
    ]
    changes += [
        Message(Kind.REFRESH, id, topic, name, item=item)
        for (topic, name), changed in replay.items.items()
        for item, id in changed.items.items()
        if id <= replay.position.events
    ]
    return sorted([*replay.events, *changes], key=lambda message: message.id)


def unrecorded(replay: Replay, starts: Mapping[str, Start]) -> list[Message]:
    """Return refreshes for changes that are no longer on record and may have been missed.

    They get the id of the replay's snapshot, because a render from now on shows them in any case.
    Of a list the newest id of those items is known that are on record no more, or of all of it.
    """
    known = {topic: start.position for topic, start in starts.items() if start.position is not None}
    snapshot = replay.position.events
    lists = [
        Message(Kind.REFRESH, min(changed.base, snapshot), topic, name)
        for (topic, name), changed in replay.items.items()
        if topic in known and changed.base > known[topic].fragments
    ]
    return lists + [
        Message(Kind.REFRESH, snapshot, topic, name)
        for topic, start in starts.items()
        if topic in replay.stale
        for name in sorted(start.fragments)
        if (topic, name) not in replay.changes or (topic, name) in replay.items
    ]
