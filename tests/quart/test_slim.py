"""The request of an open stream is smaller, and the app finds in it what was there."""

from typing import Any

import pytest
from quart import Quart, Request, request
from quart.asgi import ASGIHTTPConnection
from quart.wrappers.request import Body

from quart_sse import SSE
from quart_sse.quart.slim import LazyHeaders, NoBody, slim
from tests.support.streams import open_stream

HEADERS = [(b"host", b"localhost"), (b"cookie", b"a=1; b=2"), (b"x-two", b"1"), (b"x-two", b"2")]


async def _send(message: Any) -> None:
    """Send nothing."""


def make(app: Quart, headers: Any = HEADERS, version: str = "1.1") -> Request:
    """Return a request as Quart makes it of a scope."""
    scope: Any = {
        "type": "http",
        "method": "GET",
        "scheme": "http",
        "path": "/sse/news",
        "query_string": b"t=1&t=2",
        "headers": list(headers),
        "http_version": version,
        "client": ("192.0.2.7", 1),
        "server": ("localhost", 80),
    }
    return ASGIHTTPConnection(app, scope)._create_request_from_scope(_send)


def seen(request: Request) -> list[Any]:
    """Return what an app asks a request for."""
    return [
        list(request.headers),
        request.headers.get("X-Two"),
        request.headers.getlist("X-Two"),
        "host" in request.headers,
        len(request.headers),
        dict(request.cookies),
        request.args.getlist("t"),
        request.url,
        str(request.user_agent),
        request.remote_addr,
        request.host,
    ]


def test_app_sees_what_it_saw_before(app: Quart) -> None:
    """Headers and what is made of them are made again."""
    request = make(app)
    before = seen(request)
    assert "cookies" in vars(request)

    slim(request)

    assert "cookies" not in vars(request)
    assert isinstance(request.headers, LazyHeaders)
    assert not [value for value in vars(request.headers).values() if isinstance(value, list)]
    assert seen(request) == before
    request.headers["X-New"] = "3"
    assert request.headers["X-New"] == "3"
    assert request.headers.copy().get("X-Two") == "1"
    with pytest.raises(AttributeError):
        _ = request.headers.nothing


def test_headers_that_the_app_has_changed_stay(app: Quart) -> None:
    """They would not be those of the scope."""
    request = make(app)
    request.headers["X-Forwarded-User"] = "ann"
    headers = request.headers

    slim(request)

    assert request.headers is headers


async def test_requests_without_a_body_share_one(app: Quart) -> None:
    """It is complete and empty, and takes nothing."""
    one, other = make(app), make(app)
    slim(one)
    slim(other)

    assert one.body is other.body
    one.body.append(b"more")
    await one.body.put(b"more")  # type: ignore[attr-defined]
    one.body.set_complete()
    assert await other.body == b""
    assert [data async for data in other.body] == []


@pytest.mark.parametrize(
    ("headers", "version"),
    [
        ([*HEADERS, (b"content-length", b"3")], "1.1"),
        ([*HEADERS, (b"transfer-encoding", b"chunked")], "1.1"),
        (HEADERS, "2"),
    ],
)
async def test_request_that_may_have_a_body_keeps_its_own(
    app: Quart, headers: Any, version: str
) -> None:
    """Over HTTP/2 no header says that there is none."""
    request = make(app, headers, version)
    slim(request)

    assert type(request.body) is Body
    request.body.set_result(b"abc")
    assert await request.body == b"abc"


def test_property_of_the_app_s_own_stays(app: Quart) -> None:
    """What a class of the app's computes may be expensive, or be no longer the same."""

    class Own(Request):
        @property
        def cookies(self) -> Any:
            return vars(self).setdefault("cookies", {"own": "1"})

    app.request_class = Own
    request = make(app)
    cookies = request.cookies

    slim(request)

    assert request.cookies is cookies


async def test_request_of_a_stream_is_slim_once_it_is_open(app: Quart, sse: SSE) -> None:
    """Hooks after the request see it as it was; nothing is shared before."""
    found: list[Any] = []

    @app.after_request
    async def note(response: Any) -> Any:
        found.append(request._get_current_object())  # type: ignore[attr-defined]
        found.append(type(request.body))
        return response

    sse.channel("news", "/news", public=True)
    async with open_stream(app, "/sse/news") as stream:
        await stream.next("sse-open")
        current, kind = found
        assert kind is Body
        assert isinstance(current.body, NoBody)
        assert current.scope["quart_sse"].kick is None
        assert current.scope["quart_sse"].find_outlet is None
        assert current.headers["Accept"] == "text/event-stream"
