"""What goes out in one write: messages, joined once for all connections that get the same."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from ..wire import ZERO, Id


@dataclass(frozen=True, slots=True)
class Personal:
    """A change of a personal fragment: each connection's viewer fetches it for himself."""

    id_line: bytes
    topic: str
    fragment: str
    viewers: int  #: how many fetch it; decides over how long a time they are spread


class Part(NamedTuple):
    """One message of a batch."""

    key: str | None  #: the fragment's key: a newer version takes its place; None for events
    data: bytes | Personal
    version: Id = ZERO  #: of a fragment's HTML; zero if what is newer is newer

    def repeats(self, version: Id) -> bool:
        """Whether a version that is pending already need not be replaced by this one.

        It must not be, either, when a fragment that is rendered regularly comes again without a
        change: positions that stand behind the pending one rely on its place.
        """
        return ZERO < self.version <= version


@dataclass(frozen=True, slots=True)
class Batch:
    """What goes to many connections in one write; the bytes are shared by all of them."""

    parts: tuple[Part, ...]
    #: all parts joined; None if a part differs between connections
    data: bytes | None

    @classmethod
    def of(cls, parts: list[Part]) -> "Batch":
        """Join messages, with only the newest version of each fragment."""
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

    def personalized(self, loader: Callable[[Personal], bytes]) -> "Batch":
        """Return the batch as one connection gets it, whose parts are all bytes."""
        parts = (
            part if isinstance(part.data, bytes) else part._replace(data=loader(part.data))
            for part in self.parts
        )
        return Batch(tuple(parts), None)
