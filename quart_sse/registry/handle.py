"""Handles: one connection as an app uses it."""

from datetime import UTC, datetime
from typing import Any, Protocol, overload

from ..channels import Topic
from ..errors import ConnectionClosedError, ParameterError
from ..hub import Connection, Connections
from ..publisher import Data, EventType


class Handles(Protocol):
    """What handles work with; :class:`~quart_sse.registry.desk.Desk` implements it."""

    connections: Connections

    def is_open(self, id: str) -> bool:
        """Whether the connection with an id is open here."""

    def topic(self, name: str) -> Topic:
        """Return the topic of a name that exists."""

    async def send(self, id: str, event: EventType[Any] | str, data: Any = None) -> bool:
        """Send an event to a connection; return whether it is open here."""

    async def subscribe(self, id: str, topic: Topic) -> bool:
        """Subscribe a connection to a topic."""

    async def unsubscribe(self, id: str, topic: Topic) -> bool:
        """Take a topic off a connection."""

    async def close(self, id: str, retry: float | None = None) -> bool:
        """End a connection; return whether it was open here."""


class ConnectionHandle:
    """One open connection of this process: what it is, messages for it alone, its topics, its end.

    ``sse.connections`` and the hooks give handles. A handle is made when it is asked for, so
    connections cost no memory for it, and it stays good while the script replaces its stream
    because tabs come and go. What it shows of a connection that has closed is what it was last.

    Example:
        .. code-block:: python

            for connection in sse.connections.of(identity="mira"):
                await connection.send("hello", {"from": "the server"})
    """

    __slots__ = ("_desk", "_known")

    def __init__(self, desk: Handles, connection: Connection) -> None:
        self._desk = desk
        self._known = connection

    def __repr__(self) -> str:
        """Show the id."""
        return f"<ConnectionHandle {self.id!r}>"

    def __eq__(self, other: object) -> bool:
        """Whether the other handle is of the same connection."""
        return self.id == other.id if isinstance(other, ConnectionHandle) else NotImplemented

    def __hash__(self) -> int:
        """Return the hash of the id."""
        return hash(self.id)

    @property
    def _newest(self) -> Connection:
        self._known = self._desk.connections.get(self._known.id) or self._known
        return self._known

    @property
    def id(self) -> str:
        """The connection's id, by which ``sse.send`` finds it in any process.

        It is no secret: clients are sent it with the events that their ``to_others=True`` causes.
        """
        return self._known.id

    @property
    def is_open(self) -> bool:
        """Whether the connection is open."""
        return self._desk.is_open(self.id)

    @property
    def topics(self) -> tuple[Topic, ...]:
        """The topics that it listens to, those of all tabs that share it, ordered by name."""
        return tuple(map(self._desk.topic, sorted(self._newest.subscription)))

    @property
    def identity(self) -> str | None:
        """The user's identity; None for a visitor who is not signed in."""
        return self._newest.identity

    @property
    def metadata(self) -> dict[str, Any] | None:
        """What ``@sse.metadata`` returned for it; a new dict. None if there is none."""
        metadata = self._newest.metadata
        return None if metadata is None else metadata.copy()

    @property
    def connected_at(self) -> datetime:
        """When it was opened, in UTC."""
        return datetime.fromtimestamp(self._newest.lasting.connected_at, UTC)

    @property
    def last_event_id(self) -> str | None:
        """The ``Last-Event-ID`` with which the client came; None if it did not resume by one."""
        return self._newest.last_event_id

    @property
    def remote_address(self) -> str | None:
        """The client's IP address, as the app sees it: behind a proxy, what its headers say."""
        return self._newest.remote_address

    @property
    def user_agent(self) -> str:
        """The ``User-Agent`` that the client sent, cut to 256 characters; "" if it sent none."""
        return self._newest.user_agent

    @overload
    async def send(self, name: EventType[Data], data: Data) -> None: ...

    @overload
    async def send(self, name: str, data: Any = None) -> None: ...

    async def send(self, name: EventType[Any] | str, data: Any = None) -> None:
        """Send an event to this connection alone, behind all that is pending for it.

        It is in no history: a client that is cut off just then misses it. With Redis it may
        overtake an event that was published just before, which takes the way over Redis. Page
        scripts hear it by ``QuartSSE.on("connection", name, ...)``, in the tabs that were rendered
        for the connection's own user; the stream of a single topic has it under its bare name.

        Args:
            name: The event's name or :class:`EventType`, as for :meth:`Topic.publish`.
            data: The data, as for :meth:`Topic.publish`.

        Raises:
            ConnectionClosedError: If the connection has closed.
            EventError: As for :meth:`Topic.publish`.

        Example:
            ``await connection.send("kicked", {"reason": "spam"})``
        """
        if not await self._desk.send(self.id, name, data):
            raise ConnectionClosedError(self.id)

    async def subscribe(self, topic: Topic) -> bool:
        """Let the connection listen to a topic, from now on.

        The topic's events go to every tab of the connection that was rendered for its user, and to
        the streams by which the script replaces it. The gate is not asked. Fragments are for pages
        that show them, so their HTML is not sent.

        Args:
            topic: The topic.

        Returns:
            Whether the connection did not listen to it before.

        Raises:
            ConnectionClosedError: If the connection has closed.
            ParameterError: If the argument is no topic.
            BrokerUnavailable: If the broker does not confirm the topic; nothing has changed.

        Example:
            ``await connection.subscribe(rooms.topic(room=7))``
        """
        return await self._desk.subscribe(self.id, _checked("subscribe", topic))

    async def unsubscribe(self, topic: Topic) -> bool:
        """Take a topic off the connection, also one that its page shows; the stream stays open.

        Args:
            topic: The topic.

        Returns:
            Whether the connection listened to it.

        Raises:
            ConnectionClosedError: If the connection has closed.
            ParameterError: If the argument is no topic.

        Example:
            ``await connection.unsubscribe(rooms.topic(room=7))``
        """
        return await self._desk.unsubscribe(self.id, _checked("unsubscribe", topic))

    async def close(self, *, retry: float | None = None) -> None:
        """End the connection, after all that is pending for it; of one that has closed do nothing.

        Args:
            retry: Seconds after which the client comes back, and the gate judges it again. None:
                it does not come back (``sse-stop``) until its page is loaded again.

        Raises:
            ParameterError: If ``retry`` is no number of seconds of 0 or more.

        Example:
            ``await connection.close(retry=60)``
        """
        await self._desk.close(self.id, retry)


def _checked(method: str, topic: object) -> Topic:
    if not isinstance(topic, Topic):
        raise ParameterError(
            f"{method}() got {topic!r}, which is no topic. Pass channel.topic(...), with the "
            "channel's parameters."
        )
    return topic
