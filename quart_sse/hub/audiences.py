"""The audiences of a process, and how many of its connections belong to each."""

from dataclasses import dataclass

from .connection import Connection


@dataclass(slots=True)
class Audience:
    """One audience: the connections of a user, all of a channel, or all."""

    connections: int = 0  #: number of connections of this process that listen to it
    empty_since: float = 0.0  #: loop time at which the last one left
    sent_at: float = float("-inf")  #: loop time of its last event


class Audiences(dict[str, Audience]):
    """Topic of an audience -> how many connections of this process listen to it.

    An audience lingers without connections as topics do, because clients that change pages come
    back.
    """

    def add(self, connection: Connection) -> None:
        """Count a connection in all its audiences."""
        for topic in connection.audiences:
            self.setdefault(topic, Audience()).connections += 1

    def keep(self, topic: str, now: float) -> None:
        """Keep an audience that a connection is about to join.

        Args:
            topic: The topic of the audience.
            now: Loop time until which it is kept, at least, without a connection.
        """
        audience = self.setdefault(topic, Audience())
        audience.empty_since = max(audience.empty_since, now)

    def join(self, connection: Connection, topic: str) -> None:
        """Add a connection to an audience, unless it belongs to it."""
        if topic not in connection.audiences:
            connection.audiences = (*connection.audiences, topic)
            self.setdefault(topic, Audience()).connections += 1

    def remove(self, connection: Connection, now: float) -> None:
        """Count a connection out.

        Args:
            connection: The connection.
            now: The loop's time, from which empty audiences linger.
        """
        for topic in connection.audiences:
            audience = self.get(topic)
            if audience is not None:
                audience.connections -= 1
                audience.empty_since = max(audience.empty_since, now)

    def drop_empty(self, now: float, linger: float) -> list[str]:
        """Forget audiences that have lingered without connections.

        Args:
            now: The loop's time.
            linger: Time without connections after which an audience is forgotten, in seconds.

        Returns:
            Topics of the forgotten audiences.
        """
        gone = [
            topic
            for topic, audience in self.items()
            if audience.connections <= 0 and audience.empty_since <= now - linger
        ]
        for topic in gone:
            del self[topic]
        return gone
