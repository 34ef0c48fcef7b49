"""What new HTML of a fragment changes in a page: what the server has changed, and nothing else."""

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import BrowserContext, expect

from tests.support.morphing import Pages, Shown, rows, serving_pages

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["htmx2", "htmx4", "plain"])
async def pages(request: pytest.FixtureRequest) -> AsyncIterator[Pages]:
    """Return a server of pages with either htmx, and with none, for all tests."""
    async with serving_pages(request.param) as pages:
        yield pages


#: For tests of what only htmx does.
WITH_HTMX = pytest.mark.parametrize("pages", ["htmx2", "htmx4"], indirect=True)


async def value_of(shown: Shown, selector: str) -> str:
    """Return what a field says."""
    return await shown.page.locator(selector).input_value()


# -- requests that go on -------------------------------------------------------------------------

PAY = (
    '<p>{n}</p><form><input name="amount" value="{n}"><button class="{look}" hx-post="/pay/NAME"'
    ' {disabling}="this" hx-target="next output" hx-swap="innerHTML"'
    "{disabled}>Pay</button><output></output></form>"
)


def payment(kind: str, number: int, look: str = "a", disabled: str = "") -> str:
    """Return the form with a button that pays."""
    disabling = "hx-disabled-elt" if kind == "htmx2" else "hx-disable"
    return PAY.format(n=number, look=look, disabled=disabled, disabling=disabling)


async def begin_payment(context: BrowserContext, pages: Pages) -> Shown:
    """Open a page and pay, without an answer yet."""
    shown = await pages.show(context, payment(pages.kind, 0))
    await shown.page.click("button")
    await expect(shown.page.locator("button")).to_be_disabled()
    return shown


@WITH_HTMX
async def test_request_in_flight_is_not_sent_twice(context: BrowserContext, pages: Pages) -> None:
    """What htmx disables during a request stays disabled whatever the server says meanwhile."""
    shown = await begin_payment(context, pages)
    button = shown.page.locator("button")

    for number in (1, 2):
        await shown.say(payment(pages.kind, number))
        await expect(button).to_be_disabled()
        await button.click(force=True, timeout=500)
    await expect(shown.page.locator("p")).to_have_text("2")
    await shown.post("answer")

    await expect(shown.page.locator("output")).to_have_text("paid 1")
    await expect(button).to_be_enabled()
    assert await shown.paid() == 1


@WITH_HTMX
async def test_element_is_brought_up_to_date_after_its_request(
    context: BrowserContext, pages: Pages
) -> None:
    """While it goes on, the element and its form keep their state; then they have the server's."""
    shown = await begin_payment(context, pages)
    page, button = shown.page, shown.page.locator("button")

    await shown.say(payment(pages.kind, 1, "b", " disabled"))
    assert await value_of(shown, "[name=amount]") == "0"
    assert "b" not in (await button.get_attribute("class") or "").split()
    await shown.post("answer")

    await expect(page.locator("[name=amount]")).to_have_value("1")
    await expect(button).to_have_class("b")
    await expect(button).to_be_disabled()


# -- what users do and have done -----------------------------------------------------------------


async def test_update_takes_no_focus(context: BrowserContext, pages: Pages) -> None:
    """Neither from a user who types elsewhere, nor where nothing has it."""
    shown = await pages.show(context, "<p>0</p>")
    page = shown.page

    await shown.say('<p>1</p><input id="new" autofocus>')
    await page.evaluate("new Promise(requestAnimationFrame)")
    assert await page.evaluate("document.activeElement.tagName") == "BODY"
    await page.click("#outside")
    for number in (2, 3):
        await shown.say(f'<p>{number}</p><input id="new{number}" autofocus><input id="new">')
        await page.keyboard.type("a")

    await expect(page.locator("#outside")).to_have_value("aa")
    assert await page.locator("#new3[autofocus]").count() == 1


async def test_update_neither_scrolls_nor_animates_nor_names_the_page(
    context: BrowserContext, pages: Pages
) -> None:
    """It is no answer to a click: no view transition, no title, no scrolling."""
    note = "window.begun = []; document.startViewTransition = (run) => (begun.push(1), run());"
    meta = (
        """<meta name="htmx-config" content='{"globalViewTransitions":true,"transitions":true}'>"""
    )
    tall = '<div style="height: 3000px">{}</div><p id="end" hx-swap="show:top">{}</p>'
    shown = await pages.show(context, tall.format(0, 0), then=note, head=meta)
    page = shown.page
    await page.evaluate("scrollTo(0, 500)")

    await shown.say(f"<title>other</title>{tall.format(1, 1)}")

    assert await page.evaluate("[begun.length, scrollY]") == [0, 500]
    assert await page.title() == "page"


async def test_what_scripts_have_done_to_elements_stays(
    context: BrowserContext, pages: Pages
) -> None:
    """Attributes, classes, styles, children and text; what the server changes comes, too."""
    html = (
        '<p class="a b" style="color: red" title="{n}">{n}</p><div id="empty"></div>'
        '<details><summary>{n}</summary></details><span>text</span><em data-n="{n}"></em>'
    )
    shown = await pages.show(context, html.format(n=0))
    page = shown.page
    await page.evaluate("""() => {
        const [p] = document.querySelectorAll("p");
        p.classList.add("mine"); p.classList.remove("b"); p.style.width = "10px"; p.lang = "de";
        p.setAttribute("aria-expanded", "true");
        document.querySelector("#empty").innerHTML = "<u>widget</u>";
        document.querySelector("details").open = true;
        document.querySelector("span").textContent = "said by a script";
        document.querySelector("em").outerHTML = "<svg id=icon></svg>";
    }""")

    for number in (1, 2):
        await shown.say(html.format(n=number).replace("red", "blue").replace('"a b', '"a b c'))

    p = page.locator("p")
    assert set((await p.get_attribute("class") or "").split()) == {"a", "c", "mine"}
    style = await p.evaluate("element => [element.style.color, element.style.width]")
    assert style == ["blue", "10px"]
    assert await p.evaluate("p => [p.lang, p.title, p.ariaExpanded]") == ["de", "2", "true"]
    await expect(page.locator("#empty")).to_have_text("widget")
    assert await page.locator("details[open]").count() == 1
    await expect(page.locator("span")).to_have_text("said by a script")
    # The server has changed what the icon stood for.
    assert await page.locator("#icon").count() == 0
    await expect(page.locator("em")).to_have_attribute("data-n", "2")


FIELDS = (
    '<p>{n}</p><input id="text" name="text" value="{n}">'
    '<input id="date" type="date" value="2026-01-0{n}">'
    '<textarea id="area">{n}</textarea><input id="box" type="checkbox"{c}>'
    '<select id="choice"><option{s}>a<option>b<option>{n}</select>'
)


def fields(number: int) -> str:
    """Return fields that all say another thing for each number."""
    return FIELDS.format(
        n=number, c=" checked" if number % 2 else "", s=" selected" if number % 2 else ""
    )


async def test_values_that_scripts_have_set_stay(context: BrowserContext, pages: Pages) -> None:
    """A date picker may tell of a change only, or of nothing."""
    shown = await pages.show(context, fields(1))
    page = shown.page
    read = "() => [text.value, date.value, area.value, box.checked, choice.value]"
    await page.evaluate("""() => {
        text.value = "mine"; date.value = "2026-05-05"; area.value = "mine"; box.checked = false;
        choice.value = "b";
        for (const field of [text, date, area, box, choice])
            field.dispatchEvent(new Event("change", { bubbles: true }));
    }""")
    mine = await page.evaluate(read)

    for number in (2, 3, 4):
        await shown.say(fields(number))
        assert await page.evaluate(read) == mine


async def test_values_that_the_browser_has_restored_stay(
    context: BrowserContext, pages: Pages
) -> None:
    """After a reload (Firefox) or on the way back (Chromium) it is not typed again."""
    shown = await pages.show(context, fields(1))
    page = shown.page
    await page.locator("#text").press_sequentially("typed")
    browser = context.browser
    if browser is not None and browser.browser_type.name == "firefox":
        async with page.expect_navigation():
            await page.evaluate("void setTimeout(() => location.reload())")
    else:
        await page.goto("about:blank")
        await page.go_back()
    await page.wait_for_function("() => document.documentElement.dataset.sseState === 'open'")
    typed = re.compile("typed")
    await expect(page.locator("#text")).to_have_value(typed)

    await shown.say(fields(2))

    await expect(page.locator("#text")).to_have_value(typed)
    await expect(page.locator("#area")).to_have_value("2")


async def test_untouched_fields_follow_the_server(context: BrowserContext, pages: Pages) -> None:
    """So do those of a form once it is reset."""
    shown = await pages.show(context, f"<form>{fields(1)}</form>")
    page = shown.page
    read = "() => [text.value, date.value, area.value, box.checked, choice.selectedOptions[0].text]"
    for number in (2, 3, 4):
        await shown.say(f"<form>{fields(number)}</form>")
        assert await page.evaluate(read) == [
            str(number), f"2026-01-0{number}", str(number), number % 2 == 1, "a",
        ]  # fmt: skip
    await page.fill("#text", "typed")
    await shown.say(f"<form>{fields(5)}</form>")
    await page.evaluate("document.querySelector('form').reset()")
    assert (await page.evaluate(read))[0] == "5"
    await shown.say(f"<form>{fields(6)}</form>")
    assert (await page.evaluate(read))[0] == "6"


async def test_form_with_fields_of_all_names_is_kept(context: BrowserContext, pages: Pages) -> None:
    """A field named like a property of forms hides it."""
    names = ["type", "id", "className", "children", "style", "attributes", "value", "form", "title"]
    html = "<form class='{}'>" + "".join(f"<input name='{name}'>" for name in names) + "{}</form>"
    shown = await pages.show(context, html.format("a", 0))
    page = shown.page
    for name in names:
        await page.fill(f"[name={name}]", name)

    for number in (1, 2):
        await shown.say(html.format(f"a{number}", number))

    for name in names:
        assert await value_of(shown, f"[name={name}]") == name
    await expect(page.locator("form")).to_have_class("a2")


# -- rows ----------------------------------------------------------------------------------------


async def test_rows_without_ids_keep_what_is_typed_in_them(
    context: BrowserContext, pages: Pages
) -> None:
    """A row above does not move values to the neighbour."""
    shown = await pages.show(context, f"<ul>{rows('a', 'b', 'c')}</ul>")
    page = shown.page
    await page.fill("li:nth-child(2) input", "of b")

    await shown.say(f"<ul>{rows('new', 'a', 'b', 'c')}</ul>")
    await shown.say(f"<ul>{rows('new', 'c', 'b', 'a')}</ul>")

    for row in await page.locator("li").all():
        mine = "of b" if await row.locator("b").inner_text() == "b" else ""
        await expect(row.locator("input")).to_have_value(mine)


async def test_click_ends_where_it_began(context: BrowserContext, pages: Pages) -> None:
    """A row that comes above while the button is pressed lets the neighbour slide below it."""
    shown = await pages.show(context, f"<ul>{rows('a', 'b', 'c')}</ul>")
    page = shown.page
    await page.evaluate("""() => {
        window.clicked = [];
        addEventListener("click", ({ target }) =>
            target.closest("button") && clicked.push(target.innerText));
    }""")
    button = page.locator("button", has_text="b")
    box = await button.bounding_box()
    assert box is not None
    await page.mouse.move(box["x"] + 5, box["y"] + 5)

    await page.mouse.down()
    await shown.say(f"<ul>{rows('new', 'a', 'b', 'c')}</ul>")
    await page.mouse.up()
    assert await page.evaluate("clicked") == ["b"]

    # Where nothing has moved, or the pointer has, a click is what it always was.
    await page.locator("button", has_text="c").click()
    await page.mouse.down()
    await shown.say(f"<ul>{rows('newest', 'new', 'a', 'b', 'c')}</ul>")
    await page.mouse.move(500, 300)
    await page.mouse.up()
    assert await page.evaluate("clicked") == ["b", "c"]


@pytest.mark.parametrize("way", ["moveBefore", "insertBefore"])
async def test_rows_with_ids_are_moved_not_made_again(
    context: BrowserContext, pages: Pages, way: str
) -> None:
    """Elements are the same in another order, with focus and selection, in older browsers, too."""

    def html(order: str) -> str:
        return "".join(f'<p id="r{each}"><input value="{each}"></p>' for each in order)

    older = "delete Element.prototype.moveBefore" if way == "insertBefore" else ""
    shown = await pages.show(context, html("abcdef"), then=older)
    page = shown.page
    await page.evaluate("for (const p of document.querySelectorAll('p')) p.own = p.id")
    await page.focus("#rc input")
    await page.evaluate("document.activeElement.setSelectionRange(0, 1)")

    for order in ("fedcba", "cab", "xcyab", "bxc"):
        await shown.say(html(order))
        ids = await page.evaluate("[...document.querySelectorAll('p')].map((p) => p.id)")
        assert ids == [f"r{each}" for each in order]
        assert await page.evaluate("rc.own") == "rc"
        assert await page.evaluate("document.activeElement.parentNode.id") == "rc"
        assert await page.evaluate("document.activeElement.selectionEnd") == 1


async def test_element_with_an_id_may_go_to_another_parent(
    context: BrowserContext, pages: Pages
) -> None:
    """As a card does from column to column, with focus and what is typed in it."""

    def html(*columns: str) -> str:
        cards = ["".join(f'<li id="c{each}"><input></li>' for each in ids) for ids in columns]
        return "".join(f"<ol>{each}</ol>" for each in cards)

    shown = await pages.show(context, html("ab", "c", "d"))
    page = shown.page
    await page.fill("#cb input", "typed")

    for columns in (("a", "bc", "d"), ("a", "c", "db"), ("ba", "", "d"), ("a", "d", "b")):
        await shown.say(html(*columns))
        listed = (
            "[...document.querySelectorAll('ol')].map((ol) => [...ol.children].map((c) => c.id))"
        )
        assert await page.evaluate(listed) == [[f"c{each}" for each in ids] for ids in columns]
        await expect(page.locator("#cb input")).to_have_value("typed")
        await expect(page.locator("#cb input")).to_be_focused()


# -- markup --------------------------------------------------------------------------------------


async def test_out_of_band_attribute_stops_nothing(context: BrowserContext, pages: Pages) -> None:
    """What is meant for answers has no meaning in a fragment."""
    html = '<p>{}</p><b id="outside-too" hx-swap-oob="true">{}</b>'
    shown = await pages.show(context, html.format(0, 0))

    for number in (1, 2, 3):
        await shown.say(html.format(number, number))

    await expect(shown.page.locator("p")).to_have_text("3")
    await expect(shown.page.locator("b")).to_have_text("3")


async def test_html_is_what_the_parser_would_have_made(
    context: BrowserContext, pages: Pages
) -> None:
    """Text with tags of htmx, line breaks, tables, options, drawings; scripts run once."""
    html = (
        "<p>{n} hx-partial &lt;hx-partial a&gt; &lt;/hx-partial</p><pre>\n\n one\n two {n}</pre>"
        "<table><tbody><tr><td>{n}</td></tr>{row}</tbody></table>"
        "<select><option>a</option>{option}</select>"
        "<svg viewBox='0 0 1 1'><path d='M0 {n}'/>{path}</svg>"
        "<script>window.ran = [...(window.ran || []), '{n}']</script>"
        "<template><i>{n}</i></template>"
    )

    def of(number: int) -> str:
        more = {"row": f"<tr><td>{number}</td></tr>", "option": f"<option>{number}</option>"}
        more["path"] = f"<circle r='{number}'/>"
        parts = more if number else dict.fromkeys(more, "")
        return html.format(n=number, **parts)

    shown = await pages.show(context, of(0))
    page = shown.page
    for number in (1, 1, 2):
        await shown.say(of(number))
        same = await page.evaluate(
            """(html) => {
                const template = document.createElement("div");
                template.innerHTML = html;
                const shown = document.querySelector("[data-sse]").cloneNode(true);
                shown.querySelector(".turn").remove();
                return [shown.innerHTML, template.innerHTML];
            }""",
            of(number),
        )
        assert same[0] == same[1]

    assert await page.evaluate("window.ran") == ["0", "1", "2"]
    assert await page.evaluate("document.querySelector('circle') instanceof SVGCircleElement")


@pytest.mark.parametrize(
    ("tag", "before", "html"),
    [
        ("tbody", "<table>", "<tr><td>{}</td></tr>"),
        ("tr", "<table>", "<td>{}</td>"),
        ("select", "", "<option>{}</option>"),
        ("pre", "", "\n\n{}"),
        ("svg", "", "<text>{}</text>"),
    ],
)
async def test_fragment_may_be_any_element(
    context: BrowserContext, pages: Pages, tag: str, before: str, html: str
) -> None:
    """Its HTML is parsed as what is inside of it."""
    shown = await pages.show(context, html.format(0), tag=tag, before=before)
    text = "document.querySelector('[data-sse]').innerHTML"
    first = await shown.page.evaluate(text)

    for number in (1, 2):
        await shown.post("say", html.format(number))
        await shown.page.wait_for_function(f"{text} === {first.replace('0', str(number))!r}")


# -- words of the page ---------------------------------------------------------------------------


@pytest.mark.parametrize("mark", ["data-sse-keep", "hx-preserve", 'hx-preserve="true"'])
async def test_marked_element_is_left_alone(
    context: BrowserContext, pages: Pages, mark: str
) -> None:
    """With all that is inside, until the server's HTML has it no more."""
    html = f'<p>{{n}}</p><div id="own" class="c{{n}}" {mark}><b>{{n}}</b></div>'
    shown = await pages.show(context, html.format(n=0))
    page = shown.page
    await page.evaluate("own.append('mine')")

    for number in (1, 2):
        await shown.say(html.format(n=number))

    await expect(page.locator("p")).to_have_text("2")
    await expect(page.locator("#own")).to_have_text("0mine")
    await expect(page.locator("#own")).to_have_class("c0")
    await shown.say("<p>3</p>")
    assert await page.locator("#own").count() == 0


async def test_page_decides_what_is_changed(context: BrowserContext, pages: Pages) -> None:
    """A function is asked for each element that differs, and each change is told."""
    html = '<p class="n{n}">{n}</p><div><b>{n}</b><u>same</u></div>'
    shown = await pages.show(context, html.format(n=0))
    page = shown.page
    await page.evaluate("""() => {
        window.asked = [];
        window.told = [];
        QuartSSE.beforeMorph = (element, next) => {
            asked.push([element.localName, next.className]);
            return element.localName !== "b";
        };
        addEventListener("sse:update", ({ target }) => told.push(target.dataset.sse));
    }""")

    await shown.say(html.format(n=1))
    await expect(page.locator("p")).to_have_text("1")
    await expect(page.locator("b")).to_have_text("0")
    asked = await page.evaluate("asked.toSorted().filter(([name]) => name !== 'i')")
    assert asked == [["b", ""], ["div", ""], ["p", "n1"]]
    assert await page.evaluate("told") == [f"board.part?name={shown.name}"]

    await page.evaluate("QuartSSE.beforeMorph = null")
    await shown.say(html.format(n=2))
    await expect(page.locator("b")).to_have_text("2")


# -- the first paint -----------------------------------------------------------------------------

CUSTOM = """<script>
customElements.define("x-own", class extends HTMLElement {
    connectedCallback() { this.setAttribute("ready", ""); this.append("mine"); }
});
</script>"""


async def test_what_scripts_make_of_the_first_paint_is_theirs(
    context: BrowserContext, pages: Pages
) -> None:
    """Also before our script is there: inline scripts, custom elements, deferred scripts."""
    html = (
        '<p>{n}</p><x-own class="c{n}"><b>{n}</b></x-own><i data-icon="a"></i><ul><li>{n}</li></ul>'
        "<script>document.currentScript.previousElementSibling.insertAdjacentHTML('beforeend',"
        "'<li>script</li>'); document.querySelector('p').className = 'mine';</script>"
    )
    foot = (
        "<script>document.querySelector('[data-icon]').outerHTML = '<svg data-icon></svg>'</script>"
        "<script type='module'>document.querySelector('ul').append('module');</script>"
    )
    shown = await pages.show(context, html.format(n=0), head=CUSTOM, foot=foot)
    page = shown.page

    for number in (1, 2):
        await shown.say(html.format(n=number))

    await expect(page.locator("p")).to_have_text("2")
    await expect(page.locator("p")).to_have_class("mine")
    own = page.locator("x-own")
    await expect(own.locator("b")).to_have_text("2")
    await expect(own).to_have_text("mine2")
    await expect(own).to_have_attribute("ready", "")
    await expect(own).to_have_class("c2")
    assert await page.locator("svg[data-icon]").count() == 1
    assert await page.locator("i[data-icon]").count() == 0
    assert (await page.locator("ul").inner_text()).split() == ["2", "script", "module"]


# -- answers to htmx -----------------------------------------------------------------------------


@WITH_HTMX
@pytest.mark.parametrize(
    "how",
    [
        'hx-get="/part/<li>{n}</li>" hx-target="ul" hx-swap="beforeend"',
        'hx-get="/part/<ul id=list hx-swap-oob=beforeend><li>{n}</li></ul>" hx-swap="none"',
    ],
    ids=["target", "out of band"],
)
async def test_row_of_an_answer_is_not_shown_twice(
    context: BrowserContext, pages: Pages, how: str
) -> None:
    """What htmx brings into a fragment is the server's word, as what the fragment brings is."""
    add = f"<button {how}>add</button>"
    shown = await pages.show(context, f"{add.format(n=1)}<ul id=list><li>0</li></ul>")
    page = shown.page
    await page.click("button")
    await expect(page.locator("li")).to_have_text(["0", "1"])

    await shown.say(f"{add.format(n=2)}<ul id=list><li>0</li><li>1</li></ul>")
    await expect(page.locator("li")).to_have_text(["0", "1"])
    await page.click("button")  # whose attributes htmx has read again
    await expect(page.locator("li")).to_have_text(["0", "1", "2"])
    await shown.say("<ul id=list><li>0</li><li>2</li><li>3</li></ul>")
    await expect(page.locator("li")).to_have_text(["0", "2", "3"])


@WITH_HTMX
async def test_row_that_is_edited_stays_until_the_server_changes_it(
    context: BrowserContext, pages: Pages
) -> None:
    """A form in place of a row, and what is typed into it, does not go with other rows' changes."""
    row = (
        '<li>{}<button hx-get="/part/<li><input></li>" hx-target="closest li" hx-swap="outerHTML">'
        "edit</button></li>"
    )

    def html(*texts: str) -> str:
        return "<ul>" + "".join(row.format(text) for text in texts) + "</ul>"

    shown = await pages.show(context, html("a", "b", "c"))
    page = shown.page
    await page.click("li:nth-child(2) button")
    await page.fill("li input", "typed")

    await shown.say(html("new", "a", "b", "c changed"))
    listed = ["newedit", "aedit", "", "c changededit"]
    await expect(page.locator("li")).to_have_text(listed)
    await expect(page.locator("li input")).to_have_value("typed")

    await shown.say(html("new", "a", "b changed", "c changed"))
    await expect(page.locator("li")).to_have_text(
        ["newedit", "aedit", "b changededit", "c changededit"]
    )


@WITH_HTMX
async def test_new_elements_are_processed_by_htmx_and_gone_ones_are_not(
    context: BrowserContext, pages: Pages
) -> None:
    """What the server brings may send requests; what it takes away sends none."""
    shown = await pages.show(context, "<p>0</p>")
    page = shown.page
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    await shown.say(
        '<button hx-get="/part/yes">ask</button>'
        '<b hx-get="/part/document" hx-trigger="again from:document" hx-swap="none"></b>'
    )
    await page.click("button")
    await expect(page.locator("button")).to_have_text("yes")
    again = "document.dispatchEvent(new Event('again'))"
    async with page.expect_response("**/part/document"):
        await page.evaluate(again)
    await shown.say("<p>1</p>")
    await page.evaluate(again)
    await shown.say('<button hx-get="/part/last">ask</button>')
    await page.click("button")
    await expect(page.locator("button")).to_have_text("last")

    assert len([url for url in asked if url.endswith("/part/document")]) == 1
