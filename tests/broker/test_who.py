"""Whom connections count as, as text, and what changes when they come and go."""

import pytest

from quart_sse.broker import Moves, Who, read_who
from quart_sse.broker.who import Roll


@pytest.mark.parametrize("name", ["+ada", "-b", "@h:b", "+", "+a\0b", "plain"])
@pytest.mark.parametrize("metadata", ["", '{"name": "A"}'])
@pytest.mark.parametrize("is_showing", [False, True])
def test_text_is_read_as_it_was_written(name: str, metadata: str, is_showing: bool) -> None:
    """Whatever the name; a text that has nothing else is the name."""
    who = Who(name, metadata, is_showing)

    assert read_who(who.write()) == who
    assert Who(name).write() == name
    assert who.is_named is name.startswith("+")


def test_roll_forgets_whom_it_does_not_need() -> None:
    """People join with their first member and leave with their last one."""
    roll, moves = Roll(), Moves()
    roll.change(moves, "t", {"1": "+ada", "2": "!+ada", "3": "-b"})
    roll.change(moves, "t", dict.fromkeys("13"))
    assert (moves.joined, moves.left, moves.showing) == ({"t": ["1"]}, {}, {"t"})
    roll.change(moves, "t", {"2": None, "4": None})

    assert moves.left == {"t": ["!+ada"]}
    assert roll.members == {}
    assert not roll._counts
