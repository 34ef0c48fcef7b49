"""Clients that only know the standard stop for good, too, when the server tells them to."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from httpx_sse import SSEError, aconnect_sse
from playwright.async_api import BrowserContext, Route, expect
from quart import Quart, Response, abort, redirect

from quart_sse import SSE, Event
from quart_sse.wire.ending import STOP_MS
from tests.support.servers import Server, serve_pages
from tests.support.streams import SSE_ACCEPT, open_stream

STOPPED = {"Last-Event-ID": "stop"}
#: Of a stream that is refused, of several pages, of one topic alone, and of an app's own.
URLS = ["/sse?t=~x&k=1&since=0", "/sse?t=~news&t=~x&since=0&since=0", "/sse/room", "/ticker"]


@pytest.fixture
def app(app: Quart) -> Quart:
    """An app with a public channel, one that is not, and a stream of its own."""
    sse = SSE(app)
    news = sse.channel("news", "/news", public=True)
    sse.channel("room", "/room")

    @app.get("/ticker")
    async def ticker() -> Response:
        return await sse.stream(news.topic(), initial=[Event("hello", name="welcome")])

    return app


async def test_client_that_is_told_to_stop_is_told_in_the_words_of_the_standard(app: Quart) -> None:
    """The message has an id to return with, and as long a pause as is sensible."""
    async with open_stream(app, "/sse/room") as stream:
        stopped = await stream.next()

    assert (stopped.event, stopped.data) == ("sse-stop", "refused")
    assert (stopped.id, stopped.retry) == ("stop", STOP_MS)
    assert STOP_MS == 3_600_000


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("headers", [SSE_ACCEPT, {}], ids=["stream", "any"])
async def test_client_that_returns_after_it_was_told_to_stop_gets_204(
    app: Quart, url: str, method: str, headers: dict[str, str]
) -> None:
    """Whatever it asks for, and nothing is opened for it."""
    client = app.test_client()
    ask = client.get if method == "GET" else client.head
    answer = await ask(url, headers={**headers, **STOPPED})

    assert answer.status_code == 204
    assert await answer.get_data() == b""
    assert answer.mimetype != "text/event-stream"
    assert answer.headers["Cache-Control"] == "no-store"
    assert not app.extensions["quart_sse"].connections


@pytest.mark.parametrize("last", ["", "Stop", "stop2", "stop,stop", "0", "x.stop"])
async def test_other_ids_are_answered_by_a_stream(app: Quart, last: str) -> None:
    """Only the id of the farewell ends a client."""
    for url in ("/sse/news", "/ticker"):
        async with open_stream(app, url, {"Last-Event-ID": last}) as stream:
            assert stream.status == 200


async def test_nothing_in_front_of_the_endpoint_changes_that(app: Quart) -> None:
    """A login or a limiter answers in the place of a stream: a client that is to stop stops."""
    answers: list[Callable[[], Any]] = [
        lambda: redirect("/login"),
        lambda: abort(429),
        lambda: abort(503),
        lambda: ("", 204),
        lambda: "<p>Please sign in.",
    ]
    app.before_request(lambda: answers[0]())

    while answers:
        for url in URLS[:3]:
            stopped = await app.test_client().get(url, headers={**SSE_ACCEPT, **STOPPED})
            other = await app.test_client().get(url, headers=SSE_ACCEPT)
            assert (stopped.status_code, other.status_code) == (204, 200)
            assert await stopped.get_data() == b""
            assert other.mimetype == "text/event-stream"
        answers.pop(0)


# -- real clients ----------------------------------------------------------------------------------

pytestmark = pytest.mark.timeout(120)

QUICK = {"STOP_MS": "10"}
#: Opens a stream as pages do that have no script of ours, and notes what happens to it.
NATIVE = """(url) => {
    const source = window.source = new EventSource(url);
    window.heard = [];
    source.onerror = () => heard.push(`error ${source.readyState}`);
    for (const type of ["sse-stop", "welcome"]) {
        source.addEventListener(type, ({ data }) => heard.push(`${type} ${data}`));
    }
}"""


@pytest.fixture
async def quick() -> AsyncIterator[Server]:
    """Serve pages whose clients come back after 10 ms, where they come back after an hour."""
    async with serve_pages("browser", 2, QUICK) as server:
        yield server


async def until_streams(server: Server, number: int) -> None:
    """Wait until a server has so many streams."""
    async with asyncio.timeout(20):
        while (await server.get_json("/connections"))["open"] != number:
            pass


@pytest.mark.browser
@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/sse?t=~board%3Fname%3Da&since=0", None),
        ("/sse/board/a", None),
        ("/sse?t=~hall%3Fname%3Da&t=~hall%3Fname%3Db&since=0&since=0", "expired"),
        ("/sse/hall/a", "refused"),
        ("/ticker", "refused"),
    ],
)
async def test_browsers_own_event_source_comes_back_once(
    context: BrowserContext, quick: Server, path: str, reason: str | None
) -> None:
    """It gets sse-stop, reconnects once, gets a 204, and has closed."""
    page = await context.new_page()
    await page.goto(f"http://127.0.0.1:{quick.port}/asked")
    await page.evaluate(NATIVE, path)
    if reason is not None:
        await until_streams(quick, 1)
        await quick.post(f"/stop/{reason}")
    await page.wait_for_function("() => source.readyState === EventSource.CLOSED")

    welcome = ["welcome hello"] if path == "/ticker" else []
    told = [f"sse-stop {reason or 'refused'}", "error 0", "error 2"]
    assert await page.evaluate("heard") == [*welcome, *told]
    bare = path.partition("?")[0]
    assert await quick.get_json("/asked") == [[bare, None], [bare, "stop"]]
    await until_streams(quick, 0)


@pytest.mark.browser
@pytest.mark.parametrize("htmx", [2, 4])
async def test_extensions_of_htmx_do_not_come_back(context: BrowserContext, htmx: int) -> None:
    """They close at sse-stop, and a new page begins without that."""
    closed = ["htmx:sseClose", "htmx:sse:close"]
    await context.add_init_script(
        f"for (const name of {closed}) addEventListener(name, () => {{ window.isClosed = true; }})"
    )
    async with serve_pages("browser", htmx, {**QUICK, "PLAIN": "1"}) as server:
        page = await context.new_page()
        await page.clock.install()
        for times in (1, 2):
            await page.goto(f"http://127.0.0.1:{server.port}/number/a")
            await until_streams(server, 1)
            await server.post("/stop/refused")
            await page.wait_for_function("() => window.isClosed")
            await page.clock.run_for(60_000)
            await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
            # Something that does come back, and whose end is seen.
            await page.evaluate(NATIVE, "/ticker")
            await until_streams(server, 1)
            await server.post("/stop/refused")
            await page.wait_for_function("() => source.readyState === EventSource.CLOSED")

            asked = await server.get_json("/asked")
            assert [each for each in asked if each[0] == "/sse"] == [["/sse", None]] * times


@pytest.mark.browser
async def test_extension_of_htmx_4_tries_a_first_connection_again(context: BrowserContext) -> None:
    """After whatever answer that is no stream, and after none; what is open stays open."""
    answers: list[int | None] = [503, 200, 302, 404, None]
    failures = len(answers)
    await context.add_init_script(
        """
        window.failures = 0;
        for (const name of ["htmx:after:request", "htmx:error"])
            addEventListener(name, () => { window.failures += 1; });
        addEventListener("htmx:sse:after:connection", () => { window.isOpen = true; });
        """
    )

    async def refuse(route: Route) -> None:
        if not answers:
            await route.continue_()
            return
        status = answers.pop(0)
        if status is None:
            await route.abort()
            return
        headers = {"Location": "/asked", "Content-Type": "text/html"}
        await route.fulfill(status=status, headers=headers, body="<h1>Sorry</h1>")

    async with serve_pages("browser", 4, {"PLAIN": "1"}) as server:
        page = await context.new_page()
        await page.clock.install()
        await page.route(re.compile(r"/sse\?t="), refuse)
        await page.goto(f"http://127.0.0.1:{server.port}/number/a")
        # The clock stands while the page waits for an answer, for htmx ends a request after 60 s.
        for count in range(1, failures + 1):
            await page.wait_for_function(f"() => failures === {count}")
            await page.clock.run_for(10_000)
        await page.wait_for_function("() => window.isOpen")
        await page.clock.run_for(60_000)
        await server.post("/raise/a")

        await expect(page.locator("#a")).to_have_text("a is 1")
        assert answers == []
        assert await page.get_by_text("Sorry").count() == 0
        asked = await server.get_json("/asked")
        assert [each for each in asked if each[0] == "/sse"] == [["/sse", None]]


@pytest.mark.servers
async def test_python_client_comes_back_once(quick: Server) -> None:
    """One that reconnects as the standard says meets something that is no event stream."""
    last, heard = "", []
    url = f"http://127.0.0.1:{quick.port}/sse/board/a"
    async with httpx.AsyncClient() as client:

        async def listen() -> float:
            nonlocal last
            headers = {"Last-Event-ID": last} if last else {}
            pause = 0.0
            async with aconnect_sse(client, "GET", url, headers=headers) as source:
                async for event in source.aiter_sse():
                    heard.append((event.event, event.data))
                    last, pause = event.id, (event.retry or 0) / 1000
            return pause

        await asyncio.sleep(await listen())
        with pytest.raises(SSEError):
            await listen()

    assert heard == [("sse-stop", "refused")]
    assert await quick.get_json("/asked") == [["/sse/board/a", None], ["/sse/board/a", "stop"]]
