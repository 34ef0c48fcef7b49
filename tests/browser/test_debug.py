"""Under development the browser's console says why a page is not live, and what to do."""

import asyncio

import pytest
from playwright.async_api import Browser, BrowserContext, Page, expect

from tests.support.browsers import OPEN
from tests.support.servers import Server, serve_pages

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]


def hear(text: str, said: list[str]) -> None:
    """Note what the extension says; Chromium says more, such as that there is no icon."""
    if text.startswith("quart_sse: "):
        said.append(text)


async def show(context: BrowserContext, server: Server, path: str) -> tuple[Page, list[str]]:
    """Open a page; returns it with what the extension says in its console."""
    page, said = await context.new_page(), list[str]()
    page.on("console", lambda message: hear(message.text, said))
    await page.goto(f"http://127.0.0.1:{server.port}{path}")
    return page, said


async def until_said(page: Page, said: list[str], text: str) -> None:
    """Wait until the console says something."""
    async with asyncio.timeout(20):
        while not any(text in each for each in said):
            await page.wait_for_event("console")


async def test_console_says_why_a_page_is_stopped(browser: Browser) -> None:
    """The reason, what it means, and the remedy; nothing as long as all is well."""
    async with serve_pages("browser", 2, {"DEBUG": "1"}) as server:
        context = await browser.new_context()
        page, said = await show(context, server, "/wall/none")
        await page.wait_for_function(OPEN)
        assert said == []

        await server.post("/stop/refused")
        await until_said(page, said, "@channel.authorize said no")
        assert said[-1].startswith("quart_sse: this page is not live any more")
        await context.close()


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/swap", 'sse-swap="comment-added" does nothing: it belongs to htmx'),
        (
            "/unconnected",
            "(board.number?name=a). Put {{ sse_connect() }} after them. If it is there, the",
        ),
    ],
)
async def test_console_says_what_a_page_lacks(browser: Browser, path: str, text: str) -> None:
    """An attribute that nothing reads; a connect element that is not there."""
    async with serve_pages("browser", 2, {"DEBUG": "1"}) as server:
        context = await browser.new_context()
        page, said = await show(context, server, path)
        await until_said(page, said, text)
        assert len(said) == 1
        await context.close()


async def test_console_says_which_part_of_a_page_is_refused(browser: Browser) -> None:
    """By the names of the topics, once for each change."""
    async with serve_pages("refused", 2, {"DEBUG": "1"}) as server:
        await server.post("/vaults/2")
        context = await browser.new_context()
        page, said = await show(context, server, "/")
        await until_said(page, said, "which does not change any more: vault?number=1.")
        assert len(said) == 1
        await context.close()


async def test_console_is_silent_where_nothing_is_developed(browser: Browser) -> None:
    """Outside debug mode, only the page's status shows a fault; no further script is loaded."""
    async with serve_pages("browser", 2) as server:
        context = await browser.new_context()
        page, said = await show(context, server, "/wall/none")
        await page.wait_for_function(OPEN)
        assert await page.locator("script[src*=debug]").count() == 0
        assert said == []
        await context.close()


async def test_console_names_fragments_whose_rows_have_no_ids(browser: Browser) -> None:
    """Once for each fragment, and none whose rows have ids."""
    async with serve_pages("morph", 2, {"DEBUG": "1"}) as server:
        context = await browser.new_context()
        page, said = await show(context, server, "/page/rows")
        await page.wait_for_function(OPEN)
        for number, html in enumerate(
            ["<li id=a>a</li><li id=b>b</li>", "<li>a</li><li>b</li>", "<li>a</li><li>c</li>"]
        ):
            if number == 1:
                assert said == []
            body = f"<ul>{html}</ul><i class=turn>{number}</i>"
            origin = f"http://127.0.0.1:{server.port}"
            await page.request.post(f"{origin}/say/rows", data=body)
            await expect(page.locator(".turn")).to_have_text(str(number))

        assert len(said) == 1
        assert "rows of the fragment board.part?name=rows have no ids" in said[0]
        await context.close()
