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

from . import table
from .catalogue import ATTACKS
from .play import BRIEF, FULL, play


async def main() -> int:
    """Make the attacks that the command line names, and return the exit code."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("names", nargs="*", metavar="name", help="attacks; all without any")
    options.add_argument("--brief", action="store_true", help="as short as in the tests")
    options.add_argument("--list", action="store_true", help="say what there is")
    options.add_argument("--broker", choices=["memory", "redis"], help="this one alone")
    given = options.parse_args()
    unknown = set(given.names) - ATTACKS.keys()
    if unknown:
        options.error(f"no attack is called {', '.join(unknown)}; see --list")
    if given.list:
        for name, attack in ATTACKS.items():
            print(f"{name:17}  {inspect.getdoc(attack.run)}")
        return 0
    print(table.heading(), flush=True)
    broken = []
    for name in given.names or ATTACKS:
        for broker in ATTACKS[name].brokers:
            if given.broker not in (None, broker):
                continue
            with tempfile.TemporaryDirectory() as folder:
                outcome = await play(name, broker, Path(folder), BRIEF if given.brief else FULL)
            print(table.row(outcome), flush=True)
            broken += [f"{name}, {broker}: {goal}" for goal in outcome.broken]
    for line in broken:
        print(f"NOT REACHED: {line}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
