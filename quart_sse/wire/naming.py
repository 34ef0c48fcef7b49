"""Names of topics, keys of fragments, wire names of events, selectors: one function each.

A topic's name is its channel and its parameters, sorted by name, with percent-encoded values:
``comments?discussion_id=7``. A fragment's key and an event's wire name add the fragment or the
event to the channel: ``comments.list?discussion_id=7``. None of them contains a quote, a space,
a comma or a colon, so they need no escaping in selectors, attributes and lists.
"""

import re
from collections.abc import Mapping
from urllib.parse import quote, unquote

from ..errors import DeclarationError, EventError

_NAME = re.compile(r"[A-Za-z][\w-]*", re.ASCII)
_EVENT_NAME = re.compile(r"[A-Za-z][\w.-]*", re.ASCII)
_ELEMENT = re.compile(r"data-sse\s*=", re.IGNORECASE)
_RESERVED_EVENT = re.compile(r"(message|open|error)|(sse-|htmx).*")


def plain(text: str) -> str:
    """Return text as a ``str`` and no subclass.

    An f-string writes a member of ``class Name(str, Enum)`` as ``Name.ADDED``, which would differ
    from what comparisons and other processes take it for.

    Example:
        ``plain(Name.ADDED) == "added"``
    """
    return text if type(text) is str else str.__str__(text)


def check_name(kind: str, name: str) -> str:
    """Return a valid name of a channel or fragment.

    Args:
        kind: ``channel`` or ``fragment``, for the error.
        name: The name to check.

    Raises:
        DeclarationError: If it is not an ASCII letter followed by letters, digits, ``_`` or ``-``.
    """
    if not _NAME.fullmatch(name):
        raise DeclarationError(
            f"{name!r} cannot name a {kind}. Use a letter, then letters, digits, '_' or '-'."
        )
    return plain(name)


def check_event_name(name: str) -> str:
    """Return a valid name of an application's event.

    Reserved are ``message``, which htmx swaps into the page; ``open`` and ``error``, which
    ``EventSource`` dispatches itself; ``sse-*``, our own; and ``htmx*``, htmx's own.

    Raises:
        EventError: If the name is reserved, or is not an ASCII letter followed by letters,
            digits, ``_``, ``.`` or ``-``.
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
    return plain(name)


def topic_name(channel: str, values: Mapping[str, str]) -> str:
    """Return the name of a topic.

    Args:
        channel: The channel's name.
        values: Parameter name -> its value as text, not percent-encoded.

    Example:
        ``topic_name("comments", {"discussion_id": "7"}) == "comments?discussion_id=7"``
    """
    if not values:
        return channel
    pairs = (f"{name}={quote(values[name], safe='')}" for name in sorted(values))
    return f"{channel}?{'&'.join(pairs)}"


def parse_topic(topic: str) -> tuple[str, dict[str, str]]:
    """Split a topic's name into the channel's name and the parameters, percent-decoded.

    Text that is no topic's name gives a channel that does not exist, never an error.
    """
    channel, _, query = topic.partition("?")
    pairs = (pair.partition("=") for pair in query.split("&")) if query else ()
    return channel, {name: unquote(value) for name, _, value in pairs}


def member_key(topic: str, member: str) -> str:
    """Return the key of a topic's fragment, or the wire name of a topic's event.

    Example:
        ``member_key("comments?discussion_id=7", "list") == "comments.list?discussion_id=7"``
    """
    channel, mark, query = topic.partition("?")
    return f"{channel}.{member}{mark}{query}"


def item_key(key: str, item: str) -> str:
    """Return the key of an item of a list, as messages have it.

    Args:
        key: The list's key.
        item: The item's key, percent-encoded; "" for the list with all its items.

    Example:
        ``item_key("comments.list?discussion_id=7", "12") == "comments.list/12?discussion_id=7"``
    """
    name, mark, query = key.partition("?")
    return f"{name}/{item}{mark}{query}"


def quote_item(item: str | int) -> str:
    """Return the key of an item as texts and attributes have it, percent-encoded."""
    return quote(plain(str(item)), safe="")


def items_of(fragment: str) -> str:
    """Return the name by which a token says that its page takes single items of a list.

    A page that the list's channel declared without items has no such name in its token, and is sent
    the whole list.
    """
    return f"{fragment}/"


def topic_of(key: str) -> str:
    """Return the topic of a key that :func:`member_key` has made of a topic of a channel."""
    channel, _, member = key.partition(".")
    _, mark, query = member.partition("?")
    return f"{channel}{mark}{query}"


def has_fragments(html: str) -> bool:
    """Whether HTML may contain elements of fragments; text that looks like one counts, too."""
    return _ELEMENT.search(html) is not None


def declared_name(topic: str, fragment: str) -> str:
    """Return a fragment's name as code and templates write it, without the topic's parameters.

    Example:
        ``declared_name("comments?discussion_id=7", "list") == "comments.list"``
    """
    return f"{topic.partition('?')[0]}.{fragment}"


def selector(key: str) -> str:
    """Return the CSS selector of the elements that show the fragment with this key."""
    return f"[data-sse='{key}']"
