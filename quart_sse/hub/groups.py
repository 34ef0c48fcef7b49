"""The groups of a process: each connection joins in one of its own, then shares a common one."""

import asyncio
from collections.abc import Iterator

from .connection import Connection, Subscription
from .group import Group, Joining
from .progress import Progress
from .subscribers import Subscribers


class Groups:
    """The groups of one process.

    Args:
        progress: The process's position.
        subscribers: The groups of each topic.
    """

    def __init__(self, progress: Progress, subscribers: Subscribers) -> None:
        self._progress = progress
        self._subscribers = subscribers
        self._of: dict[Connection, Group] = {}
        self._shared: dict[object, Group] = {}
        self._joining: set[Joining] = set()

    def of(self, connection: Connection) -> Group | None:
        """Return the group of a connection, or None."""
        return self._of.get(connection)

    def __iter__(self) -> Iterator[Group]:
        """Iterate over all groups."""
        return iter(set(list(self._of.values())))  # noqa: C414 - other threads ask, too

    def items(self) -> list[tuple[Connection, Group]]:
        """Return each connection with its group."""
        return list(self._of.items())

    def add(self, connection: Connection, granted: int | None) -> Joining:
        """Put a new connection into a group of its own.

        Args:
            connection: The connection.
            granted: Bitmask of the granted topics of its URL; None if all were.
        """
        joining = Joining(connection, granted)
        self._of[connection] = joining
        self._joining.add(joining)
        self._subscribers.add(joining)
        return joining

    def separate(self, connection: Connection) -> Joining:
        """Move a connection from its group into one of its own."""
        group = self._of[connection]
        group.members.discard(connection)
        if not group.members:
            self._drop(group)
        if isinstance(group, Joining):
            self._joining.discard(group)
        return self.add(connection, group.granted)

    def change(
        self, connection: Connection, subscription: Subscription, granted: int | None
    ) -> Joining:
        """Change the topics of a connection, which keeps its place in the order.

        Args:
            connection: A connection that is no longer held for its replay.
            subscription: Its topics from now on, with the fragments that its page shows.
            granted: Bitmask of those of its URL that are granted from now on; None if all are.

        Returns:
            The connection's group of its own, which has what is pending for it.
        """
        group, progress = self._of[connection], self._progress
        connection.subscription = subscription
        if isinstance(group, Joining):
            before = frozenset(group.subscription)
            self._subscribers.change(group, subscription, asyncio.get_running_loop().time())
            group.granted = granted
            group.miss_only(subscription)
            progress.stop_waiting(before - subscription.keys())
            return group
        joining = Joining.of_live(
            connection, granted, group.parts_for(connection), progress.position
        )
        # First in its own group: a fragment without a page is no longer waited for.
        self._of[connection] = joining
        self._joining.add(joining)
        self._subscribers.add(joining)
        group.members.discard(connection)
        if not group.members:
            self._drop(group)
        return joining

    def remove(self, connection: Connection) -> bool:
        """Remove a connection from its group.

        Returns:
            Whether it was in one.
        """
        group = self._of.pop(connection, None)
        if group is None:
            return False
        group.members.discard(connection)
        if isinstance(group, Joining):
            self._joining.discard(group)
            group.stop_holding()
        if not group.members:
            self._drop(group)
        return True

    def clear(self) -> None:
        """Forget all connections."""
        self._of.clear()
        self._shared.clear()
        self._joining.clear()

    def _drop(self, group: Group) -> None:
        if self._shared.get(_key(group)) is group:
            del self._shared[_key(group)]
        self._subscribers.remove(group, asyncio.get_running_loop().time())
        self._progress.stop_waiting(frozenset(group.subscription))

    def share_bytes(self) -> None:
        """Move connections that are caught up into the groups with which they share bytes."""
        for joining in [joining for joining in self._joining if joining.is_caught_up]:
            progress = self._progress
            # Positions never go back: the hub's must have reached the connection's own first.
            if joining.last > progress.seen or joining.page_current > progress.position.fragments:
                continue
            key = _key(joining)
            group = self._shared.get(key)
            if group is None:
                group = self._shared[key] = Group(
                    joining.subscription,
                    joining.bare,
                    joining.granted,
                    joining.root,
                    joining.heartbeat,
                )
            elif group.is_pending:
                continue
            self._subscribers.add(group)
            self._subscribers.remove(joining, 0.0)
            group.members.add(joining.connection)
            joining.connection.subscription = group.subscription  # one object for all of them
            self._of[joining.connection] = group
            self._joining.discard(joining)


def _key(group: Group) -> object:
    shown = frozenset(group.subscription.items())
    return shown, group.bare, group.granted, group.root, group.heartbeat
