"""What a message says, and how a topic's history is kept."""

from dataclasses import dataclass
from enum import Enum

from ..wire import Id
from .filter import Filter


class Kind(Enum):
    """The kinds of messages."""

    EVENT = "event"  #: a fact: data of a topic
    REFRESH = "refresh"  #: a fragment has changed; render it again
    PUSH = "push"  #: a fragment has changed; here is its HTML
    PROBE = "probe"  #: nothing but an id, which moves all positions
    CONTROL = "control"  #: from one process to every process


@dataclass(frozen=True, slots=True)
class Message:
    """One message in the broker's order."""

    kind: Kind
    id: Id
    topic: str  #: "" for probes and control messages
    name: str | None = None  #: of the event, the fragment or the control message
    data: str | None = None  #: the event's data, or the pushed HTML
    retry_ms: int | None = None
    #: of an event or a refresh: the page that caused it and drops it; of a push: the root path with
    #: which the URLs in the HTML begin
    origin: str = ""
    #: of an event: whether its data are a text that reads like JSON, which scripts must not parse
    is_text: bool = False
    where: Filter | None = None  #: of an event: for which connections it is; None for all
    exclude: str = ""  #: of an event: ids of connections that it is not for, with spaces
    trace: str = ""  #: the span of its publish, for OpenTelemetry; see ``tracing``
    item: str = ""  #: of a change: the item of the list that has changed; "" for all of it

    def with_id(self, id: Id) -> "Message":
        """Return the message with the id that a broker has assigned.

        Written out, because ``dataclasses.replace`` takes twice as long.
        """
        return Message(
            self.kind,
            id,
            self.topic,
            self.name,
            self.data,
            self.retry_ms,
            self.origin,
            self.is_text,
            self.where,
            self.exclude,
            self.trace,
            self.item,
        )

    @property
    def size(self) -> int:
        """The approximate size of the message, in bytes."""
        return len(self.data or "") + len(self.name or "") + 64


@dataclass(frozen=True, slots=True)
class Keep:
    """How a topic's history is kept."""

    events: int  #: most events to keep; 0 keeps none, so events of the topic are never replayed
    ttl: float  #: lifetime after the topic's last message, in seconds


#: Most refreshes that one event causes, and that are recorded with it: some milliseconds of Redis.
MOST_REFRESHES = 64
#: History of control messages, for processes that are disconnected when one is sent.
CONTROL_HISTORY = Keep(events=256, ttl=300.0)
