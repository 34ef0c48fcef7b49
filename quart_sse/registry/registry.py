"""The connections of this process, as an app finds and handles them."""

from collections.abc import Iterator

from ..broker import Where
from ..channels import Channel, Topic
from .desk import Desk
from .handle import ConnectionHandle


class Registry:
    """The open connections of this process; ``sse.connections``.

    Tabs that share a stream are one connection. ``sse.processes`` has those of all processes.

    Example:
        .. code-block:: python

            len(sse.connections)
            sse.connections.count(identity="mira")
            for connection in sse.connections.of(channel=comments):
                await connection.send("hello")
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def __len__(self) -> int:
        """Return the number of open connections."""
        return len(self._desk.connections.newest)

    def __iter__(self) -> Iterator[ConnectionHandle]:
        """Iterate over the connections that are open now."""
        return map(self._desk.handle, list(self._desk.connections.newest))

    def __contains__(self, connection: object) -> bool:
        """Whether a connection, or the connection with an id, is open here."""
        id = connection.id if isinstance(connection, ConnectionHandle) else connection
        return isinstance(id, str) and self._desk.is_open(id)

    def get(self, id: str) -> ConnectionHandle | None:
        """Return the connection with an id; None if it is not open here.

        Example:
            ``sse.connections.get(connection_id)``
        """
        found = self._desk.connections.get(id)
        return None if found is None or found.is_ended else self._desk.handle(found)

    def of(
        self,
        *,
        topic: Topic | str | None = None,
        channel: Channel | str | None = None,
        identity: str | None = None,
        where: Where | None = None,
    ) -> list[ConnectionHandle]:
        """Return the connections to which all given conditions apply.

        Args:
            topic: A topic that they listen to, or its name; None for any.
            channel: A channel of which they listen to a topic, or its name; None for any.
            identity: The user's identity; None for any.
            where: A condition on the metadata, as for :meth:`Topic.publish`; None for any.

        Raises:
            ParameterError: If an argument is of the wrong type.
            FilterError: If ``where`` is no condition.

        Example:
            ``sse.connections.of(topic=rooms.topic(room=3), where={"role": "moderator"})``
        """
        return [*map(self._desk.handle, self._desk.select(topic, channel, identity, where))]

    def count(
        self,
        *,
        topic: Topic | str | None = None,
        channel: Channel | str | None = None,
        identity: str | None = None,
        where: Where | None = None,
    ) -> int:
        """Return the number of connections to which all given conditions apply.

        The arguments and errors are those of :meth:`of`.

        Example:
            ``sse.connections.count(channel="comments")``
        """
        return len(self._desk.select(topic, channel, identity, where))
