"""A real Chromium: how it is started, visited and watched."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, BrowserContext, Page, expect

from tests.support.servers import Server, serve, serve_pages

# A condition is awaited, not a time: this is only when a slow machine is given up.
expect.set_options(timeout=15_000)


#: What Chromium and Firefox say when a stream's server goes away; htmx logs it too, and that a
#: newer request for a personal fragment has aborted an older one, or the end of a test any one
#: (sendError, like net::ERR_, is of the network). And what Firefox says of a strict policy.
EXPECTED_NOISE = re.compile(
    r"net::ERR_|network error|Failed to fetch|\[object Event\]|Failed to load resource"
    r"|t establish a connection|NetworkError|Error in input stream"
    r"|^htmx:(sendAbort|sendError|afterRequest), |/favicon.ico because it violates"
)
#: Whether a page's stream is open: our script says it, htmx's extensions do not (what is
#: published before it is open comes anyway).
OPEN = "() => !window.QuartSSE || document.documentElement.dataset.sseState === 'open'"
RETRY = "() => document.documentElement.dataset.sseState === 'retry'"
#: Tabs that are open at once.
TABS = 20


@asynccontextmanager
async def serve_forum(
    htmx: int, folder: Path, port: int | None = None, **settings: str
) -> AsyncIterator[Server]:
    """Serve the example with a database of its own."""
    environ = {
        "QUART_SSE_HTMX": str(htmx),
        "EXAMPLE_DATABASE": str(folder / "forum.sqlite3"),
        **settings,
    }
    async with serve(lambda free: ["-m", "example"], environ, port=port) as server:
        yield server


@asynccontextmanager
async def visit(
    browser: Browser, server: Server, path: str = "/", until: str | None = None
) -> AsyncIterator[Page]:
    """Open a page in a browser context of its own, and see that it logs no error."""
    context = await browser.new_context()
    page = await context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    await open_page(page, server, path, until)
    yield page
    await context.close()
    unexpected = [error for error in errors if not EXPECTED_NOISE.search(error)]
    assert unexpected == [], unexpected


async def open_page(page: Page, server: Server, path: str, until: str | None = None) -> None:
    """Go to a page and wait until its stream is open, or something else is so."""
    await page.goto(f"http://127.0.0.1:{server.port}{path}")
    await page.wait_for_function(until or OPEN)


async def go_back(page: Page, url: str) -> None:
    """Go back to the page before, which had that URL.

    Playwright would wait for a load, and a page that Firefox has kept is not loaded.
    """
    await page.evaluate("void setTimeout(() => history.back())")
    is_there = "(url) => location.href === url && document.readyState === 'complete'"
    await page.wait_for_function(is_there, arg=url)


async def sign_in(page: Page, server: Server, nickname: str, then: str = "/") -> None:
    """Sign in and go to a page whose stream is then open."""
    await page.goto(f"http://127.0.0.1:{server.port}/sign-in?next={then}")
    await page.click(f"form.sign-in button[value={nickname}]")
    await page.wait_for_url(lambda url: "/sign-in" not in url)
    await page.wait_for_function(OPEN)


@asynccontextmanager
async def serving(htmx: int, port: int | None = None) -> AsyncIterator[Server]:
    """Serve pages that share their connection."""
    async with serve_pages("browser", htmx, port=port) as server:
        yield server


@asynccontextmanager
async def without_errors(browser: Browser, **options: Any) -> AsyncIterator[BrowserContext]:
    """Return a browser of one user, and see that its pages log no error."""
    context = await browser.new_context(**options)
    errors: list[str] = []
    context.on("weberror", lambda error: errors.append(str(error.error)))
    context.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    yield context
    await context.close()
    unexpected = [error for error in errors if not EXPECTED_NOISE.search(error)]
    assert unexpected == [], unexpected


async def open_tab(context: BrowserContext, server: Server, path: str) -> Page:
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
