"""The memory broker: what a process of its own forgets."""

from quart_sse.broker import Keep, Kind, Message
from quart_sse.broker.memory import MAX_TEXTS, MemoryBroker
from quart_sse.wire.position import ZERO, Position


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


async def test_texts_have_an_end() -> None:
    """Lists of topics are kept for a token's life, and only so many of them."""
    clock = [1_795_302_000.0]
    broker = MemoryBroker(lambda: clock[0])
    first = await broker.keep_text("first", 10.0)
    for number in range(MAX_TEXTS - 1):
        await broker.keep_text(str(number), 60.0)

    assert await broker.kept_text(first) == "first"
    clock[0] += 10.0
    assert await broker.kept_text(first) is None
    await broker.keep_text("first", 60.0)
    await broker.keep_text("one more", 60.0)
    assert await broker.kept_text(first) == "first"
    assert len(broker._texts) == MAX_TEXTS


async def test_position_is_known_without_a_message() -> None:
    """A process that is its own broker stands somewhere from the start, and moves by publishing."""
    broker = MemoryBroker(lambda: 1_795_302_000.0)
    begun = broker.known
    id = await broker.publish(Message(Kind.EVENT, ZERO, "board", "said", "hello"), Keep(1, 60.0))

    assert begun.events < id
    assert broker.known == await broker.position() == Position(begun.epoch, id, id)
    assert MemoryBroker().known.epoch != begun.epoch
