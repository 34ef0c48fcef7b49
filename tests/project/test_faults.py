"""What breaks in operation breaks no promise: every scenario of ``make faults``, in short."""

import asyncio
import re
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest
import uvloop

from faults.publisher import Attempt, Fate
from faults.scenarios import SCENARIOS, play
from faults.stage import BRIEF
from faults.verdict import Outcome, judge
from faults.viewer import Seen, Viewer
from quart_sse.broker import Keep, Kind, Message
from quart_sse.broker.redis import RedisBroker
from quart_sse.errors import BrokerUnavailable
from quart_sse.wire.position import Id
from tests.support.network import Wire

ROOT = Path(__file__).parents[2]


# -- scenarios -------------------------------------------------------------------------------------


#: Each scenario under Uvicorn, and one under the other server, too.
PLAYED = [*((name, "uvicorn") for name in SCENARIOS), ("rolling", "hypercorn")]
#: Scenarios that are played at the same time: most of it is waiting.
AT_ONCE = 2

Outcomes = Mapping[tuple[str, str], "Future[Outcome]"]


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Outcomes]:
    """Play the scenarios of all tests that were selected, some at once."""

    def one(name: str, server: str) -> Outcome:
        return asyncio.run(play(name, tmp_path_factory.mktemp("play"), BRIEF, server))

    played = [
        cast("tuple[str, str]", item.callspec.params["played"])
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.originalname == test_scenario.__name__
    ]
    pool = ThreadPoolExecutor(AT_ONCE)
    yield {(name, server): pool.submit(one, name, server) for name, server in played}
    pool.shutdown(cancel_futures=True)


@pytest.mark.servers
@pytest.mark.parametrize("played", PLAYED, ids="-".join)
async def test_scenario(played: tuple[str, str], outcomes: Outcomes) -> None:
    """Nothing is lost in silence, twice or out of order, and state and log say what happens."""
    outcome = await asyncio.wrap_future(outcomes[played])

    assert outcome.broken == []
    assert (outcome.lost, outcome.duplicated, outcome.disordered, outcome.stale) == (0, 0, 0, 0)
    assert outcome.published > 0
    assert outcome.delivered > 0


async def publish_through(target: Path) -> list[BrokerUnavailable]:
    """Publish again and again through an address; returns what that raised."""
    told = []
    async with Wire(target) as wire:
        broker = RedisBroker(wire.url, timeout=5.0)
        for _ in range(CALLS):
            try:
                await broker.publish(Message(Kind.EVENT, Id(0, 0), "t", "said", "1"), Keep(5, 10))
            except BrokerUnavailable as error:
                told.append(error)
        await broker.stop()
    return told


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
async def test_address_that_lets_in_and_closes_is_an_absent_redis(
    run: Callable[[Coroutine[Any, Any, list[BrokerUnavailable]]], list[BrokerUnavailable]],
    tmp_path: Path,
) -> None:
    """A proxy without a Redis behind it makes publishers no other error, on either loop."""
    told = await asyncio.to_thread(run, publish_through(tmp_path / "nobody"))

    assert len(told) == CALLS
    assert not any(error.maybe_published for error in told)


#: Connections that are made; the other end closes some before, and some after the first word.
CALLS = 500


# -- the judge -------------------------------------------------------------------------------------

LATE = Id(9, 0)


def attempt(number: int, fate: Fate = "kept") -> Attempt:
    """Return an event that was published in the second of its number."""
    return Attempt(number, 0.0, 0.1, fate, Id(number, 0) if fate == "kept" else None)


def viewer(*numbers: int, resets: int = 0) -> Viewer:
    """Return a viewer who saw these events, and was maybe told that all up to one are lost."""
    viewer = Viewer(0, 1)
    viewer.seen = [Seen(number, Id(number, 0), 0.0) for number in numbers]
    viewer.resets = [Id(resets, 0)] if resets else []
    viewer.shown = "1"
    return viewer


def judged(*attempts: Attempt, by: Viewer, stored: tuple[int, ...] = ()) -> Outcome:
    """Return what the judge says of one viewer."""
    outcome = Outcome()
    judge(outcome, attempts, {number: Id(number, 0) for number in stored}, [by], 1)
    return outcome


def test_judge_finds_nothing_where_nothing_is_wrong() -> None:
    """All that was published came, once and in order."""
    outcome = judged(attempt(1), attempt(2), attempt(3, "refused"), by=viewer(1, 2))

    assert (outcome.lost, outcome.duplicated, outcome.disordered, outcome.stale) == (0, 0, 0, 0)
    assert outcome.broken == []
    assert (outcome.published, outcome.delivered) == (2, 2)


def test_judge_counts_what_is_lost() -> None:
    """What was acknowledged, or found stored, and reached no viewer counts."""
    outcome = judged(attempt(1), attempt(2), attempt(3, "maybe"), by=viewer(1), stored=(3,))

    assert outcome.lost == 2


def test_judge_lets_a_reset_excuse_what_was_before_it_alone() -> None:
    """A reset covers the events up to its position, and none after it."""
    outcome = judged(attempt(1), attempt(2), attempt(3), by=viewer(resets=2))

    assert outcome.lost == 1
    assert outcome.resets == 1


def test_judge_counts_what_came_twice() -> None:
    """The same number again is a duplicate, and out of order."""
    outcome = judged(attempt(1), attempt(2), by=viewer(1, 2, 1))

    assert outcome.duplicated == 1
    assert outcome.disordered == 1


def test_judge_knows_order_by_ids_and_not_by_numbers() -> None:
    """Publishers at different processes may be answered in another order than they began."""
    first, second = Attempt(1, 0.0, 0.1, "kept", Id(8, 0)), attempt(2)
    reader = viewer(2)
    reader.seen.append(Seen(1, Id(8, 0), 0.0))

    assert judged(first, second, by=reader).disordered == 0


def test_judge_finds_what_came_although_it_was_refused() -> None:
    """A publisher may publish again if certainly nothing was published."""
    outcome = judged(attempt(1, "refused"), by=viewer(1))

    assert len(outcome.broken) == 1


def test_judge_finds_wrong_positions() -> None:
    """An event at another position than its own would be replayed, or left out."""
    reader = viewer()
    reader.seen = [Seen(1, LATE, 0.0)]

    assert len(judged(attempt(1), by=reader).broken) == 1


def test_judge_finds_old_fragments() -> None:
    """A fragment that does not show the last value is stale."""
    reader = viewer()
    reader.shown = "0"

    assert judged(by=reader).stale == 1


# -- the document ----------------------------------------------------------------------------------


def test_document_has_every_scenario() -> None:
    """The table of a run in the document has a row for each of them, in which nothing is lost."""
    text = (ROOT / "docs" / "reliability.md").read_text("utf-8")
    rows = re.findall(r"^\| ([a-z-]+) +\|(?: +\d+ \|){2}((?: +\d+ \|){4})", text, re.M)

    assert [name for name, _ in rows] == list(SCENARIOS)
    assert {int(count) for _, counts in rows for count in re.findall(r"\d+", counts)} == {0}
