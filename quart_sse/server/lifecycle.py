"""Lifecycle: an app begins to be served in a process, and ends."""

import logging
import os
import threading
import weakref
from functools import partial
from typing import TYPE_CHECKING

from ..broker import Broker, Control
from ..channels import AppChannels, PresenceTracker
from ..hub import Connections, Hub
from ..logs import LogLine
from ..registry import Hooks
from ..serving_loop import ServingLoop, after_fork, at_end_of_loop
from ..streams import Jobs
from .housekeeping import Housekeeping
from .shutdown import Shutdown

if TYPE_CHECKING:
    from collections.abc import Callable

SERVING = LogLine(
    "server",
    "serving",
    logging.INFO,
    "This process serves as %(process)s; the broker is %(state)s.",
    process=str,
    state=str,
)
STOPPED = LogLine(
    "server", "stopped", logging.INFO, "The process %(process)s serves no more.", process=str
)


class Lifecycle:
    """Starts and stops what one app needs in a process that serves it.

    A lifespan starts it, and otherwise the first request does. A lifespan stops it, and otherwise
    the end of the event loop does. What is left of a loop that ended without a sign is abandoned
    by the next start, and by a process that was forked.

    Args:
        channels: What the app declares, which is checked at a start.
        serving: The loop in which the app serves.
        broker: Delivers messages to the hub from its start.
        control: Adds the process to the list of live processes.
        hub: Receives the messages.
        connections: The open connections.
        presence: Announces who is present.
        jobs: The sources that feed streams.
        hooks: The app's functions that run for connections that come and go.
        shutdown: Notices that the server stops.
        housekeeping: Does the regular work.
    """

    def __init__(
        self,
        channels: AppChannels,
        serving: ServingLoop,
        broker: Broker,
        control: Control,
        hub: Hub,
        connections: Connections,
        presence: PresenceTracker,
        jobs: Jobs,
        hooks: Hooks,
        shutdown: Shutdown,
        housekeeping: Housekeeping,
    ) -> None:
        self._channels = channels
        self._serving = serving
        serving.forget_closed = self.abandon
        self._broker = broker
        self._control = control
        self._hub = hub
        self._connections = connections
        self._presence = presence
        self._jobs = jobs
        self._hooks = hooks
        self._shutdown = shutdown
        self._housekeeping = housekeeping
        self._start: object | None = None  #: identifies the last start; None while stopped
        self._end: object = None
        self._lock = threading.Lock()
        #: Are called before all else; they must not wait.
        self.at_start: list[Callable[[], None]] = []
        #: Are called when all has stopped; they must not wait.
        self.at_end: list[Callable[[], None]] = []
        _all.add(self)

    @property
    def is_here(self) -> bool:
        """Whether the running loop serves the app."""
        return self._serving.is_here

    @property
    def is_serving(self) -> bool:
        """Whether a loop of this process serves the app: the running one, or that of a thread."""
        return self._serving.is_serving

    async def start(self) -> None:
        """Let the running loop serve, unless it does or another one serves the app already.

        Call it when the server has installed its signal handlers, which the shutdown wraps.

        Raises:
            DeclarationError: If something is refreshed on an event that nothing declares.
        """
        with self._lock:  # two threads may have the first request at once
            if self._serving.is_here or self._serving.is_elsewhere:
                return
            if self._serving.is_known:
                self.abandon()
            for function in self.at_start:
                function()
            self._channels.check()
            self._serving.enter()
        start = self._start = object()
        self._end = at_end_of_loop(partial(self._stop_after, start))
        self._shutdown.start()
        self._control.begin()
        self._housekeeping.start()
        self._presence.start()
        try:
            await self._broker.start(self._hub)
        except BaseException:
            self.abandon()  # so that a later start begins from nothing
            raise
        own = self._control.processes.own
        SERVING.log(process="" if own is None else own.id, state=self._broker.state.value)

    async def _stop_after(self, start: object) -> None:
        if self._start is start:
            await self.stop()

    async def stop(self) -> None:
        """End all streams, and stop in the reverse order."""
        if not self._serving.is_here:
            return
        self._start, own = None, self._control.processes.own
        try:
            await self._shutdown.stop()
            await self._jobs.finish()
            await self._hooks.finish()
            await self._housekeeping.stop()
            await self._presence.stop()
            await self._control.end()
            await self._hub.close()
            await self._broker.stop()
            STOPPED.log(process="" if own is None else own.id)
        finally:  # also if a step fails or is cancelled, so that a later start begins from nothing
            self.abandon()
            for function in self.at_end:
                function()

    def abandon(self) -> None:
        """Forget what belongs to a loop that has ended, or to the process that forked this one."""
        self._start = None
        self._shutdown.abandon()
        self._housekeeping.abandon()
        self._control.abandon()
        self._connections.clear()
        self._presence.abandon()
        self._jobs.clear()
        self._hooks.clear()
        self._hub.abandon()
        self._broker.abandon()
        self._serving.leave()

    async def release(self) -> None:
        """Close the broker's connections in a process that only publishes.

        They belong to the event loop, which may end with the app context.
        """
        if not self._serving.is_known:
            await self._broker.release()


_all: "weakref.WeakSet[Lifecycle]" = weakref.WeakSet()


def _abandon_all() -> None:
    with after_fork():
        for lifecycle in list(_all):
            lifecycle.abandon()


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(after_in_child=_abandon_all)
