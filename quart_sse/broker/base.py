"""The interface of brokers, and of the hub that takes their messages."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping
from enum import Enum
from typing import Protocol

from ..errors import BrokerUnavailable, SetupError
from ..wire import Id, Position
from .messages import Keep, Kind, Message
from .replay import BUDGET, Budget, Replay, Start
from .texts import Claim
from .who import Moves


class State(Enum):
    """The state of a broker."""

    STARTING = "starting"
    READY = "ready"
    DEGRADED = "degraded"  #: works, but may lose history; the log says why
    AWAY = "away"
    STOPPED = "stopped"


class Receiver(Protocol):
    """Takes a broker's messages: the hub of the process."""

    def receive(self, message: Message) -> None:
        """Take one message; messages arrive in the order of their ids."""

    async def catch_up(self) -> str | None:
        """Ask the broker for what was missed.

        The broker calls this before its first message and after each gap, and delivers nothing
        until it returns.

        Returns:
            The epoch of the broker's answer, which may be newer than the one that the broker knew
            when it called; None if the hub did not ask.
        """


class Broker(ABC):
    """Carries messages between processes and keeps their history.

    An app can bring a broker of its own, by ``SSE(app, broker=...)``. It keeps the promises of
    ``docs/protocol.md``, and passes the tests in ``tests/broker/test_base.py``. This class is
    provisional: its methods may change in any release before 1.0.
    """

    #: whether other processes receive its messages
    is_shared: bool = True

    @property
    @abstractmethod
    def state(self) -> State:
        """The current state."""

    @abstractmethod
    async def start(self, receiver: Receiver) -> None:
        """Begin to deliver messages.

        Args:
            receiver: The process's hub.
        """

    @abstractmethod
    async def stop(self) -> None:
        """Stop delivering, and close all connections."""

    @abstractmethod
    def abandon(self) -> None:
        """Forget what belongs to an event loop that ended without :meth:`stop`, or to a parent.

        Nothing may be awaited or closed here: the loop is dead, or belongs to the process from
        which this one was forked. A later :meth:`start` begins with new connections.
        """

    @abstractmethod
    async def release(self) -> None:
        """Close idle connections, for processes that publish without :meth:`start`."""

    @property
    def kept_bytes(self) -> int:
        """Size of the kept lists of topics that the broker holds in this process, in bytes."""
        return 0

    @property
    @abstractmethod
    def known(self) -> Position | None:
        """The newest position that this process has heard of; None if it has heard of none."""

    @abstractmethod
    async def position(self) -> Position:
        """Ask for the broker's newest position.

        Raises:
            BrokerUnavailable: If the broker does not answer.
        """

    @abstractmethod
    async def publish(self, message: Message, keep: Keep) -> Id:
        """Publish an event, a change of a fragment, or a message to every process.

        Args:
            message: What to publish. Its id is ignored, because the broker assigns one.
            keep: How the topic's history is kept.

        Returns:
            The id that the broker assigned.

        Raises:
            BrokerUnavailable: If the message was not, or may not have been, published.
        """

    async def converse(
        self, message: Message, take: Callable[[Message], bool], seconds: float
    ) -> None:
        """Publish a control message in a process that serves nothing, and take what comes back.

        A broker that does not override this has no publishers that ask.

        Args:
            message: The message, which is not kept.
            take: Called with each control message from then on, until it returns True.
            seconds: Longest duration, in seconds; then this returns as well.

        Raises:
            SetupError: If the broker cannot do this.
            BrokerUnavailable: If the message was not, or may not have been, published.
        """
        raise SetupError(
            f"{type(self).__name__} cannot ask other processes. Use sse.send() in the app."
        )

    async def publish_all(self, messages: Iterable[tuple[Message, Keep]]) -> list[Id]:
        """Publish several messages, in their order.

        A broker that can records refreshes in one step with the message that they follow, up to
        :data:`~quart_sse.broker.messages.MOST_REFRESHES`: all of them, or none.

        Args:
            messages: What to publish, as for :meth:`publish`, and how each topic's history is kept.

        Returns:
            The ids that the broker assigned.

        Raises:
            BrokerUnavailable: If some were not, or may not have been, published.
        """
        ids: list[Id] = []
        for message, keep in messages:
            try:
                ids.append(await self.publish(message, keep))
            except BrokerUnavailable as error:
                raise (
                    error
                    if not ids
                    else BrokerUnavailable(
                        f"{error} Others before it were published.", maybe_published=True
                    )
                ) from error
        return ids

    async def probe(self) -> None:
        """Publish a message that only moves all positions.

        Raises:
            BrokerUnavailable: If the probe was not, or may not have been, published.
        """
        await self.publish(Message(Kind.PROBE, Id(0, 0), ""), Keep(0, 0))

    @abstractmethod
    async def subscribe(self, topics: Iterable[str]) -> None:
        """Subscribe to topics; returns once none of their messages can be missed.

        Args:
            topics: The topics' names.

        Raises:
            BrokerUnavailable: If the broker did not confirm all of them.
        """

    @abstractmethod
    async def unsubscribe(self, topics: Iterable[str]) -> None:
        """Unsubscribe from topics.

        Args:
            topics: The topics' names.

        Raises:
            BrokerUnavailable: If the broker could not be reached. The topics count as
                unsubscribed all the same.
        """

    @abstractmethod
    async def resume(self, starts: Mapping[str, Start], budget: Budget = BUDGET) -> Replay:
        """Return what was missed since each topic's start, up to one position.

        However much is asked for, nothing else waits for it longer than some milliseconds: what is
        over the budget is not read, and many topics are read one part after the other. See
        :class:`~quart_sse.broker.replay.Collector`.

        Args:
            starts: Topic -> where the connection starts on it.
            budget: What the replay may hold; topics of one that would hold more are incomplete.

        Raises:
            BrokerUnavailable: If the broker does not answer.
        """

    @abstractmethod
    async def kept(self, topic: str, most: int) -> list[Message]:
        """Return the events of a topic's history, oldest first.

        Args:
            topic: The topic's name.
            most: Most events to return; if more are kept, the newest.

        Raises:
            BrokerUnavailable: If the broker does not answer.
        """

    @abstractmethod
    async def keep_text(self, text: str, seconds: float, claim: Claim) -> str | None:
        """Keep a text that is too long for a URL, or keep it for longer.

        Args:
            text: The text.
            seconds: How long to keep it, in seconds.
            claim: For whom it is kept, which bounds how much is.

        Returns:
            The reference that :meth:`kept_text` takes, in every process; None if there is no room.
            What is kept makes no room for others.

        Raises:
            BrokerUnavailable: If the text was not, or may not have been, kept.
        """

    @abstractmethod
    async def kept_text(self, reference: str) -> str | None:
        """Return a kept text; None if it has expired or was never kept.

        Args:
            reference: What :meth:`keep_text` returned.

        Raises:
            BrokerUnavailable: If the broker does not answer.
        """

    @abstractmethod
    async def enter(self, members: Mapping[str, Mapping[str, str]]) -> Moves:
        """Record that connections are present on topics, or renew the records.

        One call may name many thousand connections and topics. A broker over a network sends them
        in few round trips, none of which keeps other calls waiting for long.

        Args:
            members: Topic -> connection id -> whom it counts as, see ``broker.who``. The topic ""
                holds the app's processes, see ``broker.processes``.

        Returns:
            The people with an identity who have joined or left by it, and what else has changed.

        Raises:
            BrokerUnavailable: If this was not, or may not have been, recorded for some of them.
                Recording again is always safe.
        """

    @abstractmethod
    async def exit(self, members: Mapping[str, Collection[str]]) -> Moves:
        """Record that connections have left topics.

        Args:
            members: Topic, as in :meth:`enter` -> ids of connections. Unknown ones do no harm.

        Returns:
            As for :meth:`enter`.

        Raises:
            BrokerUnavailable: If this was not, or may not have been, recorded for some of them.
                Recording again is always safe.
        """

    @abstractmethod
    async def present(self, topic: str) -> Mapping[str, str]:
        """Return connection id -> whom it counts as, of all that are present, in every process.

        Args:
            topic: The topic's name, as in :meth:`enter`.

        Raises:
            BrokerUnavailable: If the broker does not answer.
        """
