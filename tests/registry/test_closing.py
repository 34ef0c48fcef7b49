"""Closing: topics and channels are taken off the open connections, in every process."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest
from quart import Response, request

from quart_sse import Channel
from quart_sse.registry.closing import REMEMBERED
from tests.support.sites import HeldReplays, Site, heard
from tests.support.streams import open_stream, until


class Shop:
    """A channel whose clients are judged one at a time, and wait for the answer."""

    def __init__(self, site: Site) -> None:
        self.channel: Channel = site.sse.channel("shop", "/shop")
        self.asked = 0
        self.answers = asyncio.Event()
        self.answers.set()
        self._app = site.app

        @self.channel.authorize
        async def may() -> bool:
            self.asked += 1
            await self.answers.wait()
            return True

    def enter(self) -> "asyncio.Task[list[tuple[str, str]]]":
        """Open a stream, and return what it is sent until it ends."""
        return asyncio.create_task(self._read())

    async def _read(self) -> list[tuple[str, str]]:
        async with open_stream(self._app, "/sse/shop") as stream:
            return [(event.event, event.data) for event in await stream.rest()]


async def test_closed_topic_goes_and_the_stream_goes_on(site: Site) -> None:
    """The client is sent what was refused, and what is left goes on."""
    async with site.view(1, 2) as (stream, handle):
        await site.room(1).publish("said", "last")
        await site.room(1).close()
        refused = json.loads((await stream.next("sse-refused")).data)
        await until(lambda: handle.topics == (site.room(2),))
        await site.room(1).publish("said", "lost")
        await site.room(2).publish("said", "still")

        assert refused == {"tokens": [], "topics": ["rooms?room=1"], "fragments": []}
        assert await heard(stream, 1) == [("rooms.said?room=2", "still")]


async def test_stream_without_a_topic_ends(site: Site) -> None:
    """The client does not come back; a later one is judged as ever."""
    async with site.view(1) as (stream, _):
        await site.room(1).close()
        rest = [(event.event, event.data) for event in await stream.rest()]
    async with site.view(1) as (stream, handle):
        await site.room(1).publish("said", "again")

        assert handle.topics == (site.room(1),)
        assert ("rooms.said?room=1", "again") in await heard(stream, 1)
    assert rest[0][0] == "sse-refused"
    assert rest[-1] == ("sse-stop", "closed")


async def test_whole_channel_is_closed(site: Site) -> None:
    """All its topics, and no other's."""
    async with site.view(1, 2) as (stream, _), open_stream(site.app, "/sse/news") as other:
        await site.rooms.close()
        rest = [event.event for event in await stream.rest()]
        await site.news.topic().publish("said", "still")

        assert (await other.next("said")).data == "still"
    assert rest.count("sse-refused") == 1
    assert rest[-1] == "sse-stop"


async def test_topic_is_closed_in_every_process(sites: tuple[Site, Site]) -> None:
    """Whichever closes it."""
    here, there = sites
    async with there.view(1) as (stream, _), here.view(2) as (_, other):
        await here.room(1).close()

        assert (await stream.rest())[-1].data == "closed"
        assert other.is_open


async def test_page_that_is_left_without_a_topic_learns_it(site: Site) -> None:
    """Other pages of the stream go on, also one that listens to no topic at all."""
    client = site.client("ada")
    pages = [await site.page(1, client=client), await site.page(client=client)]
    url = f"{pages[0]}&{pages[1].partition('?')[2]}"
    async with open_stream(client, url) as stream:
        await stream.next("sse-open")
        await site.room(1).close()
        names = json.loads((await stream.next("sse-open")).data)["names"]
        await site.sse.user("ada").publish("hello")

        assert names == [[], ["everyone", "connection", "user"]]
        assert await heard(stream, 1) == [("user.hello", "null")]


async def test_position_does_not_pass_a_closed_topic(site: Site) -> None:
    """If it is granted again, its events start at the page, as for one that was refused."""
    client = site.client()
    url = await site.page(1, 2, client=client)
    async with open_stream(client, url) as stream:
        await stream.next("sse-open")
        await site.room(1).close()
        await stream.next("sse-refused")
        await site.room(1).publish("said", "missed")
        await site.room(2).publish("said", "seen")
        assert await heard(stream, 1) == [("rooms.said?room=2", "seen")]
        last = stream.last_id
    async with open_stream(client, url, {"Last-Event-ID": last}) as stream:
        assert await heard(stream, 1) == [("rooms.said?room=1", "missed")]


async def test_stream_that_joins_is_told_what_was_closed(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When it has its replay, so that its client knows what was taken off."""
    client = site.client()
    url = await site.page(1, 2, client=client)
    held = HeldReplays(site, monkeypatch)

    async def read() -> list[tuple[str, str]]:
        async with open_stream(client, url) as stream:
            return [(event.event, event.data) for event in await stream.rest()]

    task = asyncio.create_task(read())
    await until(lambda: held.waiting)
    await site.rooms.close()
    (connection,) = site.app.extensions["quart_sse"].connections
    await until(lambda: connection.refused)
    held.waiting[0].set()
    told = [(name, json.loads(data)) for name, data in await task if name == "sse-refused"]

    topics = ["rooms?room=1", "rooms?room=2"]
    assert told == [("sse-refused", {"tokens": [], "topics": topics, "fragments": []})]


async def test_topic_that_is_subscribed_after_its_closing_stays(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also on a stream that joins all the while, and follows the closing later."""
    client = site.client()
    url = await site.page(1, 2, client=client)

    async def follow(secret: str) -> list[tuple[str, str]]:
        async with open_stream(client, f"{url}&replaces={secret}") as stream:
            return await heard(stream, 1)

    async with open_stream(client, url) as stream:
        secret = json.loads((await stream.next("sse-open")).data)["secret"]
        (handle,) = site.sse.connections
        held = HeldReplays(site, monkeypatch)
        task = asyncio.create_task(follow(secret))
        await until(lambda: held.waiting)
        await site.room(1).close()
        await stream.next("sse-refused")
        await stream.next("sse-open")
        call = asyncio.create_task(handle.subscribe(site.room(1)))
        await stream.next("sse-open")
        held.waiting[0].set()
        assert await call
        await site.room(1).publish("said", "x")

        assert await heard(stream, 1) == [("rooms.said?room=1", "x")]
        assert await task == [("rooms.said?room=1", "x")]
        assert site.room(1) in handle.topics


async def test_topics_with_connections_are_listed(site: Site) -> None:
    """With their number; a topic that nobody listens to goes by itself."""
    assert site.rooms.topics() == {}
    async with site.view(1, 2), site.view(2):
        assert site.rooms.topics() == {site.room(1): 1, site.room(2): 2}
        assert site.news.topics() == {}
        assert set(site.sse.channels) == {"rooms", "news"}
    await until(lambda: site.rooms.topics() == {})


async def _close_topic(shop: Channel) -> None:
    await shop.topic().close()


async def _close_channel(shop: Channel) -> None:
    await shop.close()


@pytest.mark.parametrize("close", [_close_topic, _close_channel], ids=["topic", "channel"])
async def test_stream_that_was_judged_before_the_closing_does_not_stay(
    site: Site, close: Callable[[Channel], Awaitable[None]]
) -> None:
    """Its client comes back and is judged again, by what is true then."""
    shop = Shop(site)
    async with open_stream(site.app, "/sse/shop") as early:
        shop.answers.clear()
        late = shop.enter()
        await until(lambda: shop.asked == 2)
        await close(shop.channel)
        await early.rest()  # the process knows of the closing
        shop.answers.set()

        assert await late == [("sse-holdoff", "recheck")]
    async with open_stream(site.app, "/sse/shop") as stream:
        await stream.next("sse-open")
        await shop.channel.topic().publish("said", "again")
        assert (await stream.next("said")).data == "again"


async def test_closing_means_no_stream_of_other_topics(site: Site) -> None:
    """Such a stream stays, although its client was judged before."""
    shop = Shop(site)
    async with site.view(1) as (early, _):
        shop.answers.clear()

        async def late() -> str:
            async with open_stream(site.app, "/sse/shop") as stream:
                await stream.next("sse-open")
                await shop.channel.topic().publish("said", "still")
                return (await stream.next("said")).data

        task = asyncio.create_task(late())
        await until(lambda: shop.asked == 1)
        await site.news.close()
        await site.room(1).close()
        await early.rest()
        shop.answers.set()

        assert await task == "still"


async def test_more_closings_than_are_remembered_mean_every_stream(site: Site) -> None:
    """One that was judged before the oldest of them may listen to what is forgotten."""
    shop = Shop(site)
    shop.answers.clear()
    late = shop.enter()
    await until(lambda: shop.asked == 1)
    await shop.channel.close()
    async with site.view(REMEMBERED) as (early, _):
        for number in range(1, REMEMBERED + 1):
            await site.room(number).close()
        await early.rest()
        shop.answers.set()

        assert await late == [("sse-holdoff", "recheck")]
    async with site.view(7) as (_, handle):  # which is judged after all of them
        assert handle.topics == (site.room(7),)


async def test_page_with_a_closed_topic_among_others_is_judged_again(site: Site) -> None:
    """Also if its judgement is over, and the server has yet to send its first bytes."""
    waits, goes_on = asyncio.Event(), asyncio.Event()

    @site.app.after_request
    async def hold(response: Response) -> Response:
        if "held" in request.args:
            waits.set()
            await goes_on.wait()
        return response

    async def read() -> list[tuple[str, str]]:
        async with open_stream(client, f"{url}&held=1") as stream:
            return [(event.event, event.data) for event in await stream.rest()]

    client = site.client("ada")
    url = await site.page(1, 2, client=client)
    async with site.view(2) as (early, _):
        late = asyncio.create_task(read())
        await waits.wait()
        await site.room(2).close()
        await early.rest()
        goes_on.set()

        assert (await late)[-1] == ("sse-holdoff", "recheck")
