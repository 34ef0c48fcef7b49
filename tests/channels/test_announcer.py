"""What the broker records of presence, how often, and what of it the fragments show."""

import asyncio
from collections.abc import Collection, Mapping
from typing import Any
from unittest.mock import patch

import pytest

from quart_sse.errors import BrokerUnavailable
from tests.support.halls import Halls
from tests.support.streams import open_stream, until

MANY = 10_000


def names(channel: str, parameter: str, number: int) -> list[str]:
    return [f"{channel}?{parameter}={each}" for each in range(number)]


async def test_topics_without_interest_cause_no_call(still: Halls) -> None:
    """However many a client has, comes and goes with: the broker has no call."""
    connection = still.connect(*names("rooms", "room", MANY), is_heard=False)
    await still.tracker.sweep(float("inf"))
    await still.tracker.announce()
    still.disconnect(connection)
    await still.tracker.sweep(float("inf"))

    assert (still.entered, still.left, still.asked, still.refreshed) == ([], [], [], [])


async def test_many_topics_are_told_in_few_calls(still: Halls) -> None:
    """Of those whose presence is of interest, too; the same when they are renewed and left."""
    topics = names("halls", "hall", MANY)
    connection = still.connect(*topics, identity="ada", is_heard=False)
    await still.tracker.sweep(float("inf"))
    calls = len(still.entered)
    told = {topic for members in still.entered for topic in members}
    await still.tracker.announce()
    renewed = {topic for members in still.entered[calls:] for topic in members}
    renewals = len(still.entered) - calls
    record = await still.record(topics[-1])
    still.disconnect(connection)
    await still.tracker.sweep(float("inf"))

    assert told == renewed == set(topics)
    assert record == {connection.id: "+ada"}
    assert max(calls, renewals, len(still.left)) <= MANY / 500 + 1
    assert {topic for members in still.left for topic in members} == set(topics)
    assert await still.record(topics[-1]) == {}
    assert still.announcer._recorded == {}


async def test_connections_of_one_topic_are_renewed_in_parts(still: Halls) -> None:
    """Each call to the broker has a bound, whatever listens."""
    connections = [still.connect("halls?hall=1") for _ in range(4_500)]
    await still.tracker.sweep(float("inf"))
    before = len(still.entered)
    await still.tracker.announce()

    sizes = [len(members["halls?hall=1"]) for members in still.entered[before:]]
    assert sizes == [2_000, 2_000, 500]
    assert await still.record("halls?hall=1") == {each.id: f"-{each.id}" for each in connections}


async def test_burst_of_joins_and_leaves_is_one_refresh(site: Halls) -> None:
    """The last state is always shown."""
    async with open_stream(site.app, "/sse/shows/1") as stays:
        await until(lambda: site.refreshed)
        with patch.object(site.announcer, "_debounce", 60.0):
            await site.tracker.sweep(float("inf"))  # the debounce time of before is over
            site.refreshed.clear()
            for _ in range(25):
                async with open_stream(site.app, "/sse/shows/1"):
                    pass
            async with open_stream(site.app, "/sse/shows/1"):
                await until(lambda: len(site.refreshed) == 1)
                async with open_stream(site.app, "/sse/shows/1"):
                    await site.tracker.sweep(0.0)
                    assert site.refreshed == ["shows?show=1"]
                    await site.tracker.sweep(float("inf"))
                    assert site.refreshed == ["shows?show=1"] * 2
                    await until(lambda: site.people[-1] == 3)
                    while "<b>3</b>" not in (await stays.next("message")).data:
                        pass


async def test_debounce_of_a_fragment_is_that_of_its_presence(site: Halls) -> None:
    """Of several the shortest, and that of the app if none has its own, but no less than 1 s."""
    two = site.sse.channel("two", "/two", public=True)
    two.fragment("slow", presence=True, debounce=7.0)(lambda: "")
    slow = site.announcer._seconds("two")
    two.fragment("quick", presence=True, debounce=3.0)(lambda: "")
    two.fragment("other", debounce=0)(lambda: "")

    assert slow == 7.0
    assert site.announcer._seconds("two") == 3.0
    assert site.announcer._seconds("shows?show=1") == 1.0
    assert site.announcer._seconds("halls?hall=1") == 1.0


async def test_what_came_to_nothing_is_shown_if_a_render_has_seen_it(still: Halls) -> None:
    """A connection that comes and goes within the time may have been counted by a page."""
    still.connect("shows?show=1")
    await still.tracker.sweep(float("inf"))
    still.refreshed.clear()
    still.disconnect(still.connect("shows?show=1"))
    await still.tracker.sweep(float("inf"))

    assert still.refreshed == ["shows?show=1"]


async def test_stream_that_takes_the_place_of_another_is_no_join(still: Halls) -> None:
    """It has the same id, of which the broker knows."""
    before = still.connect("shows?show=1")
    await still.tracker.sweep(float("inf"))
    still.refreshed.clear()
    after = still.connect("rooms?room=1")
    still.app.extensions["quart_sse"].connections.leave(after)
    after.lasting = before.lasting
    after.subscription = before.subscription
    still.app.extensions["quart_sse"].connections.enter(after, is_multiplexed=False)
    entered = len(still.entered)
    still.tracker.enter(after)
    still.disconnect(before)
    await still.tracker.sweep(float("inf"))

    assert still.refreshed == []
    assert (len(still.entered), still.left) == (entered, [])
    assert (await still.record("shows?show=1")).keys() == {after.id}


class Unsure:
    """A broker that does what it is asked for, and says that it may not have."""

    def __init__(self, site: Halls, name: str) -> None:
        self._inner = site.app.extensions["quart_sse"].broker.inner
        self._call = getattr(self._inner, name)
        self.failures = 1
        setattr(self._inner, name, self.do)

    async def do(self, members: Mapping[str, Collection[str]]) -> Any:
        answer = await self._call(members)
        if self.failures:
            self.failures -= 1
            raise BrokerUnavailable("The answer was lost.", maybe_published=True)
        return answer


@pytest.mark.parametrize("call", ["enter", "exit"])
async def test_connection_of_which_the_answer_was_lost_is_told_again(
    still: Halls, call: str
) -> None:
    """Whatever becomes of it: the broker's record is right in the end."""
    unsure = Unsure(still, call)
    stays = still.connect("shows?show=1")
    leaves = still.connect("shows?show=1")
    if call == "enter":
        with pytest.raises(BrokerUnavailable):
            await still.tracker.sweep(float("inf"))
        still.disconnect(leaves)
    else:
        await still.tracker.sweep(float("inf"))
        still.disconnect(leaves)
        with pytest.raises(BrokerUnavailable):
            await still.tracker.sweep(float("inf"))
    still.refreshed.clear()
    await still.tracker.sweep(float("inf"))
    record = await still.record("shows?show=1")

    assert unsure.failures == 0
    assert record.keys() == {stays.id}
    assert still.refreshed == ["shows?show=1"]


async def test_connection_that_comes_back_while_it_is_told_to_have_left_stays(still: Halls) -> None:
    """The change of before is on its way when the other is noted."""
    inner = still.app.extensions["quart_sse"].broker.inner
    exit, is_held, may_go = inner.exit, asyncio.Event(), asyncio.Event()

    async def hold(members: Mapping[str, Collection[str]]) -> Any:
        is_held.set()
        await may_go.wait()
        return await exit(members)

    inner.exit = hold
    connection = still.connect("halls?hall=1", "rooms?room=1")
    await still.tracker.sweep(float("inf"))
    shown = connection.subscription.pop("halls?hall=1")  # type: ignore[attr-defined]
    still.tracker.withdraw("halls?hall=1", [connection])
    sweeping = asyncio.create_task(still.tracker.sweep(float("inf")))
    await is_held.wait()
    connection.subscription["halls?hall=1"] = shown  # type: ignore[index]
    still.tracker.join("halls?hall=1", connection)
    may_go.set()
    await sweeping
    await still.tracker.sweep(float("inf"))

    record = await still.record("halls?hall=1")
    assert record.keys() == {connection.id}


async def test_one_client_that_joins_ten_times_a_second_is_one_refresh_a_second(
    still: Halls,
) -> None:
    """It decides neither how often a page is rendered nor how often the broker is called."""
    still.connect("shows?show=1")
    await still.tracker.sweep(float("inf"))
    still.refreshed.clear()
    calls = len(still.entered) + len(still.left)
    now = asyncio.get_running_loop().time()
    for number in range(50):
        connection = still.connect("shows?show=1")
        await still.tracker.sweep(now + number / 10)
        still.disconnect(connection)
        await still.tracker.sweep(now + number / 10 + 0.05)
    await still.tracker.sweep(float("inf"))

    assert 5 <= len(still.refreshed) <= 7
    assert len(still.entered) + len(still.left) - calls <= 2 * 7
    assert len(await still.record("shows?show=1")) == 1


async def test_stream_that_ends_before_it_has_opened_leaves_no_record(still: Halls) -> None:
    """The broker may have it on record already."""
    connection = still.connect("halls?hall=1")
    connection.is_open = False
    await still.tracker.sweep(float("inf"))
    before = await still.record("halls?hall=1")
    still.disconnect(connection)
    await still.tracker.sweep(float("inf"))

    assert before.keys() == {connection.id}
    assert await still.record("halls?hall=1") == {}
