"""The main job in a real browser: Chromium, the example, htmx 2 and htmx 4."""

import asyncio
import re
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, Route, expect

from tests.support.browsers import OPEN, open_page, serve_forum, sign_in, visit
from tests.support.servers import Server

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]


async def say(page: Page, text: str) -> None:
    """Post a comment as a person would."""
    await page.fill("#comment-form textarea[name=text]", text)
    await page.click("#comment-form button[type=submit]")


async def test_comment_appears_in_the_other_browser(browser: Browser, forum: Server) -> None:
    """A comment posted in one browser appears in another one without reload, escaped."""
    async with (
        visit(browser, forum, "/discussion/1") as writer,
        visit(browser, forum, "/discussion/1") as reader,
    ):
        await reader.evaluate("window.neverReloaded = true")

        await say(writer, "Hello <b>from</b> the other browser")

        await expect(reader.get_by_text("Hello <b>from</b> the other browser")).to_be_visible()
        await expect(writer.get_by_text("Hello <b>from</b> the other browser")).to_be_visible()
        assert await reader.evaluate("window.neverReloaded")
        await expect(writer.locator("#comment-form textarea[name=text]")).to_have_value("")


async def test_votes_are_counted_live_and_the_button_is_personal(
    browser: Browser, forum: Server
) -> None:
    """One person's vote changes everybody's count, and only that person's button."""
    async with (
        visit(browser, forum, "/discussion/1") as voter,
        visit(browser, forum, "/discussion/1") as other,
    ):
        before = int(re.sub(r"\D", "", await other.inner_text("#votes")))
        button = await other.inner_text(".voting button")

        await voter.click(".voting button")

        await expect(other.locator("#votes")).to_contain_text(str(before + 1))
        await expect(voter.locator("#votes")).to_contain_text(str(before + 1))
        await expect(voter.locator(".voting button")).not_to_have_text(button)
        await expect(other.locator(".voting button")).to_have_text(button)


async def test_people_who_come_and_go_are_counted(browser: Browser, forum: Server) -> None:
    """The number of people here follows those who come and those who leave."""
    async with visit(browser, forum, "/discussion/1") as stays:
        await expect(stays.locator("#people")).to_contain_text("1")

        async with visit(browser, forum, "/discussion/1"):
            await expect(stays.locator("#people")).to_contain_text("2")

        await expect(stays.locator("#people")).to_contain_text("1", timeout=10_000)


async def test_published_before_the_stream_opened_is_shown(browser: Browser, forum: Server) -> None:
    """What happens between a page's request and its connection is not missed."""
    async with visit(browser, forum, "/discussion/1") as writer:
        context = await browser.new_context()
        await context.add_init_script("delete window.SharedWorker")  # it cannot be held up
        reader = await context.new_page()
        is_held, may_go = asyncio.Event(), asyncio.Event()

        async def hold(route: Route) -> None:
            is_held.set()
            await may_go.wait()
            await route.continue_()

        await reader.route(re.compile(r"/sse\?t="), hold)
        await reader.goto(f"http://127.0.0.1:{forum.port}/discussion/1")
        await is_held.wait()
        await say(writer, "You were not listening yet")
        await expect(writer.get_by_text("You were not listening yet")).to_be_visible()
        assert await reader.get_by_text("You were not listening yet").count() == 0

        may_go.set()

        await expect(reader.get_by_text("You were not listening yet")).to_be_visible()
        await context.close()


async def test_refused_user_sees_no_update(browser: Browser, forum: Server) -> None:
    """Who may not read a discussion gets neither its page nor, with a stolen URL, its stream."""
    async with visit(browser, forum) as moderator, visit(browser, forum) as guest:
        room = await moderators_room(moderator, forum)
        stream = await moderator.evaluate(CONNECT_URL)

        answer = await guest.goto(f"http://127.0.0.1:{forum.port}{room}")
        assert answer is not None
        assert answer.status == 403
        await guest.goto(f"http://127.0.0.1:{forum.port}/")
        heard = guest.evaluate(LISTEN, stream)
        await say(moderator, "Among ourselves")
        await expect(moderator.get_by_text("Among ourselves")).to_be_visible()

        told = await heard
        assert "Among ourselves" not in told
        # But for what the URL itself names, which is refused.
        refused = r'event: sse-refused\ndata: .*|"refused": \[.*\]'
        assert "comments" not in re.sub(refused, "", told)


async def test_signing_out_in_another_tab_ends_what_was_private(
    browser: Browser, forum: Server
) -> None:
    """After signing out in one tab, another tab of the browser is told nothing private."""
    async with visit(browser, forum) as tab, visit(browser, forum) as moderator:
        room = await moderators_room(tab, forum, "tobi")
        await moderators_room(moderator, forum, "hazel")
        second = await tab.context.new_page()
        await open_page(second, forum, "/")

        await second.click("form.sign-out button")
        await tab.wait_for_function("() => document.documentElement.dataset.sseState === 'partial'")
        await say(moderator, "Tobi has gone home")
        await expect(moderator.get_by_text("Tobi has gone home")).to_be_visible()
        # Proves that the tab's stream is alive: its public part is, for three browsers and for two.
        async with visit(browser, forum):
            await expect(tab.locator("#online")).to_have_text("3")
        await expect(tab.locator("#online")).to_have_text("2")

        assert await tab.get_by_text("Tobi has gone home").count() == 0
        assert room in tab.url


async def test_signing_in_in_another_tab_leaves_anonymous_tabs_live(
    browser: Browser, forum: Server
) -> None:
    """A page made for nobody stays live when somebody signs in in another tab."""
    async with visit(browser, forum, "/discussion/1") as tab:
        other = await tab.context.new_page()
        await sign_in(other, forum, "mira", "/discussion/1")

        await say(other, "Now I have a name")

        await expect(tab.get_by_text("Now I have a name")).to_be_visible()


@pytest.mark.parametrize("htmx", [2, 4], ids=["htmx2", "htmx4"])
async def test_page_heals_after_the_server_was_restarted(
    browser: Browser, tmp_path: Path, htmx: int
) -> None:
    """A page that stays open over a restart shows what changed meanwhile, by itself."""
    async with (
        serve_forum(htmx, tmp_path) as first,
        visit(browser, first, "/discussion/1") as page,
    ):
        await page.evaluate("window.neverReloaded = true")
        await first.stop()

        async with (
            serve_forum(htmx, tmp_path, first.port) as second,
            visit(browser, second, "/discussion/1") as writer,
        ):
            await say(writer, "Back again")

            await expect(page.get_by_text("Back again")).to_be_visible(timeout=20_000)
            assert await page.evaluate("window.neverReloaded")


@pytest.mark.chromium
async def test_page_shows_current_data_without_javascript(browser: Browser, forum: Server) -> None:
    """Without JavaScript forms work, and a reload shows what is current."""
    context = await browser.new_context(java_script_enabled=False)
    page = await context.new_page()
    await page.goto(f"http://127.0.0.1:{forum.port}/discussion/1")

    await say(page, "By hand")

    await expect(page.get_by_text("By hand")).to_be_visible()
    await context.close()


async def test_page_without_live_updates_says_so(browser: Browser, forum: Server) -> None:
    """Its reader has asked for it; a comment is there after a reload, and a link turns it back."""
    until = "() => document.documentElement.dataset.sseState === 'stopped'"
    async with (
        visit(browser, forum, "/discussion/1?live=off", until) as reader,
        visit(browser, forum, "/discussion/1") as writer,
    ):
        await expect(reader.locator(".sse-status span:visible")).to_contain_text("Not live.")

        await say(writer, "Not before you ask")
        await expect(writer.get_by_text("Not before you ask")).to_be_visible()
        assert await reader.get_by_text("Not before you ask").count() == 0
        await reader.reload()
        await expect(reader.get_by_text("Not before you ask")).to_be_visible()

        await reader.get_by_role("link", name="with live updates").click()
        await reader.wait_for_function(OPEN)
        await say(writer, "Here it is now")
        await expect(reader.get_by_text("Here it is now")).to_be_visible()


async def test_chart_is_drawn_anew_when_something_happens(browser: Browser, forum: Server) -> None:
    """The dashboard's numbers and its SVG chart follow what happens elsewhere."""
    async with (
        visit(browser, forum, "/dashboard") as dashboard,
        visit(browser, forum, "/discussion/1") as writer,
    ):
        tile = dashboard.locator("#tile-comments .number")
        before = int(await tile.inner_text())
        chart = await dashboard.locator("svg.chart").inner_html()

        await say(writer, "For the statistics")

        await expect(tile).to_have_text(str(before + 1))
        await dashboard.wait_for_function(
            "before => document.querySelector('svg.chart').innerHTML != before", arg=chart
        )
        await expect(dashboard.get_by_text("For the statistics")).to_be_visible()


#: The URL that a page's connect element opens.
CONNECT_URL = """() => {
    const element = document.querySelector("[sse-connect], [hx-sse\\\\:connect]");
    return element.getAttribute("sse-connect") || element.getAttribute("hx-sse:connect");
}"""

#: Reads a stream until it ends, or for two heartbeats of the page's own clock.
LISTEN = """async url => {
    const abort = new AbortController();
    setTimeout(() => abort.abort(), 3000);
    let text = "";
    try {
        const headers = {Accept: "text/event-stream"};
        const answer = await fetch(url, {headers, signal: abort.signal});
        const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
        for (;;) {
            const {done, value} = await reader.read();
            if (done) break;
            text += value;
        }
    } catch (error) {
        if (error.name != "AbortError") throw error;
    }
    return text;
}"""


async def moderators_room(page: Page, server: Server, nickname: str = "tobi") -> str:
    """Sign in as a moderator and enter the moderators' room; returns its path."""
    await sign_in(page, server, nickname)
    path = await page.locator(".discussion.is-private a").get_attribute("href")
    assert path is not None
    await open_page(page, server, path)
    return path


async def test_reply_is_announced_on_any_page(browser: Browser, forum: Server) -> None:
    """A toast leads to it; where the user was away, the next page has it."""
    async with (
        visit(browser, forum) as writer,
        visit(browser, forum) as reader,
    ):
        await sign_in(writer, forum, "mira", "/discussion/1")
        await sign_in(reader, forum, "tobi", "/discussion/1")
        await say(reader, "I am here")
        await expect(reader.get_by_text("I am here")).to_be_visible()
        await open_page(reader, forum, "/dashboard")

        await say(writer, "So am I")
        toast = reader.locator(".sse-notification:visible")
        await expect(toast).to_contain_text("mira has written in")
        await toast.get_by_role("link", name="Show it").click()
        await expect(reader).to_have_url(re.compile("/discussion/1#comment-"))

        await reader.goto("about:blank")
        await say(writer, "And now?")
        await expect(writer.get_by_text("And now?")).to_be_visible()
        await open_page(reader, forum, "/board")
        await expect(toast.filter(has_text="mira has written in").first).to_be_visible()


async def test_report_that_is_ready_is_announced(browser: Browser, tmp_path: Path) -> None:
    """To the user who has asked for it, on another page."""
    async with (
        serve_forum(2, tmp_path, EXAMPLE_STEP_SECONDS="0.05") as forum,
        visit(browser, forum) as page,
    ):
        await sign_in(page, forum, "mira", "/reports")
        await page.get_by_role("button", name="Build it").click()
        await open_page(page, forum, "/board")

        toast = page.locator(".sse-notification:visible")
        await expect(toast).to_contain_text("Your report is ready.")
        await expect(toast).to_have_attribute("data-level", "success")
