"""The order of all messages, as far as one process knows it."""

from quart_sse.broker.redis.order import Order
from quart_sse.wire.position import Id, Position


def at(events: int, epoch: str = "e") -> Position:
    """Return the position of a process that is nowhere behind."""
    return Position(epoch, Id(events, 0), Id(events, 0))


def test_nothing_is_known_before_redis_was_heard_of() -> None:
    """A process that starts without Redis stands nowhere."""
    assert Order().known is None


def test_known_position_only_moves_forward() -> None:
    """Answers of several connections may overtake each other."""
    order = Order()

    assert order.learn("e", Id(7, 0)) == at(7)
    assert order.learn("e", Id(5, 0)) == at(7)
    assert order.learn("e", Id(9, 0)) == at(9)
    assert order.known == at(9)


def test_another_epoch_begins_wherever_it_stands() -> None:
    """The ids of two data sets cannot be compared."""
    order = Order()
    order.learn("e", Id(7, 0))

    assert order.learn("other", Id(2, 0)) == at(2, "other")


def test_restart_goes_back() -> None:
    """The process has heard of ids of that epoch which it was never sent."""
    order = Order()
    order.learn("e", Id(7, 0))
    order.restart("e", Id(3, 0))

    assert order.known == at(3)


def test_each_request_brings_an_epoch_of_its_own() -> None:
    """A server without data takes it; two processes that ask at once must not agree by chance."""
    order = Order(clock_offset_ms=5)
    order.replid = "server"
    first, second = order.request(), order.request(compare=True)

    assert first.new_epoch != second.new_epoch
    assert (first.replid, first.compare, first.clock_offset_ms) == ("server", False, 5)
    assert second.compare
