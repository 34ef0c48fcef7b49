"""Who is here: which connections listen to a topic, over all processes."""

from collections import deque
from dataclasses import dataclass
from typing import Protocol

from .broker import Broker, Keep
from .config import Config
from .connection import Connection
from .connections import Connections
from .errors import BrokerUnavailable
from .fragment import FragmentSpec
from .publisher import AsyncPublisher


@dataclass(frozen=True, slots=True)
class Presence:
    """Who is present on a topic."""

    people: int  #: different identities; anonymous visitors are told apart by browser
    connections: int  #: streams; a browser's tabs share one, where they have our script
    identities: frozenset[str]  #: those that the application gave; anonymous ones are not here


class Declared(Protocol):
    """What presence needs to know of channels; :class:`~quart_sse.app_channels.AppChannels`."""

    def specs(self, topic: str) -> list[FragmentSpec]:
        """Return how the fragments of a topic were declared."""

    def keep(self, topic: str) -> Keep:
        """Return how a topic's history is kept."""


class PresenceTracker:
    """Tells the broker who is present in this process, and refreshes what shows it.

    Args:
        broker: Knows who is present, over all processes.
        publisher: Publishes the refreshes.
        connections: Those of this process.
        channels: The app's channels.
        config: The app's settings.
    """

    def __init__(
        self,
        broker: Broker,
        publisher: AsyncPublisher,
        connections: Connections,
        channels: Declared,
        config: Config,
    ) -> None:
        self._broker = broker
        self._publisher = publisher
        self._connections = connections
        self._channels = channels
        self._linger = config.presence_linger
        # Connections that have gone and still count as present, with the loop time until when.
        self._departed: deque[tuple[float, Connection]] = deque()

    @property
    def has_departed(self) -> bool:
        """Whether connections that have gone still count as present."""
        return bool(self._departed)

    async def look(self, topic: str) -> Presence:
        """Return who is present on a topic; of this process alone, while the broker is away."""
        try:
            members = await self._broker.present(topic)
        except BrokerUnavailable:
            members = {
                connection.id: _who(connection) for connection in self._connections.listening(topic)
            }
        who = set(members.values())
        named = frozenset(name[1:] for name in who if name.startswith("+"))
        return Presence(len(who), len(members), named)

    async def enter(self, connection: Connection) -> None:
        """Note that a connection is present on its topics.

        Raises:
            BrokerUnavailable: If the broker cannot be told.
        """
        for topic in connection.subscription:
            await self._broker.enter(topic, {connection.id: _who(connection)})
            await self._refresh(topic)

    def leave(self, connection: Connection, now: float) -> None:
        """Note that a connection has gone; it still counts for a while, for a reload is no leaving.

        Args:
            connection: The connection.
            now: Loop time.
        """
        self._departed.append((now + self._linger, connection))

    async def announce(self) -> None:
        """Say again who is here, for a broker that forgets connections it hears of no more.

        Raises:
            BrokerUnavailable: If the broker cannot be told.
        """
        topics: dict[str, dict[str, str]] = {}
        for connection in self._connections:
            for topic in connection.subscription:
                topics.setdefault(topic, {})[connection.id] = _who(connection)
        for topic, members in topics.items():
            await self._broker.enter(topic, members)

    async def sweep(self, now: float) -> None:
        """Let connections count no longer that left long enough before a loop time.

        Raises:
            BrokerUnavailable: If the broker cannot be told.
        """
        while self._departed and self._departed[0][0] <= now:
            _, connection = self._departed.popleft()
            for topic in connection.subscription:
                await self._broker.exit(topic, connection.id)
                await self._refresh(topic)

    async def _refresh(self, topic: str) -> None:
        """Refresh the fragments of a topic that show who is present."""
        shown = [spec.name for spec in self._channels.specs(topic) if spec.presence]
        if shown:
            await self._publisher.refresh(topic, shown, self._channels.keep(topic))


def _who(connection: Connection) -> str:
    # "+" marks an identity, so that no identity can pass for an anonymous browser.
    if connection.identity is not None:
        return f"+{connection.identity}"
    return f"-{connection.browser or connection.id}"
