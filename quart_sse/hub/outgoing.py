"""Messages for connections, encoded once for all that get the same bytes."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..broker import Message
from ..wire import (
    RESERVED,
    ZERO,
    EventBodies,
    Id,
    Position,
    encode_body,
    encode_fragment,
    encode_id,
    encode_item,
    encode_list,
    event_key,
    item_key,
    member_key,
    public_name,
)
from .batch import HEARTBEAT, Part, Personal
from .fragment import SharedFragment
from .fragments import Whole
from .item import Item

_NOWHERE = Position("", ZERO, ZERO)

#: When an event for one connection was sent, by the loop's clock, and the event.
Sent = tuple[float, "Outgoing"]

#: Id of an event -> the event, encoded.
Bodies = dict[Id, EventBodies]


@dataclass(slots=True)
class Outgoing:
    """One message for connections: its bytes without id, and the position of its id."""

    position: Position  #: position of a fully caught-up connection after this message
    topic: str
    fragment: str | None  #: None for events and heartbeats
    key: str | None  #: see Part
    body: bytes = b""  #: bytes without id; b"" for a change of a personal fragment
    event: EventBodies | None = None  #: takes the place of ``body`` for events
    version: Id = ZERO  #: version of a fragment's HTML
    begun: int = 0  #: number at which the render began, by ``next_number``; 0 if unknown
    is_extra: bool = False  #: whether the render was made without a known change
    viewers: int = 0  #: connections that fetch a personal fragment
    inner: frozenset[str] = frozenset()  #: other topics of the fragments inside
    is_direct: bool = False  #: whether it is for one connection, and has no place in the order
    origin: str = ""  #: of HTML: the page that caused it and drops it
    within: str = ""  #: key of the list, for all of it and for each of its items
    items_body: bytes = b""  #: of a whole list: takes the place of ``body`` for pages with items
    #: of a whole list: item -> version of its HTML behind the list's
    newer: Mapping[str, Id] | None = None
    is_targeted: bool = False  #: whether pages with items want it only if they are owed it
    _parts: dict[tuple[bool, int | None, bool], Part] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Number of characters of the event, or of bytes of the message."""
        return len(self.body) if self.event is None else len(self.event.data or "")

    def part(self, bare: bool, granted: int | None, has_items: bool = False) -> Part:
        """Return the message for connections that share bytes, encoded once for each kind of them.

        Args:
            bare: Whether event names go out without their topic.
            granted: Bitmask of the granted topics of the URL; None if all were.
            has_items: Whether the connections' pages take single items of the list.
        """
        kind = (bare, granted, has_items)
        part = self._parts.get(kind)
        if part is None:
            position = self.position._replace(granted=granted)
            part = self.part_at(position, bare, has_items, self.origin)
            self._parts[kind] = part
        return part

    def part_at(
        self, position: Position, bare: bool, has_items: bool = False, origin: str = ""
    ) -> Part:
        """Return the message with a connection's own position, for the page that caused it, too."""
        if self.is_direct:
            return Part(None, self.body)
        line = encode_id(position)
        if self.event is not None:
            return Part(self.key, line + self.event.encoded(bare), self.version)
        if self.body or self.fragment is None:
            if origin:
                line += f"origin: {origin}\n".encode()
            if has_items and self.within:
                body = self.items_body or self.body
                return Part(self.key, line + body, self.version, self.within, bool(origin))
            return Part(self.key, line + self.body, self.version, has_origin=bool(origin))
        return Part(self.key, Personal(line, self.topic, self.fragment, self.viewers))

    @classmethod
    def direct(cls, name: str, data: str, *, is_text: bool, once: str) -> "Outgoing":
        """Return an event for one connection, which is kept in no history.

        It has no id, so the client's position stays.

        Args:
            name: The wire name of the event.
            data: The event's data.
            is_text: Whether the data are a text that reads like JSON.
            once: A name by which a client drops a second copy: while a stream takes the place of
                another, both are sent the event.
        """
        body = encode_body(data, name, once=once, type="text" if is_text else "")
        return cls(_NOWHERE, "", None, None, body, is_direct=True)

    @classmethod
    def heartbeat(cls, position: Position) -> "Outgoing":
        """Return a message that carries only a position."""
        return cls(position, "", None, HEARTBEAT, b"\n")

    @classmethod
    def signal(cls, position: Position, topic: str, fragment: str, viewers: int) -> "Outgoing":
        """Return the message after which pages fetch a personal fragment.

        Args:
            position: The process's position.
            topic: The fragment's topic.
            fragment: The fragment's name.
            viewers: Number of connections that fetch it.
        """
        return cls(position, topic, fragment, member_key(topic, fragment), viewers=viewers)

    @classmethod
    def from_html(cls, position: Position, shared: SharedFragment, whole: Whole) -> "Outgoing":
        """Return the message with a fragment's HTML and the newest HTML of those inside.

        Args:
            position: The process's position.
            shared: The fragment.
            whole: The fragment's HTML, with that of the fragments inside.
        """
        topic = shared.topic
        outgoing = cls(
            position,
            topic,
            shared.spec.name,
            shared.key,
            encode_fragment(shared.key, whole.html, whole.behind),
            # Not zero, which means "no version".
            version=max(shared.version, Id(0, 1)),
            begun=shared.begun,
            is_extra=shared.is_extra,
            inner=frozenset(other for other, _ in whole.nested if other != topic),
            origin=shared.origin,
        )
        if shared.spec.item is not None:
            outgoing.within, outgoing.is_targeted = shared.key, shared.is_targeted
            outgoing.newer = {item: version for item, (version, _) in whole.items.items()}
            outgoing.items_body = encode_list(
                shared.key,
                whole.html,
                whole.behind,
                {item: html for item, (_, html) in whole.items.items()},
                shared.spec.item.text,
            )
        return outgoing

    @classmethod
    def from_item(
        cls, position: Position, shared: SharedFragment, item: Item, whole: Whole
    ) -> "Outgoing":
        """Return the message with the HTML of one item of a list.

        Args:
            position: The process's position.
            shared: The list.
            item: The item.
            whole: The item's HTML, with that of the fragments inside; "" if it has gone.
        """
        topic, place = shared.topic, shared.spec.item
        assert place is not None
        return cls(
            position,
            topic,
            shared.spec.name,
            item_key(shared.key, item.key),
            encode_item(shared.key, item.key, whole.html, place.text, whole.behind),
            version=item.version,
            inner=frozenset(other for other, _ in whole.nested if other != topic),
            origin=item.origin,
            within=shared.key,
            is_targeted=item.is_targeted,
        )

    @classmethod
    def from_event(
        cls, position: Position, message: Message, bodies: Bodies | None = None
    ) -> "Outgoing":
        """Return the message of an event.

        Args:
            position: The process's position.
            message: The event, as the broker delivers it.
            bodies: Encoded events of a replay that several connections share; this one is added.
        """
        made = None if bodies is None else bodies.get(message.id)
        if made is None:
            key = event_key(message.topic, message.name or "")
            # For a user or everyone it is no event of the one topic of a bare stream.
            is_reserved = public_name(message.topic) in RESERVED
            name = key if is_reserved else message.name or ""
            kind = "text" if message.is_text else ""
            made = EventBodies(key, name, message.data, message.retry_ms, message.origin, kind)
            if bodies is not None:
                bodies[message.id] = made
        fragments = min(position.fragments, message.id)
        own = Position(position.epoch, message.id, fragments, None)
        return cls(own, message.topic, None, None, event=made)
