"""What HTML that users have written can make a page do: nothing outside of itself."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from html import escape
from urllib.parse import quote, urlencode

import pytest
from playwright.async_api import BrowserContext, Page, expect

from tests.support.browsers import OPEN, open_tab, state
from tests.support.elsewhere import serve_elsewhere
from tests.support.servers import Server, serve_pages

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

HEAR = "() => { window.got = []; QuartSSE.on('*', (data) => got.push(data)); }"
OWN = ["board?name=a"]
#: What makes a region one of users: in either version, whatever its value, except where htmx 4
#: takes it for the selector of what it disables.
MARKS = ["hx-disable", "hx-ignore", "data-hx-disable", "data-hx-ignore=x", "hx-disable=true"]


@dataclass
class Pages:
    """A server of pages with what users have written."""

    server: Server
    htmx: int  #: 2, 4, or 0 for none

    @property
    def origin(self) -> str:
        """The pages' own."""
        return f"http://127.0.0.1:{self.server.port}"

    def path(self, before: str = "", **more: object) -> str:
        """Return the path of a page that contains it."""
        none = {} if self.htmx else {"none": ""}
        return f"/users?{urlencode({'before': before, **more, **none}, doseq=True)}"

    async def show(self, context: BrowserContext, before: str = "", **more: object) -> Page:
        """Open a page that contains it, and wait until the page's own connection is open."""
        return await open_tab(context, self.server, self.path(before, **more))

    def connect(self, url: str, files: str = "") -> str:
        """Return a connect element, as this htmx knows it, with the further files of the script."""
        name = "hx-sse:connect" if self.htmx == 4 else "sse-connect"
        return f'<div class="theirs" {name}="{escape(url)}" data-sse-files="{files}"></div>'

    async def until_topics(self, topics: list[str]) -> None:
        """Wait until the server has streams of exactly these topics."""
        async with asyncio.timeout(20):
            while (await state(self.server))["topics"] != topics:
                pass


@pytest.fixture(params=[2, 4, 0], ids=["htmx2", "htmx4", "none"])
async def pages(request: pytest.FixtureRequest) -> AsyncIterator[Pages]:
    """Serve pages for either htmx, and for none."""
    async with serve_pages("browser", request.param or 2) as server:
        yield Pages(server, request.param)


def url_of(name: str, k: str = "0") -> str:
    """Return the URL of a stream of what anybody may hear."""
    topic = quote(f"~hall?name={name}", safe="~")
    return f"/sse?t={topic}&k={k}&since=0"


async def test_keys_that_javascript_knows_are_keys(context: BrowserContext, pages: Pages) -> None:
    """The key of a share stands in the page, and may be a name that every object has."""
    keys = ["__proto__", "constructor", "toString", "hasOwnProperty", "0"]
    page = await pages.show(context, "".join(pages.connect(url_of(f"of-{k}", k)) for k in keys))
    await page.evaluate(HEAR)

    for k in keys:
        await pages.server.post(f"/open/of-{k}")
    await pages.server.post("/raise/a")

    await expect(page.locator("#a")).to_have_text("a is 1")
    await page.wait_for_function("() => got.includes('of-0')")
    assert [text for text in await page.evaluate("() => got") if text != 1] == [
        f"of-{k}" for k in keys
    ]
    topics = [f"hall?name=of-{k}" for k in sorted(keys)]
    assert await state(pages.server) == {"open": 1, "topics": OWN + topics}


@pytest.mark.parametrize("mark", MARKS)
async def test_connect_element_of_users_opens_nothing(
    context: BrowserContext, pages: Pages, mark: str
) -> None:
    """In a region that htmx is to leave alone, no element connects, however deep it lies."""
    theirs = "".join(pages.connect(url_of(name, k=name)) for name in "bc")
    before = f"<div {mark}>{theirs}<p><b>{theirs}</b></p></div>"

    page = await pages.show(context, before, after=before)

    await pages.server.post("/raise/a")
    await expect(page.locator("#a")).to_have_text("a is 1")
    assert await state(pages.server) == {"open": 1, "topics": OWN}


@pytest.mark.parametrize("value", ["#send", "find button", "this"])
async def test_page_that_disables_buttons_is_live_with_htmx_4(
    context: BrowserContext, pages: Pages, value: str
) -> None:
    """There hx-disable names what is disabled during a request; elsewhere it ends all of it."""
    body = f"hx-disable='{value}' hx-disable:inherited='{value}'"
    page = await context.new_page()
    await page.goto(pages.origin + pages.path(body=body))
    if pages.htmx != 4:
        assert await page.evaluate("document.documentElement.dataset.sseState") is None
        await page.evaluate("document.body.removeAttribute('hx-disable')")
    await page.wait_for_function(OPEN)

    await pages.server.post("/raise/a")

    await expect(page.locator("#a")).to_have_text("a is 1")


async def test_region_is_judged_whenever_it_changes(context: BrowserContext, pages: Pages) -> None:
    """A connect element that gets into one ends at once, and begins when it gets out again."""
    page = await pages.show(context, f"<div hx-ignore></div>{pages.connect(url_of('b'))}")
    await pages.until_topics([*OWN, "hall?name=b"])
    moves = [
        ("region.append(theirs)", "region.after(theirs)"),
        ("theirs.parentNode.dataset.hxIgnore = ''", "delete theirs.parentNode.dataset.hxIgnore"),
        ("theirs.setAttribute('hx-disable', '')", "theirs.removeAttribute('hx-disable')"),
        ("theirs.remove()", "region.after(theirs)"),
    ]
    await page.evaluate("""() => {
        window.region = document.querySelector("[hx-ignore]");
        window.theirs = document.querySelector(".theirs");
    }""")
    for goes_in, comes_out in moves:
        await page.evaluate(goes_in)
        await pages.until_topics(OWN)
        await page.evaluate(comes_out)
        await pages.until_topics([*OWN, "hall?name=b"])


@pytest.mark.parametrize("worker", ["shared", "alone"])
async def test_connect_element_of_another_origin_opens_nothing(
    context: BrowserContext, pages: Pages, worker: str
) -> None:
    """However its URL is written; nor does one that is redirected there, or leads to a file."""
    if worker == "alone":
        await context.add_init_script("delete window.SharedWorker")
    async with serve_elsewhere() as elsewhere:
        host, own = f"127.0.0.1:{elsewhere.port}", f"127.0.0.1:{pages.server.port}"
        hosts = [
            *(f"http://{host}", f"//{host}", f"\\\\{host}", f"/\\{host}", f"/\n/{host}"),
            *(f" http:\t//{host}", f"HTTP://{host}", f"http://{own}@{host}", f"http:\\\\{host}"),
            *(f"http://a:b@{own}", f"http://{own}.localhost", "http://[", "//", "http://:80"),
            *(f"blob:http://{own}", f"blob:http://{host}", "data:text/event-stream,", "about:"),
            *("javascript:throw", f"filesystem:http://{own}", f"view-source:http://{host}"),
        ]
        urls = [url + url_of("b", k=f"{k}") for k, url in enumerate(hosts)]
        leading = [f"/away/{elsewhere.port}?t=x&k=x", "/uploads/stream.txt?t=x&k=y"]
        before = "".join(map(pages.connect, urls))
        page = await pages.show(context, before)
        assert await state(pages.server) == {"open": 1, "topics": OWN}
        await page.close()

        page = await context.new_page()
        await page.goto(pages.origin + pages.path("".join(map(pages.connect, leading))))
        await page.wait_for_function("() => QuartSSE.error")
        await pages.server.post("/raise/a")
        await expect(page.locator("#a")).to_have_text("a is 1")

        assert elsewhere.requests == []


async def test_base_of_users_leads_nothing_elsewhere(context: BrowserContext, pages: Pages) -> None:
    """A base element decides what relative URLs mean; what it leads away is not opened."""
    async with serve_elsewhere() as elsewhere:
        page = await context.new_page()
        await page.goto(pages.origin + pages.path(f"<base href='{elsewhere.origin}'>"))
        await page.evaluate("QuartSSE.connect()")

        assert await page.evaluate("document.documentElement.dataset.sseState") is None
        assert [asked for asked in elsewhere.requests if "/~static/" not in asked] == []


async def test_listed_origin_is_connected(context: BrowserContext, pages: Pages) -> None:
    """A page says which origins it trusts; what their streams lead to is fetched from them."""
    async with serve_elsewhere() as elsewhere:
        own = (await pages.server.get("/mine")).decode()
        (files,) = re.findall('data-sse-files="([^"]+)"', own)
        theirs = pages.connect(f"{elsewhere.origin}/sse?t=x&k=x", files)
        mine = '<u data-sse="board.mine?name=a"></u>'
        page = await context.new_page()
        listed = ["https://other.example", elsewhere.origin]
        await page.goto(pages.origin + pages.path(theirs + mine, origin=listed))

        await expect(page.locator("[data-sse^='board.number']")).to_have_text("evil")
        await expect(page.locator("u")).to_have_text("fetched")
        asked = [each for each in elsewhere.requests if not each.startswith("OPTIONS")]
        assert asked == ["GET /sse", "GET /sse/~/mine"]


async def test_users_cannot_name_a_fragment(context: BrowserContext, pages: Pages) -> None:
    """What is inside of a region shows no fragment, and lets none be fetched."""
    mine, number = "board.mine?name=a", "board.number?name=a"
    theirs = f'<form action="//evil.example"><u data-sse="{mine}">-</u><i data-sse="{number}">-</i>'
    marked = f'<section hx-ignore data-sse="{number}">{theirs}</section>'
    page = await pages.show(context, f"<div hx-disable>{theirs}</form></div>", after=marked)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    other = await open_tab(context, pages.server, "/mine")  # whose messages both are sent

    await pages.server.post("/raise/a")
    await expect(other.locator("u")).to_have_text("nobody sees 1")
    await pages.server.post("/raise/a")
    await expect(other.locator("u")).to_have_text("nobody sees 2")

    # The region's own element is the author's.
    await expect(page.locator("section")).to_have_text("a is 2")
    await expect(page.locator("#a").last).to_have_text("a is 2")
    await expect(page.locator("[hx-disable]")).to_have_text("--")
    assert [url for url in asked if "/mine/" in url] == []


async def test_users_cannot_take_the_place_of_the_script(
    context: BrowserContext, pages: Pages
) -> None:
    """An element with a name that scripts use changes neither what runs nor what is trusted."""
    async with serve_elsewhere() as elsewhere:
        before = (
            f'<img name="currentScript" src="{elsewhere.origin}/evil.js"'
            f' data-origins="{elsewhere.origin}"><form id="htmx"><input name="swap"></form>'
            + pages.connect(f"{elsewhere.origin}/sse?t=x&k=x")
        )
        page = await pages.show(context, before, late="")
        await pages.server.post("/raise/a")

        await expect(page.locator("#a")).to_have_text("a is 1")
        assert await page.evaluate(
            "() => performance.getEntriesByType('resource').every("
            "({ name, initiatorType: type }) => type === 'img' || !name.includes('evil'))"
        )
        assert [each for each in elsewhere.requests if "evil.js" not in each] == []


async def test_tags_of_htmx_that_users_write_stay_text(
    context: BrowserContext, pages: Pages
) -> None:
    """In attributes, comments, text areas and text they neither end a message nor are changed."""
    page = await open_tab(context, pages.server, f"/written/{'htmx' if pages.htmx else 'none'}")

    await pages.server.post("/write")

    await expect(page.locator("b")).to_have_text("last")
    shown = page.locator("p[title]")
    await expect(shown).to_have_attribute("title", "</hx-partial>hx-partial<head>a</head>")
    await expect(shown).to_have_text("hx-partial <hx-partial>")
    await expect(page.locator("textarea")).to_have_value("</hx-partial>")
    assert await page.locator("template, hx-partial").count() == 0
    await page.reload()
    await expect(shown).to_have_attribute("title", "</hx-partial>hx-partial<head>a</head>")
