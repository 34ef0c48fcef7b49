"""Replays: what a client has missed, how that is judged, and when it is too much."""

from collections.abc import Mapping

import pytest

from quart_sse.broker import Budget, Keep, Kind, Message, Past, Replay, Start, bound, judge
from quart_sse.broker.replay import Collector
from quart_sse.wire.position import MAX_AHEAD_MS, ZERO, Id, Position

TOPIC, OTHER = "news?room=1", "news?room=2"
KEEP = Keep(events=10, ttl=60.0)
NONE = Keep(events=0, ttl=60.0)
NOW = Id(1_000_000, 5)
AGO_50, AGO_70 = Id(950_000, 0), Id(930_000, 0)  #: seconds, where history is kept for 60


def event(text: str, topic: str = TOPIC, id: Id = ZERO) -> Message:
    """Return an event."""
    return Message(Kind.EVENT, id, topic, "said", text)


def judged(start: Start, past: Past) -> Replay:
    """Judge one topic, whose snapshot is taken NOW."""
    replay = Replay(Position("e", NOW, NOW))
    judge(replay, TOPIC, start, past)
    return replay


def at(events: Id, fragments: Id | None = None, epoch: str = "e") -> Start:
    """Return a start at a position."""
    return Start(Position(epoch, events, fragments or events), frozenset(), KEEP)


E1, E2 = event("1", id=Id(960_000, 0)), event("2", id=Id(970_000, 0))


@pytest.mark.parametrize(
    ("start", "past", "is_complete"),
    [
        pytest.param(at(AGO_50), Past([E1, E2], AGO_50, E2.id, {}), True, id="predecessor-is-had"),
        pytest.param(at(AGO_50), Past([E2], AGO_70, E2.id, {}), True, id="predecessor-is-older"),
        pytest.param(at(AGO_50), Past([E2], E1.id, E2.id, {}), False, id="predecessor-was-missed"),
        pytest.param(at(AGO_50), Past([E2], None, E2.id, {}), False, id="predecessor-is-unknown"),
        pytest.param(at(AGO_70), Past([E1], AGO_70, E1.id, {}), True, id="old-but-all-is-kept"),
        pytest.param(at(E2.id), Past([], E1.id, E2.id, {}), True, id="tip-is-had"),
        pytest.param(at(E1.id), Past([], None, E2.id, {}), False, id="tip-was-missed-stream-gone"),
        pytest.param(at(AGO_70), Past([], None, Id(1, 0), {}), True, id="old-but-tip-is-older"),
        pytest.param(at(AGO_50), Past([], None, None, {}), True, id="no-tip-and-young"),
        pytest.param(at(AGO_70), Past([], None, None, {}), False, id="no-tip-and-old"),
    ],
)
def test_events_are_complete_if_none_can_be_missing(
    start: Start, past: Past, is_complete: bool
) -> None:
    """What decides is the first event's predecessor, else the tip, else the position's age."""
    replay = judged(start, past)

    assert replay.events == (list(past.events) if is_complete else [])
    assert replay.incomplete == (set() if is_complete else {TOPIC})
    assert not replay.unknown


@pytest.mark.parametrize(
    ("position", "is_known"),
    [
        (Position("e", NOW, NOW), True),
        (Position("e", Id(NOW.ms + MAX_AHEAD_MS, 9), NOW), True),
        (Position("e", Id(NOW.ms + MAX_AHEAD_MS + 1, 0), NOW), False),
        (Position("other", NOW, NOW), False),
        (None, False),
    ],
)
@pytest.mark.parametrize("keep", [KEEP, NONE])
def test_position_is_known_only_in_its_epoch_and_not_from_the_future(
    position: Position | None, keep: Keep, is_known: bool
) -> None:
    """Nothing is judged by any other; without history there is no loss to be told of."""
    past = Past([E1], None, E1.id, {"list": E1.id})
    replay = judged(Start(position, frozenset({"list"}), keep), past)

    assert replay.unknown == (set() if is_known else {TOPIC})
    assert replay.incomplete == ({TOPIC} if keep.events else set())
    assert replay.changes == {(TOPIC, "list"): E1.id}


@pytest.mark.parametrize(("fragments", "is_stale"), [(AGO_50, False), (AGO_70, True), (ZERO, True)])
@pytest.mark.parametrize("keep", [KEEP, NONE])
def test_record_of_changes_reaches_as_far_as_history(
    fragments: Id, is_stale: bool, keep: Keep
) -> None:
    """Fragments that were current before that are stale; that is no loss of events."""
    start = Start(Position("e", NOW, fragments), frozenset(), keep)
    replay = judged(start, Past([], None, None, {}))

    assert replay.stale == ({TOPIC} if is_stale else set())
    assert not replay.incomplete


def test_start_at_now_is_judged_by_nothing() -> None:
    """Neither events nor gaps concern who never was here; changes are noted all the same."""
    start = Start(None, frozenset({"list"}), KEEP, now=True)
    replay = judged(start, Past([E1], None, E1.id, {"list": E1.id}))

    assert replay == Replay(replay.position, changes={(TOPIC, "list"): E1.id})


def test_start_without_history_is_sent_no_events() -> None:
    """Also when some are still kept, from a time when the topic had a history."""
    start = Start(Position("e", AGO_50, AGO_50), frozenset(), NONE)
    replay = judged(start, Past([E1], None, E1.id, {}))

    assert replay == Replay(replay.position)


def big_replay(sizes: Mapping[str, list[int]]) -> Replay:
    """Return a replay of events with so many bytes of data: topic -> one number for each."""
    events = [event("x" * size, topic) for topic, all in sizes.items() for size in all]
    return Replay(Position("e", NOW, NOW), events, incomplete={"lost"})


def test_replay_within_its_bounds_is_left_alone() -> None:
    """As many events, and as many bytes, as are allowed are sent."""
    replay = big_replay({TOPIC: [10, 10]})
    size = sum(message.size for message in replay.events)
    bound(replay, Budget(2, size))

    assert replay == big_replay({TOPIC: [10, 10]})


@pytest.mark.parametrize(("events", "spare"), [(1, 0), (2, -1)])
def test_replay_beyond_its_bounds_is_a_gap_of_its_topics(events: int, spare: int) -> None:
    """With too many events or bytes, none is sent, and their topics get a gap."""
    replay = big_replay({TOPIC: [10], OTHER: [10]})
    bound(replay, Budget(events, sum(message.size for message in replay.events) + spare))

    assert replay == Replay(replay.position, incomplete={TOPIC, OTHER, "lost"})


# -- a replay in parts -----------------------------------------------------------------------------


def test_part_is_judged_by_the_time_at_which_it_was_read() -> None:
    """What was kept at the replay's position may have expired before a later part was read."""
    minute = int(KEEP.ttl * 1000)
    snapshot = Position("epoch", Id(10 * minute, 0), Id(10 * minute, 0))
    since = Id(9 * minute, 0)
    start = Start(Position("epoch", since, since), frozenset({"list"}), KEEP)
    collector = Collector(snapshot, Budget())
    collector.add(TOPIC, start, Past((), None, None, {}), snapshot.events.ms)
    collector.add(OTHER, start, Past((), None, None, {}), snapshot.events.ms + 1)

    assert collector.finish() == Replay(snapshot, incomplete={OTHER}, stale={OTHER})


def test_what_comes_after_the_position_is_left_to_the_live_message() -> None:
    """A later part may have events that no earlier one could have had."""
    snapshot = Position("epoch", Id(5000, 0), Id(5000, 0))
    start = Start(Position("epoch", Id(1000, 0), Id(1000, 0)), frozenset(), KEEP)
    events = [Message(Kind.EVENT, Id(ms, 0), TOPIC, "said", "x") for ms in (2000, 5000, 5001)]
    collector = Collector(snapshot, Budget(events=2))
    collector.add(TOPIC, start, Past(events, Id(1000, 0), events[-1].id, {}), 6000)
    only_later = Message(Kind.EVENT, Id(5002, 0), OTHER, "said", "x")
    collector.add(OTHER, start, Past([only_later], Id(1000, 0), only_later.id, {}), 6000)

    assert collector.finish() == Replay(snapshot, events[:2])


def test_part_of_a_topic_that_was_lost_later_is_not_sent() -> None:
    """Its first events came, and the rest went before it was read."""
    snapshot = Position("epoch", Id(5000, 0), Id(5000, 0))
    start = Start(Position("epoch", Id(1000, 0), Id(1000, 0)), frozenset(), KEEP)
    events = [Message(Kind.EVENT, Id(ms, 0), TOPIC, "said", "x") for ms in (2000, 4000)]
    collector = Collector(snapshot, Budget())
    collector.add(TOPIC, start, Past(events[:1], Id(1000, 0), events[-1].id, {}), 5000)
    rest = Start(Position("epoch", Id(2000, 0), Id(1000, 0)), frozenset(), KEEP)
    collector.add(TOPIC, rest, Past(events[1:], Id(3000, 0), events[-1].id, {}), 5000)

    assert collector.is_lost(TOPIC)
    assert collector.finish() == Replay(snapshot, incomplete={TOPIC})
