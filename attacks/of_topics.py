"""Attacks by streams that ask for many topics."""

from contextlib import AsyncExitStack
from urllib.parse import quote

from .crowd import Crowd

#: Streams that are asked for at the same time: many that are refused, and few that are let in. The
#: latter cost what they cost, and an ordinary page waits for each of them.
MANY, FEW = 20, 8
#: As many topics with a fragment each, and without, as a query of 6 KB has room for.
WITH_FRAGMENT, WITHOUT = 600, 770
#: ``QUART_SSE_MAX_UNSIGNED_TOPICS``, ``QUART_SSE_MAX_TOPICS``, and tokens of that many that a
#: stream may have.
UNSIGNED, TOPICS, TOKENS = 16, 128, 8
#: So long that a list of them is compressed.
NUMBER = 10**15


def unsigned(channel: str, first: int, count: int, fragment: str = ":l") -> str:
    """Return the URL of a stream whose list of topics no page has written."""
    return "/sse?t=~" + "+".join(f"{channel}?n={first + n}{fragment}" for n in range(count))


async def unsigned_topics(crowd: Crowd) -> None:
    """Ask for 600 public topics that no page lists, with a fragment each, 20 streams at once."""
    await crowd.begin()
    await crowd.repeat(crowd.part(MANY), lambda _: crowd.come(unsigned("o", 100, WITH_FRAGMENT)))


async def refused_topics(crowd: Crowd) -> None:
    """Ask for 770 topics of a channel whose `authorize` says no, 20 streams at once."""
    await crowd.begin()
    await crowd.repeat(crowd.part(MANY), lambda _: crowd.come(unsigned("g", 1, WITHOUT, "")))


async def refused_few(crowd: Crowd) -> None:
    """Ask for as many topics of such a channel as an unsigned list may have."""
    await crowd.begin()
    await crowd.repeat(crowd.part(MANY), lambda _: crowd.come(unsigned("g", 1, UNSIGNED, "")))


async def new_topics(crowd: Crowd) -> None:
    """Ask for 16 topics with a fragment each, other ones every time, and leave again."""
    await crowd.begin()
    await crowd.repeat(
        crowd.part(FEW),
        lambda number: crowd.come(unsigned("o", number * UNSIGNED, UNSIGNED)),
    )


async def collected_lists(crowd: Crowd) -> None:
    """Ask for 1,024 topics with a fragment each, by the lists of 8 pages, and keep the streams."""
    pages = [
        await crowd.connect_url(f"/wide?first={NUMBER + n * TOPICS}&count={TOPICS}&shown=1")
        for n in range(TOKENS)
    ]
    # The first parameter is the token, without ``since``: each stream lacks all that there is.
    tokens = [page.partition("?")[2].split("&")[0] for page in pages]
    path = "/sse?" + "&".join(f"{token}&since=0" for token in tokens)
    await crowd.begin()
    async with AsyncExitStack() as streams:
        await crowd.repeat(
            crowd.part(FEW),
            lambda _: streams.enter_async_context(crowd.stream(path)),
            crowd.part(200),
        )
        await crowd.last()


async def own_lists(crowd: Crowd) -> None:
    """Keep 500 streams with a list of their own each, on which the ordinary topic stands too."""
    await crowd.begin()
    async with AsyncExitStack() as streams:

        async def stay(number: int) -> None:
            others = unsigned("o", number * UNSIGNED, UNSIGNED - 1)
            path = f"{others}+{quote('news:front', safe=':')}"
            await streams.enter_async_context(crowd.stream(path))

        await crowd.repeat(crowd.part(FEW), stay, crowd.part(500))
        await crowd.last()
