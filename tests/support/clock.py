"""The event loop's time: moved on, or left to run out of work."""

import asyncio
from collections.abc import Callable

Jump = Callable[[float], None]


async def all_quiet() -> None:
    """Let everything run that needs no time to pass, many times over."""
    for _ in range(30):
        await asyncio.sleep(0)
