"""Headers of answers: a channel's own, and those by which pages of other origins may read them."""

from collections.abc import Callable
from typing import Any

import pytest
from quart import Quart, Response, abort, redirect, session
from quart.testing import QuartClient, connections

from quart_sse import SSE
from tests.support.settings import make_app
from tests.support.streams import SSE_ACCEPT, open_stream

FRIEND, PARTNER, EVIL = "https://friend.example", "https://partner.example", "https://evil.example"
ALLOWED = [FRIEND, PARTNER]
ALLOW, CREDENTIALS = "Access-Control-Allow-Origin", "Access-Control-Allow-Credentials"
FROM_ELSEWHERE = {"Sec-Fetch-Site": "cross-site"}
PREFLIGHT = {"Access-Control-Request-Method": "GET", **FROM_ELSEWHERE}
OPTIONS: dict[str, Any] = {"origins": [PARTNER], "headers": {"X-Name": "a b", "x-other": "c"}}


def make(**config: object) -> tuple[Quart, SSE]:
    """Return an app whose pages have a friend everywhere, and a partner at two channels."""
    app, sse = make_app(OPTIONS, QUART_SSE_ORIGINS=FRIEND, **config)
    sse.channel("closed", "/closed/<float:number>", **OPTIONS)
    return app, sse


@pytest.fixture
def app() -> Quart:
    """An app with origins."""
    return make()[0]


def cors_of(answer: Response) -> tuple[list[str], list[str], list[str]]:
    """Return what an answer says of origins; each header stands there once if at all."""
    return (
        answer.headers.getlist(ALLOW),
        answer.headers.getlist(CREDENTIALS),
        answer.headers.getlist("Vary"),
    )


async def ask(app: Quart, url: str, origin: str | None, **headers: str) -> Response:
    """Return the answer to a page of an origin, without its body."""
    sent = {**FROM_ELSEWHERE, "Origin": origin, **headers} if origin else headers
    async with QuartClient(app).request(url, headers=sent) as connection:
        assert isinstance(connection, connections.TestHTTPConnection)
        await connection.send_complete()
        await connection.receive()
        answer = Response("", connection.status_code, connection.headers)
        await connection.disconnect()
    return answer


# -- origins ---------------------------------------------------------------------------------------

STREAM = {"Accept": "text/event-stream"}
#: What is answered -> URL, request headers, status.
ANSWERS: dict[str, tuple[str, dict[str, str], int]] = {
    "stream": ("/sse/rooms/1", STREAM, 200),
    "stream for any client": ("/sse/rooms/1", {"Accept": "*/*"}, 200),
    "refusal that is a stream": ("/sse/closed/1.5", STREAM, 200),
    "refusal by status": ("/sse/closed/1.5", {}, 403),
    "no such topic": ("/sse/closed/1" + "0" * 400 + ".0", {}, 404),
    "stopped": ("/sse/rooms/1", {**STREAM, "Last-Event-ID": "stop"}, 204),
}


@pytest.mark.parametrize("origin", ALLOWED)
@pytest.mark.parametrize("case", ANSWERS)
async def test_page_of_an_allowed_origin_reads_every_answer(
    app: Quart, case: str, origin: str
) -> None:
    """Else its script cannot tell a refusal from a cut, and comes back for ever."""
    url, headers, status = ANSWERS[case]

    answer = await ask(app, url, origin, **headers)

    assert answer.status_code == status
    assert cors_of(answer) == ([origin], ["true"], ["Origin"])


@pytest.mark.parametrize("case", ANSWERS)
@pytest.mark.parametrize("origin", [EVIL, "null", f"{FRIEND}, {EVIL}", f"{PARTNER}.evil.example"])
async def test_no_other_origin_is_ever_named(app: Quart, case: str, origin: str) -> None:
    """A page of another origin gets a plain 403 (or the 204 of before), which it cannot read."""
    url, headers, status = ANSWERS[case]

    answer = await ask(app, url, origin, **headers)

    assert answer.status_code == (status if status in (204, 404) else 403)
    assert cors_of(answer) == ([], [], ["Origin"])


async def test_answer_without_an_origin_says_that_others_differ(app: Quart) -> None:
    """A cache must not give one page's answer to another one."""
    answer = await ask(app, "/sse/rooms/1", None, **STREAM)

    assert answer.status_code == 200
    assert cors_of(answer) == ([], [], ["Origin"])


@pytest.mark.parametrize(
    ("url", "status"), [("/sse?t=~rooms?room=1", 200), ("/sse/~/list/rooms/1", 200), ("/sse", 400)]
)
async def test_origin_of_a_channel_is_allowed_at_its_own_url_alone(
    app: Quart, url: str, status: int
) -> None:
    """The URLs that all channels share, and those of fragments, are for the app's friends."""
    friend, partner = await ask(app, url, FRIEND), await ask(app, url, PARTNER)

    assert friend.status_code == status
    assert cors_of(friend) == ([FRIEND], ["true"], ["Origin"])
    assert partner.status_code == 403
    assert cors_of(partner) == ([], [], ["Origin"])


async def test_friend_reads_that_there_is_no_channel(app: Quart) -> None:
    """Below the prefix of ours a wrong URL is a refusal like any other."""
    friend, partner = [await ask(app, "/sse/nothing", origin, **STREAM) for origin in ALLOWED]

    assert cors_of(friend) == ([FRIEND], ["true"], ["Origin"])
    assert cors_of(partner) == ([], [], ["Origin"])


@pytest.mark.parametrize("url", ["/sse/news", "/sse?t=~news", "/sse/~/list/rooms/1"])
async def test_app_without_friends_allows_only_where_a_channel_does(url: str) -> None:
    """An origin of one channel is none of another one."""
    app, _ = make_app(OPTIONS)

    answer = await ask(app, url, PARTNER)

    assert answer.status_code == 403
    assert cors_of(answer) == ([], [], [])


@pytest.mark.parametrize("origin", [FRIEND, EVIL, "null"])
async def test_static_file_is_for_pages_of_any_origin(app: Quart, origin: str) -> None:
    """Also for a sandboxed frame, whose scripts have an integrity; a file says nothing of users."""
    url, headers = "/sse/~static/vendor.json", {**FROM_ELSEWHERE, "Origin": origin}
    answer = await QuartClient(app).get(url, headers=headers)  # whole, so that the file is closed

    assert cors_of(answer) == (["*"], [], [])


@pytest.mark.parametrize("url", ["/own", "/nothing", "/sse/~publish", "/ssenews"])
async def test_urls_that_are_not_for_streams_stay_as_they_are(app: Quart, url: str) -> None:
    """What the app answers at its own URLs is its own business."""
    answer = await ask(app, url, FRIEND)

    assert cors_of(answer) == ([], [], [])
    assert "X-Name" not in answer.headers


HOOKS: dict[str, tuple[Callable[[], Any], int]] = {
    "redirect": (lambda: redirect("/login"), 302),
    "limited": (lambda: abort(429), 429),
    "failed": (lambda: abort(500), 500),
    "away": (lambda: Response("back soon", 503), 503),
}


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("accept", [SSE_ACCEPT, {}], ids=["stream", "other"])
async def test_answer_of_a_hook_can_be_read_too(
    app: Quart, hook: str, accept: dict[str, str]
) -> None:
    """A gate or limiter answers before any endpoint, and the middleware in its place."""
    answer_with, status = HOOKS[hook]
    app.before_request(answer_with)

    answer = await ask(app, "/sse/rooms/1", PARTNER, **accept)

    assert answer.status_code == (200 if accept else status)
    assert cors_of(answer) == ([PARTNER], ["true"], ["Origin"])
    assert answer.headers["X-Name"] == "a b"


async def test_answer_of_another_middleware_can_be_read_too() -> None:
    """One inside of ours, as a limiter that was there before ``SSE(app)``."""
    app = Quart(__name__)

    async def refuse(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 429})
        await send({"type": "http.response.body", "body": b"no"})

    app.asgi_app = refuse  # type: ignore[method-assign]
    SSE(app).channel("rooms", "/rooms", public=True, **OPTIONS)

    answer = await ask(app, "/sse/rooms", PARTNER)

    assert answer.status_code == 429
    assert cors_of(answer) == ([PARTNER], ["true"], ["Origin"])
    assert answer.headers["x-name"] == "a b"


async def test_headers_of_another_extension_are_not_doubled(app: Quart) -> None:
    """As quart-cors sets them; a browser refuses an answer that has one twice."""

    @app.after_request
    async def apply(response: Response) -> Response:
        response.access_control_allow_origin = "*"
        response.headers.add("access-control-allow-credentials", "true")
        response.access_control_expose_headers = ["X-Name"]  # type: ignore[assignment]
        response.vary.add("Origin")
        return response

    ours = await ask(app, "/sse/rooms/1", PARTNER, **STREAM)
    theirs = await ask(app, "/own", PARTNER)

    assert cors_of(ours) == ([PARTNER], ["true"], ["Origin"])
    assert ours.headers["Access-Control-Expose-Headers"] == "X-Name"
    assert cors_of(theirs) == (["*"], ["true"], ["Origin"])


@pytest.mark.parametrize(
    ("vary", "expected"),
    [
        (["Cookie"], "Cookie, Origin"),
        (["Accept", "Cookie"], "Accept, Cookie, Origin"),
        (["Accept,origin"], "Accept, origin"),
        (["*"], "*"),
    ],
    ids=str,
)
async def test_vary_keeps_what_it_names_already(app: Quart, vary: list[str], expected: str) -> None:
    """Such as ``Cookie``, which a session adds."""

    @app.after_request
    async def add(response: Response) -> Response:
        for value in vary:
            response.headers.add("Vary", value)
        return response

    answer = await ask(app, "/sse/rooms/1", PARTNER, **STREAM)

    assert answer.headers.getlist("Vary") == [expected]


async def test_session_adds_its_own_vary(app: Quart) -> None:
    """A refusal by a gate that uses the session depends on both."""

    @app.before_request
    def gate() -> None:
        session["seen"] = True
        abort(401)

    answer = await ask(app, "/sse/rooms/1", PARTNER)

    assert answer.status_code == 401
    assert answer.headers["Vary"] == "Cookie, Origin"


# -- preflights ------------------------------------------------------------------------------------


async def preflight(app: Quart, url: str, origin: str, **headers: str) -> Response:
    """Return the answer to a preflight of a page."""
    sent = {"Origin": origin, **PREFLIGHT, **headers}
    return await QuartClient(app).options(url, headers=sent)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("/sse/rooms/1", FRIEND),
        ("/sse/rooms/1", PARTNER),
        ("/sse", FRIEND),
        ("/sse/~/list/rooms/1", FRIEND),
    ],
)
async def test_preflight_of_an_allowed_origin_is_answered_before_the_app(
    app: Quart, url: str, origin: str, method: str
) -> None:
    """It has no cookies, so a gate would turn it away, and a limiter count it."""
    asked: list[str] = []
    app.before_request(lambda: asked.append("hook") or redirect("/login"))  # type: ignore[func-returns-value]
    wanted = "cache-control,last-event-id,x-sse-page"

    answer = await preflight(
        app,
        url,
        origin,
        **{"Access-Control-Request-Method": method, "Access-Control-Request-Headers": wanted},
    )

    allowed = answer.headers["Access-Control-Allow-Headers"].lower().split(", ")
    assert answer.status_code == 204
    assert not asked
    assert cors_of(answer) == ([origin], ["true"], ["Origin"])
    assert answer.headers["Access-Control-Allow-Methods"] == "GET, HEAD"
    assert {*wanted.split(","), "accept", "hx-request"} == set(allowed)
    assert 0 < int(answer.headers["Access-Control-Max-Age"]) <= 86_400
    assert await answer.get_data(as_text=False) == b""


@pytest.mark.parametrize(
    ("url", "origin", "headers"),
    [
        ("/sse/rooms/1", EVIL, {}),
        ("/sse", PARTNER, {}),
        ("/sse/~/list/rooms/1", PARTNER, {}),
        ("/sse/rooms/1", PARTNER, {"Access-Control-Request-Method": "POST"}),
        ("/sse/rooms/1", PARTNER, {"Access-Control-Request-Method": ""}),
        ("/own", FRIEND, {}),
    ],
    ids=str,
)
async def test_other_preflights_are_answered_by_the_app(
    app: Quart, url: str, origin: str, headers: dict[str, str]
) -> None:
    """Quart answers them, without a header that would allow anything."""
    answer = await preflight(app, url, origin, **headers)

    assert answer.status_code == 200
    assert "Access-Control-Allow-Methods" not in answer.headers
    assert "Access-Control-Allow-Headers" not in answer.headers
    assert answer.headers.getlist(ALLOW) in ([], [PARTNER])
    assert (ALLOW in answer.headers) == (origin == PARTNER and url == "/sse/rooms/1")


async def test_preflight_is_answered_where_a_middleware_strips_a_prefix() -> None:
    """The path that the framework saw counts, for the preflight and for the stream."""
    app = Quart(__name__)
    inner = app.asgi_app

    async def strip(scope: Any, receive: Any, send: Any) -> None:
        stripped: Any = {**scope, "path": scope["path"].removeprefix("/live")}
        await inner(stripped, receive, send)

    app.asgi_app = strip  # type: ignore[method-assign]
    SSE(app).channel("rooms", "/rooms", public=True, **OPTIONS)

    asked = await preflight(app, "/live/sse/rooms", PARTNER)
    opened = await ask(app, "/live/sse/rooms", PARTNER, **STREAM)

    assert asked.status_code == 204
    assert asked.headers["Access-Control-Allow-Methods"] == "GET, HEAD"
    assert opened.status_code == 200
    assert cors_of(asked) == cors_of(opened) == ([PARTNER], ["true"], ["Origin"])


# -- headers of a channel --------------------------------------------------------------------------


@pytest.mark.parametrize("case", ANSWERS)
async def test_headers_of_a_channel_are_on_every_answer(app: Quart, case: str) -> None:
    """At its own URL, to whoever asks."""
    url, headers, _ = ANSWERS[case]

    for origin in (None, PARTNER, EVIL):
        answer = await ask(app, url, origin, **headers)
        assert answer.headers.getlist("X-Name") == ["a b"]
        assert answer.headers.getlist("X-Other") == ["c"]


@pytest.mark.parametrize("url", ["/sse/news", "/sse?t=~rooms?room=1", "/sse/~/list/rooms/1"])
async def test_headers_of_a_channel_are_on_no_other_answer(app: Quart, url: str) -> None:
    """Neither of another channel, nor of what channels share."""
    async with open_stream(app, url) as stream:
        assert stream.status == 200
        assert not {"x-name", "x-other"} & stream.headers.keys()


async def test_header_takes_the_place_of_one_that_the_app_has_set() -> None:
    """No client has to choose between two."""
    app, _ = make_app({"headers": {"X-Name": "mine"}})

    @app.after_request
    async def add(response: Response) -> Response:
        response.headers["x-name"] = "theirs"
        return response

    own, other = await ask(app, "/sse/rooms/1", None, **STREAM), await ask(app, "/nothing", None)

    assert own.headers.getlist("X-Name") == ["mine"]
    assert "Vary" not in own.headers
    assert other.headers.getlist("X-Name") == ["theirs"]


async def test_app_without_such_settings_pays_nothing() -> None:
    """Its answers are sent as they are."""
    plain, _ = make_app({})
    headers = plain.extensions["quart_sse"].headers
    assert not headers.are_used

    answer = await ask(plain, "/sse/rooms/1", EVIL)
    assert answer.status_code == 403
    assert cors_of(answer) == ([], [], [])

    for options in OPTIONS:
        used, _ = make_app({options: OPTIONS[options]})
        assert used.extensions["quart_sse"].headers.are_used
    assert make_app({}, QUART_SSE_ORIGINS=FRIEND)[0].extensions["quart_sse"].headers.are_used
