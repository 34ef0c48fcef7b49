"""The memory broker: what a process of its own forgets."""

from quart_sse.broker import Keep, Kind, Message
from quart_sse.broker.memory import MemoryBroker
from quart_sse.wire.position import ZERO


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
