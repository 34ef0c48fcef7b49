"""Follow one topic at the broker: what was kept of it since a position, then what comes."""

import asyncio
from collections.abc import Callable, Collection
from typing import NamedTuple

from ..broker import Broker, Budget, Kind, Message, Start
from ..publisher import Place
from ..wire import ZERO, Id, Position

#: What is followed. Control messages and probes are of no topic.
_KINDS = {Kind.EVENT, Kind.REFRESH, Kind.PUSH}


class Loss(NamedTuple):
    """Stands before the next message where earlier ones are no longer kept."""

    after: Id


class Following:
    """The messages of one topic, in their order and each once; a broker's receiver.

    After a gap in the connection to the broker it goes on where it was, as a process of the app
    does.

    Args:
        broker: A broker that has not been started.
        place: What is followed.
        since: Returns where it begins, of where the broker stands.
    """

    def __init__(self, broker: Broker, place: Place, since: Callable[[Position], Position]) -> None:
        self._broker = broker
        self._place = place
        self._since = since
        self._seen: Position | None = None  #: all up to here has been taken
        self._last = ZERO  #: id of the newest message that was taken
        #: messages that wait for the replay of what was before them; None once it is there
        self._held: list[Message] | None = []
        self._taken: asyncio.Queue[Message | Loss] = asyncio.Queue()

    async def start(self) -> None:
        """Begin.

        Raises:
            BrokerUnavailable: If the broker is away.
        """
        await self._broker.start(self)
        await self._broker.subscribe([self._place.topic])
        # Not earlier: a broker may begin another epoch when the first process starts it.
        self._seen = self._since(await self._broker.position())
        await self.catch_up()
        held, self._held = self._held or [], None
        for message in held:
            self.receive(message)

    async def next(self) -> Message | Loss:
        """Wait for the next message."""
        return await self._taken.get()

    # -- what the broker calls -------------------------------------------------------------------

    def receive(self, message: Message) -> None:
        """Take one message."""
        if self._held is not None:
            self._held.append(message)
            return
        self._take([message])
        if self._seen is not None:
            self._seen = Position(self._seen.epoch, message.id, message.id)

    async def catch_up(self) -> str | None:
        """Take what was missed, and return the broker's epoch; do nothing before the start."""
        place, seen = self._place, self._seen
        if seen is None:
            return None
        starts = {place.topic: Start(seen, place.fragments, place.keep)}
        most = max(place.keep.events, 1)
        replay = await self._broker.resume(starts, Budget(most + 1, 1 << 40))
        if seen.epoch != replay.position.epoch:
            self._last, seen = ZERO, Position(replay.position.epoch, ZERO, ZERO)
        events: Collection[Message] = replay.events
        if place.topic in replay.incomplete:
            self._taken.put_nowait(Loss(seen.events))
            events = await self._broker.kept(place.topic, most)
        changes = [
            Message(Kind.REFRESH, id, place.topic, fragment)
            for (_, fragment), id in replay.changes.items()
            if fragment in place.fragments
        ]
        missed = [each for each in (*events, *changes) if each.id > seen.events]
        self._take(sorted(missed, key=lambda each: each.id))
        self._seen = replay.position
        return replay.position.epoch

    def _take(self, messages: Collection[Message]) -> None:
        for message in messages:
            is_ours = message.topic == self._place.topic and message.kind in _KINDS
            if is_ours and message.id > self._last:
                self._last = message.id
                self._taken.put_nowait(message)
