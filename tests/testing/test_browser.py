"""`until_live` in a real Chromium."""

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, Error, expect

from quart_sse import LivePageError
from quart_sse.testing import until_live
from tests.support.servers import Server, serve_pages

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]


@pytest.fixture(params=[2, 4], ids=["htmx2", "htmx4"])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    """Serve an app to a browser."""
    async with serve_pages("tested", request.param) as server:
        yield server


async def test_what_is_published_from_then_on_is_shown(browser: Browser, server: Server) -> None:
    """A page that is live gets every event, which none does before."""
    page = await browser.new_page(base_url=f"http://127.0.0.1:{server.port}")
    await page.request.post("/sign-in", form={"name": "ada"})  # who may know all that is shown
    await page.goto("/discussion/7")
    await page.evaluate("QuartSSE.on('clock', 'ticked', (data) => { window.ticked = data })")
    await until_live(page)

    await page.request.post("/discussion/7", form={"text": "hello"})

    await expect(page.locator("li")).to_have_text("hello")


async def test_page_without_a_stream_is_named(browser: Browser, server: Server) -> None:
    """By its state, and with what may be the reason; one that is refused at once."""
    page = await browser.new_page(base_url=f"http://127.0.0.1:{server.port}")
    await page.goto("/dead")
    with pytest.raises(LivePageError, match=r"not live after 0.1 s; its state is ''. It has no "):
        await until_live(page, timeout=0.1)

    await page.goto("/refused")
    with pytest.raises(LivePageError, match=r"not live; its state is 'stopped'. The server"):
        await until_live(page, timeout=100)


async def test_other_errors_are_playwrights(browser: Browser) -> None:
    """A page that was closed is no page that is not live."""
    page = await browser.new_page()
    await page.close()

    with pytest.raises(Error, match="closed"):
        await until_live(page)


class Sync:
    """A page of Playwright's sync API, which answers at once."""

    def wait_for_function(self, expression: str, *, timeout: float | None = None) -> object:
        """Return no awaitable."""
        return object()

    def evaluate(self, expression: str) -> object:
        """Return no awaitable."""
        return object()


async def test_sync_api_is_told_what_to_call() -> None:
    """Nothing would wait there."""
    with pytest.raises(LivePageError, match="wait_for_selector"):
        await until_live(Sync())
