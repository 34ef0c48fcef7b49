"""A page of which a part is refused says so, and which; the rest is live."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from quart_sse.errors import LivePageError
from quart_sse.testing import until_live
from tests.support.browsers import visit
from tests.support.redis_server import running_redis
from tests.support.servers import Server, serve_pages

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

PARTIAL = "() => document.documentElement.dataset.sseState === 'partial'"
MARKED = "() => [...document.querySelectorAll('[data-sse-refused]')].map(each => each.dataset.sse)"
KINDS = [
    (broker, htmx, query)
    for broker in ("memory", "redis")
    for htmx, query in ((2, ""), (4, ""), (2, "?plain"))
]


@pytest.fixture(params=KINDS, ids=lambda kind: f"{kind[0]}-{kind[1]}{kind[2]}")
async def server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Server]:
    """A server with a broker of each kind, for either htmx and for pages without."""
    broker, htmx, _ = request.param
    if broker == "memory":
        async with serve_pages("refused", htmx) as server:
            yield server
        return
    async with (
        running_redis(tmp_path) as redis,
        serve_pages("refused", htmx, {"QUART_SSE_BROKER_URL": redis.url}) as server,
    ):
        yield server


@pytest.fixture
def query(request: pytest.FixtureRequest) -> str:
    """The query of a page of that kind."""
    kind: tuple[str, int, str] = request.getfixturevalue("request").node.callspec.params["server"]
    return kind[2]


async def marked(page: Page, *keys: str) -> None:
    """Wait until these fragments are marked as refused, and no others."""
    script = f"({MARKED})().join() === {','.join(keys)!r}"
    await page.wait_for_function(script)


async def told(page: Page) -> Any:
    """Return what the last event said."""
    return await page.evaluate("() => told.at(-1)")


async def test_page_says_which_part_of_it_is_refused(
    browser: Browser, server: Server, query: str
) -> None:
    """While the rest of it is live; when all is granted again, the page is whole."""
    await server.post("/vaults/2")
    async with visit(browser, server, f"/{query}", PARTIAL) as page:
        await marked(page, "vault.number?number=1")
        assert await told(page) == {"topics": ["vault?number=1"], "fragments": []}
        status = page.locator("[data-sse-status]")
        await expect(status).to_have_text("Partly live. Refresh", use_inner_text=True)
        assert await page.evaluate("() => [QuartSSE.isConnected, QuartSSE.isConnecting]") == [
            True,
            False,
        ]
        await server.post("/count/5")
        await expect(page.locator("[data-sse='hall.number']")).to_have_text("5")
        await expect(page.locator("[data-sse='vault.number?number=2']")).to_have_text("5")
        await expect(page.locator("[data-sse='vault.number?number=1']")).to_have_text("0")
        with pytest.raises(LivePageError, match=r"'partial'.*sse:refused"):
            await until_live(page)

        await server.post("/vaults/0")
        await marked(page, "vault.number?number=1", "vault.number?number=2")
        assert await told(page) == {
            "topics": ["vault?number=1", "vault?number=2"],
            "fragments": [],
        }
        await server.post("/vaults/1,2")
        await marked(page)
        assert await told(page) == {"topics": [], "fragments": []}
        await expect(status).to_have_text("Live", use_inner_text=True)
        await expect(page.locator("[data-sse='vault.number?number=1']")).to_have_text("5")
        states = await page.evaluate("() => states.join(' ')")
        assert states.startswith("connecting partial (on) ")
        assert states.endswith("open") or states.endswith("open (on)")


async def test_page_says_that_a_fragment_is_refused(
    browser: Browser, server: Server, query: str
) -> None:
    """By its key, for its topic is granted."""
    async with visit(browser, server, f"/{query}") as page:
        await server.post("/inside/closed")
        await page.wait_for_function(PARTIAL)
        await marked(page, "hall.around", "inside.number")
        assert await told(page) == {"topics": ["inside"], "fragments": ["hall.around"]}
        await server.post("/inside/open")
        await marked(page)


async def test_page_with_two_connect_elements_is_whole_if_both_are(
    browser: Browser, server: Server, query: str
) -> None:
    """The state does not depend on which of them was opened last."""
    async with visit(browser, server, f"/live{query}") as page:
        await server.post("/inside/closed")
        await page.wait_for_function(PARTIAL)
        await marked(page, "hall.around", "inside.number")
        for number in range(3):
            await server.post("/vaults/1,2")
            await server.post(f"/count/{number}")
            await expect(page.locator("[data-sse='hall.number']")).to_have_text(f"{number}")
            await page.wait_for_function(PARTIAL)
        await server.post("/inside/open")
        await marked(page)
        await page.wait_for_function("() => document.documentElement.dataset.sseState === 'open'")


async def test_topic_that_is_closed_is_refused_at_once(
    browser: Browser, server: Server, query: str
) -> None:
    """On the open stream."""
    async with visit(browser, server, f"/{query}") as page:
        assert await told(page) is None
        assert await page.locator("script[src*=refused]").count() == 0
        await server.post("/close/1")
        await page.wait_for_function(PARTIAL)
        await marked(page, "vault.number?number=1")


async def test_page_of_which_a_part_is_refused_lives_on_when_its_tokens_are_renewed(
    browser: Browser,
) -> None:
    """Again and again: each new token lists less than the page was made for."""
    lifetime = 3
    async with serve_pages("refused", 2, {"QUART_SSE_TOKEN_LIFETIME": f"{lifetime}"}) as server:
        await server.post("/vaults/2")
        async with visit(browser, server, "/?plain", PARTIAL) as page:
            await page.evaluate(
                "(ms) => new Promise((run) => setTimeout(run, ms))", 2500 * lifetime
            )
            await page.evaluate("QuartSSE.connect()")
            await server.post("/count/5")
            await expect(page.locator("[data-sse='vault.number?number=2']")).to_have_text("5")
            await page.wait_for_function(PARTIAL)
