"""Attacks by requests: junk, half of them, long lists, expensive fragments."""

import asyncio
from urllib.parse import quote

from .crowd import Crowd
from .of_topics import TOPICS, UNSIGNED, unsigned

#: Requests at the same time that cost little, and that cost more.
MANY, FEW = 20, 8
#: Pages with long lists that are asked for.
LISTS = 10_000
#: As long as a query may be, and longer than any id.
LONG, LONGER = 6100, 8000
#: Connections that send half of a request.
HALVES = 300


async def ordinary(crowd: Crowd) -> None:
    """Ask for the ordinary page as often: no attack, but what all others are compared with."""
    await crowd.begin()
    await crowd.repeat(crowd.part(FEW), lambda _: crowd.ask("/"))


async def long_lists(crowd: Crowd) -> None:
    """Ask for 10,000 pages whose lists of topics differ, and are too long for a URL."""
    await crowd.begin()
    await crowd.repeat(
        crowd.part(FEW // 2),  # pages of so many topics cost the app more than others
        lambda number: crowd.ask(f"/wide?first={number * TOPICS}&count={TOPICS}&long=1"),
        crowd.part(LISTS),
    )


#: Requests for streams that mean nothing: path, and further fields of the head.
JUNK: list[tuple[str, ...]] = [
    ("/sse?t=" + "A" * LONG,),
    ("/sse?t=" + "." * LONG,),
    ("/sse?t=~" + "+" * LONG,),
    ("/sse?t=~" + quote("\0\n:,?=~&" * 200),),
    ("/sse?t=~o?n=1&since=" + "," * LONG,),
    ("/sse?t=~o?n=1&since=" + "a.1-1~" * 1000,),
    ("/sse?t=~o?n=1&since=a.1-1@" + "f" * LONG,),
    ("/sse?t=~o?n=1&since=a." + "9" * LONG + "-1",),
    ("/sse?t=~o?n=1&first=" + "a," * (LONG // 2),),
    ("/sse?t=~o?n=1&replaces=" + "A" * LONG,),
    ("/sse?" + "t=~&" * (LONG // 4),),
    ("/sse?" + "t=~o?n=1&since=0&" * 16,),
    ("/sse?t=~o?n=1:" + "l," * (LONG // 2 - 10),),
    ("/sse?t=~o?n=" + "%C3%A4" * 1000,),
    ("/sse/o/1?fragments=" + "l," * (LONG // 2 - 10),),
    ("/sse/o/1?" + "x" * LONGER,),
    ("/sse/o/1", "Last-Event-ID: " + "A" * LONGER),
    ("/sse/o/1", "Last-Event-ID: a.1-1~1-1@" + "f" * LONGER),
    ("/sse/o/1", "Cookie: sse_browser=" + "A" * LONGER),
    ("/sse/o/1", "X-SSE-Page: " + "A" * LONGER),
    ("/sse/o/1", "Accept-Encoding: " + "a, " * (LONGER // 3)),
]


async def junk(crowd: Crowd) -> None:
    """Send tokens, positions, ids and fields that mean nothing, each as long as may be."""
    await crowd.begin()
    await crowd.repeat(crowd.part(FEW), lambda number: crowd.come(*JUNK[number % len(JUNK)]))


async def half_requests(crowd: Crowd) -> None:
    """Send half of a request, or one byte of its head after the other, over 300 connections."""
    await crowd.begin()

    async def send(number: int) -> None:
        text = b"GET /sse/o/1 HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\nX: "
        async with crowd.socket() as socket:
            socket.write(text[: len(text) // 2] if number % 2 else text)
            crowd.ends["half"] += 1
            while not crowd.is_over and not socket.reader.at_eof():
                if number % 2 == 0:
                    socket.write(b"x")
                await asyncio.sleep(0.5)

    await crowd.repeat(crowd.part(HALVES), send)


async def dear_fragments(crowd: Crowd) -> None:
    """Ask for expensive fragments, shared and personal, another one every time."""
    await crowd.begin()
    await crowd.repeat(
        crowd.part(MANY),
        lambda number: crowd.ask(f"/sse/~/{'lm'[number % 2]}/d/{number}"),
    )


async def dear_streams(crowd: Crowd) -> None:
    """Ask for streams of 16 expensive fragments, others every time, and leave at once."""
    await crowd.begin()
    await crowd.repeat(
        crowd.part(FEW),
        lambda number: crowd.come(f"{unsigned('d', number * UNSIGNED, UNSIGNED)}&since=0"),
    )
