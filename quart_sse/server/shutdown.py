"""Ending streams when the server stops.

No server tells an ASGI app that it wants to stop before it has waited for all responses, and a
stream never ends by itself. So its stop is learned by chaining its own signal handlers, from
Hypercorn's ``terminated`` event, from Uvicorn's listeners, and from the task with which Quart's own
reloader looks for changes. Each look into a server is a ``getattr`` that degrades to that server's
default.
"""

import asyncio
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

from ..hub import Connections

Handler = Callable[[int, FrameType | None], Any]
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
#: What Granian calls the processes of its workers.
GRANIAN_WORKER = "granian-worker"
#: Seconds that a worker has which would otherwise die at once of its SIGTERM.
GRACE = 3.0


def ignore_signals() -> None:
    """Take no further signals: the process ends as it has been told."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


class Shutdown:
    """Notices that the server of one app stops, and ends the app's streams.

    Args:
        connections: The app's open streams.
        reloader: The code of the coroutine by which the framework looks for changes of files;
            None if it has none.
    """

    def __init__(self, connections: Connections, reloader: CodeType | None) -> None:
        self._connections = connections
        self._reloader = reloader
        self._loop: asyncio.AbstractEventLoop | None = None
        self._chained: dict[signal.Signals, tuple[Handler, Any]] = {}
        self._uvicorn: Any = None
        self._terminated: Any = None
        self._watcher: asyncio.Task[None] | None = None
        self._terminating: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Chain the server's signal handlers; servers install theirs before they start the app."""
        self._loop = asyncio.get_running_loop()
        self._connections.open()
        for task in asyncio.all_tasks():
            # When it ends, Quart cancels everything in the next turn of the loop but one: that is
            # just enough for a farewell.
            code = getattr(task.get_coro(), "cr_code", None)
            if code is not None and code is self._reloader:
                task.add_done_callback(lambda _: self.close())
        if threading.current_thread() is not threading.main_thread():
            return  # only the main thread may; close_all() is there for such servers
        for number in _SIGNALS:
            previous = signal.getsignal(number)
            if not callable(previous):
                continue  # nobody handles it here: a Hypercorn worker, which is told otherwise
            handler = self._chain(previous)
            signal.signal(number, handler)
            self._chained[number] = (handler, previous)
            server = getattr(previous, "__self__", None)
            if hasattr(server, "should_exit"):
                self._uvicorn = server

    def _chain(self, previous: Handler) -> Handler:
        # The event loop tells Granian's worker of signals, which takes two and blocks for ever on a
        # third one while it stops. CTRL+C sends two, the terminal's and the parent's, and uvloop
        # may tell one twice: once it read it, and once because its handler was called.
        in_granian = multiprocessing.current_process().name == GRANIAN_WORKER
        is_needless = in_granian and getattr(previous, "__self__", None) is self._loop

        def handler(number: int, frame: FrameType | None) -> Any:
            if self._loop is not None and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self.close)
                if in_granian:
                    self._loop.call_soon_threadsafe(ignore_signals)
            return None if is_needless else previous(number, frame)

        return handler

    def watch(self, send: Any) -> None:
        """Learn from a request of Hypercorn's how its worker is told to stop."""
        context = getattr(getattr(send, "__self__", None), "context", None)
        terminated = getattr(context, "terminated", None)
        if terminated is not None and terminated is not self._terminated:
            self._terminated = terminated
            self._watcher = asyncio.get_running_loop().create_task(self._wait(terminated))
            self._install_sigterm_handler(getattr(context, "terminate", None))

    def _install_sigterm_handler(self, terminate: Any) -> None:
        """Let a worker of Hypercorn end its streams when it is sent SIGTERM itself.

        It leaves that signal to the system, which ends it in the middle of everything. systemd
        sends it to all processes of a service; Hypercorn, twice, to the workers that are left when
        the first one has stopped. So the worker is told to stop as it is after ``--max-requests``.
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

        # Never given back: the app's other functions after serving run after stop().
        signal.signal(signal.SIGTERM, handler)

    async def _wait(self, terminated: Any) -> None:
        await terminated.wait()
        self.close()

    def poll(self) -> None:
        """Notice that Uvicorn stops without a signal, as with ``--limit-max-requests``."""
        server = self._uvicorn
        if server is None or self._connections.is_closing:
            return
        listeners = getattr(server, "servers", ())
        if server.should_exit or any(not listener.is_serving() for listener in listeners):
            self.close()

    def close(self) -> None:
        """End all streams, once; clients return to the process that serves then."""
        if not self._connections.is_closing:
            self._connections.close()

    async def stop(self) -> None:
        """Give the signals back, and end what is still open."""
        self.close()
        for number, (handler, previous) in self._chained.items():
            if signal.getsignal(number) is handler:
                signal.signal(number, previous)
        self._chained.clear()
        watcher, self._watcher, self._terminated = self._watcher, None, None
        if watcher is not None:
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)
