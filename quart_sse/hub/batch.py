"""Batches: messages of one write, joined once for all connections that get the same bytes."""

import re
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
    #: key of the list, for all of it and for each of its items; "" for anything else
    within: str = ""
    #: whether the page that caused it drops it
    has_origin: bool = False

    def repeats(self, version: Id) -> bool:
        """Whether a pending part of ``version`` keeps its place although this one is later.

        A fragment with ``every=`` is rendered again without a change. If it moved behind later
        events, their positions would promise HTML that the client gets only afterwards.
        """
        return ZERO < self.version <= version


#: The field by which the page that caused a message drops it, behind the id.
_ORIGIN = re.compile(rb"(?<=\n)origin: .*\n")


def in_place_of(old: bytes, new: bytes) -> bytes:
    """Return a message with the id line of the one whose place it takes.

    State may come earlier than it would, never later (rule 43 of ``docs/protocol.md``).
    """
    return old[: old.index(b"\n") + 1] + new[new.index(b"\n") + 1 :]


def for_all(old: bytes, new: bytes) -> bytes:
    """Return a message that replaces another one, for the page that dropped only one of them."""
    one, other = (_ORIGIN.match(data, data.index(b"\n") + 1) for data in (old, new))
    if other is None or (one is not None and one[0] == other[0]):
        return new
    return new[: other.start()] + new[other.end() :]


def _replace(old: Part, new: Part, *, is_in_place: bool = False) -> Part:
    data = new.data
    if isinstance(old.data, bytes) and isinstance(data, bytes):
        if new.has_origin:
            data = for_all(old.data, data)
        if is_in_place:
            data = in_place_of(old.data, data)
    return new._replace(data=data)


def _conflate_lists(parts: list[Part]) -> list[Part]:
    """Let newer items, and whole lists, take the place of what is pending of the list."""
    kept: list[Part | None] = []
    lists: dict[str, dict[str, int]] = {}
    for part in parts:
        places = lists.setdefault(part.within, {}) if part.within else {}
        key = part.key or ""
        at = places.get(key)
        if not part.within or not places or (at is None and key != part.within):
            places[key] = len(kept)
            kept.append(part)
            continue
        old = None if at is None else kept[at]
        if key != part.within:
            if at is not None and old is not None and part.version > old.version:
                kept[at] = _replace(old, part, is_in_place=True)
        elif old is None or old.version <= part.version:
            first = min(places.values())
            oldest = kept[first]
            for place in places.values():
                kept[place] = None
            kept[first] = part if oldest is None else _replace(oldest, part, is_in_place=True)
            lists[part.within] = {key: first}
    return [part for part in kept if part is not None]


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
            if any(part.within for part in parts):
                parts = _conflate_lists(parts)
            newest: dict[str, int] = {}
            for i, part in enumerate(parts):
                if part.key and not part.repeats(parts[newest.setdefault(part.key, i)].version):
                    if part.has_origin:
                        parts[i] = _replace(parts[newest[part.key]], part)
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
