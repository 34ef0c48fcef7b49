"""Presence of topics of which the broker keeps no record: every process is asked."""

import pytest

from quart_sse import Presence, SetupError
from quart_sse.channels import asking
from quart_sse.errors import BrokerUnavailable
from tests.support.halls import Halls
from tests.support.streams import open_stream


async def test_every_process_says_who_listens(sites: tuple[Halls, Halls]) -> None:
    """The broker has none of them on record, whichever process asks."""
    here, there = sites
    async with here.view(1, who="ada"), there.view(1, 2, who="ada"), there.view(1, who="bob"):
        found = [await site.room(1).presence() for site in sites]
        other = await here.room(2).presence()
        none = await here.room(3).presence()

    assert found == [Presence(2, 3, frozenset({"ada", "bob"}))] * 2
    assert other == Presence(1, 1, frozenset({"ada"}))
    assert none == Presence(0, 0, frozenset())
    for site in sites:
        assert (site.entered, site.asked) == ([], [])


async def test_process_that_does_not_answer_is_named(
    sites: tuple[Halls, Halls], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the others have answered is counted all the same."""
    here, there = sites
    async with here.view(1, who="ada"), there.view(1, who="bob"):
        control = there.app.extensions["quart_sse"].control
        monkeypatch.setattr(control, "take", lambda name, text: None)
        found = await here.room(1).presence()

    assert found == Presence(1, 1, frozenset({"ada"}), (control.processes.own,))


async def test_process_that_has_no_answer_is_named(
    sites: tuple[Halls, Halls], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one of the last release, which does not know the question."""
    here, there = sites
    async with here.view(1, who="ada"), there.view(1, who="bob"):
        control = there.app.extensions["quart_sse"].control
        monkeypatch.delitem(control._replies, asking.QUESTION)
        found = await here.room(1).presence()

    assert found == Presence(1, 1, frozenset({"ada"}), (control.processes.own,))


async def test_more_people_than_an_answer_holds(
    sites: tuple[Halls, Halls], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are asked for in parts."""
    monkeypatch.setattr(asking, "PAGE_CHARS", 300)
    here, there = sites
    for number in range(50):
        there.connect("rooms?room=1", identity=f"user {number:02}")
    here.connect("rooms?room=1", identity="user 07")
    found = await here.room(1).presence()

    everyone = frozenset(f"user {number:02}" for number in range(50))
    assert found == Presence(50, 51, everyone)


async def test_memory_broker_has_its_own_connections() -> None:
    """It asks no other, also in a process that serves nothing yet."""
    site = Halls("memory://")
    async with site.app.app_context():
        assert await site.room(1).presence() == Presence(0, 0, frozenset())
    async with open_stream(site.client("ada"), "/sse/rooms/1"):
        assert await site.room(1).presence() == Presence(1, 1, frozenset({"ada"}))


async def test_process_that_serves_nothing_cannot_ask(sites: tuple[Halls, Halls]) -> None:
    """The error says what can be done; what the broker knows, it is told."""
    here, _ = sites
    worker = Halls(here.app.config["QUART_SSE_BROKER_URL"])
    async with here.view(1, who="ada") as (_, handle), worker.app.app_context():
        await handle.subscribe(here.hall(1))
        await here.tracker.sweep(float("inf"))
        with pytest.raises(SetupError, match="presence=True"):
            await worker.room(1).presence()
        assert (await worker.hall(1).presence()).identities == {"ada"}


@pytest.mark.parametrize("topic", ["hall", "room"])
async def test_this_process_is_counted_while_the_broker_is_away(
    sites: tuple[Halls, Halls], monkeypatch: pytest.MonkeyPatch, topic: str
) -> None:
    """Pages that show the number keep rendering."""
    here, there = sites

    async def fail(*_: object) -> None:
        raise BrokerUnavailable("The broker is away.")

    async with (
        open_stream(here.client("ada"), f"/sse/{topic}s/1"),
        open_stream(there.client("bob"), f"/sse/{topic}s/1"),
    ):
        monkeypatch.setattr(here.app.extensions["quart_sse"].broker.inner, "present", fail)
        found = await getattr(here, topic)(1).presence()

    assert found == Presence(1, 1, frozenset({"ada"}))


async def test_fragment_follows_who_comes_to_another_process(sites: tuple[Halls, Halls]) -> None:
    """The broker knows of them before the fragment is refreshed."""
    here, there = sites
    async with open_stream(here.app, "/sse/shows/1") as stays:
        await here.tracker.sweep(float("inf"))
        async with open_stream(there.app, "/sse/shows/1"):
            while "<b>2</b>" not in (await stays.next("message")).data:
                pass
        while "<b>1</b>" not in (await stays.next("message")).data:
            pass
