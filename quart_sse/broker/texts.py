"""The texts that a broker keeps for URLs: how much room they have, and the memory broker's.

Each page that is opened may have its list of topics kept, so there are bounds. A text that is kept
is never pushed out by another one: without room the newer one is refused.
"""

import hashlib
import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

#: What keeping a text takes beside the text itself, in bytes.
OVERHEAD = 512
#: Most bytes of one text.
LARGEST = 1 << 20
#: How many texts that have expired are forgotten with each new one.
FORGET = 50


def reference_of(text: str) -> str:
    """Return the reference under which a text is kept.

    It is made of the text alone, so equal texts are kept once.
    """
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class Shelf(Enum):
    """A room for texts; what is on one takes nothing from another.

    Attributes:
        key: Its name.
        of: Whose texts are on it, for the log.
        most: Most bytes of all texts.
        share: Most bytes of the texts of one owner. That of an address is a quarter: behind a proxy
            that is not configured for it, all clients seem to have the same one.
    """

    USERS = "users", "pages of users", 32 << 20, 1 << 20
    SIGNED = "signed", "visitors' pages with channels that are not public", 16 << 20, 4 << 20
    OPEN = "open", "visitors' public pages", 16 << 20, 4 << 20
    #: what processes of the app declare, for publishers without the app
    DECLARED = "declared", "channels", 4 << 20, 4 << 20

    def __init__(self, key: str, of: str, most: int, share: int) -> None:
        self.key = key
        self.of = of
        self.most = most
        self.share = share


class Claim(NamedTuple):
    """For whom a text is kept."""

    shelf: Shelf
    owner: str  #: name of a user or of an address; without "|"


def size_of(text: str) -> int:
    """Return what keeping a text takes, in bytes."""
    return len(text.encode()) + OVERHEAD


@dataclass(slots=True)
class _Kept:
    text: str
    expires: float
    claim: Claim


class Texts:
    """The texts that the memory broker keeps.

    Args:
        clock: Returns the time in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._kept: dict[str, _Kept] = {}
        # When to check whether a text has expired; one entry for each.
        self._expiries: list[tuple[float, str]] = []
        self._of_shelf: Counter[Shelf] = Counter()
        self._of_claim: Counter[Claim] = Counter()

    @property
    def size(self) -> int:
        """Size of all kept texts, in bytes."""
        return sum(self._of_shelf.values())

    def keep(self, text: str, seconds: float, claim: Claim) -> str | None:
        """Keep a text, or keep it for longer; None if there is no room for it.

        Args:
            text: The text.
            seconds: How long to keep it, in seconds.
            claim: For whom it is kept; one that is kept already stays with its first claim.
        """
        now, reference = self._clock(), reference_of(text)
        self._forget(now)
        kept = self._kept.get(reference)
        if kept is not None:
            kept.expires = max(kept.expires, now + seconds)
            return reference
        shelf, size = claim.shelf, size_of(text)
        if size > LARGEST:
            return None
        if self._of_shelf[shelf] + size > shelf.most or self._of_claim[claim] + size > shelf.share:
            return None
        self._of_shelf[shelf] += size
        self._of_claim[claim] += size
        self._kept[reference] = _Kept(text, now + seconds, claim)
        heapq.heappush(self._expiries, (now + seconds, reference))
        return reference

    def get(self, reference: str) -> str | None:
        """Return a kept text; None if it has expired or was never kept."""
        kept = self._kept.get(reference)
        return kept.text if kept is not None and kept.expires > self._clock() else None

    def _forget(self, now: float) -> None:
        for _ in range(FORGET):
            if not self._expiries or self._expiries[0][0] > now:
                return
            reference = self._expiries[0][1]
            kept = self._kept[reference]
            if kept.expires > now:
                heapq.heapreplace(self._expiries, (kept.expires, reference))
                continue
            heapq.heappop(self._expiries)
            del self._kept[reference]
            size, claim = size_of(kept.text), kept.claim
            self._of_shelf[claim.shelf] -= size
            self._of_claim[claim] -= size
            if not self._of_claim[claim]:
                del self._of_claim[claim]
