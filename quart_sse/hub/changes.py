"""Changes of single connections by the app: messages for one, topics added and taken off."""

import asyncio

from ..broker import Broker
from ..errors import BrokerUnavailable, ConnectionClosedError
from ..wire import Ending, encode_refused
from .audiences import Audiences
from .batch import Batch, Part
from .connection import Connection, Subscription
from .connections import Connections
from .delivery import RECHECK_LINGER, Delivery
from .group import Joining
from .groups import Groups
from .outgoing import Outgoing, Sent
from .subscribers import Subscribers

#: Most events for one connection that are sent to its next stream again, their size in bytes, and
#: for how long, in seconds: longer than our script waits until it replaces a silent stream.
MOST_SENT, SENT_BYTES, SENT_SECONDS = 64, 65_536, 60.0


class Changes:
    """Sends single connections messages, and changes the topics that they listen to.

    Args:
        broker: Confirms topics.
        groups: The groups of the process.
        subscribers: The groups of each topic.
        audiences: The audiences of the process.
        connections: The open connections, which count for their channels.
        delivery: Puts messages into groups' next batches.
        timeout: Longest time until the broker confirms a topic, in seconds.
    """

    def __init__(
        self,
        broker: Broker,
        groups: Groups,
        subscribers: Subscribers,
        audiences: Audiences,
        connections: Connections,
        delivery: Delivery,
        timeout: float,
    ) -> None:
        self._broker = broker
        self._groups = groups
        self._subscribers = subscribers
        self._audiences = audiences
        self._connections = connections
        self._delivery = delivery
        self._timeout = timeout

    def send(self, connection: Connection, outgoing: Outgoing) -> bool:
        """Send a stream an event for its connection alone, behind all that is pending for it.

        Returns:
            Whether the stream is open.
        """
        if connection.is_ended or not self._send(connection, outgoing):
            return False
        connection.sent = _newest((*connection.sent, (self._now(), outgoing)), self._now())
        return True

    def send_again(self, connection: Connection, replaced: Connection) -> None:
        """Send a stream what was sent just now to the one that it takes the place of.

        Its client may read the new stream first, and then no longer the bytes that are on their way
        over the old one. It drops what it has.
        """
        connection.sent = _newest(replaced.sent, self._now())
        for _, outgoing in connection.sent:
            self._send(connection, outgoing)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    def _send(self, connection: Connection, outgoing: Outgoing) -> bool:
        group = self._groups.of(connection)
        if group is None:
            return False
        self._delivery.aim(group, outgoing, {connection})
        return True

    def end(self, connection: Connection, ending: Ending, retry_ms: int | None = None) -> None:
        """End a stream after all that is pending for it, in its group, too.

        Args:
            connection: The stream.
            ending: How it ends.
            retry_ms: Time after which the client reconnects, in milliseconds; None for that of the
                ending.
        """
        group = self._groups.of(connection)
        parts = [] if group is None else group.parts_for(connection)
        if parts:
            connection.feed(Batch.of(parts))
        connection.end(ending, retry_ms)

    async def subscribe(self, connection: Connection, topic: str, audience: str) -> bool:
        """Subscribe a stream to a topic, whose events it is sent from now on.

        Args:
            connection: The stream.
            topic: The topic's name.
            audience: Topic of the audience of its channel.

        Returns:
            Whether it did not listen to the topic before.

        Raises:
            ConnectionClosedError: If the stream has ended.
            BrokerUnavailable: If the broker does not confirm the topic in time.
        """
        await self._wait_for_replay(connection)
        if _is_known(connection, topic):
            return False
        loop = asyncio.get_running_loop()
        self._subscribers.keep(topic, loop.time() + self._timeout + RECHECK_LINGER)
        self._audiences.keep(audience, loop.time() + self._timeout + RECHECK_LINGER)
        try:
            async with asyncio.timeout(self._timeout):
                await self._broker.subscribe([topic, audience])
        except TimeoutError:
            raise BrokerUnavailable(
                f"The broker did not confirm the topic {topic!r} within {self._timeout:g} s "
                "(QUART_SSE_JOIN_TIMEOUT). Subscribe again."
            ) from None
        await self._wait_for_replay(connection)
        if _is_known(connection, topic):  # another call was faster
            return False
        self._audiences.join(connection, audience)
        connection.made |= {topic}
        connection.removed -= {topic}
        self._change(connection, {topic: frozenset(), **connection.subscription})
        return True

    async def unsubscribe(
        self, connection: Connection, topic: str, *, is_refused: bool = False
    ) -> bool:
        """Take a topic off a stream.

        Args:
            connection: The stream.
            topic: The topic's name.
            is_refused: Whether the client is sent ``sse-refused``.

        Returns:
            Whether it listened to the topic.

        Raises:
            ConnectionClosedError: If the stream has ended.
        """
        await self._wait_for_replay(connection)
        if topic not in connection.subscription:
            return False
        left = {name: shown for name, shown in connection.subscription.items() if name != topic}
        connection.made -= {topic}
        connection.removed |= {topic}
        connection.pages = tuple(
            page.without(topic, connection.made, is_refused=is_refused) for page in connection.pages
        )
        self._change(connection, left, refused=topic if is_refused else None)
        return True

    async def _wait_for_replay(self, connection: Connection) -> None:
        """Wait until a stream has its replay.

        Raises:
            ConnectionClosedError: If it has ended.
        """
        group = self._groups.of(connection)
        if isinstance(group, Joining):
            await group.released()
        if connection.is_ended or self._groups.of(connection) is None:
            raise ConnectionClosedError(connection.id)

    def _change(
        self, connection: Connection, subscription: Subscription, refused: str | None = None
    ) -> None:
        group = self._groups.of(connection)
        granted = None if group is None else group.granted
        if refused is not None and len(connection.pages) == 1:
            # A later grant starts from the page, not from a position that has passed this topic.
            granted = connection.pages[0].mask_without(refused, granted)
        self._connections.recount(connection, subscription)
        joining = self._groups.change(connection, subscription, granted)
        if refused is not None:
            joining.pending.append(Part(None, encode_refused(topics=[refused])))
        if connection.pages:
            joining.pending.append(Part(None, connection.encode_opening()))
        self._delivery.flush(joining)
        self._groups.share_bytes()


def _is_known(connection: Connection, topic: str) -> bool:
    """Whether a connection listens to a topic in all of its pages that the app may change."""
    if topic not in connection.subscription or topic in connection.made:
        return topic in connection.made
    return all(topic in page.granted for page in connection.pages if page.is_same)


def _newest(sent: tuple[Sent, ...], now: float) -> tuple[Sent, ...]:
    """Return the newest of the events that were sent, within the bounds of their memory."""
    kept: list[Sent] = []
    size = 0
    for at, outgoing in reversed(sent[-MOST_SENT:]):
        size += len(outgoing.body)
        if size > SENT_BYTES or at < now - SENT_SECONDS:
            break
        kept.insert(0, (at, outgoing))
    return tuple(kept)
