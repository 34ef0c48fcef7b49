"""Audiences: topics that connections listen to by who they are, not by what their pages show.

Three names that no channel may have stand before such events: ``user`` (every stream of a user),
``everyone`` (every stream) and ``connection`` (one connection). The events of a user, of everyone
and of a whole channel are kept in topics of their own, of which clients see the name alone.
"""

from functools import cache
from urllib.parse import quote, unquote

from .naming import member_key

USER, EVERYONE, CONNECTION = "user", "everyone", "connection"
#: Names that no channel may have.
RESERVED = frozenset({USER, EVERYONE, CONNECTION})

_USER, _CHANNEL = f"{USER}?identity=", f"{EVERYONE}?channel="


def user_topic(identity: str) -> str:
    """Return the topic of a user's events."""
    return _USER + quote(identity, safe="", errors="replace")


@cache
def channel_topic(channel: str) -> str:
    """Return the topic of the events for all who listen to any topic of a channel."""
    return _CHANNEL + channel


def channel_of(audience: str) -> str | None:
    """Return the channel whose listeners an audience is; None for a user or everyone."""
    return audience.removeprefix(_CHANNEL) if audience.startswith(_CHANNEL) else None


def identity_of(audience: str) -> str | None:
    """Return the identity of the user whose streams an audience is; None for any other."""
    return unquote(audience.removeprefix(_USER)) if audience.startswith(_USER) else None


def is_audience(topic: str) -> bool:
    """Whether a topic is an audience, not one of a channel."""
    return topic == EVERYONE or topic.startswith((_USER, _CHANNEL))


def public_name(topic: str) -> str:
    """Return the name under which clients know a topic.

    It keeps a user's identity from the stream.

    Example:
        ``public_name("user?identity=7") == "user"``
    """
    if not is_audience(topic):
        return topic
    return channel_of(topic) or topic.partition("?")[0]


def event_key(topic: str, name: str) -> str:
    """Return the wire name of a topic's or an audience's event.

    Example:
        ``event_key("everyone?channel=comments", "closed") == "comments.closed"``
    """
    return member_key(public_name(topic), name)
