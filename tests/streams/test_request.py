"""A request for a stream: what it may ask for, and by which URL."""

import asyncio
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quart import Quart, render_template_string
from quart.testing import QuartClient

from quart_sse import SSE
from tests.support.connecting import PAGE, channel_of, make_app, page_url, publish, said, verdict
from tests.support.streams import open_stream
from tests.support.topic import make_topic

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


@pytest.fixture
def app() -> Quart:
    """An app with the default settings."""
    return make_app()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("/sse", ("sse-stop no-token", 400)),
        ("/sse?", ("sse-stop no-token", 400)),
        ("/sse?since=0", ("sse-stop no-token", 400)),
        ("/sse?" + "&".join(["t=~a"] * 16), ("open", 200)),
        ("/sse?" + "&".join(["t=~a"] * 17), ("sse-stop too-long", 400)),
        ("/sse?t=~a&x=" + "x" * 6000, ("open", 200)),
        ("/sse?t=~a&x=" + "x" * 7168, ("sse-stop too-long", 400)),
        ("/sse/a?x=" + "x" * 7168, ("sse-stop too-long", 400)),
        ("/sse/a?t=~a&t=~a", ("sse-stop too-long", 400)),
        ("/sse?t=~" + "+".join(f"x{n}" for n in range(15)) + "+a", ("open", 200)),
        ("/sse?t=~" + "+".join(f"x{n}" for n in range(16)) + "+a", ("sse-stop too-long", 400)),
        ("/sse?t=~a+x+y&t=~a+" + "+".join(f"x{n}" for n in range(13)), ("open", 200)),
        (
            "/sse?t=~a+x+y&t=~a+" + "+".join(f"x{n}" for n in range(14)),
            ("sse-stop too-long", 400),
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
        "16 topics",
        "17 topics",
        "16 topics in two tokens",
        "17 topics in two tokens",
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
        ("QUART_SSE_MAX_UNSIGNED_TOPICS", 1, "/sse?t=~a&t=~b"),
    ],
)
async def test_caps_are_settings(key: str, value: int, url: str) -> None:
    """Each bound of a URL can be set."""
    client = QuartClient(make_app(**{key: value}))

    assert await verdict(client, url) == ("sse-stop too-long", 400)


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


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("", None),
        ("abcdef12.1795302000123-0", "abcdef12.1795302000123-0"),
        ("x" * 512, "x" * 512),
        ("x" * 513, None),
        ("\u00ff" * 12_000, None),
    ],
    ids=["none", "position", "longest", "longer", "far longer"],
)
@pytest.mark.parametrize("way", ["header", "query"])
async def test_id_that_a_connection_keeps_is_short(way: str, sent: str, kept: str | None) -> None:
    """A client may send any text; what no position of ours can be is not kept."""
    app, topic = make_topic(QUART_SSE_MAX_QUERY=100_000)
    headers = {"Last-Event-ID": sent} if sent and way == "header" else {}
    query = f"?lastEventId={quote(sent)}" if sent and way == "query" else ""
    async with open_stream(app, f"/sse/news{query}", headers) as stream:
        await stream.next("sse-open")
        (handle,) = app.extensions["quart_sse"].registry
        await topic.publish("said", "x")

        assert handle.last_event_id == kept
        assert (await stream.next("said")).data == "x"
