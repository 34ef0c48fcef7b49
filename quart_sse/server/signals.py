"""One handler of SIGTERM and SIGINT for all apps of a process, in front of the server's own.

Apps begin and end in any order, so that a handler for each could not be taken out of the chain.
"""

import asyncio
import functools
import multiprocessing
import signal
import sys
import threading
import weakref
from collections.abc import Callable
from types import FrameType
from typing import Any, Protocol

Handler = Callable[[int, FrameType | None], Any]
SIGNALS = (signal.SIGTERM, signal.SIGINT)
#: Name of Granian's worker processes.
GRANIAN_WORKER = "granian-worker"


class Listener(Protocol):
    """Hears of signals; see :class:`~quart_sse.server.shutdown.Shutdown`."""

    def signalled(self) -> None:
        """Note that the process is to stop; it may be called at any point of the code."""


#: Weak, so that an app that has been dropped hears nothing.
_listeners: "weakref.WeakSet[Listener]" = weakref.WeakSet()
#: Signal -> the handler of this module, and the one that it calls.
_installed: dict[signal.Signals, tuple[Handler, Handler]] = {}


def listen(listener: Listener) -> list[Handler]:
    """Let a listener hear of signals, and return the server's handlers.

    Off the main thread, or where no handler is installed that could be called afterwards, it hears
    of none, and the list is empty.
    """
    if threading.current_thread() is not threading.main_thread():
        return []
    if listener not in _listeners:
        _listeners.add(listener)
        weakref.finalize(listener, _leave_if_unused).atexit = False
    servers = []
    for number in SIGNALS:
        present = signal.getsignal(number)
        ours, previous = _installed.get(number, (None, None))
        if ours is None or present is not ours:
            if not callable(present):
                continue
            ours, previous = _handler_before(present), present
            signal.signal(number, ours)
            _installed[number] = ours, present
        if previous is not None:
            servers.append(previous)
    return servers


def unlisten(listener: Listener) -> None:
    """Let a listener hear no more; the last one leaves the server's handlers as they were."""
    _listeners.discard(listener)
    _leave_if_unused()


def _leave_if_unused() -> None:
    if _listeners or threading.current_thread() is not threading.main_thread():
        return
    for number, (ours, previous) in _installed.items():
        if signal.getsignal(number) is ours:
            signal.signal(number, _left_by(previous))
    _installed.clear()


def ignore_signals() -> None:
    """Ignore further SIGTERM and SIGINT, in a process that already stops.

    One that comes at this moment is ignored, too. Python would print so, with a traceback
    (https://github.com/python/cpython/issues/87572).
    """
    usual = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if "race condition" not in str(unraisable.exc_value):
            usual(unraisable)

    sys.unraisablehook = hook
    try:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
    finally:
        sys.unraisablehook = usual


def is_granian() -> bool:
    """Whether this process is a worker of Granian."""
    return multiprocessing.current_process().name == GRANIAN_WORKER


def _handler_before(previous: Handler) -> Handler:
    # Granian's worker receives signals through the event loop. It accepts two, and blocks for ever
    # on a third one while it stops. CTRL+C sends two, by the terminal and by the parent, and uvloop
    # may deliver one twice: from its pipe, and by the call of its handler. So the loop's own
    # handler is not called again, and further signals are ignored.
    owner = getattr(previous, "__self__", None)
    is_needless = is_granian() and isinstance(owner, asyncio.AbstractEventLoop)

    def handler(number: int, frame: FrameType | None) -> Any:
        for listener in list(_listeners):
            listener.signalled()
        return None if is_needless else previous(number, frame)

    return handler


def _left_by(previous: Handler) -> Handler:
    """Return the handler that ``asyncio.run()`` would leave, if the previous one was its own.

    It restores Python's own only if it finds the one that it has installed.
    """
    if isinstance(previous, functools.partial):
        main = previous.keywords.get("main_task")
        if isinstance(main, asyncio.Task) and main.done():
            return signal.default_int_handler
    return previous
