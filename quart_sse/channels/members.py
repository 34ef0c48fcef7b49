"""Who is present on topics in this process: open connections, and those that closed just now."""

import hashlib
import json
import logging
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import Protocol

from ..broker import Broker, Who
from ..error_log import OnceLog
from ..hub import Connection, Connections, Metadata, Subscription
from ..logs import LogLine
from .declaration import BUILT_IN

#: Longest metadata that is recorded of one connection, in characters of JSON.
MAX_CHARS = 1_000

METADATA_LONG = LogLine(
    "channels",
    "metadata-long",
    logging.WARNING,
    "The metadata %(keys)s of a connection have %(characters)d characters of JSON, of which "
    "presence carries %(limit)d at most; it carries none of them. Keep them short, and look the "
    "rest up by the identity. This is logged once.",
    keys=str,
    characters=int,
    limit=int,
)


class Listed(Protocol):
    """Declared channels; :class:`~quart_sse.channels.AppChannels` implements it."""

    def presence_keys(self, topic: str) -> tuple[str, ...]:
        """Return the keys of metadata that the presence of a topic carries."""


class Members:
    """The connections of this process that count as present, and whom each counts as.

    A closed connection counts for a while, so that a reloaded page does not leave and join.

    Args:
        connections: The open connections of this process.
        linger: Time that a closed connection counts, in seconds.
        keys: Returns the app's secret keys, the signing key first.
        broker: Its data set has a random name, which is used without a secret key.
        channels: The app's channels.
    """

    def __init__(
        self,
        connections: Connections,
        linger: float,
        keys: Callable[[], list[bytes]],
        broker: Broker,
        channels: Listed,
    ) -> None:
        self._connections = connections
        self._linger = linger
        self._keys = keys
        self._broker = broker
        self._channels = channels
        self._once = OnceLog()
        # Closed connections, each with the loop time when it expires; the same by id, and by topic.
        self._departed: deque[tuple[float, Connection, Subscription]] = deque()
        self._by_id: dict[str, list[Connection]] = {}
        self._by_topic: dict[str, list[Connection]] = {}

    def leave(self, connection: Connection, now: float) -> None:
        """Let a closed connection linger on the topics that it has.

        Args:
            connection: The closed connection.
            now: Current loop time, in seconds.
        """
        self._departed.append((now + self._linger, connection, connection.subscription))
        self._by_id.setdefault(connection.id, []).append(connection)
        for topic in connection.subscription:
            self._by_topic.setdefault(topic, []).append(connection)

    def take_expired(self, now: float) -> Connection | None:
        """Forget a closed connection that has expired, and return it; None if there is none."""
        if not self._departed or self._departed[0][0] > now:
            return None
        _, connection, subscription = self._departed.popleft()
        _take(self._by_id, connection.id, connection)
        for topic in subscription:
            _take(self._by_topic, topic, connection)
        return connection

    @property
    def next_expiry(self) -> float:
        """Loop time at which a closed connection expires; infinity if there is none."""
        return self._departed[0][0] if self._departed else float("inf")

    def clear(self) -> None:
        """Forget the closed connections."""
        self._departed.clear()
        self._by_id.clear()
        self._by_topic.clear()

    # -- who is here -------------------------------------------------------------------------------

    def who(self, topic: str, id: str) -> str | None:
        """Return whom a connection counts as on a topic; None if it is not present there."""
        streams = [*self._by_id.get(id, ()), *self._connections.streams_of(id)]
        newest = next((each for each in reversed(streams) if topic in each.subscription), None)
        keys = self._channels.presence_keys(topic)
        return None if newest is None else self._who(newest, topic, keys)

    def of(self, topic: str) -> dict[str, str]:
        """Return connection id -> whom it counts as, for all that are present on a topic."""
        here = [*self._by_topic.get(topic, ()), *self._connections.listening(topic)]
        keys = self._channels.presence_keys(topic)
        return {each.id: self._who(each, topic, keys) for each in here}

    def _who(self, connection: Connection, topic: str, keys: tuple[str, ...]) -> str:
        name, metadata = self._name(connection), connection.metadata
        is_showing = not BUILT_IN.isdisjoint(connection.subscription.get(topic, ()))
        if not is_showing and (metadata is None or not keys):
            return name  # nearly every one
        return Who(name, self._chosen(metadata, keys), is_showing).write()

    def _chosen(self, metadata: Metadata | None, keys: tuple[str, ...]) -> str:
        text = "" if metadata is None else _chosen(metadata, keys)
        if len(text) <= MAX_CHARS:
            return text
        names = ", ".join(keys)
        self._once.warn(names, METADATA_LONG, keys=names, characters=len(text), limit=MAX_CHARS)
        return ""

    def _name(self, connection: Connection) -> str:
        if connection.identity is not None:
            return f"+{connection.identity}"
        address = connection.remote_address
        if connection.is_browser_new and address is not None:
            return f"@{self._digest(address)}:{connection.browser or ''}"
        return f"-{connection.browser or connection.id}"

    def _digest(self, address: str) -> str:
        keys, known = self._keys(), self._broker.known
        return _digest(address, keys[0] if keys else (known.epoch if known else "").encode())


def _take(lists: dict[str, list[Connection]], key: str, connection: Connection) -> None:
    left = lists[key]
    left.remove(connection)
    if not left:
        del lists[key]


@lru_cache(1_000)
def _chosen(metadata: Metadata, keys: tuple[str, ...]) -> str:
    """Return some keys of metadata as JSON; "" if there are none of them."""
    chosen = {key: metadata.values[key] for key in keys if key in metadata.values}
    return json.dumps(chosen, sort_keys=True) if chosen else ""


@lru_cache(10_000)
def _digest(address: str, key: bytes) -> str:
    """Return a name for an address, from which only those who have the key can guess it."""
    derived = hashlib.sha256(b"quart_sse.address:" + key).digest()
    return hashlib.blake2b(address.encode(), digest_size=12, key=derived).hexdigest()
