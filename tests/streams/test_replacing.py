"""Replacing: which open stream a new one takes the place of, and what lasts of their connection."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import pytest
from quart import Response
from quart.testing import QuartClient

from quart_sse.hub import Connections
from tests.support.sites import Site, heard, serving
from tests.support.streams import Stream, open_stream, until


async def test_only_who_knows_the_secret_takes_the_place() -> None:
    """Of the same user, browser and root path."""
    site = Site("memory://")
    async with serving(site):
        ada, bob = site.client("ada"), site.client("bob")
        async with open_stream(ada, await site.page(1, client=ada)) as first:
            opened = json.loads((await first.next("sse-open")).data)
            for client, secret, is_same in (
                (ada, opened["secret"], True),
                (ada, opened["id"], False),
                (ada, "", False),
                (ada, opened["secret"] + "x", False),
                (ada, "%C3%A9" * 20, False),
                (ada, "x" * 5000, False),
                (bob, opened["secret"], False),
                (site.client(), opened["secret"], False),
            ):
                url = f"{await site.page(1, client=client)}&replaces={secret}"
                async with open_stream(client, url) as second:
                    again = json.loads((await second.next("sse-open")).data)
                    assert (again["id"] == opened["id"]) is is_same
                    assert len(site.sse.connections) == (1 if is_same else 2)
                await until(lambda: len(site.app.extensions["quart_sse"].connections) == 1)


async def test_stream_that_has_ended_is_not_replaced() -> None:
    """Its connection has ended with it."""
    site = Site("memory://")
    async with serving(site):
        client = site.client("ada")
        url = await site.page(1, client=client)
        async with open_stream(client, url) as first:
            opened = json.loads((await first.next("sse-open")).data)
            (handle,) = site.sse.connections
            await handle.close(retry=0)
            async with open_stream(client, f"{url}&replaces={opened['secret']}") as second:
                again = json.loads((await second.next("sse-open")).data)

    assert again["id"] != opened["id"]


async def test_stream_that_is_replaced_makes_room_at_its_address() -> None:
    """Tabs that come and go at a full address replace their stream; a new connection waits."""
    site = Site("memory://", max_per_address=1)
    async with serving(site):
        client, other = site.client("ada"), site.client("bob")
        url, secret, names = await site.page(1, client=client), "", []
        async with AsyncExitStack() as stack:
            for _ in range(3):
                context = open_stream(client, f"{url}&replaces={secret}", address="192.0.2.7")
                stream = await stack.enter_async_context(context)
                opened = await stream.next()
                secret = json.loads(opened.data)["secret"] if opened.event == "sse-open" else ""
                names.append(opened.event)
            url = await site.page(1, client=other)
            async with open_stream(other, url, address="192.0.2.7") as stream:
                names.append((await stream.next()).event)

    assert names == ["sse-open", "sse-open", "sse-holdoff", "sse-holdoff"]


def _has(connections: Connections, count: int) -> bool:
    return len(connections) == count


@pytest.mark.parametrize("count", [3, 4])
async def test_streams_may_leave_in_any_order(count: int) -> None:
    """The connection is open until the last of them has left."""
    site = Site("memory://")
    async with serving(site):
        client = site.client("ada")
        url = await site.page(1, client=client)
        streams = []
        secret = ""
        for _ in range(count):
            context = open_stream(client, f"{url}&replaces={secret}")
            stream = await context.__aenter__()
            secret = json.loads((await stream.next("sse-open")).data)["secret"]
            streams.append(context)
        (handle,) = site.sse.connections
        inner = site.app.extensions["quart_sse"].connections
        # The middle, the newest, the oldest, and so on.
        for left in range(count - 1, -1, -1):
            at = {0: left // 2, 1: left, 2: 0}[left % 3]
            await streams.pop(at).__aexit__(None, None, None)
            await until(partial(_has, inner, left))
            assert handle.is_open == (left > 0)
            assert len(site.sse.connections) == min(left, 1)


class Script:
    """What our script keeps of the pages of one browser: tokens, positions, the secret.

    Args:
        client: The browser.
    """

    def __init__(self, client: QuartClient) -> None:
        self.client = client
        self.secret = ""
        self.tokens: list[str] = []
        self.positions: list[str] = []
        self.new: set[int] = set()

    def load(self, url: str) -> None:
        """Begin with a page, by the URL of its connect element."""
        _, token, since = re.split(r"\?|&since=", url)
        self.new.add(len(self.tokens))
        self.tokens.append(token)
        self.positions.append(since)

    @asynccontextmanager
    async def stream(self) -> AsyncIterator[Stream]:
        """Open the next stream, behind its ``sse-open``."""
        pairs = zip(self.tokens, self.positions, strict=True)
        numbers = range(len(self.tokens))
        first = [f"first={f'7{number}' if number in self.new else ''}" for number in numbers]
        query = "&".join([*(f"{token}&since={since}" for token, since in pairs), *first])
        url = f"/sse?{query}&replaces={self.secret}"
        async with open_stream(self.client, url) as stream:
            self.read((await stream.next("sse-open")).data)
            yield stream

    def read(self, data: str) -> dict[str, Any]:
        """Read what an ``sse-open`` says."""
        opened: dict[str, Any] = json.loads(data)
        self.secret, self.new = opened["secret"], set()
        self.names: list[list[str]] = opened["names"]
        self.masks: list[str] = opened.get("masks", [""] * len(self.tokens))
        return opened

    async def quiet(self, site: Site, stream: Stream) -> list[tuple[str, str]]:
        """Read up to an event for everyone, and keep the positions; return what came before."""
        await site.sse.everyone.publish("quiet")
        events: list[tuple[str, str]] = []
        while not events or events[-1][0] != "everyone.quiet":
            event = await stream.next()
            events.append((event.event, event.data))
            if event.event == "sse-open":
                self.read(event.data)
        self.positions = [stream.last_id + mask for mask in self.masks]
        return events[:-1]


async def loaded(site: Site, *pages: tuple[int, ...], who: str | None = "ada") -> Script:
    """Return the script of a browser with pages of some rooms each."""
    script = Script(site.client(who))
    for rooms in pages:
        script.load(await site.page(*rooms, client=script.client))
    return script


@pytest.mark.parametrize("pages", [[(1, 2)], [(1, 2), (3,)]])
async def test_topic_that_was_taken_off_stays_off_until_a_page_is_loaded(
    pages: list[tuple[int, ...]],
) -> None:
    """Then pages that had it are told what they may have missed."""
    site = Site("memory://")
    async with serving(site):
        script = await loaded(site, *pages)
        async with script.stream() as stream:
            (handle,) = site.sse.connections
            assert await handle.unsubscribe(site.room(1))
            await site.room(1).publish("said", "missed")
            await script.quiet(site, stream)
            assert "rooms?room=1" not in script.names[0]
            async with script.stream() as following:
                await site.room(1).publish("said", "missed, too")
                assert await script.quiet(site, following) == []
                assert site.room(1) not in handle.topics
            script.load(await site.page(1, client=script.client))
            async with script.stream() as following:
                events = await script.quiet(site, following)
                await site.room(1).publish("said", "next")
                events += await script.quiet(site, following)

    # The first page has missed events, and no position says how many.
    assert [name for name, _ in events] == ["sse-reset", "rooms.said?room=1"]
    assert events[-1][1] == "next"


async def test_page_of_a_closed_topic_gets_none_of_it_again() -> None:
    """Other tabs that come and go do not bring it back."""
    site = Site("memory://")
    async with serving(site):
        script = await loaded(site, (1, 2))
        async with script.stream() as stream:
            await site.room(1).close()
            await stream.next("sse-refused")
            script.read((await stream.next("sse-open")).data)
            await script.quiet(site, stream)
            script.load(await site.page(3, client=script.client))
            async with script.stream() as following:
                await site.room(1).publish("said", "no")
                await site.room(3).publish("said", "yes")
                events = await script.quiet(site, following)

    assert events == [("rooms.said?room=3", "yes")]
    assert script.masks == ["@6", ""]


@pytest.mark.parametrize("count", [1, 2])
async def test_events_of_a_user_are_not_passed_while_signed_out(count: int) -> None:
    """However many pages there are, each is told."""
    site = Site("memory://")
    async with serving(site):
        script = await loaded(site, *[(number,) for number in range(count)])
        async with script.stream() as stream:
            await script.quiet(site, stream)
        script.client.delete_cookie("localhost", "who")
        async with script.stream() as stream:
            await site.sse.user("ada").publish("saved", 1)
            await script.quiet(site, stream)
        script.client.set_cookie("localhost", "who", "ada")
        async with script.stream() as stream:
            events = await script.quiet(site, stream)
            await script.quiet(site, stream)
        async with script.stream() as stream:
            assert await script.quiet(site, stream) == []

    assert [name for name, _ in events] == ["sse-reset"]


async def test_topic_that_was_refused_is_granted_later() -> None:
    """Of several pages, the one that was refused is told; nothing is passed over silently."""
    site = Site("memory://")
    allowed: set[str] = set()
    secrets = site.sse.channel("secrets", "/secrets/<name>")

    @secrets.authorize
    def may(name: str) -> bool:
        return name in allowed

    async with serving(site):
        script = await loaded(site, (1,))
        topics = [secrets.topic(name="a"), secrets.topic(name="b")]
        site.shown = topics
        script.load(await site.page(client=script.client))
        allowed.add("b")
        async with script.stream() as stream:
            await script.quiet(site, stream)
            await topics[0].publish("said", "missed")
            await topics[1].publish("said", "heard")
            events = await script.quiet(site, stream)
        assert events == [("secrets.said?name=b", "heard")]
        assert script.masks == ["", "@6"]
        allowed.add("a")
        async with script.stream() as stream:
            events = await script.quiet(site, stream)

    assert events == [("sse-reset", '["secrets?name=a"]')]
    assert script.masks == ["", ""]


async def test_what_the_app_has_added_goes_on_with_its_channel() -> None:
    """The next stream belongs to the audience of the added topic's channel, and nothing is lost."""
    site = Site("memory://")
    async with serving(site):
        script = await loaded(site, (1,))
        async with script.stream() as stream:
            (handle,) = site.sse.connections
            await handle.subscribe(site.news.topic())
            await script.quiet(site, stream)
            async with script.stream() as following:
                await site.news.everyone.publish("said", 1)
                await site.news.topic().publish("said", 2)
                events = await script.quiet(site, following)
            await site.news.topic().publish("said", 3)
            script.load(await site.page(2, client=script.client))
            async with script.stream() as third:
                events += await script.quiet(site, third)

    assert events == [("news.said", "1"), ("news.said", "2"), ("news.said", "3")]


async def test_what_is_added_for_nobody_s_page_is_no_loss() -> None:
    """The pages of a visitor who has signed in meanwhile are sent none of it."""
    site = Site("memory://")
    async with serving(site):
        script = await loaded(site, (1,), who=None)
        script.load(await site.page(2, client=script.client))
        script.client.set_cookie("localhost", "who", "ada")
        async with script.stream() as stream:
            (handle,) = site.sse.connections
            await handle.subscribe(site.room(9))
            await site.room(9).publish("said", "x")
            await script.quiet(site, stream)
            async with script.stream() as following:
                assert await script.quiet(site, following) == []
                assert site.room(9) in handle.topics


async def test_stream_of_a_view_is_not_replaced_by_a_page() -> None:
    """Its hooks are its own, and would not be called."""
    site = Site("memory://")

    @site.app.get("/view")
    async def view() -> Any:
        return await site.sse.stream(site.room(1), site.room(2))

    async with serving(site):
        client = site.client()
        async with open_stream(client, "/view") as stream:
            secret = json.loads((await stream.next("sse-open")).data)["secret"]
            url = await site.page(1, client=client)
            async with open_stream(client, f"{url}&replaces={secret}") as other:
                assert json.loads((await other.next("sse-open")).data)["secret"] != secret
                assert len(site.sse.connections) == 2


async def test_next_stream_of_a_full_process_opens() -> None:
    """The one that it takes the place of makes room; a connection of its own waits."""
    site = Site("memory://", max_connections=1)
    async with serving(site):
        script = await loaded(site, (1,))
        async with script.stream():
            script.load(await site.page(2, client=script.client))
            async with script.stream() as following:
                await site.room(2).publish("said", "x")
                assert (await following.next("rooms.said?room=2")).data == "x"
                other = site.client()
                async with open_stream(other, await site.page(1, client=other)) as stream:
                    assert (await stream.next()).data == "overloaded"


async def _named(site: Site) -> QuartClient:
    """Return the browser of ada, with the cookie by which it is known."""
    client = site.client("ada")
    async with open_stream(client, await site.page(1, client=client)) as stream:
        name, _, value = stream.headers["set-cookie"].partition(";")[0].partition("=")
    client.set_cookie("localhost", name, value)
    await until(lambda: not site.app.extensions["quart_sse"].connections)
    return client


@pytest.mark.parametrize("limit", ["max_per_browser", "max_per_identity"])
async def test_replacing_one_of_two_allowed_streams_evicts_no_other(limit: str) -> None:
    """A tab that comes or goes costs the user's other window nothing."""
    site = Site("memory://", **{limit: 2})
    async with serving(site):
        client = await _named(site)
        url = await site.page(1, client=client)
        async with open_stream(client, url) as other, open_stream(client, url) as first:
            await other.next("sse-open")
            opened = json.loads((await first.next("sse-open")).data)
            async with open_stream(client, f"{url}&replaces={opened['secret']}") as second:
                await second.next("sse-open")
                await site.room(1).publish("said", "x")

                for stream in (other, first, second):
                    assert await heard(stream, 1) == [("rooms.said?room=1", "x")]


@pytest.mark.parametrize(
    ("retry", "last"),
    [(None, ("sse-stop", "closed")), (5.0, ("sse-holdoff", "paused"))],
    ids=["for good", "for a time"],
)
@pytest.mark.parametrize("has_left", [False, True], ids=["open", "left"])
async def test_connection_that_is_closed_before_its_next_stream_opens_stays_closed(
    retry: float | None, last: tuple[str, str], has_left: bool
) -> None:
    """The app closes the connection, which is the same for both streams, at any time."""
    site = Site("memory://")
    replaced: list[tuple[str, Stream]] = []

    @site.app.after_request
    async def close(response: Response) -> Response:
        if response.mimetype == "text/event-stream" and replaced:
            id, stream = replaced.pop()
            assert await site.sse.close(id, retry=retry)
            if has_left:
                await stream.connection.disconnect()
                await until(lambda: not site.app.extensions["quart_sse"].connections)
        return response

    async with serving(site):
        client = site.client("ada")
        url = await site.page(1, client=client)
        async with open_stream(client, url) as first:
            opened = json.loads((await first.next("sse-open")).data)
            (handle,) = site.sse.connections
            replaced.append((handle.id, first))
            async with open_stream(client, f"{url}&replaces={opened['secret']}") as second:
                rest = [(event.event, event.data) for event in await second.rest()]

        assert rest[-1] == last
        assert "sse-open" not in dict(rest)
        assert not handle.is_open


@pytest.mark.parametrize("how", ["topic", "channel", "again"])
async def test_page_that_lists_what_the_app_has_added_does_not_hide_it_from_others(
    how: str,
) -> None:
    """What other pages have not read yet comes over the next stream, once for each page."""
    site = Site("memory://")
    topic = site.news.topic() if how == "channel" else site.room(5)
    async with serving(site):
        script = await loaded(site, (1,))
        async with script.stream() as stream:
            (handle,) = site.sse.connections
            await handle.subscribe(topic)
            if how == "again":
                await handle.subscribe(topic)
            await script.quiet(site, stream)
            # On its way over a slow network.
            await topic.publish("said", "one")
            await site.news.everyone.publish("said", "two")
            site.shown = [topic]
            script.load(await site.page(client=script.client))
            async with script.stream() as following:
                events = await script.quiet(site, following)
                assert await script.quiet(site, following) == []

    expected = ["one", "two"] if how == "channel" else ["one"]
    assert [data for _, data in events] == expected


async def test_topic_that_the_app_adds_begins_there_on_the_next_stream_too() -> None:
    """Nothing comes of before, nor of while it was taken off; what is on its way does."""
    site = Site("memory://")
    async with serving(site):
        script = await loaded(site, (1,))
        async with script.stream() as stream:
            (handle,) = site.sse.connections
            await script.quiet(site, stream)
            await site.room(5).publish("said", "before")
            await site.news.everyone.publish("said", "before")
            await handle.subscribe(site.room(5))
            await handle.unsubscribe(site.room(5))
            await site.room(5).publish("said", "while it was off")
            await handle.subscribe(site.room(5))
            await handle.subscribe(site.news.topic())
            await site.room(5).publish("said", "after")
            script.load(await site.page(2, client=script.client))
            async with script.stream() as following:
                events = await script.quiet(site, following)

    assert [data for _, data in events] == ["after"]


@pytest.mark.parametrize("announces", [True, False])
async def test_new_browser_shows_its_cookie_at_once_where_it_counts(announces: bool) -> None:
    """Our script is asked once: what it replaces then says that it comes again."""
    site = Site("memory://")
    hall = site.sse.channel("hall", "/hall", public=True, presence=announces)
    site.shown = [hall.topic()]
    async with serving(site):
        with_cookies, without = site.client(), QuartClient(site.app, use_cookies=False)
        for client in (with_cookies, without):
            url = await site.page(client=client)
            async with open_stream(client, url) as stream:  # of a program, or htmx alone
                assert "again" not in json.loads((await stream.next("sse-open")).data)
        for client in (site.client(), without):
            url, secret, asked = await site.page(client=client), "", []
            for _ in range(3):
                async with open_stream(client, f"{url}&replaces={secret}") as stream:
                    opened = json.loads((await stream.next("sse-open")).data)
                    asked.append(opened.get("again", False))
                    secret = opened["secret"]
                    if client is not without:
                        client.set_cookie("localhost", *_cookie(stream))
            assert asked == [announces, False, False]


def _cookie(stream: Stream) -> tuple[str, str]:
    """Return name and value of the cookie that came with a stream, or of none."""
    name, _, value = stream.headers.get("set-cookie", "x=y").partition(";")[0].partition("=")
    return name, value
