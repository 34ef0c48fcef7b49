"""The open streams of a process, and how many there may be."""

import asyncio
import logging
import time
from collections.abc import Iterable, Iterator

from ..config import Config
from ..wire import Ending
from .connection import Connection
from .subscribers import Subscribers

logger = logging.getLogger("quart_sse")

#: Seconds between two log lines that say that the process is full.
SAY_FULL = 60.0


class Connections:
    """The open connections of one process, by id, identity, browser, address and topic.

    A new connection evicts only older ones of the same identity or browser.

    Args:
        config: The limits.
        subscribers: Has the connections that listen to each topic.
    """

    def __init__(self, config: Config, subscribers: Subscribers) -> None:
        self._config = config
        self._subscribers = subscribers
        self._by_id: dict[str, Connection] = {}
        self._by_owner: dict[tuple[str, str], dict[Connection, None]] = {}
        self._said_full_at = float("-inf")  # by time.monotonic
        self.is_closing = False  #: whether the server stops, and no further stream is opened
        self.emptied = asyncio.Event()  #: set while there are no connections
        self.emptied.set()

    def __len__(self) -> int:
        """Return how many connections are open."""
        return len(self._by_id)

    def __iter__(self) -> Iterator[Connection]:
        """Iterate over the open connections, which may come and go meanwhile."""
        return iter(list(self._by_id.values()))

    def get(self, id: str) -> Connection | None:
        """Return a connection by its id; None if it is not open."""
        return self._by_id.get(id)

    def of(self, kind: str, value: str | None) -> list[Connection]:
        """Return the open connections of an ``identity``, a ``browser`` or an ``address``."""
        return [] if value is None else list(self._by_owner.get((kind, value), {}))

    def listening(self, topic: str) -> list[Connection]:
        """Return the connections that listen to a topic."""
        subscribers = self._subscribers.get(topic)
        return [] if subscribers is None else subscribers.connections

    # -- coming and going --------------------------------------------------------------------------

    def is_full(self, topics: Iterable[str] = (), address: str | None = None) -> bool:
        """Whether the process, one of the topics or the address has as many streams as it may."""
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
        """Log why streams must wait, once a minute: a flood of streams is none of log lines."""
        now = time.monotonic()
        if now - self._said_full_at >= SAY_FULL:
            self._said_full_at = now
            logger.warning(message, *args)

    def enter(self, connection: Connection, is_multiplexed: bool) -> None:
        """Add a connection, and end older ones of its identity or browser that are too many.

        Args:
            connection: The new one.
            is_multiplexed: Whether its browser has many streams on one socket (HTTP/2), so that
                they do not block its other requests.
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
        self._by_id[connection.id] = connection
        self.emptied.clear()

    def leave(self, connection: Connection) -> None:
        """Remove a connection; harmless if it is not here."""
        for owner in _owners(connection):
            held = self._by_owner.get(owner, {})
            held.pop(connection, None)
            if not held:
                self._by_owner.pop(owner, None)
        self._by_id.pop(connection.id, None)
        if not self._by_id:
            self.emptied.set()

    # -- the server's stop -------------------------------------------------------------------------

    def open(self) -> None:
        """Let streams be opened, as the server starts, or starts again."""
        self.is_closing = False

    def close(self) -> None:
        """End every stream and open no further one; clients return to what serves then."""
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
