"""Further files of the script: only pages that need one load it, whenever they come to need it."""

import asyncio
import re
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, BrowserContext, Page, Route, expect

from tests.support.browsers import OPEN, open_tab, until_count
from tests.support.servers import Server, serve_pages

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

FILE = re.compile(r"/quart-sse-personal\.min\.js")
POLICY = "default-src 'self'; script-src 'nonce-abc'; worker-src 'self'"


@pytest.fixture(params=[2, 4], ids=["htmx2", "htmx4"])
async def pages(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    """Pages whose scripts need a nonce."""
    environ = {"CSP": POLICY, "NONCE": "abc"}
    async with serve_pages("browser", request.param, environ) as server:
        yield server


def requests(page: Page) -> list[str]:
    """Return the list of what a page requests from now on."""
    urls: list[str] = []
    page.on("request", lambda request: urls.append(request.url))
    return urls


async def bring(page: Page) -> None:
    """Let htmx bring a personal fragment into a page, and wait until its stream is open."""
    shown = page.locator("[data-sse^='board.mine']")
    before = await shown.count()
    await page.click("#mine")
    await expect(shown).to_have_count(before + 1)
    await page.wait_for_function(OPEN)


async def test_only_pages_that_need_a_file_load_it(context: BrowserContext, pages: Server) -> None:
    """One without a personal fragment does not, one with it does, once."""
    for path, expected in (("/number/a", 0), ("/mine", 1)):
        page = await context.new_page()
        urls = requests(page)
        await page.goto(f"http://127.0.0.1:{pages.port}{path}")
        await page.wait_for_function(OPEN)

        assert len([url for url in urls if FILE.search(url)]) == expected
    await pages.post("/raise/a")
    await expect(page.locator("u")).to_have_text("nobody sees 1")


async def test_answer_to_htmx_brings_the_file(context: BrowserContext, pages: Server) -> None:
    """It is loaded with the nonce of the page, once for two answers."""
    page = await context.new_page()
    urls = requests(page)
    await page.goto(f"http://127.0.0.1:{pages.port}/late")
    async with page.expect_response(FILE) as response:
        await bring(page)
    assert (await response.value).ok
    await bring(page)

    await pages.post("/raise/a")

    await expect(page.locator("u")).to_have_text(["nobody sees 1"] * 2)
    assert len([url for url in urls if FILE.search(url)]) == 1


async def test_change_waits_for_the_file(context: BrowserContext, pages: Server) -> None:
    """A fragment that changes before its file is there is fetched when it is."""
    may_come = asyncio.Event()

    async def hold(route: Route) -> None:
        await may_come.wait()
        await route.continue_()

    await context.route(FILE, hold)
    page = await open_tab(context, pages, "/number/a")
    for count in (1, 2):
        await page.evaluate("""() => {
            const number = document.querySelector("[data-sse^='board.number']");
            number.insertAdjacentHTML("afterend", "<div class=part></div>");
            htmx.ajax("GET", "/part/mine", ".part:empty");
        }""")
        await expect(page.locator("u")).to_have_text(["nobody sees 0"] * count)
        while (await pages.get_json("/connections"))["tokens"] < 1 + count:
            pass
    # The stream that has the fragments is open when the one before it has ended.
    await until_count(pages, lambda number: number == 1)

    await pages.post("/raise/a")
    await expect(page.locator("#a")).to_have_text("a is 1")
    await expect(page.locator("u")).to_have_text(["nobody sees 0"] * 2)
    may_come.set()

    await expect(page.locator("u")).to_have_text(["nobody sees 1"] * 2)
    # Chromium requests a file once for several elements.
    await expect(page.locator("script[src*='quart-sse-personal']")).to_have_count(1)


async def test_file_that_did_not_come_is_loaded_again(browser: Browser, pages: Server) -> None:
    """A network that fails for a moment leaves no page without it; browsers log that it did."""
    page = await browser.new_page()
    failures = 2
    came: list[str] = []
    page.on("response", lambda each: came.append(each.url) if FILE.search(each.url) else None)

    async def fail(route: Route) -> None:
        nonlocal failures
        failures -= 1
        if failures < 0:
            await route.continue_()
        else:
            await route.abort()

    await page.route(FILE, fail)
    await page.clock.install()
    await page.goto(f"http://127.0.0.1:{pages.port}/mine")
    await page.wait_for_function(OPEN)
    while failures > 0:
        await page.evaluate("0")
    await pages.post("/raise/a")
    await expect(page.locator("#a")).to_have_text("a is 1")
    while not came:
        await page.clock.run_for(1000)

    while await page.locator("u").text_content() != "nobody sees 1":
        await page.clock.run_for(1000)
    await page.close()


@pytest.mark.parametrize(
    "path",
    [
        "//127.0.0.1:9/x.min.js?v=1",
        "http://127.0.0.1:9/x.min.js?v=1",
        "../../uploads/x.min.js?v=1",
        "..\\\\x.min.js?v=1",
        "%2e%2e/x.min.js?v=1",
        "x.js",
        "data:text/javascript,x.min.js?v=1",
    ],
)
async def test_only_what_lies_beside_the_script_is_loaded(
    context: BrowserContext, pages: Server, path: str
) -> None:
    """Users may have written the attribute, where they could not have written a script."""
    page = await open_tab(context, pages, "/number/a")
    other = await open_tab(context, pages, "/number/b")
    urls = requests(page)
    html = await other.evaluate(
        """(path) => {
            const element = document.querySelector("[id^=sse-]");
            element.dataset.sseFiles = `x ${path} ,y quart-sse-reload.min.js?v=1 `;
            return element.outerHTML;
        }""",
        path,
    )
    async with page.expect_response(re.compile("quart-sse-reload")):
        await page.evaluate("(html) => document.body.insertAdjacentHTML('beforeend', html)", html)
    await until_count(pages, lambda number: number == 1)

    assert [url for url in urls if "x.min.js" in url or "x.js" in url or "uploads" in url] == []
