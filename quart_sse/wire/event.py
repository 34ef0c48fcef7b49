"""One message of an event stream, and its encoding.

The format is the WHATWG's:
https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
Fields end at CRLF, CR or LF only. ``str.splitlines`` also splits at U+2028, form feed and
others, so it must not be used here.
"""

import json
import re
from dataclasses import KW_ONLY, dataclass
from typing import Any

from ..errors import EventError
from .naming import plain
from .position import Position

_LINE_END = re.compile(r"\r\n|\r|\n")
_SURROGATE = re.compile("[\ud800-\udfff]")
_BREAKS_FIELD = re.compile(r"[\r\n\0]")


@dataclass(frozen=True, slots=True)
class Event:
    r"""A message of an event stream.

    Args:
        data: Text of one or more lines. None sends no data field, so that clients dispatch
            nothing.
        name: The event's type. None sends an unnamed event, whose type is ``message``.
        id: Value of ``Last-Event-ID`` when the client reconnects. "" clears the last one.
        retry_ms: Reconnect delay of the client from now on, in milliseconds.
        comment: Text that clients ignore.

    Raises:
        EventError: By :meth:`encode`, if ``name`` or ``id`` contains CR, LF or NUL, if
            ``retry_ms`` is negative, or if a text is not valid Unicode.

    Example:
        ``Event("a\nb", name="x").encode() == b"event: x\ndata: a\ndata: b\n\n"``
    """

    data: str | None = None
    _: KW_ONLY
    name: str | None = None
    id: str | None = None
    retry_ms: int | None = None
    comment: str | None = None

    def encode(self) -> bytes:
        """Return the message as bytes, with the blank line that ends it.

        Raises:
            EventError: See :class:`Event`.
        """
        # Before f-strings, which write a member of a str enumeration by another name.
        data, name = (None if each is None else plain(each) for each in (self.data, self.name))
        identity = "" if self.id is None else f"id: {_field('id', plain(self.id))}\n"
        comment = "" if self.comment is None else _lines(":", self.comment)
        return _utf8(comment + identity) + encode_body(data, name, self.retry_ms)


def encode_body(
    data: str | None, name: str | None = None, retry_ms: int | None = None, **own: str
) -> bytes:
    """Encode a message without its id: connections share these bytes and differ in the id.

    Args:
        data: Text of the ``data`` fields; None sends none.
        name: The event's type; None for an unnamed one.
        retry_ms: Reconnect delay of the client, in milliseconds.
        own: Fields of the protocol by name, such as ``origin`` and ``key``; an empty value sends
            none. The standard does not have them, by which other clients ignore them.

    Raises:
        EventError: See :class:`Event`.
    """
    _check_retry(retry_ms)
    text = "" if retry_ms is None else f"retry: {retry_ms:d}\n"
    if name is not None:
        text += f"event: {_field('name', name)}\n"
    for field, value in own.items():
        if value:
            text += f"{field}: {_field(field, value)}\n"
    if data is not None:
        text += _lines("data:", data)
    return _utf8(text + "\n")


#: What a text that JSON can read begins with (RFC 8259).
_JSON_BEGINS = re.compile(r'[ \t\r\n]*[\[{"0-9tfn-]')


def is_like_json(text: str) -> bool:
    """Whether scripts may read a text as JSON, so that it must be marked as text."""
    return _JSON_BEGINS.match(text) is not None


def decode_data(data: str | None, is_text: bool) -> Any:
    """Return the data of an event as quart-sse.js hands them to scripts: what its JSON holds.

    Args:
        data: The text of the data; None for none.
        is_text: Whether they are a text that only reads like JSON.

    Returns:
        What the JSON holds; the text itself if it is none.
    """
    if data is None or is_text:
        return data
    try:
        return json.loads(data)
    except ValueError:
        return data


def check_event(data: str, name: str, retry_ms: int | None, most: int) -> None:
    """Raise for an event that could not be sent, before it is published.

    Args:
        data: The event's data.
        name: The event's name.
        retry_ms: Reconnect delay of the client, in milliseconds, or None.
        most: Largest size of a message, in bytes.

    Raises:
        EventError: If the message is larger than ``most``, ``data`` is not valid Unicode, or
            ``retry_ms`` is not a whole number of 0 or more.
    """
    _check_retry(retry_ms)
    lines = data.count("\n") + data.count("\r") + 1
    # UTF-8 takes at most four bytes a character: only data near the bound has to be encoded.
    size = 4 * len(data) + 7 * lines + len(name) + 64
    if size > most:
        size += len(data.encode(errors="replace")) - 4 * len(data)
    if size > most:
        raise EventError(
            f"The event {name!r} has about {size} bytes; a connection may hold {most} "
            "(QUART_SSE_PENDING_BYTES). Publish a reference, and let clients fetch the rest."
        )
    check_unicode(data)


@dataclass(slots=True)
class EventBodies:
    """One event without its id, encoded at most once for each of its two names.

    Args:
        key: Full wire name, for streams of several topics; see ``member_key``.
        name: Bare name, for streams of this topic alone.
        data: The event's data, or None.
        retry_ms: Reconnect delay of clients, in milliseconds, or None.
        origin: ``<id>.<page>`` of the page that drops the event, or "".
        type: ``"text"`` if the data are a text that reads like JSON, or "".
    """

    key: str
    name: str
    data: str | None
    retry_ms: int | None
    origin: str
    type: str = ""
    _full: bytes | None = None
    _bare: bytes | None = None

    def encoded(self, bare: bool) -> bytes:
        """Return the event's bytes under its bare or its full name."""
        if bare:
            if self._bare is None:
                self._bare = self._encode(self.name)
            return self._bare
        if self._full is None:
            self._full = self._encode(self.key)
        return self._full

    def _encode(self, name: str) -> bytes:
        if not self.type:  # nearly every event
            return encode_body(self.data, name, self.retry_ms, origin=self.origin)
        return encode_body(self.data, name, self.retry_ms, origin=self.origin, type=self.type)


def encode_preamble(retry_ms: int) -> bytes:
    """Return the first block of a stream, which says when to reconnect and dispatches nothing.

    It is sent at once, so that proxies forward the headers. htmx 4 ignores a block of ``retry:``
    alone, and therefore finds the delay in ``sse-open``, too.

    Args:
        retry_ms: Reconnect delay of clients whose stream is cut, in milliseconds.
    """
    return f"retry: {retry_ms:d}\n:\n\n".encode()


def encode_id(position: Position) -> bytes:
    """Return the ``id:`` line of a position, with its line end."""
    return f"id: {position}\n".encode()


def _check_retry(retry_ms: int | None) -> None:
    if retry_ms is not None and (isinstance(retry_ms, bool) or retry_ms < 0):
        raise EventError(
            f"retry_ms is {retry_ms!r}. Pass a whole number of milliseconds, 0 or more."
        )


def _field(field: str, value: str) -> str:
    if _BREAKS_FIELD.search(value):
        raise EventError(
            f"The {field} {value!r} of an event contains CR, LF or NUL, which would end the "
            "field and start another. Remove them, or put the text into data."
        )
    return value


def _lines(field: str, text: str) -> str:
    return "".join(f"{field} {line}\n" for line in _LINE_END.split(text))


def check_unicode(text: str) -> None:
    """Raise for text that UTF-8 cannot encode.

    The text is searched, not encoded: encoding happens once, for the message.

    Raises:
        EventError: If the text contains a lone surrogate.
    """
    alone = None if text.isascii() else _SURROGATE.search(text)
    if alone is not None:
        raise EventError(
            f"The text is not valid UTF-8 (surrogates not allowed, at {alone.start()}). Repair "
            "it before publishing, for example with text.encode('utf-8', 'replace').decode()."
        )


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        check_unicode(text)
        raise
