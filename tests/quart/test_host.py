"""Quart as the host: what the rest of the package asks of the framework."""

import datetime
import functools
import uuid
from collections.abc import Awaitable, Callable

import pytest
from quart import Quart, g, request

from quart_sse.config import Config
from quart_sse.host import KEY, Exchange, Sites
from quart_sse.quart.host import QuartHost
from quart_sse.wire.position import ZERO, Position

KNOWN = Position("e", ZERO, ZERO)


def host_of(app: Quart, **config: str) -> QuartHost:
    """Return the host of an app, in a process that stands at a known position."""
    return QuartHost(app, Config(**config), lambda: KNOWN)  # type: ignore[arg-type]


async def answer(value: object) -> object:
    """Answer as an async function does."""
    return value


async def answer_later(value: object) -> Awaitable[object]:
    """Answer with what has still to be awaited."""
    return answer(value)


class Answering:
    """An object that can be called like an async function."""

    async def __call__(self, value: object) -> object:
        """Answer."""
        return value


@pytest.mark.parametrize(
    "function",
    [
        lambda value: value,
        answer,
        lambda value: answer(value),
        answer_later,
        Answering(),
        functools.partial(answer),
        functools.partial(lambda value: answer(value)),
    ],
    ids=["sync", "async", "coroutine", "twice", "object", "partial", "partial of a coroutine"],
)
async def test_answer_is_awaited_until_it_is_one(
    app: Quart, function: Callable[[object], object]
) -> None:
    """A coroutine that is not awaited is truthy, and no answer."""
    assert await host_of(app).call(function, {"value": 7}) == 7


async def test_sync_function_sees_the_request(app: Quart) -> None:
    """It runs in a thread, because it may block, with the context of its caller."""
    async with app.test_request_context("/?name=ada"):
        g.seen = "here"
        seen = await host_of(app).call(lambda: (request.args["name"], g.seen), {})

    assert seen == ("ada", "here")


def test_keys_are_those_of_the_app(app: Quart) -> None:
    """The one that signs comes first, then those that are kept until what they signed is old."""
    app.secret_key = "new"
    app.config["SECRET_KEY_FALLBACKS"] = ["old", b"older"]

    assert host_of(app).keys() == [b"new", b"old", b"older"]
    app.secret_key = None
    assert host_of(app).keys() == []


def test_json_is_that_of_the_app(app: Quart) -> None:
    """The provider of an app knows types that JSON does not."""
    number = uuid.uuid4()

    assert host_of(app).dumps({"id": number}) == f'{{"id": "{number}"}}'
    assert host_of(app).dumps(datetime.date(2026, 11, 29)) == '"Sun, 29 Nov 2026 00:00:00 GMT"'
    with pytest.raises(TypeError):
        host_of(app).dumps(object())


async def test_exchange_is_that_of_the_request(app: Quart) -> None:
    """All that runs in one request shares it, and no other request does."""
    host = host_of(app)
    seen: list[Exchange] = []
    for _ in range(2):
        async with app.test_request_context("/"):
            seen += [host.exchange(), host.exchange()]
            assert request.scope[KEY] is seen[-1]  # type: ignore[literal-required]

    assert seen[0] is seen[1]
    assert seen[2] is seen[3]
    assert seen[0] is not seen[2]
    assert seen[0].since == KNOWN
    assert not seen[0].is_identified


async def test_outside_a_request_there_is_no_identity(app: Quart) -> None:
    """A background task has an exchange of its own, and no identity to ask for."""
    host = host_of(app)
    async with app.app_context():
        exchange = host.exchange()
        assert host.exchange() is exchange
        assert (host.header("Accept"), host.root()) == ("", "")

    assert exchange.is_identified
    assert exchange.identity is None


@pytest.mark.parametrize(
    ("base_url", "root"),
    [(None, "/mounted"), ("https://a.example", ""), ("https://a.example/app", "/app")],
)
async def test_root_is_that_of_the_request_or_of_the_site(
    app: Quart, base_url: str | None, root: str
) -> None:
    """A proxy may take away a part of the path that browsers see; then the site says it."""
    host = host_of(app, **({"base_url": base_url} if base_url else {}))
    async with app.test_request_context("/", root_path="/mounted"):
        assert host.root() == root


async def test_sites_are_those_of_the_configuration(app: Quart) -> None:
    """The host of a request is what its client wrote, and says nothing of where the app is."""
    async with app.test_request_context("/", headers={"Host": "evil.example"}):
        assert host_of(app).sites() == Sites(frozenset(), None)
        app.config["SERVER_NAME"] = "a.example"
        app.config["TRUSTED_HOSTS"] = ["a.example", ".b.example"]
        both = frozenset({("http", "a.example"), ("https", "a.example")})
        assert host_of(app).sites() == Sites(both, ["a.example", ".b.example"])
        more = host_of(app, base_url="https://c.example:8000/app").sites()

    assert more.own == both | {("https", "c.example:8000")}
