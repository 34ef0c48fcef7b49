"""The example's lounge in a real browser: members, a moderator, notes, and streams that end."""

from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from tests.support.browsers import OPEN, open_page, serve_forum, sign_in, visit
from tests.support.servers import Server

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

#: Notes whether a page has said that its user was sent out.
WATCH = """() => {
    const note = () => { window.wasOut ||= !!document.getElementById("sent-out"); };
    new MutationObserver(note).observe(document.body, {childList: true, subtree: true});
}"""


async def say(page: Page, text: str) -> None:
    """Say something as a person would."""
    await page.fill("#say-text", text)
    await page.keyboard.press("Enter")


async def send_out(moderator: Page, nickname: str, length: str) -> None:
    """Choose a user's oldest connection, and send the user out."""
    await moderator.locator(f"#connected-{nickname} input").first.check()
    await moderator.get_by_role("button", name=length).click()
    await expect(moderator.locator("#desk-note")).to_have_text(f"{nickname} is out {length}.")


async def test_note_reaches_the_tabs_of_one_connection(browser: Browser, forum: Server) -> None:
    """Every tab of the chosen browser shows the note, whatever it is open at, and no other one."""
    async with (
        visit(browser, forum) as tobi,
        visit(browser, forum) as mira,
        visit(browser, forum) as elsewhere,
        visit(browser, forum) as kip,
    ):
        await sign_in(mira, forum, "mira", "/lounge")
        tab = await mira.context.new_page()
        await open_page(tab, forum, "/board")
        await sign_in(tobi, forum, "tobi", "/lounge")
        mine = tobi.locator("#connected-mira")
        await expect(mine).to_contain_text("1 stream")
        await sign_in(elsewhere, forum, "mira", "/lounge")
        await expect(mine).to_contain_text("2 streams")

        await mine.get_by_role("radio").first.check()
        await tobi.fill("#note-text", "Be <b>kind</b>")
        await sign_in(kip, forum, "kip", "/lounge")
        await expect(tobi.locator("#connected-kip")).to_be_visible()
        await expect(mine.get_by_role("radio").first).to_be_checked()
        await tobi.locator("#note-text").press("Enter")

        for page in (mira, tab):
            await expect(page.get_by_role("status").locator(".private-note")).to_contain_text(
                "A private note from tobi: Be <b>kind</b>"
            )
        await expect(tobi.locator("#desk-note")).to_have_text("mira has your note.")
        await expect(tobi.locator("#note-text")).to_have_value("")
        await say(tobi, "Good evening")
        for page in (elsewhere, kip):
            await expect(page.get_by_text("Good evening")).to_be_visible()
            await expect(page.locator(".private-note")).to_have_count(0)
        await tab.get_by_role("button", name="Close").click()
        await expect(tab.locator(".private-note")).to_have_count(0)


async def test_user_who_is_sent_out_for_good_sees_it(browser: Browser, forum: Server) -> None:
    """The streams in all browsers end, the pages say so, and others talk on."""
    async with (
        visit(browser, forum) as tobi,
        visit(browser, forum) as mira,
        visit(browser, forum) as elsewhere,
        visit(browser, forum) as kip,
    ):
        await sign_in(tobi, forum, "tobi", "/lounge")
        await sign_in(mira, forum, "mira", "/lounge")
        await sign_in(elsewhere, forum, "mira", "/lounge")
        await sign_in(kip, forum, "kip", "/lounge")
        await expect(tobi.locator("#connected-mira")).to_contain_text("2 streams")

        await send_out(tobi, "mira", "for good")

        for page in (mira, elsewhere):
            await expect(page.get_by_role("status").get_by_role("heading")).to_have_text(
                "tobi has sent you out for good"
            )
            await expect(page.locator(".sse-status")).to_contain_text("Not live")
            await expect(page.locator("#say-form")).to_have_count(0)
        await expect(tobi.locator("#connected-mira")).to_have_count(0)
        await say(tobi, "Good evening")
        await expect(kip.get_by_text("Good evening")).to_be_visible()

        # A page that is loaded again is live, but for the lounge.
        await mira.reload()
        await mira.wait_for_function(OPEN)
        await expect(mira.locator("#sent-out")).to_be_visible()
        await expect(mira.get_by_text("Good evening")).to_have_count(0)
        await tobi.get_by_role("button", name="Let mira in again").click()
        await expect(tobi.locator("#outside-mira")).to_have_count(0)
        await mira.get_by_role("link", name="Try again").click()
        await expect(mira.get_by_text("Good evening")).to_be_visible()
        await expect(tobi.locator("#connected-mira")).to_contain_text("1 stream")


@pytest.mark.parametrize("htmx", [2, 4], ids=["htmx2", "htmx4"])
async def test_user_who_is_sent_out_for_a_minute_comes_back(
    browser: Browser, tmp_path: Path, htmx: int
) -> None:
    """The page says it, and is live again by itself when the time is over."""
    async with (
        serve_forum(htmx, tmp_path, EXAMPLE_PAUSE_SECONDS="2") as forum,
        visit(browser, forum) as tobi,
        visit(browser, forum) as mira,
    ):
        await sign_in(tobi, forum, "tobi", "/lounge")
        await sign_in(mira, forum, "mira", "/lounge")
        await mira.evaluate(WATCH)
        await expect(tobi.locator("#connected-mira")).to_be_visible()

        await send_out(tobi, "mira", "for a minute")

        await mira.wait_for_function("() => window.wasOut")
        await expect(mira.locator("#chat-title")).to_be_visible()
        await mira.wait_for_function(OPEN)
        await expect(tobi.locator("#connected-mira")).to_be_visible()
        await say(tobi, "Good evening")
        await expect(mira.get_by_text("Good evening")).to_be_visible()
        await say(mira, "And to you")
        await expect(tobi.get_by_text("And to you")).to_be_visible()


async def test_report_appears_at_once_for_moderators_alone(browser: Browser, forum: Server) -> None:
    """A member reports a line, and a moderator removes it from every page."""
    async with visit(browser, forum) as tobi, visit(browser, forum) as mira:
        await sign_in(tobi, forum, "tobi", "/lounge")
        await sign_in(mira, forum, "mira", "/lounge")
        await expect(mira.locator("#reports, #desk-people")).to_have_count(0)

        await mira.get_by_role("button", name="Report: Kettle is on").click()

        await expect(mira.locator("#report-note")).to_have_text("Reported to the moderators.")
        await expect(tobi.locator("#reports")).to_contain_text("Reported by mira")
        await tobi.get_by_role("button", name="Remove: Kettle is on").click()
        await expect(tobi.locator("#reports")).to_contain_text("Nothing is reported.")
        await expect(mira.get_by_text("Kettle is on")).to_have_count(0)


async def test_newest_line_is_in_sight(browser: Browser, forum: Server) -> None:
    """The talk stays at its end while lines come, and does not move who reads above."""
    async with visit(browser, forum) as tobi, visit(browser, forum) as mira:
        await sign_in(mira, forum, "mira", "/lounge")
        await sign_in(tobi, forum, "tobi", "/lounge")
        await tobi.bring_to_front()
        for number in range(8):
            await say(tobi, f"Number {number}")
            await expect(tobi.get_by_text(f"Number {number}")).to_be_in_viewport()
            await expect(tobi.locator("#say-text")).to_be_focused()
        await expect(mira.get_by_text("Number 7")).to_be_in_viewport()

        await mira.get_by_text("Kettle is on").scroll_into_view_if_needed()
        await say(tobi, "One more")
        await expect(mira.get_by_text("One more")).to_be_attached()
        await expect(mira.get_by_text("Kettle is on")).to_be_in_viewport()


@pytest.mark.chromium
async def test_desk_works_without_javascript(browser: Browser, forum: Server) -> None:
    """A moderator without JavaScript sends out a user whose page is live."""
    context = await browser.new_context(java_script_enabled=False)
    tobi = await context.new_page()
    async with visit(browser, forum) as mira:
        await sign_in(mira, forum, "mira", "/lounge")
        await tobi.goto(f"http://127.0.0.1:{forum.port}/sign-in?next=/lounge")
        await tobi.click("form.sign-in button[value=tobi]")
        await tobi.locator("#connected-mira input").check()

        await tobi.get_by_role("button", name="for good").click()

        await expect(tobi.locator("#desk-note")).to_have_text("mira is out for good.")
        await expect(mira.locator("#sent-out")).to_be_visible()
    await context.close()
