"""Messages on their way to connections: encoded once, with the position that they carry."""

from collections.abc import Callable

from .broker import Message
from .event import EventBodies, encode_fragment
from .fragment import Rendered, SharedFragment
from .fragments import Fragments
from .group import HEARTBEAT, Item
from .naming import member_key
from .position import Id, Position

#: Event -> its bytes.
Bodies = dict[Id, EventBodies]


class Items:
    """Makes the messages of one process.

    Args:
        position: Tells where every connection stands that owes nothing.
    """

    def __init__(self, position: Callable[[], Position]) -> None:
        self._position = position

    @property
    def seen(self) -> Id:
        """Up to where this process has heard of everything."""
        return self._position().events

    def heartbeat(self) -> Item:
        """Return the message that says nothing but the position."""
        return Item(self._position(), "", None, HEARTBEAT, b"\n")

    def signal(
        self, topic: str, fragment: str, viewers: int, position: Position | None = None
    ) -> Item:
        """Return the message after which viewers fetch a personal fragment.

        Args:
            topic: The fragment's topic.
            fragment: Its name.
            viewers: How many fetch it.
            position: What it carries, if not the process's own.
        """
        position = position or self._position()
        return Item(position, topic, fragment, member_key(topic, fragment), viewers=viewers)

    def html(self, fragments: Fragments, shared: SharedFragment, rendered: Rendered) -> Item:
        """Return the message that brings a fragment's HTML, and the newest of what is inside.

        Args:
            fragments: Below the root path of the pages that it is for.
            shared: The fragment.
            rendered: What it shows.
        """
        topic, name = shared.topic, shared.spec.name
        whole = fragments.whole(rendered, frozenset({shared.key}))
        body = encode_fragment(shared.key, whole.html, whole.behind)
        # Never zero, which is for what has no versions.
        version = max(shared.version, Id(0, 1))
        position = self._position()
        return Item(
            position,
            topic,
            name,
            shared.key,
            body,
            version=version,
            begun=shared.begun,
            is_extra=shared.is_extra,
            inner=frozenset(other for other, _ in whole.nested if other != topic),
        )

    def event(self, message: Message, bodies: Bodies | None = None) -> Item:
        """Return an event's message.

        Args:
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
        epoch, _, fragments, _ = self._position()
        position = Position(epoch, message.id, min(fragments, message.id), None)
        return Item(position, message.topic, None, None, event=made)
