"""Delivery: which connections a message reaches, and with which bytes."""

import asyncio

import pytest

from quart_sse.hub import batcher as batcher_module
from tests.support.house import CONFIG, OTHER, TOPIC, House
from tests.support.streams import until


async def test_connections_of_a_kind_share_the_bytes(house: House) -> None:
    """An event and a fragment are encoded once: every stream is given the same object."""
    one, two = await house.viewing("list"), await house.viewing("list")
    await house.say("a")
    await house.change("list", "1")
    await one.sees("list", "1")
    await two.sees("list", "1")

    shared = [data for data in one.writes if any(data is other for other in two.writes)]
    assert b"said" in b"".join(shared)
    assert b"hx-partial" in b"".join(shared)


async def test_event_has_its_full_name_unless_the_stream_is_of_one_topic(house: House) -> None:
    """A stream of many topics tells them apart; one at a channel's own URL has bare names."""
    full, bare = house.view(), house.view(bare=True)
    await until(lambda: house.hub.receivers(TOPIC) == 2)
    await house.say("a")
    await full.hears("a")
    await bare.hears("a")

    assert full.named == [("news.said?room=1", "a")]
    assert bare.named == [("said", "a")]


async def test_events_reach_the_subscribers_and_no_others(house: House) -> None:
    """Each connection gets the events of its topics, in the order of publishing."""
    both = await house.viewing(topics=(TOPIC, OTHER))
    one = await house.viewing(topics=(OTHER,))
    await house.say("a")
    await house.say("b", topic=OTHER)
    await house.say("c")
    await both.hears("a", "b", "c")
    await one.hears("b")

    assert house.hub.receivers(TOPIC) == 1
    assert house.hub.receivers(OTHER) == 2
    assert house.hub.receivers("unknown") == 0
    assert set(house.hub.subscribers[OTHER].connections) == {both.connection, one.connection}


async def test_refresh_renders_once_for_all_viewers(house: House) -> None:
    """Fifty viewers, with different pages, cost one render."""
    viewers = [await house.viewing("list") for _ in range(25)]
    viewers += [await house.viewing("list", "count") for _ in range(25)]
    await house.change("list", "1")
    for viewer in viewers:
        await viewer.sees("list", "1")

    assert house.pages.rendered == ["list"]


async def test_process_without_viewers_renders_nothing(house: House) -> None:
    """Not for a topic that no page ever showed, nor for a fragment that no page shows."""
    await house.viewing("count")
    await house.paint("count")
    await house.change("list", "1")
    await house.refresh("list", topic=OTHER)
    await house.quiet()

    assert house.pages.rendered == ["count"]


@pytest.mark.parametrize("viewers", [1, 2, 3, 5])
async def test_batch_in_slices_reaches_all_in_order(
    house: House, viewers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that is fed in several turns of the loop overtakes nothing and skips none."""
    monkeypatch.setattr(batcher_module, "SLICE", 2)
    streams = [await house.viewing("list") for _ in range(viewers)]
    for number in range(8):
        await house.say(str(number))
        await asyncio.sleep(0)
    late = house.view("list")
    await house.say("8")
    for stream in streams:
        await stream.hears(*"012345678")
    await late.hears("8")


async def test_slow_client_ends_alone(house: House) -> None:
    """Over its bound a stream ends with a hint to come back; the others notice nothing."""
    slow = house.view(is_stalled=True)
    fast = await house.viewing()
    await until(lambda: house.hub._groups.of(slow.connection))
    await until(lambda: not getattr(house.hub._groups.of(slow.connection), "is_holding", False))
    # On a busy machine several of them may be in the one write that it takes.
    texts = [str(number) for number in range(3 * CONFIG.pending_events)]
    for text in texts:
        await house.say(text)
        await house.quiet()
    slow.flows.set()
    await until(lambda: any(name == "sse-holdoff" for name, _ in slow.named))

    assert slow.connection.is_ended
    await fast.hears(*texts)


async def test_personal_fragment_is_fetched_by_each_viewer(house: House) -> None:
    """The process renders nothing; every stream has a message of its own that fetches."""
    viewers = [await house.viewing("mine") for _ in range(3)]
    await house.viewing("list")
    await house.refresh("mine")
    await until(lambda: all(viewer.events for viewer in viewers))

    for viewer in viewers:
        (event,) = viewer.events
        assert 'hx-get="/fetch"' in event.data
        assert "delay:3ms" in event.data  # by how many are viewing
        assert viewer.position.fragments == viewer.position.events
    assert house.pages.rendered == []


async def test_nested_fragment_reaches_pages_that_show_its_parent(house: House) -> None:
    """A fragment that came inside another is kept current where that one is shown."""
    viewer = await house.viewing("outer")
    house.pages.nested["outer"] = "count"
    await house.change("outer", "1")
    await until(lambda: viewer.shown)
    await house.change("count", "2")
    await viewer.sees("count", "2")
