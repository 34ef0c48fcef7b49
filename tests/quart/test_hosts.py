"""Hosts, subdomains and prefixes: pages at each of them are live from their own host."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from bs4 import BeautifulSoup
from quart import Blueprint, Quart, g, render_template_string, session, url_for
from quart.testing import QuartClient

from quart_sse import SSE, RenderError
from quart_sse.channels import Channel
from tests.support.pages import MACROS, connect_elements, next_html, url_of
from tests.support.streams import open_stream

PAGE = (
    MACROS + '{{ sse_scripts() }}{{ sse_fragment("news.list", lang_code="de") }}{{ sse_connect() }}'
)


async def page(**_: str) -> str:
    """A view of any host."""
    return await render_template_string(PAGE)


def make(*, is_by_host: bool = False, **config: Any) -> tuple[Quart, SSE, Channel]:
    """Return an app without pages, with a channel in two languages."""
    app = Quart(
        __name__, host_matching=is_by_host, static_host="cdn.example.com" if is_by_host else None
    )
    app.secret_key = "for tests only"
    app.config.update(config)
    sse = SSE(app)
    news = sse.channel("news", "/<lang_code>/news")
    news.fragment("list")(lambda lang_code: f"<li>{lang_code}</li>")
    return app, sse, news


def by_host(**where: str) -> tuple[Quart, Channel]:
    """Return an app that matches hosts."""
    app, _, news = make(is_by_host=True)
    app.add_url_rule("/", "page", page, **where)  # type: ignore[arg-type]
    # The host's own rules go before those of any host, so this one would hide the extension's.
    app.add_url_rule("/<path:rest>", "rest", page, **where)  # type: ignore[arg-type]
    return app, news


def by_subdomain(subdomain: str | None) -> tuple[Quart, Channel]:
    """Return an app that has subdomains."""
    app, _, news = make(SERVER_NAME="example.com")
    app.add_url_rule("/", "page", page, subdomain=subdomain)
    app.add_url_rule("/<path:rest>", "rest", page, subdomain=subdomain)
    return app, news


def by_blueprint() -> tuple[Quart, Channel]:
    """Return an app with a blueprint that has a subdomain and a prefix."""
    app, _, news = make(SERVER_NAME="example.com")
    shop = Blueprint("shop", __name__, url_prefix="/shop", subdomain="shop")
    shop.add_url_rule("/", "page", page)
    app.register_blueprint(shop)
    return app, news


@pytest.mark.parametrize(
    ("make_it", "host", "path"),
    [
        (lambda: by_host(host="a.example.com"), "a.example.com", "/"),
        (lambda: by_host(host="a.example.com:8000"), "a.example.com:8000", "/"),
        (lambda: by_host(host="<tenant>.example.org"), "b.example.org", "/"),
        (lambda: by_subdomain(None), "example.com", "/"),
        (lambda: by_subdomain("admin"), "admin.example.com", "/"),
        (lambda: by_subdomain("<tenant>"), "b.example.com", "/"),
        (by_blueprint, "shop.example.com", "/shop/"),
    ],
)
async def test_page_is_live_at_its_host(
    make_it: Callable[[], tuple[Quart, Channel]], host: str, path: str
) -> None:
    """Its scripts are there, its stream opens, and the channel's own URL and fragments answer."""
    app, news = make_it()
    headers = {"Host": host}
    async with app.test_app():
        client = QuartClient(app)
        soup = await _soup(client, path, host)
        for script in soup.find_all("script"):
            answer = await client.get(str(script["src"]), headers=headers)
            assert answer.mimetype == "text/javascript"
        (element,) = connect_elements(soup)
        async with open_stream(client, url_of(element), headers=headers) as stream:
            await news.topic(lang_code="de").refresh("list")
            assert await next_html(stream) == ("news.list?lang_code=de", "<li>de</li>")


async def _soup(client: QuartClient, path: str, host: str) -> BeautifulSoup:
    answer = await client.get(path, headers={"Host": host})
    assert answer.status_code == 200
    return BeautifulSoup(await answer.get_data(as_text=True), "html.parser")


@pytest.mark.parametrize("host", ["a.example.com", "other.example.net"])
async def test_channel_has_its_url_at_every_host_and_url_for_stays_there(host: str) -> None:
    """A host without rules of the app's has the URLs, too; url_for leads to the request's host."""
    app, _ = by_host(host="a.example.com")
    headers = {"Host": host}
    async with app.test_app():
        client = QuartClient(app)
        async with app.test_request_context("/", headers=headers):
            url = url_for("sse.news.stream", lang_code="de")
        assert url == "/sse/de/news"
        async with open_stream(client, url, headers=headers) as stream:
            assert (await stream.next()).event == "sse-stop"  # it needs a token


async def test_channel_that_is_declared_while_serving_has_its_url_at_every_host() -> None:
    """A module may be imported late."""
    app, sse, _ = make(is_by_host=True)
    app.add_url_rule("/", "page", page, host="a.example.com")
    app.add_url_rule("/<path:rest>", "rest", page, host="a.example.com")
    async with app.test_app():
        sse.channel("late", "/late", public=True)
        headers = {"Host": "a.example.com", "Accept": "text/event-stream"}
        answer = await QuartClient(app).head("/sse/late", headers=headers)
    assert answer.mimetype == "text/event-stream"


async def test_app_without_hosts_has_each_rule_once() -> None:
    """Also when it was served twice."""
    app, _, _ = make()
    app.add_url_rule("/", "page", page)
    for _ in range(2):
        async with app.test_app():
            pass
    rules = [rule for rule in app.url_map.iter_rules() if "sse" in rule.endpoint]
    assert sorted(rule.endpoint for rule in rules) == [
        "sse.connect",
        "sse.news.fragment",
        "sse.news.stream",
        "sse.publish",
        "sse.static",
        "sse.stats",
    ]


async def test_host_of_no_one_is_refused() -> None:
    """SERVER_NAME still keeps out names that are not the app's."""
    app, _ = by_subdomain("admin")
    async with app.test_app():
        with pytest.warns(UserWarning, match="doesn't match"):
            answer = await QuartClient(app).get("/sse/de/news", headers={"Host": "evil.example"})
    assert answer.status_code == 404


@pytest.mark.parametrize("path", ["/sse/de/news?fragments=list", "/sse/~/list/de/news"])
async def test_preprocessor_that_pops_a_value_leaves_the_channel_its_topic(path: str) -> None:
    """Flask's pattern for languages takes ``lang_code`` out of URLs; the topic has it still."""
    app, _, news = make()
    languages: list[Any] = []

    @app.url_value_preprocessor
    def pull(endpoint: str | None, values: dict[str, Any] | None) -> None:
        g.lang_code = (values or {}).pop("lang_code", None)

    @news.authorize
    async def may_read(lang_code: str) -> bool:
        languages.append((g.lang_code, lang_code))
        return True

    async with app.test_app():
        client = QuartClient(app)
        if "fragments" in path:
            async with open_stream(client, path) as stream:
                await news.topic(lang_code="de").refresh("list")
                assert (await next_html(stream))[1] == "<li>de</li>"
        else:
            answer = await client.get(path)
            assert await answer.get_data(as_text=True) == "<li>de</li>"
    assert languages == [("de", "de")]


async def test_preprocessor_sees_the_host_of_a_tenant() -> None:
    """What the host says is the app's: its hooks know whose streams they judge."""
    app, _, news = make(SERVER_NAME="example.com")
    app.add_url_rule("/", "page", page, subdomain="<tenant>")
    tenants = []

    @app.url_value_preprocessor
    def pull(endpoint: str | None, values: dict[str, Any] | None) -> None:
        g.tenant = (values or {}).pop("tenant", None)

    @news.authorize
    async def may_read(lang_code: str) -> bool:
        tenants.append(g.tenant)
        return True

    async with (
        app.test_app(),
        open_stream(app, "/sse/de/news", headers={"Host": "mira.example.com"}) as stream,
    ):
        assert stream.status == 200
    assert tenants == ["mira"]


async def test_every_url_takes_the_variables_of_a_host() -> None:
    """What an app's rule says of its host is an argument of each view at that host."""
    app, sse, _ = make(SERVER_NAME="example.com")
    app.add_url_rule("/", "page", page, subdomain="<tenant>")
    sse.stats_endpoint(authorize=lambda: True)
    sse.inspector(authorize=lambda: True)

    async with app.test_app():
        client = QuartClient(app)
        for path in ("/sse/~stats", "/sse/~static/quart-sse.min.js", "/sse/~inspector", "/sse"):
            answer = await client.get(path, headers={"Host": "mira.example.com"})
            assert answer.status_code == (400 if path == "/sse" else 200), path
        for path in ("/sse/~publish", "/sse/~inspector/~act"):
            answer = await client.post(path, headers={"Host": "mira.example.com"})
            assert answer.status_code in (403, 404), path  # refused by the view, and no error


async def test_blueprint_whose_preprocessor_needs_a_value_says_what_is_missing() -> None:
    """A fragment of a blueprint has no prefix of the blueprint's, and the error says where."""
    app, sse, _ = make()
    pages = Blueprint("pages", __name__, url_prefix="/<lang_code>")
    pages.url_value_preprocessor(lambda _, values: setattr(g, "code", values.pop("lang_code")))
    app.register_blueprint(pages)
    board = sse.channel("board", "/board", blueprint=pages)
    board.fragment("list")(lambda: "<li>one</li>")
    async with app.test_app(), app.test_request_context("/"):
        with pytest.raises(RenderError, match="url_value_preprocessor function raised KeyError"):
            await render_template_string(MACROS + "{{ sse_fragment('board.list') }}")


async def sign_in_and_show() -> str:
    """A view of a user whose session has one."""
    session["user"] = "mira"
    return await page()


@pytest.mark.parametrize(
    ("config", "root_path", "is_warned"),
    [
        ({"APPLICATION_ROOT": "/app"}, "/app", False),
        ({"APPLICATION_ROOT": "/app"}, "", True),
        ({"APPLICATION_ROOT": "/app", "SESSION_COOKIE_PATH": "/"}, "", False),
        ({"APPLICATION_ROOT": "/app", "QUART_SSE_URL_PREFIX": "/app/sse"}, "", False),
        ({"APPLICATION_ROOT": "/app", "QUART_SSE_URL_PREFIX": "/apples"}, "", True),
        ({}, "", False),
    ],
)
async def test_session_that_browsers_do_not_send_to_streams_is_logged_once(
    config: dict[str, Any],
    root_path: str,
    is_warned: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The path of its cookie is APPLICATION_ROOT, and streams are below the root path."""
    app, sse, _ = make(**config)
    sse.identity(lambda: session.get("user"))
    app.add_url_rule("/", "page", sign_in_and_show)
    caplog.set_level(logging.WARNING, "quart_sse")
    async with app.test_app():
        for _ in range(2):
            answer = await QuartClient(app).get(f"{root_path}/", root_path=root_path)
            assert answer.status_code == 200
            soup = BeautifulSoup(await answer.get_data(as_text=True), "html.parser")
            (element,) = connect_elements(soup)
            prefix = config.get("QUART_SSE_URL_PREFIX", "/sse")
            assert url_of(element).startswith(f"{root_path}{prefix}?")
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == is_warned, said
    if is_warned:
        assert "The session's cookie has the path /app, and streams are at /" in said[0]
