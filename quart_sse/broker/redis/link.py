"""Calls to Redis, each of which tells what became of it.

redis-py's own client is not used, because it stores an event twice when it repeats a call whose
answer was lost.
"""

import asyncio
import weakref
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

from ...errors import BrokerUnavailable
from .script import ScriptCall
from .subscription import Subscription, closed_is_an_error

#: Most connections for calls; further calls wait for one, within their timeout.
MAX_CALLS = 50


class Link:
    """Runs commands and scripts on one Redis server.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``.
        timeout: Longest duration of one call, connecting included, in seconds.
    """

    def __init__(self, url: str, timeout: float) -> None:
        self._url = url
        self._timeout = timeout
        # One for each loop, because a connection belongs to its loop and a task queue may run each
        # task in a loop of its own.
        self._pools: weakref.WeakKeyDictionary[
            asyncio.AbstractEventLoop, BlockingConnectionPool
        ] = weakref.WeakKeyDictionary()
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

    @property
    def _pool(self) -> BlockingConnectionPool:
        loop = asyncio.get_running_loop()
        if loop not in self._pools:
            self._pools[loop] = self._new_pool()
        return self._pools[loop]

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
        is_sent = False
        connection: AbstractConnection | None = None
        try:
            async with asyncio.timeout(self._timeout):
                with closed_is_an_error():
                    connection = await self._pool.get_connection()  # type: ignore[no-untyped-call]
                is_sent = True
                try:
                    return await _exchange(connection, command)
                except NoScriptError:
                    is_sent = False
                    await _exchange(connection, load)
                    is_sent = True
                    return await _exchange(connection, command)
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
                await self._pool.release(connection)

    def subscription(self) -> Subscription:
        """Return a new subscription, which is not connected yet."""
        options = {**self._pool.connection_kwargs, "socket_timeout": None}
        return Subscription(self._pool.connection_class(**options), self._timeout)

    async def release(self) -> None:
        """Close idle connections."""
        await self._pool.disconnect(inuse_connections=False)

    async def close(self) -> None:
        """Close all connections of the running loop."""
        pool = self._pools.pop(asyncio.get_running_loop(), None)
        if pool is not None:
            await pool.disconnect()


async def _exchange(connection: AbstractConnection, command: tuple[Any, ...]) -> Any:
    task = asyncio.current_task()
    cancels = task.cancelling() if task is not None else 0
    with closed_is_an_error():
        await connection.send_command(*command)
        # redis-py writes within asyncio.wait_for, which loses a cancellation on Python 3.11.
        if task is not None and task.cancelling() > cancels:
            raise asyncio.CancelledError
        return await connection.read_response()
