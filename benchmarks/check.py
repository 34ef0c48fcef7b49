"""Compare this tree with another commit: ``python -m benchmarks.check COMMIT``.

Then compare HTML: refreshes of a fragment on a topic without a list, and of an item of a list, of
which a base that has no lists has nothing to be compared with. Then compare streams of as many
users, each with metadata of its own, with those of none: who a stream belongs to must cost a
delivery on a shared topic nothing. ``--only`` picks some of these.

The two servers of a pair are there at the same time and are measured in turns, so that other work
on the machine meets both; processes differ, so there are ten pairs. A figure fails when all of its
interval of 95 % lies above the limit.
"""

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path

from .compare import FEWEST, MOST, Ratio, ratio
from .fragments import HtmlFigures, measure_html_pairs
from .load import FIGURES, Figures, Load, LoadError, Served, measure
from .servers import COMMANDS, ROOT

#: What a figure may be times that of the other commit.
LIMIT = 1.03
LOAD = [field.name for field in fields(Load)]
TITLES = dict(zip(FIGURES, ("paced, us", "burst, us", "memory, KiB", "connect, us"), strict=True))
TITLES |= {"fragment_us": "fragment, us", "item_us": "item, us"}
#: What is compared.
PARTS = ("events", "html", "users")


def git(*arguments: str) -> str:
    """Run git in this repository; return what it prints."""
    done = subprocess.run(
        ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise LoadError(f"git {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout.strip()


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """Give a folder with the files of a commit until the block ends.

    Raises:
        LoadError: If there is no such commit here.
    """
    try:
        commit = git("rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}")
    except LoadError:
        raise LoadError(
            f"{commit!r} names no commit here. Name another, or fetch it: git fetch --unshallow"
        ) from None
    with tempfile.TemporaryDirectory(prefix="quart-sse-base-") as folder:
        tree = Path(folder) / "tree"
        git("worktree", "add", "--detach", "--quiet", str(tree), commit)
        try:
            yield tree
        finally:
            git("worktree", "remove", "--force", str(tree))


async def measure_pairs(
    this: Served, base: Served, load: Load, pairs: int, server: str = "uvicorn"
) -> list[tuple[Figures, Figures]]:
    """Measure two servers in pairs, of which every second one begins with the other server.

    Args:
        this: The one.
        base: What it is compared with.
        load: What each is asked to do, every time.
        pairs: How often each is measured, in a process of its own.
        server: The name of the server.

    Returns:
        What they cost, pair by pair, the one first.

    Raises:
        LoadError: If one of them cannot be measured.
    """
    found = []
    with tempfile.TemporaryDirectory() as folder:
        # Compiled code of both in one place, and there before it counts: what a process has
        # compiled by itself leaves it more room than another one has.
        environ = {"PYTHONPYCACHEPREFIX": folder, "PYTHONDONTWRITEBYTECODE": ""}
        both = [this, base]
        await measure(both, replace(load, streams=1, rounds=1), server, environ)
        for number in range(pairs):
            step = 1 if number % 2 == 0 else -1
            one, other = (await measure(both[::step], load, server, environ))[::step]
            found.append((one, other))
            ratios = (getattr(one, name) / getattr(other, name) for name in FIGURES)
            print(f"pair {number + 1:2}", *(f"{value:14.3f}" for value in ratios), flush=True)
    return found


def judge(found: list[tuple[Figures, Figures]]) -> Mapping[str, Ratio]:
    """Return how each figure of the one is to that of the other."""
    return {
        name: ratio([(getattr(this, name), getattr(base, name)) for this, base in found])
        for name in FIGURES
    }


def judge_html(found: list[tuple[HtmlFigures, HtmlFigures]]) -> Mapping[str, Ratio]:
    """Return how each figure of HTML of the one is to that of the other, if both have it."""
    fragments = ratio([(this.fragment_us, base.fragment_us) for this, base in found])
    items = [
        (this.item_us, base.item_us)
        for this, base in found
        if this.item_us is not None and base.item_us is not None
    ]
    if items:
        return {"fragment_us": fragments, "item_us": ratio(items)}
    costs = [this.item_us for this, _ in found if this.item_us is not None]
    if costs:
        print(f"{TITLES['item_us']:12}     new: {statistics.fmean(costs):.2f} us a delivery")
    return {"fragment_us": fragments}


def report(ratios: Mapping[str, Ratio], limit: float) -> bool:
    """Print the ratios, and which exceed the limit; return whether none does."""
    print(f"\n{'':12}{'ratio':>8}{'95 % interval':>18}{'noticed from':>14}")
    for name, found in ratios.items():
        interval = f"{found.low:.3f} to {found.high:.3f}"
        print(
            f"{TITLES[name]:12}{found.mean:>8.3f}{interval:>18}{found.noticed_from(limit):>14.3f}"
        )
    failed = {name: found for name, found in ratios.items() if found.exceeds(limit)}
    for name, found in failed.items():
        print(
            f"FAILED: {TITLES[name]}: {found.mean:.3f} times the base's, and at least "
            f"{found.low:.3f} times; the limit is {limit:g}."
        )
    if not failed:
        print(f"Passed: no figure is certain to exceed {limit:g} times the base's.")
    return not failed


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="benchmarks.check", description=__doc__)
    parser.add_argument("base", nargs="?", help="the commit to compare with")
    parser.add_argument(
        "--pairs", type=int, default=10, choices=range(FEWEST, MOST + 1), metavar="N"
    )
    parser.add_argument("--server", choices=sorted(COMMANDS), default="uvicorn")
    parser.add_argument("--only", action="append", choices=PARTS, help="compare these parts alone")
    parser.add_argument("--limit", type=float, default=LIMIT)
    for name in LOAD:
        default = getattr(Load, name)
        parser.add_argument(f"--{name}", type=type(default), default=default)
    given = parser.parse_args()
    if not given.base:
        parser.error("name the commit to compare with: make bench-check BASE=main")
    return given


def compare(
    both: tuple[Served, Served],
    load: Load,
    given: argparse.Namespace,
    figures: Sequence[str] = FIGURES,
) -> bool:
    """Compare deliveries of events; return whether no figure of these exceeds the limit."""
    print("       ", *(f"{TITLES[name]:>14}" for name in FIGURES))
    found = judge(asyncio.run(measure_pairs(*both, load, given.pairs, given.server)))
    return report({name: found[name] for name in figures}, given.limit)


def main() -> int:
    """Compare, and return the exit status: 0 if this tree passes, 1 if not, 2 for an error."""
    given = options()
    load = Load(**{name: getattr(given, name) for name in LOAD})
    parts = given.only or PARTS
    try:
        are_passed = []
        with checked_out(given.base) as base:
            print(f"this  {ROOT}/quart_sse\nbase  {base}/quart_sse, {given.base}")
            both = Served(tree=ROOT), Served(tree=base)
            if "events" in parts:
                print(f"{given.server}, {load.streams} streams; this/base of CPU and memory:")
                are_passed.append(compare(both, load, given))
            if "html" in parts:
                print(f"\n{load.streams} pages that show HTML; this/base of CPU per delivery:")
                found = measure_html_pairs(*both, load, given.pairs, given.server)
                are_passed.append(report(judge_html(asyncio.run(found)), given.limit))
        if "users" in parts:
            print(f"\n{load.streams} users with metadata/no users, of this tree:")
            # Of a connect and of the memory an identity and metadata take some.
            figures = ["paced_us", "burst_us"]
            are_passed.append(compare((Served("users"), Served("ours")), load, given, figures))
        return 0 if all(are_passed) else 1
    except LoadError as error:
        print(f"Nothing was compared: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
