"""The inspector in a real browser: live under its strict policy, by keyboard, and on a phone."""

import re

import pytest
from playwright.async_api import Browser, Page, expect

from tests.support.browsers import open_page, sign_in, visit
from tests.support.servers import Server

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

PAGES = ["overview", "connections", "topics", "renders", "messages", "configuration"]
#: How much wider a page is than its window.
TOO_WIDE = "() => document.documentElement.scrollWidth - innerWidth"
#: Texts whose contrast to what is behind them is below 4.5 (WCAG 2.2, 1.4.3).
PALE = """() => {
    const parse = text => text.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map(each => each / 255)
        .map(each => each <= 0.03928 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4)
        .reduce((sum, each, i) => sum + each * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = element => {
        for (let at = element; at; at = at.parentElement) {
            const colour = parse(getComputedStyle(at).backgroundColor);
            if (colour.length === 3 || colour[3] === 1) return colour;
        }
        return [255, 255, 255];
    };
    const texts = [...document.querySelectorAll("body *")].filter(element =>
        element.checkVisibility() && [...element.childNodes].some(node =>
            node.nodeType === 3 && node.data.trim()));
    return texts.map(element => {
        const [a, b] = [light(parse(getComputedStyle(element).color)), light(behind(element))];
        const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        return [element.textContent.trim().slice(0, 40), Math.round(10 * contrast) / 10];
    }).filter(([, contrast]) => contrast < 4.5);
}"""


async def tab_to(page: Page, name: str) -> None:
    """Press Tab until a button or link of a name has the focus."""
    target = page.get_by_role("main").get_by_role("button", name=name, exact=True)
    for _ in range(60):
        await page.keyboard.press("Tab")
        if await target.evaluate("element => element === document.activeElement"):
            return
    raise AssertionError(f"Tab does not come to {name!r}.")


async def test_operator_finds_a_user_and_sends_a_note_by_keyboard(
    browser: Browser, forum: Server
) -> None:
    """From the list, which is kept current, to the user's page, which shows it."""
    async with visit(browser, forum) as hazel, visit(browser, forum) as mira:
        await sign_in(hazel, forum, "hazel", "/sse/~inspector/connections?identity=mira")
        rows = hazel.get_by_role("table", name="Connections").get_by_role("row")
        await expect(rows).to_have_count(2)
        await expect(rows.last).to_have_text("No connection is so.")

        await sign_in(mira, forum, "mira", "/discussion/1")
        await hazel.bring_to_front()
        link = hazel.get_by_role("link", name=re.compile("^mira"))
        await expect(link).to_be_visible(timeout=15_000)
        await link.focus()
        await hazel.keyboard.press("Enter")
        await expect(hazel.get_by_role("heading", name="Connection", exact=True)).to_be_visible()
        await hazel.get_by_label("Message").focus()
        await hazel.keyboard.type("Your <b>valve</b> drips.")
        await tab_to(hazel, "Notify")
        await hazel.keyboard.press("Enter")

        said = hazel.get_by_role("main").get_by_role("status")
        await expect(said).to_have_text("The notification was sent.")
        note = mira.locator(".sse-notification", has_text="Your <b>valve</b> drips.")
        await expect(note).to_be_visible()


@pytest.mark.parametrize("forum", [2], ids=["htmx2"], indirect=True)  # it loads none itself
async def test_pages_fit_a_phone_and_can_be_read(browser: Browser, forum: Server) -> None:
    """In both schemes, without a script or a style that the policy stops."""
    async with visit(browser, forum) as page:
        await sign_in(page, forum, "tobi", "/discussion/1")
        await page.set_viewport_size({"width": 390, "height": 800})
        for scheme in ("light", "dark"):
            await page.emulate_media(color_scheme=scheme)
            for name in PAGES:
                await open_page(page, forum, f"/sse/~inspector/{name}")
                await expect(page.locator("h1")).to_have_count(1)
                assert await page.evaluate(TOO_WIDE) <= 0, name
                assert await page.evaluate(PALE) == [], f"{name}, {scheme}"
        charts = page.get_by_role("img", name=re.compile("in the last 2 minutes"))
        await open_page(page, forum, "/sse/~inspector")
        await expect(charts).to_have_count(6)
