"""Pages that cannot show what is so: they say it, show nothing of other users, and go on."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, expect

from tests.support.morphing import Pages, serving_pages

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

PARTIAL = "() => document.documentElement.dataset.sseState === 'partial'"
OPEN = "() => document.documentElement.dataset.sseState === 'open'"
#: What a page may write only by a policy of that name.
TRUSTED = "require-trusted-types-for 'script'; trusted-types quart-sse"


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["htmx2", "htmx4", "plain"])
async def pages(request: pytest.FixtureRequest) -> AsyncIterator[Pages]:
    """Return a server of pages with either htmx, and with none, for all tests."""
    async with serving_pages(request.param) as pages:
        yield pages


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plain() -> AsyncIterator[Pages]:
    """Return a server of pages without htmx, where it makes no difference."""
    async with serving_pages("plain") as pages:
        yield pages


@pytest.fixture
async def page_context(browser: Browser) -> AsyncIterator[BrowserContext]:
    """Return a browser whose pages log errors, as they do here."""
    context = await browser.new_context()
    yield context
    await context.close()


# -- exceptions ----------------------------------------------------------------------------------

THROW = {
    "hook": "void (QuartSSE.beforeMorph = () => { throw Error('mine'); })",
    "listener": "addEventListener('sse:update', () => { throw Error('mine'); })",
    "element": "void (document.querySelector('p').setAttributeNode = () => {throw Error('mine')})",
}
HEAL = {
    "hook": "QuartSSE.beforeMorph = null",
    "listener": "void (window.addEventListener('sse:update', "
    "(event) => event.stopImmediatePropagation(), true))",
    "element": "0",
}


@pytest.mark.parametrize("what", THROW)
async def test_exception_of_an_update_is_told_and_later_ones_go_on(
    page_context: BrowserContext, pages: Pages, what: str
) -> None:
    """The page says that it is live in part until the fragment is right again."""
    html = '<p title="{n}">{n}</p><b>{n}</b><input id="typed">'
    shown = await pages.show(page_context, html.format(n=0))
    page = shown.page
    await page.evaluate("""() => {
        window.told = [];
        document.addEventListener("sse:error", ({ detail }) =>
            told.push([detail.fragment, detail.error.message]));
    }""")
    await page.evaluate(THROW[what])

    await shown.say(html.format(n=1))
    await page.wait_for_function(PARTIAL)
    assert await page.evaluate("told") == [[f"board.part?name={shown.name}", "mine"]]
    await expect(page.locator("p")).to_have_text("1")
    await expect(page.locator("p")).to_have_attribute("title", "1")
    await expect(page.locator("b")).to_have_count(1)

    await page.evaluate(HEAL[what])
    for number in (2, 3):
        await shown.say(html.format(n=number))
    await page.wait_for_function(OPEN)
    await expect(page.locator("p")).to_have_text("3")
    await expect(page.locator("b")).to_have_text("3")
    assert len(await page.evaluate("told")) == 1


# -- trusted types -------------------------------------------------------------------------------


async def test_page_that_asks_for_trusted_types_is_live(
    context: BrowserContext, plain: Pages
) -> None:
    """By a policy that its own names: HTML, scripts, handlers, templates and further files."""
    html = (
        "<p onclick='clicked.push({n})'>{n}</p><script>ran.push({n})</script>{more}"
        "<template><i>{n}</i></template><iframe srcdoc='<p>{n}</p>'></iframe>"
    )
    head = "<script>window.ran = []; window.clicked = []</script>"
    shown = await plain.show(
        context, html.format(n=0, more=""), head=head, policy=TRUSTED, mine="1"
    )
    page = shown.page
    assert await page.evaluate("window.trustedTypes ? 1 : 0") == 1

    for number in (1, 2):
        await shown.say(html.format(n=number, more="<script src='/packages/none'></script>"))
    await page.click("p")
    await shown.post("tell", "secret")

    await expect(page.locator("u")).to_have_text("None sees secret")
    assert await page.evaluate("[ran, clicked]") == [[0, 1, 2], [2]]
    assert await page.evaluate("document.querySelector('template').innerHTML") == "<i>2</i>"
    await shown.say("<h2><template shadowrootmode=open><b>3</b></template></h2>")
    await expect(page.locator("h2 b")).to_have_text("3")
    assert await page.locator("script[src*='quart-sse-shadow']").count() == 1
    assert await page.evaluate("document.documentElement.dataset.sseState") == "open"


async def test_page_that_forbids_the_policy_says_that_it_is_not_current(
    page_context: BrowserContext, plain: Pages
) -> None:
    """It never says that it is live while nothing changes."""
    policy = "require-trusted-types-for 'script'; trusted-types other"
    shown = await plain.show(page_context, "<p>0</p>", policy=policy, status="1")

    await shown.post("say", "<p>1</p>")

    await shown.page.wait_for_function(PARTIAL)
    await expect(shown.page.get_by_text("Partly live.")).to_be_visible()


# -- personal fragments --------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_personal_fragment_that_is_refused_is_cleared(
    context: BrowserContext, pages: Pages, status: int
) -> None:
    """What one user may see is not left before the next one; when it is granted it comes again."""
    shown = await pages.show(context, "first", mine="1", status="1")
    page = shown.page
    mine = page.locator("[data-sse^='board.mine']")
    await expect(mine).to_have_text("None sees first")

    await shown.post("tell", f"second {status}")
    await expect(mine).to_be_empty()
    await expect(mine).to_have_attribute("data-sse-refused", "")
    await expect(page.get_by_text("Partly live.")).to_be_visible()

    await shown.post("tell", "third")
    await expect(mine).to_have_text("None sees third")
    await expect(page.get_by_text("Live", exact=True)).to_be_visible()
    assert await mine.get_attribute("data-sse-refused") is None


@pytest.mark.parametrize("status", [403, 429, 500])
async def test_personal_fragment_that_has_failed_is_asked_for_again(
    context: BrowserContext, plain: Pages, status: int
) -> None:
    """Also if nothing changes any more."""
    shown = await plain.show(context, "first", mine="1")
    mine = shown.page.locator("[data-sse^='board.mine']")

    await shown.post("tell", f"second {status} {status}")

    await expect(mine).to_have_text("None sees second")
    assert await shown.asked() == 4


async def test_answer_that_never_comes_is_given_up(context: BrowserContext, plain: Pages) -> None:
    """A request that hangs keeps the fragment stale for half a minute at most."""
    then = "const { timeout } = AbortSignal; AbortSignal.timeout = (ms) => timeout(ms / 30)"
    shown = await plain.show(context, "first", then=then, mine="1")
    page = shown.page
    hung = 0

    async def hang(route: object) -> None:
        nonlocal hung
        hung += 1
        if hung > 1:
            await route.continue_()  # type: ignore[attr-defined]

    await page.route("**/~/mine/**", hang)
    await shown.post("tell", "second")

    await expect(page.locator("u")).to_have_text("None sees second")
    assert hung > 1


@pytest.mark.parametrize("kind", ["htmx2", "htmx4"])
async def test_personal_fragment_of_htmx_alone_is_not_stale(
    page_context: BrowserContext, kind: str
) -> None:
    """With htmx's extension instead of our script: a slow answer does not replace a newer one.

    htmx 2 logs that the slow request was aborted.
    """
    async with serving_pages(kind) as pages:
        shown = await pages.show(page_context, "first", mine="1", ours="0")
        page = shown.page
        mine = page.locator("[data-sse^='board.mine']")
        await expect(mine).to_have_text("None sees first")

        await shown.post("tell", "held-a")
        while await shown.asked() < 2:
            pass
        await shown.post("tell", "last")
        await expect(mine).to_have_text("None sees last")
        await shown.page.request.post(f"{pages.origin}/answer/{shown.name} 2")
        await shown.post("tell", "last")
        while await shown.asked() < 4:
            pass
        await expect(mine).to_have_text("None sees last")


# -- copies on disk ------------------------------------------------------------------------------


@pytest.mark.parametrize("scripts", ["with its scripts", "without"])
async def test_page_that_was_saved_says_that_it_is_not_live(
    page_context: BrowserContext, plain: Pages, tmp_path: Path, scripts: str
) -> None:
    """It shows what was so when it was saved, and nothing comes any more."""
    shown = await plain.show(page_context, "<p>0</p>", status="1")
    await expect(shown.page.get_by_text("Live", exact=True)).to_be_visible()
    html = await shown.page.content()
    for name in ("", "-head", "-sent", "-morph"):
        file = f"quart-sse{name}.min.js"
        answer = await shown.page.request.get(f"{plain.origin}/sse/~static/{file}")
        if scripts == "with its scripts":
            (tmp_path / file).write_bytes(await answer.body())
        html = html.replace(f"/sse/~static/{file}", file)
    # Of a file, a browser does not know whether it is of the same origin.
    html = html.replace(" crossorigin", " data-was").replace("integrity=", "data-digest=")
    (tmp_path / "saved.html").write_text(html, "utf-8")

    page = await page_context.new_page()
    await page.goto((tmp_path / "saved.html").as_uri())

    await expect(page.get_by_text("Not live.")).to_be_visible()
    await expect(page.get_by_text("Live", exact=True)).to_be_hidden()


# -- addresses -----------------------------------------------------------------------------------


async def test_link_of_the_status_loads_the_page_again(
    context: BrowserContext, plain: Pages
) -> None:
    """Whatever ``<base>`` says, and also after the page's address has changed."""
    shown = await plain.show(
        context, "<p>0</p>", status="1", head='<base href="/packages/elsewhere/">'
    )
    page = shown.page
    for path in ("", "&moved=1"):
        await page.evaluate("(url) => history.pushState(null, '', url + '#part')", page.url + path)
        await page.evaluate("QuartSSE.disconnect()")
        url = page.url.replace("#part", "")

        async with page.expect_navigation():
            await page.locator("[data-state=stopped] a").click()

        assert page.url == url
        await page.wait_for_function(OPEN)


async def test_frame_without_an_origin_runs_our_scripts(
    context: BrowserContext, plain: Pages
) -> None:
    """As a sandboxed one, whose requests are all of another origin; it says that it is not live."""
    shown = await plain.show(context, "<p>0</p>", status="1")
    page = shown.page
    await page.evaluate(
        """(url) => {
            const frame = document.createElement("iframe");
            frame.sandbox = "allow-scripts";
            frame.src = url;
            document.body.append(frame);
        }""",
        plain.url(shown, status="1"),
    )

    frame = page.frame_locator("iframe")
    await expect(frame.locator("html")).to_have_attribute("data-sse-state", "stopped")
    await expect(frame.get_by_text("Not live.")).to_be_visible()
