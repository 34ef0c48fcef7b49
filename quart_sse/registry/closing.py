"""Closing: topics and channels are taken off the open connections, in every process."""

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from ..broker import Control
from ..channels import PresenceTracker
from ..error_log import ErrorLog
from ..hub import Changes, Connection, Connections
from ..wire import Ending
from .hooks import Hooks

#: Number of closed topics and channels against which opening streams are checked.
REMEMBERED = 256
#: Number of connections that are changed in one turn of the event loop.
SLICE = 100


class Closing:
    """Closes topics and channels.

    Args:
        control: Sends control messages to every process, and receives them.
        connections: The open connections of this process.
        changes: Takes topics off connections.
        hooks: Are called for topics that connections no longer listen to.
        presence: Counts the connections of each topic.
        errors: Logs errors.
    """

    def __init__(
        self,
        control: Control,
        connections: Connections,
        changes: Changes,
        hooks: Hooks,
        presence: PresenceTracker,
        errors: ErrorLog,
    ) -> None:
        self._control = control
        self._connections = connections
        self._changes = changes
        self._hooks = hooks
        self._presence = presence
        self._errors = errors
        self._tasks: set[asyncio.Task[None]] = set()
        #: Time of receipt by ``time.monotonic``, topic and channel of the last ones.
        self._recent: deque[tuple[float, str, str]] = deque(maxlen=REMEMBERED)
        control.handle("close", self._take, {"topic", "channel"})

    async def close(self, *, topic: str | None = None, channel: str | None = None) -> None:
        """Take a topic, or all topics of a channel, off the open connections of every process.

        Raises:
            BrokerUnavailable: If the broker is away; other processes may not have received it.
        """
        told = {"topic": topic} if channel is None else {"channel": channel}
        await self._control.tell("close", told)

    def check(self, connection: Connection) -> None:
        """End an opening stream if one of its topics was closed after its client was judged."""
        recent = self._recent
        is_unknown = len(recent) == recent.maxlen and recent[0][0] > connection.judged_at
        if is_unknown or any(
            at >= connection.judged_at
            and any(
                name == topic or name.partition("?")[0] == channel
                for name in connection.subscription
            )
            for at, topic, channel in recent
        ):
            connection.end(Ending.RECHECK)

    def _take(self, told: Mapping[str, Any]) -> None:
        topic, channel = told.get("topic"), told.get("channel")
        if not isinstance(topic, str) and not isinstance(channel, str):
            raise TypeError("A topic or a channel must be named.")
        self._recent.append((time.monotonic(), topic or "", channel or ""))
        topics = [topic] if isinstance(topic, str) else self._connections.topics_of(channel or "")
        meant = dict.fromkeys(each for name in topics for each in self._connections.listening(name))
        # One that still joins is waited for, and keeps no other one waiting.
        self._begin([connection for connection in meant if connection.is_open], topics)
        for connection in meant:
            if not connection.is_open:
                self._begin([connection], topics)

    def _begin(self, connections: list[Connection], topics: list[str]) -> None:
        task = asyncio.get_running_loop().create_task(self._close_all(connections, topics))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _close_all(self, connections: list[Connection], topics: list[str]) -> None:
        for begin in range(0, len(connections), SLICE):
            some = connections[begin : begin + SLICE]
            for topic in topics:
                closed = [each for each in some if await self._close(each, topic)]
                if closed:
                    self._presence.withdraw(topic, closed)
            for connection in some:
                if connection.is_empty:
                    self._changes.end(connection, Ending.CLOSED)
                self._hooks.note(connection)
            await asyncio.sleep(0)

    async def _close(self, connection: Connection, topic: str) -> bool:
        """Take a topic off a stream; return whether it listened to the topic."""
        try:
            return await self._changes.refuse(connection, topic)
        except Exception as error:
            self._errors.log(
                "closing of topics",
                error,
                "A topic could not be taken off a stream. The stream ends; its client reconnects.",
            )
            connection.end(Ending.ERROR)
            return False
