"""What connections have missed, and whether a replay is complete."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ..event import EventBodies
from ..position import MAX_AHEAD_MS, ZERO, Id, Position
from .messages import Keep, Message


@dataclass(frozen=True, slots=True)
class Start:
    """Where one topic of a connection starts."""

    position: Position | None  #: None: the client knows nothing that we can use
    fragments: frozenset[str]  #: the fragments that it shows
    keep: Keep
    #: A client that never saw a page of ours: it begins with what comes next.
    now: bool = False


class Past(NamedTuple):
    """What a broker has kept of one topic, for :func:`judge`."""

    #: events after the position, oldest first, and the id of the event before the first
    events: Sequence[Message]
    before: Id | None
    tip: Id | None  #: the last event's id; None if it was never, or is no longer, known
    changes: Mapping[str, Id]  #: fragment -> its last change
    unrecorded: Id = ZERO  #: up to here changes may be missing among these


@dataclass(slots=True)
class Replay:
    """What connections have missed: one atomic snapshot."""

    position: Position  #: everything up to here is in this replay
    events: list[Message] = field(default_factory=list)  #: over all topics, in the order of ids
    #: topics whose events are not all here; their clients must be told
    incomplete: set[str] = field(default_factory=set)
    #: (topic, fragment) -> last change, where one is on record, of all fragments of the topics
    changes: dict[tuple[str, str], Id] = field(default_factory=dict)
    #: topics without a usable position: every fragment of theirs must be rendered
    unknown: set[str] = field(default_factory=set)
    #: topics whose position is older than the record of changes reaches
    stale: set[str] = field(default_factory=set)
    #: event -> its bytes, encoded once for all connections that share this
    bodies: dict[Id, EventBodies] = field(default_factory=dict)


def judge(replay: Replay, topic: str, start: Start, past: Past) -> None:
    """Add one topic to a replay: its events, and whether they are all that was missed.

    The rules are those of ``docs/protocol.md`` 11, the same for every broker: complete if the
    event before the first one kept was not missed; if none is kept, if the last event known was
    not; if none is known, if the position is younger than the history's lifetime.
    """
    replay.changes.update({(topic, name): change for name, change in past.changes.items()})
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

    oldest_ms = snapshot.events.ms - start.keep.ttl * 1000
    if position.fragments.ms < oldest_ms or position.fragments < past.unrecorded:
        replay.stale.add(topic)
    if not start.keep.events:
        return
    if past.events:
        complete = past.before is not None and past.before <= position.events
    elif past.tip is not None:
        complete = past.tip <= position.events
    else:
        complete = position.events.ms >= oldest_ms
    if complete:
        replay.events.extend(past.events)
    else:
        replay.incomplete.add(topic)


def bound(replay: Replay, max_events: int, max_bytes: int) -> None:
    """Give up the events of a replay that is too large: its client is told to start afresh."""
    events = replay.events
    if len(events) > max_events or sum(message.size for message in events) > max_bytes:
        replay.incomplete.update(message.topic for message in events)
        events.clear()
