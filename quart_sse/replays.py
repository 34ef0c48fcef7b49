"""What was missed is asked once for all who ask the same at the same time."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from .broker import Replay, Start
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
        resume: Asks the broker.
    """

    def __init__(self, resume: Callable[[Mapping[str, Start]], Awaitable[Replay]]) -> None:
        self._resume = resume
        self._flights: dict[Key, _Flight] = {}

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
            flight.outcome = await self._resume(starts)
        except BrokerUnavailable as error:
            flight.outcome = error
        flight.ended = number
