"""Answers in parts: asked for one after the other, of each process for itself."""

from collections.abc import Mapping
from typing import Any

import pytest

from quart_sse.broker.paging import ask_pages
from tests.support.control import Process

FAR, NEAR = 60.0, 0.3
Two = tuple[Process, Process]


def count_to(process: Process, most: int) -> None:
    """Let a process answer with numbers, three at a time."""

    def answer(told: Mapping[str, Any]) -> Mapping[str, object]:
        begin = int(told.get("after", 0)) + 1
        numbers = list(range(begin, most + 1))
        return {"numbers": numbers[:3], "more": len(numbers) > 3}

    process.control.reply("numbers", answer)


def last(answer: Mapping[str, Any]) -> str:
    """Return after which number the next answer goes on."""
    return str(answer["numbers"][-1])


async def test_all_parts_of_all_answers_are_collected(two: Two) -> None:
    """Each process has as much to say as it has."""
    one, other = two
    count_to(one, 8)
    count_to(other, 2)

    found = await ask_pages(one.control.ask, "numbers", {}, FAR, last)

    numbers = {
        id: [number for answer in answers for number in answer["numbers"]]
        for id, answers in found.pages.items()
    }
    assert numbers == {one.id: list(range(1, 9)), other.id: [1, 2]}
    assert (found.cut, found.silent({})) == ([], ())


@pytest.mark.parametrize("how", ["cut", "fault", "silent"])
async def test_process_whose_answer_is_not_complete_is_named(two: Two, how: str) -> None:
    """Also one that has failed in between; what it has said before counts."""
    one, other = two
    count_to(one, 2)
    if how == "cut":
        other.control.reply(
            "numbers",
            lambda told: (
                {"numbers": [told.get("no", 1)], "more": True}
                if "after" not in told
                else int("no number")
            ),
        )
    elif how == "fault":
        other.control.reply("numbers", lambda _: int("no number"))
    else:
        other.is_deaf = True
    live = {process.id: process for process in await one.control.processes.live()}

    found = await ask_pages(one.control.ask, "numbers", {}, NEAR, last)

    assert found.silent(live) == (live[other.id],)
    assert found.cut == ([other.id] if how == "cut" else [])
    assert (other.id in found.pages) is (how == "cut")
