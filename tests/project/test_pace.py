"""Pace: of all long work one piece runs in each turn of the event loop."""

import asyncio
from collections import Counter

from quart_sse.pace import Pace

#: Tasks and pieces of each in these tests.
TASKS, PIECES = 4, 3


async def test_one_piece_runs_in_each_turn_and_tasks_take_turns() -> None:
    """However many tasks have long work, what else is due waits for one piece of it at a time."""
    pace, loop = Pace(), asyncio.get_running_loop()
    turns = 0
    ran: list[tuple[int, int]] = []  #: turn of the loop, and task

    def count() -> None:
        nonlocal turns
        turns += 1
        ticking.append(loop.call_soon(count))

    async def work(number: int) -> None:
        for _ in range(PIECES):
            await pace.rest()
            ran.append((turns, number))

    ticking = [loop.call_soon(count)]
    await asyncio.gather(*(work(number) for number in range(TASKS)))
    ticking[-1].cancel()

    assert max(Counter(turn for turn, _ in ran).values()) == 1
    assert [number for _, number in ran] == list(range(TASKS)) * PIECES


async def test_task_that_is_cancelled_keeps_no_other_waiting() -> None:
    """A client that leaves while its list is judged is passed over."""
    pace = Pace()
    first, second = (asyncio.ensure_future(pace.rest()) for _ in range(2))
    await asyncio.sleep(0)

    first.cancel()

    await asyncio.wait_for(second, 1)
    assert first.cancelled()


def test_loop_that_ended_keeps_no_other_waiting() -> None:
    """Work that was left in one loop is not waited for in the next."""
    pace = Pace()

    async def leave() -> None:
        asyncio.ensure_future(pace.rest()).cancel()
        task = asyncio.ensure_future(pace.rest())
        await asyncio.sleep(0)
        assert not task.done()

    asyncio.run(leave())
    asyncio.run(asyncio.wait_for(pace.rest(), 1))
