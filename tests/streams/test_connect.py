"""A request becomes a stream: its caps and limits, several tokens, and where it resumes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from http.cookies import SimpleCookie
from typing import Any

import pytest
from quart import Quart
from quart.testing import QuartClient, connections

from quart_sse import SSE
from tests.support import settings
from tests.support.connecting import channel_of, make_app, page_url, said, verdict
from tests.support.pages import add_page
from tests.support.streams import SSE_ACCEPT, Stream, open_stream
from tests.support.turns import counting_turns

NEWS = "/sse/news"


@pytest.fixture
def app() -> Quart:
    """An app with the default settings."""
    return make_app()


# -- limits ----------------------------------------------------------------------------------------


@asynccontextmanager
async def over(http: str, client: QuartClient, url: str) -> AsyncIterator[Stream]:
    """Open a stream over a version of HTTP."""
    async with client.request(url, headers=SSE_ACCEPT, http_version=http) as connection:
        assert isinstance(connection, connections.TestHTTPConnection)
        await connection.send_complete()
        stream = Stream(connection)
        try:
            assert (await stream.next()).event == "sse-open"
            yield stream
        finally:
            await connection.disconnect()


async def with_cookie(client: QuartClient, url: str = "/sse/a") -> QuartClient:
    """Let a client keep the cookie that its first stream sets."""
    async with open_stream(client, url) as stream:
        for morsel in SimpleCookie(stream.headers["set-cookie"]).values():
            client.set_cookie("localhost", morsel.key, morsel.value)
    return client


@pytest.mark.parametrize(
    ("http", "config", "ended"),
    [
        ("1.1", {}, 1),
        ("1.0", {}, 1),
        ("2", {}, 0),
        ("3", {}, 0),
        ("1.1", {"QUART_SSE_MAX_PER_BROWSER": 2}, 3),
        ("2", {"QUART_SSE_MAX_PER_IDENTITY": 3}, 2),
    ],
    ids=str,
)
async def test_fifth_stream_of_a_browser_ends_its_oldest(
    http: str, config: dict[str, int], ended: int
) -> None:
    """HTTP/1 has six connections per host, so the oldest tab makes room; HTTP/2 has many."""
    app = make_app(**config)
    client = await with_cookie(QuartClient(app))
    other = await with_cookie(QuartClient(app))

    async with AsyncExitStack() as stack:
        untouched = await stack.enter_async_context(over(http, other, "/sse/a"))
        streams = [await stack.enter_async_context(over(http, client, "/sse/a")) for _ in range(5)]
        gone = [(await stream.rest())[-1] for stream in streams[:ended]]
        published = await channel_of(app, "a").topic().publish("said", "x")
        for stream in [untouched, *streams[ended:]]:
            await stream.next("said")

    assert [(event.event, event.data) for event in gone] == [("sse-holdoff", "evicted")] * ended
    assert all(event.retry and 1000 < event.retry < 10_000 for event in gone)
    assert published.local_receivers == 6 - ended


async def test_too_many_streams_of_an_identity_end_its_oldest() -> None:
    """A new stream evicts an older one of the same identity, and never one of another."""
    app = make_app(QUART_SSE_MAX_PER_IDENTITY=2)

    async def browser(who: str) -> QuartClient:
        client = QuartClient(app)
        client.set_cookie("localhost", "who", who)
        return client

    async with AsyncExitStack() as stack:
        streams = [
            await stack.enter_async_context(open_stream(await browser(who), "/sse/a"))
            for who in ("ada", "bob", "ada", "ada")
        ]
        gone = (await streams[0].rest())[-1]
        published = await channel_of(app, "a").topic().publish("said", "x")

    assert (gone.event, gone.data) == ("sse-holdoff", "evicted")
    assert published.local_receivers == 3


async def test_stream_that_left_makes_room(app: Quart) -> None:
    """Only open streams count."""
    client = await with_cookie(QuartClient(app))

    for _ in range(6):
        async with open_stream(client, "/sse/a"):
            pass
    async with open_stream(client, "/sse/a") as stream:
        assert await said(stream, app) == []


@pytest.mark.parametrize(
    ("config", "second"),
    [
        ({"QUART_SSE_MAX_CONNECTIONS": 1}, "/sse/b"),
        ({"QUART_SSE_MAX_PER_TOPIC": 1}, "/sse/a"),
        ({"QUART_SSE_MAX_PER_TOPIC": 1}, "/sse?t=~b+a"),
    ],
    ids=str,
)
async def test_full_process_or_topic_lets_others_wait(config: dict[str, int], second: str) -> None:
    """Over these limits a new client retries later; no open stream ends."""
    app = make_app(**config)
    one, two = QuartClient(app), QuartClient(app)

    async with open_stream(one, "/sse/a") as first:
        async with open_stream(two, second) as stream:
            (refused,) = await stream.rest()
        plain = await two.get(second)
        still = await said(first, app)
    again = await verdict(two, second)

    assert (refused.event, refused.data) == ("sse-holdoff", "overloaded")
    assert refused.retry
    assert plain.status_code == 503
    assert still == []
    assert again == ("open", 200)


@pytest.mark.parametrize(
    ("options", "urls", "refused", "open_still"),
    [
        ({"max_connections": 2}, ["/sse/rooms/1", "/sse?t=~rooms?room=2"], "/sse/rooms/3", NEWS),
        ({"max_connections": 2}, ["/sse/rooms/1", "/own"], "/sse?t=~news+rooms?room=3", NEWS),
        ({"max_connections": 1}, ["/both"], "/sse/rooms/3", NEWS),
        ({"max_per_topic": 1}, ["/sse/rooms/1"], "/sse/rooms/1", "/sse/rooms/2"),
        ({"max_per_topic": 1}, ["/own"], "/sse?t=~news+rooms?room=1", "/sse/rooms/2"),
    ],
    ids=str,
)
async def test_full_channel_lets_others_wait(
    options: dict[str, int], urls: list[str], refused: str, open_still: str
) -> None:
    """The limits of a channel are its own, however its topics are listened to."""
    app, _ = settings.make_app(options)

    async with AsyncExitStack() as stack:
        for url in urls:
            stream = await stack.enter_async_context(open_stream(QuartClient(app), url))
            assert (await stream.next()).event == "sse-open"
        held_off = await verdict(QuartClient(app), refused)
        others = await verdict(QuartClient(app), open_still)
    again = await verdict(QuartClient(app), refused)

    assert held_off == ("sse-holdoff overloaded", 503)
    assert (others, again) == (("open", 200), ("open", 200))


# -- limits of an address --------------------------------------------------------------------------


async def opened(
    stack: AsyncExitStack, client: Quart | QuartClient, url: str, address: str | None
) -> bool:
    """Open a stream for as long as a stack, and tell whether it was not held off."""
    stream = await stack.enter_async_context(open_stream(client, url, address=address))
    return (await stream.next()).event == "sse-open"


async def test_cookies_are_no_way_around_the_limit_of_an_address() -> None:
    """A client can collect any number of browser cookies; its address stays one."""
    app = make_app(QUART_SSE_MAX_PER_ADDRESS=5)
    browsers = [await with_cookie(QuartClient(app)) for _ in range(30)]

    async with AsyncExitStack() as stack:
        known = [await opened(stack, browser, "/sse/a", "192.0.2.7") for browser in browsers]
        unknown = await opened(stack, app, "/sse/b", "192.0.2.7")
        other = await opened(stack, browsers[-1], "/sse?t=~a", "192.0.2.8")
    async with AsyncExitStack() as stack:
        again = await opened(stack, app, "/sse/b", "192.0.2.7")

    assert known == [True] * 5 + [False] * 25
    assert (unknown, other, again) == (False, True, True)


@pytest.mark.parametrize("url", ["/own", "/both", "/sse/rooms/1", "/sse?t=~rooms?room=1"])
@pytest.mark.parametrize("is_known", [False, True])
async def test_streams_of_all_kinds_count_for_their_address(url: str, is_known: bool) -> None:
    """Also those of the app's own views, of users and of visitors."""
    app, _ = settings.make_app({}, QUART_SSE_MAX_PER_ADDRESS=3)
    urls = ["/own", "/sse/news", url]
    browsers = [
        await with_cookie(QuartClient(app), NEWS) if is_known else QuartClient(app) for _ in urls
    ]

    async with AsyncExitStack() as stack:
        first = [
            await opened(stack, browser, each, "192.0.2.7")
            for browser, each in zip(browsers, urls, strict=True)
        ]
        more = await opened(stack, QuartClient(app), url, "192.0.2.7")
        other = await opened(stack, QuartClient(app), url, "192.0.2.8")

    assert (first, more, other) == ([True] * 3, False, True)


async def test_full_address_is_answered_before_its_tokens_are_verified() -> None:
    """A client that is over its limit costs next to nothing, and others get an error page."""
    app = make_app(QUART_SSE_MAX_PER_ADDRESS=1)
    client = QuartClient(app)

    async with open_stream(app, "/sse/a", address="192.0.2.7") as first:
        answer = await client.get("/sse/a", scope_base={"client": ("192.0.2.7", 1)})
        still = await said(first, app)
        async with open_stream(app, "/sse?t=invalid", address="192.0.2.7") as stream:
            (refused,) = await stream.rest()

    assert (refused.event, refused.data) == ("sse-holdoff", "overloaded")
    assert refused.retry
    assert answer.status_code == 503
    assert still == []


async def test_network_of_a_client_counts_as_one_address() -> None:
    """Whoever has an address of IPv6 has all of its /64, and the next /64 is another client's."""
    app = make_app(QUART_SSE_MAX_PER_ADDRESS=2)
    own = ["2001:db8:0:7::1", "2001:db8:0:7:ffff::2", "2001:db8:0:7::3"]

    async with AsyncExitStack() as stack:
        first = [await opened(stack, app, "/sse/a", address) for address in own]
        next_ = await opened(stack, app, "/sse/a", "2001:db8:0:8::1")
        mapped = [
            await opened(stack, app, "/sse/a", address)
            for address in ("::ffff:192.0.2.7", "192.0.2.7", "::ffff:c000:207")
        ]

    assert (first, next_, mapped) == ([True, True, False], True, [True, True, False])


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "::1", "10.1.2.3", "192.168.7.7", "fd00::7", "::ffff:10.1.2.3"]
)
async def test_proxy_is_not_limited_and_that_is_logged(
    address: str, caplog: pytest.LogCaptureFixture
) -> None:
    """All clients behind it would share one limit; the log says once how they get one each."""
    app = make_app(QUART_SSE_MAX_PER_ADDRESS=2)

    async with AsyncExitStack() as stack:
        first = [await opened(stack, app, "/sse/a", address) for _ in range(2)]
        assert not caplog.records
        more = [await opened(stack, app, "/sse/a", address) for _ in range(3)]

    assert first + more == [True] * 5
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "ProxyFixMiddleware" in record.getMessage()


@pytest.mark.parametrize("address", [None, "unix:/run/app.sock", "<local>", "", "unknown"])
async def test_client_without_an_address_is_not_limited(
    address: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """A Unix socket is a proxy's, and nothing says whose streams these are."""
    app = make_app(QUART_SSE_MAX_PER_ADDRESS=1)

    async with AsyncExitStack() as stack:
        all_ = [await opened(stack, app, "/sse/a", address) for _ in range(3)]

    assert all_ == [True] * 3
    assert not caplog.records


async def test_header_is_no_address() -> None:
    """What clients write into their requests changes nothing; only the server's word counts."""
    app = make_app(QUART_SSE_MAX_PER_ADDRESS=1)
    made_up = {"Remote-Addr": "192.0.2.99", "X-Forwarded-For": "192.0.2.98", "Forwarded": "for=x"}

    async with (
        open_stream(app, "/sse/a", address="192.0.2.7"),
        open_stream(app, "/sse/a", made_up, address="192.0.2.7") as stream,
    ):
        (refused,) = await stream.rest()

    assert (refused.event, refused.data) == ("sse-holdoff", "overloaded")


def make_hall(asked: list[int], secret_key: str | None) -> Quart:
    """Return an app with a guarded channel, which notes what is asked, and one topic per URL."""
    app = Quart(__name__)
    app.secret_key = secret_key
    app.config["QUART_SSE_MAX_UNSIGNED_TOPICS"] = 1
    hall = SSE(app).channel("hall", "/hall/<int:x>")

    @hall.authorize
    async def may_enter(x: int) -> bool:
        asked.append(x)
        return True

    add_page(app, '{{ sse_connect(topics=[("hall", {"x": 1})]) }}')
    return app


@pytest.mark.parametrize("own_url", [False, True])
async def test_topics_of_unsigned_lists_are_bounded_per_address(own_url: bool) -> None:
    """Who makes up lists asks for no more by many streams, and beyond that costs no function."""
    asked: list[int] = []
    app = make_hall(asked, "for tests only")
    url = "/sse/hall/%d" if own_url else "/sse?t=~hall%%3Fx%%3D%d"
    client = QuartClient(app)
    page = await page_url(client, "")

    async with AsyncExitStack() as stack:
        first = [await opened(stack, app, url % x, "192.0.2.7") for x in range(64)]
        asked.clear()
        async with open_stream(app, url % 64, address="192.0.2.7") as stream:
            (refused,) = await stream.rest()
        assert not asked
        answer = await client.get(url % 64, scope_base={"client": ("192.0.2.7", 1)})
        shown = await opened(stack, app, page, "192.0.2.7")
        other = await opened(stack, app, url % 64, "192.0.2.8")
    async with AsyncExitStack() as stack:
        again = await opened(stack, app, url % 64, "192.0.2.7")

    assert first == [True] * 64
    assert (refused.event, refused.data, answer.status_code) == ("sse-holdoff", "overloaded", 503)
    assert (shown, other, again) == (True, True, True)


@pytest.mark.parametrize(
    ("secret_key", "address"), [("for tests only", "10.1.2.3"), (None, "192.0.2.7")]
)
async def test_unsigned_lists_of_proxies_and_without_a_key_are_not_summed(
    secret_key: str | None, address: str
) -> None:
    """A proxy has many clients; without a key the app's own pages could not be told from them."""
    app = make_hall([], secret_key)

    async with AsyncExitStack() as stack:
        all_ = [await opened(stack, app, f"/sse?t=~hall%3Fx%3D{x}", address) for x in range(66)]

    assert all_ == [True] * 66


async def test_unsigned_lists_that_come_at_once_keep_to_the_limit() -> None:
    """Streams that are judged at the same time are counted once more when they open."""
    app = Quart(__name__)
    app.secret_key = "for tests only"
    app.config["QUART_SSE_MAX_UNSIGNED_TOPICS"] = 1
    waiting = asyncio.Barrier(70)

    async def wait(x: int) -> bool:
        await waiting.wait()
        return True

    SSE(app).channel("hall", "/hall/<int:x>").authorize(wait)
    async with AsyncExitStack() as stack:
        stacks = [await stack.enter_async_context(AsyncExitStack()) for _ in range(70)]
        names = await asyncio.gather(
            *(opened(each, app, f"/sse/hall/{x}", "192.0.2.7") for x, each in enumerate(stacks))
        )

    assert sum(names) == 64


async def test_request_with_many_topics_lets_others_run_in_between(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where its tokens are judged, its starts are found, and what it missed is encoded."""
    app = Quart(__name__)
    app.config["QUART_SSE_MAX_UNSIGNED_TOPICS"] = 100
    hall = SSE(app).channel("hall", "/hall/<int:x>", public=True)
    hall.fragment("list")(lambda x: "list")
    topics = "+".join(f"hall%3Fx%3D{x}:list" for x in range(100))
    async with open_stream(app, "/sse/hall/0") as stream:
        await stream.next("sse-open")
        await hall.topic(x=0).publish("said", 0)
        since = (await stream.next("said")).id
    for number in range(100):
        await hall.topic(x=0).publish("said", number)

    monkeypatch.setattr("quart_sse.serving_loop.STRETCH", -1.0)
    async with (
        counting_turns() as turns,
        open_stream(app, f"/sse?t=~{topics}&since={since}") as stream,
    ):
        await stream.next("sse-open")
        count = turns.count

    # For each topic: is it granted, with what is inside, from where, and what of it is known. For
    # each event: its bytes.
    assert count > 500


# -- the browser's cookie --------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["/sse/a", "/sse?t=~a"])
@pytest.mark.parametrize(
    ("options", "path", "secure"),
    [
        ({}, "/", ""),
        ({"scheme": "https"}, "/", True),
        ({"root_path": "/mounted"}, "/mounted", ""),
    ],
    ids=str,
)
async def test_cookie_is_for_us_alone(
    app: Quart, url: str, options: dict[str, Any], path: str, secure: object
) -> None:
    """The cookie is random, signed, for no script, and for the app's own path."""
    client = QuartClient(app)
    values = set()
    for _ in range(2):
        full = options.get("root_path", "") + url
        async with client.request(full, headers=SSE_ACCEPT, **options) as connection:
            await connection.send_complete()
            await connection.receive()
            await connection.disconnect()
        assert isinstance(connection, connections.TestHTTPConnection)
        assert connection.headers is not None
        (morsel,) = SimpleCookie(connection.headers["Set-Cookie"]).values()
        values.add(morsel.value)

        assert morsel.key == "sse_browser"
        assert morsel["httponly"] is True
        assert morsel["samesite"] == "Lax"
        assert morsel["path"] == path
        assert morsel["secure"] == secure
        assert morsel["domain"] == morsel["max-age"] == morsel["expires"] == ""
    assert len(values) == 2


@pytest.mark.parametrize(
    ("config", "cookie", "is_set"),
    [
        ({}, None, True),
        ({}, "forged", True),
        ({}, "", True),
        ({"QUART_SSE_BROWSER_COOKIE": ""}, None, False),
        ({"SECRET_KEY": None}, None, False),
        ({"SECRET_KEY": None}, "forged", False),
    ],
    ids=str,
)
async def test_cookie_is_set_where_it_can_be(
    config: dict[str, Any], cookie: str | None, is_set: bool
) -> None:
    """A forged cookie is replaced; without a name or a key there is none."""
    app = make_app()
    app.config.update(config)
    if "QUART_SSE_BROWSER_COOKIE" in config:
        app = make_app(**config)
    client = QuartClient(app)
    if cookie is not None:
        client.set_cookie("localhost", "sse_browser", cookie)

    async with open_stream(client, "/sse/a") as stream:
        headers = dict(stream.headers)

    assert ("set-cookie" in headers) == is_set


async def test_cookie_is_set_once(app: Quart) -> None:
    """A browser that has its cookie keeps it."""
    client = await with_cookie(QuartClient(app))

    async with open_stream(client, "/sse/a") as stream:
        headers = dict(stream.headers)

    assert "set-cookie" not in headers
