"""How many turns of the event loop other tasks get."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """A task that does nothing but count its turns."""

    def __init__(self) -> None:
        self.count = 0

    async def run(self) -> None:
        """Count until cancelled."""
        while True:
            self.count += 1
            await asyncio.sleep(0)


@asynccontextmanager
async def counting_turns() -> AsyncIterator[Turns]:
    """Count the turns that another task gets within the block."""
    turns = Turns()
    task = asyncio.ensure_future(turns.run())
    try:
        yield turns
    finally:
        task.cancel()
