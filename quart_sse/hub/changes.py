"""Changes of single connections by the app: messages for one, topics added and taken off."""

import asyncio
from collections.abc import Iterable

from ..broker import Broker
from ..errors import BrokerUnavailable, ConnectionClosedError, ParameterError
from ..wire import Ending, Position, channel_topic, encode_refused
from .audiences import Audiences
from .batch import Batch, Part
from .connection import Connection
from .connections import Connections
from .delivery import RECHECK_LINGER, Delivery
from .group import Joining
from .groups import Groups
from .outgoing import Outgoing, Sent
from .page import NO_NAMES
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
        self._forget_at = 0.0  #: loop time before which no event is forgotten

    def send(self, streams: Iterable[Connection], outgoing: Outgoing) -> bool:
        """Send an event for one connection alone, behind all that is pending for it.

        Args:
            streams: The streams of the connection.
            outgoing: The event.

        Returns:
            Whether a stream is open.
        """
        sent = [each for each in streams if not each.is_ended and self._send(each, outgoing)]
        if sent and sent[-1].may_be_replaced:
            lasting = sent[-1].lasting
            lasting.sent = _newest((*lasting.sent, (self._now(), outgoing)), self._now())
        return bool(sent)

    def send_again(self, connection: Connection) -> None:
        """Send a stream the last events for its connection alone, of which the client drops copies.

        While one stream takes the place of another, the client may read the new one first, and then
        no longer the bytes that are on their way over the old one.
        """
        lasting = connection.lasting
        lasting.sent = _newest(lasting.sent, self._now())
        for _, outgoing in lasting.sent:
            self._send(connection, outgoing)

    def forget_sent(self, now: float) -> None:
        """Forget the events for single connections that are too old to be sent again.

        Args:
            now: The loop's time.
        """
        if now < self._forget_at:
            return
        self._forget_at = now + SENT_SECONDS / 2
        for connection in self._connections.newest:
            lasting = connection.lasting
            if lasting.sent:
                lasting.sent = _newest(lasting.sent, now)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    def _send(self, connection: Connection, outgoing: Outgoing) -> bool:
        group = self._groups.of(connection)
        if connection.is_own:
            connection.feed(Batch.of([outgoing.part(connection.bare, None)]))
            return True
        if group is None:
            return False
        self._delivery.aim(group, outgoing, {connection})
        return True

    def end(self, connection: Connection, ending: Ending, retry_ms: int | None = None) -> None:
        """End a stream after all that is pending for it, in its group and in a running batch, too.

        Args:
            connection: The stream.
            ending: How it ends.
            retry_ms: Time after which the client reconnects, in milliseconds; None for that of the
                ending.
        """
        group = self._groups.of(connection)
        if group is not None and not connection.is_ended:
            self._delivery.finish(group, connection)
        connection.end(ending, retry_ms)

    # -- topics ------------------------------------------------------------------------------------

    async def subscribe(self, id: str, topic: str) -> bool:
        """Subscribe a connection to a topic, whose events it is sent from now on.

        Args:
            id: The connection's id.
            topic: The topic's name.

        Returns:
            Whether some page of it was not sent the topic before.

        Raises:
            ConnectionClosedError: If no stream of it is open.
            BrokerUnavailable: If the broker does not confirm the topic in time.
        """
        self._newest(id)
        since = await self._confirm(topic)
        connection = self._newest(id)
        lasting, is_new = connection.lasting, not _is_known(connection, topic)
        lasting.made.setdefault(topic, since)
        lasting.removed -= {topic}
        await self._apply_to_all(id)
        return is_new

    async def unsubscribe(self, id: str, topic: str) -> bool:
        """Take a topic off a connection, until a page that lists it is loaded.

        Args:
            id: The connection's id.
            topic: The topic's name.

        Returns:
            Whether it listened to the topic.

        Raises:
            ConnectionClosedError: If no stream of it is open.
        """
        connection = self._newest(id)
        was_known = topic in connection.wanted
        _remove(connection, topic)
        await self._apply_to_all(id)
        return was_known

    def refuse(self, connection: Connection, topics: Iterable[str]) -> None:
        """Take topics off a connection; :meth:`follow` then takes them off the stream.

        A topic that the app subscribes the connection to in between stays.

        Args:
            connection: A stream that listens to them, whose client is sent that they are refused.
            topics: Names of the topics.
        """
        for topic in topics:
            _remove(connection, topic)
        connection.refused |= {*topics}

    async def follow(self, connection: Connection) -> None:
        """Change a stream as the app has changed its connection, once it has its replay."""
        if await self._has_replay(connection):
            self.apply(connection)

    def apply(self, connection: Connection) -> None:
        """Change a stream that has its replay as the app has changed its connection."""
        before, subscription = connection.subscription, connection.wanted
        refused = connection.refused - subscription.keys()
        connection.refused = NO_NAMES
        is_same = subscription.keys() == before.keys()
        if is_same and connection.made == connection.lasting.made.keys():
            return
        for topic in subscription.keys() - before.keys():
            self._audiences.join(connection, channel_topic(topic.partition("?")[0]))
        connection.follow(refused)
        self._connections.recount(connection, subscription)
        joining = self._groups.change(connection, subscription, connection.mask)
        if refused:
            joining.pending.append(Part(None, encode_refused(topics=sorted(refused))))
        if connection.pages:
            joining.pending.append(Part(None, connection.encode_opening()))
        self._delivery.flush(joining)
        self._groups.share_bytes()

    def _newest(self, id: str) -> Connection:
        """Return a connection's newest stream that is open.

        Raises:
            ConnectionClosedError: If none is.
            ParameterError: If the connection has a source, and no topics.
        """
        for stream in reversed(self._connections.streams_of(id)):
            if stream.is_own:
                raise ParameterError(
                    f"The connection {id!r} has a source of a view and no topics, so none can be "
                    "added or taken off. Send it what you want by connection.send()."
                )
            if not stream.is_ended:
                return stream
        raise ConnectionClosedError(id)

    async def _confirm(self, topic: str) -> Position:
        """Let the broker confirm a topic and its channel's audience, and keep both for a while.

        Returns:
            A position of the broker from before, after which no event is missed.

        Raises:
            BrokerUnavailable: If it does not in time.
        """
        audience = channel_topic(topic.partition("?")[0])
        kept_until = self._now() + 2 * self._timeout + RECHECK_LINGER
        self._subscribers.keep(topic, kept_until)
        self._audiences.keep(audience, kept_until)
        try:
            async with asyncio.timeout(self._timeout):
                since = await self._broker.position()
                await self._broker.subscribe([topic, audience])
        except TimeoutError:
            raise BrokerUnavailable(
                f"The broker did not confirm the topic {topic!r} within {self._timeout:g} s "
                "(QUART_SSE_JOIN_TIMEOUT). Subscribe again."
            ) from None
        return since

    async def _apply_to_all(self, id: str) -> None:
        """Change all streams of a connection; those that join are changed when they have joined.

        Raises:
            ConnectionClosedError: If the last of them has ended meanwhile.
        """
        done: set[Connection] = set()
        is_applied = False
        while left := [each for each in self._connections.streams_of(id) if each not in done]:
            done.update(left)
            # Oldest first: its client reads that one while the next one joins.
            for stream in left:
                if await self._has_replay(stream):
                    self.apply(stream)
                    is_applied = True
        if not is_applied:
            raise ConnectionClosedError(id)

    async def _has_replay(self, connection: Connection) -> bool:
        """Wait until a stream has its replay; return whether it is open then."""
        group = self._groups.of(connection)
        if isinstance(group, Joining):
            await group.released()
        return not connection.is_ended and self._groups.of(connection) is not None


def _remove(connection: Connection, topic: str) -> None:
    """Take a topic off what lasts of a connection, until a page that lists it is loaded."""
    lasting = connection.lasting
    # What no page lists does not come back, and need not be remembered.
    if topic not in lasting.made or any(topic in page.listed for page in connection.pages):
        lasting.removed |= {topic}
    lasting.made.pop(topic, None)


def _is_known(connection: Connection, topic: str) -> bool:
    """Whether all pages of a connection that the app may change are sent a topic."""
    if topic in connection.lasting.made:
        return True
    pages = [page for page in connection.pages if page.is_same]
    return topic in connection.wanted and all(topic in page.granted for page in pages)


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
