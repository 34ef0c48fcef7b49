"""Messages on their way to connections: encoded once, with the position that they carry."""

from dataclasses import dataclass, field

from .broker import Message
from .connection import Part, Personal
from .event import EventBodies, encode_fragment, encode_id
from .fragment import SharedFragment
from .fragments import Whole
from .naming import member_key
from .position import ZERO, Id, Position

#: The part that only moves a client's position; a newer one takes its place.
HEARTBEAT = " "

#: Event -> its bytes.
Bodies = dict[Id, EventBodies]


@dataclass(slots=True)
class Outgoing:
    """One message on its way to connections, with the position that it carries."""

    position: Position  #: of a fully caught-up connection, once it has this message
    topic: str
    fragment: str | None  #: None for events and heartbeats
    key: str | None  #: see Part
    body: bytes = b""  #: without id; b"" for a change of a personal fragment
    event: EventBodies | None = None  #: in place of ``body``, for events
    version: Id = ZERO  #: of a fragment's HTML
    begun: int = 0  #: number at which its render began; 0 if that is not known
    is_extra: bool = False  #: whether it was rendered although nothing was known to have changed
    viewers: int = 0  #: of a personal fragment
    inner: frozenset[str] = frozenset()  #: other topics, of fragments inside this one
    _parts: dict[tuple[bool, int | None], Part] = field(default_factory=dict)

    def part(self, bare: bool, granted: int | None) -> Part:
        """Return the message as all connections of a kind get it, encoded once."""
        kind = (bare, granted)
        part = self._parts.get(kind)
        if part is None:
            part = self._parts[kind] = self.part_at(self.position._replace(granted=granted), bare)
        return part

    def part_at(self, position: Position, bare: bool) -> Part:
        """Return the message with a position of its own."""
        line = encode_id(position)
        if self.event is not None:
            return Part(self.key, line + self.event.encoded(bare), self.version)
        if self.body or self.fragment is None:
            return Part(self.key, line + self.body, self.version)
        return Part(self.key, Personal(line, self.topic, self.fragment, self.viewers))


def heartbeat(position: Position) -> Outgoing:
    """Return the message that says nothing but a position."""
    return Outgoing(position, "", None, HEARTBEAT, b"\n")


def signal(position: Position, topic: str, fragment: str, viewers: int) -> Outgoing:
    """Return the message after which viewers fetch a personal fragment.

    Args:
        position: What it carries.
        topic: The fragment's topic.
        fragment: Its name.
        viewers: How many fetch it.
    """
    return Outgoing(position, topic, fragment, member_key(topic, fragment), viewers=viewers)


def html(position: Position, shared: SharedFragment, whole: Whole) -> Outgoing:
    """Return the message that brings a fragment's HTML, and the newest of what is inside.

    Args:
        position: What it carries.
        shared: The fragment.
        whole: What it shows.
    """
    topic = shared.topic
    return Outgoing(
        position,
        topic,
        shared.spec.name,
        shared.key,
        encode_fragment(shared.key, whole.html, whole.behind),
        # Never zero, which is for what has no versions.
        version=max(shared.version, Id(0, 1)),
        begun=shared.begun,
        is_extra=shared.is_extra,
        inner=frozenset(other for other, _ in whole.nested if other != topic),
    )


def event(position: Position, message: Message, bodies: Bodies | None = None) -> Outgoing:
    """Return an event's message.

    Args:
        position: Where the process stands.
        message: The event.
        bodies: What was encoded already for others who are sent the same replay.
    """
    made = None if bodies is None else bodies.get(message.id)
    if made is None:
        name = message.name or ""
        key = member_key(message.topic, name)
        made = EventBodies(key, name, message.data, message.retry_ms, message.origin)
        if bodies is not None:
            bodies[message.id] = made
    fragments = min(position.fragments, message.id)
    own = Position(position.epoch, message.id, fragments, None)
    return Outgoing(own, message.topic, None, None, event=made)
