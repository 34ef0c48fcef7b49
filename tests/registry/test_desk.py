"""The desk: what is asked of the connections of a process is checked, and presence follows it."""

import asyncio
import json
from typing import Any

import pytest

from quart_sse import ParameterError
from quart_sse.channels import Channel, Topic
from quart_sse.registry.desk import check_retry, name_of
from tests.support.sites import HeldReplays, Site
from tests.support.streams import open_stream, until


@pytest.mark.parametrize("retry", [-1, True, float("nan"), float("inf"), "5", b"5", [1]])
def test_time_to_come_back_is_a_number_of_seconds(retry: Any) -> None:
    """None means never."""
    assert check_retry(None) is None
    assert check_retry(0) == 0
    with pytest.raises(ParameterError, match="retry"):
        check_retry(retry)


def test_topics_and_channels_are_given_by_themselves_or_by_name() -> None:
    """Each where it belongs."""
    site = Site("memory://")

    assert name_of(site.room(1), Topic) == name_of("rooms?room=1", Topic) == "rooms?room=1"
    assert name_of(site.rooms, Channel) == "rooms"
    assert name_of(None, Topic) is None
    for given, kind in ((site.rooms, Topic), (site.room(1), Channel), (7, str), (b"x", Topic)):
        with pytest.raises(ParameterError, match=f"is no {kind.__name__}"):
            name_of(given, kind)


async def _is_left(topic: Topic) -> None:
    """Wait until no connection is present on a topic."""
    async with asyncio.timeout(5):
        while (await topic.presence()).connections:  # noqa: ASYNC110 - the broker has no event
            await asyncio.sleep(0)


async def test_presence_of_a_topic_that_the_next_stream_lacks_is_taken_back(site: Site) -> None:
    """Its tab has closed, so the connection was taken to be without it."""
    client = site.client()
    one, other = await site.page(1, client=client), await site.page(2, client=client)
    async with open_stream(client, f"{one}&{other.partition('?')[2]}") as stream:
        secret = json.loads((await stream.next("sse-open")).data)["secret"]
        (handle,) = site.sse.connections
        assert (await site.room(1).presence()).connections == 1
        async with open_stream(client, f"{other}&replaces={secret}") as following:
            await following.next("sse-open")
            assert not await handle.unsubscribe(site.room(1))

            await _is_left(site.room(1))
            assert (await site.room(2).presence()).connections == 1


@pytest.mark.parametrize("end", ["cancelled", "all close"])
async def test_presence_follows_an_unsubscribe_that_is_not_finished(
    site: Site, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """It waits for streams that join, and its caller or all streams may go meanwhile."""
    streams = site.app.extensions["quart_sse"].connections
    client = site.client()
    url = await site.page(1, 2, client=client)

    async def follow(secret: str) -> None:
        async with open_stream(client, f"{url}&replaces={secret}") as stream:
            await stream.rest()

    async with open_stream(client, url) as stream:
        secret = json.loads((await stream.next("sse-open")).data)["secret"]
        (handle,) = site.sse.connections
        assert (await site.room(1).presence()).connections == 1
        held = HeldReplays(site, monkeypatch)
        tasks = [asyncio.create_task(follow(secret))]
        await until(lambda: len(held.waiting) == 1)
        call = asyncio.create_task(handle.unsubscribe(site.room(1)))
        await until(lambda: len(streams.listening("rooms?room=1")) == 1)
        if end == "cancelled":
            call.cancel()
            await asyncio.wait([call])
            held.waiting[0].set()
            await until(lambda: not streams.listening("rooms?room=1"))
            await _is_left(site.room(1))
        else:
            tasks.append(asyncio.create_task(follow(secret)))
            await until(lambda: len(held.waiting) == 2)
            held.waiting[0].set()
            await until(lambda: not streams.listening("rooms?room=1"))
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await until(lambda: not streams)
    await asyncio.wait([call])
    await _is_left(site.room(1))
