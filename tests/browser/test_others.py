"""Events for others than the page whose request they come from."""

import pytest
from playwright.async_api import Browser, BrowserContext, Page

from tests.support.browsers import OPEN, RETRY, open_tab, without_errors
from tests.support.elsewhere import serve_elsewhere
from tests.support.servers import Server

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

HEAR = """() => {
    window.got = [];
    QuartSSE.on("board", "told", {name: "a"}, (data) => got.push(data));
}"""
#: Opens the stream of the page's connect element once more, and reads what a script is not told.
LISTEN = """async () => {
    const element = document.querySelector("[id^=sse-][hidden]");
    const url = element.getAttribute("sse-connect") || element.getAttribute("hx-sse:connect");
    const answer = await fetch(url, { headers: { Accept: "text/event-stream" } });
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    window.raw = "";
    (async () => {
        for (;;) {
            const { done, value } = await reader.read();
            if (done) return;
            raw += value;
        }
    })();
}"""
TELL = """page => fetch("/tell/a", { method: "POST", headers: { "X-SSE-Page": page } })"""


async def show(context: BrowserContext, server: Server, query: str = "") -> Page:
    """Open a page that collects the events it receives."""
    page = await open_tab(context, server, f"/others/a{query}")
    await page.evaluate(HEAR)
    return page


async def until_told(page: Page, times: int, *told: str) -> None:
    """Wait until a page has so many events for all, and see which it has of both kinds."""
    await page.wait_for_function(f"() => got.filter((text) => text == 'all').length == {times}")
    assert await page.evaluate("got") == list(told)


async def page_of(page: Page) -> str:
    """Return what a page says of itself to the server."""
    name: str = await page.evaluate("QuartSSE.page")
    return name


async def test_page_that_asked_is_left_out_by_all_streams_it_has_had(
    context: BrowserContext, pages: Server
) -> None:
    """A stream that takes the place of another one keeps its name, and one after a cut has another.

    Each page knows its own events, whichever stream it had when it caused them.
    """
    here = await show(context, pages)
    first = await page_of(here)
    names = {first}
    for times in range(1, 4):
        tab = await show(context, pages)  # and so they have another stream
        if times == 2:
            await pages.post("/shut/a")
            for page in (here, tab):
                await page.wait_for_function(RETRY)
            await pages.post("/open-again")
            for page in (here, tab):
                await page.evaluate("dispatchEvent(new Event('online'))")
                await page.wait_for_function(OPEN)
        names.add(await page_of(here))
        await here.click("button")
        await until_told(here, times, *["all"] * times)
        await until_told(tab, 1, "others", "all")
        await tab.close()
    await here.evaluate(TELL, first)
    await until_told(here, 4, *["all"] * 4)
    assert len(names) == 2


@pytest.mark.parametrize("worker", ["shared", "alone"])
async def test_own_events_are_left_out_of_what_was_missed(
    context: BrowserContext, pages: Server, worker: str
) -> None:
    """What a page causes while it has no stream comes by the next one, and it knows it."""
    if worker == "alone":
        await context.add_init_script("delete window.SharedWorker")
    here, there = await show(context, pages), await show(context, pages)
    await pages.post("/shut/a")
    for page in (here, there):
        await page.wait_for_function(RETRY)
    await here.click("button")
    await here.evaluate(TELL, await page_of(here))
    await pages.post("/open-again")
    for page in (here, there):
        await page.evaluate("dispatchEvent(new Event('online'))")
        await page.wait_for_function(OPEN)

    await until_told(here, 2, "all", "all")
    await until_told(there, 2, "others", "all", "others", "all")


async def test_what_all_are_sent_hides_nothing(
    browser: Browser, context: BrowserContext, pages: Server
) -> None:
    """An event says which page has caused it; the same as a header hides nothing."""
    here = await show(context, pages)
    async with without_errors(browser) as elsewhere:
        there = await show(elsewhere, pages)
        await there.evaluate(LISTEN)
        await there.wait_for_function("() => raw.includes('sse-open')")
        await here.click("button")
        await there.wait_for_function("() => /origin: .*[^]*data: all/.test(raw)")
        origin = await there.evaluate("() => /origin: (.*)/.exec(raw)[1]")
        page = await page_of(here)
        forged = [origin, origin.rpartition(".")[2], page.rpartition(".")[2]]
        for each in forged:
            await there.evaluate(TELL, each)

    await until_told(here, 4, "all", *["others", "all"] * 3)


async def test_page_without_a_stream_says_nothing(
    browser: Browser, context: BrowserContext, pages: Server
) -> None:
    """Until its first stream opens, its events are for all; htmx's requests name no page, too."""
    other = await show(context, pages)
    await pages.post("/shut/b")  # which ends none
    async with without_errors(browser) as elsewhere:
        page = await elsewhere.new_page()
        await page.goto(f"http://127.0.0.1:{pages.port}/others/a")
        await page.wait_for_function(RETRY)
        assert await page_of(page) == ""
        async with page.expect_request("**/tell/a") as asked:
            await page.click("button")
        assert "x-sse-page" not in (await asked.value).headers
        await page.evaluate(TELL, "")
    await until_told(other, 2, "others", "all", "others", "all")


async def test_other_origins_are_not_told_which_page_asks(browser: Browser, pages: Server) -> None:
    """Where an app lets htmx ask them, the requests do not carry the secret."""
    context = await browser.new_context()
    async with serve_elsewhere() as elsewhere:
        page = await show(context, pages, f"?elsewhere={elsewhere.origin}/news")
        await page.evaluate("Object.assign(htmx.config, { selfRequestsOnly: false, mode: 'cors' })")

        await page.get_by_text("ask elsewhere").click()
        while "GET /news" not in elsewhere.requests:
            await page.evaluate("0")

        assert [head for head in elsewhere.heads if "sse-page" in head.lower()] == []
    await context.close()
