"""Replays: concurrent, identical requests share one call of the broker."""

import asyncio
from collections.abc import Mapping

from quart_sse.broker import Budget, Changed, Kind, Message, Replay, Start
from quart_sse.broker.memory import MemoryBroker
from quart_sse.broker.replay import BUDGET
from quart_sse.errors import BrokerUnavailable
from quart_sse.hub.replays import Replays, missed, unrecorded
from quart_sse.wire.position import Id, Position
from tests.support.house import KEEPS, OTHER, TOPIC, House
from tests.support.streams import until

BEFORE, BETWEEN, AFTER = Id(1_000_000, 0), Id(1_500_000, 0), Id(2_000_000, 0)


async def test_many_clients_that_resume_from_one_position_share_an_answer(house: House) -> None:
    """One call is under way, one more serves all later requests, and no event is missed."""
    since = house.broker.known
    await house.say("1", "2")
    held = house.broker.answers = asyncio.Event()
    first = house.view(since=since)
    await until(lambda: house.broker.asked == 1)
    await house.say("3")  # after the snapshot that the first one waits for
    others = [house.view(since=since) for _ in range(20)]
    await house.quiet()
    held.set()
    await house.say("4")
    for viewer in (first, *others):
        await viewer.hears("1", "2", "3", "4")

    assert house.broker.asked == 2
    assert all(viewer.positions == sorted(viewer.positions) for viewer in (first, *others))


async def test_requests_that_wait_together_fail_together_or_go_on_alone() -> None:
    """A cancelled request leaves the call to the next one; all that share it get its error."""
    calls: list[asyncio.Future[Replay]] = []

    class Slow(MemoryBroker):
        async def resume(self, starts: Mapping[str, Start], budget: Budget = BUDGET) -> Replay:
            calls.append(asyncio.get_running_loop().create_future())
            return await calls[-1]

    replays = Replays(Slow(), 10, 1000)
    starts = {TOPIC: Start(None, frozenset(), KEEPS[TOPIC])}
    askers = [asyncio.create_task(replays.ask(starts)) for _ in range(4)]
    await until(lambda: len(calls) == 1)
    askers[0].cancel()
    await until(lambda: len(calls) == 2)
    calls[1].set_exception(BrokerUnavailable("Redis is away."))
    outcomes = await asyncio.gather(*askers[1:], return_exceptions=True)

    assert [str(outcome) for outcome in outcomes] == ["Redis is away."] * 3
    assert len(calls) == 2
    assert not replays._flights


def test_process_is_given_events_and_changes_in_one_order() -> None:
    """Changes come back as the messages that announced them."""
    replay = Replay(Position("e", AFTER, AFTER))
    replay.changes = {(TOPIC, "list"): AFTER, (TOPIC, "item"): BEFORE}
    event = Message(Kind.EVENT, BETWEEN, TOPIC, "said", "hello")
    replay.events.append(event)

    assert missed(replay) == [
        Message(Kind.REFRESH, BEFORE, TOPIC, "item"),
        event,
        Message(Kind.REFRESH, AFTER, TOPIC, "list"),
    ]


def test_changes_that_are_on_record_no_more_count_as_of_now() -> None:
    """Only a render that begins later is sure to show them."""
    replay = Replay(Position("e", AFTER, AFTER))
    start = Start(Position("e", BETWEEN, BETWEEN), frozenset({"list"}), KEEPS[TOPIC])
    starts = {TOPIC: start, OTHER: start}
    replay.stale.add(TOPIC)

    assert unrecorded(replay, starts) == [Message(Kind.REFRESH, AFTER, TOPIC, "list")]
    replay.changes[TOPIC, "list"] = BEFORE
    assert unrecorded(replay, starts) == []


def test_items_that_are_on_record_no_more_count_as_the_whole_list() -> None:
    """It is rendered before any position passes, because of them only the newest id is known."""
    replay = Replay(Position("e", AFTER, AFTER))
    replay.changes = {(TOPIC, "rows"): AFTER}
    replay.items = {(TOPIC, "rows"): Changed(BETWEEN, {"a": AFTER, "b": Id(3_000_000, 0)})}

    whole = Message(Kind.REFRESH, BETWEEN, TOPIC, "rows")
    for since, lacking in ((BEFORE, [whole]), (BETWEEN, [])):
        start = Start(Position("e", since, since), frozenset({"rows"}), KEEPS[TOPIC])
        assert unrecorded(replay, {TOPIC: start}) == lacking

    # What came after the snapshot comes live.
    assert missed(replay) == [Message(Kind.REFRESH, AFTER, TOPIC, "rows", item="a")]
