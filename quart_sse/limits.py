"""How many connections a process, a topic, an identity, a browser and an address may have."""

from collections.abc import Iterator

from .config import Config
from .connection import Connection
from .ending import Ending


class Limits:
    """Counts open connections by whoever they belong to.

    One of the same identity or browser makes room for a newer one; somebody else's never does.
    """

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], dict[Connection, None]] = {}

    @staticmethod
    def _owners(connection: Connection) -> Iterator[tuple[str, str]]:
        if connection.identity is not None:
            yield "identity", connection.identity
        if connection.browser is not None:
            yield "browser", connection.browser
        if connection.address is not None:
            yield "address", connection.address

    def enter(self, connection: Connection, config: Config, is_multiplexed: bool) -> None:
        """Count a connection, and end older ones of its owner that are too many.

        Args:
            connection: The new one.
            config: The limits.
            is_multiplexed: Whether its browser has many streams on one socket (HTTP/2), so that
                they do not block its other requests.
        """
        per_browser = config.max_per_identity if is_multiplexed else config.max_per_browser
        limits = {"identity": config.max_per_identity, "browser": per_browser}
        for owner in self._owners(connection):
            held = self._open.setdefault(owner, {})
            live = [other for other in held if not other.is_ended]
            held[connection] = None
            too_many = len(live) + 1 - limits.get(owner[0], len(live) + 1)
            for other in live[: max(too_many, 0)]:
                other.end(Ending.EVICTED)

    def leave(self, connection: Connection) -> None:
        """Count a connection no longer; harmless if it was not counted."""
        for owner in self._owners(connection):
            held = self._open.get(owner, {})
            held.pop(connection, None)
            if not held:
                self._open.pop(owner, None)

    def of(self, kind: str, value: str | None) -> list[Connection]:
        """Return the open connections of an identity, a browser or an address."""
        return [] if value is None else list(self._open.get((kind, value), {}))
