"""A page that hangs on a wall: what it does when its signature has expired."""

import asyncio

import pytest
from playwright.async_api import Browser, BrowserContext, Page, expect

from tests.support.browsers import OPEN, open_tab
from tests.support.servers import Server, serve_pages

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

STOPPED = "() => document.documentElement.dataset.sseState === 'stopped'"
STAYS = "Boolean(window.isOld && !window.isLeaving)"
RELOADED = f"() => !window.isOld && ({OPEN})()"
MINUTE = 60_000
#: Lets a page's time be moved on, from its beginning in each page anew, and says when it leaves.
CLOCK = """
    const now = performance.now.bind(performance), start = setTimeout;
    let ahead = 0, held = [];
    navigation.addEventListener("navigate", () => { window.isLeaving = true; });
    performance.now = () => now() + ahead;
    window.setTimeout = (go, ms, ...more) => ms < 60000 ? start(go, ms, ...more)
        : held.push({ at: performance.now() + ms, go });
    window.pass = (ms) => {
        ahead += ms;
        held = held.filter(({ at, go }) => at > performance.now() || void go());
    };
"""
#: Asks whether the page's token is still good.
ASK = """async () => {
    const url = document.querySelector("[sse-connect]").getAttribute("sse-connect");
    return (await fetch(url, { method: "HEAD" })).status;
}"""
TYPE = """() => {
    document.querySelector("textarea").focus();
    document.execCommand("insertText", false, "x");
}"""


async def show(context: BrowserContext, server: Server, path: str = "/wall/none") -> Page:
    """Open a page whose time can be moved on, and remember that it was not loaded anew."""
    page = await context.new_page()
    await page.add_init_script(CLOCK)
    await page.goto(f"http://127.0.0.1:{server.port}{path}")
    await page.wait_for_function(OPEN)
    await page.evaluate("window.isOld = true")
    return page


async def pass_minutes(page: Page, minutes: int) -> None:
    """Let so much time pass, and whatever the page does then be done."""
    await page.evaluate("(ms) => pass(ms)", minutes * MINUTE)


async def is_stopped(page: Page, server: Server, reason: str = "expired") -> None:
    """Tell the page to stop, and see that it says so and has not been loaded anew."""
    await server.post(f"/stop/{reason}")
    await page.wait_for_function(STOPPED)
    await expect(page.get_by_role("link", name="Refresh")).to_be_visible()
    assert await page.evaluate(STAYS)


async def stays(page: Page) -> None:
    """See that the page is not loaded anew, however long it is stopped."""
    for _ in range(3):
        await pass_minutes(page, 50)
    assert await page.evaluate(STAYS)
    await page.wait_for_function(STOPPED)


@pytest.mark.parametrize("path", ["/wall/htmx", "/wall/none"])
async def test_page_is_loaded_anew_when_its_signature_has_expired(
    context: BrowserContext, pages: Server, path: str
) -> None:
    """At once, for it has been there for long, and it is live again with what has happened."""
    page = await show(context, pages, path)
    await pass_minutes(page, 61)
    await pages.post("/raise/a")
    await expect(page.locator("#a")).to_have_text("a is 1")

    await pages.post("/stop/expired")

    await page.wait_for_function(RELOADED)
    await expect(page.locator("#a")).to_have_text("a is 1")
    await pages.post("/raise/a")
    await expect(page.locator("#a")).to_have_text("a is 2")


NO_STORAGE = """
    Object.defineProperty(window, "sessionStorage", { get() { throw new Error("no storage"); } });
"""


@pytest.mark.parametrize("script", ["", NO_STORAGE], ids=["storage", "no storage"])
async def test_page_is_loaded_anew_once_an_hour_at_most(
    context: BrowserContext, script: str
) -> None:
    """One whose signature expires again and again waits in between, and goes on after that."""
    await context.add_init_script(script)
    async with serve_pages("browser", 2) as server:
        page = await show(context, server)
        for _ in range(3):
            await is_stopped(page, server)
            await pass_minutes(page, 55)
            assert await page.evaluate(STAYS)
            await pass_minutes(page, 6)
            await page.wait_for_function(RELOADED)
            await page.evaluate("window.isOld = true")


@pytest.mark.parametrize("change", ["QuartSSE.connect()", TYPE])
async def test_page_that_waits_for_its_hour_may_change_meanwhile(
    context: BrowserContext, change: str
) -> None:
    """One that is live again, or in which something has been typed, is not loaded anew then."""
    async with serve_pages("browser", 2) as server:
        page = await show(context, server)
        await is_stopped(page, server)
        await page.evaluate(change)
        if change != TYPE:
            await page.wait_for_function(OPEN)

        await pass_minutes(page, 50)
        await pass_minutes(page, 50)

        assert await page.evaluate(STAYS)


@pytest.mark.parametrize(
    "act",
    [
        "input:not([type])",
        "textarea",
        "[contenteditable]",
        "select",
        "[type=checkbox]",
    ],
)
async def test_page_in_which_something_was_changed_is_left_alone(
    context: BrowserContext, act: str
) -> None:
    """Whatever it was; the page says that it is not live, with a link to refresh it."""
    async with serve_pages("browser", 2) as server:
        page = await show(context, server)
        field = page.locator(act)
        if act == "select":
            await field.select_option("b")
        elif act == "[type=checkbox]":
            await field.check()
        else:
            await field.press_sequentially("x")

        await is_stopped(page, server)

        await stays(page)


@pytest.mark.parametrize(
    ("path", "reason"), [("/wall/none", "refused"), ("/wall/none?stay", "expired")]
)
async def test_page_is_loaded_anew_for_nothing_else(
    context: BrowserContext, path: str, reason: str
) -> None:
    """Not where access has ended otherwise, nor where the page did not ask for it."""
    async with serve_pages("browser", 2) as server:
        page = await show(context, server, path)

        await is_stopped(page, server, reason)

        await stays(page)


async def test_page_that_shares_a_stream_is_loaded_anew(browser: Browser) -> None:
    """Its signature has expired, that of another tab has not, whose stream goes on."""
    context = await browser.new_context()
    async with serve_pages("browser", 2, {"QUART_SSE_TOKEN_LIFETIME": "4"}) as server:
        old = await show(context, server)
        await old.evaluate("QuartSSE.disconnect()")
        async with asyncio.timeout(20):
            while await old.evaluate(ASK) == 200:
                pass
        fresh = await open_tab(context, server, "/number/b")
        await pass_minutes(old, 61)

        await old.evaluate("QuartSSE.connect()")

        await old.wait_for_function(RELOADED)
        for page, name in ((old, "a"), (fresh, "b")):
            await server.post(f"/raise/{name}")
            await expect(page.locator(f"#{name}")).to_have_text(f"{name} is 1")
    await context.close()
