"""One message of an event stream and its wire form.

See https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
for the format: fields end at CRLF, CR or LF and at nothing else, so ``str.splitlines`` (which
also splits at U+2028, form feed and others) must not be used.
"""

import re
from dataclasses import dataclass

from ..errors import EventError
from .position import Position

_LINE_END = re.compile(r"\r\n|\r|\n")
_SURROGATE = re.compile("[\ud800-\udfff]")
_BREAKS_FIELD = re.compile(r"[\r\n\0]")

#: Bytes that a client ignores; sent first so that headers leave every proxy at once.
PREAMBLE = b":\n\n"


@dataclass(frozen=True, slots=True)
class Event:
    r"""A message of an event stream.

    Args:
        data: What the client gets; None sends no data field, and a client then dispatches
            nothing. It may have several lines.
        name: The event's type; None is an unnamed message, which clients call ``message``.
        id: What the client sends back as ``Last-Event-ID`` when it reconnects; "" makes it
            forget the last one.
        retry_ms: Milliseconds that the client shall wait before it reconnects.
        comment: Text that clients ignore.

    Raises:
        EventError: On encoding, if ``name`` or ``id`` contains CR, LF or NUL, ``retry_ms`` is
            negative, or a text is not valid Unicode.

    Example:
        ``Event("a\nb", name="x").encode() == b"event: x\ndata: a\ndata: b\n\n"``
    """

    data: str | None = None
    name: str | None = None
    id: str | None = None
    retry_ms: int | None = None
    comment: str | None = None

    def encode(self) -> bytes:
        """Return the bytes of this message, with the blank line that ends it."""
        identity = "" if self.id is None else f"id: {_field('id', self.id)}\n"
        comment = "" if self.comment is None else _lines(":", self.comment)
        return _utf8(comment + identity) + encode_body(self.data, self.name, self.retry_ms)


def encode_body(
    data: str | None, name: str | None = None, retry_ms: int | None = None, origin: str = ""
) -> bytes:
    """Return a message without its id, which differs between streams while this does not.

    The page of ``origin`` leaves it out; other clients ignore a field that they do not know.
    """
    _check_retry(retry_ms)
    text = "" if retry_ms is None else f"retry: {retry_ms:d}\n"
    if name is not None:
        text += f"event: {_field('name', name)}\n"
    if origin:
        text += f"origin: {_field('origin', origin)}\n"
    if data is not None:
        text += _lines("data:", data)
    return _utf8(text + "\n")


def check_event(data: str, name: str, retry_ms: int | None, most: int) -> None:
    """Refuse what cannot be sent, before it is published; nothing is encoded for it.

    Args:
        data: The event's data.
        name: Its name.
        retry_ms: Milliseconds, or None.
        most: Bytes that one message may have.

    Raises:
        EventError: If the data is too long or not valid Unicode, or ``retry_ms`` is no number of
            milliseconds.
    """
    _check_retry(retry_ms)
    lines = data.count("\n") + data.count("\r") + 1
    # Four bytes for a character at most; only where that is not enough to know is it counted.
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
    """The bytes of one event without its id: each form is encoded once, when it is needed.

    Args:
        key: Its full name, for streams of several topics.
        name: Its bare name, for streams of its topic alone.
        data: Its data.
        retry_ms: Milliseconds that clients wait from now on, or None.
        origin: The page that leaves it out.
    """

    key: str
    name: str
    data: str | None
    retry_ms: int | None
    origin: str
    _full: bytes | None = None
    _bare: bytes | None = None

    def encoded(self, bare: bool) -> bytes:
        """Return the bytes with the bare or with the full name."""
        if bare:
            if self._bare is None:
                self._bare = encode_body(self.data, self.name, self.retry_ms, self.origin)
            return self._bare
        if self._full is None:
            self._full = encode_body(self.data, self.key, self.retry_ms, self.origin)
        return self._full


def encode_id(position: Position) -> bytes:
    """Return the id line that tells a client its position."""
    return f"id: {position}\n".encode()


def _check_retry(retry_ms: int | None) -> None:
    if retry_ms is not None and (isinstance(retry_ms, bool) or retry_ms < 0):
        raise EventError(f"retry_ms is {retry_ms!r}. It must be a whole number, 0 or more.")


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
    """Refuse what UTF-8 cannot say, without encoding the rest: that is done once, when it is sent.

    Raises:
        EventError: If a half of a surrogate pair stands alone.
    """
    alone = None if text.isascii() else _SURROGATE.search(text)
    if alone is not None:
        raise EventError(
            f"A text cannot be sent as UTF-8 (surrogates not allowed, at {alone.start()}). Repair "
            "it before publishing, for example with text.encode('utf-8', 'replace').decode()."
        )


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        check_unicode(text)
        raise
