"""A resume in parts: no script takes long, and the parts are as good as one snapshot."""

import shutil
from collections.abc import Awaitable, Callable

import pytest

from quart_sse.broker import Budget, Keep, Kind, Message, Replay, Start
from quart_sse.broker.redis import RedisBroker, commands
from quart_sse.errors import BrokerUnavailable
from quart_sse.hub.replays import missed
from quart_sse.wire.position import ZERO, Id, Position
from tests.support.processes import Inbox, event
from tests.support.redis_server import RedisServer
from tests.support.streams import until

pytestmark = pytest.mark.skipif(
    shutil.which("redis-server") is None, reason="there is no redis-server"
)

KEEP = Keep(events=100, ttl=60.0)
PREFIX = "{sse:1}"


@pytest.fixture(autouse=True)
def small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each call answer for three topics, or for five events."""
    monkeypatch.setattr(commands, "TOPICS", 3)
    monkeypatch.setattr(commands, "PORTION", commands.Portion(5, 1 << 18, 4))


def meanwhile(
    broker: RedisBroker, monkeypatch: pytest.MonkeyPatch, act: Callable[[int], Awaitable[object]]
) -> None:
    """Do something after each script that the broker runs; it is given the script's number."""
    call, calls = broker._call, 0

    async def act_after(script: object) -> object:
        nonlocal calls
        answer = await call(script)  # type: ignore[arg-type]
        calls += 1
        await act(calls)
        return answer

    monkeypatch.setattr(broker, "_call", act_after)


async def fill(broker: RedisBroker, count: int, *topics: str) -> list[Id]:
    """Publish so many events to each topic."""
    return [
        await broker.publish(event(f"{number}", topic), KEEP)
        for topic in topics
        for number in range(count)
    ]


def starts_at(since: Position, *topics: str, keep: Keep = KEEP) -> dict[str, Start]:
    """Return where a connection of these topics starts."""
    return dict.fromkeys(topics, Start(since, frozenset(), keep))


async def test_parts_make_one_replay(raw: tuple[RedisBroker, Inbox]) -> None:
    """Events of all topics and parts, in the order of ids."""
    broker, _ = raw
    since = await broker.position()
    topics = [f"t{number}" for number in range(7)]
    ids = await fill(broker, 12, *topics)
    ids += await fill(broker, 1, *topics)
    replay = await broker.resume(starts_at(since, *topics))

    assert [message.id for message in replay.events] == ids
    assert not replay.incomplete


@pytest.mark.parametrize("keep", [1, 3, 12, 100])
async def test_nothing_is_lost_or_comes_twice_between_two_processes(
    raw: tuple[RedisBroker, Inbox], redis: RedisServer, monkeypatch: pytest.MonkeyPatch, keep: int
) -> None:
    """Whatever is published, and trimmed, after any part: the rest comes live, or a reset tells."""
    broker, inbox = raw
    topics = [f"t{number}" for number in range(7)]
    await broker.subscribe(topics)
    since, history = await broker.position(), Keep(keep, 60.0)
    others = [RedisBroker(redis.url), RedisBroker(redis.url)]
    ids: dict[Id, str] = {}

    async def publish(number: int) -> None:
        for other in others:
            for topic in topics[number % 3 :: 2]:
                ids[await other.publish(event("x", topic), history)] = topic

    for number in range(4):
        await publish(number)
    meanwhile(broker, monkeypatch, publish)
    replay = await broker.resume(starts_at(since, *topics, keep=history))
    last = await others[0].publish(event("last", topics[0]), history)
    await until(lambda: bool(inbox.messages) and inbox.messages[-1].id == last)
    for other in others:
        await other.release()

    ids[last] = topics[0]
    position = replay.position.events
    live = [message.id for message in inbox.messages if message.id > position]
    got = [*(message.id for message in replay.events), *live]
    assert got == sorted(set(got))
    assert set(got) == {
        id for id, topic in ids.items() if id > position or topic not in replay.incomplete
    }
    assert bool(replay.incomplete) is (keep < 100)


async def test_trimmed_between_two_parts_is_told(
    raw: tuple[RedisBroker, Inbox], redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a topic that is read in parts the rest went: what was read already is not sent either."""
    broker, _ = raw
    since = await broker.position()
    await fill(broker, 12, "t0")
    await fill(broker, 2, "t1")
    other = RedisBroker(redis.url)

    async def publish(number: int) -> None:
        await other.publish(event("newest", "t0"), Keep(1, 60.0))

    meanwhile(broker, monkeypatch, publish)
    replay = await broker.resume(starts_at(since, "t0", "t1"))
    await other.release()

    assert replay.incomplete == {"t0"}
    assert [message.topic for message in replay.events] == ["t1", "t1"]


async def test_shortest_histories_are_read_first(
    raw: tuple[RedisBroker, Inbox], redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Newer events have replaced theirs before another part is read, and no client is reset."""
    broker, _ = raw
    since = await broker.position()
    short, other = Keep(1, 60.0), RedisBroker(redis.url)
    id = await broker.publish(event("x", "t6"), short)

    async def publish(number: int) -> None:
        await other.publish(event("newer", "t6"), short)

    meanwhile(broker, monkeypatch, publish)
    starts = starts_at(since, *(f"t{number}" for number in range(6)))
    starts["loud"] = Start(since, frozenset(), Keep(0, 60.0))
    replay = await broker.resume(starts | starts_at(since, "t6", keep=short))
    await other.release()

    assert [message.id for message in replay.events] == [id]
    assert not replay.incomplete


async def test_changes_after_the_first_part_are_left_to_the_live_message(
    raw: tuple[RedisBroker, Inbox], redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record has them; a process that catches up must not take them before their turn."""
    broker, _ = raw
    since = await broker.position()
    topics = [f"t{number}" for number in range(4)]
    before = await broker.publish(Message(Kind.REFRESH, ZERO, "t0", "list"), KEEP)
    other = RedisBroker(redis.url)

    async def change(number: int) -> None:
        await other.publish(Message(Kind.REFRESH, ZERO, "t3", "list"), KEEP)

    meanwhile(broker, monkeypatch, change)
    replay = await broker.resume(starts_at(since, *topics))
    await other.release()

    assert set(replay.changes) == {("t0", "list"), ("t3", "list")}
    assert replay.changes["t3", "list"] > replay.position.events
    assert missed(replay) == [Message(Kind.REFRESH, before, "t0", "list")]


async def test_another_epoch_between_two_parts_begins_again(
    raw: tuple[RedisBroker, Inbox], redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All parts are of one data set; if it is lost again and again, that is an outage."""
    broker, _ = raw
    since = await broker.position()
    topics = [f"t{number}" for number in range(7)]
    losses = 1

    async def lose(number: int) -> None:
        if number <= losses:
            await redis.ask("FLUSHALL")

    meanwhile(broker, monkeypatch, lose)
    replay = await broker.resume(starts_at(since, *topics))
    assert replay.position.epoch != since.epoch
    assert (replay.unknown, replay.incomplete) == (set(topics), set(topics))

    losses = 100
    with pytest.raises(BrokerUnavailable, match="again and again"):
        await broker.resume(starts_at(since, *topics))


@pytest.mark.parametrize("lost", ["tip", "events"])
async def test_topics_that_were_not_read_are_judged_by_what_is_left_of_them(
    raw: tuple[RedisBroker, Inbox], redis: RedisServer, lost: str
) -> None:
    """Over the budget nothing is read, and one key that was evicted still hides no loss."""
    broker, _ = raw
    since = await broker.position()
    await fill(broker, 6, "t0", "t1", "t2", "t3", "t4")
    await redis.ask("DEL", f"{PREFIX}:{lost}:t4")
    replay = await broker.resume(starts_at(since, "t0", "t1", "t2", "t3", "t4", "t5"), Budget(8))

    assert replay.incomplete == {"t0", "t1", "t2", "t3", "t4"}
    assert not replay.events


async def test_budget_stops_what_is_transferred(
    raw: tuple[RedisBroker, Inbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis sends no more events than a replay may hold, and one."""
    broker, _ = raw
    since = await broker.position()
    topics = [f"t{number}" for number in range(7)]
    await fill(broker, 9, *topics)
    call, sent = broker._call, 0

    async def count(script: object) -> object:
        nonlocal sent
        answer = await call(script)  # type: ignore[arg-type]
        sent += sum(len(topic[0]) for topic in answer[2:])
        return answer

    monkeypatch.setattr(broker, "_call", count)
    replay = await broker.resume(starts_at(since, *topics), Budget(20))

    assert sent == 21
    assert replay.incomplete == set(topics)


@pytest.mark.parametrize("is_tip_lost", [False, True])
async def test_record_of_too_many_fragments_counts_as_unknown(
    raw: tuple[RedisBroker, Inbox], redis: RedisServer, is_tip_lost: bool
) -> None:
    """Its fragments are rendered if anything has changed; smaller records are read, in parts."""
    broker, _ = raw
    since = await broker.position()
    for topic, count in (("t0", 3), ("t1", 5), ("t2", 3)):
        for number in range(count):
            await broker.publish(Message(Kind.REFRESH, ZERO, topic, f"f{number}"), KEEP)
    now = await broker.position()
    if is_tip_lost:
        await redis.ask("DEL", f"{PREFIX}:tip:t1")
    replay: Replay = await broker.resume(starts_at(since, "t0", "t1", "t2"))
    later = await broker.resume(starts_at(now, "t0", "t1", "t2"))

    assert sorted(replay.changes) == [(t, f"f{n}") for t in ("t0", "t2") for n in range(3)]
    assert replay.stale == {"t1"}
    assert later.stale == ({"t1"} if is_tip_lost else set())
    assert not replay.incomplete
