"""Pages: what each page of a connection is sent, by its token."""

from collections.abc import Iterable
from typing import NamedTuple

from ..wire import CONNECTION, EVERYONE, USER


class Page(NamedTuple):
    """The page of one token, as the gate has admitted it.

    Attributes:
        listed: The topics of the token, in its order.
        granted: Those of them that were granted and are still sent.
        is_open: Whether the page is sent anything.
        is_same: Whether it was made for whoever the client is, so that it is sent what the app
            sends to the connection.
        is_user: Whether it is sent the events of its user.
    """

    listed: tuple[str, ...]
    granted: tuple[str, ...]
    is_open: bool
    is_same: bool
    is_user: bool

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

    def without(self, topic: str, made: Iterable[str], *, is_refused: bool) -> "Page":
        """Return the page without a topic.

        Args:
            topic: The topic's name.
            made: Topics that the app has subscribed the connection to, without that one.
            is_refused: Whether the page is sent nothing once it has lost its last topic.
        """
        granted = tuple(name for name in self.granted if name != topic)
        has_left = bool(granted) or (self.is_same and any(made))
        # A page that lists no topic is there for its user, and for everyone.
        is_over = is_refused and bool(self.listed) and not has_left
        is_open = self.is_open and not is_over
        return self._replace(granted=granted, is_open=is_open)

    def mask_without(self, topic: str, granted: int | None) -> int | None:
        """Return the bitmask of positions without a topic.

        Args:
            topic: The topic's name.
            granted: The bitmask so far; None if all of the token was granted.
        """
        if topic not in self.listed:
            return granted
        user = 1 << len(self.listed) if self.is_user else 0
        before = (1 << len(self.listed)) - 1 | user if granted is None else granted
        return before & ~(1 << self.listed.index(topic))
