"""Slots: how many renders run at once, which are next, and that none is kept or lost."""

import asyncio
import contextvars
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import pytest

from quart_sse.hub.slots import Slots, carry, waiting


class Renders:
    """Renders that a test begins and ends."""

    def __init__(self, most: int) -> None:
        self.slots = Slots(most)
        self.running: list[
            str
        ] = []  #: names of those that have a slot, in the order of their begin
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self._ends: dict[str, asyncio.Event] = {}

    async def begin(self, *names: str, cause: str = "", is_urgent: bool = False) -> None:
        """Let renders ask for a slot, one after the other."""
        for name in names:
            self._ends[name] = asyncio.Event()
            self.tasks[name] = asyncio.create_task(self._render(name, cause, is_urgent))
        await quiet()

    async def _render(self, name: str, cause: str, is_urgent: bool) -> None:
        async with self.slots.turn(cause, is_urgent=is_urgent):
            self.running.append(name)
            try:
                await self._ends[name].wait()
            finally:
                self.running.remove(name)

    async def end(self, *names: str) -> None:
        """Let renders end."""
        for name in names:
            self._ends[name].set()
            await quiet()

    async def close(self) -> None:
        """Cancel what is left, and check that all slots are free."""
        for task in self.tasks.values():
            task.cancel()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)
        assert self.slots._free == self.slots._most
        assert left_in(self.slots) == []


def left_in(slots: Slots) -> list[object]:
    """Return all that slots know of turns."""
    return [*slots._running, *slots._urgent, *slots._changes, *slots._joins]


async def quiet() -> None:
    """Let everything go as far as it can."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
async def start() -> AsyncIterator[Callable[[int], Renders]]:
    """Make renders with a number of slots, of which none is left in the end."""
    made: list[Renders] = []

    def start(most: int) -> Renders:
        made.append(Renders(most))
        return made[-1]

    yield start
    for each in made:
        await each.close()


async def test_no_more_run_than_there_are_slots(start: Callable[[int], Renders]) -> None:
    """A quarter is for pages that wait, which come before those that came earlier."""
    renders = start(4)

    await renders.begin(*"abcde")
    assert renders.running == ["a", "b", "c"]
    await renders.begin("p", "q", is_urgent=True)
    assert renders.running == ["a", "b", "c", "p"]
    await renders.end("a")
    assert renders.running == ["b", "c", "p", "q"]
    await renders.end("p", "q")
    assert renders.running == ["b", "c", "d"]


async def test_one_connection_keeps_no_other_waiting(start: Callable[[int], Renders]) -> None:
    """It has an eighth of the slots, connections take turns, and so do changes."""
    renders = start(16)

    await renders.begin(*(f"a{number}" for number in range(9)), cause="a")
    assert renders.running == ["a0", "a1"]
    await renders.begin("b0", "b1", "b2", cause="b")
    await renders.begin(*(f"x{number}" for number in range(20)))
    assert Counter(name[0] for name in renders.running) == {"a": 2, "b": 2, "x": 8}
    await renders.end("x0")
    assert renders.running[-1] == "x8"  # the connections have what they may
    await renders.begin("c0", cause="c")
    ended = []
    for name in ("a0", "b0", "x1", "x2", "x3"):
        await renders.end(name)
        ended.append(renders.running[-1])
    assert ended == ["a2", "x9", "c0", "x10", "b2"]


async def test_connections_take_turns(start: Callable[[int], Renders]) -> None:
    """One that comes later waits for one render of each other, not for all that they ask for."""
    renders = start(1)
    renders.slots._most = 1
    await renders.begin("page", is_urgent=True)
    for cause in "abc":
        await renders.begin(*(f"{cause}{number}" for number in range(3)), cause=cause)

    order: list[str] = []
    await renders.end("page")
    for _ in range(6):
        (name,) = renders.running
        order.append(name)
        await renders.end(name)
    assert order == ["a0", "b0", "c0", "a1", "b1", "c1"]


async def test_turn_hurries_once_a_page_waits(start: Callable[[int], Renders]) -> None:
    """Before all that are not urgent; one that runs, or has none, is left alone."""
    renders = start(1)
    await renders.begin("a")
    turn, has_begun, may_end = renders.slots.turn("late"), asyncio.Event(), asyncio.Event()

    async def render() -> None:
        async with turn:
            has_begun.set()
            await may_end.wait()

    task = asyncio.create_task(render())
    await renders.begin("b", "c", cause="x")
    turn.hurry()
    await renders.end("a")
    assert has_begun.is_set()
    assert renders.running == []
    turn.hurry()
    may_end.set()
    await task
    await quiet()
    turn.hurry()
    assert renders.running == ["b"]


@pytest.mark.parametrize("depth", [1, 3])
async def test_render_holds_no_slot_while_it_waits_for_another(depth: int) -> None:
    """As many outer ones as there are slots would else wait for ever."""
    slots, done = Slots(2), list[int]()

    async def render(level: int) -> None:
        async with slots.turn(is_urgent=level > 0):
            context = contextvars.Context()
            carry(context)
            loop = asyncio.get_running_loop()
            await loop.create_task(inside(level), context=context)

    async def inside(level: int) -> None:
        if level < depth:
            async with waiting():
                await asyncio.gather(*(asyncio.create_task(render(level + 1)) for _ in range(2)))
        assert slots._free < slots._most
        done.append(level)

    async with asyncio.timeout(10):
        await asyncio.gather(*(asyncio.create_task(render(0)) for _ in range(8)))

    assert Counter(done) == {level: 8 * 2**level for level in range(depth + 1)}
    assert slots._free == 2


async def test_what_is_no_render_waits_without_a_slot() -> None:
    """A view, and a thread of the app's with a loop of its own."""
    slots = Slots(1)
    async with waiting():
        pass

    def elsewhere() -> None:
        async def wait() -> None:
            async with waiting():
                assert slots._free == 0

        asyncio.run(wait())

    async with slots.turn():
        await asyncio.to_thread(elsewhere)
        async with waiting():
            assert slots._free == 1
        assert slots._free == 0
    assert slots._free == 1


@pytest.mark.parametrize("seed", range(20))
async def test_no_slot_is_kept_by_what_was_cancelled(seed: int) -> None:
    """Wherever it was: waiting, rendering, waiting for another, or ending although told to stop."""
    slots, random_ = Slots(3), random.Random(seed)

    async def render(depth: int) -> None:
        cause = random_.choice(["", "a", "b"])
        async with slots.turn(cause, is_urgent=random_.random() < 0.3):
            for _ in range(random_.randrange(4)):
                await asyncio.sleep(0)
            if depth and random_.random() < 0.7:
                with suppress(asyncio.CancelledError if random_.random() < 0.3 else ValueError):
                    async with waiting():
                        await render(depth - 1)
                        if random_.random() < 0.3:
                            raise ValueError

    tasks = [asyncio.create_task(render(2)) for _ in range(60)]
    while not all(task.done() for task in tasks):
        random_.choice(tasks).cancel()
        await asyncio.sleep(0)

    assert slots._free == 3
    assert left_in(slots) == []
