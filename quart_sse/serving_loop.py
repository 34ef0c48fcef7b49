"""The event loop in which an app serves, and calls that come from other loops and threads."""

import asyncio
import concurrent.futures
import contextlib
import os
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from typing import Any, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from .errors import BrokerUnavailable

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

# What belongs to the parent of a forked process. It is kept for ever: closing a connection would
# take it out of the selector that the two processes share, and the parent would hear no more.
_of_parent: list[object] = []

#: Longest work of one request between two turns of other tasks, in seconds.
STRETCH = 0.002
#: Interval at which a caller sees whether the loop that has its call still runs, in seconds.
ALIVE = 1.0

# Long requests that wait for their next turn, of each loop.
_waiting: WeakKeyDictionary[asyncio.AbstractEventLoop, deque[asyncio.Future[None]]] = (
    WeakKeyDictionary()
)


class Pauses:
    """Lets other tasks of the loop run while a request is worked on that is long.

    A request may have a thousand topics, and all streams of the process wait meanwhile. Of all
    such requests one goes on in each turn of the loop. If each of them did, as after
    ``asyncio.sleep(0)``, a page would wait for as many stretches as there are, again and again.

    Example:
        ``await pauses.due()`` after each topic, with one object for the whole request
    """

    def __init__(self) -> None:
        self._since = time.monotonic()

    async def due(self) -> None:
        """Let other tasks run, if the last pause is ``STRETCH`` ago."""
        if time.monotonic() - self._since > STRETCH:
            await _next_turn()
            self._since = time.monotonic()


async def _next_turn() -> None:
    """Wait for a turn of the loop; those who wait take turns in the order of their calls."""
    loop = asyncio.get_running_loop()
    waiting, turn = _waiting.setdefault(loop, deque()), loop.create_future()
    waiting.append(turn)
    if len(waiting) == 1:
        loop.call_soon(_give_turn, loop, waiting)
    await turn


def _give_turn(loop: asyncio.AbstractEventLoop, waiting: deque[asyncio.Future[None]]) -> None:
    turn = waiting.popleft()
    if not turn.done():  # it may have been cancelled
        turn.set_result(None)
    if waiting:
        loop.call_soon(_give_turn, loop, waiting)


class ServingLoop:
    """The one event loop in which an app serves, while it does.

    A sync view runs in a thread, and a thread may run a loop of its own. What such a call reaches
    (hub, broker, connections to Redis) belongs to the serving loop, so the call is handed over to
    that loop and awaited. While no loop serves, everything belongs to the loop that calls.

    Args:
        timeout: Longest time until the serving loop takes a call, in seconds.

    Example:
        ``await serving.run(hub.refresh, "news") if serving.is_elsewhere else ...``
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0
        #: Called when the loop that served turns out to be closed; the lifecycle sets it.
        self.forget_closed: Callable[[], None] = self.leave

    @property
    def is_known(self) -> bool:
        """Whether a loop serves, or has served and ended without saying so."""
        return self._loop is not None

    @property
    def is_here(self) -> bool:
        """Whether the running loop serves the app."""
        # Also where no loop runs, as when a coroutine is made for asyncio.run().
        return self._loop is not None and self._loop is asyncio._get_running_loop()

    @property
    def is_elsewhere(self) -> bool:
        """Whether a loop of another thread serves the app.

        A loop that does not run serves nothing. In a forked process the parent's loop looks as if
        it ran, but the process id tells that it does not.
        """
        return self._loop is not asyncio.get_running_loop() and self.is_serving

    @property
    def is_serving(self) -> bool:
        """Whether a loop of this process serves the app now."""
        return self.serving is not None

    @property
    def serving(self) -> asyncio.AbstractEventLoop | None:
        """The loop of this process that serves the app now; None if none does."""
        loop = self._loop
        is_here = loop is not None and loop.is_running() and self._pid == os.getpid()
        return loop if is_here else None

    def enter(self) -> None:
        """Let the running loop serve from now on."""
        self._loop, self._pid = asyncio.get_running_loop(), os.getpid()

    def leave(self) -> None:
        """Let no loop serve."""
        self._loop = None

    async def run(
        self,
        function: Callable[Parameters, Awaitable[Result]],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Result:
        """Call an async function in the serving loop, or here if no other loop serves.

        Args:
            function: The function.
            args: Its arguments.
            kwargs: Its keyword arguments.

        Raises:
            BrokerUnavailable: If the serving loop does not take the call within the timeout
                (``maybe_published`` is false), or ends during the call.
            Exception: Any exception of the function.
        """
        loop = self._loop
        if loop is not None and loop.is_closed():
            self.forget_closed()
        if loop is None or not self.is_elsewhere:
            return await function(*args, **kwargs)
        outcome: concurrent.futures.Future[Result] = concurrent.futures.Future()
        tasks: list[asyncio.Task[Result]] = []

        async def call() -> Result:
            return await function(*args, **kwargs)

        def begin() -> None:
            if outcome.set_running_or_notify_cancel():
                tasks.append(loop.create_task(call()))
                tasks[0].add_done_callback(lambda task: settle(outcome, task))

        try:
            loop.call_soon_threadsafe(begin)
        except RuntimeError:  # it was closed just now
            return await function(*args, **kwargs)
        try:
            return await self._wait(outcome, loop)
        except asyncio.CancelledError:
            if not outcome.cancel():
                with contextlib.suppress(RuntimeError):
                    loop.call_soon_threadsafe(lambda: tasks[0].cancel())
            raise

    async def _wait(
        self, outcome: "concurrent.futures.Future[Result]", loop: asyncio.AbstractEventLoop
    ) -> Result:
        future = asyncio.wrap_future(outcome)
        await asyncio.wait([future], timeout=self._timeout)
        if not future.done() and outcome.cancel():
            raise BrokerUnavailable(
                f"The app's event loop did not take a call of another thread within "
                f"{self._timeout:g} s (QUART_SSE_BROKER_TIMEOUT). Something blocks that loop: call "
                "what is slow in a thread. Nothing was published."
            )
        while not future.done():
            await asyncio.wait([future], timeout=ALIVE)
            if not future.done() and not loop.is_running():
                raise ended()
        return future.result()


def ended() -> BrokerUnavailable:
    """Return the error of a call whose loop has ended."""
    return BrokerUnavailable(
        "The app stopped serving during a call of another thread. It may have been published.",
        maybe_published=True,
    )


def settle(outcome: "concurrent.futures.Future[Any]", task: "asyncio.Task[Any]") -> None:
    """Give a task's outcome to the thread that waits for it, unless that has given up."""
    if outcome.done():
        return
    error = ended() if task.cancelled() else task.exception()
    if error is None:
        outcome.set_result(task.result())
    else:
        outcome.set_exception(error)


def forget(*things: object) -> None:
    """Let go of what belongs to a loop that has ended, or to the parent of a forked process.

    Args:
        things: Connections, tasks and what holds them.
    """
    if _is_of_parent:
        _of_parent.extend(things)


@contextlib.contextmanager
def after_fork() -> Iterator[None]:
    """Keep all that is forgotten within the block, because it is the parent's."""
    global _is_of_parent
    _is_of_parent = True
    try:
        yield
    finally:
        _is_of_parent = False


_is_of_parent = False


def cancel_left(task: "asyncio.Task[Any] | None") -> None:
    """Cancel a task that was left in another loop, which may be closed."""
    if task is not None:
        with contextlib.suppress(RuntimeError):
            task.cancel()


def at_end_of_loop(function: Callable[[], Awaitable[None]]) -> object:
    """Call an async function in the running loop when that loop ends.

    ``asyncio.run()``, servers and pytest's plugins close the async generators of a loop before the
    loop itself (``loop.shutdown_asyncgens()``), so this one waits for that.

    Args:
        function: Called once; what is done already it should not do again.

    Returns:
        What must be kept, because the function is called soon when it is dropped.
    """

    async def wait() -> AsyncGenerator[None]:
        try:
            yield
        finally:
            await function()

    if getattr(asyncio.get_running_loop(), "_asyncgens_shutdown_called", False):
        return None  # the loop is about to end: what begins now is ended by who began it
    generator = wait()
    with contextlib.suppress(StopIteration):
        # Its first step makes it known to the loop, and waits for nothing.
        generator.__anext__().__await__().__next__()
    return generator
