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

from tests.support.command_line import choose, conclude

from . import table
from .scenarios import SCENARIOS, play
from .stage import BRIEF, FULL, SERVERS


async def main() -> int:
    """Play what the command line names, and return the exit code."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--server", choices=sorted(SERVERS), default="uvicorn")
    known = {name: inspect.getdoc(scenario) or "" for name, scenario in SCENARIOS.items()}
    given = choose(options, "scenario", "scenarios", known, table.NAME)
    print(table.heading(), flush=True)
    broken = []
    for name in given.names:
        with tempfile.TemporaryDirectory() as folder:
            outcome = await play(name, Path(folder), BRIEF if given.brief else FULL, given.server)
        print(table.row(outcome), flush=True)
        broken += [f"{name}: {promise}" for promise in outcome.broken]
    return conclude(broken, "DOES NOT HOLD")


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
