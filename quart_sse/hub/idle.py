"""Idle streams: they end when no message of their topics was sent for a while."""

from ..wire import Ending
from .audiences import Audiences
from .connection import Connection
from .subscribers import Subscribers


class IdleStreams:
    """Ends the streams of one process on which no event and no HTML was sent for their limit.

    A message costs one time for its topic, whatever the number of connections. Only streams that
    have a limit are known here, and each of them is looked at closely only when it may be over.

    Args:
        subscribers: The topics, with the time of the last message of each.
        audiences: The audiences, with the same.
    """

    def __init__(self, subscribers: Subscribers, audiences: Audiences) -> None:
        self._subscribers = subscribers
        self._audiences = audiences
        #: Connection -> its limit, in seconds, and the loop time before which it is not over.
        self._watched: dict[Connection, tuple[float, float]] = {}

    def watch(self, connection: Connection, limit: float, now: float) -> None:
        """End a stream once it is idle.

        Args:
            connection: The stream's connection, which has just come.
            limit: Time without a message of any of its topics, in seconds; infinity never ends.
            now: Current loop time, in seconds.
        """
        if limit < float("inf"):
            self._watched[connection] = limit, now + limit

    def forget(self, connection: Connection) -> None:
        """Watch a connection no longer, if it was watched."""
        self._watched.pop(connection, None)

    def clear(self) -> None:
        """Watch no connection any longer."""
        self._watched.clear()

    def end(self, now: float) -> None:
        """End the streams that are idle; housekeeping calls this with each sweep.

        Args:
            now: Current loop time, in seconds.
        """
        due = [each for each, (_, not_before) in self._watched.items() if not_before <= now]
        for connection in due:
            limit, _ = self._watched[connection]
            not_before = limit + self._sent_at(connection)
            if not_before <= now:
                del self._watched[connection]
                connection.end(Ending.IDLE)
            else:
                self._watched[connection] = limit, not_before

    def _sent_at(self, connection: Connection) -> float:
        """Return the loop time of the last message of any of a connection's topics."""
        topics = [
            *map(self._subscribers.get, connection.subscription),
            *map(self._audiences.get, connection.audiences),
        ]
        times = (topic.sent_at for topic in topics if topic is not None)
        return max(times, default=float("-inf"))
