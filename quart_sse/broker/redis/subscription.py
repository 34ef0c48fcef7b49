"""One pub/sub connection to Redis.

redis-py's own pub/sub is not used, because it reconnects silently, which hides the gap.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError, RedisError

#: Most channels in one command.
BATCH = 500


@contextlib.contextmanager
def calling_redis() -> Iterator[None]:
    """Raise what redis-py should have raised; whatever writes by it belongs in such a block.

    redis-py connects within ``asyncio.wait_for``. On Python 3.11 that loses a cancellation that
    comes just when it is done, and the task would go on.

    On a connection that is closed asyncio raises an ``OSError``, and uvloop a ``RuntimeError``
    whose text has "closed". Here it is the same error on every loop.

    Raises:
        asyncio.CancelledError: If the task was cancelled within the block, whatever came of it.
        ConnectionError: If the connection is closed.
    """
    task = asyncio.current_task()
    cancels = 0 if task is None else task.cancelling()
    try:
        yield
    except RuntimeError as error:
        if "closed" not in str(error):
            raise
        raise ConnectionError("Connection closed by server.") from error
    finally:
        if task is not None and task.cancelling() > cancels:
            raise asyncio.CancelledError


class Subscription:
    """One pub/sub connection, which never reconnects by itself.

    Args:
        connection: A connection that is not connected yet.
        timeout: Longest duration of connecting, in seconds.
    """

    def __init__(self, connection: AbstractConnection, timeout: float) -> None:
        self._connection = connection
        self._timeout = timeout
        #: channels that were requested and not given up since
        self._asked: set[str] = set()
        self._due: Counter[str] = Counter()  #: channel -> confirmations still to come
        self._confirmed: set[str] = set()

    async def connect(self) -> None:
        """Connect.

        Raises:
            RedisError, OSError, TimeoutError: If that fails.
        """
        async with asyncio.timeout(self._timeout):
            with calling_redis():
                await self._connection.connect()  # type: ignore[no-untyped-call]

    def has_confirmed(self, channels: Iterable[str]) -> bool:
        """Whether Redis has confirmed all of these channels, so that no message can be missed."""
        return self._confirmed.issuperset(channels)

    def is_due(self, channel: str) -> bool:
        """Whether a confirmation is still to come, even of a channel that was given up."""
        return channel in self._due

    async def subscribe(self, channels: Iterable[str]) -> None:
        """Request channels, except those that were requested already.

        :meth:`read` returns a confirmation of each.

        Raises:
            RedisError, OSError: If the connection has ended.
        """
        missing = [channel for channel in channels if channel not in self._asked]
        self._asked.update(missing)
        self._due.update(missing)
        await self._send("SUBSCRIBE", missing)

    async def unsubscribe(self, channels: Sequence[str]) -> None:
        """Give channels up; confirmations that arrive later do not count.

        Raises:
            RedisError, OSError: If the connection has ended.
        """
        self._asked.difference_update(channels)
        self._confirmed.difference_update(channels)
        for at in range(0, len(channels), BATCH):
            # Another task may have requested one again while an earlier batch was written.
            gone = [c for c in channels[at : at + BATCH] if c not in self._asked]
            await self._send("UNSUBSCRIBE", gone)

    async def _send(self, command: str, channels: list[str]) -> None:
        with calling_redis():
            for at in range(0, len(channels), BATCH):
                if not self._connection.is_connected:
                    # redis-py would reconnect by itself, and nothing would read the connection.
                    raise ConnectionError("The subscription has ended.")
                await self._connection.send_command(command, *channels[at : at + BATCH])

    async def read(self) -> tuple[str, str, bytes]:
        """Wait for the next message or confirmation.

        Returns:
            Its kind ("message", "subscribe", "unsubscribe"), channel and payload.

        Raises:
            RedisError, OSError: If the connection has ended.
        """
        answer = await self._connection.read_response()
        kind, channel, payload = answer[0].decode(), answer[1].decode(), answer[2]
        if kind == "subscribe":
            self._confirm(channel)
        return kind, channel, payload if isinstance(payload, bytes) else b""

    def _confirm(self, channel: str) -> None:
        self._due[channel] -= 1
        # Of a channel that was given up and requested again, only the last confirmation counts.
        if self._due[channel] <= 0:
            del self._due[channel]
            if channel in self._asked:
                self._confirmed.add(channel)

    async def close(self) -> None:
        """Close the connection; a waiting :meth:`read` raises."""
        with contextlib.suppress(RedisError, OSError, RuntimeError):  # its loop may be closed
            await self._connection.disconnect(nowait=True)
