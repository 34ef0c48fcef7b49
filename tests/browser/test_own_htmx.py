"""Pages that load an htmx of their own: `sse_scripts(htmx="own")`."""

import json
from pathlib import Path

import pytest
from playwright.async_api import BrowserContext, expect

from tests.support.morphing import serving_pages

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

VENDOR = json.loads((Path(__file__).parents[2] / "static/vendor.json").read_text("utf-8"))
#: Where a page loads its htmx -> the part of the page, and the element.
PLACES = {
    "at once": ("head", '<script src="{}"></script>'),
    "deferred": ("head", '<script defer src="{}"></script>'),
    "at the end": ("foot", '<script src="{}"></script>'),
    "by a script": (
        "foot",
        """<script>addEventListener("load", () => {{
            const own = document.createElement("script");
            own.src = "{}";
            document.head.append(own);
        }})</script>""",
    ),
}
HTML = (
    '<p>{n}</p><input id="typed"><button id="add" hx-get="/part/<li>row</li>" hx-target="ul"'
    ' hx-swap="beforeend">add</button><ul>{rows}</ul>{more}'
)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", ["htmx2", "htmx4"])
async def test_own_htmx_may_come_from_anywhere(
    context: BrowserContext, kind: str, place: str
) -> None:
    """Typing stays, answers are the server's word, new elements work, requests name the page."""
    part, element = PLACES[place]
    async with serving_pages(kind) as pages:
        own = element.format(f"/sse/~static/{VENDOR[kind]['file']}")
        shown = await pages.show(
            context, HTML.format(n=0, rows="", more=""), htmx="own", **{part: own}
        )
        page = shown.page
        await page.wait_for_function("() => window.htmx")
        await expect(page.locator("script[src*='quart-sse.min']")).to_have_count(1)
        await page.fill("#typed", "typed")
        more = '<b hx-get="/part/new" hx-trigger="click">old</b>'
        await shown.say(HTML.format(n=1, rows="", more=more))
        await expect(page.locator("#typed")).to_have_value("typed")

        async with page.expect_request("**/part/**") as asked:
            await page.click("#add")
        assert "x-sse-page" in (await asked.value).headers
        await expect(page.locator("li")).to_have_text(["row"])
        await page.click("b")
        await expect(page.locator("b")).to_have_text("new")
        await shown.say(HTML.format(n=2, rows="<li>row</li>", more=more))
        await expect(page.locator("li")).to_have_text(["row"])


async def test_mark_of_htmx_4_is_known_before_it_is_there(context: BrowserContext) -> None:
    """With htmx 4 `hx-disable` may say something else, and what is inside is live."""
    async with serving_pages("htmx4") as pages:
        own = f"<script defer src='/sse/~static/{VENDOR['htmx4']['file']}'></script>"
        shown = await pages.show(
            context,
            "<p>0</p>",
            htmx="own",
            head=own,
            before='<form hx-disable="find button">',
            foot="</form>",
        )

        await shown.say("<p>1</p>")
