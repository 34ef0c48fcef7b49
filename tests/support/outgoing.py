"""Messages on their way to connections, by numbers."""

from quart_sse.hub.batch import HEARTBEAT
from quart_sse.hub.outgoing import Outgoing
from quart_sse.wire.event import EventBodies
from quart_sse.wire.position import Id, Position

LIST = "notes.list?room=7"


def at(number: int) -> Id:
    """Return the id of the broker's message of that number."""
    return Id(number, 0)


def position(events: int, fragments: int | None = None, granted: int | None = None) -> Position:
    """Return a position by numbers; fragments are where events are unless said otherwise."""
    return Position("e", at(events), at(events if fragments is None else fragments), granted)


def event(events: int, fragments: int | None = None) -> Outgoing:
    """Return an event, whose body is its number."""
    body = b"data: %d\n\n" % events
    bodies = EventBodies("", "", None, None, "", "", body, b"bare " + body)
    return Outgoing(position(events, fragments), "board", None, None, event=bodies)


def html(events: int, fragments: int | None = None, *, version: int = 0) -> Outgoing:
    """Return a version of the list, whose body is the version."""
    where = position(events, fragments)
    return Outgoing(
        where, "notes?room=7", "list", LIST, b"data: v%d\n\n" % version, None, at(version)
    )


def heartbeat(events: int, fragments: int | None = None) -> Outgoing:
    """Return a heartbeat."""
    return Outgoing(position(events, fragments), "", None, HEARTBEAT, b"\n")
