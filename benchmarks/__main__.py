"""Measure: ``python -m benchmarks [--streams 500] [--server uvicorn]``, or with one more
word of ``sizing``, ``suite``, ``redis`` and ``layers``.

The first prints the CPU of the whole server process per delivery, paced and in a burst, for
quart_sse and for the way of the Quart docs, taken in turns so that a change of the machine's speed
meets both. CPU time, not wall time: other work on the machine then matters little.

The second prints what several processes cost their Redis; see ``sizing.py``. The third compares
with other libraries and with nchan; see ``suite.py``. The fourth measures two processes at one
Redis, which the suite does, too; see ``redis_pair.py``.
"""

import argparse
import asyncio
import statistics
import sys

from . import layers, redis_pair, sizing, suite
from .load import Figures, Load, Served, measure
from .servers import COMMANDS


async def measure_docs() -> None:
    """Measure both apps in turns and print medians; or what Redis has to do."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("what", nargs="?", choices=["delivery", "sizing"], default="delivery")
    options.add_argument("--streams", type=int, default=Load.streams)
    options.add_argument("--turns", type=int, default=3)
    options.add_argument("--server", choices=sorted(COMMANDS), default="uvicorn")
    given = options.parse_args()
    if given.what == "sizing":
        await sizing.main()
        return
    load = Load(given.streams)
    results: dict[str, list[Figures]] = {"ours": [], "docs": []}
    for _ in range(given.turns):
        found = await measure([Served(app) for app in results], load, given.server)
        for figures, one in zip(results.values(), found, strict=True):
            figures.append(one)

    print(f"{given.server}, {given.streams} streams, events of about 120 bytes,")
    print(f"median of {given.turns} turns; CPU of the server process per delivery")
    print(
        f"{'':12}{f'paced {load.rate:g}/s':>14}{f'burst of {load.burst}':>16}{'memory/stream':>16}"
    )
    medians = {}
    for app, figures in results.items():
        paced = statistics.median(figure.paced_us for figure in figures)
        burst = statistics.median(figure.burst_us for figure in figures)
        memory = statistics.median(figure.kib_per_stream for figure in figures)
        medians[app] = (paced, burst)
        name = {"ours": "quart_sse", "docs": "Quart docs"}[app]
        print(f"{name:12}{paced:>11.1f} us{burst:>13.1f} us{memory:>12.1f} KiB")
    ratios = [ours / docs for ours, docs in zip(*medians.values(), strict=True)]
    print(f"{'ratio':12}{ratios[0]:>14.2f}{ratios[1]:>16.3f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["suite"]:
        suite.main(sys.argv[2:])
    elif sys.argv[1:2] == ["layers"]:
        layers.main()
    elif sys.argv[1:2] == ["redis"]:
        redis_pair.main()
    else:
        asyncio.run(measure_docs())
