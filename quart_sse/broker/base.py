"""What a broker is: it carries messages between processes and keeps their history.

``memory`` serves one process, ``redis`` many. Both give the same promises, which stand in
``docs/protocol.md``; one suite of tests runs against both.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Protocol

from ..position import Id, Position
from .messages import Keep, Kind, Message
from .replay import Replay, Start


class State(Enum):
    """What a broker can do at the moment."""

    STARTING = "starting"
    READY = "ready"
    DEGRADED = "degraded"  #: works, but may lose what is promised; the log says why
    AWAY = "away"
    STOPPED = "stopped"


def reference_of(text: str) -> str:
    """Return what stands for a kept text: the same for the same text, so it is kept once."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class Receiver(Protocol):
    """Who takes a broker's messages: the hub of the process."""

    def receive(self, message: Message) -> None:
        """Take one message; they come in the order of their ids."""

    async def catch_up(self) -> str | None:
        """Ask for what was missed: the broker begins to deliver, or does so again after a gap.

        Nothing is delivered until this returns.

        Returns:
            The epoch of the answer, which may be newer than the broker knew when it called; None
            if nothing was asked.
        """


class Broker(ABC):
    """Carries messages between processes and keeps their history."""

    #: Whether other processes share its messages.
    is_shared: bool = True

    @property
    @abstractmethod
    def state(self) -> State:
        """What the broker can do at the moment."""

    @abstractmethod
    async def start(self, receiver: Receiver) -> None:
        """Begin to deliver messages to the process's hub."""

    @abstractmethod
    async def stop(self) -> None:
        """Stop delivering and free what is held."""

    @abstractmethod
    async def release(self) -> None:
        """Free what is held between calls; for those who publish without :meth:`start`."""

    @property
    @abstractmethod
    def known(self) -> Position | None:
        """The newest position that this process knows of, without asking; None if none."""

    @abstractmethod
    async def position(self) -> Position:
        """Return the broker's newest position.

        Raises:
            BrokerUnavailable: If it cannot be asked.
        """

    @abstractmethod
    async def publish(self, message: Message, keep: Keep) -> Id:
        """Publish an event, a change of a fragment, or a message to every process.

        Args:
            message: What to publish; its id is ignored, the broker gives one.
            keep: How the topic's history is kept.

        Returns:
            The id that the broker gave.

        Raises:
            BrokerUnavailable: If it was not, or may not have been, published.
        """

    async def probe(self) -> None:
        """Send a message that does nothing but move everybody's position."""
        await self.publish(Message(Kind.PROBE, Id(0, 0), ""), Keep(0, 0))

    @abstractmethod
    async def subscribe(self, topics: Iterable[str]) -> None:
        """Begin to receive these topics; returns when nothing of them can be missed any more.

        Raises:
            BrokerUnavailable: If that could not be made certain.
        """

    @abstractmethod
    async def unsubscribe(self, topics: Iterable[str]) -> None:
        """Receive these topics no longer."""

    @abstractmethod
    async def resume(self, starts: Mapping[str, Start]) -> Replay:
        """Return what was missed since each topic's start, as one atomic snapshot.

        Raises:
            BrokerUnavailable: If it cannot be asked.
        """

    @abstractmethod
    async def keep_text(self, text: str, seconds: float) -> str:
        """Keep a text that is too long for a URL; returns a reference that every process knows."""

    @abstractmethod
    async def kept_text(self, reference: str) -> str | None:
        """Return a text that was kept; None if it is not known, or no longer."""

    @abstractmethod
    async def enter(self, topic: str, members: Mapping[str, str]) -> None:
        """Say that connections are present on a topic, or still are.

        Args:
            topic: The topic's name; "" for the processes of the app, as in ``broker.processes``.
            members: The connections' ids -> who they are; anonymous ones bring something of
                their browser's.
        """

    @abstractmethod
    async def exit(self, topic: str, member: str) -> None:
        """Say that a connection has left a topic."""

    @abstractmethod
    async def present(self, topic: str) -> Mapping[str, str]:
        """Return who is present on a topic: connection -> identity, over all processes."""
