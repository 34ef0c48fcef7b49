"""What a message says, and how a topic's history is kept."""

from dataclasses import dataclass
from enum import Enum

from ..position import Id


class Kind(Enum):
    """What a message says."""

    EVENT = "event"  #: a fact of a topic
    REFRESH = "refresh"  #: a fragment has changed; render it again
    PUSH = "push"  #: a fragment has changed; here is its HTML
    PROBE = "probe"  #: nothing but its id, which moves everybody's position
    CONTROL = "control"  #: what processes tell and ask each other


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
