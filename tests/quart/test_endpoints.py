"""The endpoints of fragments and static files: what they answer, and to whom."""

import asyncio
import gzip
import hashlib
from typing import Any

import brotli  # type: ignore[import-untyped]
import pytest
from quart import (
    Quart,
    Response,
    after_this_request,
    g,
    render_template_string,
    request,
    stream_template_string,
)
from quart.testing import QuartClient

from quart_sse import SSE
from quart_sse.channels.channel import Channel
from quart_sse.pages import STATIC
from tests.support.pages import LIST, MACROS, add_page, get_text, loader_of, make_app, viewing
from tests.support.streams import SSE_ACCEPT, client_of, connect_urls, open_stream


@pytest.mark.parametrize(
    ("owner", "thief", "status"),
    [("ada", "ada", 200), ("ada", "bob", 403), ("ada", None, 403), (None, "bob", 200)],
    ids=["own", "foreign", "anonymous", "anonymous token"],
)
async def test_personal_fragment_is_behind_the_gate_of_the_stream(
    app: Quart, rooms: Channel, owner: str | None, thief: str | None, status: int
) -> None:
    """A client with another user's URL gets its own HTML or none, never the other user's."""
    async with viewing(client_of(app, owner)) as stream:
        await rooms.topic(room=7).refresh("mine")
        url = str(loader_of(await stream.next("message"))["hx-get"])

    answer = await client_of(app, thief).get(url)

    assert answer.status_code == status
    if status == 200:
        assert await answer.get_data(as_text=True) == f"<b>{thief} in 7</b>"


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/sse/~/mine/rooms/7", {}, 403),
        ("/sse/~/mine/rooms/7?t=~rooms%3Froom%3D7:mine", {}, 403),
        ("/sse/~/mine/rooms/7?t=nonsense", {}, 403),
        ("/sse/~/other/rooms/7", {}, 404),
        ("/sse/~/mine/rooms/x", {}, 404),
        ("/sse/~/mine/rooms/8?{query}", {}, 403),
        ("/sse/~/mine/rooms/7?{query}", {"Sec-Fetch-Site": "cross-site"}, 403),
        ("/sse/~/mine/rooms/7?{query}", {"Origin": "https://evil.example"}, 403),
        ("/sse/~/mine/rooms/7?{query}", {"Sec-Fetch-Site": "same-origin"}, 200),
    ],
    ids=[
        "no token",
        "unsigned",
        "nonsense",
        "unknown",
        "no topic",
        "other topic",
        "cross-site",
        "foreign origin",
        "own page",
    ],
)
async def test_fragment_is_given_only_with_leave(
    app: Quart, rooms: Channel, path: str, headers: dict[str, str], status: int
) -> None:
    """A fragment's URL asks what the stream's asks, and no page of another origin gets it."""
    client = client_of(app, "ada")
    async with viewing(client) as stream:
        await rooms.topic(room=7).refresh("mine")
        url = str(loader_of(await stream.next("message"))["hx-get"])

    answer = await client.get(path.format(query=url.partition("?")[2]), headers=headers)

    assert answer.status_code == status


@pytest.mark.parametrize("path", ["/sse/~/list/board", "/sse/~static/vendor.json"])
@pytest.mark.parametrize("accept", ["text/html", "text/html, text/event-stream"])
async def test_fragment_is_html_for_whoever_would_take_a_stream_too(
    app: Quart, board: Channel, path: str, accept: str
) -> None:
    """htmx 4 takes streams for an answer to anything; only a stream's URL answers with one."""
    board.fragment("list")(lambda: "the list")

    answer = await QuartClient(app).get(path, headers={"Accept": accept})

    assert answer.status_code == 200
    assert answer.mimetype in ("text/html", "application/json")
    assert await answer.get_data(as_text=False) != b""


async def test_refused_fragment_leaves_the_page_as_it_is(app: Quart, rooms: Channel) -> None:
    """htmx 4 shows error pages; a refusal tells it to show nothing."""
    answer = await client_of(app, "ada").get("/sse/~/mine/rooms/7", headers={"HX-Request": "true"})

    assert answer.status_code == 403
    assert answer.headers["HX-Reswap"] == "none"
    assert await answer.get_data(as_text=False) == b""


async def test_shared_fragment_can_be_fetched_too(app: Quart, board: Channel) -> None:
    """A fragment's URL answers with what everybody sees."""
    board.fragment("list")(lambda: f"{g.get('user')}")

    @app.before_request
    async def load_user() -> None:
        if "who" in request.cookies:
            g.user = request.cookies["who"]

    answer = await client_of(app, "ada").get("/sse/~/list/board")

    assert await answer.get_data(as_text=True) == "None"
    assert answer.mimetype == "text/html"


async def test_file_without_a_hash_is_not_kept_for_ever() -> None:
    """Only the URL of this very content may be."""
    answer = await QuartClient(make_app()).get("/sse/~static/vendor.json")

    assert answer.status_code == 200
    assert "immutable" not in answer.headers.get("Cache-Control", "")
    assert "max-age=31536000" not in answer.headers.get("Cache-Control", "")


@pytest.mark.parametrize("query", ["?v=", "?v=wrong", "?v=0&w=1"])
@pytest.mark.parametrize("file", ["vendor.json", "quart-sse.min.js"])
async def test_file_of_another_release_is_not_there(query: str, file: str) -> None:
    """A process of an older release is asked for it while a newer one is deployed.

    Its own content would fail the integrity of the page, and stay in caches under that URL.
    """
    answer = await QuartClient(make_app()).get(f"/sse/~static/{file}{query}")

    assert answer.status_code == 404
    assert answer.headers["Cache-Control"] == "no-store"
    assert await answer.get_data(as_text=True) == ""


@pytest.mark.parametrize("name", [name for name in STATIC if name.endswith(".min.js")])
@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip, deflate, br, zstd", "br"),
        ("gzip", "gzip"),
        ("br;q=0, gzip", "gzip"),
        ("identity", None),
        ("", None),
    ],
)
async def test_script_is_compressed_where_that_is_accepted(
    name: str, accepted: str, coding: str | None
) -> None:
    """It is the same script, with the same type, and caches keep the codings apart."""
    client = QuartClient(make_app())
    url = f"/sse/~static/{name}?v={STATIC[name][:12]}"
    answer = await client.get(url, headers={"Accept-Encoding": accepted})
    body = await answer.get_data(as_text=False)
    decode = {"br": brotli.decompress, "gzip": gzip.decompress, None: bytes}[coding]

    assert hashlib.sha256(decode(body)).hexdigest() == STATIC[name]
    assert answer.headers.get("Content-Encoding") == coding
    assert answer.headers["Content-Type"].startswith("text/javascript")
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert "immutable" in answer.headers["Cache-Control"]
    assert "Expires" not in answer.headers


async def test_compressed_copy_is_no_file_of_its_own() -> None:
    """It would be served with a type that no browser runs."""
    answer = await QuartClient(make_app()).get("/sse/~static/quart-sse.min.js.gz")

    assert answer.status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "../pyproject.toml",
        "vendor/../../pyproject.toml",
        "../templates/quart_sse/macros.html",
        "%2e%2e/pyproject.toml",
        "..%2fpyproject.toml",
        "%2fetc/passwd",
        "//etc/passwd",
        "vendor",
        "vendor/",
        "",
        "nothing.js",
        "vendor.json%00",
        "x" * 300,
        "./vendor.json",
        "vendor/../vendor.json",
    ],
)
@pytest.mark.parametrize("query", ["", "?v="])
async def test_nothing_but_static_files_is_served(path: str, query: str) -> None:
    """No path leads out of the folder of static files or to what is no file, and each has one."""
    app = make_app()

    answer = await QuartClient(app).get(f"/sse/~static/{path}{query}")

    assert answer.status_code in (308, 404)
    assert b"quart-sse" not in await answer.get_data(as_text=False)


@pytest.mark.parametrize(
    ("endpoint", "values", "path"),
    [
        ("sse.connect", {"t": "x"}, "?t=x"),
        ("sse.static", {"filename": "vendor.json"}, "/~static/vendor.json"),
        ("sse.files.stream", {"number": 7, "path": "a/b"}, "/files/7/a/b"),
        (
            "sse.files.fragment",
            {"fragment": "list", "number": 7, "path": "a b"},
            "/~/list/files/7/a%20b",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and value.startswith("sse") else "",
)
@pytest.mark.parametrize("prefix", ["/sse", "/some/where-else"])
@pytest.mark.parametrize("root", ["", "/mounted"])
async def test_url_for_gives_every_endpoint(
    app: Quart, endpoint: str, values: dict[str, object], path: str, prefix: str, root: str
) -> None:
    """Every URL of the extension has an endpoint, under the prefix and the app's root path."""
    app.config["QUART_SSE_URL_PREFIX"] = prefix
    SSE(app).channel("files", "/files/<int:number>/<path:path>")

    async with app.test_request_context("/", root_path=root):
        url = app.url_for(endpoint, **values)  # type: ignore[arg-type]

    assert url == root + prefix + path


async def test_other_blueprints_may_be_called_like_channels(app: Quart, sse: SSE) -> None:
    """A channel's blueprint has a name of its own, so an app may have one of the same."""
    sse.channel("news", "/news", public=True)
    app.add_url_rule("/news", "news.stream", lambda: "the app's own")

    answer = await QuartClient(app).get("/news")

    assert await answer.get_data(as_text=True) == "the app's own"


@pytest.mark.parametrize("name", ["static", "connect", "stream", "fragment", "sse", "quart_sse"])
async def test_channel_may_be_called_like_an_endpoint(app: Quart, sse: SSE, name: str) -> None:
    """No name of a channel hides what the extension itself has."""
    channel = sse.channel(name, f"/{name}", public=True)
    channel.fragment("list")(lambda: "list")
    client = QuartClient(app)

    fragment = await client.get(f"/sse/~/list/{name}")
    static = await client.get("/sse/~static/vendor.json")
    async with open_stream(client, f"/sse/{name}") as own, open_stream(client, f"/sse?t=~{name}"):
        published = await channel.topic().publish("said", "x")
        said = await own.next("said")

    assert (fragment.status_code, static.status_code) == (200, 200)
    assert (said.data, published.local_receivers) == ("x", 2)


# -- hooks that read the answer --------------------------------------------------------------------


@pytest.mark.parametrize("read", ["get_data", "add_etag", "freeze", "make_sequence"])
async def test_hook_that_reads_a_stream_is_told_so(
    app: Quart, news: str, read: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It would wait for ever; the client is held off instead."""

    @app.after_request
    async def hook(response: Response) -> Response:
        if response.mimetype != "text/html":
            await getattr(response, read)()
        return response

    async with asyncio.timeout(5):
        text = await get_text(QuartClient(app), news, headers=SSE_ACCEPT)

    assert "event: sse-holdoff\ndata: error\n" in text
    assert "which has no end" in caplog.text


@pytest.mark.parametrize("is_first", [True, False])
async def test_part_of_a_page_is_completed_before_it_is_compressed(is_first: bool) -> None:
    """Whichever extension the app has initialised first."""
    app = Quart(__name__)
    app.secret_key = "for tests only"

    async def compress(response: Response) -> Response:
        response.set_data(gzip.compress(await response.get_data(as_text=False)))
        response.headers["Content-Encoding"] = "gzip"
        return response

    if is_first:
        app.after_request(compress)
    sse = SSE(app)
    if not is_first:
        app.after_request(compress)
    sse.channel("board", "/board", public=True).fragment("list")(lambda: "list")
    add_page(app, LIST)
    answer = await QuartClient(app).get("/", headers={"HX-Request": "true"})
    html = gzip.decompress(await answer.get_data(as_text=False)).decode()

    assert answer.status_code == 200
    assert "sse-connect" in html


async def test_part_that_is_compressed_too_early_is_left_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A decorator of the view has asked first; the log says what to do."""
    app = Quart(__name__)
    app.secret_key = "for tests only"
    SSE(app).channel("board", "/board", public=True).fragment("list")(lambda: "list")

    @app.get("/")
    async def page() -> str:
        @after_this_request
        async def compress(response: Any) -> Any:
            response.set_data(gzip.compress(await response.get_data(as_text=False)))
            response.headers["Content-Encoding"] = "gzip"
            return response

        return await render_template_string(MACROS + LIST)

    answer = await QuartClient(app).get("/", headers={"HX-Request": "true"})

    assert answer.status_code == 200
    assert b"list" in gzip.decompress(await answer.get_data(as_text=False))
    assert "sse_connect()" in caplog.text


async def test_part_in_another_charset_is_completed() -> None:
    """The bytes of the view stay as they are."""
    app = Quart(__name__)
    app.secret_key = "for tests only"
    SSE(app).channel("board", "/board", public=True).fragment("list")(lambda: "\u00e9")

    @app.get("/")
    async def page() -> Response:
        html = await render_template_string(MACROS + LIST)
        return Response(html.encode("latin-1"), content_type="text/html; charset=latin-1")

    answer = await QuartClient(app).get("/", headers={"HX-Request": "true"})
    html = (await answer.get_data(as_text=False)).decode("latin-1")

    assert "\u00e9" in html
    assert "sse-connect=" in html


# -- who may keep a page ---------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["rendered", "streamed"])
@pytest.mark.parametrize(
    ("who", "secret", "expected"),
    [
        ("ada", "for tests only", "private, no-store"),
        (None, "for tests only", None),
        ("ada", None, None),
        (None, None, None),
    ],
    ids=["user", "visitor", "user without a key", "visitor without a key"],
)
async def test_page_is_private_if_its_token_is_a_user_s(
    way: str, who: str | None, secret: str | None, expected: str | None
) -> None:
    """Also one that is streamed, whose headers go out before its token is made."""
    app = Quart(__name__)
    app.secret_key = secret
    sse = SSE(app)
    sse.identity(lambda: request.cookies.get("who"))
    sse.channel("board", "/board", public=True).fragment("list")(lambda: "list")

    @app.get("/")
    async def page() -> Any:
        render = render_template_string if way == "rendered" else stream_template_string
        return await render(MACROS + LIST + "{{ sse_connect() }}")

    answer = await client_of(app, who).get("/")
    text = await answer.get_data(as_text=True)
    (url,) = connect_urls(text)

    assert answer.status_code == 200
    assert answer.headers.get("Cache-Control") == expected
    assert ("t=~" in url) is (expected is None)
    async with open_stream(client_of(app, who), url) as stream:
        await stream.next("sse-open")
