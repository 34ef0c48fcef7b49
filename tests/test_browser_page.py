"""What our script gives a page: its state in words, an API, all of it under a strict policy."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Browser, BrowserContext, Page, expect

from tests.servers import Server, serve
from tests.test_browser import OPEN, browser
from tests.test_browser_shared import context, count, failing, pages, serving, until_count, visit

__all__ = ["browser", "context", "pages"]

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

STRICT = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'"
)
STATE = "() => document.documentElement.dataset.sseState"
#: Writes down what a page is told about its connection.
WATCH = """
    window.log = [];
    for (const state of ["connecting", "open", "retry", "stopped"]) {
        document.addEventListener(`sse:${state}`, (event) => log.push(event.detail.state));
    }
    document.addEventListener("securitypolicyviolation", (event) => log.push(event.blockedURI));
"""


@asynccontextmanager
async def with_policy(htmx: int, policy: str, nonce: str = "") -> AsyncIterator[Server]:
    """Serve the pages under a Content-Security-Policy."""
    environ = {"QUART_SSE_HTMX": str(htmx), "CSP": policy, **({"NONCE": nonce} if nonce else {})}
    command = ("-m", "uvicorn", "tests.browser_app:app", "--log-level", "warning", "--port")
    async with serve(lambda port: [*command, str(port)], environ) as server:
        yield server


@pytest.mark.parametrize("htmx", [2, 4])
async def test_everything_works_under_a_strict_policy(context: BrowserContext, htmx: int) -> None:
    """Shared connection, fragments, forms, personal fragments: no violation, no eval, no style."""
    await context.add_init_script(WATCH)
    async with with_policy(htmx, STRICT) as server:
        tabs = [await visit(context, server, path) for path in ("/number/a", "/number/b", "/mine")]
        late = await context.new_page()
        await late.goto(f"http://127.0.0.1:{server.port}/late")
        await late.click("button")
        await expect(late.locator("#a")).to_have_text("a is 0")
        await tabs[0].locator("#typed").press_sequentially("typed")

        await server.post("/raise/a")
        await server.post("/raise/b")

        await expect(tabs[0].locator("#a")).to_have_text("a is 1")
        await expect(tabs[0].locator("#typed")).to_have_value("typed")
        await expect(tabs[1].locator("#b")).to_have_text("b is 1")
        await expect(tabs[2].locator("u")).to_have_text("nobody sees 1")
        await expect(late.locator("#a")).to_have_text("a is 1")
        for tab in (*tabs, late):
            assert set(await tab.evaluate("() => log")) <= {"connecting", "open"}
        await until_count(server, lambda number: number == 1)


@pytest.mark.parametrize(("worker", "connections"), [("; worker-src 'self'", 1), ("", 2)])
async def test_scripts_may_be_allowed_by_nonce(
    browser: Browser, worker: str, connections: int
) -> None:
    """A nonce lets no worker in; where the policy has no word for workers each page connects."""
    policy = STRICT.replace("script-src 'self'", "script-src 'nonce-abc'") + worker
    context = await browser.new_context()
    async with with_policy(2, policy, "abc") as server:
        tabs = [await visit(context, server, f"/number/{name}") for name in "ab"]
        await server.post("/raise/a")

        await expect(tabs[0].locator("#a")).to_have_text("a is 1")
        await until_count(server, lambda number: number == connections)
    await context.close()


@pytest.mark.parametrize("htmx", [2, 4])
async def test_state_is_seen_in_words(context: BrowserContext, htmx: int) -> None:
    """The status says in turn that the page connects, is live, comes back and has stopped."""
    await context.add_init_script(WATCH)
    async with serving(htmx) as server:
        page = await visit(context, server, "/number/a")
        status = page.get_by_role("status")
        await expect(status.locator(":visible")).to_have_text(["Live"])

        await server.stop()
        async with failing(server.port):
            await expect(status.locator(":visible")).to_have_text(["Reconnecting…"])
        assert await page.evaluate("() => [QuartSSE.isConnected, QuartSSE.isConnecting]") == [
            False,
            True,
        ]
        assert await page.evaluate("() => QuartSSE.error")

        await page.evaluate("() => QuartSSE.disconnect()")
        await expect(status.locator("span:visible")).to_have_text(["Not live. Refresh"])
        assert await page.evaluate("() => log") == ["connecting", "open", "retry", "stopped"]
        async with serving(htmx, server.port):
            await page.get_by_role("link", name="Refresh").click()
            await expect(status.locator(":visible")).to_have_text(["Live"])


async def test_script_api_without_htmx(context: BrowserContext, pages: Server) -> None:
    """Events are called back, noted and forgotten; fragments are kept current; it can be left."""
    page = await visit(context, pages, "/events/a")
    await visit(context, pages, "/number/b")  # whose events are not for the page
    assert await page.evaluate("() => typeof htmx") == "undefined"
    await page.evaluate("""() => {
        window.got = [];
        const hear = (...path) => (data, message) => got.push([...path, data, message.event]);
        window.forget = QuartSSE.on("board", "raised", {name: "a"}, hear("a"));
        QuartSSE.on("board", "raised", {name: "b"}, hear("b"));
        QuartSSE.on("board", "raised", {}, hear("none"));
        QuartSSE.on("*", hear("*"));
    }""")

    await pages.post("/raise/b")
    await pages.post("/raise/a")
    await expect(page.locator("#a")).to_have_text("a is 1")
    name = "board.raised?name=a"
    assert await page.evaluate("() => got") == [["a", 1, name], ["*", 1, name]]
    last = await page.evaluate("() => QuartSSE.lastMessage")
    assert (last["event"], last["data"]) == (name, 1)
    assert await page.evaluate("() => QuartSSE.messages.length") == 1
    await page.evaluate("() => { QuartSSE.clearMessages(); forget(); }")
    await pages.post("/raise/a")
    await page.wait_for_function("() => got.length >= 3")
    assert await page.evaluate("() => [got[2], QuartSSE.messages.length]") == [["*", 2, name], 1]

    await page.evaluate("() => QuartSSE.disconnect()")
    assert await page.evaluate(STATE) == "stopped"
    await pages.post("/raise/a")
    await until_quiet(page)
    assert await page.evaluate("() => got.length") == 3

    await page.evaluate("() => QuartSSE.connect()")
    await page.wait_for_function(OPEN)
    await page.wait_for_function("() => got.length >= 4")
    assert await page.evaluate("() => got[3]") == ["*", 3, name]


async def until_quiet(page: Page) -> None:
    """Wait until the worker has answered a tab, and so what went out before has arrived."""
    await page.evaluate("""() => new Promise((quiet) => {
        const { src } = document.querySelector("script[src*=quart]");
        const worker = new SharedWorker(src, "quart-sse");
        worker.port.onmessage = quiet;
        worker.port.postMessage({ interval: 1000 });
    })""")


@pytest.mark.parametrize("options", ["QuartSSE.attempts = 2", "QuartSSE.reconnect = false"])
async def test_page_can_limit_its_attempts(context: BrowserContext, options: str) -> None:
    """After so many it stops, and says so; other tabs go on; callbacks tell of each step."""
    async with serving(2) as server:
        page = await visit(context, server, "/events/a")
        other = await visit(context, server, "/events/b")
        await page.evaluate(f"""() => {{
            {options};
            QuartSSE.interval = 10;
            window.log = [];
            QuartSSE.onconnect = () => log.push("connect");
            QuartSSE.ondisconnect = (state) => log.push(`disconnect ${{state}}`);
            QuartSSE.onerror = (error) => log.push("error");
        }}""")
        await server.stop()
        await page.wait_for_function("() => document.documentElement.dataset.sseState == 'stopped'")
        errors = 3 if "attempts" in options else 1
        assert await page.evaluate("() => log") == [
            "error",
            "disconnect retry",
            *["error"] * (errors - 1),
        ]
        assert await other.evaluate(STATE) == "retry"

        async with serving(2, server.port):
            await other.wait_for_function(OPEN)
            assert await page.evaluate(STATE) == "stopped"
            await page.evaluate("() => QuartSSE.connect()")
            await page.wait_for_function(OPEN)
            assert (await page.evaluate("() => log"))[-1] == "connect"


async def test_originator_is_left_out_on_demand(context: BrowserContext, pages: Server) -> None:
    """The page whose request it was is not told, another tab of the same browser is."""
    here = await visit(context, pages, "/others/a")
    there = await visit(context, pages, "/others/a")
    for page in (here, there):
        await page.evaluate("""() => {
            window.got = [];
            QuartSSE.on("board", "told", {name: "a"}, (data) => got.push(data));
        }""")

    await here.click("button")
    for page in (here, there):
        await page.wait_for_function("() => got.includes('all')")

    assert await here.evaluate("() => got") == ["all"]
    assert await there.evaluate("() => got") == ["others", "all"]


async def test_without_javascript_a_page_is_current_and_says_how_to_stay_so(
    browser: Browser, pages: Server
) -> None:
    """It shows what is, a link to load it anew, and reloads by itself where that is wished."""
    await pages.post("/raise/a")
    context = await browser.new_context(java_script_enabled=False)
    page = await context.new_page()
    await page.goto(f"http://127.0.0.1:{pages.port}/number/a")
    await expect(page.locator("#a")).to_have_text("a is 1")
    await expect(page.get_by_text("Not live.")).to_be_visible()
    await expect(page.get_by_text("Live", exact=True)).to_be_hidden()
    await expect(page.get_by_role("link", name="Refresh")).to_be_visible()

    await pages.post("/raise/a")

    await expect(page.locator("#a")).to_have_text("a is 2")
    await context.close()


async def test_what_is_read_out_stays_in_the_page(context: BrowserContext, pages: Server) -> None:
    """The element with aria-live is the same before and after a refresh."""
    page = await visit(context, pages, "/number/a")
    region = page.locator("[aria-live=polite]")
    await region.evaluate("(element) => { element.isSame = true; }")

    await pages.post("/raise/a")

    await expect(region).to_have_text("a is 1")
    assert await region.evaluate("(element) => element.isSame")
    assert await count(pages) == 1


async def test_nothing_moves_where_motion_is_reduced(browser: Browser, pages: Server) -> None:
    """A refresh starts no animation, transition or view transition."""
    context = await browser.new_context(reduced_motion="reduce")
    await context.add_init_script("""
        window.moved = [];
        for (const name of ["animationstart", "transitionrun"]) {
            addEventListener(name, (event) => moved.push(event.type), true);
        }
        const start = document.startViewTransition;
        Document.prototype.startViewTransition = function (...all) {
            moved.push("view transition");
            return start.apply(this, all);
        };
    """)
    page = await visit(context, pages, "/number/a")

    await pages.post("/raise/a")

    await expect(page.locator("#a")).to_have_text("a is 1")
    assert await page.evaluate("() => moved") == []
    await context.close()
