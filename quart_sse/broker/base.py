"""What a broker is: it carries messages between processes and keeps their history.

``memory`` serves one process, ``redis`` many. Both give the same promises, which stand in
``docs/protocol.md``; one suite of tests runs against both.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple, Protocol

from ..event import EventBodies
from ..position import MAX_AHEAD_MS, ZERO, Id, Position


class Kind(Enum):
    """What a message says."""

    EVENT = "event"  #: a fact of a topic
    REFRESH = "refresh"  #: a fragment has changed; render it again
    PUSH = "push"  #: a fragment has changed; here is its HTML
    PROBE = "probe"  #: nothing but its id, which moves everybody's position
    CONTROL = "control"  #: what processes tell and ask each other


class State(Enum):
    """What a broker can do at the moment."""

    STARTING = "starting"
    READY = "ready"
    DEGRADED = "degraded"  #: works, but may lose what is promised; the log says why
    AWAY = "away"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Message:
    """One message in the broker's order."""

    kind: Kind
    id: Id
    topic: str  #: "" for probes and control messages
    name: str | None = None  #: of the event, the fragment or the control message
    data: str | None = None  #: the event's data, or the pushed HTML
    retry_ms: int | None = None
    #: of an event: the page that leaves it out, for it knows; of a push: the root path with which
    #: the URLs in the HTML begin
    origin: str = ""

    @property
    def size(self) -> int:
        """Roughly how many bytes the message takes."""
        return len(self.data or "") + len(self.name or "") + 64


@dataclass(frozen=True, slots=True)
class Keep:
    """How a topic's history is kept."""

    events: int  #: how many; 0 keeps none, and such events are no facts: never replayed
    ttl: float  #: seconds after the topic's last message


#: How control messages are kept, for processes that are cut off when one is sent.
CONTROL_HISTORY = Keep(events=256, ttl=300.0)


@dataclass(frozen=True, slots=True)
class Start:
    """Where one topic of a connection starts."""

    position: Position | None  #: None: the client knows nothing that we can use
    fragments: frozenset[str]  #: the fragments that it shows
    keep: Keep
    #: A client that never saw a page of ours: it begins with what comes next.
    now: bool = False


class Past(NamedTuple):
    """What a broker has kept of one topic, for :func:`judge`."""

    #: events after the position, oldest first, and the id of the event before the first
    events: Sequence[Message]
    before: Id | None
    tip: Id | None  #: the last event's id; None if it was never, or is no longer, known
    changes: Mapping[str, Id]  #: fragment -> its last change
    unrecorded: Id = ZERO  #: up to here changes may be missing among these


@dataclass(slots=True)
class Replay:
    """What connections have missed: one atomic snapshot."""

    position: Position  #: everything up to here is in this replay
    events: list[Message] = field(default_factory=list)  #: over all topics, in the order of ids
    #: topics whose events are not all here; their clients must be told
    incomplete: set[str] = field(default_factory=set)
    #: (topic, fragment) -> last change, where one is on record, of all fragments of the topics
    changes: dict[tuple[str, str], Id] = field(default_factory=dict)
    #: topics without a usable position: every fragment of theirs must be rendered
    unknown: set[str] = field(default_factory=set)
    #: topics whose position is older than the record of changes reaches
    stale: set[str] = field(default_factory=set)
    #: event -> its bytes, encoded once for all connections that share this
    bodies: dict[Id, EventBodies] = field(default_factory=dict)


def judge(replay: Replay, topic: str, start: Start, past: Past) -> None:
    """Add one topic to a replay: its events, and whether they are all that was missed.

    The rules are those of ``docs/protocol.md`` 11, the same for every broker: complete if the
    event before the first one kept was not missed; if none is kept, if the last event known was
    not; if none is known, if the position is younger than the history's lifetime.
    """
    replay.changes.update({(topic, name): change for name, change in past.changes.items()})
    if start.now:
        return
    position, snapshot = start.position, replay.position
    if (
        position is None
        or position.epoch != snapshot.epoch
        or position.events.ms > snapshot.events.ms + MAX_AHEAD_MS
    ):
        replay.unknown.add(topic)
        if start.keep.events:
            replay.incomplete.add(topic)
        return

    oldest_ms = snapshot.events.ms - start.keep.ttl * 1000
    if position.fragments.ms < oldest_ms or position.fragments < past.unrecorded:
        replay.stale.add(topic)
    if not start.keep.events:
        return
    if past.events:
        complete = past.before is not None and past.before <= position.events
    elif past.tip is not None:
        complete = past.tip <= position.events
    else:
        complete = position.events.ms >= oldest_ms
    if complete:
        replay.events.extend(past.events)
    else:
        replay.incomplete.add(topic)


def bound(replay: Replay, max_events: int, max_bytes: int) -> None:
    """Give up the events of a replay that is too large: its client is told to start afresh."""
    events = replay.events
    if len(events) > max_events or sum(message.size for message in events) > max_bytes:
        replay.incomplete.update(message.topic for message in events)
        events.clear()


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

    state: State = State.STARTING
    #: Whether other processes share its messages.
    is_shared: bool = True

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
