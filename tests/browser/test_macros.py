"""What the macros promise, in a real browser, with our script and with htmx's own extension."""

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, Page, expect

from tests.support.browsers import visit
from tests.support.servers import Server, serve_pages

pytestmark = [pytest.mark.browser, pytest.mark.timeout(90)]

#: Whether a page has htmx 4 without our script.
HTMX4_ALONE = "() => !window.QuartSSE && !htmx.defineExtension"

#: Short enough to see a page outlive its token.
TOKEN_SECONDS = 3


@pytest.fixture(
    params=[(2, {}), (4, {}), (2, {"PLAIN": "1"}), (4, {"PLAIN": "1"})],
    ids=["htmx2", "htmx4", "htmx2-plain", "htmx4-plain"],
)
async def pages(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    """An app of pages made for these tests."""
    htmx, script = request.param
    environ = {"QUART_SSE_TOKEN_LIFETIME": str(TOKEN_SECONDS), **script}
    async with serve_pages("browser", htmx, environ) as server:
        yield server


async def test_live_fragment_needs_nothing_else(browser: Browser, pages: Server) -> None:
    """sse_live shows a fragment and keeps it current, with a connection of its own."""
    async with visit(browser, pages, "/live") as page:
        await pages.post("/raise/a")
        await pages.post("/raise/b")

        await expect(page.locator("#a")).to_have_text("a is 1")
        await expect(page.locator("#b")).to_have_text("b is 1")


async def test_fragment_in_an_htmx_answer_is_live(browser: Browser, pages: Server) -> None:
    """A fragment that htmx brings into a page brings its own connection."""
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto(f"http://127.0.0.1:{pages.port}/late")
    await page.click("button")
    await expect(page.locator("#a")).to_be_visible()

    await pages.post("/raise/a")

    await expect(page.locator("#a")).to_have_text("a is 1")
    await context.close()


async def test_fragment_that_appears_inside_another_is_live(
    browser: Browser, pages: Server
) -> None:
    """A nested fragment is kept current although the page did not show it when it was made."""
    async with visit(browser, pages, "/nested") as page:
        await pages.post("/grow")
        await expect(page.locator("#inner")).to_have_text("inner is 0")

        await pages.post("/raise/inner")

        await expect(page.locator("#inner")).to_have_text("inner is 1")


async def rendered_since(page: Page, outer: str, layout: int) -> None:
    """Wait until a page shows this render of the outer fragment, or one of those that follow."""
    await page.wait_for_function(
        "([outer, layout]) => +document.querySelector(`[data-sse^='board.${outer}'] h1`)"
        "?.textContent >= layout",
        arg=[outer, layout],
    )


@pytest.mark.parametrize("query", ["", "?plain"], ids=["htmx", "none"])
@pytest.mark.parametrize("outer", ["slow", "changed"])
async def test_slow_outer_fragment_shows_the_newest_of_what_is_inside(
    browser: Browser, pages: Server, outer: str, query: str
) -> None:
    """What is inside changed after the outer one took it, and stands elsewhere than before.

    If the renderer has changed what the macros gave, one message has several partials, which
    htmx 4 puts in place one after the other only if our script gives it one at a time.
    """
    async with (
        visit(browser, pages, f"/outer/board.{outer}/a{query}") as page,
        visit(browser, pages, "/number/a") as other,
    ):
        if outer == "changed" and await page.evaluate(HTMX4_ALONE):
            pytest.skip("htmx 4 looks for all targets of a message before it changes anything")
        around = page.locator(f"[data-sse^='board.{outer}']")
        layout = (await pages.get_json("/layout/a"))["layout"] + 1
        await pages.post(f"/refresh/{outer}/a")
        await rendered_since(page, outer, layout)
        for number in (1, 2):
            await pages.post("/gate/closed")
            layout = (await pages.get_json("/layout/a"))["layout"] + 1
            await pages.post(f"/refresh/{outer}/a")
            while (await pages.get_json("/layout/a"))["layout"] < layout:
                pass
            await pages.post("/raise/a")
            await expect(page.locator("main b")).to_have_text(f"a is {number}")
            await pages.post("/gate/open")
            await rendered_since(page, outer, layout)

            await expect(around.locator("> div b")).to_have_text(f"a is {number}")
            await expect(around.locator("> section")).to_have_text(f"{number}")
            await expect(page.locator("main b")).to_have_text(f"a is {number}")
            await expect(other.locator("b")).to_have_text(f"a is {number}")


async def test_personal_fragment_is_fetched_with_own_cookies(
    browser: Browser, pages: Server
) -> None:
    """After a change everybody sees their own version, and what fetched it leaves nothing."""
    async with visit(browser, pages, "/mine") as first, visit(browser, pages, "/mine") as second:
        for page, who in ((first, "mira"), (second, "kip")):
            await page.context.add_cookies(
                [{"name": "who", "value": who, "url": f"http://127.0.0.1:{pages.port}"}]
            )

        for _ in range(3):
            await pages.post("/raise/a")

        await expect(first.locator("u")).to_have_text("mira sees 3")
        await expect(second.locator("u")).to_have_text("kip sees 3")
        await expect(first.locator("[data-sse^='board.mine'] span")).to_have_count(0)


async def test_page_outlives_its_token(browser: Browser, pages: Server) -> None:
    """A page that stays open gets a new token in time, and misses nothing over it."""
    async with visit(browser, pages, "/live") as page:
        await pages.post("/raise/a")
        while (await pages.get_json("/connections"))["tokens"] < 6:  # two elements, twice renewed
            pass

        await pages.post("/raise/a")

        await expect(page.locator("#a")).to_have_text("a is 2")
        elements = page.locator("[id^='sse-'][hidden]")
        await expect(elements).to_have_count(2)
