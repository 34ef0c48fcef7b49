"""Pace: long work goes on in pieces, between which all else has its turn."""

import asyncio
from collections import deque
from weakref import WeakKeyDictionary

#: Topics that are worked on in one piece, which takes about two milliseconds.
PIECE = 16


class Pace:
    """Lets one piece of long work run in each turn of the event loop, of all tasks that have some.

    ``asyncio.sleep(0)`` would let every task go on in each turn, so that a page waited for a piece
    of each of them, again and again.

    Example:
        ``await pace.rest()`` after each piece
    """

    def __init__(self) -> None:
        self._waiting: WeakKeyDictionary[asyncio.AbstractEventLoop, deque[asyncio.Future[None]]] = (
            WeakKeyDictionary()
        )

    async def rest(self) -> None:
        """Wait until it is this task's turn again; tasks take turns in the order of their calls."""
        loop = asyncio.get_running_loop()
        waiting = self._waiting.setdefault(loop, deque())
        turn = loop.create_future()
        waiting.append(turn)
        if len(waiting) == 1:
            loop.call_soon(_next, waiting, loop)
        await turn


def _next(waiting: deque[asyncio.Future[None]], loop: asyncio.AbstractEventLoop) -> None:
    turn = waiting.popleft()
    if not turn.done():  # it may have been cancelled
        turn.set_result(None)
    if waiting:
        loop.call_soon(_next, waiting, loop)
