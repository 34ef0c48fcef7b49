"""Measure streams behind real proxies: ``python -m proxies [--brief] [name ...]``.

Each proxy runs on loopback with the configuration of docs/deploy.md, in front of a Uvicorn. The
table says, in seconds: until the first byte, and until an event is there; whether a stream
without events outlives the proxy's timeout; how the stop of the app ends a stream; what stands for
an app that is away; when the app knows that a client has left (heartbeats of 15 s, with
``--brief`` of 0.5 s); how many streams one HTTP/2 connection carries; when 8 tabs of Chromium are
current after a restart. The exit code is 1 if something does not hold that docs/deploy.md says.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from . import table
from .catalogue import PROXIES
from .measure import measure
from .tabs import until_current


async def main() -> int:
    """Measure what the command line names, and return the exit code."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("names", nargs="*", metavar="name", help="proxies; all without any")
    options.add_argument("--brief", action="store_true", help="as short as in the tests")
    options.add_argument("--list", action="store_true", help="say what there is")
    options.add_argument("--heartbeat", type=float, default=15.0, help="until it is noticed")
    given = options.parse_args()
    unknown = set(given.names) - PROXIES.keys()
    if unknown:
        options.error(f"no proxy is called {', '.join(unknown)}; see --list")
    if given.list:
        for name, proxy in PROXIES.items():
            print(f"{name:{table.WIDTH}}  {proxy.package}")
        return 0
    print(table.heading(), flush=True)
    broken = []
    for name in given.names or PROXIES:
        with tempfile.TemporaryDirectory() as folder:
            outcome = await measure(
                PROXIES[name],
                Path(folder),
                late=None if given.brief else given.heartbeat,
                tabs=None if given.brief else until_current,
            )
        print(table.row(outcome), flush=True)
        broken += [f"{name}: {what}" for what in outcome.broken]
    for line in broken:
        print(f"DOES NOT HOLD: {line}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
