"""`make bench-check`: what it calls slower, and that it counts what it measures."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.check import LIMIT, checked_out, judge, judge_html, measure_pairs, report
from benchmarks.compare import MOST, T_95, ratio
from benchmarks.fragments import measure_html, measure_html_pairs
from benchmarks.load import Figures, Load, LoadError, Served, measure
from tests.support.servers import ROOT

#: Enough to see what is several times as slow.
SMALL = Load(streams=20, rounds=2, paced=10, rate=100, bursts=1, burst=50, patience=5)

#: Appended to a copy of the extension: what it does to each message of a stream. It stands outside
#: of all that the package does, and so holds whatever becomes of the inside.
MEDDLE = """
import time
_init_app = SSE.init_app

def init_app(self, app, **options):
    _init_app(self, app, **options)
    inner = app.asgi_app

    async def outer(scope, receive, send):
        async def meddled(message):
            body = message.get("body", b"")
            carries = b"event: news" in body or b"@@" in body
            {meddling}
        await inner(scope, receive, meddled)

    app.asgi_app = outer

SSE.init_app = init_app
"""
SLOW = """
            begun = time.perf_counter()
            while carries and time.perf_counter() - begun < 200e-6:
                pass
            await send(message)
"""
TWICE = """
            await send(message)
            if carries:
                await send(message)
"""
NEVER = """
            if not carries:
                await send(message)
"""


def meddled(folder: Path, meddling: str) -> Path:
    """Return a copy of this tree that does something to each delivery."""
    return copied(folder, MEDDLE.format(meddling=meddling.strip()))


def copied(folder: Path, more: str) -> Path:
    """Return a copy of this tree with more at the end of the extension."""
    shutil.copytree(ROOT / "quart_sse", folder / "quart_sse")
    for name in ("templates", "static"):
        (folder / name).symlink_to(ROOT / name)
    with (folder / "quart_sse/extension.py").open("a") as source:
        source.write(more)
    return folder


#: Appended to a copy of the extension: it is as before there were lists.
WITHOUT_LISTS = """
from .channels import Channel as _Channel

_owner = next(each for each in _Channel.__mro__ if "item" in vars(each))
del _owner.item
"""


def pairs_around(middle: float, spread: float, number: int = 10) -> list[tuple[float, float]]:
    """Return pairs whose ratios lie evenly around one, and half of them on each side."""
    return [(10 * middle * (1 + spread * (-1) ** n), 10.0) for n in range(number)]


@pytest.mark.parametrize(
    ("middle", "spread", "fails"),
    [
        (1.00, 0.01, False),
        (1.03, 0.01, False),
        (1.10, 0.01, True),
        (1.10, 0.20, False),  # the machine was too noisy to tell
        (2.00, 0.20, True),
        (0.50, 0.01, False),
    ],
)
def test_figure_fails_when_all_of_its_interval_lies_above_the_limit(
    middle: float, spread: float, fails: bool
) -> None:
    """What is slower fails, as far as the noise lets it be seen; what is quicker never does."""
    assert ratio(pairs_around(middle, spread)).exceeds(LIMIT) is fails


def test_interval_is_that_of_student() -> None:
    """The interval of four pairs equals one worked out by hand."""
    # Logarithms 0.1, 0.1, 0.3, 0.3: mean 0.2, deviation 0.11547, a half of 3.182 * 0.057735.
    found = ratio([(1.1051709, 1), (1.1051709, 1), (1.3498588, 1), (1.3498588, 1)])

    assert found.mean == pytest.approx(1.221403, rel=1e-5)  # e ** 0.2
    assert found.low == pytest.approx(1.016426, rel=1e-4)  # e ** (0.2 - 0.18371)
    assert found.high == pytest.approx(1.467715, rel=1e-4)


def test_table_of_student_falls_towards_that_of_many() -> None:
    """A mistyped row would stand out: each value is below the one before, and above the last."""
    assert list(T_95) == sorted(T_95, reverse=True)
    assert T_95[-1] > 1.96


def test_noticed_from_is_where_the_limit_is_exceeded() -> None:
    """The report says how much slower this tree would have to be to fail in the same noise."""
    found = ratio(pairs_around(1.0, 0.05))
    from_here = found.noticed_from(LIMIT) / found.mean

    for factor, fails in ((0.999, False), (1.001, True)):
        pairs = [(one * from_here * factor, other) for one, other in pairs_around(1.0, 0.05)]
        assert ratio(pairs).exceeds(LIMIT) is fails


@pytest.mark.parametrize("number", [0, 1, MOST + 1])
def test_too_few_or_too_many_pairs_are_no_verdict(number: int) -> None:
    """One pair has no interval."""
    with pytest.raises(ValueError, match=f"{number} pairs cannot be judged; take 2 to {MOST}"):
        ratio(pairs_around(1.0, 0.1, number))


@pytest.mark.parametrize("cost", [0.0, -1.0])
def test_cost_that_is_not_above_zero_is_no_verdict(cost: float) -> None:
    """Memory may seem to shrink when a few streams are measured; that is no improvement."""
    with pytest.raises(ValueError, match="not above zero"):
        ratio([(1.0, 1.0), (cost, 1.0)])


def test_report_names_the_figure_that_failed_and_by_how_much(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A figure that holds is in the table only; the one that fails is named below it."""
    base = Figures(paced_us=10.0, burst_us=1.0, kib_per_stream=25.0, connect_us=900.0)
    found = [(Figures(10.0 + n / 50, 1.2 + n / 50, 25.0, 900.0), base) for n in range(10)]

    assert not report(judge(found), LIMIT)

    (failed,) = [line for line in capsys.readouterr().out.splitlines() if "FAILED" in line]
    assert failed == (
        "FAILED: burst, us: 1.289 times the base's, and at least 1.246 times; the limit is 1.03."
    )


@pytest.mark.servers
def test_commit_passes_against_itself_and_leaves_nothing(tmp_path: Path) -> None:
    """The command compares two processes with the code of two folders, and removes its own."""
    options = {name: getattr(SMALL, name) for name in ("streams", "rounds", "paced", "rate")}
    # A limit that holds on any machine: what is tested is not how well it measures.
    command = ["HEAD", "--pairs", "3", "--limit", "3"]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    before = worktrees()

    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.check", *command],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert f"this  {ROOT}/quart_sse\n" in done.stdout
    assert f"base  {tmp_path}/quart-sse-base-" in done.stdout
    # Twice against the commit, events and HTML, and once with users against none.
    assert done.stdout.count("\npair ") == 3 * 3
    passed = "Passed: no figure is certain to exceed 3 times the base's."
    assert done.stdout.count(passed) == 3
    assert worktrees() == before
    assert list(tmp_path.iterdir()) == []


def worktrees() -> str:
    """Return the work trees of this repository."""
    command = ["git", "-C", str(ROOT), "worktree", "list"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.servers
async def test_tree_that_is_slower_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Some microseconds more in each delivery fail the figure of those that come one by one."""
    slow = meddled(tmp_path, SLOW)

    found = await measure_pairs(Served(tree=slow), Served(), SMALL, pairs=3)

    assert not report(judge(found), LIMIT)
    assert "FAILED: paced, us: " in capsys.readouterr().out


@pytest.mark.servers
async def test_tree_that_is_slower_with_html_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Deliveries of a fragment, and of an item, are measured each by itself."""
    slow = meddled(tmp_path, SLOW)

    found = await measure_html_pairs(Served(tree=slow), Served(), SMALL, pairs=3)

    assert not report(judge_html(found), LIMIT)
    printed = capsys.readouterr().out
    assert "FAILED: fragment, us: " in printed
    assert "FAILED: item, us: " in printed


@pytest.mark.servers
async def test_items_are_new_if_the_base_has_no_lists(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is nothing to be compared with; the fragment is compared all the same."""
    before = copied(tmp_path, WITHOUT_LISTS)

    found = await measure_html_pairs(Served(), Served(tree=before), SMALL, pairs=2)

    assert set(judge_html(found)) == {"fragment_us"}
    assert "item, us         new: " in capsys.readouterr().out


@pytest.mark.servers
@pytest.mark.parametrize("meddling", [TWICE, NEVER], ids=["twice", "never"])
async def test_wrong_number_of_versions_is_an_error(tmp_path: Path, meddling: str) -> None:
    """As it is for events, but that the server may leave versions out."""
    load = Load(streams=5, rounds=1, paced=10, rate=100, patience=1)

    with pytest.raises(LoadError, match="versions of list came to 5 streams, of 10 that were"):
        await measure_html([Served(tree=meddled(tmp_path, meddling))], load)


@pytest.mark.servers
@pytest.mark.parametrize(
    ("meddling", "what"), [(TWICE, "to 40"), (NEVER, "from 0 to 0")], ids=["twice", "never"]
)
async def test_wrong_number_of_deliveries_is_an_error(
    tmp_path: Path, meddling: str, what: str
) -> None:
    """A tree that delivers too little, or too much, has no figure."""
    load = Load(streams=5, rounds=1, paced=10, rate=100, bursts=1, burst=50, patience=1)

    with pytest.raises(LoadError, match=f"5 of 5 streams had other than the 20 events.*{what}"):
        await measure([Served(tree=meddled(tmp_path, meddling))], load)


@pytest.mark.servers
async def test_server_that_imported_another_tree_is_an_error(tmp_path: Path) -> None:
    """A folder without the package would be measured as the one of the environment."""
    with pytest.raises(LoadError, match=f"The server imported .*, not {tmp_path}/quart_sse"):
        await measure([Served(tree=tmp_path)], SMALL)


def test_unknown_commit_is_an_error_with_its_remedy() -> None:
    """A shallow clone lacks old commits."""
    wanted = r"'no-such' names no commit here\..* git fetch --unshallow"
    with pytest.raises(LoadError, match=wanted), checked_out("no-such"):
        pass
