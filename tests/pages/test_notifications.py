"""The region of notifications: what a page brings, and what it shows before any script runs."""

import base64
import hashlib
import json
from pathlib import Path

import pytest
from bs4 import BeautifulSoup, Tag
from quart import Quart, render_template_string

from quart_sse import BrokerUnavailable, FragmentError, MacroError
from quart_sse.broker import Message
from tests.support.pages import make_app, parse
from tests.support.sites import Site

IMPORT = (
    '{% from "quart_sse/macros.html" import'
    " sse_scripts, sse_connect, sse_fragment, sse_notifications %}"
)
CALL = "{{ sse_notifications() }}"


async def show(site: Site, body: str = CALL, who: str | None = "ada", **options: str) -> Tag:
    """Return a page of a user as a browser has it."""
    site.app.url_map._remap = True

    async def page() -> str:
        return await render_template_string(IMPORT + "<main>" + body + "</main>")

    name = f"page{len(site.app.view_functions)}"
    site.app._got_first_request = False
    site.app.add_url_rule(f"/{name}", name, page)
    answer = await site.client(who).get(f"/{name}", headers=options)
    assert answer.status_code == 200
    main = parse(await answer.get_data(as_text=True)).main
    assert main is not None
    return main


def shown(page: Tag) -> list[tuple[str, str]]:
    """Return role of the list, and the text, of each that a page shows."""
    return [
        (str(each.parent["role"]), " ".join(each.get_text(" ").split()))  # type: ignore[index]
        for each in page.select("[data-notification]")
    ]


def text_of(template: Tag) -> str:
    """Return the text inside a template, which is no text of the page."""
    return "".join(map(str, template.find_all(string=True))).strip()


async def test_kept_ones_of_the_user_stand_in_the_page(site: Site) -> None:
    """In lists by how urgent they are, escaped, and no one else's; with a broker of each kind."""
    async with site.app.app_context():
        await site.sse.user("ada").notify("One <b>", level="error", title="Oh", data={"a": 1})
        await site.sse.user("ada").publish("saved")
        await site.sse.user("ada").notify("Two", id="x")
        await site.sse.user("ada").notify("Two again", id="x")
        await site.sse.user("bob").notify("Three")
        await site.sse.everyone.notify("Four")

    page = await show(site)
    other = await show(site, who=None)

    assert shown(page) == [("status", "Two"), ("alert", "Oh One <b>")]
    written = json.loads(str(page.select("[data-level=error]")[0]["data-notification"]))
    assert (written["message"], written["data"]) == ("One <b>", {"a": 1})
    assert shown(other) == []


async def test_page_of_a_user_is_private(site: Site) -> None:
    """No shared cache may show it to others, even if the channel is public."""
    await show(site)
    name = [*site.app.view_functions][-1]

    answers = [await site.client(who).get(f"/{name}") for who in ("ada", None)]

    assert [answer.headers.get("Cache-Control") for answer in answers] == [
        "private, no-store",
        None,
    ]


async def test_identity_is_not_in_the_page(site: Site) -> None:
    """The browser remembers by a name that does not reveal it."""
    pages = [await show(site, who=who) for who in ("ada-lovelace", "ada-lovelace", "bob", None)]
    names = [page.find("sse-notifications")["data-for"] for page in pages]  # type: ignore[index]

    assert "ada-lovelace" not in str(pages[0])
    assert names[0] == names[1] != names[2]
    assert names[3] == ""


async def test_each_level_has_a_template(site: Site) -> None:
    """Which the script fills; it has no text of its own."""
    page = await show(site)

    templates = page.select("template")
    assert [each["data-level"] for each in templates] == ["info", "success", "warning", "error"]
    assert [text_of(each) for each in templates] == [""] * 4
    assert all(each.select("[data-slot=message]") for each in templates)
    assert all(each.select("button[data-dismiss][aria-label=Dismiss]") for each in templates)


async def test_stylesheet_is_served_with_integrity(site: Site) -> None:
    """As the scripts are; with the page's nonce, and not where it is not wanted."""
    page = await show(site, '{{ sse_scripts(nonce="abc") }}' + CALL)
    (link,) = page.select("link")
    answer = await site.client().get(str(link["href"]))
    digest = hashlib.sha384(await answer.get_data(as_text=False)).digest()

    assert link["integrity"] == f"sha384-{base64.b64encode(digest).decode()}"
    assert answer.content_type.startswith("text/css")
    assert link["nonce"] == "abc"
    assert not (await show(site, "{{ sse_notifications(css=false) }}")).select("link")


@pytest.mark.parametrize("order", ["before", "after"])
async def test_script_comes_once_wherever_the_macro_stands(site: Site, order: str) -> None:
    """By the connect element below it, or by itself below that."""
    parts = [CALL, "{{ sse_connect() }}"]
    body = "".join(parts if order == "before" else reversed(parts))

    page = await show(site, "{{ sse_scripts() }}" + body, who=None if order == "before" else "ada")

    assert len(page.select('script[src*="quart-sse-notifications.min.js"]')) == 1
    assert page.select("[sse-connect]")


async def test_visitors_page_connects(site: Site) -> None:
    """For what is for everyone, although it shows no topic."""
    page = await show(site, CALL + "{{ sse_connect() }}", who=None)

    (element,) = page.select("[sse-connect]")
    assert "notifications quart-sse-notifications.min.js" in str(element["data-sse-files"])


async def test_page_without_a_connect_element_is_named_once(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """It would never show anything."""
    for _ in range(2):
        await show(site)

    assert caplog.text.count("sse_notifications() and no connect element") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("tabs='two'", "tabs is 'two'. Write 'one' or 'all'."),
        ("seconds=0", "seconds is 0"),
        ("seconds='8'", "seconds is '8'"),
        ("seconds=true", "seconds is True"),
    ],
)
async def test_argument_that_cannot_be_used_is_an_error(
    site: Site, arguments: str, message: str
) -> None:
    """The message says what to write."""
    site.app.config["PROPAGATE_EXCEPTIONS"] = True
    with pytest.raises(MacroError, match=message):
        await show(site, f"{{{{ sse_notifications({arguments}) }}}}")


async def test_shared_fragment_shows_none(site: Site) -> None:
    """Its HTML is for all viewers."""
    site.app.config["PROPAGATE_EXCEPTIONS"] = True

    @site.news.fragment("list")
    async def news_list() -> str:
        return await render_template_string(IMPORT + CALL)

    with pytest.raises(FragmentError, match="Put sse_notifications\\(\\) into the page"):
        await show(site, '{{ sse_fragment("news.list") }}')


async def test_page_is_served_while_the_broker_is_away(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without what is kept."""

    async def away(topic: str, most: int) -> list[Message]:
        raise BrokerUnavailable("away")

    monkeypatch.setattr(site.app.extensions["quart_sse"].broker.inner, "kept", away)

    assert shown(await show(site)) == []


async def test_template_of_the_app_is_used(tmp_path: Path) -> None:
    """For what is kept, and for what the script shows."""
    (tmp_path / "quart_sse").mkdir()
    (tmp_path / "quart_sse/notification.html").write_text(
        "<p data-slot='message'>{{ notification.level }}: {{ notification.message }}</p>"
    )
    app: Quart = make_app(tmp_path)
    async with app.app_context():
        soup: BeautifulSoup = parse(await render_template_string(IMPORT + CALL))

    assert [text_of(each) for each in soup.select("template")] == [
        f"{level}:" for level in ("info", "success", "warning", "error")
    ]
