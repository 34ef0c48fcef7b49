"""Shadow trees: fragments in them, and those that fragments declare."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import BrowserContext, expect

from tests.support.morphing import Pages, serving_pages

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

OPEN_ROOT = '<template shadowrootmode="open">'
#: Moves the fragment into a shadow root, in the page and in another root there.
ATTACH = """() => {
    const host = document.createElement("div");
    host.id = "host";
    document.body.append(host);
    const inner = document.createElement("section");
    host.attachShadow({ mode: "open" }).append(inner);
    inner.attachShadow({ mode: "open" }).append(document.querySelector("[data-sse^='board.part']"));
}"""


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["htmx2", "htmx4", "plain"])
async def pages(request: pytest.FixtureRequest) -> AsyncIterator[Pages]:
    """Return a server of pages with either htmx, and with none, for all tests."""
    async with serving_pages(request.param) as pages:
        yield pages


async def test_fragment_in_a_declared_shadow_root_is_live(
    context: BrowserContext, pages: Pages
) -> None:
    """Shared and personal ones; what was typed in there, and the focus, stay."""
    html = '<p>{n}</p><input id="typed" value="{n}">'
    shown = await pages.show(
        context,
        html.format(n=0),
        mine="1",
        before=f"<article>{OPEN_ROOT}",
        foot="</template></article>",
    )
    page = shown.page
    assert await page.evaluate("document.querySelector('[data-sse]')") is None
    await page.locator("#typed").fill("typed")

    for number in (1, 2):
        await shown.say(html.format(n=number))
    await shown.post("tell", "told")

    await expect(page.locator("p")).to_have_text("2")
    await expect(page.locator("#typed")).to_have_value("typed")
    await expect(page.locator("#typed")).to_be_focused()
    await expect(page.locator("u")).to_have_text("None sees told")

    await page.locator("p").evaluate("(p) => p.replaceWith(document.createElement('q'))")
    await shown.say(html.format(n=3))
    await expect(page.locator("p")).to_have_text("3")
    await expect(page.locator("q")).to_have_count(0)


async def test_fragment_in_a_shadow_root_of_a_script_is_live(
    context: BrowserContext, pages: Pages
) -> None:
    """However deep, and also if it is in the page as well."""
    shown = await pages.show(context, "<p>0</p>")
    page = shown.page
    await page.evaluate(ATTACH)
    await shown.say("<p>1</p>")
    await page.evaluate(
        "document.body.append(host.shadowRoot.firstChild.shadowRoot.firstChild.cloneNode(true))"
    )
    await page.evaluate("document.body.lastChild.querySelector('.turn').remove()")

    await shown.post("say", "<p>2</p>")

    await expect(page.locator("p")).to_have_text(["2", "2"])


async def test_mark_holds_in_shadow_roots(context: BrowserContext, pages: Pages) -> None:
    """HTML of users shows no fragment there either."""
    shown = await pages.show(context, "<p>0</p>")
    page = shown.page
    await page.evaluate(ATTACH)
    await shown.say("<p>0</p>")  # now the page looks into shadow roots
    key = f"board.part?name={shown.name}"
    await page.evaluate(
        """(key) => {
            document.body.insertAdjacentHTML("beforeend",
                "<div hx-ignore hx-disable><b></b></div><i hx-ignore hx-disable></i>");
            for (const host of document.querySelectorAll("b, i")) {
                if (!host.closest("[hx-ignore]")) continue;
                const root = host.localName === "i"
                    ? document.querySelector("div[hx-ignore]").attachShadow({ mode: "open" })
                    : document.createElement("div").attachShadow({ mode: "open" });
                root.innerHTML = `<h4 data-sse="${key}">of a user</h4>`;
                if (!root.host.isConnected) host.append(root.host);
            }
        }""",
        key,
    )

    await shown.say("<p>1</p>")

    heads = page.locator("h4")
    assert set(await heads.all_text_contents()) == {"of a user"}


async def test_shadow_root_that_a_fragment_declares_changes_with_it(
    context: BrowserContext, pages: Pages
) -> None:
    """In place: what was typed and what scripts have put in stays; new ones come."""
    card = (
        f"<article id={{id}}>{OPEN_ROOT}<style>b {{{{ color: red }}}}</style><b>{{n}}</b>"
        "<input value={n}><slot></slot></template><i>light {n}</i></article>"
    )
    shown = await pages.show(context, "<p>0</p>" + card.format(id="a", n=0))
    page = shown.page
    await page.locator("#a input").fill("typed")
    await shown.say("<p>0</p>" + card.format(id="a", n=0))
    await page.evaluate("void a.shadowRoot.appendChild(document.createElement('u'))")

    for number in (1, 2):
        cards = "".join(card.format(id=each, n=number) for each in "ba")
        await shown.say(f"<p>{number}</p>{cards}")

    await expect(page.locator("#a b")).to_have_text("2")
    await expect(page.locator("#b b")).to_have_text("2")
    await expect(page.locator("#a > i")).to_have_text("light 2")
    await expect(page.locator("#a input")).to_have_value("typed")
    await expect(page.locator("#b input")).to_have_value("2")
    await expect(page.locator("#a u")).to_have_count(1)
    await expect(page.locator("template")).to_have_count(0)


async def test_declared_shadow_root_may_come_later(context: BrowserContext, pages: Pages) -> None:
    """As that of the first card of a list that was empty."""
    shown = await pages.show(context, "<p>0</p>")

    for number in (1, 2):
        await shown.say(f"<p></p><article>{OPEN_ROOT}<b>{number}</b></template></article>")
        await expect(shown.page.locator("b")).to_have_text(str(number))

    await shown.say("<p>3</p>")
    await expect(shown.page.locator("b")).to_have_count(0)
