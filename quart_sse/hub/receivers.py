"""Receivers: the connections of a process that an event is for."""

import asyncio
from collections.abc import Iterable

from ..broker import Filter, Message
from ..error_log import ErrorLog
from ..wire import EVERYONE, channel_of, identity_of, is_audience
from .audiences import Audiences
from .connection import Connection
from .connections import Connections
from .delivery import Delivery
from .group import Group
from .groups import Groups
from .outgoing import Outgoing
from .progress import Progress
from .sieve import Sieve, sieve_of
from .subscribers import Subscribers, TopicSubscribers


class Receivers:
    """Finds the connections that an event is for, and delivers it at its place in the order.

    Groups are made of topics alone. Who a connection belongs to, and its metadata, are asked only
    for events that are about them, so that they cost all others nothing.

    Args:
        progress: The process's position.
        groups: The groups of the process.
        subscribers: The groups of each topic.
        audiences: The audiences of the process.
        connections: The open connections, by identity.
        delivery: Puts messages into groups' next batches.
        errors: Logs errors of filters.
    """

    def __init__(
        self,
        progress: Progress,
        groups: Groups,
        subscribers: Subscribers,
        audiences: Audiences,
        connections: Connections,
        delivery: Delivery,
        errors: ErrorLog,
    ) -> None:
        self._progress = progress
        self._groups = groups
        self._subscribers = subscribers
        self._audiences = audiences
        self._connections = connections
        self._delivery = delivery
        self._errors = errors
        #: The filter that was asked last, with the answers that it has given.
        self._last: tuple[Filter | None, str, Sieve | None] = (None, "", None)

    def deliver(self, message: Message, topic: TopicSubscribers | None = None) -> None:
        """Deliver an event.

        Args:
            message: The event.
            topic: The subscribers of its topic; None for an audience.
        """
        heard = self._audiences[message.topic] if topic is None else topic
        heard.sent_at = asyncio.get_running_loop().time()
        outgoing = Outgoing.from_event(self._progress.position, message)
        sieve = self._sieve_of(message.where, message.exclude)
        groups = self._groups_of(message.topic) if topic is None else topic.groups
        if groups is None:
            for connection in self._streams_of_user(message.topic):
                group = self._groups.of(connection)
                if group is not None and (sieve is None or sieve.passes(connection)):
                    self._delivery.aim(group, outgoing, {connection})
        elif sieve is None:
            for group in groups:
                self._delivery.add(group, outgoing)
        else:
            for group in groups:
                self._delivery.aim(group, outgoing, sieve.among(group.members))
        if message.trace:
            self._delivery.note(message.trace, message.topic)

    def count(self, topic: str, where: Filter | None = None, exclude: str = "") -> int:
        """Return the number of streams that an event is for.

        Args:
            topic: The topic's or audience's name.
            where: The event's filter; None for all connections.
            exclude: Id of the connection that it is not for, or "".
        """
        sieve = self._sieve_of(where, exclude)
        if not is_audience(topic):
            if sieve is None:
                return self._subscribers.count(topic)
            return len(sieve.among(self._connections.listening(topic)))
        groups = self._groups_of(topic)
        streams: Iterable[Connection] = (
            self._streams_of_user(topic)
            if groups is None
            else [connection for group in list(groups) for connection in list(group.members)]
        )
        return sum(1 for stream in streams if sieve is None or sieve.passes(stream))

    def _sieve_of(self, where: Filter | None, exclude: str) -> Sieve | None:
        """Return the sieve of an event, which its delivery and the count of it share."""
        last_where, last_exclude, sieve = self._last
        if where is not last_where or exclude != last_exclude:
            sieve = sieve_of(where, exclude, self._errors)
            self._last = where, exclude, sieve
        return sieve

    def _groups_of(self, audience: str) -> Iterable[Group] | None:
        """Return the groups that belong to an audience as a whole; None for that of a user."""
        if audience == EVERYONE:
            return self._groups
        channel = channel_of(audience)
        return None if channel is None else self._subscribers.of_channel(channel)

    def _streams_of_user(self, audience: str) -> list[Connection]:
        streams = self._connections.of("identity", identity_of(audience))
        return [stream for stream in streams if audience in stream.audiences]
