"""Batches: messages of one write, joined once for all connections that get the same bytes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from ..wire import ZERO, Id

#: Key of heartbeats, by which a batch keeps the newest alone; no fragment has such a key.
HEARTBEAT = " "


@dataclass(frozen=True, slots=True)
class Personal:
    """A change of a personal fragment, which each page fetches with its viewer's cookies.

    Each connection encodes it by itself, because the URL carries the connection's token.
    """

    id_line: bytes  #: the ``id:`` line of the position, with its line end
    topic: str
    fragment: str
    viewers: int  #: connections that fetch it; the more there are, the longer the random delay


class Part(NamedTuple):
    """One message of a batch."""

    #: parts with the same key are conflated to the newest, such as a fragment's; None for events
    key: str | None
    data: bytes | Personal
    version: Id = ZERO  #: version of a fragment's HTML; zero if each part replaces the one before

    def repeats(self, version: Id) -> bool:
        """Whether a pending part of ``version`` keeps its place although this one is later.

        A fragment with ``every=`` is rendered again without a change. If it moved behind later
        events, their positions would promise HTML that the client gets only afterwards.
        """
        return ZERO < self.version <= version


@dataclass(slots=True)
class Batch:
    """Messages of one write, whose bytes many connections share."""

    parts: tuple[Part, ...]
    #: all parts joined; None if a part is personal, so that connections' bytes differ
    data: bytes | None
    #: ``data`` as one chunk of HTTP/1.1 (RFC 9112, 7.1), once a connection has asked for it
    chunk: bytes | None = field(default=None, init=False, compare=False)

    @classmethod
    def of(cls, parts: list[Part]) -> "Batch":
        """Conflate messages to the newest version of each fragment, and join their bytes.

        Args:
            parts: The messages, in the order of publishing.
        """
        if len(parts) > 1:
            newest: dict[str, int] = {}
            for i, part in enumerate(parts):
                if part.key and not part.repeats(parts[newest.setdefault(part.key, i)].version):
                    newest[part.key] = i
            parts = [part for i, part in enumerate(parts) if newest.get(part.key or "", i) == i]
        chunks = [part.data for part in parts if isinstance(part.data, bytes)]
        shared = len(chunks) == len(parts)
        data = (chunks[0] if len(chunks) == 1 else b"".join(chunks)) if shared else None
        return cls(tuple(parts), data)

    def make_chunk(self) -> bytes | None:
        """Make ``chunk``, which all connections share, and return it; None without shared bytes."""
        if self.data:
            self.chunk = chunk_of(self.data)
        return self.chunk

    def personalized(self, loader: Callable[[Personal], bytes]) -> "Batch":
        """Return the batch for one connection, with every personal part encoded.

        Args:
            loader: Encodes the message by which the connection's page fetches a fragment.
        """
        parts = (
            part if isinstance(part.data, bytes) else part._replace(data=loader(part.data))
            for part in self.parts
        )
        return Batch(tuple(parts), None)


def chunk_of(data: bytes) -> bytes:
    """Return bytes as one chunk of HTTP/1.1."""
    return b"%x\r\n%b\r\n" % (len(data), data)
