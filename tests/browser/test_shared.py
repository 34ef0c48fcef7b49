"""All tabs of a browser share one connection, which heals by itself."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from playwright.async_api import Browser, BrowserContext, Page, Route, expect

from tests.browser.test_forum import EXPECTED_NOISE, OPEN, browser, open_page
from tests.support.servers import Server, serve_pages

__all__ = ["browser"]

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

TABS, NAVIGATIONS = 20, 12


@asynccontextmanager
async def serving(htmx: int, port: int | None = None) -> AsyncIterator[Server]:
    """Serve pages that share their connection."""
    async with serve_pages("browser", htmx, port=port) as server:
        yield server


@pytest.fixture(params=[2, 4], ids=["htmx2", "htmx4"])
async def pages(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    """Return a server of either htmx."""
    async with serving(request.param) as server:
        yield server


@asynccontextmanager
async def without_errors(browser: Browser, **options: Any) -> AsyncIterator[BrowserContext]:
    """Return a browser of somebody, and see that its pages log no error."""
    context = await browser.new_context(**options)
    errors: list[str] = []
    context.on("weberror", lambda error: errors.append(str(error.error)))
    context.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    yield context
    await context.close()
    assert [error for error in errors if not EXPECTED_NOISE.search(error)] == []


@pytest.fixture
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    """Return a browser of somebody; its pages log no error."""
    async with without_errors(browser) as context:
        yield context


async def visit(context: BrowserContext, server: Server, path: str) -> Page:
    """Open a tab and wait until it is connected."""
    page = await context.new_page()
    await open_page(page, server, path)
    return page


async def state(server: Server) -> dict[str, Any]:
    """Return how many streams the server has open, and for which topics."""
    told: dict[str, Any] = await server.get_json("/connections")
    del told["tokens"]
    return told


async def count(server: Server) -> int:
    """Return how many streams the server has open."""
    return int((await state(server))["open"])


async def until_count(server: Server, is_so: Callable[[int], bool]) -> None:
    """Wait until the server has so many streams."""
    while not is_so(await count(server)):
        pass


async def test_many_tabs_share_one_connection(context: BrowserContext, pages: Server) -> None:
    """Twenty tabs over HTTP/1.1 all load, are all live, and take one connection."""
    tabs = [await visit(context, pages, f"/number/{'ab'[i % 2]}") for i in range(TABS)]
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
    page = await visit(context, pages, "/number/a")
    for number in range(NAVIGATIONS):
        await page.goto(f"http://127.0.0.1:{pages.port}/number/{'ab'[number % 2]}")
        await page.wait_for_function(OPEN)
    await until_count(pages, lambda number: number == 1)
    await page.go_back()
    await pages.post("/raise/a")

    await expect(page.locator("#a")).to_have_text("a is 1")


async def test_tab_is_given_its_own_topics_alone(context: BrowserContext, pages: Server) -> None:
    """What comes over the shared connection for one tab never reaches another."""
    one = await visit(context, pages, "/number/a")
    other = await visit(context, pages, "/number/b")
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
    page = await visit(context, pages, "/number/a")
    await page.evaluate("""() => {
        window.got = [];
        QuartSSE.on("board", "raised", {name: "a"}, (number) => got.push(number));
    }""")
    for number in range(1, 13):
        await pages.post("/raise/a")
        if number % 3 == 0:
            await (await visit(context, pages, f"/number/{'ab'[number % 2]}")).close()
        elif number % 3 == 1:
            await visit(context, pages, "/number/b")
    await page.wait_for_function("() => got.length >= 12")

    assert await page.evaluate("got") == list(range(1, 13))


@asynccontextmanager
async def failing(port: int) -> AsyncIterator[None]:
    """Answer as a proxy does whose server has gone, and at least once."""
    asked = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()
        asked.set()

    server = await asyncio.start_server(answer, "127.0.0.1", port, reuse_address=True)
    async with server:
        yield
        async with asyncio.timeout(30):
            await asked.wait()


@pytest.mark.parametrize("htmx", [2, 4])
async def test_page_heals_when_its_server_was_killed(context: BrowserContext, htmx: int) -> None:
    """The state is seen, the connection comes back by itself, and the page is current."""
    async with serving(htmx) as first:
        page = await visit(context, first, "/number/a")
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
    tabs = [await visit(context, pages, f"/number/{name}") for name in "ab"]
    await pages.post("/raise/a")

    await expect(tabs[0].locator("#a")).to_have_text("a is 1")
    assert await count(pages) == 2


async def test_connect_element_that_is_touched_opens_nothing_more(
    context: BrowserContext, pages: Server
) -> None:
    """Changed where it stands and processed anew it leaks nothing; taken away it ends at once."""
    page = await visit(context, pages, "/number/a")
    await visit(context, pages, "/number/b")
    await page.evaluate("""() => {
        const leaf = document.querySelector("[id^=sse-][hidden]");
        for (const name of ["sse-connect", "hx-sse:connect"]) {
            const url = leaf.getAttribute(name);
            if (url) leaf.setAttribute(name, `${url}&x=1`);
        }
        leaf.className = "touched";
        htmx.process(document.body);
        htmx.process(leaf, true);
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
