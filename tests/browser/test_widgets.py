"""Widgets of other projects in a fragment, as people use them: docs/browser.md has this table."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import BrowserContext, expect

from tests.support.morphing import Pages, script, serving_pages, styles

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["htmx2", "htmx4", "plain"])
async def pages(request: pytest.FixtureRequest) -> AsyncIterator[Pages]:
    """Return a server of pages with either htmx, and with none, for all tests."""
    async with serving_pages(request.param) as pages:
        yield pages


ALPINE = (
    '<p>{n}</p><div x-data="{{ open: false, rows: [1, 2], name: \'x\' }}" class="c{n}">'
    '<button @click="open = !open; rows.push(3)">toggle</button>'
    '<b x-show="open">shown {n}</b><u x-text="rows.length">-</u>'
    '<template x-for="row in rows"><li x-text="row"></li></template><em>{n}</em>'
    '<template x-if="open"><s>if</s></template><i :class="open && \'on\'" class="s{n}"></i>'
    '<input x-model="name"><q x-html="name"></q></div>{more}'
)


async def test_alpine(context: BrowserContext, pages: Pages) -> None:
    """Components go on with their state, and new ones begin."""
    head = '<script defer src="/packages/alpinejs/dist/cdn.min.js"></script>'
    shown = await pages.show(context, ALPINE.format(n=0, more=""), head=head)
    page = shown.page
    await expect(page.locator("li")).to_have_text(["1", "2"])
    await page.click("button")
    await page.fill("[x-model]", "typed")
    more = '<div x-data="{ n: 1 }"><h3 x-text="n" @click="n++">-</h3></div>'

    for number in (1, 2):
        await shown.say(ALPINE.format(n=number, more=more))
        await expect(page.locator("li")).to_have_text(["1", "2", "3"])

    await expect(page.locator("b")).to_be_visible()
    await expect(page.locator("b")).to_have_text("shown 2")
    await expect(page.locator("u")).to_have_text("3")
    await expect(page.locator("em")).to_have_text("2")
    await expect(page.locator("s")).to_have_count(1)
    await expect(page.locator("i.on.s2")).to_have_count(1)
    await expect(page.locator("q")).to_have_text("typed")
    await expect(page.locator("div.c2 > em + s")).to_have_count(0)  # the template stands between
    await page.click("button")
    await expect(page.locator("b")).to_be_hidden()
    await expect(page.locator("li")).to_have_count(4)
    await page.click("h3")
    await expect(page.locator("h3")).to_have_text("2")


BOOTSTRAP = (
    "<p>{n}</p>"
    '<button data-bs-toggle="collapse" data-bs-target="#more" class="btn c{n}">more</button>'
    '<div class="collapse" id="more">more {n}</div>'
    '<div class="dropdown"><button data-bs-toggle="dropdown" id="drop" class="btn">menu</button>'
    '<ul class="dropdown-menu"><li class="dropdown-item">{n}</li></ul></div>'
    '<div class="alert alert-warning fade show">same'
    '<button class="btn-close" data-bs-dismiss="alert"></button></div>'
    '<span id="tip" title="tip" tabindex="0">{n}</span>'
    '<button data-bs-toggle="modal" data-bs-target="#modal" id="ask">ask</button>'
    '<div class="modal" id="modal" tabindex="-1"><div class="modal-dialog">'
    '<div class="modal-content"><h5>{n}</h5><input id="said">'
    '<button data-bs-dismiss="modal" id="close">close</button></div></div></div>'
)


async def test_bootstrap(context: BrowserContext, pages: Pages) -> None:
    """What is open stays open, what was dismissed stays away, and a modal closes cleanly."""
    files = styles("bootstrap/dist/css/bootstrap.min.css")
    head = files + script("bootstrap/dist/js/bootstrap.bundle.min.js")
    shown = await pages.show(context, BOOTSTRAP.format(n=0), head=head)
    page = shown.page
    await page.evaluate("window.tip = new bootstrap.Tooltip('#tip', { animation: false })")
    await page.click("text=more")
    await expect(page.locator("#more.show")).to_be_visible()
    await page.click(".alert .btn-close")
    await expect(page.locator(".alert")).to_have_count(0)
    await page.click("#drop")
    await shown.say(BOOTSTRAP.format(n=1))
    await expect(page.locator(".dropdown-menu")).to_be_visible()
    await expect(page.locator(".dropdown-item")).to_have_text("1")
    await page.keyboard.press("Escape")
    await expect(page.locator(".dropdown-menu")).to_be_hidden()
    await page.evaluate("tip.show()")
    await shown.say(BOOTSTRAP.format(n=2))
    await expect(page.locator(".tooltip")).to_have_count(1)
    await page.evaluate("tip.hide()")
    await expect(page.locator(".tooltip")).to_have_count(0)
    await page.click("#ask")
    await page.fill("#said", "typed")
    await shown.say(BOOTSTRAP.format(n=3))

    await expect(page.locator("#modal h5")).to_have_text("3")
    await expect(page.locator("#said")).to_have_value("typed")
    await page.click("#close")
    await expect(page.locator("#modal")).to_be_hidden()
    await expect(page.locator(".modal-backdrop")).to_have_count(0)
    await expect(page.locator("#more.show")).to_have_text("more 3")
    await expect(page.locator("[data-bs-target='#more']")).to_have_attribute(
        "aria-expanded", "true"
    )
    await expect(page.locator(".alert")).to_have_count(0)


async def test_tom_select(context: BrowserContext, pages: Pages) -> None:
    """Its own elements and the choice stay; after `sse:update` it reads options that are new."""
    html = (
        '<p>{n}</p><select id="pick" class="c{n}"><option value="a">A<option value="b">B{more}'
        "</select><em>{n}</em>"
    )
    files = styles("tom-select/dist/css/tom-select.css")
    head = files + script("tom-select/dist/js/tom-select.complete.min.js")
    shown = await pages.show(context, html.format(n=0, more=""), head=head)
    page = shown.page
    await page.evaluate("""() => {
        window.pick = new TomSelect("#pick");
        addEventListener("sse:update", () => pick.sync());
        pick.setValue("b");
    }""")

    for number in (1, 2):
        await shown.say(html.format(n=number, more="<option value=c>C"))

    assert await page.evaluate("[pick.getValue(), document.querySelector('select').value]") == [
        "b",
        "b",
    ]
    await expect(page.locator(".ts-wrapper")).to_have_count(1)
    await expect(page.locator("select + .ts-wrapper + em")).to_have_text("2")
    await page.click(".ts-control")
    await page.click(".ts-dropdown .option:has-text('C')")
    assert await page.evaluate("document.querySelector('select').value") == "c"


async def test_flatpickr(context: BrowserContext, pages: Pages) -> None:
    """A date that was picked stays; one that was not is the server's."""
    html = '<p>{n}</p><input id="one" value="2026-01-0{n}"><input id="two" value="2026-02-0{n}">'
    head = styles("flatpickr/dist/flatpickr.min.css") + script("flatpickr/dist/flatpickr.min.js")
    shown = await pages.show(context, html.format(n=1), head=head)
    page = shown.page
    await page.evaluate("window.pickers = flatpickr('[data-sse] input')")
    await page.click("#one")
    await page.click(".flatpickr-calendar.open .flatpickr-day[aria-label='January 20, 2026']")

    await page.click("#one")
    for number in (2, 3):
        await shown.say(html.format(n=number))

    await expect(page.locator("#one")).to_have_value("2026-01-20")
    await expect(page.locator("#two")).to_have_value("2026-02-03")
    await expect(page.locator(".flatpickr-calendar.open")).to_be_visible()
    await page.click(".flatpickr-calendar.open .flatpickr-day[aria-label='January 21, 2026']")
    await expect(page.locator("#one")).to_have_value("2026-01-21")


async def test_leaflet(context: BrowserContext, pages: Pages) -> None:
    """A map stays where it was moved to, with what was put on it."""
    html = '<p>{n}</p><div id="map" style="height: 200px" class="c{n}"></div>'
    head = styles("leaflet/dist/leaflet.css") + script("leaflet/dist/leaflet.js")
    shown = await pages.show(context, html.format(n=0), head=head)
    page = shown.page
    await page.evaluate("""() => {
        window.shownMap = L.map("map", { zoomAnimation: false }).setView([50, 8], 5);
        L.circleMarker([50, 8]).addTo(shownMap);
        shownMap.setZoom(7);
    }""")
    before = await page.locator("#map").inner_html()

    for number in (1, 2):
        await shown.say(html.format(n=number))

    assert await page.locator("#map").inner_html() == before
    await expect(page.locator("#map.leaflet-container.c2")).to_have_count(1)
    assert await page.evaluate("shownMap.getZoom()") == 7
    await page.click(".leaflet-control-zoom-in")
    await page.wait_for_function("shownMap.getZoom() === 8")


async def test_chart_js(context: BrowserContext, pages: Pages) -> None:
    """What is drawn stays, in its size; new numbers come with an attribute and `sse:update`."""
    html = (
        '<p>{n}</p><div style="width: 300px">'
        '<canvas id="chart" data-values="[1, {n}]"></canvas></div>'
    )
    head = script("chart.js/dist/chart.umd.min.js")
    shown = await pages.show(context, html.format(n=0), head=head)
    page = shown.page
    await page.evaluate("""() => {
        const values = () => JSON.parse(document.querySelector("#chart").dataset.values);
        window.chart = new Chart("chart", {
            type: "bar", options: { animation: false },
            data: { labels: ["a", "b"], datasets: [{ data: values() }] },
        });
        addEventListener("sse:update", () => {
            chart.data.datasets[0].data = values();
            chart.update();
        });
    }""")
    size = await page.evaluate("[chart.canvas.width, chart.canvas.style.width]")

    for number in (5, 9):
        await shown.say(html.format(n=number))

    assert await page.evaluate("[chart.canvas.width, chart.canvas.style.width]") == size
    assert await page.evaluate("chart.canvas.isConnected")
    assert await page.evaluate("chart.getDatasetMeta(0).controller.getParsed(1).y") == 9


async def test_sortable_js(context: BrowserContext, pages: Pages) -> None:
    """An item that is dragged while its list changes goes on, and is dropped where it is let go."""
    html = "<p>{n}</p><ul>" + "".join(
        f'<li id="{each}" style="height: 30px">{each} {{n}}</li>' for each in "abcd"
    )
    head = script("sortablejs/Sortable.min.js")
    shown = await pages.show(context, html.format(n=0) + "</ul>", head=head)
    page = shown.page
    await page.evaluate("""() => {
        window.dropped = 0;
        Sortable.create(document.querySelector("ul"), {
            forceFallback: true, animation: 0, onEnd: () => dropped++,
        });
    }""")
    await page.hover("#a")
    await page.mouse.down()
    for id in "bc":
        box = await page.locator(f"#{id}").bounding_box()
        assert box is not None
        await page.mouse.move(box["x"] + 20, box["y"] + 25, steps=4)
    order = (
        "[...document.querySelectorAll('li:not(.sortable-fallback)')].map((li) => li.id).join('')"
    )
    await page.wait_for_function(f"{order}.indexOf('a') > 0")
    dragged = await page.evaluate(order)

    for number in (1, 2):
        await shown.say(html.format(n=number) + '<li id="e" style="height: 30px">e</li></ul>')
    assert await page.evaluate(order) == f"{dragged}e"
    await page.mouse.up()

    await page.wait_for_function("dropped === 1")
    assert await page.evaluate(order) == f"{dragged}e"
    await expect(page.locator("#a")).to_have_text("a 2")


async def test_custom_element(context: BrowserContext, pages: Pages) -> None:
    """What it has made of itself stays, whenever it came."""
    head = """<script>customElements.define("x-own", class extends HTMLElement {
        connectedCallback() { this.innerHTML = "<button>0</button>"; this.dataset.on = "yes";
            this.firstChild.onclick = ({ target }) => target.textContent++; }
    });</script>"""
    html = '<p>{n}</p><x-own class="c{n}"></x-own>'
    shown = await pages.show(context, html.format(n=0), head=head)
    page = shown.page
    await page.click("button")

    for number in (1, 2):
        await shown.say(html.format(n=number) + "<x-own></x-own>")
        await page.click("x-own:nth-of-type(2) button")

    await expect(page.locator("x-own button")).to_have_text(["1", "2"])
    await expect(page.locator("x-own.c2[data-on=yes]")).to_have_count(1)
