"""Closing: a control message takes topics and channels off the open connections."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from ..broker import CLOSE, Control
from ..channels import PresenceTracker
from ..error_log import ErrorLog
from ..hub import Changes, Connection, Connections
from ..logs import LogLine
from ..wire import Ending
from .hooks import Hooks

#: Number of closed topics and channels against which opening streams are checked.
REMEMBERED = 256
#: Number of connections that are changed in one turn of the event loop.
SLICE = 100


CLOSING_FAILED = LogLine(
    "registry",
    "closing-failed",
    logging.ERROR,
    "A topic could not be taken off a stream. The stream ends; its client reconnects.",
    connection=str,
)


class Closing:
    """Closes topics and channels in this process.

    Args:
        control: Receives what :meth:`MessagePublisher.close` tells every process.
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
        self._connections = connections
        self._changes = changes
        self._hooks = hooks
        self._presence = presence
        self._errors = errors
        self._tasks: set[asyncio.Task[None]] = set()
        #: Time of receipt by ``time.monotonic``, topic and channel of the last ones.
        self._recent: deque[tuple[float, str, str]] = deque(maxlen=REMEMBERED)
        control.handle(CLOSE, self._take, {"topic", "channel"})

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
        meant: dict[Connection, list[str]] = {}
        for name in topics:
            for connection in self._connections.listening(name):
                meant.setdefault(connection, []).append(name)
        # At once: what the app subscribes connections to from now on is newer than the closing.
        for connection, names in meant.items():
            self._changes.refuse(connection, names)
        # One that still joins is waited for, and keeps no other one waiting.
        self._begin([(each, names) for each, names in meant.items() if each.is_open])
        for connection, names in meant.items():
            if not connection.is_open:
                self._begin([(connection, names)])

    def _begin(self, meant: list[tuple[Connection, list[str]]]) -> None:
        task = asyncio.get_running_loop().create_task(self._close_all(meant))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _close_all(self, meant: list[tuple[Connection, list[str]]]) -> None:
        """Let streams follow their connections, which topics were taken off."""
        for begin in range(0, len(meant), SLICE):
            closed: dict[str, list[Connection]] = {}
            for connection, names in meant[begin : begin + SLICE]:
                await self._follow(connection)
                for name in names:
                    closed.setdefault(name, []).append(connection)
            for name, connections in closed.items():
                self._presence.withdraw(name, connections)
            for connection, _ in meant[begin : begin + SLICE]:
                if connection.is_empty:
                    self._changes.end(connection, Ending.CLOSED)
                self._hooks.note(connection)
            await asyncio.sleep(0)

    async def _follow(self, connection: Connection) -> None:
        try:
            await self._changes.follow(connection)
        except Exception as error:
            self._errors.log("closing of topics", error, CLOSING_FAILED, connection=connection.id)
            connection.end(Ending.ERROR)
