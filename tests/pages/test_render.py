"""Fragments: refreshed, pushed, personal and nested; shared ones see no user's request."""

import asyncio
import contextlib
import contextvars
import logging
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup
from jinja2 import ChoiceLoader, DictLoader
from markupsafe import Markup
from quart import (
    Blueprint,
    Quart,
    Response,
    abort,
    g,
    has_request_context,
    redirect,
    render_template_string,
    request,
    session,
    url_for,
)
from quart.testing import QuartClient

from quart_sse import SSE, FragmentError, RenderError
from quart_sse.channels.channel import Channel
from tests.support.pages import LIST, MACROS, add_page, get_page, get_text, next_html, viewing
from tests.support.streams import open_stream, until


def add_template(app: Quart, name: str, source: str) -> None:
    """Give an app a template."""
    loader = app.jinja_env.loader
    assert loader is not None
    app.jinja_env.loader = ChoiceLoader([DictLoader({name: source}), loader])


# -- refresh -----------------------------------------------------------------------------------


async def test_refresh_sends_the_new_html_to_every_viewer(app: Quart, board: Channel) -> None:
    """One render reaches everybody who shows the fragment, as the same bytes."""
    renders = 0

    @board.fragment("list")
    async def board_list() -> str:
        nonlocal renders
        renders += 1
        return f"<b>{renders}</b>"

    add_page(app, '{{ sse_fragment("board.list") }}{{ sse_connect() }}')
    clients = [QuartClient(app) for _ in range(2)]

    async with viewing(clients[0]) as left, viewing(clients[1]) as right:
        await board.topic().refresh("list")
        html = [await next_html(stream) for stream in (left, right)]

    assert html == [("board.list", "<b>3</b>")] * 2
    assert renders == 3


@pytest.mark.parametrize(
    ("named", "expected"),
    [([], {"board.a", "board.b"}), (["a"], {"board.a"}), (["b", "a"], {"board.a", "board.b"})],
    ids=["all", "one", "two"],
)
async def test_refresh_renders_those_named_or_all(
    app: Quart, board: Channel, named: list[str], expected: set[str]
) -> None:
    """``refresh()`` means all fragments of the channel; names mean those."""
    board.fragment("a")(lambda: "a")
    board.fragment("b")(lambda: "b")
    add_page(app, '{{ sse_fragment("board.a") }}{{ sse_fragment("board.b") }}{{ sse_connect() }}')

    async with viewing(QuartClient(app)) as stream:
        await board.topic().refresh(*named)
        keys = {(await next_html(stream))[0] for _ in expected}
        await board.topic().publish("done")
        after = await stream.next()

    assert keys == expected
    assert after.event == "board.done"


async def test_refresh_reaches_only_pages_that_show_the_fragment(
    app: Quart, board: Channel
) -> None:
    """A page is sent the fragments that it shows, and no others of the topic."""
    board.fragment("a")(lambda: "a")
    board.fragment("b")(lambda: "b")
    add_page(app, '{{ sse_fragment("board.b") }}{{ sse_connect() }}')

    async with viewing(QuartClient(app)) as stream:
        await board.topic().refresh("a", "b")
        key, _ = await next_html(stream)

    assert key == "board.b"


async def test_refresh_without_viewers_renders_nothing(app: Quart, board: Channel) -> None:
    """Without viewers nothing is rendered; a later page shows what is then true."""
    rendered: list[str] = []

    @board.fragment("list")
    async def board_list() -> str:
        rendered.append("list")
        return "list"

    board.fragment("other")(lambda: "other")
    add_page(app, '{{ sse_fragment("board.other") }}{{ sse_connect() }}')

    async with viewing(QuartClient(app)) as stream:
        await board.topic().refresh()
        await next_html(stream)

    assert not rendered


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_renderer_may_be_sync_or_async(app: Quart, sse: SSE, kind: str) -> None:
    """A renderer gets the topic's parameters by name, and may be either kind of function."""
    rooms = sse.channel("rooms", "/rooms/<int:room>/<path:at>", public=True)

    def sync(room: int, at: str) -> str:
        return f"{room!r} {at!r}"

    async def asynchronous(room: int, at: str) -> str:
        await asyncio.sleep(0)
        return sync(room, at)

    rooms.fragment("list")(sync if kind == "sync" else asynchronous)
    add_page(app, '{{ sse_fragment("rooms.list", room=7, at="a/b") }}{{ sse_connect() }}')

    async with viewing(QuartClient(app)) as stream:
        await rooms.topic(room=7, at="a/b").refresh()
        key, html = await next_html(stream)

    assert (key, html) == ("rooms.list?at=a%2Fb&room=7", "7 'a/b'")


async def test_every_refreshes_while_there_are_viewers(app: Quart, board: Channel) -> None:
    """A fragment with ``every`` is rendered as long as it has viewers, and no longer."""
    renders = {"left": 0, "stays": 0}

    def count(name: str) -> Callable[[], str]:
        def render() -> str:
            renders[name] += 1
            return name

        return render

    board.fragment("left", every=0.02, debounce=0)(count("left"))
    board.fragment("stays", every=0.02, debounce=0)(count("stays"))
    add_page(app, '{{ sse_live("board.left") }}', "/left")
    add_page(app, '{{ sse_live("board.stays") }}', "/stays")
    client = QuartClient(app)

    async with viewing(client, "/stays") as stream:
        async with viewing(client, "/left") as leaving:
            for _ in range(3):
                assert await next_html(leaving) == ("board.left", "left")
        left = renders["left"]
        for _ in range(5):
            await next_html(stream)

    assert renders["left"] <= left + 1
    assert renders["stays"] >= 6


async def test_debounce_renders_the_last_of_many_refreshes(app: Quart, board: Channel) -> None:
    """Many refreshes in a moment cost few renders, and the last one is always shown."""
    state = {"value": 0, "renders": 0}

    @board.fragment("list", debounce=0.05)
    async def board_list() -> str:
        state["renders"] += 1
        return str(state["value"])

    add_page(app, '{{ sse_live("board.list") }}')

    async with viewing(QuartClient(app)) as stream:
        state["renders"] = 0
        for value in range(1, 101):
            state["value"] = value
            await board.topic().refresh()
            await asyncio.sleep(0)
        html = ""
        while html != "100":
            _, html = await next_html(stream)

    assert state["renders"] < 20


# -- push --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "html"),
    [
        ({"html": Markup("<b>bold</b>")}, "<b>bold</b>"),
        ({"html": "<b>plain</b>"}, "&lt;b&gt;plain&lt;/b&gt;"),
        ({"html": ""}, ""),
        ({"html": Markup("<p>a\nb</p>")}, "<p>a\nb</p>"),
        ({"template": "_push.html", "who": "<ada>"}, "<i>&lt;ada&gt;</i>"),
    ],
    ids=["markup", "text", "empty", "lines", "template"],
)
async def test_push_sends_html_without_a_render(
    tmp_path: Path, options: dict[str, Any], html: str
) -> None:
    """Markup and templates are trusted, plain text is escaped, and no renderer is called."""
    (tmp_path / "_push.html").write_text("<i>{{ who }}</i>")
    app = Quart(__name__, template_folder=str(tmp_path))
    board = SSE(app).channel("board", "/board", public=True)
    rendered: list[str] = []

    @board.fragment("list")
    async def board_list() -> str:
        rendered.append("list")
        return "first"

    add_page(app, '{{ sse_live("board.list") }}')

    async with viewing(QuartClient(app)) as stream:
        async with app.app_context():
            await board.topic().push("list", **options)
        sent = await next_html(stream)

    assert sent == ("board.list", html)
    assert len(rendered) == 1


@pytest.mark.parametrize(
    "html", ["<hx-partial>", "a</hx-partial >b", '<a title="</hx-partial>">x</a>', "<!--<hx-a>-->"]
)
@pytest.mark.parametrize("way", ["render", "push", "template"])
async def test_html_with_a_tag_of_htmx_reaches_the_page(
    app: Quart, board: Channel, html: str, way: str
) -> None:
    """What a user wrote neither breaks the page that shows it nor the message that brings it."""
    board.fragment("list")(lambda: html)
    add_page(app, '{{ sse_live("board.list") }}')
    add_template(app, "_list.html", html)

    async with viewing(QuartClient(app)) as stream:
        if way == "render":
            await board.topic().refresh("list")
        elif way == "push":
            await board.topic().push("list", html=Markup(html))
        else:
            await board.topic().push("list", template="_list.html")
        message = (await stream.next("message")).data

    inner = message.partition(">")[2].removesuffix("</hx-partial>")
    assert not re.search("</?hx-", inner)
    assert inner.replace("&lt;", "<") == html


async def test_pushed_template_knows_nothing_of_who_pushed(app: Quart, board: Channel) -> None:
    """It is rendered as a shared fragment is: no session, no ``g``, no cookie, its own URL."""
    board.fragment("list")(lambda: "first")
    add_page(app, '{{ sse_live("board.list") }}')
    source = "{{ session.user }}|{{ g.user }}|{{ request.cookies.who }}|{{ request.path }}|{{ n }}"
    add_template(app, "_list.html", source)

    @app.post("/push")
    async def push() -> str:
        session["user"] = g.user = "ada"
        await board.topic().push("list", template="_list.html", n=3)
        return "pushed"

    ada = QuartClient(app)
    ada.set_cookie("localhost", "who", "ada")
    async with viewing(QuartClient(app)) as stream:
        assert (await ada.post("/push")).status_code == 200
        assert await next_html(stream) == ("board.list", "|||/sse/~/list/board|3")


PRIVATE = {
    "a connection": ('{{ sse_fragment("board.count") }}{{ sse_connect() }}', "connect"),
    "a live fragment": ('{{ sse_live("board.count") }}', "connection"),
    "a personal fragment": ('{{ sse_fragment("board.mine") }}', "personal"),
    "another topic's": ('{{ sse_fragment("other.list") }}', "includes"),
}


@pytest.mark.parametrize("what", PRIVATE)
async def test_push_refuses_what_is_for_one_viewer(app: Quart, sse: SSE, what: str) -> None:
    """A template that is pushed obeys the rules of shared fragments, and nothing goes out."""
    body, said = PRIVATE[what]
    board = sse.channel("board", "/board")
    for name in ("list", "count"):
        board.fragment(name)(lambda: "html")
    board.fragment("mine", personal=True)(lambda: "mine")
    sse.channel("other", "/other").fragment("list")(lambda: "other")
    add_template(app, "_list.html", MACROS + body)

    async with app.test_request_context("/"):
        with pytest.raises(FragmentError, match=said):
            await board.topic().push("list", template="_list.html")
        if what == "another topic's":
            return
        html = await render_template_string(MACROS + body)
        with pytest.raises(FragmentError, match=r"connect element|personal fragment"):
            await board.topic().push("list", html=Markup(html))


async def test_pushed_template_that_is_answered_by_the_app_is_an_error(
    app: Quart, board: Channel
) -> None:
    """A login that stops anonymous visitors stops the push too, with the remedy in the error."""
    board.fragment("list")(lambda: "list")
    add_template(app, "_list.html", "list")
    app.before_request(lambda: redirect("/login"))

    with pytest.raises(RenderError, match="before_request"):
        await board.topic().push("list", template="_list.html")


async def test_pushed_template_has_the_time_that_renders_have(app: Quart) -> None:
    """A template that takes too long is cancelled, and the publisher gets an error."""
    app.config["QUART_SSE_RENDER_TIMEOUT"] = 0.05
    board = SSE(app).channel("board", "/board")
    board.fragment("list")(lambda: "list")
    add_template(app, "_list.html", "{{ wait() }}")

    async def wait() -> str:
        await asyncio.Event().wait()
        return ""

    with pytest.raises(RenderError, match="QUART_SSE_RENDER_TIMEOUT"):
        await board.topic().push("list", template="_list.html", wait=wait)


@pytest.mark.parametrize("value", [None, 7, b"<b>", ["<b>"], {"a": 1}], ids=repr)
@pytest.mark.parametrize("personal", [False, True], ids=["shared", "personal"])
async def test_renderer_that_returns_no_text_is_named(
    app: Quart, board: Channel, value: object, personal: bool
) -> None:
    """The error for a renderer that returns no HTML names the fragment."""
    board.fragment("list", personal=personal)(lambda: value)

    async with app.test_request_context("/"):
        with pytest.raises(FragmentError, match=type(value).__name__) as caught:
            await render_template_string(MACROS + '{{ sse_fragment("board.list") }}')

    assert "'board.list'" in str(caught.value)
    assert "render_template" in str(caught.value)


# -- rendering outside any request --------------------------------------------------------------


leak: contextvars.ContextVar[str] = contextvars.ContextVar("leak", default="nothing")


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("trigger", ["first paint", "refresh", "both"])
async def test_shared_render_sees_nothing_of_any_request(
    app: Quart, board: Channel, kind: str, trigger: str
) -> None:
    """Whatever requests run or trigger it, a shared render is an anonymous GET of its own URL."""
    seen: set[tuple[object, ...]] = set()
    pages: list[str] = []

    def look() -> str:
        seen.add(
            (
                request.method,
                request.path,
                request.endpoint,
                request.host,
                g.get("user"),
                session.get("user"),
                leak.get(),
                dict(request.cookies).get("session"),
                request.headers.get("X-User"),
            )
        )
        return f"{g.get('user')} {session.get('user')} {leak.get()}"

    async def look_later() -> str:
        await asyncio.sleep(0)
        return look()

    board.fragment("list", debounce=0)(look if kind == "sync" else look_later)

    @app.before_request
    async def load_user() -> None:
        user = request.headers.get("X-User")
        if user is not None:
            g.user = session["user"] = user
            leak.set(user)
            await asyncio.sleep(0)

    @app.post("/change")
    async def change() -> str:
        await board.topic().refresh("list")
        await asyncio.sleep(0)
        return str(g.user)

    add_page(app, '{{ sse_live("board.list") }}')
    clients = [QuartClient(app) for _ in range(8)]

    async def visit(number: int) -> None:
        user = {"X-User": f"user {number}"}
        for _ in range(3):
            if trigger != "refresh":
                pages.append(await get_text(clients[number], headers=user))
            if trigger != "first paint":
                answer = await clients[number].post("/change", headers=user)
                assert await answer.get_data(as_text=True) == f"user {number}"

    async with viewing(clients[0]) as stream:
        await asyncio.gather(*(visit(number) for number in range(8)))
        await board.topic().refresh("list")
        sent = await next_html(stream)

    nobody = "None None nothing"
    url = ("GET", "/sse/~/list/board", "sse.board.fragment", "localhost")
    assert seen == {(*url, None, None, "nothing", None, None)}
    assert sent == ("board.list", nobody)
    assert all(f">{nobody}<" in page for page in pages)


async def test_request_that_triggers_a_render_keeps_its_own_context(
    app: Quart, board: Channel
) -> None:
    """After a shared render, the page's request and user are what they were before."""

    @board.fragment("list")
    async def board_list() -> str:
        g.user = session["user"] = "the renderer"
        leak.set("the renderer")
        return "list"

    @app.get("/")
    async def page() -> str:
        g.user = session["user"] = "ada"
        leak.set("ada")
        await render_template_string(MACROS + '{{ sse_live("board.list") }}')
        return f"{g.user} {session['user']} {leak.get()} {request.path}"

    assert await get_text(QuartClient(app)) == "ada ada ada /"


@pytest.mark.parametrize("answer", ["redirect", "text", "response"])
async def test_before_request_that_answers_is_an_error_with_a_remedy(
    app: Quart, board: Channel, answer: str
) -> None:
    """A login redirect must never be shown as a fragment's HTML; the error says what to do."""
    board.fragment("list")(lambda: "list")

    @app.before_request
    async def login() -> Any:
        if "user" not in session:
            answers = {
                "redirect": redirect("/login"),
                "text": "please log in",
                "response": Response("please log in", 401),
            }
            return answers[answer]
        return None

    async with app.app_context():
        with pytest.raises(RenderError) as caught:
            await render_template_string(MACROS + '{{ sse_fragment("board.list") }}')

    assert "before_request" in str(caught.value)
    assert "sse.is_rendering" in str(caught.value)
    assert "'list'" in str(caught.value)
    assert "personal=True" in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [{}, {"root_path": "/mounted"}],
    ids=["at the root", "mounted"],
)
async def test_before_request_can_let_fragments_pass(
    app: Quart, board: Channel, options: dict[str, str]
) -> None:
    """The remedy that the error names works, wherever the app is mounted."""
    board.fragment("list")(lambda: "the list")

    @app.before_request
    async def login() -> Response | None:
        if "user" in session or (request.endpoint or "").startswith("sse."):
            return None
        return Response("please log in", 401)

    @app.get("/sse.login")
    async def page() -> str:
        return await render_template_string(MACROS + '{{ sse_live("board.list") }}')

    client = QuartClient(app)
    async with client.session_transaction() as changed:
        changed["user"] = "ada"
    text = await get_text(client, options.get("root_path", "") + "/sse.login", **options)

    assert ">the list<" in text


async def test_absolute_url_without_a_site_is_an_error_with_its_remedy(
    app: Quart, board: Channel
) -> None:
    """Nothing says which host the app has, so no stranger's is taken for it."""
    board.fragment("list")(lambda: url_for("sse.connect", _external=True))

    async with app.test_request_context("/", headers={"Host": "evil.example"}):
        with pytest.raises(RenderError, match="QUART_SSE_BASE_URL"):
            await render_template_string(MACROS + '{{ sse_fragment("board.list") }}')


@pytest.mark.filterwarnings("ignore:Current server name")  # which is what is tried
@pytest.mark.parametrize(
    ("config", "page", "expected"),
    [
        ({}, {}, "/home"),
        ({}, {"headers": {"Host": "shop.example:8000"}, "scheme": "https"}, "/home"),
        ({}, {"root_path": "/mounted"}, "/mounted/home"),
        ({"SERVER_NAME": "shop.example"}, {}, "/home http://shop.example/home"),
        ({"QUART_SSE_BASE_URL": "https://shop.example"}, {}, "/home https://shop.example/home"),
        (
            {"QUART_SSE_BASE_URL": "https://shop.example/app/"},
            {"headers": {"Host": "internal"}},
            "/app/home https://shop.example/app/home",
        ),
    ],
    ids=["plain", "host", "mounted", "server name", "base url", "base url with path"],
)
async def test_shared_render_has_the_url_of_the_site(
    app: Quart, config: dict[str, str], page: dict[str, Any], expected: str
) -> None:
    """URLs in shared HTML are those that the app says it has; no request's ``Host`` is in them."""
    app.config.update(config)
    board = SSE(app).channel("board", "/board", public=True)

    @board.fragment("list")
    def links() -> str:
        return " ".join([url_for("home"), *([url_for("home", _external=True)] if config else [])])

    app.add_url_rule("/home", "home", lambda: "home")
    add_page(app, '{{ sse_fragment("board.list") }}{{ sse_connect() }}')
    client = QuartClient(app)
    await client.get("/nothing", headers={"Host": "evil.example"})
    await client.get("/nothing", headers={"Host": "127.0.0.1:8000"})
    page = {"headers": {"Host": config.get("SERVER_NAME", "localhost")}, **page}

    text = await get_text(client, page.get("root_path", "") + "/", **page)

    shown = BeautifulSoup(text, "html.parser").select_one("[data-sse='board.list']")
    assert shown is not None
    assert shown.get_text() == expected


async def test_teardown_functions_run_after_each_render(app: Quart, board: Channel) -> None:
    """What an application opens for a request is closed after a render, too."""
    calls: list[str] = []

    @board.fragment("list")
    async def board_list() -> str:
        calls.append("render")
        return "list"

    @app.teardown_request
    async def after_request(error: BaseException | None) -> None:
        calls.append(f"teardown_request {has_request_context() and request.path}")

    @app.teardown_appcontext
    async def after_app(error: BaseException | None) -> None:
        calls.append("teardown_appcontext")

    async with app.app_context():
        await render_template_string(MACROS + '{{ sse_fragment("board.list") }}')
        during = list(calls)

    assert during == ["render", "teardown_request /sse/~/list/board", "teardown_appcontext"]


async def test_teardown_functions_run_after_a_failing_render(app: Quart, board: Channel) -> None:
    """They run when the renderer raises, too, and the page gets its error."""
    calls: list[str] = []

    @board.fragment("list")
    async def board_list() -> str:
        raise ZeroDivisionError("in the renderer")

    @app.teardown_request
    async def after_request(error: BaseException | None) -> None:
        calls.append("teardown_request")

    async with app.app_context():
        with pytest.raises(RenderError, match="in the renderer") as caught:
            await render_template_string(MACROS + '{{ sse_fragment("board.list") }}')

    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert calls == ["teardown_request"]


async def test_render_that_takes_too_long_is_stopped(app: Quart) -> None:
    """A renderer that hangs is cancelled, and the error names the key that sets the limit."""
    app.config["QUART_SSE_RENDER_TIMEOUT"] = 0.02
    board = SSE(app).channel("board", "/board", public=True)
    ended: list[str] = []

    @board.fragment("list")
    async def board_list() -> str:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")
        return ""

    async with asyncio.timeout(5), app.app_context():
        with pytest.raises(RenderError, match="QUART_SSE_RENDER_TIMEOUT") as caught:
            await render_template_string(MACROS + '{{ sse_fragment("board.list") }}')
    await until(lambda: ended)

    assert "'list'" in str(caught.value)
    assert "'board'" in str(caught.value)


async def test_page_that_goes_away_does_not_cancel_the_render_of_another(
    app: Quart, board: Channel
) -> None:
    """Two pages share a render; the one that is cancelled leaves the other its HTML."""
    may_go = asyncio.Event()
    started = asyncio.Event()

    @board.fragment("list")
    async def board_list() -> str:
        started.set()
        await may_go.wait()
        return "list"

    async def paint() -> str:
        async with app.app_context():
            return await render_template_string(MACROS + '{{ sse_fragment("board.list") }}')

    first = asyncio.create_task(paint())
    second = asyncio.create_task(paint())
    await started.wait()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    may_go.set()
    html = await second

    assert first.cancelled()
    assert html == '<div data-sse="board.list">list</div>'


async def test_failing_refresh_keeps_what_is_shown_and_is_logged(
    app: Quart, sse: SSE, caplog: pytest.LogCaptureFixture
) -> None:
    """Viewers keep the last good HTML; the log says which fragment of which topic, and why."""
    rooms = sse.channel("rooms", "/rooms/<int:room>", public=True)
    broken = False

    @rooms.fragment("list")
    async def room_list(room: int) -> str:
        if broken:
            raise ZeroDivisionError("in the renderer")
        return "list"

    add_page(app, '{{ sse_live("rooms.list", room=7) }}')

    async with viewing(QuartClient(app)) as stream:
        broken = True
        await rooms.topic(room=7).refresh()
        await until(lambda: caplog.records)
        await rooms.topic(room=7).publish("said")
        await stream.next("sse-open")
        after = await stream.next()

    (record,) = caplog.records
    assert after.event == "rooms.said?room=7"
    assert record.levelno == logging.ERROR
    assert "'list'" in record.getMessage()
    assert "'rooms?room=7'" in record.getMessage()
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], RenderError)
    assert isinstance(record.exc_info[1].__cause__, ZeroDivisionError)


# -- one inside another ------------------------------------------------------------------------


def including(*names: str, **params: object) -> Callable[..., Awaitable[str]]:
    """Return a renderer whose HTML contains other fragments."""

    async def render(**values: object) -> str:
        inner = "".join(f'{{{{ sse_fragment("{name}", **params) }}}}' for name in names)
        return await render_template_string(f"<ul>{MACROS}{inner}</ul>", params=params)

    return render


async def test_fragment_inside_another_of_its_topic_is_kept_current(
    app: Quart, board: Channel
) -> None:
    """A page that shows the outer one is sent changes of the inner one by itself."""
    value = 1
    board.fragment("outer", debounce=0)(including("board.inner"))
    board.fragment("inner", debounce=0)(lambda: f"<li>{value}</li>")
    add_page(app, '{{ sse_fragment("board.outer") }}{{ sse_connect() }}')
    client = QuartClient(app)

    first = await get_text(client)
    async with viewing(client) as stream:
        value = 2
        await board.topic().refresh("inner")
        inner = await next_html(stream)
        value = 3
        await board.topic().refresh("outer")
        outer = await next_html(stream)

    nested = '<ul><div data-sse="board.inner"><li>{}</li></div></ul>'
    assert f'<div data-sse="board.outer">{nested.format(1)}</div>' in first
    assert inner == ("board.inner", "<li>2</li>")
    assert outer == ("board.outer", nested.format(3))


async def test_fragment_that_appears_later_inside_another_is_kept_current(
    app: Quart, board: Channel
) -> None:
    """An inner fragment that a refresh brought is sent its changes, too."""
    names: tuple[str, ...] = ()

    @board.fragment("outer", debounce=0)
    async def outer() -> str:
        return await including(*names)()

    board.fragment("inner", debounce=0)(lambda: "inner")
    add_page(app, '{{ sse_fragment("board.outer") }}{{ sse_connect() }}')

    async with viewing(QuartClient(app)) as stream:
        names = ("board.inner",)
        await board.topic().refresh("outer")
        await next_html(stream)
        await board.topic().refresh("inner")
        inner = await next_html(stream)

    assert inner == ("board.inner", "inner")


async def test_declared_fragment_of_another_topic_is_kept_current(app: Quart, sse: SSE) -> None:
    """With ``includes`` a fragment may contain those of other topics; the page hears them all."""
    board = sse.channel("board", "/board", public=True)
    rooms = sse.channel("rooms", "/rooms/<int:room>")
    board.fragment("outer", includes=["rooms.count"])(including("rooms.count", room=7))
    rooms.fragment("count", debounce=0)(lambda room: f"{room}")
    add_page(app, '{{ sse_fragment("board.outer") }}{{ sse_connect() }}')

    async with viewing(QuartClient(app)) as stream:
        await rooms.topic(room=8).refresh()
        await rooms.topic(room=7).refresh()
        sent = await next_html(stream)

    assert sent == ("rooms.count?room=7", "7")


async def test_as_many_outer_renders_as_slots_do_not_wait_for_ever(app: Quart) -> None:
    """A render holds no slot while it waits for the one inside; also in three levels at once."""
    app.config |= {"QUART_SSE_MAX_RENDERS": 2, "QUART_SSE_DEBOUNCE": 0}
    cells = SSE(app).channel("cells", "/cells/<int:n>", public=True)
    running: list[int] = []
    most = 0
    two_run = asyncio.Event()

    async def render(n: int, inner: str) -> str:
        nonlocal most
        running.append(n)
        most = max(most, len(running))
        if most > 1:
            two_run.set()
        await two_run.wait()
        await asyncio.sleep(0)
        running.remove(n)
        template = MACROS + inner
        return await render_template_string(template, n=n)

    for name, inner in (("a", "cells.b"), ("b", "cells.c"), ("c", "")):
        macro = f'{{{{ sse_fragment("{inner}", n=n) }}}}' if inner else "{{ n }}"
        cells.fragment(name)(lambda n, macro=macro: render(n, macro))
    add_page(app, '{{ sse_fragment("cells.a", n=request.args.n|int) }}')
    clients = [QuartClient(app) for _ in range(12)]

    async with asyncio.timeout(10):
        pages = await asyncio.gather(
            *(get_text(client, f"/?n={n}") for n, client in enumerate(clients))
        )

    assert [n for n, page in enumerate(pages) if f">{n}</" not in page] == []
    assert most == 2


async def test_connection_of_many_fragments_renders_few_at_once(app: Quart) -> None:
    """And a page that comes meanwhile does not wait for all of them."""
    app.config |= {"QUART_SSE_MAX_RENDERS": 16, "QUART_SSE_DEBOUNCE": 0}
    cells = SSE(app).channel("cells", "/cells/<int:n>", public=True)
    begun: list[int] = []
    gate = asyncio.Event()

    @cells.fragment("a")
    async def a(n: int) -> str:
        begun.append(n)
        if n < 100:
            await gate.wait()
        return f"cell {n}"

    add_page(app, '{{ sse_fragment("cells.a", n=100) }}')
    topics = "+".join(f"cells?n%3D{n}:a" for n in range(16))
    async with open_stream(app, f"/sse?t=~{topics}&since=0") as stream:
        await until(lambda: len(begun) == 2)
        assert "cell 100" in await get_text(QuartClient(app))
        assert begun[2:] == [100]
        gate.set()
        await until(lambda: len(begun) == 17)
        seen = {(await stream.next("message")).data for _ in range(16)}

    assert len(seen) == 16


async def test_undeclared_fragment_of_another_topic_is_refused(app: Quart, sse: SSE) -> None:
    """Pages would not hear its changes, so it must be declared; the error says how."""
    board = sse.channel("board", "/board", public=True)
    rooms = sse.channel("rooms", "/rooms/<int:room>", public=True)
    board.fragment("outer")(including("rooms.count", room=7))
    rooms.fragment("count")(lambda room: "7")

    async with app.app_context():
        with pytest.raises(FragmentError) as caught:
            await render_template_string(MACROS + '{{ sse_fragment("board.outer") }}')

    assert "@board.fragment('outer', includes=['rooms.count'])" in str(caught.value)


async def test_other_topic_of_the_same_channel_must_be_declared_too(app: Quart, sse: SSE) -> None:
    """Another topic of the same channel is another topic."""
    rooms = sse.channel("rooms", "/rooms/<int:room>", public=True)
    rooms.fragment("outer")(including("rooms.count", room=8))
    rooms.fragment("count")(lambda room: "7")

    async with app.app_context():
        with pytest.raises(FragmentError, match="includes="):
            await render_template_string(MACROS + '{{ sse_fragment("rooms.outer", room=7) }}')


async def test_personal_fragment_inside_a_shared_one_is_refused(app: Quart, board: Channel) -> None:
    """What one viewer sees must not go to everybody."""
    board.fragment("outer")(including("board.mine"))
    board.fragment("mine", personal=True)(lambda: "secret")

    async with app.test_request_context("/"):
        with pytest.raises(FragmentError, match=r"personal fragment 'board\.mine'"):
            await render_template_string(MACROS + '{{ sse_fragment("board.outer") }}')


async def test_shared_fragment_inside_a_personal_one_is_kept_current(
    app: Quart, board: Channel
) -> None:
    """The other way round is fine: both are the viewer's to see."""
    board.fragment("mine", personal=True)(including("board.count"))
    board.fragment("count", debounce=0)(lambda: "7")
    add_page(app, '{{ sse_fragment("board.mine") }}{{ sse_connect() }}')

    async with viewing(QuartClient(app)) as stream:
        await board.topic().refresh("count")
        sent = await next_html(stream)

    assert sent == ("board.count", "7")


@pytest.mark.parametrize("macro", ["sse_connect()", 'sse_live("board.inner")'])
async def test_connection_inside_a_shared_fragment_is_refused(
    app: Quart, board: Channel, macro: str
) -> None:
    """A connect element belongs to one page; in everybody's HTML it would be everybody's."""

    @board.fragment("outer")
    async def outer() -> str:
        body = f'{MACROS}{{{{ sse_fragment("board.inner") }}}}{{{{ {macro} }}}}'
        return await render_template_string(body)

    board.fragment("inner")(lambda: "inner")

    async with app.app_context():
        with pytest.raises(FragmentError, match="opens a connection"):
            await render_template_string(MACROS + '{{ sse_fragment("board.outer") }}')


@pytest.mark.parametrize(
    "circle",
    [["a"], ["a", "b"], ["a", "b", "c"]],
    ids=["itself", "two", "three"],
)
async def test_circle_of_shared_fragments_is_an_error(
    app: Quart, board: Channel, circle: list[str]
) -> None:
    """Fragments that contain each other would wait for each other for ever."""
    for name, inner in zip(circle, [*circle[1:], circle[0]], strict=True):
        board.fragment(name)(including(f"board.{inner}"))

    async with asyncio.timeout(5), app.app_context():
        with pytest.raises(FragmentError, match="contains itself"):
            await render_template_string(MACROS + '{{ sse_fragment("board.a") }}')


async def test_circle_is_an_error_for_two_pages_at_once(app: Quart, board: Channel) -> None:
    """Entered from both sides at the same moment, a circle is no dead end either."""
    board.fragment("a")(including("board.b"))
    board.fragment("b")(including("board.a"))

    async def paint(name: str) -> str:
        async with app.app_context():
            return await render_template_string(MACROS + f'{{{{ sse_fragment("board.{name}") }}}}')

    async with asyncio.timeout(5):
        results = await asyncio.gather(paint("a"), paint("b"), return_exceptions=True)

    assert [type(result) for result in results] == [FragmentError, FragmentError]


async def test_fragments_that_share_an_inner_one_are_no_circle(app: Quart, board: Channel) -> None:
    """Many outer fragments may contain the same inner one, rendered at the same time."""
    for name in "abcd":
        board.fragment(name)(including("board.x", "board.y"))
    board.fragment("x")(including("board.y"))
    board.fragment("y")(lambda: "y")

    async def paint(name: str) -> str:
        async with app.app_context():
            return await render_template_string(MACROS + f'{{{{ sse_fragment("board.{name}") }}}}')

    async with asyncio.timeout(5):
        pages = await asyncio.gather(*(paint(name) for name in "abcdabcd"))

    assert [page.count(">y<") for page in pages] == [2] * 8


async def test_personal_fragment_that_contains_itself_is_an_error(
    app: Quart, board: Channel
) -> None:
    """A personal circle ends with an error, too."""
    board.fragment("mine", personal=True)(including("board.mine"))

    async with asyncio.timeout(5), app.test_request_context("/"):
        with pytest.raises((FragmentError, RecursionError)):
            await render_template_string(MACROS + '{{ sse_fragment("board.mine") }}')


@pytest.mark.parametrize(
    ("status", "expected"), [(404, 404), (410, 410), (401, 500), (403, 500), (500, 500)]
)
async def test_page_is_not_found_because_its_fragment_is_not_and_no_more(
    app: Quart, board: Channel, status: int, expected: int
) -> None:
    """What the anonymous request is refused says nothing about the viewer."""

    @board.fragment("list")
    async def board_list() -> str:
        abort(status)

    add_page(app, '{{ sse_live("board.list") }}')

    answer = await QuartClient(app).get("/")

    assert answer.status_code == expected


# -- the whole request -----------------------------------------------------------------------------


async def test_hooks_run_around_each_render_whatever_its_outcome(
    app: Quart, board: Channel
) -> None:
    """What one opens before the request, another one closes after it, as for a client."""
    open_, calls, fails = list[int](), list[str](), True

    @app.before_request
    async def begin() -> None:
        open_.append(1)
        calls.append("before")

    @app.after_request
    async def end(response: Response) -> Response:
        open_.pop()
        calls.append(f"after {response.status_code}")
        return response

    @app.teardown_request
    async def clean(_: BaseException | None) -> None:
        calls.append("teardown")

    @board.fragment("list")
    async def board_list() -> str:
        if fails:
            raise ZeroDivisionError
        return "list"

    for fails in (True, False):  # noqa: B007 - the renderer reads it
        async with app.app_context():
            with contextlib.suppress(RenderError):
                await render_template_string(MACROS + LIST)

    assert open_ == []
    assert calls == ["before", "after 500", "teardown", "before", "after 200", "teardown"]


async def test_client_of_a_render_is_no_one(app: Quart, sse: SSE, board: Channel) -> None:
    """It has an address, so that limiters and logs work, and not one that an app may trust."""
    seen: list[Any] = []

    @board.fragment("list")
    async def board_list() -> str:
        seen.extend([request.remote_addr, list(request.access_route), sse.is_rendering])
        scope: Any = request.scope
        seen.extend([scope["client"][0], scope["server"][0]])
        return "list"

    async def page() -> str:
        assert not sse.is_rendering
        return await render_template_string(MACROS + LIST)

    app.add_url_rule("/", "page", page)
    await get_text(QuartClient(app))

    assert seen == ["192.0.2.1", ["192.0.2.1"], True, "192.0.2.1", "localhost"]
    assert not sse.is_rendering


async def test_gate_lets_renders_pass_where_the_app_says_so(
    app: Quart, sse: SSE, board: Channel, caplog: pytest.LogCaptureFixture
) -> None:
    """A gate that refuses the anonymous request refuses no viewer, and the log says what to do."""
    lets_pass = False

    @app.before_request
    async def gate() -> None:
        if "user" not in request.args and not (lets_pass and sse.is_rendering):
            abort(401)

    board.fragment("list")(lambda: "list")
    add_page(app, LIST)
    refused = await QuartClient(app).get("/?user=ada")
    logged = caplog.text
    lets_pass = True
    passed = await QuartClient(app).get("/?user=ada")

    assert refused.status_code == 500
    assert "sse.is_rendering" in logged
    assert "personal=True" in logged
    assert passed.status_code == 200
    assert (await QuartClient(app).get("/")).status_code == 401


async def test_fragment_belongs_to_the_blueprint_of_its_channel(app: Quart, sse: SSE) -> None:
    """Its hooks, context processors and relative URLs are there, in renders and in requests."""
    shop = Blueprint("shop", __name__, url_prefix="/shop")
    calls: list[str] = []
    shop.add_url_rule("/page", "page", lambda: "page")
    shop.context_processor(lambda: {"currency": "EUR"})

    @shop.before_request
    async def note() -> None:
        calls.append(request.path)

    prices = sse.channel("prices", "/prices", public=True, blueprint=shop)
    template = "{{ currency }} {{ url_for('.page') }}"

    @prices.fragment("shared")
    async def shared() -> str:
        return await render_template_string(template)

    @prices.fragment("mine", personal=True)
    async def mine() -> str:
        return await render_template_string(template)

    app.register_blueprint(shop)
    add_page(app, '{{ sse_fragment("prices.shared") }}{{ sse_connect() }}')
    client = QuartClient(app)
    page = await get_page(app)
    fetched = [await get_text(client, f"/sse/~/{name}/prices") for name in ("shared", "mine")]

    (shown,) = page.select("[data-sse='prices.shared']")
    assert shown.text == "EUR /shop/page"
    assert fetched == ["EUR /shop/page"] * 2
    assert set(calls) == {"/sse/~/shared/prices", "/sse/~/mine/prices"}


async def test_blueprint_that_is_not_registered_is_named(app: Quart, sse: SSE) -> None:
    """An app that registers it under another name gives that name."""
    prices = sse.channel("prices", "/prices", public=True, blueprint="shop.cart")
    prices.fragment("list")(lambda: "x")

    async with app.app_context():
        with pytest.raises(RenderError, match=r"'shop\.cart', which the app does not have"):
            await render_template_string(MACROS + '{{ sse_fragment("prices.list") }}')


async def test_renderer_that_changes_the_session_is_named_once(
    app: Quart, board: Channel, caplog: pytest.LogCaptureFixture
) -> None:
    """A token or a flashed message in shared HTML is nobody's."""

    @board.fragment("list")
    async def board_list() -> str:
        session["csrf_token"] = "x"
        return "list"

    @board.fragment("other")
    async def other() -> str:
        return str(session.get("csrf_token", "none"))

    add_page(app, LIST + '{{ sse_fragment("board.other") }}')
    for _ in range(3):
        await get_text(QuartClient(app))

    (said,) = [record.getMessage() for record in caplog.records if "session" in record.message]
    assert "/sse/~/list/board" in said
    assert "personal=True" in said


async def test_session_that_a_hook_changes_is_no_renderer_s(
    app: Quart, board: Channel, caplog: pytest.LogCaptureFixture
) -> None:
    """Many apps make sessions permanent before each request."""

    @app.before_request
    async def permanent() -> None:
        session.permanent = True

    board.fragment("list")(lambda: "x")
    add_page(app, LIST)
    await get_text(QuartClient(app))

    assert "changes the session" not in caplog.text


@pytest.mark.parametrize("status", [404, 401])
async def test_page_is_there_although_a_gate_hides_it_from_visitors(
    app: Quart, board: Channel, status: int
) -> None:
    """A hook's 404 in the anonymous request is no answer to who is signed in."""
    board.fragment("list")(lambda: "list")
    add_page(app, LIST)

    @app.before_request
    async def hide() -> None:
        if "user" not in request.args:
            abort(status)

    assert (await QuartClient(app).get("/?user=ada")).status_code == 500
    assert (await QuartClient(app).get("/")).status_code == status


@pytest.mark.parametrize("releases", [True, False])
async def test_pages_that_hold_what_their_fragments_need_are_told(
    app: Quart, caplog: pytest.LogCaptureFixture, releases: bool
) -> None:
    """Three pages at once hold a pool of three, and each fragment waits for a fourth."""
    app.config["QUART_SSE_RENDER_TIMEOUT"] = 0.3
    rooms = SSE(app).channel("rooms", "/rooms/<int:room>", public=True)
    pool, are_there = asyncio.Semaphore(3), asyncio.Barrier(3)

    @rooms.fragment("list")
    async def show(room: int) -> str:
        async with pool:
            return f"{room}"

    @app.get("/<int:room>")
    async def page(room: int) -> str:
        template = MACROS + "{{ sse_fragment('rooms.list', room=room) }}{{ sse_connect() }}"
        async with pool:
            await are_there.wait()
            if not releases:
                return await render_template_string(template, room=room)
        return await render_template_string(template, room=room)

    answers = await asyncio.gather(*(QuartClient(app).get(f"/{room}") for room in range(3)))

    assert [answer.status_code for answer in answers] == [200 if releases else 500] * 3
    waits = [r.getMessage() for r in caplog.records if "A page waits" in r.getMessage()]
    assert len(waits) == (0 if releases else 1)
    assert all("'rooms.list'" in said and "session" in said for said in waits)
    assert ("release that one before the template" in caplog.text) == (not releases)


async def test_nested_fragments_need_no_place_of_their_outer_one(app: Quart, sse: SSE) -> None:
    """However many pages show them at once, no render waits for one that waits for it."""
    board = sse.channel("board", "/board/<int:number>", public=True)

    @board.fragment("outer")
    async def outer(number: int) -> str:
        inner = "{{ sse_fragment('board.inner', number=number) }}"
        return await render_template_string(MACROS + inner, number=number)

    @board.fragment("inner")
    async def inner(number: int) -> str:
        await asyncio.sleep(0)
        return f"{number}"

    @app.get("/<int:number>")
    async def page(number: int) -> str:
        template = MACROS + "{{ sse_fragment('board.outer', number=number) }}{{ sse_connect() }}"
        return await render_template_string(template, number=number)

    async with asyncio.timeout(30):
        texts = await asyncio.gather(*(get_text(QuartClient(app), f"/{n}") for n in range(200)))

    assert all(f">{number}<" in text for number, text in enumerate(texts))
