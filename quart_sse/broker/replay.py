"""Replays: what connections missed, and whether that is complete."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from ..wire import MAX_AHEAD_MS, ZERO, EventBodies, Id, Position
from .changed import Changed
from .messages import Keep, Message


class Start(NamedTuple):
    """Where one topic of a connection starts."""

    position: Position | None  #: None: the client sent no usable position
    fragments: frozenset[str]  #: names of the fragments that it shows
    keep: Keep
    #: whether the client wants only what comes next, because it has no page of the app
    now: bool = False


class Past(NamedTuple):
    """A topic's history at a broker, for :func:`judge`."""

    #: events after the position, oldest first, and the id of the event before the first
    events: Sequence[Message]
    before: Id | None
    tip: Id | None  #: id of the last event; None if there was none, or it has expired
    changes: Mapping[str, Id]  #: fragment -> id of its last change
    unrecorded: Id = ZERO  #: changes up to here may be missing from ``changes``
    is_cut: bool = False  #: whether there are events that were not read, see :class:`Collector`
    #: fragment that is a list -> its changed items, if its last change was one of an item
    items: Mapping[str, Changed] = MappingProxyType({})


class Budget(NamedTuple):
    """What one replay may hold over all topics (rule 14 of ``docs/protocol.md``)."""

    events: int = 1000  #: most events
    bytes: int = 1 << 20  #: largest sum of the events' sizes, in bytes


#: The budget unless an app sets another one.
BUDGET = Budget()


@dataclass(slots=True)
class Replay:
    """What connections missed, as of one snapshot."""

    position: Position  #: the replay covers everything up to here
    events: list[Message] = field(default_factory=list)  #: over all topics, in the order of ids
    #: topics whose events are not all here: their clients are sent a reset
    incomplete: set[str] = field(default_factory=set)
    #: (topic, fragment) -> id of its last change, for every change on record of the topics
    changes: dict[tuple[str, str], Id] = field(default_factory=dict)
    #: topics without a usable position: all their fragments must be rendered
    unknown: set[str] = field(default_factory=set)
    #: topics whose position is older than the record of changes
    stale: set[str] = field(default_factory=set)
    #: event -> its bytes, encoded once for all connections that share this replay
    bodies: dict[Id, EventBodies] = field(default_factory=dict)
    #: (topic, fragment) -> the changed items of a list, if its last change was one of an item
    items: dict[tuple[str, str], Changed] = field(default_factory=dict)


def judge(replay: Replay, topic: str, start: Start, past: Past, at_ms: int | None = None) -> None:
    """Add one topic to a replay: its events, and whether they are complete.

    Every broker uses these rules, which are number 11 of ``docs/protocol.md``. Events are complete
    if the client has the event before the first one kept. If none after its position is kept, they
    are complete if it has the topic's last event. If no last event is known, they are complete if
    the position is younger than the history's lifetime.

    Args:
        replay: Added to; its position must be that of the snapshot.
        topic: The topic's name.
        start: Where the connection starts on the topic.
        past: The topic's history, from ``start`` on.
        at_ms: The broker's time when the history was read, in milliseconds; None if that was at the
            replay's position.
    """
    replay.changes.update({(topic, name): change for name, change in past.changes.items()})
    replay.items.update({(topic, name): items.copy() for name, items in past.items.items()})
    if start.now:
        return
    position, snapshot = start.position, replay.position
    if (
        position is None
        or position.epoch != snapshot.epoch
        or position.events.ms > snapshot.events.ms + MAX_AHEAD_MS
    ):
        replay.unknown.add(topic)
        if start.keep.events:
            replay.incomplete.add(topic)
        return

    oldest_ms = (snapshot.events.ms if at_ms is None else at_ms) - start.keep.ttl * 1000
    if position.fragments.ms < oldest_ms or position.fragments < past.unrecorded:
        replay.stale.add(topic)
    if not start.keep.events:
        return
    if past.is_cut:
        complete = False
    elif past.events:
        complete = past.before is not None and past.before <= position.events
    elif past.tip is not None:
        complete = past.tip <= position.events
    else:
        complete = position.events.ms >= oldest_ms
    if complete:
        replay.events.extend(past.events)
    else:
        replay.incomplete.add(topic)


def bound(replay: Replay, budget: Budget) -> None:
    """Drop the events of a replay that is too large, so that its clients are sent a reset.

    Args:
        replay: Changed in place.
        budget: What it may hold.
    """
    events = replay.events
    if len(events) > budget.events or sum(message.size for message in events) > budget.bytes:
        reset(replay)


def reset(replay: Replay) -> None:
    """Drop all events of a replay; their topics are incomplete."""
    replay.incomplete.update(message.topic for message in replay.events)
    replay.events.clear()


def shortest_first(starts: Mapping[str, Start]) -> list[tuple[str, Start]]:
    """Return topics in the order in which they are read: the shortest histories first.

    They are what newer events replace soonest, so they belong to the first snapshot.
    """
    return sorted(starts.items(), key=lambda item: item[1].keep.events or math.inf)


class Collector:
    """Collects a replay from snapshots of some topics each, taken one after the other.

    A broker that reads many topics at once lets nothing else run meanwhile. The replay's position
    is that of the first snapshot. A message after it reaches a connection that joins, or a process
    that catches up, live, and is held back until then (rules 10 and 18 of ``docs/protocol.md``). So
    a later snapshot, which may have such messages, leaves them to that. What is before the position
    and goes between two snapshots, because newer events take its place, is noticed: by the event
    before the first one kept, as any other loss. If newer events replace all of a short history,
    that counts as a loss as well; see :func:`shortest_first`.

    Once the budget is spent nothing more need be read, for the replay is a reset.

    Args:
        snapshot: The first snapshot's position.
        budget: What the replay may hold.
    """

    def __init__(self, snapshot: Position, budget: Budget) -> None:
        self._replay = Replay(snapshot)
        self._budget = budget
        self._bytes = 0
        self._is_cut = False

    @property
    def snapshot(self) -> Position:
        """The first snapshot's position."""
        return self._replay.position

    @property
    def room(self) -> int:
        """How many more events are worth reading: with that many the budget is spent."""
        events = len(self._replay.events)
        is_spent = self._is_cut or self._bytes > self._budget.bytes
        return 0 if is_spent else max(0, self._budget.events + 1 - events)

    def add(self, topic: str, start: Start, past: Past, at_ms: int) -> None:
        """Add a topic, or the next part of one.

        Args:
            topic: The topic's name.
            start: Where the connection starts on the topic, or where the last part ended.
            past: The topic's history, from there on.
            at_ms: The broker's time when it was read, in milliseconds: what has expired by then is
                not known any more.
        """
        events, position = self._replay.events, self.snapshot.events
        had = len(events)
        judge(self._replay, topic, start, past, at_ms)
        while len(events) > had and events[-1].id > position:
            events.pop()
        self._bytes += sum(message.size for message in events[had:])
        self._is_cut = self._is_cut or past.is_cut

    def is_lost(self, topic: str) -> bool:
        """Whether a topic's events are known to be incomplete, so that no more need be read."""
        return topic in self._replay.incomplete

    def finish(self) -> Replay:
        """Return the replay."""
        replay = self._replay
        if not self.room:
            reset(replay)
        replay.events = sorted(
            (event for event in replay.events if event.topic not in replay.incomplete),
            key=lambda event: event.id,
        )
        return replay
