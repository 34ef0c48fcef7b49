"""Random versions of a fragment, between what scripts put in: the page shows the server's."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import BrowserContext

from tests.support.morphing import Pages, serving_pages

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

#: Gives a fragment random versions; returns how many, and what went wrong.
RUN = Path(__file__).with_name("versions.js").read_text("utf-8")


@pytest.fixture(params=["htmx2", "htmx4", "plain"])
async def pages(request: pytest.FixtureRequest) -> AsyncIterator[Pages]:
    """Return a server of pages with either htmx, and with none."""
    async with serving_pages(request.param) as pages:
        yield pages


@pytest.mark.parametrize(("seed", "then"), [(1, ""), (2, "delete Element.prototype.moveBefore")])
async def test_page_shows_what_the_server_says(
    context: BrowserContext, pages: Pages, seed: int, then: str
) -> None:
    """After each of many versions, whatever scripts have put in between."""
    shown = await pages.show(context, "", then=then)
    await shown.page.evaluate("QuartSSE.provide('test', (put) => (window.inner = { put }))")

    result = await shown.page.evaluate(RUN, [f"board.part?name={shown.name}", 100, seed])

    assert result == [600]
