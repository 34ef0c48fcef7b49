"""Which connections listen to a topic in this process."""

from collections.abc import Container

from .connection import Connection
from .group import Group


class TopicSubscribers:
    """One topic in this process."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.groups: set[Group] = set()
        #: fragment -> the fragments that contain it, as far as renders have shown
        self.parents: dict[str, set[str]] = {}
        self._nestings: set[tuple[str, str, str]] = set()  #: the same, with the pages' root path
        self.empty_since: float | None = None
        self.kept_until = float("-inf")  #: loop time until which it is not forgotten
        self.is_confirmed = False  #: whether no message of the topic can be missed any more

    def with_nested(self, names: frozenset[str]) -> frozenset[str]:
        """Return fragments and what they contain."""
        inside = (name for name, parents in self.parents.items() if not parents.isdisjoint(names))
        return names.union(inside)

    def put_inside(self, fragment: str, outer: str, root: str) -> bool:
        """Note that a fragment is inside another one; returns whether that is new for a root."""
        self.parents.setdefault(fragment, set()).add(outer)
        is_new = (fragment, outer, root) not in self._nestings
        self._nestings.add((fragment, outer, root))
        return is_new

    def keep_roots(self, roots: Container[str]) -> None:
        """Forget what is inside what below root paths that are no longer known."""
        if self._nestings:
            self._nestings = {learned for learned in self._nestings if learned[2] in roots}

    def showing(self, fragment: str, root: str | None = None) -> list[Group]:
        """Return the groups whose pages show a fragment, by itself or inside another one.

        Args:
            fragment: Its name.
            root: Only those of pages below this root path.
        """
        return [
            group
            for group in self.groups
            if root in (None, group.root) and group.shows(self.topic, fragment, self.parents)
        ]

    def shown_without(self, fragment: str) -> set[str]:
        """Return what those groups show that, as far as is known, do not show a fragment."""
        unaware = (
            group for group in self.groups if not group.shows(self.topic, fragment, self.parents)
        )
        return set[str]().union(*(group.subscription[self.topic] for group in unaware))

    @property
    def connections(self) -> list[Connection]:
        """The connections that listen to the topic."""
        return [connection for group in self.groups for connection in group.members]

    @property
    def count(self) -> int:
        """How many connections listen to the topic."""
        return sum(len(group.members) for group in self.groups)


class Subscribers(dict[str, TopicSubscribers]):
    """Topic -> who listens; topics without listeners linger for those who only change pages."""

    def add(self, group: Group) -> None:
        """Let a group listen to its topics."""
        for topic in group.subscription:
            subscribers = self.setdefault(topic, TopicSubscribers(topic))
            subscribers.groups.add(group)
            subscribers.empty_since = None

    def remove(self, group: Group, now: float) -> None:
        """Let a group listen no longer."""
        for topic in group.subscription:
            subscribers = self.get(topic)
            if subscribers is not None:
                subscribers.groups.discard(group)
                if not subscribers.groups:
                    subscribers.empty_since = now

    def showing(self, topic: str, fragment: str, root: str) -> list[Group]:
        """Return the groups whose pages, below a root path, show a fragment of a topic."""
        subscribers = self.get(topic)
        return [] if subscribers is None else subscribers.showing(fragment, root)

    def count(self, topic: str) -> int:
        """Return how many connections listen to a topic."""
        subscribers = self.get(topic)
        return 0 if subscribers is None else subscribers.count

    def drop_empty(self, now: float, linger: float) -> list[str]:
        """Forget topics that have had no listeners for some seconds; returns them."""
        gone = [
            topic
            for topic, subscribers in self.items()
            if not subscribers.groups
            and (subscribers.empty_since or 0.0) <= now - linger
            and subscribers.kept_until <= now
        ]
        for topic in gone:
            del self[topic]
        return gone
