"""A request becomes a stream: its caps and limits, several tokens, and where it resumes."""

import asyncio
import json
import re
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import quote

import pytest
from bs4 import BeautifulSoup
from hypothesis import given, settings
from hypothesis import strategies as st
from quart import Quart, render_template_string, request
from quart.testing import QuartClient, connections

from quart_sse import SSE
from quart_sse.channel import Channel
from tests.support.streams import SSE_ACCEPT, Stream, connect_urls, open_stream

PAGE = (
    '{% from "quart_sse/macros.html" import sse_connect, sse_fragment %}'
    '{% for name in request.args.getlist("show") %}{{ sse_fragment(name) }}{% endfor %}'
    "{{ sse_connect(topics=request.args.getlist('topic')) }}"
)


def make_app(**config: object) -> Quart:
    """Return an app with public channels ``a`` and ``b``, and a page that shows what one asks."""
    app = Quart(__name__)
    app.secret_key = "for tests only"
    app.config.update(config)
    sse = SSE(app)

    @sse.identity
    async def who() -> str | None:
        return request.cookies.get("who")

    for name in "ab":
        channel = sse.channel(name, f"/{name}", public=True)
        channel.fragment("list", debounce=0)(lambda name=name: f"<b>{name}</b>")
        channel.fragment("count", debounce=0)(lambda: "3")
        channel.fragment("mine", personal=True)(lambda: "mine")

    @app.get("/")
    async def page() -> str:
        return await render_template_string(PAGE)

    return app


@pytest.fixture
def app() -> Quart:
    """An app with the default settings."""
    return make_app()


def channel_of(app: Quart, name: str) -> Channel:
    """Return a channel of an app."""
    channel = app.extensions["quart_sse"].channels.declared[name]
    assert isinstance(channel, Channel)
    return channel


async def publish(app: Quart, *data: str) -> None:
    """Publish events, each to the topic that its data begins with."""
    for text in data:
        await channel_of(app, text[0]).topic().publish("said", text)


async def page_url(client: QuartClient, query: str) -> str:
    """Return the stream's URL of a page."""
    answer = await client.get(f"/?{query}")
    assert answer.status_code == 200
    (url,) = connect_urls(await answer.get_data(as_text=True))
    return url


async def said(
    stream: Stream, app: Quart, last: str = "a end", also: str | None = None
) -> list[str]:
    """Publish a last event, and return what came before it (and up to ``also``), but for that.

    Events are shown as their data, fragments as ``<name>``, and what we say as its name.
    """
    await publish(app, last)
    seen: list[str] = []
    while last not in seen or (also is not None and also not in seen):
        event = await stream.next()
        if event.event == "message":
            seen.append(event.data.partition("[data-sse='")[2].partition("'")[0].join("<>"))
        else:
            seen.append(event.data if event.event.endswith("said") else event.event)
    return [name for name in seen if name not in ("sse-open", last)]


async def verdict(client: QuartClient, url: str) -> tuple[str, int]:
    """Return what an event-stream client is told first, and the status that another one gets."""
    async with open_stream(client, url) as stream:
        assert stream.status == 200
        first = await stream.next()
        if first.event == "sse-open":
            return "open", 200
    answer = await client.get(url)
    return f"{first.event} {first.data}", answer.status_code


# -- caps ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("/sse", ("sse-stop too-long", 400)),
        ("/sse?", ("sse-stop too-long", 400)),
        ("/sse?since=0", ("sse-stop too-long", 400)),
        ("/sse?" + "&".join(["t=~a"] * 16), ("open", 200)),
        ("/sse?" + "&".join(["t=~a"] * 17), ("sse-stop too-long", 400)),
        ("/sse?t=~a&x=" + "x" * 6000, ("open", 200)),
        ("/sse?t=~a&x=" + "x" * 7168, ("sse-stop too-long", 400)),
        ("/sse/a?x=" + "x" * 7168, ("sse-stop too-long", 400)),
        ("/sse/a?t=~a&t=~a", ("sse-stop too-long", 400)),
        ("/sse?t=~" + "+".join(f"x{n}" for n in range(127)) + "+a", ("open", 200)),
        ("/sse?t=~" + "+".join(f"x{n}" for n in range(128)) + "+a", ("sse-stop too-long", 400)),
        (
            "/sse?t=~a+" + "+".join(f"x{n}" for n in range(64))
            + "&t=~a+" + "+".join(f"y{n}" for n in range(64)),
            ("open", 200),
        ),
    ],
    ids=[
        "no token",
        "empty query",
        "since alone",
        "16 tokens",
        "17 tokens",
        "6 KB",
        "7 KB",
        "7 KB at its own URL",
        "2 tokens at its own URL",
        "128 topics",
        "129 topics",
        "130 topics in two tokens",
    ],
)  # fmt: skip
async def test_url_that_asks_for_too_much_is_refused(
    app: Quart, url: str, expected: tuple[str, int]
) -> None:
    """A URL has bounds, which are looked at before anything of it is verified."""
    client = QuartClient(app, use_cookies=False)
    async with open_stream(client, url) as stream:
        first = await stream.next()
        while first.event == "sse-refused":
            first = await stream.next()
    plain = 200 if first.event == "sse-open" else (await client.get(url)).status_code

    name = "open" if first.event == "sse-open" else f"{first.event} {first.data}"
    assert (name, plain) == expected


@pytest.mark.parametrize(
    ("key", "value", "url"),
    [
        ("QUART_SSE_MAX_TOKENS", 2, "/sse?t=~a&t=~a&t=~a"),
        ("QUART_SSE_MAX_QUERY", 256, "/sse?t=~a&x=" + "x" * 250),
        ("QUART_SSE_MAX_TOPICS", 1, "/sse?t=~a+b"),
    ],
)
async def test_caps_are_settings(key: str, value: int, url: str) -> None:
    """Each bound of a URL can be set."""
    client = QuartClient(make_app(**{key: value}))

    assert await verdict(client, url) == ("sse-stop too-long", 400)


PIECES = st.sampled_from(
    [
        "a",
        "b",
        "hidden",
        "?",
        "=",
        "&",
        ":",
        ",",
        " ",
        "+",
        "~",
        "@",
        "%",
        "\0",
        "é",
        "\n",
        "9" * 400,
    ]
)
POSITIONS = st.sampled_from(
    [
        "0",
        "x",
        ".",
        "1-0",
        "~",
        "@",
        "-",
        "ff",
        "9" * 20,
        "abcdef12.1795302000123-0",
        "\0",
        "\u0663",
    ]
)


@settings(deadline=None, max_examples=100)
@given(
    # Below "/~" are no streams.
    path=st.lists(PIECES, max_size=4).map("".join).filter(lambda path: path[:1] != "~"),
    tokens=st.lists(st.lists(PIECES, max_size=6).map("".join), max_size=3),
    sinces=st.lists(st.lists(POSITIONS, max_size=4).map("".join), max_size=3),
    last=st.lists(POSITIONS, max_size=4).map("".join),
)
def test_whatever_a_url_says_the_answer_is_a_stream(
    path: str, tokens: list[str], sinces: list[str], last: str
) -> None:
    """Nothing that a client can send makes the gate fail: it is a stream, or is refused."""
    query = [f"t={quote(token)}" for token in tokens] + [f"since={quote(p)}" for p in sinces]
    path = f"/{quote(path)}" if path else ""

    async def ask() -> None:
        headers = {"Last-Event-ID": last.encode("ascii", "ignore").decode()}
        async with open_stream(make_app(), f"/sse{path}?{'&'.join(query)}", headers) as stream:
            first = await stream.next()

            assert stream.status == 200
            assert (first.event, first.data) != ("sse-holdoff", "error")

    asyncio.run(ask())


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
    """Somebody with many browsers makes room by himself, and never somebody else's."""
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
        ({"QUART_SSE_MAX_PER_ADDRESS": 1}, "/sse/b"),
    ],
    ids=str,
)
async def test_full_process_topic_or_address_lets_others_wait(
    config: dict[str, int], second: str
) -> None:
    """Over these limits a newcomer comes back later; nobody who is here is sent away."""
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


async def test_browser_with_a_cookie_is_not_counted_by_its_address() -> None:
    """An office behind one address is no one browser: who has a cookie is told by that."""
    app = make_app(QUART_SSE_MAX_PER_ADDRESS=1)
    known = await with_cookie(QuartClient(app))

    async with open_stream(QuartClient(app), "/sse/a"):
        result = await verdict(known, "/sse/a")

    assert result == ("open", 200)


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


# -- where a page's stream starts ------------------------------------------------------------------


async def test_nothing_between_render_and_connect_is_missed(app: Quart) -> None:
    """What was published, refreshed or pushed after the page was asked for is sent at once."""
    client = QuartClient(app)
    topic = channel_of(app, "a").topic()
    await publish(app, "a before")
    url = await page_url(client, "show=a.list&show=a.count&show=a.mine")
    await publish(app, "a 1")
    await topic.refresh("list", "mine")
    await topic.push("count", html="4")
    await publish(app, "a 2")

    async with open_stream(client, url) as stream:
        seen = [(await stream.next()) for _ in range(6)]

    by_name = {event.event: event.data for event in seen}
    html = "".join(event.data for event in seen if event.event == "message")
    assert [event.data for event in seen if event.event == "a.said"] == ["a 1", "a 2"]
    assert "sse-reset" not in by_name
    assert "<b>a</b>" in html
    assert "/sse/~/mine/a" in html
    assert "[data-sse='a.count']" in html


async def test_page_is_not_sent_what_it_shows_already(app: Quart) -> None:
    """A page that is current is sent nothing but what comes."""
    client = QuartClient(app)
    await publish(app, "a before")
    await channel_of(app, "a").topic().refresh("list")
    url = await page_url(client, "show=a.list")

    async with open_stream(client, url) as stream:
        assert await said(stream, app) == []


async def test_fragment_is_sent_where_it_changed_only(app: Quart) -> None:
    """Of a page's fragments those are sent that have changed since."""
    client = QuartClient(app)
    url = await page_url(client, "show=a.list&show=a.count&show=b.list")
    await channel_of(app, "a").topic().refresh("count")

    async with open_stream(client, url) as stream:
        message = await stream.next("message")
        rest = await said(stream, app)

    assert "[data-sse='a.count']" in message.data
    assert rest == []


async def ids_of(app: Quart, url: str, *data: str) -> list[str]:
    """Publish events to an open stream, and return the position that it had after each."""
    async with open_stream(app, url) as stream:
        await stream.next("sse-open")
        await publish(app, *data)
        return [(await stream.next("a.said")).id for _ in data]


async def test_last_event_id_wins_over_since_for_one_token(app: Quart) -> None:
    """A browser that comes back knows better than its page where it was."""
    client = QuartClient(app)
    url = await page_url(client, "topic=a")
    ids = await ids_of(app, url, "a 1", "a 2", "a 3")

    heard = []
    for number, headers in enumerate([{}, *({"Last-Event-ID": id} for id in ids)]):
        async with open_stream(client, url, headers) as stream:
            heard.append(await said(stream, app, f"a end {number}"))

    assert heard == [
        ["a 1", "a 2", "a 3"],
        ["a 2", "a 3", "a end 0"],
        ["a 3", "a end 0", "a end 1"],
        ["a end 0", "a end 1", "a end 2"],
    ]


async def test_reconnect_resumes_after_each_cut(app: Quart) -> None:
    """However often a stream is cut, each event comes once and in order."""
    client = QuartClient(app)
    url = await page_url(client, "topic=a")
    headers: dict[str, str] = {}
    heard: list[str] = []

    for number in range(0, 30, 3):
        await publish(app, f"a {number}", f"a {number + 1}")
        async with open_stream(client, url, headers) as stream:
            await publish(app, f"a {number + 2}")
            for _ in range(3 if number % 2 else 2):  # cut before or after the last one was read
                event = await stream.next("a.said")
                heard.append(event.data)
                headers = {"Last-Event-ID": event.id}
    async with open_stream(client, url, headers) as stream:
        while heard[-1] != "a 29":
            heard.append((await stream.next("a.said")).data)

    assert heard == [f"a {number}" for number in range(30)]


@pytest.mark.parametrize(
    "last",
    [
        "nonsense",
        "0",
        "foreign.1795302000123-0",
        "{epoch}.1",
        "{epoch}.1-0~2-0",
        "{epoch}.-1-0",
        "{epoch}.99999999999999-0",
        "{epoch}.1-0@xyz",
        "{id} {id}",
        "{id},",
        "%00",
    ],
)
@pytest.mark.parametrize("where", ["Last-Event-ID", "since"])
async def test_position_that_cannot_be_used_is_a_reset_and_never_now(
    app: Quart, last: str, where: str
) -> None:
    """Who knows nothing that we can use is told so, and is sent every fragment."""
    client = QuartClient(app)
    url = await page_url(client, "show=a.list&show=a.count")
    (id,) = await ids_of(app, url, "a 1")
    last = last.format(id=id, epoch=id.partition(".")[0])

    if where == "since":
        base, _, _ = url.partition("&since=")
        opened = open_stream(client, f"{base}&since={quote(last)}")
    else:
        opened = open_stream(client, url, {"Last-Event-ID": last})
    async with opened as stream:
        assert (await stream.next()).event == "sse-open"
        reset = await stream.next()
        fragments = [(await stream.next("message")).data for _ in range(2)]
        rest = await said(stream, app)

    assert (reset.event, json.loads(reset.data)) == ("sse-reset", ["a"])
    assert sorted("a.list" in data for data in fragments) == [False, True]
    assert rest == []


async def test_since_0_is_a_reset(app: Quart) -> None:
    """A page that was made while the broker was away says that it knows nothing."""
    await publish(app, "a before")

    async with open_stream(app, "/sse?t=~a:list&since=0") as stream:
        await stream.next("sse-open")
        reset = await stream.next()
        message = await stream.next()
        rest = await said(stream, app)

    assert (reset.event, message.event, rest) == ("sse-reset", "message", [])


async def test_position_after_a_reset_resumes(app: Quart) -> None:
    """A reset tells the position from which all is well."""
    async with open_stream(app, "/sse?t=~a:list&since=0") as stream:
        await stream.next("message")
        last = stream.last_id
    await publish(app, "a 1")

    async with open_stream(app, "/sse?t=~a:list&since=0", {"Last-Event-ID": last}) as stream:
        assert await said(stream, app) == ["a 1"]


async def test_stream_cut_between_reset_and_render_is_healed(app: Quart) -> None:
    """The position of a reset itself says that fragments are still owed."""
    async with open_stream(app, "/sse?t=~a:list,count&since=0") as stream:
        reset = await stream.next("sse-reset")

    async with open_stream(
        app, "/sse?t=~a:list,count&since=0", {"Last-Event-ID": reset.id}
    ) as stream:
        names = [(await stream.next("message")).data for _ in range(2)]

    assert sorted("a.list" in data for data in names) == [False, True]


@pytest.mark.parametrize("url", ["/sse?t=~a:list", "/sse/a"])
async def test_client_without_any_position_starts_now(app: Quart, url: str) -> None:
    """An EventSource written by hand is told what comes, and neither reset nor filled."""
    await publish(app, "a before")

    async with open_stream(app, url) as stream:
        assert await said(stream, app) == []


async def test_history_of_events_is_bounded(app: Quart) -> None:
    """Who missed more than is kept is told so, and is not sent a part of it."""
    sse_channel = channel_of(app, "a")
    url = await page_url(QuartClient(app), "topic=a")
    for number in range(257):
        await sse_channel.topic().publish("said", f"a {number}")

    async with open_stream(app, url) as stream:
        seen = await said(stream, app)

    assert seen == ["sse-reset"]


@pytest.mark.parametrize(
    ("config", "count", "expected"),
    [
        ({"QUART_SSE_HISTORY": 1}, 1, ["a 0"]),
        ({"QUART_SSE_HISTORY": 2}, 2, ["a 0", "a 1"]),
        ({"QUART_SSE_HISTORY": 2}, 3, ["sse-reset"]),
        ({"QUART_SSE_HISTORY": 0}, 1, []),
        ({"QUART_SSE_REPLAY_EVENTS": 2}, 2, ["a 0", "a 1"]),
        ({"QUART_SSE_REPLAY_EVENTS": 2}, 3, ["sse-reset"]),
    ],
    ids=str,
)
async def test_replay_is_as_long_as_is_set(
    config: dict[str, int], count: int, expected: list[str]
) -> None:
    """History and replay have bounds; a channel without history promises and loses nothing."""
    app = make_app(**config)
    url = await page_url(QuartClient(app), "topic=a")
    await publish(app, *(f"a {number}" for number in range(count)))

    async with open_stream(app, url) as stream:
        assert await said(stream, app) == expected


async def test_replay_is_bounded_in_bytes() -> None:
    """A replay of many bytes is a reset, too."""
    app = make_app(QUART_SSE_REPLAY_BYTES=1024)
    url = await page_url(QuartClient(app), "topic=a")
    await publish(app, *("a" + "x" * 300 for _ in range(4)))

    async with open_stream(app, url) as stream:
        assert await said(stream, app) == ["sse-reset"]


async def test_two_topics_of_a_token_are_replayed_in_one_order(app: Quart) -> None:
    """Events of all topics come in the order in which they were published."""
    client = QuartClient(app)
    url = await page_url(client, "topic=a&topic=b")
    await publish(app, "a 1", "b 1", "b 2", "a 2", "b 3")

    async with open_stream(client, url) as stream:
        assert await said(stream, app) == ["a 1", "b 1", "b 2", "a 2", "b 3"]


async def test_reset_takes_the_whole_stream_in_one_message() -> None:
    """Nothing is replayed beside a reset: who is cut in between would miss it unawares."""
    app = make_app(QUART_SSE_HISTORY=2)
    url = await page_url(QuartClient(app), "topic=a&topic=b")
    await publish(app, "a 1", "b 1", "a 2", "a 3")

    async with open_stream(app, url) as stream:
        await stream.next("sse-open")
        reset = await stream.next()
        await publish(app, "b 2")
        after = await stream.next("b.said")

    assert (reset.event, json.loads(reset.data)) == ("sse-reset", ["a", "b"])
    assert after.data == "b 2"


# -- several tokens --------------------------------------------------------------------------------


def join(*urls: str) -> str:
    """Return the URL of one stream for several pages."""
    return "/sse?" + "&".join(url.partition("?")[2] for url in urls)


async def test_each_token_has_its_own_since(app: Quart) -> None:
    """Tabs that share a stream are replayed from where each of them stood."""
    client = QuartClient(app)
    await publish(app, "a 0", "b 0")
    first = await page_url(client, "topic=a")
    await publish(app, "a 1", "b 1")
    second = await page_url(client, "topic=b")
    await publish(app, "b 2", "a 2")

    for url in (join(first, second), join(second, first)):
        async with open_stream(client, url) as stream:
            heard = await said(stream, app, "b end")

        assert [text for text in heard if not text.endswith("end")] == ["a 1", "b 2", "a 2"]


async def test_several_tokens_ignore_last_event_id(app: Quart) -> None:
    """One id cannot say where each of several pages stood."""
    client = QuartClient(app)
    first = await page_url(client, "topic=a")
    second = await page_url(client, "topic=b")
    (last, *_) = await ids_of(app, first, "a 1")
    await publish(app, "b 1")
    last = (await ids_of(app, first + "&x=", "a 2"))[0] if last else last

    async with open_stream(client, join(first, second), {"Last-Event-ID": last}) as stream:
        assert await said(stream, app) == ["a 1", "b 1", "a 2"]


@pytest.mark.parametrize("order", ["older first", "newer first"])
async def test_topic_of_two_tokens_starts_at_the_older_since(app: Quart, order: str) -> None:
    """Two tabs with the same topic are both given what they lack, whichever stands first."""
    client = QuartClient(app)
    older = await page_url(client, "topic=a&show=a.list")
    await publish(app, "a 1")
    await channel_of(app, "a").topic().refresh("list")
    newer = await page_url(client, "topic=a&show=a.list")
    await publish(app, "a 2")

    url = join(older, newer) if order == "older first" else join(newer, older)
    async with open_stream(client, url) as stream:
        heard = await said(stream, app, also="<a.list>")

    assert sorted(heard) == ["<a.list>", "a 1", "a 2"]


async def test_token_without_a_since_knows_nothing(app: Quart) -> None:
    """One of several tokens without its since resets the stream, which says so at once."""
    client = QuartClient(app)
    first = await page_url(client, "topic=a")
    await publish(app, "a 1")

    async with open_stream(client, join(first, "/sse?t=~b")) as stream:
        await stream.next("sse-open")
        reset = await stream.next()

    assert (reset.event, json.loads(reset.data)) == ("sse-reset", ["a", "b"])


async def test_refused_token_costs_only_its_own_topics(app: Quart) -> None:
    """One page's token that is no good leaves the others of the stream live."""
    client = QuartClient(app)
    first = await page_url(client, "topic=a")
    second = await page_url(client, "topic=b")
    await publish(app, "a 1", "b 1")

    async with open_stream(client, join(first, "/sse?t=nonsense&since=0", second)) as stream:
        refused = await stream.next()
        heard = await said(stream, app)

    assert refused.event == "sse-refused"
    assert json.loads(refused.data) == {"tokens": [1], "topics": [], "fragments": []}
    assert heard == ["a 1", "b 1"]


async def test_tabs_that_share_a_token_start_where_the_last_of_them_stands(app: Quart) -> None:
    """One token, the positions of several tabs: nobody lacks an event, or a render that was due."""
    client = QuartClient(app)
    behind = await page_url(client, "topic=a&show=a.list")
    token, _, since = behind.partition("&since=")
    await publish(app, "a 1")
    await channel_of(app, "a").topic().refresh("list")
    async with open_stream(client, behind) as stream:
        first = (await stream.next("a.said")).id
    await publish(app, "a 2")

    # The second has the event, but not yet the render that was due before.
    epoch, _, event = first.partition(".")
    for sinces, expected in (
        (f"{first},{since}", ["a 1", "a 2", "<a.list>"]),
        (f"{since},{first}", ["a 1", "a 2", "<a.list>"]),
        (f"{first},{epoch}.{event.partition('~')[0]}~0", ["a 2", "<a.list>"]),
        (f"{first},0", ["sse-reset", "<a.list>"]),
    ):
        async with open_stream(client, f"{token}&since={quote(sinces, safe='')}") as stream:
            assert await said(stream, app, also="<a.list>") == expected, sinces


# -- a token of which a part is refused ------------------------------------------------------------


class Door:
    """A channel that can be closed and opened, and a page that shows it beside an open one."""

    def __init__(self, app: Quart) -> None:
        self.is_open = True
        self.app = app
        sse = SSE(app)
        for name in "ab":
            channel = sse.channel(name, f"/{name}")
            channel.authorize(lambda name=name: name == "a" or self.is_open)
            channel.fragment("list", debounce=0)(lambda name=name: name)

        @app.get("/")
        async def page() -> str:
            return await render_template_string(PAGE)

    async def url(self) -> str:
        """Return the stream's URL of a page that shows both."""
        return await page_url(QuartClient(self.app), "show=a.list&show=b.list")


@pytest.fixture
def door() -> Door:
    """The open door."""
    app = Quart(__name__)
    app.secret_key = "for tests only"
    return Door(app)


async def test_partly_refused_token_says_so_in_its_positions(door: Door) -> None:
    """What was granted is part of the position, so that it is never taken for the whole."""
    url = await door.url()
    await publish(door.app, "a 1", "b 1")
    await channel_of(door.app, "b").topic().refresh("list")
    door.is_open = False

    async with open_stream(door.app, url) as stream:
        refused = await stream.next()
        replayed = await stream.next("a.said")
        await publish(door.app, "b 2", "a 2")
        live = await stream.next()

    assert json.loads(refused.data) == {"tokens": [], "topics": ["b"], "fragments": []}
    assert (replayed.data, live.data) == ("a 1", "a 2")
    assert replayed.id.endswith("@1")
    assert live.id.endswith("@1")


async def test_topic_that_was_refused_starts_at_the_page_s_since(door: Door) -> None:
    """Once it is granted, it is replayed from the page, while the others go on where they were."""
    url = await door.url()
    await publish(door.app, "a 1", "b 1")
    door.is_open = False
    async with open_stream(door.app, url) as stream:
        heard = await said(stream, door.app, "a 2")
        last = stream.last_id
    await publish(door.app, "b 2", "a 3")
    await channel_of(door.app, "b").topic().refresh("list")
    door.is_open = True

    async with open_stream(door.app, url, {"Last-Event-ID": last}) as stream:
        resumed = await said(stream, door.app, also="<b.list>")
        whole = stream.last_id

    assert heard == ["sse-refused", "a 1"]
    assert [name for name in resumed if name != "<b.list>"] == ["b 1", "b 2", "a 3"]
    assert "@" not in whole


async def test_topic_that_was_refused_is_reset_where_only_an_id_is_known(door: Door) -> None:
    """Our script puts an id into the URL: it says nothing of a topic that it does not cover."""
    url = await door.url()
    door.is_open = False
    async with open_stream(door.app, url) as stream:
        await said(stream, door.app, "a 1")
        last = stream.last_id
    await publish(door.app, "b 1", "a 2")
    door.is_open = True

    url = re.sub("since=[^&]*", f"since={quote(last, safe='')}", url)
    async with open_stream(door.app, url) as stream:
        reset = await stream.next("sse-reset")
        resumed = await said(stream, door.app, also="<b.list>")

    assert "b" in json.loads(reset.data)
    assert "<b.list>" in resumed


async def test_topic_that_is_refused_later_leaves_the_others_where_they_were(door: Door) -> None:
    """A topic that is taken away costs the rest nothing."""
    url = await door.url()
    await publish(door.app, "a 1", "b 1")
    async with open_stream(door.app, url) as stream:
        await said(stream, door.app, "a 2")
        last = stream.last_id
    await publish(door.app, "a 3", "b 2")
    door.is_open = False

    async with open_stream(door.app, url, {"Last-Event-ID": last}) as stream:
        resumed = await said(stream, door.app)
        last = stream.last_id

    assert resumed == ["sse-refused", "a 3"]
    assert last.endswith("@1")


async def test_granted_positions_resume_while_nothing_changes(door: Door) -> None:
    """A position of a part is good for that part."""
    url = await door.url()
    door.is_open = False
    headers: dict[str, str] = {}
    heard: list[str] = []

    for number in range(4):
        await publish(door.app, f"a {number}", f"b {number}")
        async with open_stream(door.app, url, headers) as stream:
            event = await stream.next("a.said")
            heard.append(event.data)
            headers = {"Last-Event-ID": event.id}

    assert heard == ["a 0", "a 1", "a 2", "a 3"]


# -- at a channel's own URL ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {"<a.count>", "<a.list>", "<a.mine>"}),
        ("?fragments=list", {"<a.list>"}),
        ("?fragments=list,count", {"<a.count>", "<a.list>"}),
        ("?fragments=", set()),
        ("?fragments=nothing,list,", {"<a.list>"}),
    ],
)
async def test_own_url_can_choose_fragments(app: Quart, query: str, expected: set[str]) -> None:
    """A stream of one topic carries all its fragments, or those that are asked for."""
    async with open_stream(app, f"/sse/a{query}") as stream:
        await channel_of(app, "a").topic().refresh()
        seen = {
            (await stream.next("message")).data.partition("[data-sse='")[2].partition("'")[0]
            for _ in expected
        }
        rest = await said(stream, app)

    assert {name.join("<>") for name in seen} == expected
    assert rest == []


async def test_own_url_takes_a_page_s_token_for_its_topic_alone() -> None:
    """A token that names another topic is none here, and more than the one topic never comes."""
    app = Quart(__name__)
    app.secret_key = "for tests only"
    sse = SSE(app)
    for name in "ab":
        sse.channel(name, f"/{name}")

    @app.get("/")
    async def page() -> str:
        return await render_template_string(PAGE)

    client = QuartClient(app)
    a, both = await page_url(client, "topic=a"), await page_url(client, "topic=a&topic=b")

    results = [
        await verdict(client, url.replace("/sse?", f"/sse/{name}?"))
        for url in (a, both)
        for name in "ab"
    ]
    async with open_stream(client, both.replace("/sse?", "/sse/a?")) as stream:
        await publish(app, "b 1", "a 1")
        event = await stream.next("said")

    assert results == [("open", 200), ("sse-stop refused", 403), ("open", 200), ("open", 200)]
    assert event.data == "a 1"


# -- more topics than a URL can hold ---------------------------------------------------------------

CELLS = (
    '{% from "quart_sse/macros.html" import sse_connect, sse_fragment %}'
    '{% for row, column in cells %}{{ sse_fragment("cells.mine", row=row, column=column) }}'
    "{% endfor %}{{ sse_connect() }}"
)


def make_cells(*, public: bool) -> tuple[Quart, Channel, list[tuple[uuid.UUID, uuid.UUID]]]:
    """Return an app with a page of as many topics as one may show, with long names."""
    app = Quart(__name__)
    app.secret_key = "for tests only"
    channel = SSE(app).channel("cells", "/cells/<uuid:row>/<uuid:column>", public=public)
    channel.fragment("mine", personal=True)(lambda row, column: f"{row} {column}")
    cells = [(uuid.uuid4(), uuid.uuid4()) for _ in range(128)]

    @app.get("/")
    async def page() -> str:
        return await render_template_string(CELLS, cells=cells)

    return app, channel, cells


@pytest.mark.parametrize("public", [True, False], ids=["public", "signed"])
async def test_page_of_many_topics_is_wholly_live(public: bool) -> None:
    """However long its list of topics is, each is heard, and its fragments can be fetched."""
    app, channel, cells = make_cells(public=public)
    client = QuartClient(app)
    url = await page_url(client, "")
    row, column = cells[-1]

    async with open_stream(client, url) as stream:
        await channel.topic(row=row, column=column).refresh()
        message = BeautifulSoup((await stream.next("message")).data, "html.parser")
    loader = message.find("span")
    assert loader is not None
    answer = await client.get(str(loader["hx-get"]))

    assert len(url) < 7000
    assert answer.status_code == 200
    assert await answer.get_data(as_text=True) == f"{row} {column}"


async def test_page_of_many_topics_without_a_key_says_so_or_is_live() -> None:
    """A public page whose list cannot be made short is an error of the page, or is connected."""
    app, *_ = make_cells(public=True)
    app.secret_key = None
    client = QuartClient(app)

    answer = await client.get("/")
    if answer.status_code == 200:
        (url,) = connect_urls(await answer.get_data(as_text=True))
        result = await verdict(client, url)
    else:
        result = ("open", 200)

    assert result == ("open", 200)
