"""What wraps the app: every answer to a stream's GET is a stream, and nothing else is touched."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from httpx_sse._decoders import SSEDecoder
from quart import (
    Quart,
    Response,
    abort,
    make_response,
    redirect,
    render_template_string,
    request,
    websocket,
)
from quart.testing import QuartClient

from quart_sse import SSE
from tests.support.streams import SSE_ACCEPT, connect_urls, open_stream


@pytest.fixture
def sse(app: Quart) -> SSE:
    """An extension with one public channel."""
    sse = SSE(app)
    news = sse.channel("news", "/news", public=True)
    news.fragment("list")(lambda: "list")
    return sse


def events(body: str) -> list[tuple[str, str, int | None]]:
    """Return name, data and retry of the events of a whole stream."""
    decoder = SSEDecoder()
    found = [decoder.decode(line) for line in body.removesuffix("\n").split("\n")]
    return [(event.event, event.data, event.retry) for event in found if event is not None]


def raise_error() -> None:
    """Fail as an application does."""
    raise ZeroDivisionError("in before_request")


ANSWERS: dict[str, tuple[Callable[[], Any], str]] = {
    "login redirect": (lambda: redirect("/login"), "sse-stop"),
    "permanent redirect": (lambda: redirect("/login", 308), "sse-stop"),
    "login page": (lambda: "<form>please log in</form>", "sse-stop"),
    "401": (lambda: abort(401), "sse-stop"),
    "403": (lambda: abort(403), "sse-stop"),
    "404": (lambda: abort(404), "sse-stop"),
    "418": (lambda: abort(418), "sse-stop"),
    "204": (lambda: Response("", 204), "sse-stop"),
    "408": (lambda: abort(408), "sse-holdoff"),
    "429": (lambda: Response("slow down", 429, {"Retry-After": "60"}), "sse-holdoff"),
    "500": (lambda: abort(500), "sse-holdoff"),
    "502": (lambda: abort(502), "sse-holdoff"),
    "503": (lambda: Response("back soon", 503), "sse-holdoff"),
    "exception": (raise_error, "sse-holdoff"),
}


@pytest.mark.parametrize("case", ANSWERS)
@pytest.mark.parametrize("url", ["/sse/news", "/sse?t=~news", "/sse", "/sse/nothing/there"])
@pytest.mark.parametrize("accept", ["text/event-stream", "text/html, text/event-stream"])
@pytest.mark.usefixtures("sse")
async def test_answer_of_the_app_to_a_stream_becomes_a_stream(
    app: Quart, case: str, url: str, accept: str
) -> None:
    """An answer that makes htmx lose its position or show a login page becomes a short stream."""
    answer_with, expected = ANSWERS[case]
    app.before_request(lambda: answer_with())

    answer = await QuartClient(app).get(url, headers={"Accept": accept})

    ((name, data, retry),) = events(await answer.get_data(as_text=True))
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store, no-transform"
    assert "Location" not in answer.headers
    assert name == expected
    assert data
    assert retry is not None
    assert retry == 3_600_000 if expected == "sse-stop" else 1000 < retry < 10_000


@pytest.mark.parametrize(
    ("headers", "status"), [({}, 200), ({"Last-Event-ID": "stop"}, 204)], ids=["new", "stopped"]
)
@pytest.mark.usefixtures("sse")
async def test_stream_in_place_of_an_answer_keeps_its_cors_headers(
    app: Quart, headers: dict[str, str], status: int
) -> None:
    """An app that allows origins by itself allows them to read the refusal; no more."""
    allowed = {
        "Access-Control-Allow-Origin": "https://friend.example",
        "access-control-expose-headers": "X-Why",
        "Vary": "Origin",
    }
    app.before_request(lambda: Response("", 401, {**allowed, "X-Why": "x", "Set-Cookie": "a=b"}))

    answer = await QuartClient(app).get("/sse/news", headers={**SSE_ACCEPT, **headers})

    assert answer.status_code == status
    assert {name: answer.headers.get(name) for name in allowed} == allowed
    assert "X-Why" not in answer.headers
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("case", ["login redirect", "401", "429", "503"])
@pytest.mark.parametrize(
    ("url", "headers"),
    [
        ("/sse/news", {}),
        ("/sse/news", {"Accept": "*/*"}),
        ("/sse/news", {"Accept": "text/html"}),
        ("/other", SSE_ACCEPT),
        ("/ssenews", SSE_ACCEPT),
        ("/", SSE_ACCEPT),
    ],
    ids=str,
)
@pytest.mark.usefixtures("sse")
async def test_answer_to_anything_else_stays(
    app: Quart, case: str, url: str, headers: dict[str, str]
) -> None:
    """Other clients, and an application's own URLs, get the application's own answers."""
    answer_with, _ = ANSWERS[case]
    app.before_request(lambda: answer_with())

    answer = await QuartClient(app).get(url, headers=headers)

    assert answer.status_code in (302, 401, 429, 503)
    assert answer.mimetype == "text/html"
    assert ("Location" in answer.headers) == (case == "login redirect")


@pytest.mark.usefixtures("sse")
async def test_answer_to_another_method_stays(app: Quart) -> None:
    """Only GET opens a stream, so only answers to GET are put into its words."""
    answer = await QuartClient(app).post("/sse/news", headers=SSE_ACCEPT)

    assert answer.status_code == 405


@pytest.mark.parametrize(
    ("prefix", "url", "is_ours"),
    [
        ("/live", "/live/nothing", True),
        ("/live", "/live", True),
        ("/live", "/sse", False),
        ("/live", "/lively", False),
        ("/a/b", "/a/b/nothing", True),
        ("/a/b", "/a/nothing", False),
    ],
)
async def test_ours_is_what_is_under_the_prefix(
    app: Quart, prefix: str, url: str, is_ours: bool
) -> None:
    """The extension answers for the URLs under its own prefix alone."""
    app.config["QUART_SSE_URL_PREFIX"] = prefix
    SSE(app)
    app.before_request(lambda: redirect("/login"))

    answer = await QuartClient(app).get(url, headers=SSE_ACCEPT)

    assert answer.status_code == (200 if is_ours else 302)


@pytest.mark.usefixtures("sse")
async def test_ours_is_found_below_a_root_path(app: Quart) -> None:
    """Where an app is mounted, its prefix begins after the mount."""
    app.before_request(lambda: redirect("/login"))
    client = QuartClient(app)

    ours = await client.get("/mounted/sse/news", root_path="/mounted", headers=SSE_ACCEPT)
    other = await client.get("/mounted/news", root_path="/mounted", headers=SSE_ACCEPT)

    assert (ours.status_code, other.status_code) == (200, 302)


@pytest.mark.usefixtures("sse")
async def test_large_answer_of_the_app_is_not_sent_on(app: Quart) -> None:
    """Nothing of a replaced answer reaches the client, however many parts it has."""

    @app.before_request
    async def login() -> Response:
        async def form() -> Any:
            for _ in range(10):
                yield "<form>"

        response = await make_response(form())
        assert isinstance(response, Response)
        return response

    answer = await QuartClient(app).get("/sse/news", headers=SSE_ACCEPT)

    assert events(await answer.get_data(as_text=True)) == [("sse-stop", "refused", 3_600_000)]


async def test_error_in_identity_is_a_holdoff(app: Quart, sse: SSE) -> None:
    """An application that fails is asked again later, and fails in its own log."""
    sse.identity(raise_error)

    answer = await QuartClient(app).get("/sse/news", headers=SSE_ACCEPT)
    plain = await QuartClient(app).get("/sse/news")

    ((name, _, retry),) = events(await answer.get_data(as_text=True))
    assert (name, plain.status_code) == ("sse-holdoff", 500)
    assert retry


async def test_stream_of_the_app_s_own_under_the_prefix_is_kept(app: Quart, sse: SSE) -> None:
    """An answer that is a stream already passes, even if the app made it."""
    app.add_url_rule(
        "/sse/own", "own", lambda: Response("data: x\n\n", mimetype="text/event-stream")
    )

    answer = await QuartClient(app).get("/sse/own", headers=SSE_ACCEPT)

    assert await answer.get_data(as_text=True) == "data: x\n\n"


@pytest.mark.usefixtures("sse")
async def test_websockets_pass(app: Quart) -> None:
    """Requests that are no HTTP are none of the extension's."""

    @app.websocket("/echo")
    async def echo() -> None:
        await websocket.send(await websocket.receive())

    async with QuartClient(app).websocket("/echo") as connection:
        await connection.send("hello")
        answer = await connection.receive()

    assert answer == "hello"


async def test_lifespan_is_that_of_the_app(app: Quart, sse: SSE) -> None:
    """The application's own functions before and after serving run as ever."""
    calls: list[str] = []
    app.before_serving(lambda: calls.append("before"))
    app.after_serving(lambda: calls.append("after"))

    async with app.test_app(), open_stream(app, "/sse/news") as stream:
        await sse.topic("news").publish("said")
        await stream.next("said")

    assert calls == ["before", "after"]


async def test_page_starts_before_its_view_runs(app: Quart, sse: SSE) -> None:
    """What a view publishes while it renders is not missed by the page that it returns."""

    @app.get("/")
    async def page() -> str:
        await sse.topic("news").publish("said", "during")
        html = await render_template_string(
            '{% from "quart_sse/macros.html" import sse_live %}{{ sse_live("news.list") }}'
        )
        await sse.topic("news").publish("said", "after")
        return html

    await sse.topic("news").publish("said", "before")
    answer = await QuartClient(app).get("/")
    (url,) = connect_urls(await answer.get_data(as_text=True))
    async with open_stream(app, url) as stream:
        said = [(await stream.next("news.said")).data for _ in range(2)]

    assert said == ["during", "after"]


async def test_request_with_an_open_body_can_become_a_stream(app: Quart, sse: SSE) -> None:
    """A client that has not ended its request, as some proxies do not, is streamed to."""
    async with QuartClient(app).request("/sse/news", headers=SSE_ACCEPT) as connection:
        received = b""
        while b"sse-open" not in received:
            received += await connection.receive()
        await connection.disconnect()

    assert (await sse.topic("news").publish("said")).local_receivers == 0


@pytest.mark.usefixtures("sse")
async def test_nothing_is_logged_for_streams_that_come_and_go(
    app: Quart, caplog: pytest.LogCaptureFixture
) -> None:
    """Browsers leave all the time; that is no news."""
    caplog.set_level(logging.INFO)
    for url in ("/sse/news", "/sse?t=~news", "/sse?t=~nothing", "/sse/nothing"):
        async with open_stream(app, url):
            pass

    assert {record.__dict__["sse_event"] for record in caplog.records} <= {"serving"}


async def test_request_is_the_view_s_own(app: Quart, sse: SSE) -> None:
    """Receiving is wrapped for streams; a body still reaches the view that reads it."""

    @app.route("/echo", methods=["GET", "POST"])
    async def echo() -> bytes:
        data = await request.get_data()
        assert isinstance(data, bytes)
        return data

    client = QuartClient(app)
    posted = await client.post("/echo", data=b"body", headers=SSE_ACCEPT)
    got = await client.get("/echo", data=b"body", headers=SSE_ACCEPT)

    assert await posted.get_data(as_text=False) == b"body"
    assert await got.get_data(as_text=False) == b"body"
