"""Pages: what each page of a connection is sent, by its token, and how much they list."""

from collections.abc import Collection, Container, Iterable
from functools import lru_cache
from typing import NamedTuple

from ..wire import CONNECTION, EVERYONE, USER


class Listed(NamedTuple):
    """Numbers of topics in the lists of a stream, or of all streams of an address.

    Attributes:
        all: Of all topics.
        unsigned: Of those in lists that no page of the app has written; 0 without a secret key.
    """

    all: int = 0
    unsigned: int = 0

    @staticmethod
    @lru_cache(256)
    def of(all: int, unsigned: int) -> "Listed":
        """Return one object for equal numbers: most streams have the same."""
        return Listed(all, unsigned)

    def plus(self, other: "Listed", sign: int = 1) -> "Listed":
        """Return the numbers with those of another stream added, or with ``-1`` taken off."""
        return Listed(self.all + sign * other.all, self.unsigned + sign * other.unsigned)


#: Of a stream without lists.
NO_LISTS: Listed = Listed()
#: One empty set for all streams: Python makes another one, of 216 bytes, for each ``frozenset()``.
NO_NAMES: frozenset[str] = frozenset()


class Page(NamedTuple):
    """The page of one token, as the gate has admitted it.

    Attributes:
        listed: The topics of the token, in its order.
        granted: Those of them that were granted and are still sent.
        is_open: Whether the page is sent anything.
        is_same: Whether it was made for whoever the client is, so that it is sent what the app
            sends to the connection.
        is_user: Whether it is sent the events of its user.
        is_bound: Whether it was made for a user, whoever the client is.
        fragments: Keys of its fragments that were refused inside granted topics.
    """

    listed: tuple[str, ...]
    granted: tuple[str, ...]
    is_open: bool
    is_same: bool
    is_user: bool
    is_bound: bool
    fragments: tuple[str, ...] = ()

    def names(self, made: Iterable[str]) -> list[str]:
        """Return the names under which the page is sent messages: its topics and audiences.

        Args:
            made: Topics that the app has subscribed the connection to.
        """
        if not self.is_open:
            return []
        added = sorted(made) if self.is_same else []
        names = [*self.granted, EVERYONE]
        names += sorted({topic.partition("?")[0] for topic in (*self.granted, *added)})
        if self.is_same:
            names.append(CONNECTION)
        if self.is_user:
            names.append(USER)
        return list(dict.fromkeys(names + added))

    def refused(self, made: Container[str]) -> list[str]:
        """Return what of the page is not sent: names of topics, and keys of fragments.

        Args:
            made: Topics that the app has subscribed the connection to.
        """
        if not self.is_open:
            return []  # it is stopped
        sent = {*self.granted}
        return [
            *(name for name in self.listed if name not in sent and name not in made),
            *self.fragments,
        ]

    def without(
        self, topics: Container[str], made: Iterable[str], refused: Collection[str] = ()
    ) -> "Page":
        """Return the page without some topics.

        Args:
            topics: Names of the topics.
            made: Topics that the app has subscribed the connection to, without those.
            refused: Those of them that the client hears of: a page that had one, and has lost its
                last topic by it, is sent nothing more.
        """
        granted = tuple(name for name in self.granted if name not in topics)
        has_left = bool(granted) or (self.is_same and any(made))
        is_over = not has_left and any(name in refused for name in self.granted)
        return self._replace(granted=granted, is_open=self.is_open and not is_over)

    def listing(self, listed: Iterable[str]) -> "Page":
        """Return the page with the topics of another token that grants it the same.

        Args:
            listed: The topics of that token, in its order.
        """
        return self._replace(listed=tuple(listed))

    @property
    def mask(self) -> int | None:
        """What the page is sent, as a bitmask for positions; None if that is all it asks for."""
        is_whole = len(self.granted) == len(self.listed)
        if is_whole and (self.is_user or not self.is_bound):
            return None
        bits = sum(1 << place for place, name in enumerate(self.listed) if name in self.granted)
        return bits | (1 << len(self.listed) if self.is_user else 0)
