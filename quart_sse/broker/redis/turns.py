"""The calls of one event loop: how many run, and who waits for a turn."""

import asyncio
from collections import deque

from ...errors import BrokerUnavailable


class Turns:
    """Lets a bounded number of calls run; the others wait in the order in which they came.

    A call's timeout counts from its turn, so that thousands of calls at once all run. Calls that
    wait give up together when a running one has timed out and no other was answered meanwhile.

    Args:
        most: Number of calls that run at the same time.
        timeout: Timeout of a call, in seconds.

    Example:
        ``async with turns: ...``, for each call
    """

    def __init__(self, most: int, timeout: float) -> None:
        self._free = most
        self._timeout = timeout
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._answered_at = float("-inf")  # loop time

    async def __aenter__(self) -> None:
        """Wait for a turn, which lasts until the end of the block.

        Raises:
            BrokerUnavailable: If no call is answered any more; nothing was sent.
        """
        if self._free:
            self._free -= 1
        else:
            await self._wait()

    async def __aexit__(self, *_: object) -> None:
        """End the turn, however the block ended."""
        self._pass_on()

    async def _wait(self) -> None:
        mine = asyncio.get_running_loop().create_future()
        self._waiting.append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled() and mine.exception() is None:
                self._pass_on()  # it was this call's turn just now
            raise

    def _pass_on(self) -> None:
        while self._waiting:
            following = self._waiting.popleft()
            if not following.done():
                following.set_result(None)
                return
        self._free += 1

    def answered(self) -> None:
        """Note that a call was answered."""
        self._answered_at = asyncio.get_running_loop().time()

    def timed_out(self) -> None:
        """Note that a call was not answered within its timeout."""
        if asyncio.get_running_loop().time() - self._answered_at < self._timeout:
            return
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_exception(
                    BrokerUnavailable(
                        f"Redis has answered no call for {self._timeout:g} s. Nothing was "
                        "published."
                    )
                )
        self._waiting.clear()
