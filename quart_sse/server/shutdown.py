"""Shutdown: notices that the server stops, and ends the streams.

A server sends ``lifespan.shutdown`` only after all responses have ended, and a stream never ends by
itself. So the stop is found in other places: the server's signal handlers, which are chained;
Hypercorn's ``terminated`` event; Uvicorn's listeners; the task of Quart's reloader. Each look into
a server is a ``getattr``: if the server has changed, its own default behaviour remains.
"""

import asyncio
import logging
import os
import signal
import threading
from types import CodeType, FrameType
from typing import Any

from ..hub import Connections
from ..logs import LogLine
from .internals import find_worker
from .signals import Handler, ignore_signals, is_granian, listen, unlisten

STOP_UNSEEN = LogLine(
    "server",
    "stop-unseen",
    logging.WARNING,
    "This server does not show when it stops, so it may wait for open streams. Call await "
    "sse.close_all() before you stop it.",
)
STREAMS_END = LogLine(
    "server",
    "streams-end",
    logging.INFO,
    "The server stops; %(streams)d streams are ended, and their clients reconnect.",
    streams=int,
)

#: Number of sweeps, four a second, and of requests with which Hypercorn's worker is looked for.
LOOKS = 8
#: Time that a Hypercorn worker has to stop after its own SIGTERM, in seconds.
GRACE = 3.0


class Shutdown:
    """Notices that the server of one app stops, and ends the app's streams.

    Args:
        connections: The app's open connections.
        reloader: Code of the coroutine by which the framework's reloader watches files; None if
            it has no reloader.
    """

    def __init__(self, connections: Connections, reloader: CodeType | None) -> None:
        self._connections = connections
        self._reloader = reloader
        self._loop: asyncio.AbstractEventLoop | None = None
        self._servers: list[Handler] = []  #: the server's handlers of signals
        self._uvicorn: Any = None
        self._looks = 0  #: how often a worker of Hypercorn is still looked for
        self._is_reloading = False  #: whether Quart's reloader tells of the stop
        self._watcher: asyncio.Task[None] | None = None
        self._terminating: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Listen to signals, and let streams be opened.

        Servers install their handlers before they start the app. Off the main thread there are no
        signals; such servers end streams by ``SSE.close_all``.
        """
        self._loop = asyncio.get_running_loop()
        self._looks, self._is_reloading = LOOKS, False
        self._connections.open()
        for task in asyncio.all_tasks():
            # After the reloader's task has ended, Quart cancels all tasks two turns of the loop
            # later, which is just enough to send the endings.
            code = getattr(task.get_coro(), "cr_code", None)
            if code is not None and code is self._reloader:
                task.add_done_callback(lambda _: self.close())
                self._is_reloading = True
        self._servers = listen(self)
        for handler in self._servers:
            server = getattr(handler, "__self__", None)
            if hasattr(server, "should_exit"):
                self._uvicorn = server

    def signalled(self) -> None:
        """End the streams soon, in the loop of the server."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.close)
            if is_granian():
                self._loop.call_soon_threadsafe(ignore_signals)

    def look(self) -> None:
        """Look for Hypercorn's worker and watch its stop event, until it is found or is not there.

        The worker begins after the app does and before the first request. It may be signalled soon.
        """
        if not self._looks:
            return
        self._looks -= 1
        context = find_worker()
        if context is not None:
            self._looks = 0
            self._watcher = asyncio.get_running_loop().create_task(self._wait(context.terminated))
            self._install_sigterm_handler(getattr(context, "terminate", None))
        elif not self._looks and not self._servers and not self._is_reloading:
            STOP_UNSEEN.log()

    def _install_sigterm_handler(self, terminate: Any) -> None:
        """Give a Hypercorn worker a SIGTERM handler that ends its streams and stops the worker.

        Hypercorn leaves the signal's default, by which the system kills the worker between two
        bytes. systemd sends SIGTERM to all processes of a service, and Hypercorn sends it to the
        remaining workers when the first one has stopped. The handler stops the worker in the way
        of Hypercorn's ``--max-requests``, and restores the default after ``GRACE`` seconds.

        Args:
            terminate: The event that stops the worker; None if the server has none.
        """
        in_main = threading.current_thread() is threading.main_thread()
        if terminate is None or not in_main or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
            return
        loop = asyncio.get_running_loop()

        def die() -> None:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)

        def begin() -> None:
            if self._terminating is None:
                self.close()
                self._terminating = loop.create_task(terminate.set())
                loop.call_later(GRACE, die)

        def handler(_number: int, _frame: FrameType | None) -> None:
            if loop.is_running():
                loop.call_soon_threadsafe(begin)
            else:
                die()

        # Not restored in stop(): the app's other functions after serving run later than that.
        signal.signal(signal.SIGTERM, handler)

    async def _wait(self, terminated: Any) -> None:
        await terminated.wait()
        self.close()

    def poll(self) -> None:
        """End all streams if Uvicorn stops without a signal, as with ``--limit-max-requests``."""
        self.look()
        server = self._uvicorn
        if server is None or self._connections.is_closing:
            return
        listeners = getattr(server, "servers", ())
        if server.should_exit or any(not listener.is_serving() for listener in listeners):
            self.close()

    def close(self) -> None:
        """End all streams with ``SHUTDOWN``, once; clients reconnect to the next process."""
        if not self._connections.is_closing:
            STREAMS_END.log(streams=len(self._connections))
            self._connections.close()

    async def stop(self) -> None:
        """End the streams that are still open, and leave the server's signal handlers alone."""
        self.close()
        unlisten(self)
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)

    def abandon(self) -> None:
        """Leave the signal handlers alone, after the loop of the server has ended."""
        unlisten(self)
        self._uvicorn = self._watcher = self._terminating = None
