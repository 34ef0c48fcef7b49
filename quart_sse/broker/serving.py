"""The app's broker, whose calls run in the loop that serves the app."""

from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from typing import Any

from ..serving_loop import ServingLoop
from ..wire import Id, Position
from .base import Broker, Receiver, State
from .messages import Keep, Message
from .replay import BUDGET, Budget, Replay, Start
from .texts import Claim
from .who import Moves


class ServingBroker(Broker):
    """A broker that may be called from any loop and thread.

    Args:
        broker: Carries the messages.
        serving: The loop in which the broker has been started.
    """

    def __init__(self, broker: Broker, serving: ServingLoop) -> None:
        self.inner: Broker = broker
        self.is_shared: bool = broker.is_shared
        self._serving = serving

    @property
    def state(self) -> State:
        """The state of the broker."""
        return self.inner.state

    @property
    def kept_bytes(self) -> int:
        """Size of the kept lists in this process, in bytes."""
        return self.inner.kept_bytes

    @property
    def known(self) -> Position | None:
        """The newest position that this process has heard of."""
        return self.inner.known

    async def start(self, receiver: Receiver) -> None:
        """Begin to deliver, in the serving loop."""
        await self.inner.start(receiver)

    async def stop(self) -> None:
        """Stop delivering."""
        await self.inner.stop()

    def abandon(self) -> None:
        """Forget what belongs to a loop that has ended."""
        self.inner.abandon()

    async def release(self) -> None:
        """Close the idle connections of the running loop."""
        await self.inner.release()

    async def position(self) -> Position:
        """Ask for the newest position."""
        return await self._serving.run(self.inner.position)

    # A plain function: it hands on the broker's coroutine, without others around it for each event.
    def publish(self, message: Message, keep: Keep) -> Coroutine[Any, Any, Id]:
        """Publish a message."""
        if self._serving.is_here:
            return self.inner.publish(message, keep)
        return self._serving.run(self.inner.publish, message, keep)

    async def converse(
        self, message: Message, take: Callable[[Message], bool], seconds: float
    ) -> None:
        """Publish a control message, and take what comes back."""
        await self._serving.run(self.inner.converse, message, take, seconds)

    async def publish_all(self, messages: Iterable[tuple[Message, Keep]]) -> list[Id]:
        """Publish several messages."""
        return await self._serving.run(self.inner.publish_all, messages)

    async def probe(self) -> None:
        """Publish a probe."""
        await self._serving.run(self.inner.probe)

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Subscribe to topics."""
        await self._serving.run(self.inner.subscribe, topics)

    async def unsubscribe(self, topics: Iterable[str]) -> None:
        """Unsubscribe from topics."""
        await self._serving.run(self.inner.unsubscribe, topics)

    async def resume(self, starts: Mapping[str, Start], budget: Budget = BUDGET) -> Replay:
        """Return what was missed."""
        return await self._serving.run(self.inner.resume, starts, budget)

    async def kept(self, topic: str, most: int) -> list[Message]:
        """Return the events of a topic's history."""
        return await self._serving.run(self.inner.kept, topic, most)

    async def keep_text(self, text: str, seconds: float, claim: Claim) -> str | None:
        """Keep a text."""
        return await self._serving.run(self.inner.keep_text, text, seconds, claim)

    async def kept_text(self, reference: str) -> str | None:
        """Return a kept text."""
        return await self._serving.run(self.inner.kept_text, reference)

    async def enter(self, members: Mapping[str, Mapping[str, str]]) -> Moves:
        """Record that connections are present."""
        return await self._serving.run(self.inner.enter, members)

    async def exit(self, members: Mapping[str, Collection[str]]) -> Moves:
        """Record that connections have left."""
        return await self._serving.run(self.inner.exit, members)

    async def present(self, topic: str) -> Mapping[str, str]:
        """Return who is present."""
        return await self._serving.run(self.inner.present, topic)
