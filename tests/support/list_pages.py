"""Pages with a list whose items a test says."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import count
from typing import Any
from urllib.parse import urlencode

from playwright.async_api import BrowserContext, Page, expect

from tests.support.browsers import OPEN
from tests.support.morphing import KINDS
from tests.support.servers import serve_pages

#: Key -> order and HTML of an item, or None if it goes.
Items = Mapping[str, tuple[Any, str] | None]
_names = count(1)

#: Keys and texts of the list on the page, in their order.
SHOWN = """() => [...document.querySelectorAll("[data-sse-item]")]
    .filter((each) => each.closest("[data-sse]").dataset.sse.includes("name="))
    .map((each) => [each.dataset.sseItem, each.textContent.trim()])"""


class ListPage:
    """A page that shows a list, and the server's side of it.

    Args:
        page: The page.
        origin: Of the server.
        list: Name of the list.
        name: Of the topic, which is this page's own.
    """

    def __init__(self, page: Page, origin: str, list: str, name: str) -> None:
        self.page = page
        self.origin = origin
        self.list = list
        self.name = name

    async def say(self, items: Items, **options: Any) -> None:
        """Change items, and refresh them."""
        url = f"{self.origin}/say/{self.list}/{self.name}"
        await self.page.request.post(url, data={"items": dict(items), **options})

    async def shows(self, *texts: str) -> None:
        """Wait until the items have these texts, in this order."""
        await expect(self.page.locator("[data-sse-item]")).to_have_text([*texts])

    async def rendered(self) -> list[str]:
        """Return what the server has rendered, of all pages."""
        answer = await self.page.request.get(f"{self.origin}/rendered")
        return list(await answer.json())


class ListPages:
    """A server of such pages.

    Args:
        origin: Of the server.
        kind: What the pages have of htmx.
    """

    def __init__(self, origin: str, kind: str) -> None:
        self.origin = origin
        self.kind = kind

    async def show(self, context: BrowserContext, list: str, items: Items, **more: str) -> ListPage:
        """Open a page of a topic of its own.

        Args:
            context: The browser.
            list: Name of the list.
            items: Its items.
            more: What is ``before`` or behind (``foot``) it, and its ``tag``.
        """
        page = await context.new_page()
        shown = ListPage(page, self.origin, list, f"t{next(_names)}")
        await shown.say(items, quiet=True)
        plain = {"plain": "1"} if self.kind == "plain" else {}
        await page.goto(f"{self.origin}/page/{list}/{shown.name}?{urlencode({**more, **plain})}")
        await page.wait_for_function(OPEN)
        return shown


@asynccontextmanager
async def serving_lists(kind: str) -> AsyncIterator[ListPages]:
    """Serve pages with either htmx, or with none."""
    async with serve_pages("lists", KINDS[kind]) as server:
        yield ListPages(f"http://127.0.0.1:{server.port}", kind)
