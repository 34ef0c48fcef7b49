"""What was missed is asked once for all who ask the same at the same time."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from .broker import Broker, Replay, Start, bound
from .errors import BrokerUnavailable

Key = frozenset[tuple[str, Start]]


@dataclass(slots=True)
class _Flight:
    """Calls about the same starts, one after the other."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    askers: int = 0
    begun: int = 0  #: number of the last call
    ended: int = 0  #: number of the last call that has an outcome
    outcome: Replay | BrokerUnavailable | None = None


class Replays:
    """Shares answers of the broker among connections that come back from the same position.

    When a process ends, its browsers come back to another one together, most of them from the
    same position. Whoever asks is given only an answer whose call began afterwards: an earlier
    one may be older than what the connection has begun to receive.

    Args:
        broker: What is asked.
        max_events: Events that a replay may have; a longer one is given up for a reset.
        max_bytes: Bytes that these may have.
    """

    def __init__(self, broker: Broker, max_events: int, max_bytes: int) -> None:
        self._broker = broker
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._flights: dict[Key, _Flight] = {}

    async def resume(self, starts: Mapping[str, Start]) -> Replay:
        """Ask the broker what was missed since each topic's start.

        Raises:
            BrokerUnavailable: If the broker cannot be asked.
        """
        replay = await self._broker.resume(starts)
        bound(replay, self._max_events, self._max_bytes)
        return replay

    async def ask(self, starts: Mapping[str, Start]) -> Replay:
        """Return what was missed; the answer may be shared, so nobody may change it.

        Raises:
            BrokerUnavailable: If the broker cannot be asked.
        """
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
                del self._flights[key]
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
