"""The groups of connections that listen to each topic in this process."""

from collections.abc import Container

from .connection import Connection, Subscription
from .group import Group


class TopicSubscribers:
    """The groups that listen to one topic, and the nesting of the topic's fragments.

    Args:
        topic: The topic's name.
    """

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.groups: set[Group] = set()
        #: fragment -> the fragments that contain it, by the renders so far
        self.parents: dict[str, set[str]] = {}
        self._nestings: set[tuple[str, str, str]] = set()  #: (fragment, outer, root path)
        self.empty_since: float | None = None  #: loop time; None while a group listens
        self.kept_until: float = float("-inf")  #: loop time before which the topic is not forgotten
        #: Loop time of the last event or HTML that was sent to a group.
        self.sent_at: float = float("-inf")
        self.is_confirmed = False  #: whether the broker has confirmed the subscription

    def with_nested(self, names: frozenset[str]) -> frozenset[str]:
        """Return the names of fragments and of those inside them."""
        inside = (name for name, parents in self.parents.items() if not parents.isdisjoint(names))
        return names.union(inside)

    def put_inside(self, fragment: str, outer: str, root: str) -> bool:
        """Note that a fragment is inside another one.

        Args:
            fragment: Name of the fragment inside.
            outer: Name of the fragment that contains it.
            root: Root path of the pages.

        Returns:
            Whether that is new below the root path.
        """
        self.parents.setdefault(fragment, set()).add(outer)
        is_new = (fragment, outer, root) not in self._nestings
        self._nestings.add((fragment, outer, root))
        return is_new

    def keep_roots(self, roots: Container[str]) -> None:
        """Forget the nesting below all other root paths."""
        if self._nestings:
            self._nestings = {learned for learned in self._nestings if learned[2] in roots}

    def showing(self, fragment: str, root: str | None = None) -> list[Group]:
        """Return the groups whose pages show a fragment, by itself or inside another one.

        Args:
            fragment: The fragment's name.
            root: Root path of the pages; None for any.
        """
        return [
            group
            for group in self.groups
            if root in (None, group.root) and group.shows(self.topic, fragment, self.parents)
        ]

    def shown_without(self, fragment: str) -> set[str]:
        """Return the fragments of the groups that are not known to show a fragment."""
        unaware = (
            group for group in self.groups if not group.shows(self.topic, fragment, self.parents)
        )
        return set[str]().union(*(group.subscription[self.topic] for group in unaware))

    @property
    def connections(self) -> list[Connection]:
        """The connections that listen to the topic."""
        return [connection for group in list(self.groups) for connection in list(group.members)]

    @property
    def count(self) -> int:
        """Number of connections that listen to the topic."""
        return sum(len(group.members) for group in list(self.groups))


class Subscribers(dict[str, TopicSubscribers]):
    """Topic -> the groups that listen to it.

    Topics linger without groups for some seconds, because a client that changes pages comes back.
    """

    def add(self, group: Group) -> None:
        """Add a group to its topics."""
        for topic in group.subscription:
            subscribers = self.setdefault(topic, TopicSubscribers(topic))
            subscribers.groups.add(group)
            subscribers.empty_since = None

    def remove(self, group: Group, now: float) -> None:
        """Remove a group from its topics.

        Args:
            group: The group.
            now: The loop's time, from which empty topics linger.
        """
        for topic in group.subscription:
            subscribers = self.get(topic)
            if subscribers is not None:
                subscribers.groups.discard(group)
                if not subscribers.groups:
                    subscribers.empty_since = now

    def change(self, group: Group, subscription: Subscription, now: float) -> None:
        """Change the topics of a group.

        Args:
            group: The group, whose subscription is set.
            subscription: Its topics from now on, with the fragments that its pages show.
            now: The loop's time, from which empty topics linger.
        """
        self.remove(group, now)
        group.subscription = subscription
        self.add(group)

    def keep(self, topic: str, until: float) -> TopicSubscribers:
        """Keep a topic for a group that is about to listen to it.

        Args:
            topic: The topic's name.
            until: Loop time until which it is kept without a group.
        """
        subscribers = self.setdefault(topic, TopicSubscribers(topic))
        subscribers.kept_until = max(subscribers.kept_until, until)
        return subscribers

    def counts(self, channel: str) -> dict[str, int]:
        """Return the topics of a channel that have connections, with their number."""
        return {each.topic: each.count for each in self._of_channel(channel) if each.groups}

    def of_channel(self, channel: str) -> set[Group]:
        """Return the groups that listen to any topic of a channel."""
        return {group for each in self._of_channel(channel) for group in list(each.groups)}

    def _of_channel(self, channel: str) -> list[TopicSubscribers]:
        # Other threads ask, too. A list of the values is made in one step, but not one of the
        # items: each is a new tuple, which may let the collector run, and other threads with it.
        return [each for each in list(self.values()) if each.topic.partition("?")[0] == channel]

    def showing(self, topic: str, fragment: str, root: str) -> list[Group]:
        """Return the groups whose pages below a root path show a fragment."""
        subscribers = self.get(topic)
        return [] if subscribers is None else subscribers.showing(fragment, root)

    def count(self, topic: str) -> int:
        """Return the number of connections that listen to a topic."""
        subscribers = self.get(topic)
        return 0 if subscribers is None else subscribers.count

    def drop_empty(self, now: float, linger: float) -> list[str]:
        """Forget topics that have lingered without groups.

        Args:
            now: The loop's time.
            linger: Time without groups after which a topic expires, in seconds.

        Returns:
            Names of the forgotten topics.
        """
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
