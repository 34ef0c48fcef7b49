"""Who is present in a process, and whom each connection counts as."""

from http.cookies import SimpleCookie

import pytest
from quart.testing import QuartClient

from tests.support.halls import Halls
from tests.support.streams import Stream, open_stream, until


def keep_cookie(client: QuartClient, stream: Stream) -> None:
    for morsel in SimpleCookie(stream.headers["set-cookie"]).values():
        client.set_cookie("localhost", morsel.key, morsel.value)


@pytest.mark.parametrize("topic", ["hall", "room"])
async def test_one_address_without_cookies_counts_once(site: Halls, topic: str) -> None:
    """Reloading without cookies makes no new people, another address does."""
    url = f"/sse/{topic}s/1"
    async with (
        open_stream(site.app, url, address="192.0.2.1"),
        open_stream(site.app, url, address="192.0.2.1"),
        open_stream(site.app, url, address="192.0.2.2"),
    ):
        present = await getattr(site, topic)(1).presence()

    assert (present.people, present.connections) == (2, 3)
    assert present.identities == frozenset()


@pytest.mark.parametrize("topic", ["hall", "room"])
async def test_first_stream_counts_as_the_browser_that_keeps_the_cookie(
    site: Halls, topic: str
) -> None:
    """The two are one person; others of the address are another."""
    url = f"/sse/{topic}s/1"
    client = QuartClient(site.app)
    async with (
        open_stream(client, url) as first,
        open_stream(site.app, url),
        open_stream(site.app, url),
    ):
        keep_cookie(client, first)
        async with open_stream(client, url):
            present = await getattr(site, topic)(1).presence()

    assert (present.people, present.connections) == (2, 4)


async def test_broker_records_no_address(site: Halls) -> None:
    """It keeps a keyed hash, which no identity can equal."""
    async with open_stream(site.app, "/sse/halls/1", address="192.0.2.1"):
        await until(lambda: site.entered)
        ((who,),) = (members.values() for members in site.entered[0].values())
        async with site.view(who=who) as (_, handle):
            await handle.subscribe(site.hall(1))
            present = await site.hall(1).presence()

    assert "192.0.2.1" not in str(site.entered)
    assert who.startswith("@")
    assert present.people == 2
    assert present.identities == {who}


async def test_hash_of_an_address_needs_the_key(site: Halls) -> None:
    """Another app, or another data set of a broker where there is no key, has another one."""
    names = set()
    for key in ("one", "other", None):
        site.app.secret_key = key
        before = len(site.entered)
        async with open_stream(site.app, f"/sse/halls/{before}", address="192.0.2.1"):
            await until(lambda n=before: len(site.entered) > n)  # type: ignore[misc]
            names |= {
                who.partition(":")[0]
                for members in site.entered[before].values()
                for who in members.values()
            }

    assert len(names) == 3


async def test_closed_connection_counts_for_a_while(site: Halls) -> None:
    """On the topics that it had in the end; one that takes its place counts instead."""
    members = site.tracker._members
    members._linger = 10.0
    connection = site.connect("halls?hall=1", "rooms?room=1", identity="ada", is_heard=False)
    site.app.extensions["quart_sse"].connections.leave(connection)
    members.leave(connection, 5.0)

    assert members.of("halls?hall=1") == members.of("rooms?room=1") == {connection.id: "+ada"}
    assert members.who("halls?hall=1", connection.id) == "+ada"
    assert members.who("halls?hall=2", connection.id) is None
    assert members.next_expiry == 15.0
    assert members.take_expired(14.9) is None
    assert members.take_expired(15.0) is connection
    assert members.take_expired(15.0) is None
    assert members.who("halls?hall=1", connection.id) is None
    assert members.of("halls?hall=1") == {}
    assert members.next_expiry == float("inf")
