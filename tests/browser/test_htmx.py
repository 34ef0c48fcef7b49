"""What htmx does with live pages: late fragments, boosted links, history, forms and triggers."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import pytest
from playwright.async_api import BrowserContext, Page, Request, Route, expect

from tests.apps.htmx import ODD
from tests.support.browsers import open_tab
from tests.support.servers import Server, serve_pages

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

TIMES = 50
#: Characters typed in as many milliseconds: longer than htmx 2 takes to settle.
TYPED = 40
DIGITS = "".join(str(i % 10) for i in range(TYPED))

#: Remembers the events that it is told of: by our function, and by the document.
HEAR = """() => {
    window.heard = [];
    window.seen = [];
    window.named = [];
    QuartSSE.on("board", "raised", {name: "a"}, (number) => heard.push(number));
    document.addEventListener("sse:message", ({detail}) => {
        if (detail.event === "board.raised?name=a") seen.push(detail.data);
    });
    document.addEventListener("board.raised?name=a", ({detail}) => named.push(+detail.data));
}"""

#: What somebody has done in a form and around it.
STATE = """() => {
    const get = (id) => document.getElementById(id);
    const text = get("text");
    return {
        text: text.value, area: get("area").value, choice: get("choice").value,
        box: get("box").checked, way: get("form").elements.way.value,
        free: get("free").textContent, isOpen: get("details").open,
        scrolled: [get("inner").scrollTop, scrollY],
        focus: [document.activeElement.id, text.selectionStart, text.selectionEnd],
    };
}"""

#: Types into a field as soon as something else has been swapped, and while it settles.
TYPE = """([watched, id, count]) => {
    window.typed = "";
    new MutationObserver((_, observer) => {
        observer.disconnect();
        document.getElementById(id).focus();
        const type = () => {
            const digit = String(typed.length % 10);
            document.execCommand("insertText", false, digit);
            typed += digit;
            if (typed.length < count) setTimeout(type, 1);
        };
        type();
    }).observe(document.querySelector(watched), {
        childList: true, characterData: true, subtree: watched !== "body",
    });
}"""


@asynccontextmanager
async def serving(htmx: int, environ: Mapping[str, str]) -> AsyncIterator[Server]:
    """Serve the same pages for either htmx."""
    async with serve_pages("htmx", htmx, environ) as server:
        yield server


@pytest.fixture(params=[2, 4], ids=["htmx2", "htmx4"])
async def pages(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    """Return a server of either htmx."""
    async with serving(request.param, {}) as server:
        yield server


async def until_topics(server: Server, *expected: str) -> None:
    """Wait until the server has exactly one connection, and this of exactly these topics."""
    wanted = [[f"board?name={name}" for name in expected]] if expected else []
    found = None
    try:
        async with asyncio.timeout(15):
            while found != wanted:
                found = (await server.get_json("/connections"))["topics"]
    except TimeoutError:
        pytest.fail(f"the server has {found} open, not {wanted}")


async def note_requests(page: Page, part: str) -> list[str]:
    """Return a list that will have the URLs of requests, of those that contain something."""
    urls: list[str] = []

    def note(request: Request) -> None:
        if part in request.url:
            urls.append(request.url)

    page.on("request", note)
    await page.evaluate("0")  # from then on the browser tells of them
    return urls


async def walk_to_and_fro(page: Page, prefix: str) -> None:
    """Click on what brings b, and on what brings a, again and again."""
    for i in range(TIMES):
        name = "ba"[i % 2]
        await page.click(f"#{prefix}{name}")
        await expect(page.locator(f"b.{name}")).to_be_visible()


async def shows(page: Page, name: str, number: int, tag: str = "b") -> None:
    """Wait until each element of a name shows a number."""
    elements = page.locator(f"{tag}.{name}")
    await expect(elements.first).to_be_visible()
    said = f"nobody sees {number}" if tag == "u" else f"{name} is {number}"
    await expect(elements).to_have_text([said] * await elements.count())


async def test_fragments_of_every_kind_are_live(context: BrowserContext, pages: Server) -> None:
    """Refreshed, pushed and personal fragments of several topics all follow one action."""
    page = await open_tab(context, pages, "/all")

    for name in "abc":
        await pages.post(f"/raise/{name}")

    for name in "abc":
        for tag in "biu":
            await shows(page, name, 1, tag)
    await until_topics(pages, "a", "b", "c")


async def test_late_fragments_are_live_while_they_are_shown(
    context: BrowserContext, pages: Server
) -> None:
    """A fragment that htmx brings is live, and the server forgets it when htmx removes it."""
    page = await open_tab(context, pages, "/late")
    for number, name in enumerate("aabba", 1):
        await page.click(f"#{name}")
        await until_topics(pages, name, "page")
        await pages.post("/raise/a")
        await pages.post("/raise/b")
        await shows(page, name, number)
    await page.click("#nothing")
    await until_topics(pages, "page")

    for _ in range(3):
        await page.click("#more")
    await expect(page.locator("#parts b")).to_have_count(3)
    await until_topics(pages, "a", "page")
    await pages.post("/raise/a")
    await pages.post("/raise/page")
    await shows(page, "a", 6)
    await shows(page, "page", 1)

    await page.click("#to-a")
    await until_topics(pages, "a")
    await page.close()
    await until_topics(pages)


async def test_history_shows_what_is_current(context: BrowserContext, pages: Server) -> None:
    """After boosted links, back and forward a page has what it missed, and is live."""
    page = await open_tab(context, pages, "/walk/a")
    await page.evaluate("window.neverReloaded = true")
    await page.evaluate(HEAR)
    numbers = {"a": 0, "b": 0}

    async def is_current_and_live(name: str) -> None:
        await expect(page).to_have_url(re.compile(f"/walk/{name}$"))
        for _ in range(2):
            for tag in "bu":
                await shows(page, name, numbers[name], tag)
            await until_topics(pages, name)
            for each in numbers:  # the page shows only one of them
                await pages.post(f"/raise/{each}")
                numbers[each] += 1
        await shows(page, name, numbers[name])

    await is_current_and_live("a")
    await page.click("#to-b")
    await is_current_and_live("b")
    for i, name in enumerate("abab"):
        if i >= 2:  # htmx 2 restores what it has kept; without it, it fetches as htmx 4 does
            await page.evaluate("sessionStorage.removeItem('htmx-history-cache')")
        await (page.go_back() if name == "a" else page.go_forward())
        await is_current_and_live(name)

    assert await page.evaluate("window.neverReloaded")
    heard = await page.evaluate("heard")
    assert heard == sorted(set(heard)), "an event was repeated"


async def test_many_boosted_pages_leave_nothing_behind(
    context: BrowserContext, pages: Server
) -> None:
    """However many pages were there, an event comes once, and is fetched once."""
    page = await open_tab(context, pages, "/walk/a")
    await page.evaluate(HEAR)
    await walk_to_and_fro(page, "to-")
    await until_topics(pages, "a")
    fetched = await note_requests(page, "/mine/")

    for number in (1, 2, 3):
        await pages.post("/raise/a")
        await shows(page, "a", number, "u")
        await shows(page, "a", number)

    assert await page.evaluate("[heard, seen, named]") == [[1, 2, 3]] * 3
    assert len(fetched) == 3


async def test_many_late_fragments_leave_nothing_behind(
    context: BrowserContext, pages: Server
) -> None:
    """However often a fragment was replaced, an event comes once, and the server has one topic."""
    page = await open_tab(context, pages, "/late")
    await page.evaluate(HEAR)
    await walk_to_and_fro(page, "")
    await until_topics(pages, "a", "page")

    for number in (1, 2, 3):
        await pages.post("/raise/a")
        await shows(page, "a", number)

    assert await page.evaluate("[heard, seen, named]") == [[1, 2, 3]] * 3
    await page.click("#nothing")
    await until_topics(pages, "page")


async def test_event_is_told_once_to_a_page_with_several_connections(
    context: BrowserContext, pages: Server
) -> None:
    """Elements of one topic that came one after the other hear of each event together."""
    page = await open_tab(context, pages, "/late")
    await page.evaluate(HEAR)
    for count in (1, 2, 3):
        await page.click("#more")
        await expect(page.locator("#parts b")).to_have_count(count)
    await until_topics(pages, "a", "page")

    for number in (1, 2, 3):
        await pages.post("/raise/a")
        await shows(page, "a", number)

    assert await page.evaluate("[heard, seen, named]") == [[1, 2, 3]] * 3


async def test_personal_fragment_is_fetched_by_one_tab_once(
    context: BrowserContext, pages: Server
) -> None:
    """Neither a second connection of the page nor another tab makes it fetch more, or complain."""
    page = await open_tab(context, pages, "/late")
    other = await open_tab(context, pages, "/late")
    await page.click("#mine")
    await shows(page, "page", 0, "u")
    await pages.post("/raise/page")
    await shows(page, "page", 1, "u")
    fetched = await note_requests(page, "/mine/")

    for number in (2, 3, 4):
        await pages.post("/raise/page")
        await shows(page, "page", number, "u")
        await shows(other, "page", number)

    # Three, and what the connection brought again when it was replaced; not each of them twice.
    assert 3 <= len(fetched) < 6


@pytest.mark.parametrize("htmx", [2, 4], ids=["htmx2", "htmx4"])
async def test_personal_fragment_that_changes_while_it_is_fetched_is_fetched_again(
    context: BrowserContext, htmx: int
) -> None:
    """An answer that is old when it comes does not keep a newer one away."""
    is_held, may_go = asyncio.Event(), asyncio.Event()

    async def hold(route: Route) -> None:
        answer = await route.fetch()
        is_held.set()
        await may_go.wait()
        await route.fulfill(response=answer)

    async with serving(htmx, {"MANY_VIEWERS": "1"}) as pages:
        page = await open_tab(context, pages, "/walk/a")
        await page.route("**/mine/**", hold)
        await pages.post("/raise/a")
        await is_held.wait()
        await pages.post("/raise/a")
        await shows(page, "a", 2)
        may_go.set()

        await shows(page, "a", 2, "u")
        await page.close()


async def test_event_triggers_a_request(context: BrowserContext, pages: Server) -> None:
    """An event's name stands in hx-trigger, whatever its parameters, and each event counts once."""
    page = await open_tab(context, pages, "/triggers")
    asked = await note_requests(page, "/count")

    for number, (name, place) in enumerate((("a", 1), (ODD, 2), ("a", 1)), 1):
        await pages.post(f"/raise/{quote(name, safe='')}")
        await expect(page.locator(f"#on-{place}")).to_have_text(str(number))

    await page.click("#to-a")
    await shows(page, "a", 2)
    await pages.post("/raise/a")
    await shows(page, "a", 3)
    assert len(asked) == 3


def served(number: int) -> dict[str, Any]:
    """Return what the server says of a number."""
    value, chosen = f"server {number}", "ac"[number % 2]
    return {"text": value, "area": value, "choice": chosen, "way": chosen, "box": chosen == "c"}


async def fields(page: Page) -> dict[str, Any]:
    """Return what the server has a say in."""
    state = await page.evaluate(STATE)
    return {name: state[name] for name in served(0)}


async def use(page: Page) -> dict[str, Any]:
    """Change whatever can be changed in the form's page; returns what has come of it."""
    await page.fill("#area", "a long text")
    await page.check("#box")
    await page.select_option("#choice", "b")
    await page.check("[value=b]")
    await page.click("#free")
    await page.keyboard.type("mine: ")
    await page.click("summary")
    await page.evaluate("document.getElementById('inner').scrollTop = 77")
    await page.fill("#text", "half a word")
    await page.evaluate("document.getElementById('text').setSelectionRange(2, 5)")
    await page.evaluate("scrollTo(0, 50)")
    state: dict[str, Any] = await page.evaluate(STATE)
    assert state["scrolled"] == [77, 50]
    assert state["isOpen"]
    assert state["focus"] == ["text", 2, 5]
    return state


async def test_what_somebody_has_changed_survives(context: BrowserContext, pages: Server) -> None:
    """Text, ticks, choices, scrolling, focus and selection stay while the server changes all."""
    page = await open_tab(context, pages, "/form")
    state = await use(page)

    for number in (1, 2):
        await server_says(page, pages, number)
        assert await page.evaluate(STATE) == state

    await page.evaluate("document.activeElement.blur()")
    state["focus"][0] = ""
    for number in (3, 4):
        await server_says(page, pages, number)
        assert await page.evaluate(STATE) == state


async def test_fields_follow_the_server_until_they_are_changed(
    context: BrowserContext, pages: Server
) -> None:
    """Untouched fields show what the server says, each time; so do those of a form once reset."""
    page = await open_tab(context, pages, "/form")
    for number in (1, 2, 3):
        await server_says(page, pages, number)
        assert await fields(page) == served(number)

    await use(page)
    await server_says(page, pages, 4)
    assert (await fields(page))["text"] == "half a word"
    await page.evaluate("document.getElementById('form').reset()")
    assert await fields(page) == served(4)
    for number in (5, 6, 7):
        await server_says(page, pages, number)
        assert await fields(page) == served(number)


async def server_says(page: Page, server: Server, number: int) -> None:
    """Change what is in the form, and wait until the page shows it."""
    await server.post("/raise/a")
    await expect(page.locator("p")).to_have_text(f"server {number}")


async def test_what_is_typed_while_a_fragment_settles_is_kept(
    context: BrowserContext, pages: Server
) -> None:
    """Nothing is lost that is typed from the moment of the swap on."""
    page = await open_tab(context, pages, "/form")
    await page.fill("#text", "before ")
    await page.evaluate(TYPE, ["p", "text", TYPED])

    await server_says(page, pages, 1)
    await page.wait_for_function(f"typed.length === {TYPED}")
    await server_says(page, pages, 2)

    await expect(page.locator("#text")).to_have_value(f"before {DIGITS}")


async def test_what_is_typed_into_a_form_that_htmx_replaces_is_kept(
    context: BrowserContext, pages: Server
) -> None:
    """The form in an answer can be used at once, also while a fragment beside it is refreshed."""
    page = await open_tab(context, pages, "/posting/beside")
    for number in (1, 2):
        await page.fill("#said", f"word {number}")
        await page.evaluate(TYPE, ["body", "said", TYPED])
        await page.keyboard.press("Enter")
        await expect(page.locator("output")).to_have_text(f"word {number}")
        await shows(page, "a", number)
        await page.wait_for_function(f"typed.length === {TYPED}")
        await expect(page.locator("#said")).to_have_value(DIGITS)


async def test_form_and_the_fragment_around_it_change_together(
    context: BrowserContext, pages: Server
) -> None:
    """An answer that replaces a form, and a refresh of the fragment around it, both arrive."""
    page = await open_tab(context, pages, "/posting/inside")
    for number in range(1, 11):
        await page.fill("#said", f"word {number}")
        await page.keyboard.press("Enter")
        await expect(page.locator("output")).to_have_text(f"word {number}")
        await expect(page.locator("em")).to_have_text(str(number))
        await shows(page, "a", number)

    await expect(page.locator("form")).to_have_count(1)
    await until_topics(pages, "a")
