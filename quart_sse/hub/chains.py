"""The open streams of a process by the id of their connection: a chain, as one replaces another."""

from collections.abc import Collection, Iterator
from itertools import islice

from ..wire import Ending
from .connection import Connection

#: Most streams of one connection before its newest; the client reads one of them at most.
MOST_OLDER = 3


class Chains:
    """The streams of each connection, of which the newest stands for it.

    While a stream takes the place of another one both are open. A client that gives up the newest
    goes on with the one before.
    """

    def __init__(self) -> None:
        self._newest: dict[str, Connection] = {}
        self._older: dict[str, dict[Connection, None]] = {}  #: oldest first, if there are any
        self._count_older = 0

    def __len__(self) -> int:
        """Return the number of streams."""
        return len(self._newest) + self._count_older

    def __iter__(self) -> Iterator[Connection]:
        """Iterate over a copy of the streams, which may come and go meanwhile."""
        older = [each for chain in list(self._older.values()) for each in list(chain)]
        return iter([*self._newest.values(), *older])

    def __contains__(self, connection: Connection) -> bool:
        """Whether a stream is among them."""
        is_newest = self._newest.get(connection.id) is connection
        return is_newest or connection in self._older.get(connection.id, ())

    @property
    def newest(self) -> Collection[Connection]:
        """The newest stream of each connection."""
        return self._newest.values()

    @property
    def replaced(self) -> list[list[Connection]]:
        """The streams of each connection that has several, oldest first."""
        return [self.of(id) for id in list(self._older)]

    def get(self, id: str) -> Connection | None:
        """Return the newest stream of the connection with an id; None if there is none."""
        return self._newest.get(id)

    def of(self, id: str) -> list[Connection]:
        """Return the streams of a connection, oldest first."""
        newest = self._newest.get(id)
        return [] if newest is None else [*self._older.get(id, ()), newest]

    def add(self, connection: Connection) -> None:
        """Add a stream as the newest of its connection, and end what is far behind it."""
        before = self._newest.get(connection.id)
        self._newest[connection.id] = connection
        if before is None:
            return
        older = self._older.setdefault(connection.id, {})
        older[before] = None
        self._count_older += 1
        for other in islice(reversed(older), MOST_OLDER, None):
            if other.is_ended:
                break
            other.end(Ending.EVICTED)

    def remove(self, connection: Connection) -> bool:
        """Remove a stream, if it is among them.

        Returns:
            Whether it was the last one of its connection.
        """
        id = connection.id
        older = self._older.get(id)
        if self._newest.get(id) is connection:
            if older is None:
                del self._newest[id]
                return True
            # Its client has gone before it opened, and reads the one before.
            self._newest[id], _ = older.popitem()
        elif older is not None and connection in older:
            del older[connection]
        else:
            return False
        self._count_older -= 1
        if not older:
            del self._older[id]
        return False

    def clear(self) -> None:
        """Forget all streams."""
        self._newest.clear()
        self._older.clear()
        self._count_older = 0
