"""Calls that are not waited for: from threads, sync views, schedulers and signal handlers."""

import asyncio
import contextvars
import logging
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any, TypeVar

from .logs import LogLine
from .serving_loop import ALIVE, ServingLoop, ended, settle

SOON_FAILED = LogLine(
    "publisher",
    "soon-failed",
    logging.ERROR,
    "%(call)s failed, and nothing has asked for its result.",
    call=str,
)

Result = TypeVar("Result")

#: How long what a thread asks for waits for a coroutine of :meth:`Soon.run` that the same thread
#: has asked for before, in seconds: enough for a message, and little behind a long job.
GRACE = 0.2


class Outcome(Future[Result]):
    """The result or error that a call of :class:`Soon` will have.

    An error that nothing has asked for is logged when the object goes.

    Args:
        loop: The loop in which the coroutine runs.
        what: The call, for messages.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop | None, what: str) -> None:
        super().__init__()
        self._runs_in = loop
        self._what = what
        self._is_seen = False

    def result(self, timeout: float | None = None) -> Result:
        """Wait for the coroutine and return its result.

        Args:
            timeout: Longest time to wait, in seconds; None for no limit.

        Raises:
            RuntimeError: In the thread of the loop that runs the coroutine, which could not go on.
            TimeoutError: After ``timeout``.
            BrokerUnavailable: If that loop has ended meanwhile.
            Exception: Any exception of the coroutine.
        """
        self._wait(timeout)
        try:
            return super().result(0)
        finally:
            self._is_seen = True

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the coroutine and return its error; None if it has none.

        The arguments and errors are those of :meth:`result`.
        """
        self._wait(timeout)
        try:
            return super().exception(0)
        finally:
            self._is_seen = True

    def _wait(self, timeout: float | None) -> None:
        loop = self._runs_in
        if self.done() or loop is None:
            return
        if loop is asyncio._get_running_loop():
            raise RuntimeError(
                f"result() of {self._what} would wait in the thread of the event loop that has to "
                "do it. Await asyncio.wrap_future(...) there, or await the coroutine itself."
            )
        waited = 0.0
        while not self.done():
            step = ALIVE if timeout is None else min(ALIVE, timeout - waited)
            try:
                super().exception(max(step, 0.0))
            except CancelledError:
                return
            except TimeoutError:
                waited += step
                if timeout is not None and waited >= timeout:
                    raise
                if not loop.is_running():
                    self.set_exception(ended())

    def __del__(self) -> None:
        """Log an error that nothing has asked for."""
        if self._is_seen or not self.done() or self.cancelled():
            return
        error = super().exception(0)
        if error is not None:
            SOON_FAILED.write({"call": self._what}, error)


class _Place:
    """The place of one call in the order of its thread.

    Attributes:
        is_next: Done when all that came before is.
        task: Runs the coroutine; None before it is made.
        patience: How long those behind it wait for it once it is next, in seconds; None for as long
            as it takes.
    """

    def __init__(self, patience: float | None) -> None:
        self.is_next: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.task: asyncio.Task[Any] | None = None
        self.patience = patience

    async def done(self) -> None:
        """Wait until those behind it may go on."""
        await asyncio.wait([self.is_next])
        if self.task is not None:
            await asyncio.wait([self.task], timeout=self.patience)


class Soon:
    """Starts coroutines from any thread, in the order of the calls of each thread.

    No lock is taken, so a signal handler may call it while the loop is anywhere.

    Args:
        serving: The loop in which the app serves. While none serves, a message is published before
            the call returns, and a coroutine of the app's runs in the loop of the calling thread,
            or to its end at once where none runs.
    """

    def __init__(self, serving: ServingLoop) -> None:
        self._serving = serving
        #: Thread -> its last call, of the loop that serves.
        self._last: dict[int, _Place] = {}

    def run(
        self,
        coroutine: Coroutine[Any, Any, Result],
        what: str = "a coroutine of sse.run_soon()",
        *,
        patience: float | None = GRACE,
    ) -> Future[Result]:
        """Start a coroutine behind what this thread has asked for before.

        Args:
            coroutine: What an async function has returned. It has the context of the caller.
            what: The call, for messages.
            patience: How long later calls of the thread wait for it, in seconds; None for as long
                as it takes.

        Returns:
            The future result.

        Raises:
            TypeError: If it is no coroutine.
        """
        if not asyncio.iscoroutine(coroutine):
            raise TypeError(
                f"sse.run_soon() takes a coroutine and got {coroutine!r}. Call the async function, "
                "as in sse.run_soon(send_report(7))."
            )
        loop = self._serving.serving
        if loop is None and patience is not None:
            loop = asyncio._get_running_loop()
        outcome: Outcome[Result] = Outcome(loop, what)
        thread = threading.get_ident()

        def begin() -> None:
            if outcome.done() or not outcome.set_running_or_notify_cancel():
                coroutine.close()
                return
            before, place = self._last.get(thread), _Place(patience)
            self._last[thread] = place
            place.task = asyncio.get_running_loop().create_task(_after(before, place, coroutine))
            place.task.add_done_callback(end)

        def end(task: asyncio.Task[Result]) -> None:
            place = self._last.get(thread)
            if place is not None and place.task is task:
                del self._last[thread]
            coroutine.close()  # of a task that was cancelled before its first step
            settle(outcome, task)

        if loop is None:
            _run_here(coroutine, outcome)
            return outcome
        try:
            loop.call_soon_threadsafe(begin)
        except RuntimeError:  # it was closed just now
            _run_here(coroutine, outcome)
        return outcome

    @staticmethod
    def failed(error: BaseException, what: str) -> Future[Any]:
        """Return the outcome of a call whose arguments are wrong.

        Args:
            error: The error.
            what: The call, for messages.
        """
        outcome: Outcome[Any] = Outcome(None, what)
        outcome.set_exception(error)
        return outcome


async def _after(
    before: _Place | None, place: _Place, coroutine: Coroutine[Any, Any, Result]
) -> Result:
    """Run a coroutine at its place in the order of its thread."""
    try:
        # That of a loop that has ended is behind.
        if before is not None and before.is_next.get_loop() is asyncio.get_running_loop():
            await before.done()
    finally:
        if not place.is_next.done():
            place.is_next.set_result(None)
    return await coroutine


def _run_here(coroutine: Coroutine[Any, Any, Result], outcome: Outcome[Result]) -> None:
    """Run a coroutine to its end, in a loop of its own."""
    outcome.set_running_or_notify_cancel()

    def run() -> None:
        try:
            outcome.set_result(asyncio.run(coroutine))
        except BaseException as error:
            outcome.set_exception(error)

    if asyncio._get_running_loop() is None:
        run()
        return
    # A thread has room for one loop.
    thread = threading.Thread(target=contextvars.copy_context().run, args=(run,), daemon=True)
    thread.start()
    thread.join()
