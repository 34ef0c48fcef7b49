"""Connections in hand, as a browser has them: tabs that come and go, users, everyone, reloads."""

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest
from playwright.async_api import BrowserContext, Page, expect

from tests.support.browsers import open_tab
from tests.support.servers import Server, serve_pages, until_so

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]


@pytest.fixture(params=[2, 4], ids=["htmx2", "htmx4"])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    """A server of either htmx."""
    async with serve_pages("connections", request.param) as server:
        yield server


@pytest.fixture
async def one() -> AsyncIterator[Server]:
    """A server, where the version of htmx makes no difference."""
    async with serve_pages("connections", 4) as server:
        yield server


async def do(server: Server, what: str, data: object = None) -> None:
    """Do something on the server."""
    answer = await server.post(f"/do/{what}?data={quote(json.dumps(data))}")
    assert b" 200 " in answer.splitlines()[0], answer


async def state(server: Server) -> Any:
    """Return what the server says of its connections."""
    return await server.get_json("/state")


async def until_state(server: Server, **expected: int) -> Any:
    """Wait until the server has so many of something."""

    async def is_so() -> bool:
        told = await state(server)
        counts = {
            name: told[name] if isinstance(told[name], int) else len(told[name])
            for name in expected
        }
        return counts == expected

    await until_so(is_so)
    return await state(server)


async def sign_in(context: BrowserContext, server: Server, user: str) -> None:
    """Sign in a browser's user."""
    page = await context.new_page()
    await page.goto(f"http://127.0.0.1:{server.port}/as/{user}")
    await page.close()


async def hears(page: Page, *texts: str) -> None:
    """Wait until a page has heard as much, and check that it is this."""
    await page.wait_for_function(f"() => got.length >= {len(texts)}")
    assert await page.evaluate("() => got") == list(texts)


async def test_second_tab_opens_and_closes(context: BrowserContext, server: Server) -> None:
    """The connection stays the same, with its id, its topics and without a hook being called."""
    first = await open_tab(context, server, "/room/1")
    (before,) = (await state(server))["connections"]
    await do(server, "subscribe")

    second = await open_tab(context, server, "/room/2")
    await until_state(server, connections=1, streams=1)
    (during,) = (await state(server))["connections"]
    await do(server, "send", "x")
    await do(server, "say", {"room": 99, "data": "y"})
    await hears(first, "hello room 1", "connection x", "99 y")
    await hears(second, "hello room 2", "connection x", "99 y")
    await second.close()

    async def is_alone() -> bool:
        return bool((await state(server))["connections"][0]["topics"] == before["topics"] + extra)

    extra = ["rooms?room=99"]
    await until_so(is_alone)
    after = await until_state(server, connections=1, streams=1)
    await do(server, "send", "z")
    await hears(first, "hello room 1", "connection x", "99 y", "connection z")

    assert before["topics"] == ["rooms?room=1"]
    assert during["topics"] == ["rooms?room=1", "rooms?room=2", "rooms?room=99"]
    assert before["id"] == during["id"] == after["connections"][0]["id"]
    assert after["noted"] == [["connect", before["id"]]]
    assert after["begun"] == ["1", "2"]
    await first.close()
    gone = await until_state(server, noted=2)
    assert gone["noted"][1] == ["disconnect", before["id"]]


async def test_stream_before_does_not_pass_what_the_next_one_brings_back(
    context: BrowserContext, one: Server
) -> None:
    """It goes on without a topic, while the next one was asked for with that topic again."""
    first = await open_tab(context, one, "/room/3?more=1")
    await hears(first, "hello room 3")
    await do(one, "take", 3)
    await do(one, "say", {"room": 3, "data": "missed"})
    await do(one, "hold")
    second = await context.new_page()
    await second.goto(f"http://127.0.0.1:{one.port}/room/3")
    await until_state(one, waiting=1)
    await do(one, "everyone", "x")
    await hears(first, "hello room 3", "everyone x")
    await do(one, "go-on")

    await first.wait_for_function("() => got.includes('said missed')")
    await do(one, "everyone", "y")
    await hears(first, "hello room 3", "everyone x", "said missed", "everyone y")


async def test_pages_of_many_topics_share_fewer_streams(
    context: BrowserContext, one: Server
) -> None:
    """A stream has 1,024 topics at most; the page that is too much opens another one."""
    await sign_in(context, one, "ada")  # so that lists are signed, and compressed
    pages = []
    for number in range(9):
        pages.append(await open_tab(context, one, f"/room/{1 + 128 * number}?more=127"))
        await until_state(one, streams=1 if number < 8 else 2)
    for number, page in enumerate(pages):
        await do(one, "say", {"room": 1 + 128 * number, "data": "x"})
        await page.wait_for_function("() => got.includes('said x')")

    topics = [len(each["topics"]) for each in (await state(one))["connections"]]
    assert sorted(topics) == [128, 1024]


async def test_messages_for_one_connection_come_once_while_tabs_come_and_go(
    context: BrowserContext, one: Server
) -> None:
    """Whichever of the two streams brings them first."""
    page = await open_tab(context, one, "/room/0")
    sent = 0
    for _ in range(4):
        tab = await context.new_page()
        opening = await tab.goto(f"http://127.0.0.1:{one.port}/room/0")
        assert opening is not None
        for _ in range(25):
            sent += 1
            await do(one, "send", sent)
        await tab.close()
        for _ in range(10):
            sent += 1
            await do(one, "send", sent)

    await hears(page, *(f"connection {number}" for number in range(1, sent + 1)))
    assert len((await state(one))["noted"]) == 1


async def test_message_for_one_connection_is_remembered_beside_many_others(
    context: BrowserContext, one: Server
) -> None:
    """The next stream says it once more within a minute, whatever else came meanwhile."""
    page = await open_tab(context, one, "/room/1")
    await do(one, "send", "x")
    await do(one, "say", {"room": 1, "data": "said", "times": 400})
    await page.wait_for_function("() => got.length === 402")
    await open_tab(context, one, "/room/2")
    await until_state(one, connections=1, streams=1)
    await do(one, "send", "y")

    await page.wait_for_function("() => got.at(-1) === 'connection y'")
    heard = await page.evaluate("() => got.filter((text) => text.startsWith('connection'))")
    assert heard == ["connection x", "connection y"]


async def test_connection_is_moved_between_topics(context: BrowserContext, server: Server) -> None:
    """A page that has lost its own topic goes on with those that the app has added."""
    page = await open_tab(context, server, "/room/1")
    await do(server, "move", {"from": 1, "to": 99})
    await do(server, "say", {"room": 1, "data": "no"})
    await do(server, "say", {"room": 99, "data": "x"})
    await hears(page, "hello room 1", "99 x")

    second = await open_tab(context, server, "/room/2")
    await until_state(server, connections=1, streams=1)
    await do(server, "say", {"room": 1, "data": "no"})
    await do(server, "say", {"room": 99, "data": "y"})
    await hears(page, "hello room 1", "99 x", "99 y")
    await hears(second, "hello room 2", "99 y")

    await page.reload()
    await hears(page, "hello room 1")
    await do(server, "say", {"room": 1, "data": "again"})
    await hears(page, "hello room 1", "said again")
    assert (await state(server))["noted"] == [
        ["connect", (await state(server))["connections"][0]["id"]]
    ]


async def test_pages_that_share_a_stream_are_told_of_what_they_were_not_sent(
    context: BrowserContext, one: Server
) -> None:
    """A tab whose user has signed out and in again asks anew, in spite of its newer position."""
    await sign_in(context, one, "ada")
    tabs = [await open_tab(context, one, f"/room/{room}") for room in (1, 2)]
    for tab in tabs:
        await tab.evaluate("() => addEventListener('sse-reset', () => got.push('reset'))")
    await sign_in(context, one, "nobody")
    await do(one, "close", 0)
    await until_state(one, connections=1, streams=1, noted=3)
    await do(one, "user", {"user": "ada", "data": "missed"})
    for room in (1, 2):
        await do(one, "say", {"room": room, "data": "x"})
    await hears(tabs[0], "hello room 1", "said x")
    await hears(tabs[1], "hello room 2", "said x")
    await sign_in(context, one, "ada")
    await do(one, "close", 0)
    await until_state(one, connections=1, streams=1, noted=5)

    for number, tab in enumerate(tabs, 1):
        await hears(tab, f"hello room {number}", "said x", "reset")


async def test_user_is_reached_in_every_tab_and_browser(
    context: BrowserContext, server: Server
) -> None:
    """Pages without a topic, too; htmx hears it as a trigger."""
    await sign_in(context, server, "ada")
    tabs = [await open_tab(context, server, f"/room/{room}") for room in (0, 1)]
    await do(server, "user", {"user": "bob", "data": "no"})
    await do(server, "user", {"user": "ada", "data": "yes"})
    await do(server, "everyone", "all")

    await hears(tabs[0], "user yes", "everyone all")
    await hears(tabs[1], "hello room 1", "user yes", "everyone all")
    for tab in tabs:
        await expect(tab.locator("#here")).to_have_text("htmx has asked")


async def test_page_of_another_user_hears_nothing_of_this_one(
    context: BrowserContext, one: Server
) -> None:
    """A tab that stays open while its browser's user changes belongs to neither."""
    await sign_in(context, one, "ada")
    of_ada = await open_tab(context, one, "/room/1")
    await sign_in(context, one, "bob")
    of_bob = await open_tab(context, one, "/room/1")
    await until_state(one, connections=1, streams=1)
    for user in ("ada", "bob"):
        await do(one, "user", {"user": user, "data": user})
    await do(one, "send", "one")
    await do(one, "channel", "channel")

    await hears(of_bob, "hello room 1", "user bob", "connection one", "rooms channel")
    await hears(of_ada, "hello room 1", "rooms channel")


async def test_initial_events_are_for_a_page_that_is_new(
    context: BrowserContext, one: Server
) -> None:
    """Not for one that comes back, by the network or from the back-forward cache."""
    page = await open_tab(context, one, "/room/1")
    await hears(page, "hello room 1")
    await do(one, "close", 0)
    await page.wait_for_function("() => document.documentElement.dataset.sseState !== 'open'")
    await page.wait_for_function("() => document.documentElement.dataset.sseState === 'open'")
    await do(one, "say", {"room": 1, "data": "again"})
    await hears(page, "hello room 1", "said again")
    assert (await state(one))["begun"] == ["1"]

    await page.reload()
    await hears(page, "hello room 1")
    assert (await state(one))["begun"] == ["1", "1"]


async def test_connection_that_is_closed_for_good(context: BrowserContext, one: Server) -> None:
    """Its page says so, until it is loaded again."""
    page = await open_tab(context, one, "/room/1")
    await do(one, "close")
    await page.wait_for_function("() => document.documentElement.dataset.sseState === 'stopped'")
    await until_state(one, connections=0, noted=2)
    await page.reload()
    await until_state(one, connections=1)


async def test_topic_that_is_closed_stops_its_own_pages(
    context: BrowserContext, one: Server
) -> None:
    """Other tabs go on."""
    first = await open_tab(context, one, "/room/1")
    second = await open_tab(context, one, "/room/2")
    await do(one, "topic-close", 1)
    await first.wait_for_function("() => document.documentElement.dataset.sseState === 'stopped'")
    await do(one, "say", {"room": 2, "data": "still"})
    await hears(second, "hello room 2", "said still")
    assert await second.evaluate("() => document.documentElement.dataset.sseState") == "open"


async def test_delay_that_the_app_publishes_is_only_the_first(
    context: BrowserContext, one: Server
) -> None:
    """It grows, and is random; that of a farewell holds as it stands."""
    page = await open_tab(context, one, "/room/1")
    await do(one, "retry", {"room": 1, "ms": 60_000_000})
    await hears(page, "hello room 1", "said x")
    # A farewell's own delay is obeyed, whatever was published before.
    await do(one, "close", 0.05)
    await page.wait_for_function("() => document.documentElement.dataset.sseState === 'retry'")
    await page.wait_for_function("() => document.documentElement.dataset.sseState === 'open'")


@pytest.mark.parametrize("offer", ["", "?offer=1"])
async def test_everyone_reloads(context: BrowserContext, server: Server, offer: str) -> None:
    """A page reloads once; one in which something was typed offers it."""
    plain = await open_tab(context, server, f"/room/1{offer}")
    typed = await open_tab(context, server, f"/room/1{offer}")
    await typed.fill("#text", "something")
    await plain.evaluate("() => { window.isOld = true }")
    await typed.evaluate("() => { window.isOld = true }")
    await do(server, "reload")

    await plain.wait_for_function("() => !window.isOld && window.got?.length")
    button = typed.locator("#own a") if offer else typed.get_by_role("button", name="Reload")
    await expect(button).to_be_visible()
    assert await typed.evaluate("() => isOld")
    assert await typed.input_value("#text") == "something"
    await button.click()
    await typed.wait_for_function("() => !window.isOld && window.got?.length")
    assert (await state(server))["begun"].count("1") == 4


async def test_reload_can_be_prevented(context: BrowserContext, one: Server) -> None:
    """A script may do something else."""
    page = await open_tab(context, one, "/room/1")
    await page.evaluate("""() => document.addEventListener("sse:reload", (event) => {
        event.preventDefault();
        got.push("asked");
    })""")
    await do(one, "reload")
    await hears(page, "hello room 1", "asked")
