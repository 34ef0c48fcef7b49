"""Chains: the streams of one connection, of which the newest stands for it."""

from quart_sse.config import Config
from quart_sse.hub.chains import MOST_OLDER, Chains
from quart_sse.hub.connection import Connection
from quart_sse.wire import Ending


def streams(number: int) -> list[Connection]:
    """Return streams of one connection."""
    made = [Connection({}, Config(), loader=lambda _: b"") for _ in range(number)]
    for each in made:
        each.lasting = made[0].lasting
    return made


def filled(made: list[Connection]) -> Chains:
    """Return chains to which streams were added in this order."""
    chains = Chains()
    for each in made:
        chains.add(each)
    return chains


async def test_newest_stands_for_the_connection() -> None:
    """Until it leaves: then the one before does."""
    made = streams(3)
    chains = filled(made)
    old, middle, new = made

    assert (chains.of(old.id), chains.get(old.id), len(chains)) == (made, new, 3)
    assert list(chains.newest) == [new]
    assert set(chains) == set(made)
    assert not chains.remove(new)
    assert not chains.remove(old)
    assert (chains.get(old.id), len(chains)) == (middle, 1)
    assert chains.remove(middle)
    assert (chains.get(old.id), len(chains), list(chains)) == (None, 0, [])


async def test_stream_that_is_not_among_them_changes_nothing() -> None:
    """Of the same connection, and of another."""
    old, other = streams(2)
    chains = filled([old])

    assert not chains.remove(other)
    assert not chains.remove(*streams(1))
    assert (old in chains, other in chains, len(chains)) == (True, False, 1)
    assert chains.of("none") == []


async def test_streams_far_behind_the_newest_end() -> None:
    """A client reads one of them, so a chain does not grow with its requests."""
    made = streams(2000)
    chains = filled(made)

    assert {each.ending for each in made[: -MOST_OLDER - 1]} == {Ending.EVICTED}
    assert not any(each.is_ended for each in made[-MOST_OLDER - 1 :])
    for each in made:
        chains.remove(each)
    assert (len(chains), list(chains)) == (0, [])


async def test_nothing_is_left_of_a_loop_that_has_ended() -> None:
    """Older streams are forgotten, too."""
    made = streams(2)
    chains = filled(made)

    chains.clear()
    assert (len(chains), chains.of(made[0].id), list(chains)) == (0, [], [])
