"""A broker that may be called from any loop: what it hands over, and to which."""

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

from quart_sse.broker import Broker, Claim, Keep, MemoryBroker, ServingBroker, Shelf, Start
from quart_sse.serving_loop import ServingLoop
from tests.support.processes import Inbox, event

KEEP = Keep(10, 60)
CALLS: dict[str, Callable[[Broker], Awaitable[object]]] = {
    "position": lambda broker: broker.position(),
    "publish": lambda broker: broker.publish(event("x"), KEEP),
    "probe": lambda broker: broker.probe(),
    "subscribe": lambda broker: broker.subscribe(["t"]),
    "unsubscribe": lambda broker: broker.unsubscribe(["t"]),
    "resume": lambda broker: broker.resume({"t": Start(None, frozenset(), KEEP)}),
    "kept": lambda broker: broker.kept("t", 1),
    "keep_text": lambda broker: broker.keep_text("x", 60, Claim(Shelf.OPEN, "a")),
    "kept_text": lambda broker: broker.kept_text("x"),
    "enter": lambda broker: broker.enter({"t": {"a": "b"}}),
    "exit": lambda broker: broker.exit({"t": ["a"]}),
    "present": lambda broker: broker.present("t"),
}


def test_every_call_of_a_broker_is_known_here() -> None:
    """A method that is added later is handed over, too."""
    other = {"start", "stop", "release", "abandon", "state", "known"}

    assert CALLS.keys() | other == Broker.__abstractmethods__ | {"probe"}
    assert all(name in vars(ServingBroker) for name in CALLS.keys() | other)


@pytest.mark.parametrize("name", CALLS)
async def test_calls_run_where_the_app_is_served(name: str) -> None:
    """They come from another thread and loop, and get what the broker returns."""
    serving, inner, inbox = ServingLoop(2.0), MemoryBroker(), Inbox()
    serving.enter()
    broker = ServingBroker(inner, serving)
    await broker.start(inbox)
    ran: list[int] = []

    async def call(*_: object) -> None:
        ran.append(threading.get_ident())

    setattr(inner, name, call)

    await asyncio.to_thread(lambda: asyncio.run(CALLS[name](broker)))  # type: ignore[arg-type]

    assert ran == [threading.get_ident()]


async def test_state_and_position_are_those_of_the_broker() -> None:
    """They can be read from anywhere."""
    inner = MemoryBroker()
    broker = ServingBroker(inner, ServingLoop(2.0))

    assert broker.state is inner.state
    assert broker.known == inner.known
    assert broker.is_shared is False
    assert broker.inner is inner
