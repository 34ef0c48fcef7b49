"""Replays: what connections missed, and whether that is complete."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ..event import EventBodies
from ..position import MAX_AHEAD_MS, ZERO, Id, Position
from .messages import Keep, Message


@dataclass(frozen=True, slots=True)
class Start:
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


@dataclass(slots=True)
class Replay:
    """What connections missed, as one atomic snapshot."""

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


def judge(replay: Replay, topic: str, start: Start, past: Past) -> None:
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
    """Drop the events of a replay that is too large, so that its clients are sent a reset.

    Args:
        replay: Changed in place.
        max_events: Most events, over all topics.
        max_bytes: Largest sum of the events' sizes, in bytes.
    """
    events = replay.events
    if len(events) > max_events or sum(message.size for message in events) > max_bytes:
        replay.incomplete.update(message.topic for message in events)
        events.clear()
