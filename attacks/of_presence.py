"""Attacks by coming and going where others see who is here."""

from contextlib import AsyncExitStack

from .crowd import Crowd
from .of_topics import FEW, UNSIGNED, unsigned

#: Streams that stay, each with as many topics as an unsigned list may have.
MEMBERS = 300


async def joining(crowd: Crowd) -> None:
    """Join and leave one topic that shows who is here, as fast as one client can."""
    await crowd.begin()
    await crowd.repeat(1, lambda _: crowd.come("/sse/p/1"))


async def members(crowd: Crowd) -> None:
    """Be a member of 16 such topics in each of 300 streams, while others come and go."""
    await crowd.begin()
    async with AsyncExitStack() as streams:
        await crowd.repeat(
            crowd.part(FEW),
            lambda number: streams.enter_async_context(
                crowd.stream(unsigned("p", number % 10 * UNSIGNED, UNSIGNED))
            ),
            crowd.part(MEMBERS),
        )
        await crowd.repeat(
            crowd.part(FEW),
            lambda number: crowd.come(unsigned("p", number % 10 * UNSIGNED, UNSIGNED)),
        )
