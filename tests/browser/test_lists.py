"""Lists in the page: items come, change, move and go, and nothing else is touched."""

import statistics
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import BrowserContext, expect

from tests.support.list_pages import ListPages, serving_lists

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["htmx2", "htmx4", "plain"])
async def pages(request: pytest.FixtureRequest) -> AsyncIterator[ListPages]:
    """Return a server of pages with either htmx, and with none, for all tests."""
    async with serving_lists(request.param) as pages:
        yield pages


#: ms of script that a page may need for one message into a list of 500.
MAX_MS = 2
TIME = """async ([key, tries]) => {
    const took = [];
    for (let n = 0; n <= tries; n++) {
        const html = `<li data-sse-item="new${n}" data-sse-order="${1000 + n}">`
            + `<b>Ada</b> says ${n}</li>`;
        const message = `<hx-partial '${key}' new${n} end>${html}</hx-partial>`;
        await new Promise(requestAnimationFrame);
        const begun = performance.now();
        inner.put(message);
        took.push(performance.now() - begun);
        await new Promise((resolve) => setTimeout(resolve));
    }
    return [took.slice(1), document.querySelectorAll("[data-sse-item]").length];
}"""


async def test_items_come_change_move_and_go(context: BrowserContext, pages: ListPages) -> None:
    """Each has its place; other lists have the same, with elements of other kinds."""
    await _changes_rows(pages, context)
    await _keeps_three(pages, context)
    await _changes_rows_of_a_table(pages, context)
    await _changes_options(pages, context)
    await _nests(pages, context)
    await _shows_without_order(pages, context)


async def _changes_rows(pages: ListPages, context: BrowserContext) -> None:
    shown = await pages.show(context, "rows", {"a": (10, "one"), "b": (20, "two")})
    await shown.shows("one", "two")

    await shown.say({"c": (30, "three")})
    await shown.shows("one", "two", "three")
    await shown.say({"d": (15, "between")})
    await shown.shows("one", "between", "two", "three")
    await shown.say({"b": (20, "<b>TWO</b>")})
    await shown.shows("one", "between", "TWO", "three")
    await shown.say({"a": (25, "one")})
    await shown.shows("between", "TWO", "one", "three")
    await shown.say({"d": None})
    await shown.shows("TWO", "one", "three")
    await shown.say({"e": (5, "first")}, whole=True)
    await shown.shows("first", "TWO", "one", "three")
    await shown.say({"b": (20, "again")})
    await shown.shows("first", "again", "one", "three")
    await shown.say({"b": None, "x y/&": (40, "odd")})
    await shown.shows("first", "one", "three", "odd")
    await shown.say({"x y/&": (1, "odd")})
    await shown.shows("odd", "first", "one", "three")
    await shown.page.close()


async def _keeps_three(pages: ListPages, context: BrowserContext) -> None:
    items = {str(n): (n, f"row {n}") for n in range(4)}
    shown = await pages.show(context, "tops", items, tag="section")
    await shown.shows("row 3", "row 2", "row 1")

    await shown.say({"4": (4, "row 4")})
    await shown.shows("row 4", "row 3", "row 2")
    await shown.say({"3": None})
    await shown.shows("row 4", "row 2", "row 1")
    await shown.page.close()


async def _changes_rows_of_a_table(pages: ListPages, context: BrowserContext) -> None:
    items = {"a": (1, "<td>one</td><td><input></td>")}
    shown = await pages.show(
        context, "cells", items, tag="tbody", before="<table>", foot="</table>"
    )
    await shown.say({"b": (2, "<td>two</td><td></td>"), "a": (3, "<td>ONE</td><td><input></td>")})
    await shown.shows("two", "ONE")
    await shown.page.close()


async def _changes_options(pages: ListPages, context: BrowserContext) -> None:
    items = {"a": ("=a", "one"), "b": ("=b", "two")}
    shown = await pages.show(context, "options", items, tag="select")
    await shown.page.locator("select").select_option(label="two")
    await shown.say({"c": ("=aa", "three")})
    await shown.shows("one", "three", "two")
    assert await shown.page.evaluate("document.querySelector('select').value") == "two"
    await shown.page.close()


async def _nests(pages: ListPages, context: BrowserContext) -> None:
    shown = await pages.show(context, "rows", {"a": (1, "NESTED ")})
    await shown.shows("NESTED 1")
    await shown.say({"b": (2, "NESTED ")})
    # The count inside of the other one is refreshed by nothing; that of the new one is new.
    await shown.shows("NESTED 1", "NESTED 2")
    await shown.page.close()


async def _shows_without_order(pages: ListPages, context: BrowserContext) -> None:
    shown = await pages.show(context, "rows", {"a": (None, "one"), "b": (None, "two")})
    await shown.say({"c": (None, "three")})
    await shown.shows("one", "two", "three")
    await shown.say({"a": (None, "ONE")})
    await shown.shows("ONE", "two", "three")
    await shown.say({"d": (None, "four"), "e": (None, "five")})
    await shown.shows("ONE", "two", "three", "four", "five")
    await shown.page.close()


#: What a user has done in items: typed, opened, marked, played.
DO = """() => {
    const item = (key) => document.querySelector(`[data-sse-item='${key}']`);
    window.items = ["a", "b"].map(item);
    window.canvas = item("b").querySelector("canvas").getContext("2d");
    canvas.fillRect(0, 0, 1, 1);
    const field = item("b").querySelector("input");
    field.value = "typed";
    item("b").querySelector("details").open = true;
    const range = document.createRange();
    range.selectNodeContents(item("b").querySelector("p"));
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    field.focus({ preventScroll: true });
    field.setSelectionRange(1, 3);
    window.video = item("b").querySelector("video");
    video.currentTime = 0;
    window.paused = 0;
    video.addEventListener("pause", () => paused++);
}"""
DONE = """() => {
    const field = items[1].querySelector("input");
    return [items[1].isConnected, document.activeElement === field, field.value,
        field.selectionStart, field.selectionEnd, items[1].querySelector("details").open,
        getSelection().toString(), canvas.getImageData(0, 0, 1, 1).data[3], paused];
}"""


async def test_other_items_are_left_alone(context: BrowserContext, pages: ListPages) -> None:
    """Typing, the focus, selections, open details and media stay as they are."""
    inner = (
        "<p>some words</p><input><details><summary>more</summary>text</details>"
        "<canvas></canvas><video></video>"
    )
    shown = await pages.show(context, "rows", {"a": (10, "one"), "b": (20, inner)})
    await shown.page.evaluate(DO)
    before = await shown.page.evaluate(DONE)

    await shown.say({"c": (5, "first"), "d": (30, "last"), "a": (15, "ONE")})
    await expect(shown.page.locator("[data-sse-item]")).to_have_count(4)
    await expect(shown.page.locator("[data-sse-item=a]")).to_have_text("ONE")
    await shown.say({"c": None})
    await expect(shown.page.locator("[data-sse-item]")).to_have_count(3)

    assert await shown.page.evaluate(DONE) == before
    assert before[:3] == [True, True, "typed"]


#: px between what a list shows and its end.
LEFT = """() => {
    const list = document.querySelector("ul");
    return Math.round(list.scrollHeight - list.clientHeight - list.scrollTop);
}"""
#: Notes the items of which pages are told that they are new below.
HEAR = "window.below = []; addEventListener('sse:below', (event) => below.push(event.detail.item))"


async def test_end_is_followed_only_from_there(context: BrowserContext, pages: ListPages) -> None:
    """Who reads further up stays there, and hears of what is new below."""
    style = "<style>ul{height:100px;overflow:auto}</style>"
    items = {str(n): (n, f"row {n}") for n in range(30)}
    shown = await pages.show(context, "rows", items, before=style, follow="end")
    page, end = shown.page, shown.page.locator("ul")
    assert await page.evaluate(LEFT) < 2

    await shown.say({"30": (30, "row 30")})
    await expect(page.locator("[data-sse-item='30']")).to_have_count(1)
    assert await page.evaluate(LEFT) < 2
    await page.evaluate(HEAR)
    await end.evaluate("(list) => list.scrollTop = 40")
    await shown.say({"31": (31, "row 31")})
    await expect(end).to_have_attribute("data-sse-below", "")
    assert await end.evaluate("(list) => list.scrollTop") == 40
    assert await page.evaluate("below") == ["31"]
    await shown.say({"3": (3, "changed")})
    await expect(page.locator("[data-sse-item='3']")).to_have_text("changed")
    assert await page.evaluate("below") == ["31"]

    await end.evaluate("(list) => list.scrollTop = list.scrollHeight")
    await expect(end).not_to_have_attribute("data-sse-below", "")


@pytest.mark.parametrize("pages", ["htmx2", "htmx4"], indirect=True)
async def test_plain_mode_gets_whole_lists(context: BrowserContext, pages: ListPages) -> None:
    """htmx's own extension knows no items."""
    shown = await pages.show(context, "rows", {"a": (1, "one")}, unshared="1")
    live = await pages.show(context, "rows", {"a": (1, "one")})
    await shown.say({"b": (2, "two"), "a": None})
    await shown.shows("two")
    await live.say({"b": (2, "two")})
    await live.shows("one", "two")


@pytest.mark.chromium
async def test_one_message_into_a_long_list_takes_little(
    context: BrowserContext, pages: ListPages
) -> None:
    """The script looks at one item, however many there are."""
    items = {str(n): (n, f"<b>Ada</b> says {n}") for n in range(500)}
    shown = await pages.show(context, "rows", items)
    await shown.page.evaluate("QuartSSE.provide('test', (put) => (window.inner = { put }))")

    took, number = await shown.page.evaluate(TIME, [f"board.rows?name={shown.name}", 30])

    assert number == 531
    assert statistics.median(took) < MAX_MS
