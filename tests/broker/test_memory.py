"""The memory broker: what a process of its own forgets."""

from quart_sse.broker import Budget, Keep, Kind, Message, Start
from quart_sse.broker.memory import STRETCH, MemoryBroker
from quart_sse.wire.position import ZERO, Position
from tests.support.turns import counting_turns


async def test_long_history_of_one_topic_keeps_none_of_others() -> None:
    """A process of its own forgets each topic at its own time, whatever others are kept for."""
    clock = [1_795_302_000.0]
    broker = MemoryBroker(lambda: clock[0])
    await broker.publish(Message(Kind.EVENT, ZERO, "long", "x", "1"), Keep(1, 86_400.0))

    for number in range(50):
        topic = f"short?n={number}"
        await broker.publish(Message(Kind.REFRESH, ZERO, topic, "list"), Keep(1, 1.0))
        clock[0] += 5.0

    assert "long" in broker._records
    assert len(broker._records) < 5


async def test_resume_of_many_topics_lets_others_run() -> None:
    """Between two of its stretches other tasks have their turn."""
    broker = MemoryBroker()
    since = await broker.position()
    topics = [f"t{number}" for number in range(2 * STRETCH)]
    for topic in topics:
        await broker.publish(Message(Kind.EVENT, ZERO, topic, "said", "hello"), Keep(1, 60.0))

    start = Start(since, frozenset(), Keep(1, 60.0))
    async with counting_turns() as turns:
        replay = await broker.resume(dict.fromkeys(topics, start), Budget(10_000))

    assert len(replay.events) == len(topics)
    assert turns.count >= 3


async def test_position_is_known_without_a_message() -> None:
    """A process that is its own broker stands somewhere from the start, and moves by publishing."""
    broker = MemoryBroker(lambda: 1_795_302_000.0)
    begun = broker.known
    id = await broker.publish(Message(Kind.EVENT, ZERO, "board", "said", "hello"), Keep(1, 60.0))

    assert begun.events < id
    assert broker.known == await broker.position() == Position(begun.epoch, id, id)
    assert MemoryBroker().known.epoch != begun.epoch
