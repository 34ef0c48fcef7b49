"""Which group each connection is in: its own at first, then the one of all that get its bytes."""

import asyncio
from collections.abc import Iterator

from .connection import Connection
from .group import Group, Solo
from .progress import Progress
from .routes import Routes


class Groups:
    """The groups of one process.

    Args:
        progress: How far the process has come.
        routes: Which groups listen to a topic.
    """

    def __init__(self, progress: Progress, routes: Routes) -> None:
        self._progress = progress
        self._routes = routes
        self._of: dict[Connection, Group] = {}
        self._shared: dict[object, Group] = {}
        self._solos: set[Solo] = set()

    def of(self, connection: Connection) -> Group | None:
        """Return the group of a connection; None if it is in none."""
        return self._of.get(connection)

    def __iter__(self) -> Iterator[Group]:
        """Iterate over all groups."""
        return iter(set(self._of.values()))

    def items(self) -> list[tuple[Connection, Group]]:
        """Return each connection with its group."""
        return list(self._of.items())

    def add(self, connection: Connection, granted: int | None) -> Solo:
        """Put a connection into a group of its own."""
        solo = Solo(connection, granted)
        self._of[connection] = solo
        self._solos.add(solo)
        self._routes.add(solo)
        return solo

    def part(self, connection: Connection) -> Solo:
        """Take a connection out of its group, and put it into one of its own."""
        group = self._of[connection]
        group.members.discard(connection)
        if not group.members:
            self._drop(group)
        if isinstance(group, Solo):
            self._solos.discard(group)
        return self.add(connection, group.granted)

    def remove(self, connection: Connection) -> bool:
        """Take a connection out of its group; returns whether it was in one."""
        group = self._of.pop(connection, None)
        if group is None:
            return False
        group.members.discard(connection)
        if isinstance(group, Solo):
            self._solos.discard(group)
        if not group.members:
            self._drop(group)
        return True

    def _drop(self, group: Group) -> None:
        if self._shared.get(_key(group)) is group:
            del self._shared[_key(group)]
        self._routes.remove(group, asyncio.get_running_loop().time())
        self._progress.unwatched(frozenset(group.subscription))

    def settle(self) -> None:
        """Let connections that owe nothing any more share bytes with others."""
        for solo in [solo for solo in self._solos if solo.is_settled]:
            progress = self._progress
            # Another position than the hub's must never be followed by a smaller one.
            if solo.last > progress.seen or solo.claim > progress.position.fragments:
                continue
            key = _key(solo)
            group = self._shared.get(key)
            if group is None:
                group = self._shared[key] = Group(
                    solo.subscription, solo.bare, solo.granted, solo.root
                )
            elif group.pending:
                continue
            self._routes.add(group)
            self._routes.remove(solo, 0.0)
            group.members.add(solo.connection)
            self._of[solo.connection] = group
            self._solos.discard(solo)


def _key(group: Group) -> object:
    return frozenset(group.subscription.items()), group.bare, group.granted, group.root
