"""Calls to Redis that block, for programs without an event loop.

The methods are coroutines that never wait for an event loop, so that everything above them is
written once. One step takes such a coroutine to its end.
"""

import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from redis.backoff import NoBackoff
from redis.connection import Connection, parse_url
from redis.exceptions import (
    BusyLoadingError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from ...errors import BrokerUnavailable
from .link import MAX_CALLS, Hearing, check_url, connection_options, refused, unanswered
from .script import ScriptCall


class _Lane:
    """The connections of one process, which a fork leaves to the parent."""

    def __init__(self) -> None:
        self.idle: list[Connection] = []  # its methods are atomic
        self.free = threading.BoundedSemaphore(MAX_CALLS)


class BlockingLink:
    """Runs commands and scripts on one Redis server, and blocks meanwhile.

    It may be used by any number of threads. A forked process abandons it first, and goes on with
    connections of its own.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``.
        timeout: Longest duration of one call, in seconds; connecting may take as long again.
    """

    def __init__(self, url: str, timeout: float) -> None:
        check_url(url)
        self._timeout = timeout
        options: dict[str, Any] = parse_url(url)  # type: ignore[no-untyped-call]
        self._class: type[Connection] = options.pop("connection_class", Connection)
        self._options = {
            **options,
            **connection_options(timeout),
            "retry": Retry(NoBackoff(), 0),
            "retry_on_error": [],
        }
        self._lane = _Lane()
        #: number of the database, which has its own keys but shares all pub/sub channels
        self.database: int = int(options.get("db") or 0)

    async def call(self, call: ScriptCall) -> Any:
        """Run a script once; see :meth:`Link.call`."""
        return self._once(call.command, call.load)

    async def call_all(self, calls: Sequence[ScriptCall]) -> list[Any]:
        """Run a script several times; see :meth:`Link.call_all`."""
        return [self._once(call.command, call.load) for call in calls]

    async def call_in_order(self, calls: Sequence[ScriptCall]) -> list[Any]:
        """Run scripts one after the other, each once; see :meth:`Link.call_in_order`."""
        answers: list[Any] = []
        for call in calls:
            try:
                answers.append(self._once(call.command, call.load))
            except BrokerUnavailable as error:
                if answers and not error.maybe_published:
                    raise BrokerUnavailable(str(error), maybe_published=True) from error
                raise
        return answers

    async def ask(self, *command: str) -> Any:
        """Run a command that does no harm if the caller repeats it; see :meth:`Link.ask`."""
        return self._once(command, ())

    def _once(self, command: tuple[Any, ...], load: tuple[str, ...]) -> Any:
        lane = self._lane
        if not lane.free.acquire(timeout=self._timeout):
            raise BrokerUnavailable(
                f"{MAX_CALLS} calls of this process to Redis are under way, and none has ended "
                f"within {self._timeout:g} s. Nothing was published."
            )
        try:
            return self._take_turn(lane, command, load)
        finally:
            lane.free.release()

    def _take_turn(self, lane: _Lane, command: tuple[Any, ...], load: tuple[str, ...]) -> Any:
        is_sent = is_whole = False
        connection: Connection | None = None
        try:
            connection = self._take(lane)
            is_sent = True
            try:
                answer = self._exchange(connection, command)
            except NoScriptError:
                is_sent = False
                self._exchange(connection, load)
                is_sent = True
                answer = self._exchange(connection, command)
            is_whole = True
            return answer
        except (ResponseError, BusyLoadingError) as error:
            # A server that is a replica now is left; the address may lead to another one.
            is_whole = not isinstance(error, ReadOnlyError)
            if not is_whole:
                self._drop(lane)
            raise refused(error) from error
        except (RedisError, OSError, TimeoutError) as error:
            raise unanswered(error, self._timeout, is_sent=is_sent) from error
        finally:
            # A late answer must not be read as that of the next call, whatever has ended this one.
            if connection is not None and is_whole:
                lane.idle.append(connection)
            elif connection is not None:
                _end(connection)

    def _take(self, lane: _Lane) -> Connection:
        """Return a connection that is open and has nothing to be read."""
        while lane.idle:
            with suppress(IndexError):  # another thread was faster
                connection = lane.idle.pop()
                if not _is_stale(connection):
                    return connection
                _end(connection)
        new = self._class(**self._options)
        new.connect()  # type: ignore[no-untyped-call]
        return new

    def _exchange(self, connection: Connection, command: tuple[Any, ...]) -> Any:
        connection.send_command(*command)  # type: ignore[no-untyped-call]
        return connection.read_response()

    @asynccontextmanager
    async def hear(self, channel: str, seconds: float) -> AsyncIterator[Hearing]:
        """Listen to one pub/sub channel; see :meth:`Link.hear`."""
        ends_at = time.monotonic() + seconds
        connection = self._class(**self._options)

        async def hear() -> bytes | None:
            while (left := ends_at - time.monotonic()) > 0 and connection.can_read(left):
                answer = connection.read_response()
                if answer[0] in (b"message", b"subscribe"):
                    return answer[2] if answer[0] == b"message" else b""
            return None

        try:
            connection.connect()  # type: ignore[no-untyped-call]
            connection.send_command("SUBSCRIBE", channel)  # type: ignore[no-untyped-call]
            if await hear() is None:
                raise RedisTimeoutError
            yield hear
        except (RedisError, OSError, TimeoutError) as error:
            raise unanswered(error, seconds, is_sent=False) from error
        finally:
            _end(connection)

    def subscription(self) -> Any:
        """Refuse: a program that blocks receives nothing."""
        raise RuntimeError("A blocking link has no subscription.")

    async def release(self) -> None:
        """Close the idle connections."""
        self._drop(self._lane)

    async def close(self) -> None:
        """Close the idle connections; those of calls under way are closed by these."""
        lane, self._lane = self._lane, _Lane()
        self._drop(lane)

    def _drop(self, lane: _Lane) -> None:
        while lane.idle:
            with suppress(IndexError):
                _end(lane.idle.pop())

    def abandon(self) -> None:
        """Forget the connections, which go on in the process that this one was forked from."""
        self._lane = _Lane()


def _is_stale(connection: Connection) -> bool:
    """Whether Redis has closed a connection, or something is left to be read of it."""
    try:
        return bool(connection.can_read(0))
    except (RedisError, OSError):
        return True


def _end(connection: Connection) -> None:
    with suppress(RedisError, OSError):
        connection.disconnect()  # type: ignore[no-untyped-call]
