"""Connections of all processes, put together from what these answer."""

from collections.abc import Mapping

import pytest

from quart_sse import ParameterError
from quart_sse.broker import Answers, Process
from quart_sse.registry.finding import conditions, count, count_by_channel, find

ONE, OTHER, OLD = Process("a", "web", 1), Process("b", "web", 2), Process("c", "web", 3)


async def live() -> Mapping[str, Process]:
    return {each.id: each for each in (ONE, OTHER, OLD)}


class Asked:
    """Answers as processes do, and notes the questions."""

    def __init__(self, *answers: Answers) -> None:
        self.answers = list(answers)
        self.questions: list[tuple[str, object, str | None]] = []

    async def __call__(
        self, question: str, data: object = None, *, deadline: float, to: str | None = None
    ) -> Answers:
        """Return the next answers."""
        self.questions.append((question, data, to))
        return self.answers.pop(0)


async def test_rest_of_a_long_answer_is_asked_for() -> None:
    """A process that does not give it is silent, with what it has told."""
    rows = [{"id": id} for id in ("a.1", "a.2", "b.1")]
    ask = Asked(
        Answers(
            {
                "a": {"connections": rows[:1], "more": True},
                "b": {"connections": rows[2:], "more": True},
            },
            {"c": "unknown"},
            (),
        ),
        Answers({"a": {"connections": rows[1:2], "more": False}}, {}, ()),
        Answers({}, {}, (OTHER,)),
    )

    found = await find(ask, live, {"identity": "ada"}, 60.0)
    assert {(info.id, info.process.pid) for info in found} == {("a.1", 1), ("a.2", 1), ("b.1", 2)}
    assert set(found.silent) == {OTHER, OLD}
    assert ask.questions == [
        ("connections", {"identity": "ada"}, None),
        ("connections", {"identity": "ada", "after": "a.1"}, "a"),
        ("connections", {"identity": "ada", "after": "b.1"}, "b"),
    ]


async def test_counts_are_added() -> None:
    """Of those that answer; a process of an older release knows no question for channels."""
    counted = await count(Asked(Answers({"a": 2, "b": 3}, {"c": "failed"}, ())), live, {}, 1.0)
    assert (counted.total, counted.by_process) == (5, {ONE: 2, OTHER: 3})
    assert counted.silent == (OLD,)

    answers = Answers({"a": {"rooms": 2}, "b": {"rooms": 1, "news": 4}}, {"c": "unknown"}, ())
    assert await count_by_channel(Asked(answers), live, 1.0) == (
        {"rooms": 3, "news": 4},
        (OLD,),
    )


async def test_nothing_is_counted_where_nothing_answers() -> None:
    """Which is no zero."""
    assert await count_by_channel(Asked(Answers({}, {}, ())), live, 1.0) == (None, ())
    assert await count_by_channel(Asked(Answers({}, {}, (ONE,))), live, 1.0) == (None, (ONE,))
    assert await count_by_channel(Asked(Answers({"a": {}}, {}, ())), live, 1.0) == ({}, ())


def test_conditions_are_checked() -> None:
    """Those that are left out are not sent."""
    assert conditions("news", None, "ada", {"role": "admin"}) == {
        "topic": "news",
        "identity": "ada",
        "where": {"role": "admin"},
    }
    with pytest.raises(ParameterError):
        conditions(7, None, None, None)  # type: ignore[arg-type]
