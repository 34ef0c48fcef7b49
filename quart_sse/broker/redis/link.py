"""The two ways of talking to Redis: calls that know what became of them, and a subscription.

redis-py's own client is not used for either: it stores an event twice when it repeats a call
whose answer was lost, and its pub/sub subscribes again silently, so that nobody knows of a gap.
"""

import asyncio
import contextlib
import weakref
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from redis.asyncio.connection import AbstractConnection, BlockingConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    BusyLoadingError,
    ConnectionError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from ...errors import BrokerUnavailable
from .script import ScriptCall

#: Topics that are subscribed with one command.
BATCH = 500
#: Connections for calls; further calls wait for one, within their timeout.
MAX_CALLS = 50


class Link:
    """Calls to one Redis server.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``.
        timeout: Seconds that one call may take, connecting included.
    """

    def __init__(self, url: str, timeout: float) -> None:
        self._url = url
        self._timeout = timeout
        #: A worker runs a loop for each task, and a connection belongs to the loop it was made in.
        self._pools: weakref.WeakKeyDictionary[
            asyncio.AbstractEventLoop, BlockingConnectionPool
        ] = weakref.WeakKeyDictionary()
        #: The number of the database: it has keys of its own, but shares all pub/sub channels.
        self.database = int(self._new_pool().connection_kwargs.get("db") or 0)

    def _new_pool(self) -> BlockingConnectionPool:
        pool = BlockingConnectionPool.from_url(
            self._url,
            max_connections=MAX_CALLS,
            timeout=None,
            retry=Retry(NoBackoff(), 0),
            retry_on_error=[],
        )
        # Whatever the URL says: answers are read as these have them.
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

        Raises:
            BrokerUnavailable: If it did not run (``maybe_published`` is false) or may have run
                without an answer reaching us.
        """
        return await self._once(*call.command, load=call.load)

    async def ask(self, *command: str) -> Any:
        """Run a command that may be run twice."""
        return await self._once(*command)

    async def _once(self, *command: Any, load: tuple[str, ...] = ()) -> Any:
        is_sent = False
        connection: AbstractConnection | None = None
        try:
            async with asyncio.timeout(self._timeout):
                with _closed_is_an_error():
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
            # The server said no: loading its data, a replica, out of memory.
            if isinstance(error, ReadOnlyError) and connection is not None:
                # It is a replica now, and the address may lead to another server.
                await connection.disconnect(nowait=True)
                await self.release()
            raise BrokerUnavailable(f"Redis refused: {error}.") from error
        except (RedisError, OSError, TimeoutError) as error:
            # An answer that comes late must not be taken for the next call's.
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

    def subscription(self) -> "Subscription":
        """Return a new, unconnected subscription."""
        options = {**self._pool.connection_kwargs, "socket_timeout": None}
        return Subscription(self._pool.connection_class(**options), self._timeout)

    async def release(self) -> None:
        """Close the connections over which no call is under way."""
        await self._pool.disconnect(inuse_connections=False)

    async def close(self) -> None:
        """Close all connections of the running loop."""
        pool = self._pools.pop(asyncio.get_running_loop(), None)
        if pool is not None:
            await pool.disconnect()


@contextlib.contextmanager
def _closed_is_an_error() -> Iterator[None]:
    """Let a write to a connection that the other end has closed fail alike on every loop.

    asyncio raises an ``OSError`` then, uvloop a ``RuntimeError`` that says that it is closed.
    """
    try:
        yield
    except RuntimeError as error:
        if "closed" not in str(error):
            raise
        raise ConnectionError("Connection closed by server.") from error


async def _exchange(connection: AbstractConnection, command: tuple[Any, ...]) -> Any:
    task = asyncio.current_task()
    cancels = task.cancelling() if task is not None else 0
    with _closed_is_an_error():
        await connection.send_command(*command)
        # redis-py writes within asyncio.wait_for, which loses a cancellation on Python 3.11.
        if task is not None and task.cancelling() > cancels:
            raise asyncio.CancelledError
        return await connection.read_response()


class Subscription:
    """One pub/sub connection; it never connects again by itself.

    Args:
        connection: Unconnected.
        timeout: Seconds that connecting may take.
    """

    def __init__(self, connection: AbstractConnection, timeout: float) -> None:
        self._connection = connection
        self._timeout = timeout
        #: channels asked for and not given up since, and how many answers about each are to come
        self._asked: set[str] = set()
        self._due: Counter[str] = Counter()
        self._confirmed: set[str] = set()

    async def connect(self) -> None:
        """Connect."""
        with _closed_is_an_error():
            async with asyncio.timeout(self._timeout):
                await self._connection.connect()  # type: ignore[no-untyped-call]

    def has_confirmed(self, channels: Iterable[str]) -> bool:
        """Whether nothing that is published on these channels can be missed any more."""
        return self._confirmed.issuperset(channels)

    def is_due(self, channel: str) -> bool:
        """Whether an answer about a channel is still to come, also if it was given up."""
        return channel in self._due

    async def subscribe(self, channels: Iterable[str]) -> None:
        """Ask for channels, those apart that were asked for already.

        Each is confirmed in what :meth:`read` returns.
        """
        missing = [channel for channel in channels if channel not in self._asked]
        self._asked.update(missing)
        self._due.update(missing)
        await self._send("SUBSCRIBE", missing)

    async def unsubscribe(self, channels: Sequence[str]) -> None:
        """Ask for channels no longer; from this moment nothing that comes counts."""
        self._asked.difference_update(channels)
        self._confirmed.difference_update(channels)
        for at in range(0, len(channels), BATCH):
            # Somebody may have asked for it again while others were written.
            gone = [c for c in channels[at : at + BATCH] if c not in self._asked]
            await self._send("UNSUBSCRIBE", gone)

    async def _send(self, command: str, channels: list[str]) -> None:
        for at in range(0, len(channels), BATCH):
            if not self._connection.is_connected:
                # It would connect again by itself, and nobody would read it.
                raise ConnectionError("The subscription has ended.")
            with _closed_is_an_error():
                await self._connection.send_command(command, *channels[at : at + BATCH])

    async def read(self) -> tuple[str, str, bytes]:
        """Return the next thing that was said: kind, channel, payload."""
        answer = await self._connection.read_response()
        kind, channel, payload = answer[0].decode(), answer[1].decode(), answer[2]
        if kind == "subscribe":
            self._confirm(channel)
        return kind, channel, payload if isinstance(payload, bytes) else b""

    def _confirm(self, channel: str) -> None:
        self._due[channel] -= 1
        # One that was given up and asked for again is confirmed by the last answer alone.
        if self._due[channel] <= 0:
            del self._due[channel]
            if channel in self._asked:
                self._confirmed.add(channel)

    async def close(self) -> None:
        """Close the connection, which ends a waiting :meth:`read` with an error."""
        with contextlib.suppress(RedisError, OSError):
            await self._connection.disconnect(nowait=True)
