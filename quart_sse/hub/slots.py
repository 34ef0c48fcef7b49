"""Slots: how many renders of a process run at once, and which are next."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import Context, ContextVar, Token

#: The turn of the render that runs; None outside of renders.
_current: ContextVar["Turn | None"] = ContextVar("render_turn", default=None)


class Slots:
    """The slots of one process, of which every running render holds one.

    A page that waits for HTML comes first, and a quarter of the slots is for such pages alone.
    Otherwise renders for changes and for connections take turns. A connection has an eighth of the
    slots at most, and connections take turns with each other, so one that asks for many fragments
    keeps no other one waiting for all of them.

    Args:
        most: Number of slots.

    Example:
        ``async with slots.turn(connection.id): await render()``
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.clear()

    def clear(self) -> None:
        """Forget the turns of a loop that has ended."""
        self._free = self._most
        self._running: Counter[str] = Counter()  #: cause -> its running renders
        self._urgent: dict[Turn, None] = {}
        self._changes: dict[Turn, None] = {}
        self._joins: dict[str, dict[Turn, None]] = {}  #: connection -> its turns; the next is first
        self._was_change = False  #: whether the last one that was not urgent was for a change

    def turn(self, cause: str = "", *, is_urgent: bool = False) -> "Turn":
        """Return the turn of a render, which waits for a slot when it is entered.

        Args:
            cause: Id of the connection that lacks the HTML; "" for a change, and for a page.
            is_urgent: Whether a page waits for the HTML.
        """
        return Turn(self, cause, is_urgent)

    async def take(self, turn: "Turn") -> None:
        """Wait for a slot."""
        turn.granted = asyncio.get_running_loop().create_future()
        self._queue(turn)[turn] = None
        self._grant()
        try:
            await turn.granted
        except asyncio.CancelledError:
            if turn.granted.done() and not turn.granted.cancelled():
                self.give(turn)
            else:
                self._leave(turn)
            raise

    def give(self, turn: "Turn") -> None:
        """Give a slot back, to the next one."""
        self._free += 1
        self._running[turn.cause] -= 1
        if not self._running[turn.cause]:
            del self._running[turn.cause]
        self._grant()

    def hurry(self, turn: "Turn") -> None:
        """Let a turn that waits come before all that are not urgent."""
        if self._leave(turn):
            turn.is_urgent = True
            self._urgent[turn] = None
            self._grant()

    def _queue(self, turn: "Turn") -> dict["Turn", None]:
        if turn.is_urgent:
            return self._urgent
        return self._joins.setdefault(turn.cause, {}) if turn.cause else self._changes

    def _leave(self, turn: "Turn") -> bool:
        queue = self._queue(turn)
        is_waiting = turn in queue
        queue.pop(turn, None)
        if turn.cause and not self._joins.get(turn.cause, True):
            del self._joins[turn.cause]
        return is_waiting

    def _grant(self) -> None:
        while self._free and (turn := self._next()) is not None:
            self._leave(turn)
            if turn.granted is None or turn.granted.done():
                continue  # it was cancelled just now
            self._free -= 1
            self._running[turn.cause] += 1
            turn.granted.set_result(None)

    def _next(self) -> "Turn | None":
        if self._urgent:
            return next(iter(self._urgent))
        if self._free <= self._most // 4:
            return None
        join = self._next_join()
        if self._changes and (join is None or not self._was_change):
            self._was_change = True
            return next(iter(self._changes))
        self._was_change = False
        return join

    def _next_join(self) -> "Turn | None":
        most = max(self._most // 8, 1)
        for cause, turns in self._joins.items():
            if self._running[cause] < most:
                # Behind all others with its next one.
                self._joins[cause] = self._joins.pop(cause)
                return next(iter(turns))
        return None


class Turn:
    """The turn of one render.

    Args:
        slots: The slots of the process.
        cause: See :meth:`Slots.turn`.
        is_urgent: See :meth:`Slots.turn`.
    """

    __slots__ = (
        "_has_slot",
        "_is_over",
        "_pauses",
        "_slots",
        "_token",
        "cause",
        "granted",
        "is_urgent",
    )

    def __init__(self, slots: Slots, cause: str, is_urgent: bool) -> None:
        self._slots = slots
        self._pauses = 0
        self._has_slot = self._is_over = False
        self._token: Token[Turn | None] | None = None
        self.cause: str = cause
        self.is_urgent: bool = is_urgent
        self.granted: asyncio.Future[None] | None = None

    async def __aenter__(self) -> "Turn":
        """Wait for a slot."""
        await self._take()
        self._token = _current.set(self)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Give the slot back."""
        self._is_over = True
        if self._token is not None:
            _current.reset(self._token)
        self._give()

    def hurry(self) -> None:
        """Come before all that are not urgent, because a page waits for the HTML by now."""
        self._slots.hurry(self)

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """Give the slot back until the block ends, because the render waits for another one."""
        self._pauses += 1
        self._give()
        try:
            yield
        except asyncio.CancelledError:
            self._pauses -= 1
            raise  # it ends, and needs none
        except BaseException:
            await self._resume()
            raise
        await self._resume()

    async def _resume(self) -> None:
        self._pauses -= 1
        # A render whose time is over may go on all the same; it must not keep a slot.
        if not self._pauses and not self._is_over:
            self.is_urgent = True  # what has begun ends before others begin
            await self._take()
            if self._is_over:
                self._give()

    async def _take(self) -> None:
        await self._slots.take(self)
        self._has_slot = True

    def _give(self) -> None:
        if self._has_slot:
            self._has_slot = False
            self._slots.give(self)


def carry(context: Context) -> None:
    """Let code that runs in a context know of the render that it belongs to."""
    context.run(_current.set, _current.get())


@asynccontextmanager
async def waiting() -> AsyncIterator[None]:
    """Hold no slot while the current render, if there is one, waits for another."""
    turn = _current.get()
    granted = None if turn is None else turn.granted
    # A thread of the app's may have a loop of its own, and the context of the render.
    if turn is None or granted is None or granted.get_loop() is not asyncio.get_running_loop():
        yield
        return
    async with turn.paused():
        yield
