"""The command line of the programs that try named things, each in a row of a table, and judge."""

import argparse
import sys
from collections.abc import Mapping


def choose(
    options: argparse.ArgumentParser, kind: str, kinds: str, known: Mapping[str, str], width: int
) -> argparse.Namespace:
    """Add the arguments that all such programs have, and return what the command line says.

    With ``--list`` the program prints what there is and exits, and so it does, with an error, for a
    name that there is not.

    Args:
        options: The parser, with the program's other arguments.
        kind: What is tried, such as ``"scenario"``.
        kinds: The same of several.
        known: Name of each -> a line about it.
        width: Of the names in the list, in characters.
    """
    options.add_argument("names", nargs="*", metavar="name", help=f"{kinds}; all without any")
    options.add_argument("--brief", action="store_true", help="as short as in the tests")
    options.add_argument("--list", action="store_true", help="say what there is")
    given = options.parse_args()
    unknown = set(given.names) - known.keys()
    if unknown:
        options.error(f"no {kind} is called {', '.join(unknown)}; see --list")
    if given.list:
        for name, line in known.items():
            sys.stdout.write(f"{name:{width}}  {line}\n")
        options.exit()
    given.names = given.names or list(known)
    return given


def conclude(broken: list[str], label: str) -> int:
    """Print what was not as promised, and return the exit code.

    Args:
        broken: What was not.
        label: What stands before each.
    """
    for line in broken:
        sys.stdout.write(f"{label}: {line}\n")
    return 1 if broken else 0
