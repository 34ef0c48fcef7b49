"""Pages show who is here, without a line of script, over processes, reloads and killed ones."""

import re
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, BrowserContext, Page, expect

from tests.support.browsers import open_tab, without_errors
from tests.support.redis_server import running_redis
from tests.support.servers import Server, serve_pages, until_so

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

KINDS = [(2, ""), (4, ""), (2, "?plain")]
IDS = ["htmx2", "htmx4", "no htmx"]


@pytest.fixture(params=["memory", "redis"])
async def broker(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """The URL of a broker of each kind."""
    if request.param == "memory":
        yield "memory://"
        return
    async with running_redis(tmp_path) as redis:
        yield redis.url


@asynccontextmanager
async def browser_of(browser: Browser, server: Server, who: str) -> AsyncIterator[BrowserContext]:
    """Open the browser of a user."""
    async with without_errors(browser) as context:
        url = f"http://127.0.0.1:{server.port}"
        await context.add_cookies([{"name": "who", "value": who, "url": url}])
        yield context


async def shows(page: Page, *names: str) -> None:
    """Wait until a page says who is here, and how many."""
    count = f"{len(names)} {'person' if len(names) == 1 else 'people'} here"
    await expect(page.locator("#count")).to_have_text(count)
    await expect(page.locator("#names li")).to_have_text(list(names))


@pytest.mark.parametrize(("htmx", "query"), KINDS, ids=IDS)
async def test_page_shows_who_is_here(browser: Browser, broker: str, htmx: int, query: str) -> None:
    """Those with an identity by name; a reload and another tab are neither a join nor a leave."""
    environ = {"QUART_SSE_BROKER_URL": broker, "QUART_SSE_PRESENCE_LINGER": "2"}
    async with (
        serve_pages("people", htmx, environ) as server,
        browser_of(browser, server, "ada") as ada,
        browser_of(browser, server, "bob") as bob,
    ):
        page = await open_tab(ada, server, f"/rooms/1{query}")
        await shows(page, "Ada")
        other = await open_tab(bob, server, f"/rooms/1{query}")
        await shows(page, "Ada", "Bob")
        await shows(other, "Ada", "Bob")
        for _ in range(3):
            await other.reload()
            await open_tab(bob, server, f"/rooms/1{query}")
        await shows(page, "Ada", "Bob")
        await bob.close()
        await shows(page, "Ada")
        await expect(page.locator("#moves")).to_have_text(re.compile("joined Bob, left Bob, $"))
        assert await server.get_json("/moves") == ["+ada", "+bob", "-bob"]
        assert "ssh-key" not in await page.content()


@pytest.mark.chromium
async def test_page_without_scripts_shows_who_is_here(browser: Browser) -> None:
    """At first paint: its own viewer, and all clients with a stream."""
    async with (
        serve_pages("people", 2) as server,
        browser_of(browser, server, "ada") as ada,
        without_errors(browser, java_script_enabled=False) as context,
    ):
        page = await open_tab(ada, server, "/rooms/1")
        await shows(page, "Ada")
        plain = await context.new_page()
        await plain.goto(f"http://127.0.0.1:{server.port}/rooms/2")
        await expect(plain.locator("#count")).to_have_text("1 person here")
        await plain.goto(f"http://127.0.0.1:{server.port}/rooms/1")
        await expect(plain.locator("#names li")).to_have_text(["Ada"])


async def test_people_of_a_killed_process_leave(browser: Browser, tmp_path: Path) -> None:
    """The pages of the other process show it, its hooks are called; those who come back stay."""
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(running_redis(tmp_path))
        environ = {"QUART_SSE_BROKER_URL": redis.url, "PRESENT_MS": "3000", "RENEW": "0.5"}
        here, there = [
            await stack.enter_async_context(serve_pages("people", 2, environ)) for _ in range(2)
        ]
        ada = await stack.enter_async_context(browser_of(browser, here, "ada"))
        bob = await stack.enter_async_context(browser_of(browser, there, "bob"))
        eve = await stack.enter_async_context(browser_of(browser, there, "eve"))
        page = await open_tab(ada, here, "/rooms/1")
        await open_tab(bob, there, "/rooms/1")
        lost = await open_tab(eve, there, "/rooms/1")
        await shows(page, "Ada", "Bob", "Eve")
        there.process.send_signal(signal.SIGKILL)
        await there.process.wait()
        await lost.goto(f"http://127.0.0.1:{here.port}/rooms/1")

        await shows(page, "Ada", "Eve")

        async def has_left() -> bool:
            return "-bob" in await here.get_json("/moves")

        await until_so(has_left)
        assert await here.get_json("/moves") == ["+ada", "-bob"]
