"""Play what breaks in operation: ``python -m faults [--brief] [--server uvicorn] [name ...]``.

Real web processes and a real Redis serve viewers that do what browsers do, while a publisher goes
on; then something fails. The table says what became of the events, and the exit code is 1 if
anything that docs/reliability.md promises did not hold.
"""

import argparse
import asyncio
import inspect
import sys
import tempfile
from pathlib import Path

from . import table
from .scenarios import SCENARIOS, play
from .stage import BRIEF, FULL, SERVERS


async def main() -> int:
    """Play what the command line names, and return the exit code."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("names", nargs="*", metavar="name", help="scenarios; all without any")
    options.add_argument("--brief", action="store_true", help="as short as in the tests")
    options.add_argument("--list", action="store_true", help="say what there is")
    options.add_argument("--server", choices=sorted(SERVERS), default="uvicorn")
    given = options.parse_args()
    unknown = set(given.names) - SCENARIOS.keys()
    if unknown:
        options.error(f"no scenario is called {', '.join(unknown)}; see --list")
    if given.list:
        for name, scenario in SCENARIOS.items():
            print(f"{name:{table.NAME}}  {inspect.getdoc(scenario)}")
        return 0
    print(table.heading(), flush=True)
    broken = []
    for name in given.names or SCENARIOS:
        with tempfile.TemporaryDirectory() as folder:
            outcome = await play(name, Path(folder), BRIEF if given.brief else FULL, given.server)
        print(table.row(outcome), flush=True)
        broken += [f"{name}: {promise}" for promise in outcome.broken]
    for line in broken:
        print(f"DOES NOT HOLD: {line}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
