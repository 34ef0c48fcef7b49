"""Stats: figures are added up, written and read, also those of another release."""

import json
from collections import Counter

import pytest

from quart_sse.broker import State
from quart_sse.hub import BOUNDS
from quart_sse.registry.stats import MOST_NAMED, Stats, Took, most, read, total_of, written

NONE = (0,) * (len(BOUNDS) + 1)
ONE = Stats(
    broker="ready",
    connections=3,
    by_channel={"rooms": 3},
    oldest=5.0,
    ended={"gone": 1},
    renders=Took(2, 0.3, 0.1, 0.2, (2, *NONE[1:])),
    written=100,
)
OTHER = Stats(
    broker="degraded",
    connections=1,
    by_channel={"rooms": 1, "news": 1},
    oldest=9.0,
    ended={"gone": 2, "max-age": 1},
    renders=Took(2, 0.5, 0.1, 0.2, (*NONE[:-1], 2)),
    written=11,
)


def test_figures_are_added_up() -> None:
    """Numbers are summed, the oldest is that of all, and the worst state counts."""
    total = total_of([ONE, OTHER], Counter({"ada": 3, "bob": 1}), Counter({"rooms?room=1": 4}))

    assert total.processes == 2
    assert total.broker == "degraded"
    assert (total.connections, total.written, total.oldest) == (4, 111, 9.0)
    assert total.by_channel == {"rooms": 4, "news": 1}
    assert total.ended == {"gone": 3, "max-age": 1}
    assert total.renders == Took(4, 0.8, 0.001, 60.0, (2, *NONE[1:-1], 2))
    assert (total.identities, total.top_identities) == (2, {"ada": 3, "bob": 1})
    assert (total.topics, total.top_topics) == (1, {"rooms?room=1": 4})


def test_no_answer_is_a_broker_that_is_away() -> None:
    """Whatever else, there is no figure."""
    total = total_of([], Counter(), Counter())

    assert (total.processes, total.broker, total.connections) == (0, "away", 0)
    assert total.lag == Took()


@pytest.mark.parametrize("state", State)
def test_every_state_has_its_place(state: State) -> None:
    """One that is worse than ready hides it."""
    both = [Stats(broker=state.value), Stats(broker="ready")]

    assert total_of(both, Counter(), Counter()).broker == state.value


def test_figures_are_written_as_json_and_read() -> None:
    """Nothing is lost on the way."""
    assert read(json.loads(json.dumps(written(ONE)))) == ONE


def test_figures_of_another_release_are_read() -> None:
    """What is missing is 0; what is unknown is left out."""
    stats = read({"connections": 2, "broker": "sleeping", "magic": 7})

    assert (stats.connections, stats.broker, stats.renders.number) == (2, "starting", 0)


def test_names_with_most_are_bounded_and_in_order() -> None:
    """The largest first, and equal ones by name."""
    numbers = {f"name{number:03}": number // 2 for number in range(100)}

    found = most(numbers)

    assert [*found.items()][:3] == [("name098", 49), ("name099", 49), ("name096", 48)]
    assert len(found) == MOST_NAMED
