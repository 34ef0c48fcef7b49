"""Measure streams behind real proxies: ``python -m proxies [--brief | --memory] [name ...]``.

Each proxy runs on loopback with the configuration of docs/deploy.md, in front of a Uvicorn. The
table says, in seconds: until the first byte, and until an event is there; whether a stream
without events outlives the proxy's timeout; how the stop of the app ends a stream; what stands for
an app that is away; when the app knows that a client has left (heartbeats of 15 s, with
``--brief`` of 0.5 s); how many streams one HTTP/2 connection carries; when 8 tabs of Chromium are
current after a restart. The exit code is 1 if something does not hold that docs/deploy.md says.
With ``--memory`` it is measured instead what an idle stream costs each proxy.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.support.command_line import choose, conclude

from . import table
from .catalogue import PROXIES
from .measure import measure
from .memory import print_memory
from .tabs import until_current


async def main() -> int:
    """Measure what the command line names, and return the exit code."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--heartbeat", type=float, default=15.0, help="until it is noticed")
    options.add_argument("--memory", action="store_true", help="of an idle stream, instead")
    known = {name: proxy.package for name, proxy in PROXIES.items()}
    given = choose(options, "proxy", "proxies", known, table.WIDTH)
    if given.memory:
        await print_memory([PROXIES[name] for name in given.names])
        return 0
    print(table.heading(), flush=True)
    broken = []
    for name in given.names:
        with tempfile.TemporaryDirectory() as folder:
            outcome = await measure(
                PROXIES[name],
                Path(folder),
                late=None if given.brief else given.heartbeat,
                tabs=None if given.brief else until_current,
            )
        print(table.row(outcome), flush=True)
        broken += [f"{name}: {what}" for what in outcome.broken]
    return conclude(broken, "DOES NOT HOLD")


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
