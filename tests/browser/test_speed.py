"""How long an update keeps a page busy."""

import statistics
from pathlib import Path

import pytest
from playwright.async_api import BrowserContext

from tests.support.browsers import open_tab, serve_forum
from tests.support.morphing import serving_pages

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

#: ms of script that a page may need for one changed row of 2,000.
MAX_MS = 30
#: The same in times of what the parser needs for the HTML: a busy machine is slower at both.
MAX_PARSES = 3
#: ms of the longest task of a page whose fragments are refreshed 20 times a second.
MAX_TASK_MS = 50
TRIES = 15

#: Changes one row again and again; returns the ms of script that each time took, and the parser.
TIME = """async ([key, tries]) => {
    const row = (i, n) => `<tr id="r${i}"><td>${i}</td><td class="a">row ${i} says ${n}</td>`
        + `<td><a href="/${i}">more</a><button hx-get="/${i}">go</button></td></tr>`;
    const html = (n) => `<table><tbody>${Array.from({ length: 2000 }, (_, i) =>
        row(i, i === 1000 ? n : 0)).join("")}</tbody></table>`;
    const [took, parsed] = [[], []];
    for (let n = 0; n <= tries; n++) {
        const message = `<hx-partial hx-target="[data-sse='${key}']" hx-swap="innerMorph">`
            + `${html(n)}</hx-partial>`;
        await new Promise(requestAnimationFrame);
        const begun = performance.now();
        inner.put(message);
        const done = performance.now();
        document.implementation.createHTMLDocument("").body.innerHTML = html(n);
        took.push(done - begun);
        parsed.push(performance.now() - done);
        await new Promise((resolve) => setTimeout(resolve));
    }
    return [took.slice(1), parsed.slice(1), document.querySelector("#r1000").innerText];
}"""


SECONDS = 3
#: Changes the comments of a discussion 20 times a second.
REFRESH = """async (seconds) => {
    const list = document.querySelector("[data-sse^='comments.list']");
    const html = list.innerHTML;
    for (let n = 0; n < 20 * seconds; n++) {
        const more = `<article id="new${n}"><p>comment ${n}</p><button>reply</button></article>`;
        inner.put(`<hx-partial hx-target="[data-sse='${list.dataset.sse}']" hx-swap="innerMorph">`
            + `${html}${more}</hx-partial>`);
        await new Promise((resolve) => setTimeout(resolve, 50));
    }
    if (!list.innerText.includes(`comment ${20 * seconds - 1}`)) throw "the list has not changed";
}"""


@pytest.mark.parametrize("kind", ["htmx2", "htmx4", "plain"])
async def test_one_changed_row_of_many_takes_little(context: BrowserContext, kind: str) -> None:
    """About twice what the parser needs, which is most of it."""
    async with serving_pages(kind) as pages:
        shown = await pages.show(context, "")
        await shown.page.evaluate("QuartSSE.provide('test', (put) => (window.inner = { put }))")
        arguments = [f"board.part?name={shown.name}", TRIES]

        took, parsed, text = await shown.page.evaluate(TIME, arguments)

        assert f"says {TRIES}" in text
        assert statistics.median(took) < max(MAX_MS, MAX_PARSES * statistics.median(parsed))


#: Notes the longest task of a page from now on.
WATCH = """() => {
    window.longest = 0;
    new PerformanceObserver((list) => {
        for (const { duration } of list.getEntries()) longest = Math.max(longest, duration);
    }).observe({ entryTypes: ["longtask"] });
}"""


@pytest.mark.parametrize("htmx", [2, 4], ids=["htmx2", "htmx4"])
async def test_refreshes_leave_a_page_quick(
    context: BrowserContext, htmx: int, tmp_path: Path
) -> None:
    """A discussion of the example that changes 20 times a second, as its HTML comes in."""
    async with serve_forum(htmx, tmp_path) as server:
        page = await open_tab(context, server, "/discussion/1")
        await page.evaluate("QuartSSE.provide('test', (put) => (window.inner = { put }))")
        await page.evaluate(WATCH)

        await page.evaluate(REFRESH, SECONDS)

        assert await page.evaluate("longest") < MAX_TASK_MS
