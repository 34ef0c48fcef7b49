"""Watching: messages are kept while somebody looks, and no delivery knows of it otherwise."""

from collections.abc import AsyncIterator

import pytest

from quart_sse.registry.watching import LEASE, MAX_DATA, MOST, Watching
from tests.support.sites import Site, serving


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """A site whose messages come at once."""
    site = Site("memory://")
    async with serving(site):
        yield site


async def test_messages_are_kept_from_one_look_to_some_time_after_the_last(site: Site) -> None:
    """Then the next message finds nobody, and the hub is as it was."""
    hub, now = site.app.extensions["quart_sse"].hub, [0.0]
    watching = Watching(hub, lambda: now[0])
    site.rooms.fragment("list")(lambda room: "")
    async with site.view(1):
        await site.room(1).publish("unseen")
        assert "receive" not in vars(hub)
        assert watching.look() == []

        await site.room(1).publish("paid", "x" * 3_000, where={"role": "admin"})
        await site.room(1).refresh("list")
        await site.sse.broker.probe()
        now[0] += LEASE
        event, refresh = watching.look()
        now[0] += LEASE
        await site.room(1).publish("seen")
        assert len(watching.look()) == 3
        now[0] += LEASE + 1
        await site.room(1).publish("after")

    assert (event["kind"], event["name"], event["topic"]) == ("event", "paid", "rooms?room=1")
    assert (event["size"], len(event["data"]), event["where"]) == (
        3_000,
        MAX_DATA,
        '{"role": "admin"}',
    )
    assert (refresh["kind"], refresh["name"]) == ("refresh", "list")
    assert refresh["place"] < event["place"], "the newest comes first"
    assert "receive" not in vars(hub)
    assert watching.look() == []
    hub.watch(None)


async def test_messages_that_are_kept_are_bounded(site: Site) -> None:
    """And streams are sent all of them as before."""
    watching = Watching(site.app.extensions["quart_sse"].hub)
    async with site.view(1) as (stream, _):
        watching.look()
        async with site.sse.batch():
            for number in range(MOST + 10):
                await site.room(1).publish("counted", number)
        assert len(watching.look()) == MOST
        for number in range(MOST + 10):
            assert (await stream.next("rooms.counted?room=1")).data == str(number)
