"""Presence: which users and connections a topic has, over all processes."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol
from weakref import WeakValueDictionary

from ..broker import Broker, Keep
from ..config import Config
from ..errors import BrokerUnavailable
from ..hub import Connection, Connections, FragmentSpec
from ..publisher import MessagePublisher


@dataclass(frozen=True, slots=True)
class Presence:
    """The users and connections present on a topic; returned by ``topic.presence()``.

    Attributes:
        people: Number of distinct users: identities, and anonymous users by browser cookie.
        connections: Number of open streams. All tabs of a browser share one, if they load the
            script.
        identities: Identities that ``@sse.identity`` returned. Anonymous users are not in it.

    Example:
        ``here = await topic.presence()``, then ``"mira" in here.identities``
    """

    people: int
    connections: int
    identities: frozenset[str]


class Declared(Protocol):
    """Declared channels; :class:`~quart_sse.channels.AppChannels` implements it."""

    def specs(self, topic: str) -> list[FragmentSpec]:
        """Return the declared options of all fragments of a topic."""

    def keep(self, topic: str) -> Keep:
        """Return how much history a topic keeps."""


class PresenceTracker:
    """Report this process's connections to the broker, and refresh the fragments that show them.

    Args:
        broker: Keeps the presence of all processes.
        publisher: Publishes the refreshes.
        connections: The open connections of this process.
        channels: The app's channels.
        config: The app's settings.
    """

    def __init__(
        self,
        broker: Broker,
        publisher: MessagePublisher,
        connections: Connections,
        channels: Declared,
        config: Config,
    ) -> None:
        self._broker = broker
        self._publisher = publisher
        self._connections = connections
        self._channels = channels
        self._linger = config.presence_linger
        # Closed connections that still count as present, each with the loop time when it expires.
        self._departed: deque[tuple[float, Connection]] = deque()
        # Topic and connection id -> held while the broker is told of the two; only while it is.
        self._turns: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    async def look(self, topic: str) -> Presence:
        """Return a topic's presence; that of this process while the broker is unavailable."""
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
        """Report a new connection as present on its topics.

        Raises:
            BrokerUnavailable: If the broker cannot be reached.
        """
        streams = self._connections.streams_of(connection.id)
        known = {topic for each in streams if each is not connection for topic in each.subscription}
        for topic in connection.subscription:
            if await self._settle(topic, connection.id) and topic not in known:
                await self._refresh(topic)

    async def join(self, topic: str, connection: Connection) -> None:
        """Report that an open connection begins to listen to a topic.

        A regular report makes up for it if the broker is unavailable.

        Args:
            topic: The topic's name.
            connection: The connection.
        """
        with contextlib.suppress(BrokerUnavailable):
            if await self._settle(topic, connection.id):
                await self._refresh(topic)

    async def withdraw(self, topic: str, connections: Iterable[Connection]) -> None:
        """Report that open connections no longer listen to a topic.

        Their entries expire by themselves if the broker is unavailable.

        Args:
            topic: The topic's name.
            connections: The connections, at least one.
        """
        with contextlib.suppress(BrokerUnavailable):
            await asyncio.gather(*(self._settle(topic, each.id) for each in connections))
            await self._refresh(topic)

    def leave(self, connection: Connection, now: float) -> None:
        """Let a closed connection expire after ``QUART_SSE_PRESENCE_LINGER``.

        It counts until then, so that a reloaded page does not leave and join.

        Args:
            connection: The closed connection.
            now: Current loop time, in seconds.
        """
        self._departed.append((now + self._linger, connection))

    def clear(self) -> None:
        """Forget the closed connections, as when the process stops; the broker expires them."""
        self._departed.clear()
        self._turns.clear()

    async def announce(self) -> None:
        """Report all connections again; the broker expires those that are not reported.

        Raises:
            BrokerUnavailable: If the broker cannot be reached.
        """
        topics: dict[str, list[Connection]] = {}
        for connection in self._connections.newest:
            for topic in connection.subscription:
                topics.setdefault(topic, []).append(connection)
        for topic, listening in topics.items():
            # Topics may have changed while the broker was told of others, and may while it is told.
            told = [each for each in listening if self._is_here(topic, each.id)]
            if told:
                await self._broker.enter(topic, {each.id: _who(each) for each in told})
            for each in told:
                # A closed connection lingers on the topics that it had in the end.
                if topic not in (self._connections.get(each.id) or each).subscription:
                    await self._settle(topic, each.id)

    async def sweep(self, now: float) -> None:
        """Remove the closed connections that have expired.

        Args:
            now: Current loop time, in seconds.

        Raises:
            BrokerUnavailable: If the broker cannot be reached.
        """
        while self._departed and self._departed[0][0] <= now:
            _, connection = self._departed[0]
            is_done = True
            try:
                newest = self._connections.get(connection.id)
                here = () if newest is None else newest.subscription
                for topic in connection.subscription.keys() - here:
                    await self._settle(topic, connection.id)
                    await self._refresh(topic)
            except BrokerUnavailable:
                is_done = False  # the next sweep repeats both, or the refresh would be lost
                raise
            finally:
                if is_done and self._departed and self._departed[0][1] is connection:
                    self._departed.popleft()

    def _is_here(self, topic: str, id: str) -> bool:
        newest = self._connections.get(id)
        return newest is not None and topic in newest.subscription

    async def _settle(self, topic: str, id: str) -> bool:
        """Tell the broker whether a connection listens to a topic now, and return it.

        Every change of a connection's topics is followed by this, and one call waits for the other.
        So the last one has seen the last change, and the broker has heard it last, however the
        changes have overtaken each other.

        Raises:
            BrokerUnavailable: If the broker cannot be reached.
        """
        async with self._turns.setdefault((topic, id), asyncio.Lock()):
            newest = self._connections.get(id)
            if newest is not None and topic in newest.subscription:
                await self._broker.enter(topic, {id: _who(newest)})
                return True
            await self._broker.exit(topic, id)
            return False

    async def _refresh(self, topic: str) -> None:
        """Refresh the fragments of a topic that were declared ``presence=True``."""
        shown = [spec.name for spec in self._channels.specs(topic) if spec.presence]
        if shown:
            await self._publisher.refresh(topic, shown, self._channels.keep(topic))


def _who(connection: Connection) -> str:
    # "+" marks an identity, so that no identity can equal the id of an anonymous browser.
    if connection.identity is not None:
        return f"+{connection.identity}"
    return f"-{connection.browser or connection.id}"
