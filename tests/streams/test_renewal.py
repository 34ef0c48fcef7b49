"""Pages that stay open get new tokens in time."""

import time
from urllib.parse import parse_qs, urlsplit

import pytest
from bs4 import BeautifulSoup, Tag
from quart import Quart, render_template_string, request
from quart.testing import QuartClient

from quart_sse import Topic
from tests.support.streams import connect_urls, open_stream
from tests.support.topic import make_app

DAY = 86_400.0


def add_page(app: Quart, topic: Topic) -> None:
    """Give an app a page that shows a fragment of a topic that is not public."""
    topic.channel.fragment("list")(lambda: "list")

    @app.get("/")
    async def page() -> str:
        return await render_template_string(
            '{% from "quart_sse/macros.html" import sse_live %}{{ sse_live("inner.list") }}'
        )


async def get_page(client: QuartClient, monkeypatch: pytest.MonkeyPatch, age: float) -> str:
    """Return a page as it was made some seconds ago."""
    then = time.time() - age
    with monkeypatch.context() as past:
        past.setattr(time, "time", lambda: then)
        answer = await client.get("/")
    return await answer.get_data(as_text=True)


@pytest.mark.parametrize("number", [2, 4])
async def test_page_gets_another_token_before_its_own_expires(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """At 80 % of a token's lifetime a new connect element replaces the old one, and resumes."""
    app, sse = make_app(QUART_SSE_HTMX=number, QUART_SSE_PROBE=0.1)
    inner = sse.channel("inner", "/inner").topic()
    sse.identity(lambda: request.cookies.get("who"))
    add_page(app, inner)
    ada, bob = QuartClient(app), QuartClient(app)
    ada.set_cookie("localhost", "who", "ada")
    old = await get_page(ada, monkeypatch, 0.9 * DAY)
    old_id = old.partition('id="')[2].partition('"')[0]

    async with open_stream(ada, connect_urls(old)[0]) as stream:
        await inner.publish("said", "before")
        event = await stream.next("inner.said")
        renewal = await stream.next("message")
    await inner.publish("said", "after")
    partial = BeautifulSoup(renewal.data, "html.parser").find("hx-partial")
    assert isinstance(partial, Tag)
    (url,) = connect_urls(renewal.data)
    async with open_stream(ada, url) as stream:
        first = await stream.next()
        resumed = await stream.next()
    async with open_stream(bob, url) as stream:
        refused = await stream.next()

    assert event.data == "before"
    assert partial["hx-target"] == f"#{old_id}"
    assert partial["hx-swap"] == "outerHTML"
    (element,) = partial.find_all(recursive=False)
    assert isinstance(element, Tag)
    assert element["id"] != old_id
    assert url.partition("&")[0] != connect_urls(old)[0].partition("&")[0]
    assert [first.event, resumed.data, refused.event] == ["sse-open", "after", "sse-stop"]


async def test_each_token_of_a_shared_stream_is_renewed_for_whom_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The token of an anonymous page stays good for every client, even after users sign in."""
    app, sse = make_app(QUART_SSE_PROBE=0.1)
    sse.identity(lambda: request.cookies.get("who"))
    add_page(app, sse.channel("inner", "/inner").topic())
    client = QuartClient(app)
    (anonymous,) = connect_urls(await get_page(client, monkeypatch, 0.9 * DAY))
    client.set_cookie("localhost", "who", "ada")
    (adas,) = connect_urls(await get_page(client, monkeypatch, 0.5 * DAY))

    async with open_stream(client, f"{anonymous}&{adas.partition('?')[2]}") as stream:
        renewals = [await stream.next("message") for _ in range(2)]
    urls = [connect_urls(renewal.data)[0] for renewal in renewals]
    answers = []
    for url in urls:
        async with open_stream(QuartClient(app), url) as stream:
            answers.append((await stream.next()).event)

    assert answers == ["sse-open", "sse-stop"]
    keys = [parse_qs(urlsplit(url).query)["k"] for url in (anonymous, adas, *urls)]
    assert keys[:2] == keys[2:]
    assert keys[0] != keys[1]


async def test_renewed_token_comes_with_a_position_of_its_own_topics(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It lists only what was granted, so the bits of older positions are of other topics."""
    app, sse = make_app(QUART_SSE_PROBE=0.1)
    rooms = sse.channel("rooms", "/rooms/<int:n>")
    rooms.authorize(lambda n: n != 1)

    @app.get("/")
    async def page() -> str:
        topics = [rooms.topic(n=n) for n in (1, 2, 3)]
        return await render_template_string(
            '{% from "quart_sse/macros.html" import sse_connect %}{{ sse_connect(topics) }}',
            topics=topics,
        )

    client = QuartClient(app)
    (url,) = connect_urls(await get_page(client, monkeypatch, 0.79 * DAY))
    async with open_stream(client, url) as stream:
        (handle,) = sse.connections
        await stream.next("sse-open")
        await handle.unsubscribe(rooms.topic(n=3))
        await rooms.topic(n=3).publish("said", "missed")
        await rooms.topic(n=2).publish("said", "read")
        await stream.next("rooms.said?n=2")
        (connection,) = app.extensions["quart_sse"].connections
        connection.renew_at = 0.0
        renewal = await stream.next("message")
    (renewed,) = connect_urls(renewal.data)
    # Another page's connection, which has all topics of the token again.
    async with open_stream(client, renewed) as stream:
        await rooms.topic(n=2).publish("said", "next")
        events: list[tuple[str, str]] = []
        while not events or events[-1][1] != "next":
            event = await stream.next()
            events.append((event.event, event.data))

    assert parse_qs(urlsplit(renewed).query)["since"][0].endswith("@1")
    assert [event for event, _ in events[1:]] == ["sse-reset", "rooms.said?n=2"]
    assert "n=3" in events[1][1]
    assert "n=2" not in events[1][1]


@pytest.mark.parametrize(
    ("age", "url"),
    [(0.7, "{url}"), (0.9, "{own}"), (0.7, "{url}&t=~news"), (0.0, "/sse?t=~news")],
    ids=["fresh", "own URL", "several tokens", "unsigned"],
)
async def test_leaf_is_replaced_only_where_it_must(
    monkeypatch: pytest.MonkeyPatch, age: float, url: str
) -> None:
    """A token that is young, of a channel's own URL, or none, is left alone."""
    app, sse = make_app(QUART_SSE_PROBE=0.1, QUART_SSE_HEARTBEAT=0.1)
    sse.channel("news", "/news", public=True)
    inner = sse.channel("inner", "/inner").topic()
    add_page(app, inner)
    (signed,) = connect_urls(await get_page(QuartClient(app), monkeypatch, age * DAY))

    async with open_stream(
        app, url.format(url=signed, own=signed.replace("/sse?", "/sse/inner?"))
    ) as stream:
        for _ in range(2):  # heartbeats, so the sweeper has looked
            before = stream.last_id
            while stream.last_id == before:
                await stream._read()
        await sse.close_all()
        events = await stream.rest()

    assert "outerHTML" not in "".join(event.data for event in events)
