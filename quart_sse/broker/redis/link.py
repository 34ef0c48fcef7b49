"""Calls to Redis, each of which tells what became of it.

redis-py's own client is not used, because it stores an event twice when it repeats a call whose
answer was lost.
"""

import asyncio
from typing import Any

from redis.asyncio.connection import AbstractConnection, BlockingConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    BusyLoadingError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import TimeoutError as RedisTimeoutError

from ...errors import BrokerUnavailable
from ...serving_loop import at_end_of_loop, forget
from .script import ScriptCall
from .subscription import Subscription, calling_redis
from .turns import Turns

#: Most calls at the same time in one event loop, each over a connection; the others wait.
MAX_CALLS = 50


class _Lane:
    """The connections and calls of one event loop, which end with it.

    A connection belongs to its loop, and a task queue may run each task in a loop of its own.
    """

    def __init__(self, pool: BlockingConnectionPool, timeout: float) -> None:
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
        self._url = url
        self._timeout = timeout
        self._lanes: dict[asyncio.AbstractEventLoop, _Lane] = {}
        #: number of the database, which has its own keys but shares all pub/sub channels
        self.database: int = int(self._new_pool().connection_kwargs.get("db") or 0)

    def _new_pool(self) -> BlockingConnectionPool:
        pool = BlockingConnectionPool.from_url(
            self._url,
            max_connections=MAX_CALLS,
            timeout=None,
            retry=Retry(NoBackoff(), 0),
            retry_on_error=[],
        )
        # The URL must not change these: they decide how answers look and when calls end.
        pool.connection_kwargs.update(
            socket_timeout=self._timeout,
            socket_connect_timeout=self._timeout,
            protocol=2,
            decode_responses=False,
        )
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
        return await self._once(*call.command, load=call.load)

    async def ask(self, *command: str) -> Any:
        """Run a command that does no harm if the caller repeats it.

        Args:
            command: The command's name and its arguments.

        Returns:
            Redis' answer.

        Raises:
            BrokerUnavailable: If the answer did not arrive.
        """
        return await self._once(*command)

    async def _once(self, *command: Any, load: tuple[str, ...] = ()) -> Any:
        lane = self._lane()
        async with lane.turns.turn():
            return await self._take_turn(lane, command, load)

    async def _take_turn(self, lane: _Lane, command: tuple[Any, ...], load: tuple[str, ...]) -> Any:
        is_sent = False
        connection: AbstractConnection | None = None
        try:
            async with asyncio.timeout(self._timeout):
                with calling_redis():
                    connection = await lane.pool.get_connection()  # type: ignore[no-untyped-call]
                is_sent = True
                try:
                    answer = await _exchange(connection, command)
                except NoScriptError:
                    is_sent = False
                    await _exchange(connection, load)
                    is_sent = True
                    answer = await _exchange(connection, command)
            lane.turns.answered()
            return answer
        except (ResponseError, BusyLoadingError) as error:
            # Refused: the server is loading its data, a replica, or out of memory.
            if isinstance(error, ReadOnlyError) and connection is not None:
                # The server is a replica now; the address may lead to another one.
                await connection.disconnect(nowait=True)
                await self.release()
            raise BrokerUnavailable(f"Redis refused: {error}.") from error
        except (RedisError, OSError, TimeoutError) as error:
            # A late answer must not be read as that of the next call.
            if connection is not None:
                await connection.disconnect(nowait=True)
            if isinstance(error, (TimeoutError, RedisTimeoutError)):
                lane.turns.timed_out()
            fate = "It may have been published." if is_sent else "Nothing was published."
            why = str(error) or f"{type(error).__name__} after {self._timeout:g} s"
            raise BrokerUnavailable(
                f"Redis did not answer ({why}). {fate}",
                maybe_published=is_sent,
            ) from error
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
        options = {**pool.connection_kwargs, "socket_timeout": None}
        return Subscription(pool.connection_class(**options), self._timeout)

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


async def _exchange(connection: AbstractConnection, command: tuple[Any, ...]) -> Any:
    with calling_redis():
        await connection.send_command(*command)
    with calling_redis():
        return await connection.read_response()
