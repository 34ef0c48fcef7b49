"""What HTML that users have written can make a page do: nothing that reaches further than itself."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from html import escape
from urllib.parse import quote, urlencode

import pytest
from playwright.async_api import BrowserContext, Page, expect

from tests.servers import Server, serve_pages
from tests.test_browser import browser
from tests.test_browser_shared import context, state, visit

__all__ = ["browser", "context"]

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

HEAR = "() => { window.got = []; QuartSSE.on('*', (data) => got.push(data)); }"
OWN = ["board?name=a"]


@dataclass
class Pages:
    """A server of pages with what users have written."""

    server: Server
    htmx: int  #: 2, 4, or 0 for none

    async def show(self, context: BrowserContext, before: str = "", **more: str) -> Page:
        """Open a page that contains it, and wait until the page's own connection is open."""
        none = {} if self.htmx else {"none": ""}
        query = urlencode({"before": before, **more, **none})
        return await visit(context, self.server, f"/users?{query}")

    def connect(self, url: str) -> str:
        """Return a connect element, as this htmx knows it."""
        name = "hx-sse:connect" if self.htmx == 4 else "sse-connect"
        return f'<div {name}="{escape(url)}"></div>'


@pytest.fixture(params=[2, 4, 0], ids=["htmx2", "htmx4", "none"])
async def pages(request: pytest.FixtureRequest) -> AsyncIterator[Pages]:
    """Serve pages for either htmx, and for none."""
    async with serve_pages("browser_app", request.param or 2) as server:
        yield Pages(server, request.param)


def url_of(name: str, k: str = "0") -> str:
    """Return the URL of a stream of what anybody may hear."""
    topic = quote(f"~hall?name={name}", safe="~")
    return f"/sse?t={topic}&k={k}&since=0"


async def test_keys_that_javascript_knows_are_keys(context: BrowserContext, pages: Pages) -> None:
    """A group is named by what stands in the page, which may be what every object has."""
    keys = ["__proto__", "constructor", "toString", "hasOwnProperty", "0"]
    page = await pages.show(context, "".join(pages.connect(url_of(f"of-{k}", k)) for k in keys))
    await page.evaluate(HEAR)

    for k in keys:
        await pages.server.post(f"/open/of-{k}")
    await pages.server.post("/raise/a")

    await expect(page.locator("#a")).to_have_text("a is 1")
    await page.wait_for_function("() => got.includes('of-0')")
    assert [text for text in await page.evaluate("() => got") if text != 1] == [
        f"of-{k}" for k in keys
    ]
    topics = [f"hall?name=of-{k}" for k in sorted(keys)]
    assert await state(pages.server) == {"open": 1, "topics": OWN + topics}
