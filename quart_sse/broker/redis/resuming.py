"""A resume in parts: scripts that are short for Redis, in which nothing else runs meanwhile."""

from collections import deque
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

from ...errors import BrokerUnavailable
from ...wire import Id, Position
from ..replay import Budget, Collector, Past, Replay, Start, shortest_first
from . import commands
from .commands import IdRequest, Names
from .payload import MORE
from .script import ScriptCall

#: How often a resume begins again because the data set was replaced meanwhile.
AGAIN = 3


class Resuming:
    """The calls of one resume, one after the other, without any I/O.

    They are no pipeline, whose scripts Redis would run without anything between them.
    :class:`~quart_sse.broker.replay.Collector` says why nothing is lost or comes twice.

    Args:
        names: Names of keys.
        starts: Topic -> where the connection starts on it.
        budget: What the replay may hold.
        read: Reads a topic's history: topic, epoch and the script's answer for it.
    """

    def __init__(
        self,
        names: Names,
        starts: Mapping[str, Start],
        budget: Budget,
        read: Callable[[str, str, list[Any]], Past],
    ) -> None:
        self._names = names
        self._starts = starts
        self._budget = budget
        self._read = read
        self._begun = 0
        self._begin()

    def _begin(self) -> None:
        self._begun += 1
        self._left = deque(shortest_first(self._starts))
        self._collector: Collector | None = None

    def call(self, request: IdRequest) -> ScriptCall:
        """Return the next call.

        Args:
            request: Takes the snapshot's id.
        """
        collector, most = self._collector, commands.PORTION.events
        room = self._budget.events + 1 if collector is None else collector.room
        portion = commands.PORTION._replace(events=min(room, most))
        return commands.resume(self._names, request, islice(self._left, commands.TOPICS), portion)

    def take(self, epoch: str, id: Id, topics: list[Any]) -> Replay | None:
        """Take the answer of the last call.

        Args:
            epoch: The epoch of its snapshot.
            id: The snapshot's place in the order.
            topics: What it says of its topics, in their order; the last ones may be missing.

        Returns:
            The replay; None if there is another call to make.

        Raises:
            BrokerUnavailable: If the data set is replaced again and again.
        """
        collector = self._collector
        if collector is None:
            collector = self._collector = Collector(Position(epoch, id, id), self._budget)
        elif epoch != collector.snapshot.epoch:
            if self._begun == AGAIN:
                raise BrokerUnavailable("Redis loses its data again and again.")
            self._begin()
            return None
        for answer in topics:
            topic, start = self._left.popleft()
            collector.add(topic, start, self._read(topic, epoch, answer), id.ms)
            self._go_on(collector, topic, start, answer)
        return None if self._left else collector.finish()

    def _go_on(self, collector: Collector, topic: str, start: Start, answer: list[Any]) -> None:
        """Ask for the rest of a topic, if there is more that the replay could hold."""
        events, *_, state = answer
        if state != MORE or collector.is_lost(topic) or not collector.room:
            return
        last, position = Id.parse(events[-1][0].decode()), start.position
        if position is not None and last < collector.snapshot.events:
            self._left.appendleft((topic, start._replace(position=position._replace(events=last))))
