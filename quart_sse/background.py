"""Tasks that last until they are stopped: one that dies is logged and begins again."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from .error_log import ErrorLog
from .logs import LogLine
from .serving_loop import cancel_left, forget

TASK_FAILED = LogLine(
    "server",
    "task-failed",
    logging.ERROR,
    "The background task %(task)r failed; it begins again in %(seconds)g s.",
    task=str,
    seconds=float,
)

#: Pause before a task that has died begins again, in seconds.
PAUSE = 0.25


class Background:
    """One piece of lasting work, in a task of its own.

    Work that waits for something slow keeps no other work waiting.

    Args:
        name: What the task does, for the log.
        work: Does it; called again whenever it returns, so it waits for its own time.
        errors: Logs what the work raises.

    Example:
        ``Background("probes", probe, errors).start()``
    """

    def __init__(self, name: str, work: Callable[[], Awaitable[None]], errors: ErrorLog) -> None:
        self._name = name
        self._work = work
        self._errors = errors
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Work until :meth:`stop`, in the running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Cancel the task, and wait for its end."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def abandon(self) -> None:
        """Forget the task of a loop that has ended; it ends if that loop goes on."""
        task, self._task = self._task, None
        forget(task)
        cancel_left(task)

    async def _run(self) -> None:
        task = asyncio.current_task()
        while True:
            try:
                await self._work()
            except (Exception, asyncio.CancelledError) as error:
                # Work that was cancelled by something of its own has failed like any other.
                if task is not None and task.cancelling():
                    raise
                name = f"background task {self._name!r}"
                self._errors.log(name, error, TASK_FAILED, task=self._name, seconds=PAUSE)
                await asyncio.sleep(PAUSE)
