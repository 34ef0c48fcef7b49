"""Hooks: functions of the app that are called when connections come and go."""

import asyncio
import contextvars
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..channels import AppChannels, AppFunctions, Topic, hooked, person_of
from ..error_log import ErrorLog
from ..host import Host
from ..hub import Connection, Connections
from ..logs import LogLine
from ..serving_loop import cancel_left
from ..wire import Ending

if TYPE_CHECKING:
    from .handle import ConnectionHandle

#: Most connections whose hooks run at once.
MOST_AT_ONCE = 64
#: Time that a stopping server waits for hooks, in seconds.
PATIENCE = 2.0


@dataclass(slots=True)
class StreamHooks:
    """The hooks of one stream of a view."""

    on_connect: Callable[..., Any] | None = None
    on_disconnect: Callable[..., Any] | None = None


HOOK_FAILED = LogLine(
    "registry",
    "hook-failed",
    logging.ERROR,
    "The hook %(hook)s failed for %(whom)s; streams go on.",
    hook=str,
    whom=str,
)


class Hooks:
    """Calls the hooks of one app, off the delivery path.

    A connection's hooks run one after the other, so that of its end sees what that of its begin
    has done. A stream that takes the place of another one of the same connection is no begin and
    no end; only topics that came or went with it are.

    Args:
        host: Calls the functions, each in an app context of its own.
        functions: The functions of the app.
        channels: The channels, with their hooks.
        connections: The open connections of this process.
        errors: Logs errors of hooks.
    """

    def __init__(
        self,
        host: Host,
        functions: AppFunctions,
        channels: AppChannels,
        connections: Connections,
        errors: ErrorLog,
    ) -> None:
        self._host = host
        self._functions = functions
        self._channels = channels
        self._connections = connections
        self._errors = errors
        #: Make what hooks get; the registry sets them.
        self.handle: Callable[[Connection], ConnectionHandle]
        self.topic: Callable[[str], Topic]
        # Connection id -> the topics of which its hooks know, if there are hooks.
        self._known: dict[str, frozenset[str]] = {}
        self._last: dict[str, asyncio.Task[None]] = {}  #: connection id, or topic -> its last call
        self._turns = asyncio.Semaphore(MOST_AT_ONCE)

    @property
    def _are_any(self) -> bool:
        functions = self._functions
        return bool(
            functions.on_connect
            or functions.on_disconnect
            or any(
                each._declaration.on_connect or each._declaration.on_disconnect
                for each in self._channels.declared.values()
            )
        )

    def note(self, connection: Connection) -> None:
        """Call hooks for what is new of a connection: itself, or topics that came or went."""
        if connection.hooks is None and not self._are_any:
            return
        if not connection.is_open or self._connections.get(connection.id) is not connection:
            return
        before, topics = self._known.get(connection.id), frozenset(connection.subscription)
        self._known[connection.id] = topics
        if before != topics:
            self._call(connection, before, topics, None)

    def forget(self, connection: Connection) -> None:
        """Call hooks for the end of a connection."""
        before = self._known.pop(connection.id, None)
        if before is not None:
            self._call(connection, before, None, connection.ending)

    def attend(self, topic: str, joined: Collection[str], left: Collection[str]) -> None:
        """Call hooks for people who have joined or left a topic.

        Args:
            topic: The topic's name.
            joined: Whom the connections of those count as who have joined.
            left: The same of those who have left.
        """
        channel = self._channels.of(topic)
        if channel is None or not (channel.on_join or channel.on_leave):
            return
        moves = (("on_join", channel.on_join, joined, 1), ("on_leave", channel.on_leave, left, 0))
        calls: list[tuple[str, Callable[..., Any], tuple[Any, ...]]] = [
            (
                f"{name} of channel {channel.name!r}",
                each,
                (person_of(text, number), self.topic(topic)),
            )
            for name, functions, texts, number in moves
            for text in texts
            for each in functions
        ]
        if calls:
            self._plan(topic, calls, f"topic {topic!r}")

    def _call(
        self,
        connection: Connection,
        before: frozenset[str] | None,
        topics: frozenset[str] | None,
        ending: Ending | None,
    ) -> None:
        calls: list[tuple[str, Callable[..., Any], tuple[Any, ...]]] = []
        handle, functions, own = self.handle(connection), self._functions, connection.hooks
        if before is None:
            calls += [("on_connect", each, (handle,)) for each in functions.on_connect]
            if isinstance(own, StreamHooks) and own.on_connect is not None:
                calls.append(("on_connect", own.on_connect, (handle,)))
        for name in sorted((topics or frozenset()) - (before or frozenset())):
            topic = self.topic(name)
            calls += [
                (f"on_connect of channel {topic.channel.name!r}", each, (handle, topic))
                for each in self._channels.known(name).on_connect
            ]
        for name in sorted((before or frozenset()) - (topics or frozenset())):
            topic = self.topic(name)
            calls += [
                (f"on_disconnect of channel {topic.channel.name!r}", each, (handle, topic, ending))
                for each in self._channels.known(name).on_disconnect
            ]
        if topics is None:
            if isinstance(own, StreamHooks) and own.on_disconnect is not None:
                calls.append(("on_disconnect", own.on_disconnect, (handle, ending)))
            calls += [("on_disconnect", each, (handle, ending)) for each in functions.on_disconnect]
        if calls:
            self._plan(connection.id, calls, f"connection {connection.id}", connection.id)

    def _plan(
        self,
        key: str,
        calls: list[tuple[str, Callable[..., Any], tuple[Any, ...]]],
        whom: str,
        id: str = "",
    ) -> None:
        """Call hooks after those of the same key; ``id`` is that of their connection."""
        # In a context of their own: the app may change a connection in the request of another user.
        task = asyncio.get_running_loop().create_task(
            self._run(self._last.get(key), calls, whom, id), context=contextvars.Context()
        )
        self._last[key] = task

        def forget(_: object) -> None:
            if self._last.get(key) is task:
                del self._last[key]

        task.add_done_callback(forget)

    async def _run(
        self,
        before: "asyncio.Task[None] | None",
        calls: list[tuple[str, Callable[..., Any], tuple[Any, ...]]],
        whom: str,
        id: str,
    ) -> None:
        if before is not None:
            await asyncio.wait([before])
        hooked.set(id)
        async with self._turns:
            for name, function, args in calls:
                try:
                    await self._host.call_apart(function, *args)
                except Exception as error:
                    self._errors.log(f"hook {name}", error, HOOK_FAILED, hook=name, whom=whom)

    async def finish(self) -> None:
        """Let the hooks run that are due, for ``PATIENCE`` at most."""
        tasks = list(self._last.values())
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=PATIENCE)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def clear(self) -> None:
        """Forget what belongs to a loop that has ended."""
        for task in self._last.values():
            cancel_left(task)
        self._last.clear()
        self._known.clear()
        self._turns = asyncio.Semaphore(MOST_AT_ONCE)
