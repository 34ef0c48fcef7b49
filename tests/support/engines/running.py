"""The three browsers, running side by side."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from .chromium import start_chromium
from .face import Engine
from .firefox import start_firefox
from .webkit import start_webkit

ENGINES: dict[str, Callable[..., AbstractAsyncContextManager[Engine]]] = {
    "chromium": start_chromium,
    "firefox": start_firefox,
    "webkit": start_webkit,
}


@asynccontextmanager
async def running(*, cookies: bool = True) -> AsyncIterator[list[Engine]]:
    """Run the three browsers.

    Args:
        cookies: Whether sites may keep anything.
    """
    async with AsyncExitStack() as stack:
        starts = [stack.enter_async_context(start(cookies=cookies)) for start in ENGINES.values()]
        yield [await start for start in starts]


async def in_all(
    engines: Iterable[Engine], check: Callable[[Engine, AsyncExitStack], Awaitable[None]]
) -> None:
    """Run a check in all browsers at the same time; what fails names the engine.

    Args:
        engines: The browsers.
        check: Gets the engine, and what is left when the check ends.
    """

    async def run(engine: Engine) -> None:
        async with AsyncExitStack() as stack:
            try:
                await check(engine, stack)
            except Exception as error:
                error.add_note(f"in {engine.name}")
                raise

    async with asyncio.TaskGroup() as tasks:
        for engine in engines:
            tasks.create_task(run(engine))
