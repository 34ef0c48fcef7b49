"""Calls to Redis, each of which tells what became of it.

redis-py's own client is not used, because it stores an event twice when it repeats a call whose
answer was lost.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache
from typing import Any, Protocol
from urllib.parse import urlsplit

from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    ConnectionPool,
    parse_url,
)
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    BusyLoadingError,
    ClusterDownError,
    MovedError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import TimeoutError as RedisTimeoutError

from ...errors import BrokerUnavailable, ConfigError
from ...serving_loop import at_end_of_loop, forget
from .script import ScriptCall
from .subscription import Subscription, calling_redis
from .turns import Turns

_BROKER_URL = "QUART_SSE_BROKER_URL"
#: Most calls at the same time in one event loop, each over a connection; the others wait.
MAX_CALLS = 50

#: Waits for the next message of a pub/sub channel; returns None when the time is up.
Hearing = Callable[[], Awaitable[bytes | None]]


class AnyLink(Protocol):
    """What a broker does with its link; :class:`Link` awaits, and ``BlockingLink`` blocks."""

    database: int

    async def call(self, call: ScriptCall) -> Any:
        """Run a script once."""

    async def call_all(self, calls: Sequence[ScriptCall]) -> list[Any]:
        """Run a script several times."""

    async def call_in_order(self, calls: Sequence[ScriptCall]) -> list[Any]:
        """Run scripts one after the other, each once."""

    async def ask(self, *command: str) -> Any:
        """Run a command that does no harm if the caller repeats it."""

    def hear(self, channel: str, seconds: float) -> AbstractAsyncContextManager[Hearing]:
        """Listen to one pub/sub channel until the block ends."""

    def subscription(self) -> Subscription:
        """Return a new subscription, which is not connected yet."""

    async def release(self) -> None:
        """Close the idle connections."""

    async def close(self) -> None:
        """Close all connections."""

    def abandon(self) -> None:
        """Forget all connections."""


def connection_options(timeout: float) -> dict[str, Any]:
    """Return options of all connections, which a URL must not change.

    Args:
        timeout: Longest duration of one call, in seconds.
    """
    return {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "protocol": 2,
        "decode_responses": False,
        **_names(),
    }


@cache
def _names() -> dict[str, Any]:
    """Return the option by which connections say which library they are of.

    redis-py 8 would read its own version from the metadata of installed packages for each
    connection, which takes longer than a call. Older releases have no such module.
    """
    try:
        from redis.driver_info import DriverInfo
    except ImportError:
        return {}
    return {"driver_info": DriverInfo()}


def check_url(url: str) -> None:
    """Refuse a URL by which no connection could be made.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``.

    Raises:
        ConfigError: If the URL is malformed, or an option of its query is unknown.
    """
    expected = (
        "a redis://, rediss:// or unix:// URL; in a password, write %40 for '@', %2F for '/', and "
        "so on"
    )
    try:
        parts = urlsplit(url)
        # What a password that is not encoded leaves behind the host.
        behind = [] if parts.scheme == "unix" else [parts.path, parts.fragment]
        behind += [each for each in parts.query.split("&") if "=" not in each]
        if any("@" in each for each in behind):
            raise ValueError
        options = dict(parse_url(url))
    except ValueError:
        raise ConfigError(_BROKER_URL, url, expected) from None
    made_by: Any = options.pop("connection_class", Connection)
    for option in ("max_connections", "timeout"):  # of the pool
        options.pop(option, None)
    try:
        made_by(**options, **_names())
    except (TypeError, ValueError, RedisError) as error:
        unknown = re.search(r"unexpected keyword argument ('\w+')", str(error))
        if unknown is not None:
            expected = f"a URL without the option {unknown[1]}, which the client does not know"
        raise ConfigError(_BROKER_URL, url, expected) from None


def refused(error: Exception, *, maybe_published: bool = False) -> BrokerUnavailable:
    """Return what a caller gets if Redis has refused a call.

    Args:
        error: The refusal.
        maybe_published: Whether it has done others that were sent with that call.
    """
    if isinstance(error, (MovedError, AskError, ClusterDownError)):
        reason = type(error).__name__.removesuffix("Error")
        return BrokerUnavailable(
            f"Redis refused ({reason}): the server is a node of a Redis Cluster, which is not "
            "supported. Name a server that is no cluster in QUART_SSE_BROKER_URL.",
            maybe_published=maybe_published,
        )
    return BrokerUnavailable(f"Redis refused: {error}.", maybe_published=maybe_published)


def unanswered(error: Exception, timeout: float, *, is_sent: bool) -> BrokerUnavailable:
    """Return what a caller gets if Redis did not answer a call.

    Args:
        error: What ended the call.
        timeout: Longest duration of a call, in seconds.
        is_sent: Whether Redis may have received it.
    """
    fate = "It may have been published." if is_sent else "Nothing was published."
    why = str(error) or f"{type(error).__name__} after {timeout:g} s"
    return BrokerUnavailable(f"Redis did not answer ({why}). {fate}", maybe_published=is_sent)


class _Lane:
    """The connections and calls of one event loop, which end with it.

    A connection belongs to its loop, and a task queue may run each task in a loop of its own.
    """

    def __init__(self, pool: ConnectionPool, timeout: float) -> None:
        self.pool = pool
        self.turns = Turns(MAX_CALLS, timeout)
        self.is_closed = False
        self._end = at_end_of_loop(self.close)

    async def close(self) -> None:
        """Close all connections, once."""
        if not self.is_closed:
            self.is_closed = True
            await self.pool.disconnect()


class Link:
    """Runs commands and scripts on one Redis server.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``.
        timeout: Longest duration of one call, connecting included, in seconds.
    """

    def __init__(self, url: str, timeout: float) -> None:
        check_url(url)
        self._url = url
        self._timeout = timeout
        self._lanes: dict[asyncio.AbstractEventLoop, _Lane] = {}
        #: number of the database, which has its own keys but shares all pub/sub channels
        self.database: int = int(self._new_pool().connection_kwargs.get("db") or 0)

    def _new_pool(self) -> ConnectionPool:
        pool = ConnectionPool.from_url(
            self._url,
            max_connections=MAX_CALLS,  # the turns let no more calls run, so none waits here
            retry=Retry(NoBackoff(), 0),
            retry_on_error=[],
        )
        # Each call has one time limit as a whole. For a limit of each write redis-py would make a
        # task, which costs as much as the write.
        pool.connection_kwargs.update(connection_options(self._timeout), socket_timeout=None)
        return pool

    def _lane(self) -> _Lane:
        """Return the lane of the running loop, and drop those of loops that have ended."""
        loop = asyncio.get_running_loop()
        lane = self._lanes.get(loop)
        if lane is None or lane.is_closed:
            # Other threads do the same.
            for other in list(self._lanes):
                old = self._lanes.get(other)
                if other.is_closed() or (old is not None and old.is_closed):
                    self._lanes.pop(other, None)
            lane = self._lanes[loop] = _Lane(self._new_pool(), self._timeout)
        return lane

    async def call(self, call: ScriptCall) -> Any:
        """Run a script once.

        Args:
            call: The script, its keys and its arguments.

        Returns:
            The script's answer.

        Raises:
            BrokerUnavailable: If the script did not run, or if it may have run and its answer was
                lost (``maybe_published`` is true).
        """
        (answer,) = await self._once(call.command, load=call.load)
        return answer

    async def call_all(self, calls: Sequence[ScriptCall]) -> list[Any]:
        """Run a script several times, in one round trip.

        Args:
            calls: Calls of one script, at least one, that do no harm if they are repeated.

        Returns:
            The answers, in their order.

        Raises:
            BrokerUnavailable: If any of them did not run, or may have run and its answer was lost
                (``maybe_published`` is true).
        """
        return await self._once(*(call.command for call in calls), load=calls[0].load)

    async def call_in_order(self, calls: Sequence[ScriptCall]) -> list[Any]:
        """Run scripts one after the other, each once, in one round trip.

        Args:
            calls: Calls of any scripts, at least one.

        Returns:
            The answers, in their order.

        Raises:
            BrokerUnavailable: If any of them did not run, or may have run and its answer was lost;
                others may have run (``maybe_published`` is true).
        """
        # Loaded at once: a script that turned out to be missing would come behind the others.
        loads = dict.fromkeys(call.load for call in calls)
        answers = await self._once(*loads, *(call.command for call in calls))
        return answers[len(loads) :]

    async def ask(self, *command: str) -> Any:
        """Run a command that does no harm if the caller repeats it.

        Args:
            command: The command's name and its arguments.

        Returns:
            Redis' answer.

        Raises:
            BrokerUnavailable: If the answer did not arrive.
        """
        (answer,) = await self._once(command)
        return answer

    async def _once(self, *commands: tuple[Any, ...], load: tuple[str, ...] = ()) -> list[Any]:
        lane = self._lane()
        async with lane.turns:
            return await self._take_turn(lane, commands, load)

    async def _take_turn(
        self, lane: _Lane, commands: tuple[tuple[Any, ...], ...], load: tuple[str, ...]
    ) -> list[Any]:
        is_sent = False
        connection: AbstractConnection | None = None
        try:
            async with asyncio.timeout(self._timeout):
                with calling_redis():
                    connection = await lane.pool.get_connection()  # type: ignore[no-untyped-call]
                is_sent = True
                try:
                    answers = await _exchange(connection, *commands)
                except NoScriptError:
                    if not load:
                        raise
                    is_sent = False
                    await _exchange(connection, load)
                    is_sent = True
                    answers = await _exchange(connection, *commands)
            lane.turns.answered()
            return answers
        except (ResponseError, BusyLoadingError) as error:
            # Refused: the server is loading its data, a replica, or out of memory.
            if isinstance(error, ReadOnlyError) and connection is not None:
                # The server is a replica now; the address may lead to another one.
                await connection.disconnect(nowait=True)
                await self.release()
            raise refused(error, maybe_published=len(commands) > 1) from error
        except (RedisError, OSError, TimeoutError) as error:
            # A late answer must not be read as that of the next call.
            if connection is not None:
                await connection.disconnect(nowait=True)
            if isinstance(error, (TimeoutError, RedisTimeoutError)):
                lane.turns.timed_out()
            raise unanswered(error, self._timeout, is_sent=is_sent) from error
        except asyncio.CancelledError:
            if connection is not None:
                await connection.disconnect(nowait=True)
            raise
        finally:
            if connection is not None:
                await lane.pool.release(connection)

    def subscription(self) -> Subscription:
        """Return a new subscription, which is not connected yet."""
        pool = self._lane().pool
        return Subscription(pool.connection_class(**pool.connection_kwargs), self._timeout)

    @asynccontextmanager
    async def hear(self, channel: str, seconds: float) -> AsyncIterator[Hearing]:
        """Listen to one pub/sub channel over a connection of its own, until the block ends.

        Args:
            channel: The channel.
            seconds: How long, with connecting.

        Yields:
            A function that returns the next message, or None when the time is up.

        Raises:
            BrokerUnavailable: If Redis cannot be reached, or the connection ends.
        """
        ends_at = asyncio.get_running_loop().time() + seconds
        subscription = self.subscription()

        async def hear() -> bytes | None:
            try:
                async with asyncio.timeout_at(ends_at):
                    while (answer := await subscription.read())[0] != "message":
                        pass
                    return answer[2]
            except TimeoutError:
                return None

        try:
            async with asyncio.timeout_at(ends_at):
                await subscription.connect()
                await subscription.subscribe([channel])
                while not subscription.has_confirmed([channel]):
                    await subscription.read()
            yield hear
        except (RedisError, OSError, TimeoutError) as error:
            raise unanswered(error, seconds, is_sent=False) from error
        finally:
            await subscription.close()

    async def release(self) -> None:
        """Close the idle connections of the running loop."""
        lane = self._lanes.get(asyncio.get_running_loop())
        if lane is not None:
            await lane.pool.disconnect(inuse_connections=False)

    async def close(self) -> None:
        """Close all connections of the running loop."""
        lane = self._lanes.pop(asyncio.get_running_loop(), None)
        if lane is not None:
            await lane.close()

    def abandon(self) -> None:
        """Forget all connections; those of a parent process go on there."""
        forget(self._lanes)
        self._lanes = {}


async def _exchange(connection: AbstractConnection, *commands: tuple[Any, ...]) -> list[Any]:
    """Send commands at once, and return their answers.

    Raises:
        RedisError: The first refusal among the answers, of which all have been read then.
    """
    answers: list[Any] = []
    refused: RedisError | None = None
    with calling_redis():
        if len(commands) == 1:
            await connection.send_command(*commands[0])
        else:
            await connection.send_packed_command(connection.pack_commands(commands))
        for _ in commands:
            try:
                answers.append(await connection.read_response())
            except (ResponseError, BusyLoadingError) as error:
                refused = refused or error
    if refused is not None:
        raise refused
    return answers
