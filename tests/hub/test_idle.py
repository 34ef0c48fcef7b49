"""Idle streams: which messages keep a stream open, and which streams end."""

import asyncio

import pytest

from quart_sse.wire import EVERYONE
from tests.support.clock import Jump
from tests.support.house import KEEPS, OTHER, TOPIC, House, Viewer

LIMIT = 100.0


def watch(house: House, *viewers: Viewer, limit: float = LIMIT) -> None:
    """Let these streams end when they are idle."""
    for viewer in viewers:
        house.hub.idle.watch(viewer.connection, limit, asyncio.get_running_loop().time())


def ended(house: House, *viewers: Viewer) -> list[bool]:
    """Sweep, and return of each stream whether it has ended."""
    house.hub.idle.end(asyncio.get_running_loop().time())
    return [viewer.connection.is_ended for viewer in viewers]


async def test_stream_ends_when_nothing_was_sent_for_its_limit(house: House, jump: Jump) -> None:
    """Its client is told to come back later; one without a limit stays."""
    idle, other = await house.viewing(), await house.viewing()
    watch(house, idle)
    watch(house, other, limit=float("inf"))
    assert list(house.hub.idle._watched) == [idle.connection]  # the other one costs nothing

    jump(LIMIT - 1)
    assert ended(house, idle, other) == [False, False]
    jump(1)
    assert ended(house, idle, other) == [True, False]

    await house.quiet()
    assert idle.named[-1] == ("sse-holdoff", "idle")


@pytest.mark.parametrize("kind", ["event", "refresh", "push", "personal"])
async def test_every_message_of_a_topic_keeps_its_streams_open(
    house: House, jump: Jump, kind: str
) -> None:
    """Events and HTML count, and the signal of a personal fragment; for all of its streams."""
    one, two = await house.viewing("list", "mine"), await house.viewing("list")
    watch(house, one, two)
    jump(LIMIT - 1)
    if kind == "event":
        await house.say("hello")
    elif kind == "refresh":
        await house.change("list", "new")
        await one.sees("list", "new")
    elif kind == "push":
        await house.push("list", "new")
        await one.sees("list", "new")
    else:
        await house.refresh("mine")

    jump(LIMIT - 1)
    assert ended(house, one, two) == [False, False]
    jump(1)
    assert ended(house, one, two) == [True, True]


@pytest.mark.parametrize("kind", ["heartbeat", "another topic", "a fragment that no page shows"])
async def test_what_is_no_message_of_its_topics_keeps_no_stream_open(
    house: House, jump: Jump, kind: str
) -> None:
    """A stream that is sent its position alone is idle."""
    viewer = await house.viewing("list")
    other = await house.viewing(topics=(OTHER,))
    watch(house, viewer)
    jump(LIMIT - 1)
    if kind == "heartbeat":
        house.heartbeat()
    elif kind == "another topic":
        await house.say("hello", topic=OTHER)
    else:
        await house.change("count", "7")
    await house.quiet()

    jump(1)
    assert ended(house, viewer, other) == [True, False]


async def test_message_of_any_topic_of_a_stream_counts(house: House, jump: Jump) -> None:
    """A page of several topics is idle when all of them are."""
    both = await house.viewing(topics=(TOPIC, OTHER))
    watch(house, both)
    jump(LIMIT - 1)
    await house.say("hello", topic=OTHER)

    jump(LIMIT - 1)
    assert ended(house, both) == [False]
    jump(1)
    assert ended(house, both) == [True]


async def test_stream_that_comes_to_an_idle_topic_has_its_time(house: House, jump: Jump) -> None:
    """The limit counts from when it came, not from the topic's last message."""
    await house.viewing()
    await house.say("hello")
    jump(10 * LIMIT)
    late = await house.viewing()
    watch(house, late)

    jump(LIMIT - 1)
    assert ended(house, late) == [False]


async def test_stream_that_left_is_forgotten(house: House, jump: Jump) -> None:
    """Neither a stream that has gone nor one that has ended is looked at again."""
    gone, over = await house.viewing(), await house.viewing()
    watch(house, gone, over)
    await house.leave(gone)
    assert list(house.hub.idle._watched) == [over.connection]

    jump(LIMIT)
    ended(house)
    assert not house.hub.idle._watched

    watch(house, over)
    house.hub.abandon()
    assert not house.hub.idle._watched


async def test_event_for_everyone_keeps_a_stream_open(
    house: House, jump: Jump, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is sent on the stream, as those of its topics."""
    monkeypatch.setitem(KEEPS, EVERYONE, KEEPS[TOPIC])
    viewer = house.view()
    viewer.connection.audiences = (EVERYONE,)
    await house.quiet()
    watch(house, viewer)

    jump(LIMIT - 1)
    await house.say("x", topic=EVERYONE)
    jump(2)
    assert ended(house, viewer) == [False]
    jump(LIMIT)
    assert ended(house, viewer) == [True]
