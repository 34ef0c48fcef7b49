"""The running sources of streams: async ones in tasks, sync ones in threads of their own."""

import asyncio
import contextvars
import logging
import threading
from contextlib import suppress

from ..config import Config
from ..error_log import ErrorLog
from ..errors import ConnectionClosedError
from ..hub import OwnConnection
from ..logs import LogLine
from ..publisher import MessagePublisher
from ..wire import Ending, encode_failure
from .feeding import BlockingOwnStream, OwnStream
from .items import Items
from .source import Source

SOURCES_LATE = LogLine(
    "streams",
    "sources-late",
    logging.WARNING,
    "%(sources)d sources of streams have not ended %(seconds)g s after their streams. Sync ones "
    "end at their next item, or when they see that stream.is_open is false.",
    sources=int,
    seconds=float,
)
SOURCE_FAILED = LogLine(
    "streams",
    "source-failed",
    logging.ERROR,
    "The source of a stream of %(source)s failed; a client that is still there is sent sse-error "
    "and sse-stop.",
    source=str,
)

#: Time that a stopping server waits for sources to clean up, in seconds.
PATIENCE = 2.0
#: Time that it then waits for those that were cancelled once more, in seconds.
LAST_PATIENCE = 0.5


class Jobs:
    """Runs the sources of one process.

    A sync source has a thread of its own, so that it takes none of the app's executor, and none
    keeps the process from ending: a thread cannot be stopped from outside.

    Args:
        publisher: Writes the data of events.
        config: The app's settings, with the limit of threads.
        errors: Logs errors of sources.
    """

    def __init__(self, publisher: MessagePublisher, config: Config, errors: ErrorLog) -> None:
        self._publisher = publisher
        self._config = config
        self._errors = errors
        self._tasks: set[asyncio.Task[None]] = set()
        self._places: set[OwnConnection] = set()  #: streams that have, or will have, a thread

    @property
    def is_full(self) -> bool:
        """Whether as many sync sources run as may."""
        return len(self._places) >= self._config.sync_streams

    def take_place(self, connection: OwnConnection) -> bool:
        """Keep a thread's place for a stream; return whether there is one."""
        if self.is_full:
            return False
        self._places.add(connection)
        return True

    def give_place(self, connection: OwnConnection) -> None:
        """Give back the place of a stream whose source was never started."""
        if not connection.has_begun:
            self._places.discard(connection)

    def begin(self, source: Source, connection: OwnConnection) -> None:
        """Let a source feed a stream, in the view's context."""
        task = asyncio.get_running_loop().create_task(
            self._run(source, connection), context=source.context.copy()
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if not source.is_sync:
            connection.stop = task.cancel

    async def _run(self, source: Source, connection: OwnConnection) -> None:
        items = Items(self._publisher, source.resumes)
        stream, ending = OwnStream(connection, items), Ending.FAILED
        try:
            if source.is_sync:
                await self._run_in_thread(source, stream, connection)
            else:
                await source.run(stream)
            items.check_whole()
            ending = Ending.DONE
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                ending = Ending.SHUTDOWN  # unless the stream has ended already
                raise
            self._fail(source, connection, error)
        except Exception as error:
            is_gone = connection.is_ended and connection.ending is not Ending.DONE
            if not (is_gone and isinstance(error, ConnectionClosedError)):
                self._fail(source, connection, error)
        finally:
            connection.finish(ending)

    def _fail(self, source: Source, connection: OwnConnection, error: BaseException) -> None:
        self._errors.log(f"stream source {source.name}", error, SOURCE_FAILED, source=source.name)
        connection.ahead([encode_failure()])

    async def _run_in_thread(
        self, source: Source, stream: OwnStream, connection: OwnConnection
    ) -> None:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()

        def settle(error: Exception | None) -> None:
            self._places.discard(connection)
            if done.done():
                return
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

        def run() -> None:
            failure: Exception | None = None
            try:
                source.run_blocking(BlockingOwnStream(stream, loop))
            except BaseException as error:
                if isinstance(error, Exception) and not isinstance(error, StopIteration):
                    failure = error
                else:  # futures and event loops take others for signals of their own
                    failure = RuntimeError(f"The source raised {error!r}.")
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(settle, failure)

        thread = threading.Thread(
            target=contextvars.copy_context().run,
            args=(run,),
            name=f"quart_sse-stream-{source.name}",
            daemon=True,
        )
        try:
            thread.start()
        except RuntimeError:  # the system gives no more threads
            self._places.discard(connection)
            raise
        await done

    async def finish(self) -> None:
        """Let sources clean up whose streams have ended, for ``PATIENCE`` at most."""
        if not self._tasks:
            return
        _, late = await asyncio.wait(list(self._tasks), timeout=PATIENCE)
        for task in late:
            task.cancel()
        if late:
            SOURCES_LATE.log(sources=len(late), seconds=PATIENCE)
            await asyncio.wait(late, timeout=LAST_PATIENCE)

    def clear(self) -> None:
        """Forget what belongs to a loop that has ended."""
        self._tasks.clear()
        self._places.clear()
