"""What our script gives a page: its state in words, an API, all of it under a strict policy."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Browser, BrowserContext, Page, Route, expect

from tests.support.browsers import OPEN, count, failing, open_tab, serving, until_count
from tests.support.servers import Server, serve_pages

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

STRICT = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'"
)
STATE = "() => document.documentElement.dataset.sseState"
#: Writes down what a page is told about its connection.
WATCH = """
    window.log = [];
    for (const state of ["connecting", "open", "retry", "stopped"]) {
        document.addEventListener(`sse:${state}`, (event) => log.push(event.detail.state));
    }
    document.addEventListener("securitypolicyviolation", (event) => log.push(event.blockedURI));
"""


@asynccontextmanager
async def with_policy(htmx: int, policy: str, nonce: str = "") -> AsyncIterator[Server]:
    """Serve the pages under a Content-Security-Policy."""
    environ = {"CSP": policy, **({"NONCE": nonce} if nonce else {})}
    async with serve_pages("browser", htmx, environ) as server:
        yield server


@pytest.mark.parametrize("htmx", [2, 4])
async def test_everything_works_under_a_strict_policy(context: BrowserContext, htmx: int) -> None:
    """Shared connection, fragments, forms, personal fragments: no violation, no eval, no style."""
    await context.add_init_script(WATCH)
    async with with_policy(htmx, STRICT) as server:
        tabs = [
            await open_tab(context, server, path) for path in ("/number/a", "/number/b", "/mine")
        ]
        late = await context.new_page()
        await late.goto(f"http://127.0.0.1:{server.port}/late")
        await late.click("button")
        await expect(late.locator("#a")).to_have_text("a is 0")
        await tabs[0].locator("#typed").press_sequentially("typed")

        await server.post("/raise/a")
        await server.post("/raise/b")

        await expect(tabs[0].locator("#a")).to_have_text("a is 1")
        await expect(tabs[0].locator("#typed")).to_have_value("typed")
        await expect(tabs[1].locator("#b")).to_have_text("b is 1")
        await expect(tabs[2].locator("u")).to_have_text("nobody sees 1")
        await expect(late.locator("#a")).to_have_text("a is 1")
        for tab in (*tabs, late):
            assert set(await tab.evaluate("() => log")) <= {"connecting", "open"}
        await until_count(server, lambda number: number == 1)


@pytest.mark.parametrize(("worker", "connections"), [("; worker-src 'self'", 1), ("", 2)])
async def test_scripts_may_be_allowed_by_nonce(
    browser: Browser, worker: str, connections: int
) -> None:
    """A nonce lets no worker in; where the policy has no word for workers each page connects."""
    policy = STRICT.replace("script-src 'self'", "script-src 'nonce-abc'") + worker
    context = await browser.new_context()
    async with with_policy(2, policy, "abc") as server:
        tabs = [await open_tab(context, server, f"/number/{name}") for name in "ab"]
        await server.post("/raise/a")

        await expect(tabs[0].locator("#a")).to_have_text("a is 1")
        await until_count(server, lambda number: number == connections)
    await context.close()


@pytest.mark.parametrize("htmx", [2, 4])
async def test_state_is_seen_in_words(context: BrowserContext, htmx: int) -> None:
    """The status says in turn that the page connects, is live, comes back and has stopped."""
    await context.add_init_script(WATCH)
    async with serving(htmx) as server:
        page = await open_tab(context, server, "/number/a")
        status = page.get_by_role("status")
        await expect(status.locator(":visible")).to_have_text(["Live"])

        await server.stop()
        async with failing(server.port):
            await expect(status.locator(":visible")).to_have_text(["Reconnecting…"])
        assert await page.evaluate("() => [QuartSSE.isConnected, QuartSSE.isConnecting]") == [
            False,
            True,
        ]
        await page.wait_for_function("() => QuartSSE.error == 'status 502'")

        await page.evaluate("() => QuartSSE.disconnect()")
        await expect(status.locator("span:visible")).to_have_text(["Not live. Refresh"])
        assert await page.evaluate("() => log") == ["connecting", "open", "retry", "stopped"]
        async with serving(htmx, server.port):
            await page.get_by_role("link", name="Refresh").click()
            await expect(status.locator(":visible")).to_have_text(["Live"])


async def test_script_api_without_htmx(context: BrowserContext, pages: Server) -> None:
    """Events are called back, noted and forgotten; fragments are kept current; it can be left."""
    page = await open_tab(context, pages, "/events/a")
    await open_tab(context, pages, "/number/b")  # whose events are not for the page
    assert await page.evaluate("() => typeof htmx") == "undefined"
    await page.evaluate("""() => {
        window.got = [];
        const hear = (...path) => (data, message) => got.push([...path, data, message.event]);
        window.forget = QuartSSE.on("board", "raised", {name: "a"}, hear("a"));
        QuartSSE.on("board", "raised", {name: "b"}, hear("b"));
        QuartSSE.on("board", "raised", {}, hear("none"));
        QuartSSE.on("*", hear("*"));
    }""")

    await pages.post("/raise/b")
    await pages.post("/raise/a")
    await expect(page.locator("#a")).to_have_text("a is 1")
    name = "board.raised?name=a"
    assert await page.evaluate("() => got") == [["a", 1, name], ["*", 1, name]]
    last = await page.evaluate("() => QuartSSE.lastMessage")
    assert (last["event"], last["data"]) == (name, 1)
    assert await page.evaluate("() => QuartSSE.messages.length") == 1
    await page.evaluate("() => { QuartSSE.clearMessages(); forget(); }")
    await pages.post("/raise/a")
    await page.wait_for_function("() => got.length >= 3")
    assert await page.evaluate("() => [got[2], QuartSSE.messages.length]") == [["*", 2, name], 1]

    await page.evaluate("() => QuartSSE.disconnect()")
    assert await page.evaluate(STATE) == "stopped"
    await pages.post("/raise/a")
    await until_quiet(page)
    assert await page.evaluate("() => got.length") == 3

    await page.evaluate("() => QuartSSE.connect()")
    await page.wait_for_function(OPEN)
    await page.wait_for_function("() => got.length >= 4")
    assert await page.evaluate("() => got[3]") == ["*", 3, name]


async def until_quiet(page: Page) -> None:
    """Wait until the worker has answered a tab, and so what went out before has arrived."""
    await page.evaluate("""() => new Promise((quiet) => {
        const { src } = document.querySelector("script[src*=quart]");
        const worker = new SharedWorker(src, "quart-sse");
        worker.port.onmessage = quiet;
        worker.port.postMessage({ interval: 0 });
    })""")


async def test_page_that_leaves_is_answered_nothing(context: BrowserContext, pages: Server) -> None:
    """A message of the worker would drop it from the back-forward cache of Chromium."""
    page = await open_tab(context, pages, "/events/a")
    answers = await page.evaluate("""() => new Promise((answer) => {
        const { src } = document.querySelector("script[src*=quart]");
        const [one, two] = [0, 1].map(() => new SharedWorker(src, "quart-sse").port);
        let answers = 0;
        one.onmessage = () => { if (++answers === 2) two.postMessage({ interval: 0 }); };
        two.onmessage = () => answer(answers);
        [{ interval: 0 }, {}, { interval: 0 }].forEach((said) => one.postMessage(said));
    })""")
    assert answers == 2


@pytest.mark.parametrize("options", ["QuartSSE.attempts = 2", "QuartSSE.reconnect = false"])
async def test_page_can_limit_its_attempts(context: BrowserContext, options: str) -> None:
    """After so many it stops, and says so; other tabs go on; callbacks tell of each step."""
    async with serving(2) as server:
        page = await open_tab(context, server, "/events/a")
        other = await open_tab(context, server, "/events/b")
        await page.evaluate(f"""() => {{
            {options};
            QuartSSE.interval = 10;
            window.log = [];
            QuartSSE.onconnect = () => log.push("connect");
            QuartSSE.ondisconnect = (state) => log.push(`disconnect ${{state}}`);
            QuartSSE.onerror = (error) => log.push("error");
        }}""")
        await server.stop()
        await page.wait_for_function("() => document.documentElement.dataset.sseState == 'stopped'")
        # It ended as it should, so what failed are the attempts that followed.
        errors = ["error"] * (2 if "attempts" in options else 0)
        assert await page.evaluate("() => log") == ["disconnect retry", *errors]
        assert await other.evaluate(STATE) == "retry"

        async with serving(2, server.port):
            await other.wait_for_function(OPEN)
            assert await page.evaluate(STATE) == "stopped"
            await page.evaluate("() => QuartSSE.connect()")
            await page.wait_for_function(OPEN)
            assert (await page.evaluate("() => log"))[-1] == "connect"


async def test_text_stays_text_and_json_is_read(context: BrowserContext, pages: Server) -> None:
    """What an app has published as a str comes as a string, whatever it looks like."""
    page = await open_tab(context, pages, "/events/a")
    await page.evaluate("() => QuartSSE.on('*', () => {})")
    before = await page.evaluate("Date.now()")
    said = ["42", '{"a": 1}', "true", "hello", "  [1]"]
    for text in said:
        post = "(body) => fetch('/say/a', { method: 'POST', body }).then(() => null)"
        await page.evaluate(post, text)
    await pages.post("/raise/a")
    await page.wait_for_function("() => QuartSSE.messages.length === 6")
    messages = await page.evaluate("QuartSSE.messages")
    after = await page.evaluate("Date.now()")

    assert [message["data"] for message in messages] == [*said, 1]
    assert all(before <= message["timestamp"] <= after for message in messages)


async def test_originator_is_left_out_on_demand(context: BrowserContext, pages: Server) -> None:
    """The page whose request it was is not told, another tab of the same browser is."""
    here = await open_tab(context, pages, "/others/a")
    there = await open_tab(context, pages, "/others/a")
    for page in (here, there):
        await page.evaluate("""() => {
            window.got = [];
            QuartSSE.on("board", "told", {name: "a"}, (data) => got.push(data));
        }""")

    await here.click("button")
    for page in (here, there):
        await page.wait_for_function("() => got.includes('all')")

    assert await here.evaluate("() => got") == ["all"]
    assert await there.evaluate("() => got") == ["others", "all"]


async def test_text_that_looks_like_ours_is_text(context: BrowserContext, pages: Server) -> None:
    """What people write is handed on as it is, whatever it looks like, and changes nothing else."""
    page = await open_tab(context, pages, "/others/a")
    await page.evaluate("""() => {
        window.got = [];
        QuartSSE.on("board", "said", {name: "a"}, (text) => got.push(text));
    }""")
    k = await page.evaluate("() => /k=(\\w+)/.exec(document.body.innerHTML)[1]")
    texts = [
        f'<hx-partial hx-target="#sse-x" hx-swap="outerHTML"><div x="/sse?t=~evil&amp;k={k}&amp;"',
        """<hx-partial hx-target="[data-sse='board.number?name=a']" hx-swap="innerMorph">x""",
        '<hx-partial x beforeend"><span hidden hx-get="/tell/a" hx-trigger="load delay:1ms"',
        "\n\n two empty lines before\n\nand between",
        "plain",
    ]
    for text in texts:
        await page.evaluate("text => fetch('/say/a', {method: 'POST', body: text})", text)
    await page.wait_for_function("() => got.includes('plain')")

    assert await page.evaluate("() => got") == texts
    assert await page.evaluate(STATE) == "open"


async def test_rows_of_a_table_stay_rows_without_htmx(
    context: BrowserContext, pages: Server
) -> None:
    """The script finds its connect element from the end of the page, too."""
    page = await open_tab(context, pages, "/rows/a")

    await pages.post("/raise/a")

    await expect(page.locator("table > tbody > tr > td")).to_have_text("1")


async def test_status_is_right_wherever_it_comes_from(
    context: BrowserContext, pages: Server
) -> None:
    """One that is brought in later says what is so, and a page without fragments has no state."""
    page = await open_tab(context, pages, "/number/a")
    await page.evaluate("""() => {
        const status = document.querySelector("[data-sse-status]");
        const copy = status.cloneNode(true);
        for (const text of copy.children) text.hidden = text.dataset.state != "stopped";
        document.body.append(copy);
    }""")
    await expect(page.get_by_text("Live", exact=True)).to_have_count(2)
    await expect(page.get_by_text("Live", exact=True).last).to_be_visible()
    await expect(page.get_by_text("Not live").last).to_be_hidden()

    await page.evaluate("() => document.querySelector('[id^=sse-][hidden]').remove()")
    await page.wait_for_function("() => !('sseState' in document.documentElement.dataset)")
    await expect(page.get_by_text("Live", exact=True).last).to_be_hidden()


async def test_changes_elsewhere_do_not_make_the_script_search_the_page(
    context: BrowserContext, pages: Server
) -> None:
    """Only what contains a connect element does, and an attribute that makes one."""
    page = await open_tab(context, pages, "/number/a")
    searches = """change => {
        const original = document.querySelectorAll;
        let searches = 0;
        document.querySelectorAll = (selector) => {
            searches += selector.includes("sse-connect");
            return original.call(document, selector);
        };
        eval(change);
        return new Promise((resolve) => setTimeout(() => {
            delete document.querySelectorAll;
            resolve(searches);
        }));
    }"""
    element = "document.querySelector('[sse-connect], [hx-sse\\\\:connect]')"
    status = "document.querySelector('[data-sse-status]')"
    other = "document.body.append('text', document.createElement('p'), document.createComment(''))"

    assert await page.evaluate(searches, other) == 0
    assert await page.evaluate(searches, f"document.body.append({status}.cloneNode(true))") == 0
    assert await page.evaluate(searches, f"window.element = {element}; element.remove()") == 1
    await page.wait_for_function("() => !('sseState' in document.documentElement.dataset)")
    await page.evaluate("""() => {
        const place = document.createElement("div");
        document.body.append(place);
        setTimeout(() => {
            for (const { name, value } of element.attributes) place.setAttribute(name, value);
        });
    }""")
    await page.wait_for_function(f"() => ({STATE})() === 'open'")


async def test_tabs_with_very_many_topics_share_a_connection(context: BrowserContext) -> None:
    """What each page may show, all of them may show together."""
    async with serving(2) as server:
        tabs = [await open_tab(context, server, f"/many/{first}") for first in (0, 100)]
        await until_count(server, lambda number: number == 1)
        for tab, name in zip(tabs, ("7", "107"), strict=True):
            await tab.evaluate(
                """name => {
                    window.got = [];
                    QuartSSE.on("board", "told", {name}, (data) => got.push(data));
                }""",
                name,
            )
            await server.post(f"/tell/{name}")
            await tab.wait_for_function("() => got.length == 2")
            assert await tab.evaluate(STATE) == "open"


async def test_page_with_an_old_token_stops_no_other(browser: Browser) -> None:
    """A tab that slept until its token had expired is told so; one that was opened later is not."""
    context = await browser.new_context()
    async with serve_pages("browser", 2, {"QUART_SSE_TOKEN_LIFETIME": "4"}) as server:
        old = await open_tab(context, server, "/number/a")
        await old.evaluate("() => QuartSSE.disconnect()")
        await until_count(server, lambda number: number == 0)
        fresh = await open_tab(context, server, "/number/a")
        while (await old.evaluate("() => performance.now()")) < 5500:  # and its token is 4 s old
            pass
        await fresh.evaluate(
            "() => { window.got = []; QuartSSE.on('*', (data) => got.push(data)) }"
        )
        await old.evaluate("() => QuartSSE.connect()")
        await old.wait_for_function("() => document.documentElement.dataset.sseState == 'stopped'")

        await server.post("/raise/a")
        await expect(fresh.locator("#a")).to_have_text("a is 1")
        await fresh.wait_for_function(OPEN)
    await context.close()


@pytest.mark.chromium
async def test_without_javascript_a_page_is_current_and_says_how_to_stay_so(
    browser: Browser, pages: Server
) -> None:
    """It shows what is, a link to load it anew, and reloads by itself where that is wished."""
    await pages.post("/raise/a")
    context = await browser.new_context(java_script_enabled=False)
    page = await context.new_page()
    await page.goto(f"http://127.0.0.1:{pages.port}/number/a")
    await expect(page.locator("#a")).to_have_text("a is 1")
    await expect(page.get_by_text("Not live.")).to_be_visible()
    await expect(page.get_by_text("Live", exact=True)).to_be_hidden()
    await expect(page.get_by_role("link", name="Refresh")).to_be_visible()

    await pages.post("/raise/a")

    await expect(page.locator("#a")).to_have_text("a is 2")
    await context.close()


async def test_what_is_read_out_stays_in_the_page(context: BrowserContext, pages: Server) -> None:
    """The element with aria-live is the same before and after a refresh."""
    page = await open_tab(context, pages, "/number/a")
    region = page.locator("[aria-live=polite]")
    await region.evaluate("(element) => { element.isSame = true; }")

    await pages.post("/raise/a")

    await expect(region).to_have_text("a is 1")
    assert await region.evaluate("(element) => element.isSame")
    assert await count(pages) == 1


async def test_nothing_moves_where_motion_is_reduced(browser: Browser, pages: Server) -> None:
    """A refresh starts no animation, transition or view transition."""
    context = await browser.new_context(reduced_motion="reduce")
    await context.add_init_script("""
        window.moved = [];
        for (const name of ["animationstart", "transitionrun"]) {
            addEventListener(name, (event) => moved.push(event.type), true);
        }
        const start = document.startViewTransition;
        Document.prototype.startViewTransition = function (...all) {
            moved.push("view transition");
            return start.apply(this, all);
        };
    """)
    page = await open_tab(context, pages, "/number/a")

    await pages.post("/raise/a")

    await expect(page.locator("#a")).to_have_text("a is 1")
    assert await page.evaluate("() => moved") == []
    await context.close()


async def test_personal_fragment_does_not_undo_what_is_inside(
    context: BrowserContext, pages: Server
) -> None:
    """What is inside changed, and came by the stream, while the answer was on its way."""
    page = await open_tab(context, pages, "/desk/a")
    for number in (1, 2):
        await pages.post("/gate/closed")
        fetched = (await pages.get_json("/layout/desk"))["layout"] + 1
        await pages.post("/refresh/desk/a")
        while (await pages.get_json("/layout/desk"))["layout"] < fetched:
            pass
        await pages.post("/raise/a")
        await expect(page.locator("#a")).to_have_text(f"a is {number}")
        await pages.post("/gate/open")
        await expect(page.locator("u")).to_have_text(str(fetched))

        await expect(page.locator("#a")).to_have_text(f"a is {number}")


async def test_events_wait_until_the_page_listens(browser: Browser, pages: Server) -> None:
    """What comes while the page is parsed triggers htmx; fragments do not wait."""
    may_come = asyncio.Event()

    async def hold(route: Route) -> None:
        await may_come.wait()
        await route.continue_()

    page = await browser.new_page()
    await page.route("**/late.js", hold)
    await page.goto(f"http://127.0.0.1:{pages.port}/parsing/a", wait_until="commit")
    await page.wait_for_function(OPEN)
    for number in (1, 2):
        await pages.post("/raise/a")
        await expect(page.locator("#a")).to_have_text(f"a is {number}")
    assert await page.evaluate("document.readyState") == "interactive"
    may_come.set()

    await expect(page.locator("#brought")).to_have_text("brought")
    assert await page.evaluate("QuartSSE.messages.map(({ data }) => data)") == [1, 2]
    await page.close()
