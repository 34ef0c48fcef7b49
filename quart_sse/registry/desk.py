"""The desk: finds the connections of this process, and does what handles and processes ask for."""

import itertools
import secrets
from typing import Any

from ..broker import Filter, Where
from ..channels import AppChannels, Binding, Channel, PresenceTracker, Topic
from ..errors import ParameterError
from ..hub import Changes, Connection, Connections, Outgoing
from ..publisher import EventType, event_name
from ..serving_loop import ServingLoop
from ..wire import CONNECTION, Ending, member_key
from .handle import ConnectionHandle
from .hooks import Hooks


class Desk:
    """Works with the connections of this process, by their ids.

    Args:
        connections: The open connections.
        changes: Changes single ones.
        channels: The app's channels.
        binding: The services that topics use.
        hooks: Are called for topics that come and go.
        presence: Counts the connections of each topic.
        serving: The loop that serves, in which changes are made.
    """

    def __init__(
        self,
        connections: Connections,
        changes: Changes,
        channels: AppChannels,
        binding: Binding,
        hooks: Hooks,
        presence: PresenceTracker,
        serving: ServingLoop,
    ) -> None:
        self.connections = connections
        self._changes = changes
        self._channels = channels
        self._binding = binding
        self._hooks = hooks
        self._presence = presence
        hooks.handle, hooks.topic = self.handle, self.topic
        self._serving = serving
        self._numbers = itertools.count()
        self._prefix = secrets.token_hex(4)  # of the names of messages

    def is_open(self, id: str) -> bool:
        """Whether the connection with an id is open here."""
        found = self.connections.get(id)
        return found is not None and not found.is_ended

    def handle(self, connection: Connection) -> ConnectionHandle:
        """Return a handle of a connection."""
        return ConnectionHandle(self, connection)

    def topic(self, name: str) -> Topic:
        """Return the topic of a name that exists."""
        return self._channels.declared[name.partition("?")[0]]._of_name(self._binding, name)

    def select(
        self,
        topic: Topic | str | None,
        channel: Channel | str | None,
        identity: str | None,
        where: Where | None,
    ) -> list[Connection]:
        """Return the connections that ``Registry.of`` returns handles of."""
        condition = None if where is None else Filter(where)
        topic_name, channel_name = name_of(topic, Topic), name_of(channel, Channel)
        name_of(identity, str)
        found: dict[Any, bool] = {}

        def is_meant(connection: Connection) -> bool:
            if condition is None:
                return True
            metadata = connection.metadata
            if metadata not in found:
                values = None if metadata is None else metadata.values
                found[metadata] = condition.matches(values)
            return found[metadata]

        candidates = (
            list(self.connections.newest)
            if identity is None
            else self.connections.of("identity", identity)
        )
        return [
            connection
            for connection in candidates
            if not connection.is_ended
            and self.connections.get(connection.id) is connection
            and (topic_name is None or topic_name in connection.subscription)
            and (
                channel_name is None
                or any(name.partition("?")[0] == channel_name for name in connection.subscription)
            )
            and is_meant(connection)
        ]

    async def send(self, id: str, event: EventType[Any] | str, data: Any = None) -> bool:
        """Send an event to one connection of this process; return whether it is open here.

        Raises:
            EventError: If the name, or the data, cannot be sent.
        """
        text, is_text = self._binding.publisher.encode(event, data)
        return await self.deliver(id, event_name(event), text, is_text)

    async def deliver(self, id: str, name: str, text: str, is_text: bool) -> bool:
        """Send an event that is encoded; return whether the connection is open here."""

        async def send() -> bool:
            return self.send_text(id, name, text, is_text)

        return await self._serving.run(send)

    def send_text(self, id: str, name: str, text: str, is_text: bool) -> bool:
        """Do what :meth:`deliver` does, in the serving loop."""
        once = f"{self._prefix}.{next(self._numbers)}"
        # While a stream takes the place of another one, the client reads the first until the second
        # is open, and drops what comes twice.
        streams = self.connections.streams_of(id)
        wire_name = name if streams and streams[-1].bare else member_key(CONNECTION, name)
        outgoing = Outgoing.direct(wire_name, text, is_text=is_text, once=once)
        return self._changes.send(streams, outgoing)

    async def subscribe(self, id: str, topic: Topic) -> bool:
        """Subscribe a connection of this process to a topic; see ``ConnectionHandle.subscribe``."""
        return await self._serving.run(self._subscribe, id, topic.name)

    async def _subscribe(self, id: str, topic: str) -> bool:
        is_changed = True  # as far as is known if it fails or is cancelled
        try:
            is_changed = await self._changes.subscribe(id, topic)
        finally:
            connection = self.connections.get(id)
            if is_changed and connection is not None:
                self._hooks.note(connection)
                self._presence.join(topic, connection)
        return is_changed

    async def unsubscribe(self, id: str, topic: Topic) -> bool:
        """Take a topic off a connection of this process."""
        return await self._serving.run(self._unsubscribe, id, topic.name)

    async def _unsubscribe(self, id: str, topic: str) -> bool:
        connection = self.connections.get(id)
        try:
            return await self._changes.unsubscribe(id, topic)
        finally:
            # Whatever came of it, some stream of the connection may have lost the topic, and
            # nothing else would take its presence back: also if the newest one did not have it, or
            # if all of them have ended meanwhile.
            newest = self.connections.get(id)
            if newest is not None:
                self._hooks.note(newest)
            if connection is not None:
                self._presence.withdraw(topic, [connection])

    async def close(self, id: str, retry: float | None = None) -> bool:
        """End a connection of this process; return whether it was open.

        Raises:
            ParameterError: If ``retry`` is no number of seconds of 0 or more.
        """
        check_retry(retry)

        async def close() -> bool:
            return self.close_here(id, retry)

        return await self._serving.run(close)

    def close_here(self, id: str, retry: float | None) -> bool:
        """End a connection; call it in the serving loop."""
        end = (Ending.CLOSED, None) if retry is None else (Ending.PAUSED, int(retry * 1000))
        streams = [each for each in self.connections.streams_of(id) if not each.is_ended]
        for stream in streams:
            stream.lasting.end = end
            self._changes.end(stream, *end)
        return bool(streams)


def check_retry(retry: float | None) -> float | None:
    """Return a number of seconds that may be a client's retry.

    Raises:
        ParameterError: If it is none.
    """
    is_number = isinstance(retry, int | float) and not isinstance(retry, bool)
    if retry is not None and not (is_number and 0 <= retry < float("inf")):
        raise ParameterError(f"retry is {retry!r}. Pass a number of seconds, 0 or more, or None.")
    return retry


def name_of(given: object, kind: type) -> str | None:
    """Return the name of a topic or channel that is given by itself or by its name.

    Raises:
        ParameterError: If it is neither.
    """
    if given is None or isinstance(given, str):
        return given
    if isinstance(given, kind):
        return str(getattr(given, "name", given))
    raise ParameterError(
        f"{given!r} is no {kind.__name__}. Pass one, or its name as a str, or leave it out."
    )
