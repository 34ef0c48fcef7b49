"""Pages that are not live, that append what comes, and islands that open a URL of their own."""

import re
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import BrowserContext, Page, expect

from tests.support.browsers import OPEN, open_page
from tests.support.servers import Server, serve_pages

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

STOPPED = "() => document.documentElement.dataset.sseState === 'stopped'"


@pytest.fixture(params=[2, 4], ids=["htmx2", "htmx4"])
async def pages(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    """The app of islands."""
    async with serve_pages("islands", request.param) as server:
        yield server


async def open_tab(context: BrowserContext, server: Server, path: str, until: str = OPEN) -> Page:
    """Open a page and wait for its state."""
    page = await context.new_page()
    await open_page(page, server, path, until)
    return page


@pytest.mark.parametrize("query", ["", "&plain=1"], ids=["htmx", "without htmx"])
async def test_page_appends_what_it_does_not_show(
    context: BrowserContext, pages: Server, query: str
) -> None:
    """What was published while the page was rendered comes again, and is dropped by its id."""
    await pages.post("/shelf/a/before")
    page = await open_tab(context, pages, f"/shelf/a?during=one&during=two{query}")

    await pages.post("/shelf/a/after")

    titles = page.locator("ol li")
    await expect(titles).to_have_text(["before", "one", "two", "after"])
    assert await page.evaluate("() => heard") == [4]
    # They did come: the page keeps all messages.
    ids = await page.evaluate("() => QuartSSE.messages.map((message) => message.data.id)")
    assert ids == [2, 3, 4]
    if not query:
        await expect(page.locator("p b")).to_have_text(["one"])  # htmx was asked once, too


async def test_mark_of_users_hides_nothing(context: BrowserContext, pages: Server) -> None:
    """HTML that users wrote may name an event that is yet to come."""
    page = await open_tab(context, pages, "/shelf/a")
    await page.evaluate("""() => {
        const text = '<b data-sse-seen="shelf.added?name=a id 1">evil</b>';
        document.body.insertAdjacentHTML("beforeend", `<div hx-disable hx-ignore>${text}</div>`);
    }""")

    await pages.post("/shelf/a/book")

    await expect(page.locator("ol li")).to_have_text(["book"])


async def test_marks_that_come_later_count(context: BrowserContext, pages: Server) -> None:
    """A list that a script or htmx has fetched again shows newer items than its page did."""
    page = await open_tab(context, pages, "/shelf/b?during=one")
    await page.evaluate("""() => {
        const html = '<li data-sse-seen="shelf.added?name=b id 2">fetched</li>';
        document.querySelector("ol").insertAdjacentHTML("beforeend", html);
    }""")

    await pages.post("/shelf/b/two")
    await pages.post("/shelf/b/three")

    await expect(page.locator("ol li")).to_have_text(["one", "fetched", "three"])


async def test_page_that_is_not_live_says_so(context: BrowserContext, pages: Server) -> None:
    """To its user and to scripts; it shows the same and asks for nothing."""
    page = await context.new_page()
    streams: list[str] = []
    page.on("request", lambda each: streams.append(each.url) if "/sse?" in each.url else None)
    await page.add_init_script(
        "window.log = [];"
        "document.addEventListener('sse:stopped', ({ detail }) => log.push(detail.error));"
    )
    await pages.post("/shelf/c/book")
    await open_page(page, pages, "/shelf/c?print=1", STOPPED)
    status = page.locator("[data-sse-status]")

    await expect(status.locator("span:visible")).to_have_text(["Not live. Refresh"])
    await expect(page.locator("ol li")).to_have_text(["book"])
    # quart-sse.js looks again whenever a state in words comes.
    await page.evaluate("""() => {
        const copy = document.querySelector("[data-sse-status]").cloneNode(true);
        document.body.append(copy);
    }""")
    await expect(status.locator("span:visible")).to_have_text(["Not live. Refresh"] * 2)
    assert await page.evaluate("() => [log, QuartSSE.isConnected, QuartSSE.isConnecting]") == [
        [None],
        False,
        False,
    ]
    assert not streams


async def test_link_to_a_page_that_is_not_live(context: BrowserContext, pages: Server) -> None:
    """htmx swaps it in, and the page says it all the same, until another one comes."""
    page = await context.new_page()
    await open_page(page, pages, "/empty", "() => window.QuartSSE")
    status = page.locator("[data-sse-status] span:visible")
    await expect(status).to_have_count(0)

    await page.click("#off")
    await expect(status).to_have_text(["Not live. Refresh"])
    await page.evaluate("""() => {
        document.querySelector("[data-sse-off]").remove();
    }""")

    await expect(status).to_have_count(0)


ISLAND = """async (kind) => {
    const { books, stream } = await (await fetch("/api/shelf/i")).json();
    window.island = books.map((book) => book.id);
    await fetch("/shelf/i/between", { method: "POST" });
    const hear = (book) => island.includes(book.id) || island.push(book.id);
    if (kind === "element") {
        QuartSSE.on("shelf", "added", { name: "i" }, hear);
        const element = document.createElement("div");
        element.setAttribute("sse-connect", stream);
        document.body.append(element);
    } else {
        window.source = new EventSource(stream);
        source.addEventListener("shelf.added?name=i", (event) => hear(JSON.parse(event.data)));
    }
}"""


@pytest.mark.parametrize("kind", ["element", "EventSource"])
async def test_island_opens_the_url_of_its_json(
    context: BrowserContext, pages: Server, kind: str
) -> None:
    """By an EventSource of its own, or over the connection that all tabs share."""
    await pages.post("/shelf/i/before")
    page = await context.new_page()
    await open_page(page, pages, "/empty", "() => window.QuartSSE")

    await page.evaluate(ISLAND, kind)
    await page.wait_for_function("() => island.length === 2")
    await pages.post("/shelf/i/after")
    await page.wait_for_function("() => island.length === 3")

    assert await page.evaluate("() => island") == [1, 2, 3]
    if kind == "element":
        await page.wait_for_function(OPEN)


async def test_browsers_own_event_source_chooses(context: BrowserContext, pages: Server) -> None:
    """It says what it wants with URLSearchParams, and comes back to where it was."""
    page = await context.new_page()
    await open_page(page, pages, "/empty", "() => window.QuartSSE")
    await page.evaluate("""() => {
        const query = new URLSearchParams([["topic", "news"], ["topic", "shelf?name=x"]]);
        window.got = [];
        const source = new EventSource(`/sse?${query}`);
        source.addEventListener("sse-refused", ({ data }) => got.push(JSON.parse(data).topics));
        source.addEventListener("news.said", ({ data }) => got.push(data));
        source.addEventListener("sse-open", () => got.push("open"));
    }""")
    await page.wait_for_function("() => got.length === 2")

    await pages.post("/publish/news/hello")
    await page.wait_for_function("() => got.length === 3")

    assert await page.evaluate("() => got") == [["shelf?name=x"], "open", "hello"]


async def test_only_pages_that_need_a_file_load_it(context: BrowserContext, pages: Server) -> None:
    """A page of another kind pays nothing for these."""
    files: list[str] = []
    context.on("request", lambda each: files.extend(re.findall(r"sse-(off|seen)\.", each.url)))
    await open_tab(context, pages, "/shelf/d")
    assert files == []

    await open_tab(context, pages, "/shelf/d?during=x")
    await open_tab(context, pages, "/shelf/d?print=1", STOPPED)

    assert [*dict.fromkeys(files)] == ["seen", "off"]  # Firefox says twice that it loads one
