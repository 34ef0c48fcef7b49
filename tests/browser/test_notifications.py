"""Notifications as people see them: shown once, and for as long as is meant."""

import re
from collections.abc import AsyncIterator
from urllib.parse import quote

import pytest
from playwright.async_api import Browser, BrowserContext, Locator, Page, expect

from tests.support.browsers import OPEN, open_tab, without_errors
from tests.support.servers import Server, serve_pages

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]


@pytest.fixture(params=[2, 4], ids=["htmx2", "htmx4"])
async def pages(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    """Serve pages with notifications, for either htmx."""
    async with serve_pages("notify", request.param) as server:
        yield server


@pytest.fixture
async def user(context: BrowserContext, pages: Server) -> BrowserContext:
    """The browser of a user, Ada."""
    url = f"http://127.0.0.1:{pages.port}"
    await context.add_cookies([{"name": "who", "value": "ada", "url": url}])
    return context


def shown(page: Page) -> Locator:
    """Return the notifications that a page shows."""
    return page.locator(".sse-notification:not([data-state]):visible")


async def run(page: Page, ms: int) -> None:
    """Let the clock of a page go on, whose scripts see each moment."""
    await page.clock.run_for(ms)


async def until_seen(page: Page) -> None:
    """Wait until the browser has noted that the user has seen what the page shows."""
    await page.wait_for_function("() => localStorage.length > 0")


async def end(server: Server, *tabs: Page) -> None:
    """Publish one more, and wait for it: what was published before has come."""
    await server.post("/notify/user/ada?message=end")
    for page in tabs:
        await expect(shown(page).filter(has_text="end")).to_have_count(1)


# -- what is shown ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "role"),
    [("info", "status"), ("success", "status"), ("warning", "alert"), ("error", "alert")],
)
async def test_level_says_how_it_is_announced(
    user: BrowserContext, pages: Server, level: str, role: str
) -> None:
    """It is put into a live region that was there before, and looks as its level."""
    page = await open_tab(user, pages, "/a")
    region = page.get_by_role("region", name="Notifications")
    await expect(region.get_by_role(role)).to_have_count(1)  # type: ignore[arg-type]

    await pages.post(f"/notify/user/ada?level={level}&title=Report")

    toast = region.get_by_role(role).locator(".sse-notification")  # type: ignore[arg-type]
    await expect(toast).to_have_text(re.compile(r"^\s*Report\s*Saved\s*$"))
    await expect(toast).to_have_attribute("data-level", level)
    await expect(toast).to_have_css("pointer-events", "auto")  # the stylesheet is there
    await expect(toast.locator("strong")).to_be_visible()


async def test_text_is_no_html(user: BrowserContext, pages: Server) -> None:
    """What users write is shown as they wrote it, live and in a page that is made later."""
    text = "<img src=x onerror=alert(1)>{{ 7 }}"
    page = await open_tab(user, pages, "/a")
    await pages.post(
        "/notify/user/ada?message=%3Cimg%20src=x%20onerror=alert(1)%3E%7B%7B%207%20%7D%7D"
    )
    await expect(shown(page)).to_contain_text(text)
    await page.close()

    page = await open_tab(user, pages, "/b")

    await expect(shown(page)).to_contain_text(text)
    assert await page.locator("img").count() == 0


@pytest.mark.parametrize("target", ["user/ada", "room/a", "everyone/x"])
async def test_page_hears_its_user_its_topics_and_everyone(
    user: BrowserContext, pages: Server, target: str
) -> None:
    """Without a further word in the page."""
    page = await open_tab(user, pages, "/a")

    await pages.post(f"/notify/{target}")

    await expect(shown(page)).to_have_count(1)


async def test_visitor_hears_everyone(context: BrowserContext, pages: Server) -> None:
    """A page without a user is connected, too."""
    page = await open_tab(context, pages, "/a")

    await pages.post("/notify/user/ada")
    await pages.post("/notify/everyone/x?message=all")

    await expect(shown(page)).to_have_count(1)
    await expect(shown(page)).to_contain_text("all")


@pytest.mark.chromium
async def test_without_javascript_the_kept_ones_stand_in_the_page(
    browser: Browser, pages: Server
) -> None:
    """They take no room from the rest, and have no button that does nothing."""
    await pages.post("/notify/user/ada?level=error&title=Report")
    url = f"http://127.0.0.1:{pages.port}"
    async with without_errors(browser, java_script_enabled=False) as context:
        await context.add_cookies([{"name": "who", "value": "ada", "url": url}])
        page = await context.new_page()
        await page.goto(f"{url}/a")

        await expect(page.get_by_role("alert")).to_contain_text("Saved")
        await expect(page.locator("sse-notifications")).to_have_css("position", "static")
        await expect(page.locator("[data-dismiss]:visible")).to_have_count(0)


# -- once ------------------------------------------------------------------------------------------


async def test_absent_user_is_shown_it_once(user: BrowserContext, pages: Server) -> None:
    """The next page shows it; no other page and no other tab repeats it."""
    await pages.post("/notify/user/ada")
    page = await open_tab(user, pages, "/a")
    await expect(shown(page)).to_have_count(1)
    await until_seen(page)

    await page.click("#plain")
    await page.wait_for_function(OPEN)
    other = await open_tab(user, pages, "/a")

    await end(pages, page, other)
    for each in (page, other):
        await expect(shown(each).filter(has_text="Saved")).to_have_count(0)


async def test_one_that_was_hardly_seen_is_shown_by_the_next_page(
    user: BrowserContext, pages: Server
) -> None:
    """A form that notifies and redirects takes its own page away."""
    page = await open_tab(user, pages, "/a")
    await page.clock.install()
    await page.reload()
    await page.wait_for_function(OPEN)
    await pages.post("/notify/user/ada")
    await expect(shown(page)).to_have_count(1)
    assert await page.evaluate("localStorage.length") == 0

    await page.click("#plain")

    await expect(page.locator("h1")).to_have_text("b")
    await expect(shown(page)).to_have_count(1)


async def test_boosted_page_goes_on_with_it(user: BrowserContext, pages: Server) -> None:
    """It is the same one, with the rest of its time."""
    page = await open_tab(user, pages, "/a")
    await pages.post("/notify/user/ada")
    await expect(shown(page)).to_have_count(1)
    await until_seen(page)

    await page.evaluate("window.isSame = true")
    for path in ("b", "a", "b"):
        await page.click("#other")
        await expect(page.locator("h1")).to_have_text(path)
        await page.wait_for_function(OPEN)
        await end(pages, page)
        await expect(shown(page).filter(has_text="Saved")).to_have_count(1)
        await shown(page).filter(has_text="end").locator("[data-dismiss]").click()
        await expect(shown(page)).to_have_count(1)

    await shown(page).locator("[data-dismiss]").click()
    await expect(shown(page)).to_have_count(0)
    await page.click("#other")
    await expect(page.locator("h1")).to_have_text("a")
    await end(pages, page)
    await expect(shown(page)).to_have_count(1)
    assert await page.evaluate("isSame")


async def test_listener_ends_with_the_part_that_made_it(
    user: BrowserContext, pages: Server
) -> None:
    """A script in the body runs with each boosted page, and hears an event once."""
    page = await open_tab(user, pages, "/a")
    await page.evaluate("window.isSame = true")
    for path in ("b", "a", "b"):
        await page.click("#other")
        await expect(page.locator("h1")).to_have_text(path)
        await page.wait_for_function(OPEN)

    await pages.post("/say/ada/one")
    await end(pages, page)

    assert await page.evaluate("isSame && heard") == ["one"]


@pytest.mark.parametrize("locks", ["locks", "plain http"])
async def test_one_tab_shows_it(user: BrowserContext, pages: Server, locks: str) -> None:
    """With tabs="one", of two that the user looks at; pages of plain http have no Web Locks."""
    if locks == "plain http":
        await user.add_init_script("Object.defineProperty(navigator, 'locks', {value: undefined})")
    tabs = [await open_tab(user, pages, "/a?tabs=one") for _ in range(2)]

    for number in range(3):
        await pages.post(f"/notify/user/ada?message={number}")
    for tab in tabs:
        await tab.wait_for_function("() => QuartSSE.messages.length === 3")

    async def counts() -> list[int]:
        return [await shown(tab).count() for tab in tabs]

    while sum(await counts()) < 3:
        pass
    for tab in tabs:
        await until_seen(tab)
    texts = [text for tab in tabs for text in await shown(tab).all_text_contents()]
    assert sorted(text.strip() for text in texts) == ["0", "1", "2"]


async def test_every_tab_shows_it_and_one_dismisses_it(user: BrowserContext, pages: Server) -> None:
    """With tabs="all"; who has dismissed it need not do so again."""
    tabs = [await open_tab(user, pages, "/a") for _ in range(2)]

    await pages.post("/notify/user/ada")
    for tab in tabs:
        await expect(shown(tab)).to_have_count(1)
    await shown(tabs[0]).locator("[data-dismiss]").click()

    for tab in tabs:
        await expect(shown(tab)).to_have_count(0)


async def test_tab_that_was_closed_leaves_it_to_another(
    user: BrowserContext, pages: Server
) -> None:
    """With tabs="one", as long as the user has hardly seen it."""
    tabs = [await open_tab(user, pages, "/a?tabs=one") for _ in range(2)]
    for tab in tabs:
        await tab.clock.install()
        await tab.reload()
        await tab.wait_for_function(OPEN)
    await pages.post("/notify/user/ada")
    while not (counts := [await shown(tab).count() for tab in tabs]).count(1):
        pass

    await tabs[counts.index(1)].close()

    await expect(shown(tabs[counts.index(0)])).to_have_count(1)


async def test_users_of_one_browser_have_their_own(user: BrowserContext, pages: Server) -> None:
    """What one has dismissed, the next one has not."""
    page = await open_tab(user, pages, "/a")
    await pages.post("/notify/everyone/x")
    await shown(page).locator("[data-dismiss]").click()
    keys = await page.evaluate("Object.keys(localStorage)")

    assert len(keys) == 1
    assert "ada" not in keys[0]


# -- time and keys ---------------------------------------------------------------------------------


async def clocked(user: BrowserContext, pages: Server, path: str) -> Page:
    """Open a page whose clock the test moves, and which is connected."""
    page = await user.new_page()
    await page.clock.install()
    await page.goto(f"http://127.0.0.1:{pages.port}{path}")
    await page.wait_for_function(OPEN)
    return page


async def test_it_goes_after_its_time(user: BrowserContext, pages: Server) -> None:
    """Not before; and without a time it stays."""
    page = await clocked(user, pages, "/a?seconds=5")
    await pages.post("/notify/user/ada")
    await expect(shown(page)).to_have_count(1)

    await run(page, 4500)
    assert await shown(page).count() == 1
    await run(page, 1000)

    await expect(shown(page)).to_have_count(0)


async def test_time_stands_still_under_the_pointer(user: BrowserContext, pages: Server) -> None:
    """As long as the user reads."""
    page = await clocked(user, pages, "/a?seconds=5")
    await pages.post("/notify/user/ada")
    await shown(page).hover()

    await run(page, 20_000)
    assert await shown(page).count() == 1
    await page.mouse.move(0, 0)
    await run(page, 6000)

    await expect(shown(page)).to_have_count(0)


async def test_time_stands_still_while_it_has_the_focus(
    user: BrowserContext, pages: Server
) -> None:
    """For those who come by the keyboard; in the end the focus is where it was."""
    page = await clocked(user, pages, "/a?seconds=5")
    await page.focus("#plain")
    await pages.post("/notify/user/ada")
    await expect(shown(page)).to_have_count(1)
    await page.keyboard.press("Tab")
    await expect(shown(page).locator("[data-dismiss]")).to_be_focused()

    await run(page, 20_000)
    assert await shown(page).count() == 1
    await page.keyboard.press("Enter")

    await expect(shown(page)).to_have_count(0)
    await expect(page.locator("#plain")).to_be_focused()


async def test_escape_dismisses_the_newest(user: BrowserContext, pages: Server) -> None:
    """One at a time; the one that has the focus goes before."""
    page = await open_tab(user, pages, "/a")
    for name in ("one", "two", "three"):
        await pages.post(f"/notify/user/ada?message={name}")
    await expect(shown(page)).to_have_text([re.compile(name) for name in ("one", "two", "three")])

    await page.keyboard.press("Escape")
    await expect(shown(page)).to_have_text([re.compile(name) for name in ("one", "two")])
    await shown(page).filter(has_text="one").locator("[data-dismiss]").focus()
    await page.keyboard.press("Escape")
    await expect(shown(page)).to_have_text([re.compile("two")])


@pytest.mark.parametrize(
    ("motion", "name"),
    [
        pytest.param("reduce", "none", marks=pytest.mark.chromium),
        ("no-preference", "sse-no"),
    ],
)
async def test_motion_is_as_the_user_wants(
    browser: Browser, pages: Server, motion: str, name: str
) -> None:
    """Nothing moves for those who asked for that."""
    async with without_errors(browser, reduced_motion=motion) as context:
        page = await open_tab(context, pages, "/a")
        await pages.post("/notify/everyone/x")

        animation = await shown(page).evaluate("(each) => getComputedStyle(each).animationName")
        assert animation.startswith(name)
        await page.keyboard.press("Escape")
        await expect(shown(page)).to_have_count(0)


# -- an app's own ----------------------------------------------------------------------------------


async def test_script_may_show_it_in_its_own_way(user: BrowserContext, pages: Server) -> None:
    """It prevents the event, and nothing else is shown."""
    page = await open_tab(user, pages, "/a")
    await page.evaluate("""() => {
        window.told = [];
        addEventListener("sse:notification", (event) => {
            told.push(event.detail.notification);
            event.preventDefault();
        });
    }""")

    await pages.post("/notify/user/ada?title=Report")
    await page.wait_for_function("() => told.length")

    (told,) = await page.evaluate("told")
    assert (told["message"], told["title"], told["level"]) == ("Saved", "Report", "success")
    assert await page.locator(".sse-notification").count() == 0


@pytest.mark.parametrize(
    ("url", "href"),
    [("/reports/7", "/reports/7"), ("https://a.test/", "https://a.test/")]
    + [(url, None) for url in ("javascript:alert(1)", " JavaScript:alert(1)", "")],
)
async def test_link_is_no_script(
    user: BrowserContext, pages: Server, url: str, href: str | None
) -> None:
    """A template of the app may have a link; what is no page is not linked."""
    page = await open_tab(user, pages, "/a")
    await page.evaluate("""() => document.querySelectorAll("template").forEach(({ content }) => {
        const link = document.createElement("a");
        link.append("Open");
        link.dataset.slotHref = "data.url";
        content.firstElementChild.append(link);
    })""")

    await pages.post(f"/notify/user/ada?url={quote(url)}")

    await expect(shown(page)).to_have_count(1)
    link = shown(page).locator("a")
    assert await link.get_attribute("href") == href
    assert await link.is_visible() is (href is not None)
