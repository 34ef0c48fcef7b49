"""What a source sends, as the bytes of messages."""

from dataclasses import replace
from typing import Any, TypeAlias

from ..errors import EventError
from ..publisher import MessagePublisher
from ..wire import STARTED, Event, encode_body

#: What a source may send: an event; a name and data, as for ``publish``; the data of an unnamed
#: event; or bytes of whole messages, which go out as they are.
StreamItem: TypeAlias = Event | tuple[str, Any] | str | bytes


class Items:
    """Encodes the items of one source.

    Args:
        publisher: Writes data as JSON, and knows the size limit of an event.
        resumes: Whether the source goes on where a client was cut off. Otherwise its items cannot
            clear the id by which a client that comes again is known.
    """

    def __init__(self, publisher: MessagePublisher, resumes: bool) -> None:
        self._publisher = publisher
        self._resumes = resumes
        self._rest = b""  #: raw bytes whose message is not whole yet
        self._is_behind_cr = False  #: whether a line feed would belong to the line end before it

    def encode(self, item: object) -> bytes:
        """Return an item as bytes; ``b""`` for raw bytes whose message is not whole yet.

        Raises:
            EventError: If a name is reserved or invalid, or data cannot be sent.
            TypeError: If it is no item.
        """
        if isinstance(item, bytes | bytearray | memoryview):
            return self.raw(bytes(item))
        self.check_whole()
        if isinstance(item, Event):
            is_clearing = item.id == "" and not self._resumes
            return (replace(item, id=STARTED) if is_clearing else item).encode()
        if isinstance(item, str):
            return Event(item).encode()
        if isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str):
            name, data = item
            text, is_like_json = self._publisher.encode(name, data)
            return encode_body(text, name, type="text" if is_like_json else "")
        raise TypeError(
            f"A source of sse.stream() sent {_short(item)}, which is no item. Send an Event, a "
            "pair of name and data, a str, or bytes."
        )

    def raw(self, data: bytes) -> bytes:
        """Return the whole messages in raw bytes, which may be cut anywhere; keep the rest.

        Raises:
            EventError: If one message is larger than ``QUART_SSE_PENDING_BYTES``.
        """
        # A client need not know the other two line ends of the standard, and ours does not.
        data = data.removeprefix(b"\n") if self._is_behind_cr else data
        self._is_behind_cr = data.endswith(b"\r") or (self._is_behind_cr and not data)
        text = self._rest + data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        whole, end, self._rest = text.rpartition(b"\n\n")
        if len(self._rest) > self._publisher.max_bytes:
            raise EventError(
                f"Raw bytes hold {len(self._rest)} bytes without a blank line, which ends a "
                "message. Send whole messages, of at most QUART_SSE_PENDING_BYTES."
            )
        return whole + end

    def check_whole(self) -> None:
        """Raise if raw bytes wait for the end of their message.

        Raises:
            EventError: If they do.
        """
        if self._rest.strip(b"\n"):
            raise EventError(
                f"Raw bytes end with {_short(self._rest)}, without the blank line that ends a "
                "message. End each message with two line ends."
            )
        self._rest = b""


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
