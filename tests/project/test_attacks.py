"""What any client may do disturbs no other: every attack of ``make attack``, in short."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from attacks.catalogue import ATTACKS
from attacks.crowd import Crowd
from attacks.play import BRIEF, play
from attacks.verdict import LATE, MEDIAN, MORE, WORST, Outcome
from attacks.watch import Phase
from quart_sse.wire import Ending


@pytest.mark.servers
@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", ATTACKS)
async def test_attack_disturbs_no_other(name: str, tmp_path: Path) -> None:
    """Pages, heartbeats, publishers and memory are as they may be, on the last of its brokers.

    The machine may do other work for a moment, so an attack that breaks a goal is made once more.
    """
    broker = ATTACKS[name].brokers[-1]

    outcomes = []
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        outcomes.append(await play(name, broker, folder, BRIEF))
        if not outcomes[-1].broken:
            break

    assert [outcome.broken for outcome in outcomes][-1] == []


# -- what attackers count --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "counted"),
    [
        (b"HTTP/1.1 200 \r\n\r\nevent: sse-open\ndata: {}\n\n", "open"),
        (b"HTTP/1.1 200 \r\n\r\n" + Ending.OVERLOADED.encode(), "overloaded"),
        (b"HTTP/1.1 200 \r\n\r\n" + Ending.TOO_LONG.encode(), "too-long"),
        (b"HTTP/1.1 431 \r\n\r\n", "431"),
        (b"", "cut"),
    ],
)
async def test_answers_of_streams_are_counted_by_how_they_end(answer: bytes, counted: str) -> None:
    """An ending counts by its reason, any other answer by its status."""

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(respond, "127.0.0.1", 0) as server:
        crowd = Crowd(server.sockets[0].getsockname()[1], 1.0, 1.0, 0)
        await crowd.come("/sse/news")

    assert crowd.ends == {counted: 1}


# -- the verdict -----------------------------------------------------------------------------------


def phase() -> Phase:
    """Return what is noticed where nothing is wrong."""
    return Phase([0.01, 0.02], [0.1], [50_000.0, 50_100.0], published=3)


def outcome(change: Callable[[Outcome], None] = lambda _: None, slack: float = 0.0) -> Outcome:
    """Return what an attack did, with one thing changed."""
    made = Outcome("new", "memory", phase(), phase(), 50_200.0, {"open": 1}, slack=slack)
    change(made)
    return made


def test_goals_are_reached_where_nothing_is_wrong() -> None:
    """An attack of which nobody notices anything breaks no goal."""
    assert outcome().broken == []


BROKEN: dict[str, Callable[[Outcome], None]] = {
    "at the median": lambda row: row.during.pages.extend([MEDIAN + 0.01] * 3),
    "at worst": lambda row: row.during.pages.append(WORST + 0.01),
    "page fails": lambda row: row.during.errors.append("500"),
    "memory grows": lambda row: row.during.memory.append(50_000 + MORE + 1000),
    "memory is 49, then 68": lambda row: setattr(row, "after", 70_000.0),
    "heartbeat": lambda row: row.during.lags.append(LATE + 0.1),
    "publishers fail": lambda row: row.during.failures.append("503"),
    "stream ends": lambda row: row.during.ends.append("overloaded"),
    "nothing was published": lambda row: setattr(row.during, "published", 0),
    "attackers did nothing": lambda row: setattr(row, "ends", {}),
}


@pytest.mark.parametrize("goal", BROKEN)
def test_goal_that_is_not_reached_is_named(goal: str) -> None:
    """Each goal is judged, and says what it is about."""
    (line,) = outcome(BROKEN[goal]).broken

    assert goal in line


def test_memory_that_is_kept_for_what_comes_next_does_not_grow_again() -> None:
    """A process that was attacked is a warm one: another round must not make it larger."""

    def keep(row: Outcome) -> None:
        row.after, row.again = 70_000.0, 75_000.0

    def leak(row: Outcome) -> None:
        row.after, row.again = 70_000.0, 90_000.0

    assert outcome(keep).broken == []
    assert len(outcome(leak).broken) == 1


def test_server_that_waits_for_a_processor_has_more_time() -> None:
    """Of the time that a page takes, what the machine takes for other work is not the server's."""

    def slow(row: Outcome) -> None:
        row.during.pages = [MEDIAN * 1.5] * 3

    def starved(row: Outcome) -> None:
        slow(row)
        row.during.stretch = 2.0

    assert len(outcome(slow).broken) == 1
    assert outcome(starved).broken == []


def test_machine_that_does_other_work_is_slower_without_an_attack_too() -> None:
    """In tests the goals of pages grow with what a page takes before the attack."""

    def slow(row: Outcome) -> None:
        row.before.pages = [0.02, 0.02]
        row.during.pages = [MEDIAN + 0.03] * 3

    assert len(outcome(slow).broken) == 1
    assert outcome(slow, slack=2.0).broken == []
