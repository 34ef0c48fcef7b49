"""Attack a server, and measure what others notice: ``python -m attacks [--brief] [name ...]``.

Attackers in a process of their own do what any client may do to a real server with the defaults of
all keys, while an ordinary user reads and a publisher publishes. The table says what these notice,
and the exit code is 1 if a goal of docs/security.md was not reached.
"""

import argparse
import asyncio
import inspect
import sys
import tempfile
from pathlib import Path

from tests.support.command_line import choose, conclude

from . import table
from .catalogue import ATTACKS
from .play import BRIEF, FULL, play


async def main() -> int:
    """Make the attacks that the command line names, and return the exit code."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--broker", choices=["memory", "redis"], help="this one alone")
    known = {name: inspect.getdoc(attack.run) or "" for name, attack in ATTACKS.items()}
    given = choose(options, "attack", "attacks", known, 17)
    print(table.heading(), flush=True)
    broken = []
    for name in given.names:
        for broker in ATTACKS[name].brokers:
            if given.broker not in (None, broker):
                continue
            with tempfile.TemporaryDirectory() as folder:
                outcome = await play(name, broker, Path(folder), BRIEF if given.brief else FULL)
            print(table.row(outcome), flush=True)
            broken += [f"{name}, {broker}: {goal}" for goal in outcome.broken]
    return conclude(broken, "NOT REACHED")


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
