"""The gate: public channels, signed pages, ``authorize``, origins; and refusals."""

import asyncio
import inspect
import json
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from httpx_sse import ServerSentEvent
from quart import Quart, Response, abort, redirect, render_template_string, request
from quart.testing import QuartClient
from werkzeug.routing import RequestRedirect

from quart_sse import SSE
from quart_sse.channels.channel import Channel
from quart_sse.wire.ending import Ending
from tests.support.streams import SSE_ACCEPT, client_of, connect_urls, open_stream

PAGE = (
    '{% from "quart_sse/macros.html" import sse_connect %}'
    "{{ sse_connect(topics=request.args.getlist('topic')) }}"
)
DAY = 86_400.0

Authorizer = Callable[..., Any]


@pytest.fixture
def sse(app: Quart) -> SSE:
    """An extension that takes identities from a cookie, and a page that signs what a test wants."""
    sse = SSE(app)

    @sse.identity
    async def who() -> str | None:
        asked = app.config.setdefault("ASKED", [])
        asked.append("identity")
        return app.config.get("WHO", request.cookies.get("who"))

    @app.get("/page")
    async def page() -> str:
        return await render_template_string(PAGE)

    return sse


@pytest.fixture
def secrets(sse: SSE) -> Channel:
    """A channel that is not public and has no authorize: only pages admit to it."""
    return sse.channel("secrets", "/secrets/<int:number>")


async def signed(client: QuartClient, *topics: str) -> str:
    """Return the stream's URL of a page that shows topics without parameters."""
    query = "&".join(f"topic={topic}" for topic in topics)
    answer = await client.get(f"/page?{query}")
    assert answer.status_code == 200
    (url,) = connect_urls(await answer.get_data(as_text=True))
    return url


async def connect(
    client: QuartClient, url: str, headers: dict[str, str] | None = None
) -> ServerSentEvent:
    """Return the first event of a stream: ``sse-open``, or what tells that there is none."""
    async with open_stream(client, url, headers) as stream:
        assert stream.status == 200
        assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
        first = await stream.next()
        if first.event != "sse-open":
            assert await stream.rest() == []
        return first


async def verdict(client: QuartClient, url: str, **headers: str) -> str:
    """Return "open", or the name and reason of the refusal."""
    first = await connect(client, url, headers)
    return "open" if first.event == "sse-open" else f"{first.event} {first.data}"


# -- public, signed, authorized --------------------------------------------------------------------


@pytest.mark.parametrize("url", ["/sse/news", "/sse?t=~news", "/sse?t=~news:list,nothing"])
async def test_public_channel_is_open_to_every_client(app: Quart, sse: SSE, url: str) -> None:
    """A client with the URL of a public topic may listen, with no page and no key."""
    app.secret_key = None
    sse.channel("news", "/news", public=True)

    assert await verdict(client_of(app), url) == "open"


@pytest.mark.parametrize("url", ["/sse/inner", "/sse?t=~inner", "/sse/inner?t=~inner"])
async def test_channel_is_closed_unless_said_otherwise(app: Quart, sse: SSE, url: str) -> None:
    """A channel that is neither public nor authorized needs a page that shows it."""
    sse.channel("inner", "/inner")

    assert await verdict(client_of(app), url) == "sse-stop refused"


@pytest.mark.parametrize("own", [False, True], ids=["sse.connect", "own URL"])
@pytest.mark.parametrize(
    ("signer", "listener", "expected"),
    [
        ("ada", "ada", "open"),
        ("ada", "bob", "sse-stop refused"),
        ("ada", None, "sse-stop refused"),
        (None, None, "open"),
        (None, "bob", "open"),
        ("ada ", "ada", "sse-stop refused"),
    ],
    ids=lambda value: repr(value),
)
async def test_token_is_good_for_whom_it_was_signed(
    app: Quart, sse: SSE, own: bool, signer: str | None, listener: str | None, expected: str
) -> None:
    """A token with an identity is good for that identity; one without is good for every client."""
    sse.channel("inner", "/inner")
    app.config["WHO"] = signer
    url = await signed(client_of(app), "inner")
    app.config["WHO"] = listener

    if own:
        url = url.replace("/sse?", "/sse/inner?")
    result = await verdict(client_of(app), url)

    assert result == expected


def _swap(token: str) -> str:
    payload, *rest = token.split(".")
    return ".".join([payload[:-1] + ("A" if payload[-1] != "A" else "B"), *rest])


@pytest.mark.parametrize(
    "tamper",
    [
        lambda token: token[:-1],
        lambda token: token + "x",
        _swap,
        lambda token: token.partition(".")[0],
        lambda token: "." + token,
        lambda token: token.replace(".", ""),
        lambda token: "",
        lambda token: "~",
        lambda token: "~~inner",
        lambda token: "~inner%00",
        lambda token: "%ff",
        lambda token: "x" * 3000,
        lambda token: "~" + token,
        lambda token: "....",
    ],
)
async def test_tampered_token_admits_to_nothing(
    app: Quart, sse: SSE, caplog: pytest.LogCaptureFixture, tamper: Callable[[str], str]
) -> None:
    """A token that is not exactly what was signed is none."""
    sse.channel("inner", "/inner")
    client = client_of(app)
    url = await signed(client, "inner")
    token = url.partition("t=")[2].partition("&")[0]

    result = await verdict(client, url.replace(token, tamper(token)))

    assert result == "sse-stop refused"
    assert not [record for record in caplog.records if record.exc_info]


async def test_bad_signature_is_logged_once(
    app: Quart, sse: SSE, caplog: pytest.LogCaptureFixture
) -> None:
    """Keys that differ between processes are the usual cause, and the log says so once."""
    sse.channel("inner", "/inner")
    client = client_of(app)
    url = await signed(client, "inner")
    app.secret_key = "another process's"

    results = [await verdict(client, url) for _ in range(3)]

    assert results == ["sse-stop refused"] * 3
    (record,) = [record for record in caplog.records if record.name == "quart_sse"]
    assert record.levelno == logging.WARNING
    assert "secret_key" in record.getMessage()


async def test_token_of_a_former_key_is_still_good(app: Quart, sse: SSE) -> None:
    """``SECRET_KEY_FALLBACKS`` verify what is out there, also for whom it was signed."""
    sse.channel("inner", "/inner")
    ada, bob = client_of(app, "ada"), client_of(app, "bob")
    url = await signed(ada, "inner")
    app.config["SECRET_KEY_FALLBACKS"] = [app.secret_key]
    app.secret_key = "the new one"

    assert await verdict(ada, url) == "open"
    assert await verdict(bob, url) == "sse-stop refused"
    assert await verdict(ada, await signed(ada, "inner")) == "open"


@pytest.mark.parametrize(
    ("kind", "age", "expected"),
    [
        ("signed", 0.9 * DAY, "open"),
        ("signed", 1.1 * DAY, "sse-stop expired"),
        ("authorized", 1.1 * DAY, "open"),
        ("public", 1.1 * DAY, "open"),
        ("forbidden", 1.1 * DAY, "sse-stop refused"),
        ("forbidden", 0.9 * DAY, "sse-stop refused"),
    ],
)
@pytest.mark.parametrize("own", [False, True], ids=["sse.connect", "own URL"])
async def test_expired_token_admits_only_where_a_rule_agrees(
    app: Quart,
    sse: SSE,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    age: float,
    expected: str,
    own: bool,
) -> None:
    """A token is good for a day; after it ``authorize`` or ``public`` may still say yes."""
    inner = sse.channel("inner", "/inner", public=kind == "public")
    if kind in ("authorized", "forbidden"):
        inner.authorize(lambda: kind == "authorized")
    client = client_of(app, "ada")
    with monkeypatch.context() as past:
        then = time.time() - age
        past.setattr(time, "time", lambda: then)
        url = await signed(client, "inner")

    result = await verdict(client, url.replace("/sse?", "/sse/inner?") if own else url)

    assert result == expected


async def test_foreign_token_keeps_what_is_public_live(app: Quart, sse: SSE) -> None:
    """A user who signs out in another tab loses the page's private topics, and nothing else."""
    sse.channel("news", "/news", public=True)
    sse.channel("inner", "/inner")
    url = await signed(client_of(app, "ada"), "inner", "news")

    async with open_stream(client_of(app), url) as stream:
        refused = await stream.next()
        opened = await stream.next()
        await sse.topic("inner").publish("said", "x")
        await sse.topic("news").publish("said", "y")
        said = await stream.next()

    assert json.loads(refused.data) == {"tokens": [], "topics": ["inner"], "fragments": []}
    assert (opened.event, said.event) == ("sse-open", "news.said")


# -- authorize -------------------------------------------------------------------------------------


def _answers(value: object) -> Authorizer:
    def authorize(**params: object) -> object:
        return value

    return authorize


def _aborts(status: int | Any) -> Authorizer:
    def authorize(**params: object) -> object:
        abort(status)

    return authorize


def _raises(error: Exception) -> Authorizer:
    def authorize(**params: object) -> object:
        raise error

    return authorize


def _returns_coroutine(value: object) -> Authorizer:
    """Return what a sync decorator makes of an async function: one that looks sync."""

    async def inner() -> object:
        return value

    return lambda **params: inner()


def _returns_future(value: object) -> Authorizer:
    """Return a function that returns something awaitable which is no coroutine."""

    class Answer:
        def __await__(self) -> Any:
            yield from asyncio.sleep(0).__await__()
            return value

    return lambda **params: Answer()


class _Object:
    """A rule that is an object with an async ``__call__``."""

    def __init__(self, value: object) -> None:
        self.value = value

    async def __call__(self, **params: object) -> object:
        return self.value


async def _generates(**params: object) -> Any:
    yield True


AUTHORIZERS: dict[str, tuple[Authorizer, str, int]] = {
    "True": (_answers(True), "open", 200),
    "a text": (_answers("yes"), "sse-holdoff error", 500),
    "a number": (_answers(1), "sse-holdoff error", 500),
    "a row": (_answers({"member": True}), "sse-holdoff error", 500),
    "a status": (_answers(("", 403)), "sse-holdoff error", 500),
    "a response": (_answers(redirect("/login")), "sse-holdoff error", 500),
    "a coroutine's True": (_returns_coroutine(True), "open", 200),
    "a coroutine's False": (_returns_coroutine(False), "sse-stop refused", 403),
    "an object's False": (_Object(False), "sse-stop refused", 403),
    "a future's False": (_returns_future(False), "sse-stop refused", 403),
    "a partial's False": (partial(_returns_coroutine(False), at="x"), "sse-stop refused", 403),
    "a generator": (_generates, "sse-holdoff error", 500),
    "False": (_answers(False), "sse-stop refused", 403),
    "None": (_answers(None), "sse-stop refused", 403),
    "abort 401": (_aborts(401), "sse-stop refused", 403),
    "abort 403": (_aborts(403), "sse-stop refused", 403),
    "abort 404": (_aborts(404), "sse-stop refused", 403),
    "abort with a redirect": (_aborts(redirect("/login")), "sse-stop refused", 403),
    "a raised redirect": (_raises(RequestRedirect("/login")), "sse-stop refused", 403),
    "abort 200": (_aborts(Response("come in")), "sse-holdoff error", 500),
    "abort 500": (_aborts(500), "sse-holdoff error", 500),
    "abort 503": (_aborts(503), "sse-holdoff error", 500),
    "raises": (_raises(ZeroDivisionError("database away")), "sse-holdoff error", 500),
}


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("url", ["/sse/inner", "/sse?t=~inner", "signed", "signed own"])
@pytest.mark.parametrize("case", AUTHORIZERS)
async def test_authorize_has_the_last_word(
    app: Quart,
    sse: SSE,
    caplog: pytest.LogCaptureFixture,
    kind: str,
    url: str,
    case: str,
) -> None:
    """It is asked at every connect, for signed topics too; what it raises is no answer."""
    function, expected, status = AUTHORIZERS[case]

    async def asynchronous(**params: object) -> object:
        answer = function(**params)
        return await answer if inspect.iscoroutine(answer) else answer

    sse.channel("inner", "/inner").authorize(function if kind == "sync" else asynchronous)
    client = client_of(app, "ada")
    if url.startswith("signed"):
        own = url.endswith("own")
        url = await signed(client, "inner")
        url = url.replace("/sse?", "/sse/inner?") if own else url

    first = await connect(client, url)
    logged = [record for record in caplog.records if record.name == "quart_sse"]
    plain = None if expected == "open" else await client.get(url)

    assert ("open" if first.event == "sse-open" else f"{first.event} {first.data}") == expected
    assert plain is None or plain.status_code == status
    if expected == "sse-holdoff error":
        assert first.retry is not None
        assert 1000 < first.retry < 10_000
        (record,) = logged
        assert record.exc_info
        assert "authorize" in record.getMessage()
    else:
        assert not logged


async def test_authorize_gets_the_topic_and_the_request(app: Quart, sse: SSE) -> None:
    """It runs in the request of the client, with the topic's parameters by name."""
    asked: list[object] = []
    rooms = sse.channel("rooms", "/rooms/<int:room>/<path:at>")

    @rooms.authorize
    async def may_listen(room: int, at: str) -> bool:
        asked.append((room, at, request.cookies.get("who"), request.endpoint))
        return True

    client = client_of(app, "ada")
    await connect(client, "/sse/rooms/7/a/b")
    await connect(client, "/sse?t=~rooms?at%3Da%252Fb%26room%3D8")

    assert asked == [
        (7, "a/b", "ada", "sse.rooms.stream"),
        (8, "a/b", "ada", "sse.connect"),
    ]


async def test_authorize_is_asked_once_per_topic_and_connect(app: Quart, sse: SSE) -> None:
    """Two tabs that share a stream cost one question, and the next connect asks again."""
    asked: list[str] = []
    inner = sse.channel("inner", "/inner")
    inner.authorize(lambda: not asked.append("inner"))  # type: ignore[func-returns-value]
    client = client_of(app)
    urls = [await signed(client, "inner") for _ in range(2)]
    both = "&".join([urls[0], urls[1].partition("?")[2]])

    for _ in range(2):
        assert await verdict(client, both) == "open"

    assert asked == ["inner"] * 2


# -- what a refusal tells --------------------------------------------------------------------------


async def test_unknown_and_forbidden_cannot_be_told_apart(
    app: Quart, sse: SSE, secrets: Channel
) -> None:
    """A refusal is the same for topics that do not exist, are malformed or are another user's."""
    held = sse.channel("held", "/held/<int:number>")

    @held.authorize
    async def may_listen(number: int) -> bool:
        if number == 1:
            abort(404)
        return False

    urls = [
        "/sse?t=~nothing",
        "/sse?t=~nothing?number%3D1",
        "/sse?t=~secrets?number%3D1",
        "/sse?t=~secrets?number%3Dx",
        "/sse?t=~secrets",
        "/sse?t=~held?number%3D1",
        "/sse?t=~held?number%3D2",
        "/sse?t=nonsense",
        "/sse/secrets/1",
        "/sse/held/1",
        "/sse/held/2",
    ]
    client = client_of(app)

    told = set()
    for url in urls:
        answer = await client.get(url, headers=SSE_ACCEPT)
        plain = await client.get(url)
        told.add(
            (
                answer.status_code,
                await answer.get_data(as_text=True),
                plain.status_code,
                await plain.get_data(as_text=True),
            )
        )

    ((status, body, plain_status, _),) = told
    assert (status, body) == (200, Ending.REFUSED.encode().decode())
    assert plain_status == 403


async def test_partial_refusal_names_what_was_asked_and_no_more(
    app: Quart, sse: SSE, secrets: Channel
) -> None:
    """Among several topics, unknown and forbidden ones are listed alike; the rest is live."""
    sse.channel("news", "/news", public=True)
    url = "/sse?t=~news+nothing+secrets?number%3D1+secrets?number%3Dx&t=nonsense&t=~news"

    async with open_stream(app, url) as stream:
        refused = await stream.next()
        opened = await stream.next()
        await sse.topic("news").publish("said", "x")
        said = await stream.next("news.said")

    assert refused.event == "sse-refused"
    assert json.loads(refused.data) == {
        "tokens": [1],
        "topics": ["nothing", "secrets?number=1", "secrets?number=x"],
        "fragments": [],
    }
    assert opened.event == "sse-open"
    assert said.data == "x"


# -- origins ---------------------------------------------------------------------------------------

OURS = "http://localhost"


@pytest.mark.parametrize(
    ("headers", "is_allowed"),
    [
        ({}, True),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "something new"}, False),
        ({"Origin": OURS}, True),
        ({"Origin": "https://localhost"}, True),
        ({"Origin": "http://localhost:8000"}, False),
        ({"Origin": "http://localhost.evil.example"}, False),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": ""}, False),
        ({"Origin": OURS, "Sec-Fetch-Site": "cross-site"}, False),
        ({"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"}, True),
        ({"Origin": "https://friend.example"}, True),
        ({"Origin": "https://friend.example", "Sec-Fetch-Site": "cross-site"}, True),
        ({"Origin": "http://friend.example", "Sec-Fetch-Site": "cross-site"}, False),
    ],
    ids=str,
)
@pytest.mark.parametrize("url", ["/sse/news", "/sse?t=~news"])
async def test_pages_of_other_origins_are_refused(
    app: Quart, headers: dict[str, str], is_allowed: bool, url: str
) -> None:
    """Only pages of ours, or of listed origins, may listen; others get a plain 403."""
    app.config["QUART_SSE_ORIGINS"] = "https://friend.example https://other.example"
    SSE(app).channel("news", "/news", public=True)
    client = QuartClient(app)

    if is_allowed:
        assert (await connect(client, url, headers)).event == "sse-open"
    else:
        for accept in (SSE_ACCEPT, {}):
            answer = await client.get(url, headers={**headers, **accept})
            assert answer.status_code == 403
            assert answer.mimetype == "text/html"


async def test_foreign_page_is_refused_before_anything_is_asked(app: Quart, sse: SSE) -> None:
    """Neither identity nor authorize run for a page of another origin, and no cookie is set."""
    asked: list[str] = []
    app.config["ASKED"] = asked
    inner = sse.channel("inner", "/inner")
    inner.authorize(lambda: not asked.append("authorize"))  # type: ignore[func-returns-value]

    answer = await QuartClient(app).get(
        "/sse/inner", headers={**SSE_ACCEPT, "Sec-Fetch-Site": "cross-site"}
    )

    assert answer.status_code == 403
    assert not asked
    assert "Set-Cookie" not in answer.headers
