"""Replacing: which open stream a new one takes the place of."""

import json
from functools import partial

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


def _has(connections: Connections, count: int) -> bool:
    return len(connections) == count


@pytest.mark.parametrize("count", [3, 6])
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
