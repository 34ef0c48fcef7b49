"""What survives a refresh, in Chromium, Firefox and WebKit: the same checks, side by side.

The tests of each widget say more, and use it as people do (test_widgets.py); here is what stays.
"""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest
import pytest_asyncio

from tests.support.engines import Engine, Tab, in_all, running
from tests.support.morphing import Pages, script, serving_pages, styles

pytestmark = [
    pytest.mark.browser,
    pytest.mark.chromium,
    pytest.mark.timeout(180),
    pytest.mark.asyncio(loop_scope="module"),
]

KINDS = pytest.mark.parametrize("kind", ["htmx2", "htmx4", "plain"])
#: Gives a fragment random versions; returns how many, and what went wrong.
RUN = Path(__file__).with_name("versions.js").read_text("utf-8")
ROUNDS, VERSIONS = 15, 6


@dataclass(frozen=True)
class Widget:
    """A widget on a page, and what is to be so after two refreshes.

    Attributes:
        html: The fragment; ``{n}`` is another number each time.
        head: What loads the widget.
        begin: JavaScript that begins it, as soon as ``ready`` is true, and uses it.
        so: JavaScript that is true when all of it is as it should be; the last number is 2.
        ready: JavaScript.
    """

    html: str
    head: str
    begin: str
    so: str
    ready: str = "true"


WIDGETS = {
    "alpine": Widget(
        '<p>{n}</p><div x-data="{{ open: false, rows: [1] }}" class="c{n}"><button @click="'
        'open = !open; rows.push(2)">b</button><b x-show="open">{n}</b>'
        '<template x-for="row in rows"><li x-text="row"></li></template></div>',
        '<script defer src="/packages/alpinejs/dist/cdn.min.js"></script>',
        "all('button')[0].click()",
        "all('li').length === 2 && all('b')[0].offsetParent && all('b')[0].textContent === '2'"
        " && all('div.c2').length === 1",
        "all('li').length === 1",
    ),
    "bootstrap": Widget(
        '<p>{n}</p><button data-bs-toggle="collapse" data-bs-target="#more" class="c{n}">b</button>'
        '<div class="collapse" id="more">more {n}</div>',
        styles("bootstrap/dist/css/bootstrap.min.css")
        + script("bootstrap/dist/js/bootstrap.bundle.min.js"),
        "all('button')[0].click()",
        "all('#more.show, #more.collapsing').length === 1 && more.textContent === 'more 2'"
        " && all('button.c2')[0].ariaExpanded === 'true'",
    ),
    "tom select": Widget(
        '<p>{n}</p><select id="pick" class="c{n}"><option value=a>A<option value=b>B</select>'
        "<em>{n}</em>",
        styles("tom-select/dist/css/tom-select.css")
        + script("tom-select/dist/js/tom-select.complete.min.js"),
        "window.own = new TomSelect('#pick'); own.setValue('b')",
        "own.getValue() === 'b' && all('select')[0].value === 'b'"
        " && all('.ts-wrapper').length === 1"
        " && all('select + .ts-wrapper + em')[0].textContent === '2'",
    ),
    "flatpickr": Widget(
        '<p>{n}</p><input id="one" value="2026-01-0{n}1"><input id="two" value="2026-02-0{n}">',
        styles("flatpickr/dist/flatpickr.min.css") + script("flatpickr/dist/flatpickr.min.js"),
        "window.own = flatpickr('#one'); own.setDate('2026-01-20'); own.open()",
        "one.value === '2026-01-20' && two.value === '2026-02-02'"
        " && all('.flatpickr-calendar.open', document).length === 1",
    ),
    "leaflet": Widget(
        '<p>{n}</p><div id="place" style="height: 200px" class="c{n}"></div>',
        styles("leaflet/dist/leaflet.css") + script("leaflet/dist/leaflet.js"),
        "window.own = L.map('place', { zoomAnimation: false }).setView([50, 8], 5); own.setZoom(7)",
        "own.getZoom() === 7 && all('#place.leaflet-container.c2 .leaflet-pane').length > 1",
    ),
    "chart.js": Widget(
        '<p>{n}</p><div style="width: 300px"><canvas id="chart" data-value="{n}"></canvas></div>',
        script("chart.js/dist/chart.umd.min.js"),
        "window.own = new Chart('chart', { type: 'bar', options: { animation: false },"
        " data: { labels: ['a'], datasets: [{ data: [1] }] } })",
        "own.canvas.isConnected && own.canvas.width > 200 && own.canvas.dataset.value === '2'",
    ),
    "sortable.js": Widget(
        "<p>{n}</p><ul><li data-id=a id=a>{n}</li><li data-id=b id=b>{n}</li></ul>",
        script("sortablejs/Sortable.min.js"),
        "window.own = Sortable.create(all('ul')[0]); own.sort(['b', 'a'])",
        "own.toArray().join() === 'b,a' && all('li')[1].textContent === '2'",
    ),
    "custom element": Widget(
        '<p>{n}</p><x-own class="c{n}"></x-own>',
        """<script>customElements.define("x-own", class extends HTMLElement {
            connectedCallback() { this.innerHTML = "<u>mine</u>"; this.dataset.on = "yes"; }
        });</script>""",
        "all('u')[0].textContent = 'used'",
        "all('x-own.c2[data-on] > u')[0].textContent === 'used' && all('u').length === 1",
    ),
    "shadow tree": Widget(
        '<p>{n}</p><article><template shadowrootmode="open"><input><b>{n}</b></template></article>',
        "",
        "void (shadow('input').value = 'typed')",
        "shadow('input').value === 'typed' && shadow('b').textContent === '2'",
    ),
}
HELPERS = """<script>
    window.all = (selector, root = document.querySelector("[data-sse]")) =>
        [...root.querySelectorAll(selector)];
    window.shadow = (selector) => all("article")[0].shadowRoot.querySelector(selector);
</script>"""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def engines() -> AsyncIterator[list[Engine]]:
    """Return the three browsers."""
    async with running() as engines:
        yield engines


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def servers() -> AsyncIterator[dict[str, Pages]]:
    """Return a server of pages with either htmx, and with none."""
    async with AsyncExitStack() as stack:
        kinds = ("htmx2", "htmx4", "plain")
        yield {kind: await stack.enter_async_context(serving_pages(kind)) for kind in kinds}


async def show(
    engine: Engine, stack: AsyncExitStack, pages: Pages, name: str, html: str, **more: str
) -> Tab:
    """Open the page of a topic in a browser."""
    await say(pages, name, html)
    profile = await engine.new_profile()
    stack.push_async_callback(profile.close)
    return await profile.open(url_of(pages, name, **more))


def url_of(pages: Pages, name: str, **more: str) -> str:
    """Return the URL of the page of a topic."""
    plain = {"plain": "1"} if pages.kind == "plain" else {}
    return f"{pages.origin}/page/{name}?{urlencode({**more, **plain})}"


async def say(pages: Pages, name: str, html: str) -> None:
    """Let the fragment have new HTML."""
    async with httpx.AsyncClient() as client:
        await client.post(f"{pages.origin}/say/{name}", content=html)


@KINDS
async def test_widgets_survive(engines: list[Engine], servers: dict[str, Pages], kind: str) -> None:
    """Each stays as it was used, and what the server changes comes."""
    pages = servers[kind]

    async def check(engine: Engine, stack: AsyncExitStack) -> None:
        tab = await show(engine, stack, pages, engine.name, "")
        for number, (title, widget) in enumerate(WIDGETS.items()):
            name = f"{engine.name}{number}"
            await say(pages, name, widget.html.format(n=0))
            await tab.go(url_of(pages, name, head=HELPERS + widget.head))
            await tab.until_state("open")
            await tab.until(widget.ready)
            await tab.evaluate(f"void (() => {{ {widget.begin} }})()")
            for turn in (1, 2):
                await say(pages, name, widget.html.format(n=turn))
                await tab.until(f"all('p')[0].textContent === '{turn}'")
            try:
                await tab.until(f"!!({widget.so})", 5)
            except AssertionError as error:
                error.add_note(title)
                raise

    await in_all(engines, check)


@KINDS
async def test_page_shows_what_the_server_says(
    engines: list[Engine], servers: dict[str, Pages], kind: str
) -> None:
    """After each of many random versions, whatever scripts have put in between."""
    pages = servers[kind]

    async def check(engine: Engine, stack: AsyncExitStack) -> None:
        name = f"random-{engine.name}"
        tab = await show(engine, stack, pages, name, "")
        await tab.evaluate("void QuartSSE.provide('test', (put) => (window.inner = { put }))")
        arguments = json.dumps([f"board.part?name={name}", ROUNDS, 3])
        await tab.evaluate(
            f"void ({RUN.strip()})({arguments}).then((found) => (window.found = found),"
            " (error) => (window.found = [String(error)]))"
        )
        await tab.until("window.found", 90)
        assert await tab.evaluate("found") == [ROUNDS * VERSIONS]

    await in_all(engines, check)


async def test_page_that_asks_for_trusted_types_is_live(
    engines: list[Engine], servers: dict[str, Pages]
) -> None:
    """By the policy that the documentation names; engines without it ignore it."""
    pages = servers["plain"]
    policy = "require-trusted-types-for 'script'; trusted-types quart-sse"

    async def check(engine: Engine, stack: AsyncExitStack) -> None:
        name = f"trusted-{engine.name}"
        html = "<p onclick='clicked.push({n})'>{n}</p><script>clicked.push('ran {n}')</script>"
        head = "<script>window.clicked = []</script>"
        tab = await show(
            engine, stack, pages, name, html.format(n=0), head=head, policy=policy, mine="1"
        )
        await say(pages, name, html.format(n=1))
        await tab.until("document.querySelector('p').textContent === '1'")
        await tab.click("p")
        await tab.until("clicked.join() === 'ran 0,ran 1,1'")
        await tab.until_state("open")

    await in_all(engines, check)


async def test_copy_on_disk_says_that_it_is_not_live(
    engines: list[Engine], servers: dict[str, Pages]
) -> None:
    """What a browser saves is the document as it is, without what is only shown."""
    pages = servers["plain"]

    async def check(engine: Engine, stack: AsyncExitStack) -> None:
        tab = await show(engine, stack, pages, f"saved-{engine.name}", "<p>0</p>", status="1")
        words = "document.querySelector('[data-sse-status]').innerText.trim()"
        assert await tab.evaluate(words) == "Live"
        html = await tab.evaluate("document.documentElement.outerHTML")
        async with httpx.AsyncClient() as client:
            await client.post(f"{pages.origin}/copy/{engine.name}", content=html)
        await tab.go(f"{pages.origin}/copy/{engine.name}")
        assert (await tab.evaluate(words)).startswith("Not live.")

    await in_all(engines, check)
