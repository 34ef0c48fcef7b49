"""Receivers: an event reaches whom it is for, at its place, and others pay nothing for it."""

import asyncio
from collections.abc import Mapping

import pytest

from quart_sse.broker import Budget, Filter, Keep, Kind, Message, Replay, Start
from quart_sse.hub.group import Joining
from quart_sse.hub.metadata import metadata_of
from quart_sse.wire import ZERO
from quart_sse.wire.audience import EVERYONE, channel_topic, user_topic
from tests.support.house import KEEPS, OTHER, TOPIC, House, Viewer
from tests.support.streams import until

KEEP = Keep(10, 60.0)


@pytest.fixture(autouse=True)
def _keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    for audience in (EVERYONE, channel_topic("news"), user_topic("ada"), user_topic("bob")):
        monkeypatch.setitem(KEEPS, audience, KEEP)


async def join(house: House, *topics: str, who: str | None = None, meta: object = None) -> Viewer:
    """Open a page of some topics for a user, and wait until it shares bytes with others."""
    viewer = house.view(topics=topics or (TOPIC,))
    connection = viewer.connection
    connection.identity = who
    connection.metadata = metadata_of(meta, "given")
    connection.audiences = (EVERYONE, channel_topic("news"))
    if who is not None:
        connection.audiences += (user_topic(who),)
    house.hub.connections.enter(connection, is_multiplexed=False)
    await until(lambda: house.hub.position_of(connection) is not None)
    await house.quiet()
    return viewer


async def tell(house: House, topic: str, text: str, where: Filter | None = None) -> None:
    """Publish an event."""
    message = Message(Kind.EVENT, ZERO, topic, "said", text, where=where)
    await house.broker.publish(message, KEEP)


async def test_all_share_one_group_whoever_they_are(house: House) -> None:
    """Neither users nor metadata are a part of what tells groups apart."""
    viewers = [await join(house, who=f"u{n}", meta={"n": n}) for n in range(5)]

    groups = {house.hub._groups.of(viewer.connection) for viewer in viewers}

    assert len(groups) == 1
    assert not isinstance(groups.pop(), Joining)


async def test_message_for_one_of_a_group_stands_at_its_place(house: House) -> None:
    """In one wave with those for all; the others' bytes are shared."""
    ada = await join(house, who="ada")
    bob = await join(house, who="bob")
    other = await join(house, who="eve")

    await tell(house, TOPIC, "1")
    await tell(house, user_topic("ada"), "2")
    await tell(house, TOPIC, "3")
    await tell(house, user_topic("bob"), "4")
    await tell(house, EVERYONE, "5")
    await tell(house, channel_topic("news"), "6")

    await ada.hears("1", "2", "3", "5", "6")
    await bob.hears("1", "3", "4", "5", "6")
    await other.hears("1", "3", "5", "6")
    assert ada.positions == sorted(ada.positions)


async def test_filter_divides_a_group(house: House) -> None:
    """Those that it means get it at its place."""
    admin = await join(house, meta={"role": "admin"})
    guest = await join(house, meta={"role": "guest"})
    none = await join(house)
    where = Filter({"role": "admin"})

    await tell(house, TOPIC, "1", where)
    await tell(house, TOPIC, "2")
    await tell(house, EVERYONE, "3", where)
    await tell(house, TOPIC, "4")

    await admin.hears("1", "2", "3", "4")
    await guest.hears("2", "4")
    await none.hears("2", "4")
    assert guest.writes[2:] == none.writes[2:]
    assert house.hub.receivers(TOPIC, where) == 1
    assert house.hub.receivers(EVERYONE) == 3
    assert house.hub.receivers(channel_topic("news")) == 3
    assert house.hub.receivers(user_topic("ada")) == 0
    assert house.hub.receivers(TOPIC, None, admin.connection.id) == 2


async def test_wave_without_a_message_for_a_member_writes_it_nothing(house: House) -> None:
    """Not even an empty write."""
    ada, bob = await join(house, who="ada"), await join(house, who="bob")
    before = len(bob.writes)

    await tell(house, user_topic("ada"), "x")
    await ada.hears("x")
    await house.quiet()

    assert len(bob.writes) == before


async def test_connection_that_still_joins_gets_them_too(house: House) -> None:
    """Held until its replay has come, in the one order."""
    house.broker.answers.clear()
    viewer = house.view()
    viewer.connection.identity = "ada"
    viewer.connection.audiences = (EVERYONE, user_topic("ada"))
    house.hub.connections.enter(viewer.connection, is_multiplexed=False)
    await house.quiet()
    await tell(house, user_topic("ada"), "1")
    await tell(house, TOPIC, "2")
    await tell(house, EVERYONE, "3")
    house.broker.answers.set()

    await viewer.hears("1", "2", "3")


async def test_topic_of_another_channel_is_no_part_of_a_whole_channel(house: House) -> None:
    """Although its name begins alike."""
    news, other = await join(house, OTHER), await join(house, "chat")

    await tell(house, channel_topic("news"), "x")
    await tell(house, channel_topic("chat2"), "no")
    await tell(house, EVERYONE, "end")

    await news.hears("x", "end")
    await other.hears("end")


@pytest.mark.parametrize("is_user_first", [True, False])
async def test_what_comes_between_the_two_questions_is_not_lost(
    house: House, monkeypatch: pytest.MonkeyPatch, is_user_first: bool
) -> None:
    """What a user missed is asked apart; each question has a moment of its own."""
    viewer = house.view(since=house.broker.known)
    ada, connection = user_topic("ada"), viewer.connection
    connection.identity, connection.audiences = "ada", (EVERYONE, ada)
    viewer.starts |= {
        audience: Start(viewer.starts[TOPIC].position, frozenset(), KEEP)
        for audience in connection.audiences
    }
    house.hub.connections.enter(connection, is_multiplexed=False)
    await tell(house, TOPIC, "1")
    await tell(house, ada, "2")
    resume, first_asked = house.broker.resume, asyncio.Event()

    async def resume_at_its_time(starts: Mapping[str, Start], budget: Budget) -> Replay:
        if (ada in starts) is is_user_first:
            replay = await resume(starts, budget)
            await tell(house, TOPIC, "3")
            await tell(house, ada, "4")
            await tell(house, EVERYONE, "5")
            first_asked.set()
            return replay
        await first_asked.wait()
        return await resume(starts, budget)

    monkeypatch.setattr(house.broker, "resume", resume_at_its_time)

    await viewer.hears("1", "2", "3", "4", "5")
    assert viewer.positions == sorted(viewer.positions)
