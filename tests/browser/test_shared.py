"""All tabs of a browser share one connection, which heals by itself."""

import re

import pytest
from playwright.async_api import BrowserContext, Route, expect

from tests.support.browsers import (
    OPEN,
    TABS,
    count,
    failing,
    go_back,
    open_tab,
    serving,
    state,
    until_count,
)
from tests.support.servers import Server

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

NAVIGATIONS = 12


async def test_many_tabs_share_one_connection(context: BrowserContext, pages: Server) -> None:
    """Twenty tabs over HTTP/1.1 all load, are all live, and take one connection."""
    tabs = [await open_tab(context, pages, f"/number/{'ab'[i % 2]}") for i in range(TABS)]
    await until_count(pages, lambda number: number == 1)

    await pages.post("/raise/a")
    await pages.post("/raise/b")
    for i, tab in enumerate(tabs):
        name = "ab"[i % 2]
        await expect(tab.locator(f"#{name}")).to_have_text(f"{name} is 1")

    for tab in tabs[:-1]:
        await tab.close()
    await pages.post("/raise/b")
    await expect(tabs[-1].locator("#b")).to_have_text("b is 2")
    await until_count(pages, lambda number: number == 1)
    await tabs[-1].close()
    await until_count(pages, lambda number: number == 0)


async def test_walk_through_many_pages_never_stalls(context: BrowserContext, pages: Server) -> None:
    """Pages in the back-forward cache hold no connection, and are live when they return."""
    page = await open_tab(context, pages, "/number/a")
    for number in range(NAVIGATIONS):
        await page.goto(f"http://127.0.0.1:{pages.port}/number/{'ab'[number % 2]}")
        await page.wait_for_function(OPEN)
    await until_count(pages, lambda number: number == 1)
    await go_back(page, f"http://127.0.0.1:{pages.port}/number/{'ab'[NAVIGATIONS % 2]}")
    await pages.post("/raise/a")

    await expect(page.locator("#a")).to_have_text("a is 1")


async def test_tab_is_given_its_own_topics_alone(context: BrowserContext, pages: Server) -> None:
    """What comes over the shared connection for one tab never reaches another."""
    one = await open_tab(context, pages, "/number/a")
    other = await open_tab(context, pages, "/number/b")
    await pages.post("/raise/a")
    await pages.post("/raise/b")
    for tab, name in ((one, "a"), (other, "b")):
        await expect(tab.locator(f"#{name}")).to_have_text(f"{name} is 1")

    heard = "() => QuartSSE.messages.map(message => message.event)"
    assert set(await one.evaluate(heard)) <= {"board.raised?name=a", "sse-open"}
    assert "board.raised?name=a" in await one.evaluate(heard)
    assert set(await other.evaluate(heard)) <= {"board.raised?name=b", "sse-open"}


async def test_events_come_once_however_many_tabs_come_and_go(
    context: BrowserContext, pages: Server
) -> None:
    """A connection that is replaced loses and repeats nothing."""
    page = await open_tab(context, pages, "/number/a")
    await page.evaluate("""() => {
        window.got = [];
        QuartSSE.on("board", "raised", {name: "a"}, (number) => got.push(number));
    }""")
    for number in range(1, 13):
        await pages.post("/raise/a")
        if number % 3 == 0:
            await (await open_tab(context, pages, f"/number/{'ab'[number % 2]}")).close()
        elif number % 3 == 1:
            await open_tab(context, pages, "/number/b")
    await page.wait_for_function("() => got.length >= 12")

    assert await page.evaluate("got") == list(range(1, 13))


@pytest.mark.parametrize("htmx", [2, 4])
async def test_page_heals_when_its_server_was_killed(context: BrowserContext, htmx: int) -> None:
    """The state is seen, the connection comes back by itself, and the page is current."""
    async with serving(htmx) as first:
        page = await open_tab(context, first, "/number/a")
        first.process.kill()
        await first.process.wait()
        async with failing(first.port):
            await page.wait_for_function(
                "() => document.documentElement.dataset.sseState === 'retry'"
            )
        async with serving(htmx, first.port) as second:
            await second.post("/raise/a")
            await page.wait_for_function(OPEN)
            await expect(page.locator("#a")).to_have_text("a is 1")


async def test_page_without_a_worker_has_a_connection_of_its_own(
    context: BrowserContext, pages: Server
) -> None:
    """Where there is no SharedWorker each page connects by itself, and is as live."""
    await context.add_init_script("delete window.SharedWorker")
    tabs = [await open_tab(context, pages, f"/number/{name}") for name in "ab"]
    await pages.post("/raise/a")

    await expect(tabs[0].locator("#a")).to_have_text("a is 1")
    assert await count(pages) == 2


async def test_connect_element_that_is_touched_opens_nothing_more(
    context: BrowserContext, pages: Server
) -> None:
    """Changed where it stands and processed anew it leaks nothing; taken away it ends at once."""
    page = await open_tab(context, pages, "/number/a")
    await open_tab(context, pages, "/number/b")
    await page.evaluate("""() => {
        const element = document.querySelector("[id^=sse-][hidden]");
        for (const name of ["sse-connect", "hx-sse:connect"]) {
            const url = element.getAttribute(name);
            if (url) element.setAttribute(name, `${url}&x=1`);
        }
        element.className = "touched";
        htmx.process(document.body);
        htmx.process(element, true);
        window.got = [];
        QuartSSE.on("*", (data) => got.push(data));
    }""")
    await pages.post("/raise/a")
    await expect(page.locator("#a")).to_have_text("a is 1")
    assert await page.evaluate("() => got") == [1]
    assert await state(pages) == {"open": 1, "topics": ["board?name=a", "board?name=b"]}

    await page.evaluate("() => document.querySelector('[id^=sse-][hidden]').remove()")
    while (await state(pages))["topics"] != ["board?name=b"]:
        pass


@pytest.mark.parametrize("htmx", [2, 4])
async def test_first_connection_that_fails_is_tried_again(
    context: BrowserContext, htmx: int
) -> None:
    """An error page instead of the first stream is not shown, and costs nothing but time."""
    async with serving(htmx) as server:
        await context.add_init_script("delete window.SharedWorker")  # so that it can be answered
        page = await context.new_page()
        answers = [503, 401, 302, 200]

        async def refuse(route: Route) -> None:
            if answers:
                headers = {"Location": "/number/b", "Content-Type": "text/html"}
                await route.fulfill(status=answers.pop(0), headers=headers, body="<h1>Sorry</h1>")
            else:
                await route.continue_()

        await page.route(re.compile(r"/sse\?t="), refuse)
        await page.add_init_script(
            "addEventListener('DOMContentLoaded', () => { QuartSSE.interval = 50; })"
        )
        await page.goto(f"http://127.0.0.1:{server.port}/number/a")
        await server.post("/raise/a")
        await page.wait_for_function(OPEN)

        await expect(page.locator("#a")).to_have_text("a is 1")
        assert answers == []
        assert await page.get_by_text("Sorry").count() == 0
