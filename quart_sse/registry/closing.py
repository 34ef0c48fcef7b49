"""Closing: topics and channels are taken off the open connections, in every process."""

import asyncio
from collections.abc import Mapping
from typing import Any

from ..broker import Control
from ..error_log import ErrorLog
from ..errors import ConnectionClosedError
from ..hub import Changes, Connection, Connections
from ..wire import Ending
from .hooks import Hooks


class Closing:
    """Closes topics and channels.

    Args:
        control: Sends control messages to every process, and receives them.
        connections: The open connections of this process.
        changes: Takes topics off connections.
        hooks: Are called for topics that connections no longer listen to.
        errors: Logs errors.
    """

    def __init__(
        self,
        control: Control,
        connections: Connections,
        changes: Changes,
        hooks: Hooks,
        errors: ErrorLog,
    ) -> None:
        self._control = control
        self._connections = connections
        self._changes = changes
        self._hooks = hooks
        self._errors = errors
        self._tasks: set[asyncio.Task[None]] = set()
        control.handle("close", self._take, {"topic", "channel"})

    async def close(self, *, topic: str | None = None, channel: str | None = None) -> None:
        """Take a topic, or all topics of a channel, off the open connections of every process.

        Raises:
            BrokerUnavailable: If the broker is away; other processes may not have received it.
        """
        told = {"topic": topic} if channel is None else {"channel": channel}
        await self._control.tell("close", told)

    def _take(self, told: Mapping[str, Any]) -> None:
        topic, channel = told.get("topic"), told.get("channel")
        if not isinstance(topic, str) and not isinstance(channel, str):
            raise TypeError("A topic or a channel must be named.")
        for connection in self._connections:
            names = [
                name
                for name in connection.subscription
                if name == topic or name.partition("?")[0] == channel
            ]
            if names and not connection.is_ended:
                task = asyncio.get_running_loop().create_task(self._close(connection, names))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _close(self, connection: Connection, topics: list[str]) -> None:
        try:
            for topic in topics:
                await self._changes.unsubscribe(connection, topic, is_refused=True)
            if connection.is_empty:
                self._changes.end(connection, Ending.CLOSED)
        except ConnectionClosedError:
            return
        except Exception as error:
            self._errors.log(
                "closing of topics",
                error,
                "A topic could not be taken off a stream. The stream ends; its client reconnects.",
            )
            connection.end(Ending.ERROR)
        self._hooks.note(connection)
