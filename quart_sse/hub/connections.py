"""The open connections of a process, and their limits."""

import asyncio
import logging
import time
from collections.abc import Collection, Iterable, Iterator

from ..config import Config
from ..wire import Ending
from .connection import Connection
from .subscribers import Subscribers

logger: logging.Logger = logging.getLogger("quart_sse")

#: Interval between two log lines about a full process, in seconds.
FULL_LOG_INTERVAL = 60.0


class Connections:
    """The open connections of one process, by id, identity, browser, address and topic.

    A new connection evicts only older ones of the same identity or browser. While a stream takes
    the place of another one of the same connection, both are open, and the id names the new one.

    Args:
        config: The app's settings, with the limits.
        subscribers: The connections of each topic.
    """

    def __init__(self, config: Config, subscribers: Subscribers) -> None:
        self._config = config
        self._subscribers = subscribers
        self._by_id: dict[str, Connection] = {}
        self._replaced: dict[Connection, None] = {}  #: streams whose id names a newer one
        self._by_owner: dict[tuple[str, str], dict[Connection, None]] = {}
        self._warned_full_at = float("-inf")  # by time.monotonic
        self.is_closing: bool = False  #: whether the server stops, so that no further stream opens
        self.emptied: asyncio.Event = asyncio.Event()  #: set while there are no connections
        self.emptied.set()

    def __len__(self) -> int:
        """Return the number of open streams."""
        return len(self._by_id) + len(self._replaced)

    def __iter__(self) -> Iterator[Connection]:
        """Iterate over a copy of the open streams, which may enter and leave meanwhile."""
        return iter([*self._by_id.values(), *self._replaced])

    @property
    def newest(self) -> Collection[Connection]:
        """The newest stream of each connection."""
        return self._by_id.values()

    def get(self, id: str) -> Connection | None:
        """Return the newest stream of the connection with an id; None if it is not open here."""
        return self._by_id.get(id)

    def streams_of(self, id: str) -> list[Connection]:
        """Return the streams of a connection, oldest first: two while one replaces the other."""
        found: list[Connection] = []
        connection = self._by_id.get(id)
        while connection is not None:
            found.insert(0, connection)
            connection = connection.replaced
        return found

    def of(self, kind: str, value: str | None) -> list[Connection]:
        """Return the open connections of one identity, browser or address.

        Args:
            kind: ``identity``, ``browser`` or ``address``.
            value: Its value; None has no connections.
        """
        return [] if value is None else list(self._by_owner.get((kind, value), {}))

    def listening(self, topic: str) -> list[Connection]:
        """Return the connections that listen to a topic."""
        subscribers = self._subscribers.get(topic)
        return [] if subscribers is None else subscribers.connections

    # -- entering and leaving ----------------------------------------------------------------------

    def is_full(self, topics: Iterable[str] = (), address: str | None = None) -> bool:
        """Whether the process, one of the topics or the address has reached its limit.

        Args:
            topics: Names of the topics to which a new connection would listen.
            address: The new connection's IP address, or None.
        """
        config = self._config
        if len(self) >= config.max_connections:
            self.say_full(
                "Connection limit reached (%d, QUART_SSE_MAX_CONNECTIONS); new streams retry in "
                "about %g s. Raise the limit, or serve from more processes.",
                config.max_connections,
                Ending.OVERLOADED.seconds,
            )
            return True
        return (
            any(self._subscribers.count(topic) >= config.max_per_topic for topic in topics)
            or len(self.of("address", address)) >= config.max_per_address
        )

    def say_full(self, message: str, *args: object) -> None:
        """Log why new streams are held off, at most once a minute.

        The limit keeps a flood of connects from becoming a flood of log lines.

        Args:
            message: Format of the log line.
            args: Values for the format.
        """
        now = time.monotonic()
        if now - self._warned_full_at >= FULL_LOG_INTERVAL:
            self._warned_full_at = now
            logger.warning(message, *args)

    def enter(self, connection: Connection, is_multiplexed: bool) -> None:
        """Add a connection; beyond a limit it evicts the oldest of its identity or browser.

        Args:
            connection: The new connection.
            is_multiplexed: Whether the browser shares one socket among its requests (HTTP/2), so
                that the limit per browser need not keep sockets free for other requests.
        """
        config = self._config
        per_browser = config.max_per_identity if is_multiplexed else config.max_per_browser
        limits = {"identity": config.max_per_identity, "browser": per_browser}
        for owner in _owners(connection):
            held = self._by_owner.setdefault(owner, {})
            live = [other for other in held if not other.is_ended]
            held[connection] = None
            too_many = len(live) + 1 - limits.get(owner[0], len(live) + 1)
            for other in live[: max(too_many, 0)]:
                other.end(Ending.EVICTED)
        if connection.replaced is not None:  # it may have left since, or been replaced by another
            connection.replaced = self._by_id.get(connection.id)
        if connection.replaced is not None:
            self._replaced[connection.replaced] = None
        self._by_id[connection.id] = connection
        self.emptied.clear()

    def leave(self, connection: Connection) -> bool:
        """Remove a connection, if it has entered.

        Returns:
            Whether no stream of it is left.
        """
        for owner in _owners(connection):
            held = self._by_owner.get(owner, {})
            held.pop(connection, None)
            if not held:
                self._by_owner.pop(owner, None)
        is_last = self._remove(connection)
        if not len(self):
            self.emptied.set()
        return is_last

    def _remove(self, connection: Connection) -> bool:
        replaced, connection.replaced = connection.replaced, None
        newest = self._by_id.get(connection.id)
        if newest is connection and replaced is None:
            del self._by_id[connection.id]
            return True
        if newest is connection and replaced is not None:
            # Its client has gone before it opened, and reads the one before.
            del self._replaced[replaced]
            self._by_id[connection.id] = replaced
        elif connection in self._replaced:
            del self._replaced[connection]
            for other in self.streams_of(connection.id):
                if other.replaced is connection:
                    other.replaced = replaced
        return False

    def clear(self) -> None:
        """Forget the connections of a loop that has ended."""
        self._by_id.clear()
        self._replaced.clear()
        self._by_owner.clear()
        self.emptied = asyncio.Event()
        self.emptied.set()

    # -- the server's stop -------------------------------------------------------------------------

    def open(self) -> None:
        """Allow new streams, when the server starts or starts again."""
        self.is_closing = False

    def close(self) -> None:
        """End every stream and allow no further one; clients reconnect to the next server."""
        self.is_closing = True
        for connection in self:
            connection.end(Ending.SHUTDOWN)


def _owners(connection: Connection) -> Iterator[tuple[str, str]]:
    if connection.identity is not None:
        yield "identity", connection.identity
    if connection.browser is not None:
        yield "browser", connection.browser
    if connection.address is not None:
        yield "address", connection.address
