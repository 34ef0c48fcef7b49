"""What an idle stream costs a proxy: ``python -m proxies --memory [name ...]``.

The streams are of HTTP/1.1, as those of HTTP/2 need a client for each few of them.
"""

import asyncio
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from benchmarks.epoll import Streams
from benchmarks.load import LoadError
from benchmarks.servers import memory_kib

from .catalogue import Proxy
from .measure import URL
from .running import in_front_of, serve_app

#: Streams that are opened first, since a proxy allocates in large pieces, and those that count.
FIRST, MORE = 100, 1000
#: Seconds between two heartbeats, and until a proxy closes a connection without data.
HEARTBEAT, IDLE = 30, 600
#: Seconds in which so many streams open, if they do.
PATIENCE = 20


async def memory_per_stream(proxy: Proxy, folder: Path) -> float:
    """Return the unshared memory by which a proxy grows for each idle stream, in KiB.

    Args:
        proxy: Which one.
        folder: An empty folder of its own.

    Raises:
        LoadError: If it does not hold so many streams.
    """
    async with (
        serve_app(HEARTBEAT) as app,
        in_front_of(app.port, proxy, folder / "proxy", IDLE) as running,
    ):
        grown = []
        with ExitStack() as stack:
            for number in (FIRST, MORE):
                group = stack.enter_context(closing(Streams(running.port, [URL] * number)))
                await asyncio.to_thread(group.open, PATIENCE)
                grown.append(memory_kib(running.pid))
    return (grown[1] - grown[0]) / MORE


async def print_memory(proxies: Sequence[Proxy]) -> None:
    """Print a row for each proxy."""
    print("| proxy | KiB a stream |\n|---|--:|")
    for proxy in proxies:
        if proxy.is_secure or proxy.is_forward:
            print(f"{proxy.name} is left out: the client speaks HTTP/1.1 alone.", file=sys.stderr)
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                found = f"{await memory_per_stream(proxy, Path(folder)):.1f}"
            except LoadError as error:
                found = str(error)
        print(f"| {proxy.name} | {found} |", flush=True)
