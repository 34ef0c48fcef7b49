"""The judgement of a request: public channels, ``authorize``, origins; and refusals."""

import asyncio
import inspect
import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from quart import Quart, Response, abort, redirect, request
from quart.testing import QuartClient
from werkzeug.routing import RequestRedirect

from quart_sse import SSE
from quart_sse.channels.channel import Channel
from quart_sse.wire.ending import Ending
from quart_sse.wire.url_rule import UrlRule
from tests.support.streams import SSE_ACCEPT, client_of, open_stream
from tests.support.verdicts import connect, signed, verdict

DAY = 86_400.0

Authorizer = Callable[..., Any]


# -- public, signed, authorized --------------------------------------------------------------------


@pytest.fixture
def sse(asking: SSE) -> SSE:
    """The extension of the app whose page signs what a test wants."""
    return asking


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
    logged = [record for record in caplog.records if record.name.startswith("quart_sse.")]
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


@pytest.mark.parametrize("url", ["/sse/room/7", "/sse?t=~room?number=7"])
async def test_url_map_is_asked_once_for_each_topic_of_a_request(
    app: Quart, sse: SSE, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    """Also if ``validate`` and ``authorize`` are called with the parameters."""
    room = sse.channel("room", "/room/<int:number>")
    asked: list[int] = []

    def agree(number: int) -> bool:
        asked.append(number)
        return True

    room.validate(agree)
    room.authorize(agree)
    trips: list[object] = []
    usual = UrlRule.round_trip

    def round_trip(self: UrlRule, url_map: Any, params: Any) -> Any:
        trips.append(params)
        return usual(self, url_map, params)

    monkeypatch.setattr(UrlRule, "round_trip", round_trip)

    assert await verdict(client_of(app), url) == "open"
    assert asked == [7, 7]
    assert len(trips) == 1
