"""A page with one fragment whose HTML a test says."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import count
from urllib.parse import urlencode

from playwright.async_api import BrowserContext, Page, expect

from tests.support.browsers import OPEN
from tests.support.servers import Server, serve_pages

#: What pages have of htmx -> the version that the server is set to.
KINDS = {"htmx2": 2, "htmx4": 4, "plain": 2}
_names = count(1)


class Shown:
    """A page that shows a fragment, and the server's side of it.

    Args:
        page: The page.
        origin: Of the server.
        name: Of the topic, which is this page's own.
    """

    def __init__(self, page: Page, origin: str, name: str) -> None:
        self.page = page
        self.origin = origin
        self.name = name
        self._turns = count(1)

    async def say(self, html: str) -> None:
        """Let the fragment have new HTML, and wait until the page shows it.

        Args:
            html: The HTML; ``NAME`` in it becomes the topic's name.
        """
        turn = next(self._turns)
        html = html.replace("NAME", self.name)
        await self.post("say", f"{html}<i class=turn hidden>{turn}</i>")
        await expect(self.page.locator(".turn")).to_have_text(str(turn))

    async def post(self, what: str, body: str = "") -> None:
        """Send the server something for this page."""
        await self.page.request.post(f"{self.origin}/{what}/{self.name}", data=body)

    async def asked(self) -> int:
        """Return how often the page has asked for its personal fragment."""
        answer = await self.page.request.get(f"{self.origin}/asked/{self.name}")
        return int((await answer.json())["asked"])

    async def paid(self) -> int:
        """Return how often the page has sent a payment."""
        answer = await self.page.request.get(f"{self.origin}/paid/{self.name}")
        return int((await answer.json())["paid"])


class Pages:
    """A server of such pages.

    Args:
        server: The server.
        kind: What the pages have of htmx.
    """

    def __init__(self, server: Server, kind: str) -> None:
        self.origin = f"http://127.0.0.1:{server.port}"
        self.kind = kind

    async def show(self, context: BrowserContext, html: str, then: str = "", **more: str) -> Shown:
        """Open a page of a topic of its own.

        Args:
            context: The browser.
            html: The fragment's HTML; ``NAME`` in it becomes the topic's name.
            then: JavaScript to run before the page begins.
            more: What is in its ``head``, ``before`` or ``foot``, the fragment's ``tag``, or
                another word of ``tests.apps.morph``.
        """
        page = await context.new_page()
        shown = Shown(page, self.origin, f"t{next(_names)}")
        await shown.post("say", html.replace("NAME", shown.name))
        if then:
            await page.add_init_script(then)
        await page.goto(self.url(shown, **more))
        await page.wait_for_function(OPEN)
        return shown

    def url(self, shown: Shown, **more: str) -> str:
        """Return the URL of a page, with the same words."""
        plain = {"plain": "1"} if self.kind == "plain" else {}
        return f"{self.origin}/page/{shown.name}?{urlencode({**more, **plain})}"


@asynccontextmanager
async def serving_pages(
    kind: str, environ: Mapping[str, str] | None = None
) -> AsyncIterator[Pages]:
    """Serve pages with either htmx, or with none."""
    async with serve_pages("morph", KINDS[kind], environ) as server:
        yield Pages(server, kind)


def script(path: str) -> str:
    """Return the element that loads a script of node_modules."""
    return f'<script src="/packages/{path}"></script>'


def styles(path: str) -> str:
    """Return the element that loads a style sheet of node_modules."""
    return f'<link rel="stylesheet" href="/packages/{path}">'


def rows(*texts: str, tag: str = "li") -> str:
    """Return rows without ids, each with a field and a button."""
    return "".join(
        f'<{tag}><b>{text}</b><input><button type="button">{text}</button></{tag}>'
        for text in texts
    )
