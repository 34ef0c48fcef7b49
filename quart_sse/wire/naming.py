"""The one function each for topic name, fragment key, DOM selector and wire name.

A topic's name is its channel and its parameters in the order of their names, each value
percent-encoded: ``comments?discussion_id=7``. A fragment's key puts the fragment behind the
channel: ``comments.list?discussion_id=7``; an event's wire name is built in the same way.
No quote, space, comma or colon can appear in any of them.
"""

import re
from collections.abc import Mapping
from urllib.parse import quote, unquote

from ..errors import DeclarationError, EventError

_NAME = re.compile(r"[A-Za-z][\w-]*", re.ASCII)
_EVENT_NAME = re.compile(r"[A-Za-z][\w.-]*", re.ASCII)
_ELEMENT = re.compile(r"data-sse\s*=", re.IGNORECASE)
_RESERVED_EVENT = re.compile(r"(message|open|error)|(sse-|htmx).*")


def check_name(kind: str, name: str) -> str:
    """Return the name of a channel or fragment if it can be one.

    Raises:
        DeclarationError: If it is not a letter followed by letters, digits, ``_`` or ``-``.
    """
    if not _NAME.fullmatch(name):
        raise DeclarationError(
            f"{name!r} cannot name a {kind}. Use a letter, then letters, digits, '_' or '-'."
        )
    return name


def check_event_name(name: str) -> str:
    """Return an application's event name if it can be one.

    ``message`` would be swapped into the page as HTML, ``open`` and ``error`` are events of
    ``EventSource`` itself, ``sse-*`` are ours and ``htmx*`` belong to htmx.

    Raises:
        EventError: If the name is reserved, or not a letter followed by letters, digits,
            ``_``, ``.`` or ``-``.
    """
    if not _EVENT_NAME.fullmatch(name):
        raise EventError(
            f"{name!r} cannot name an event. Use a letter, then letters, digits, '_', '.' or '-'."
        )
    if _RESERVED_EVENT.fullmatch(name):
        raise EventError(
            f"The event name {name!r} is reserved: 'message', 'open', 'error', 'sse-*' and "
            f"'htmx*' mean something to browsers or htmx. Use another, such as 'app-{name}'."
        )
    return name


def topic_name(channel: str, values: Mapping[str, str]) -> str:
    """Return the name of a topic.

    Args:
        channel: The channel's name.
        values: Parameter name -> value as text, not encoded.

    Example:
        ``topic_name("comments", {"discussion_id": "7"}) == "comments?discussion_id=7"``
    """
    if not values:
        return channel
    pairs = (f"{name}={quote(values[name], safe='')}" for name in sorted(values))
    return f"{channel}?{'&'.join(pairs)}"


def parse_topic(topic: str) -> tuple[str, dict[str, str]]:
    """Return the channel's name and the parameters (decoded text) of a topic's name."""
    channel, _, query = topic.partition("?")
    pairs = (pair.partition("=") for pair in query.split("&")) if query else ()
    return channel, {name: unquote(value) for name, _, value in pairs}


def member_key(topic: str, member: str) -> str:
    """Return the key of a fragment, or the full wire name of an event, of a topic.

    Example:
        ``member_key("comments?discussion_id=7", "list") == "comments.list?discussion_id=7"``
    """
    channel, mark, query = topic.partition("?")
    return f"{channel}.{member}{mark}{query}"


def has_fragments(html: str) -> bool:
    """Whether elements of fragments stand in HTML; harmless text may look like one."""
    return _ELEMENT.search(html) is not None


def declared_name(topic: str, fragment: str) -> str:
    """Return how a fragment of a topic is named in code and templates, whatever the parameters.

    Example:
        ``declared_name("comments?discussion_id=7", "list") == "comments.list"``
    """
    return f"{topic.partition('?')[0]}.{fragment}"


def selector(key: str) -> str:
    """Return the CSS selector of the elements that show a fragment."""
    return f"[data-sse='{key}']"
