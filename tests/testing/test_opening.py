"""How live pages are opened and left: clients, loops, apps that are served and apps that stop."""

import asyncio
import re
import time

import pytest
from quart import Quart
from quart.testing import QuartClient

from quart_sse import SSE, LivePageError, SetupError
from quart_sse.testing import live
from tests.apps.tested import make_app

PAGE = "/discussion/7"


async def add(client: QuartClient, text: str, number: int = 7, **options: object) -> None:
    """Write a comment."""
    answer = await client.post(f"/discussion/{number}", form={"text": text}, **options)
    assert answer.status_code == 204


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/nowhere", "/nowhere is no page: it was answered 404 as text/html"),
        ("/away", "answered 302 and leads to /sign-in; is the client signed in"),
        ("/json", "answered 200 as application/json"),
        ("/dead", "/dead has no connect element, so it is not live"),
    ],
)
async def test_what_is_no_live_page_is_an_error(
    client: QuartClient, path: str, message: str
) -> None:
    """The error names the status, and what to do."""
    with pytest.raises(LivePageError, match=re.escape(message)):
        async with live(client, path):
            pass


async def test_app_without_the_extension_is_an_error() -> None:
    """As everywhere."""
    with pytest.raises(SetupError, match="not initialised"):
        async with live(Quart(__name__), "/"):
            pass


async def test_refused_page_is_closed_from_the_start(client: QuartClient) -> None:
    """It is no error, for that may be what is tested."""
    async with live(client, "/refused") as page:
        assert page.closed == "refused"


async def test_end_of_the_block_ends_the_connection(client: QuartClient, sse: SSE) -> None:
    """The app has noticed it when the block is over, and hooks have run soon after."""
    async with live(client, "/apart") as watching:
        async with live(client, PAGE) as page:
            assert len(sse.connections) == 2
        assert len(sse.connections) == 1
        assert page.closed == "left"

        assert await watching.event("clock.left") is None


async def test_error_in_the_block_is_the_one_that_is_raised(client: QuartClient, sse: SSE) -> None:
    """And the page is left all the same."""
    with pytest.raises(ZeroDivisionError):
        async with live(client, PAGE):
            _ = 1 / 0

    assert len(sse.connections) == 0


async def test_app_that_stops_ends_the_page(app: Quart) -> None:
    """It does not come back, which would start the app again."""
    async with app.test_app() as served:
        async with live(served, PAGE) as page:
            pass
        assert page.closed == "left"
    client = app.test_client()
    async with app.test_app():
        page_of = live(client, PAGE)
        page = await page_of.__aenter__()
    assert page.closed == "shutdown"
    await page_of.__aexit__(None, None, None)


async def test_endless_background_task_does_not_hold_up_the_end(app: Quart) -> None:
    """Quart waits five seconds for the app's background tasks; a value of the app's own stays."""
    key = "BACKGROUND_TASK_SHUTDOWN_TIMEOUT"

    @app.before_serving
    async def begin() -> None:
        app.add_background_task(asyncio.Event().wait)

    began = time.monotonic()
    async with app.test_app() as served, live(served, PAGE):
        pass
    assert time.monotonic() - began < 4.5

    own, _ = make_app(**{key: 3})
    async with live(own, PAGE):
        assert own.config[key] == 3


async def test_each_loop_serves_the_same_app(app: Quart) -> None:
    """As with a loop for each test; nothing of one is left in the next."""
    client = QuartClient(app)

    async def test(text: str) -> None:
        async with live(client, PAGE) as page:
            await add(client, text)
            assert text in await page.fragment("comments.list")

    for text in ("one", "two", "three"):
        await asyncio.to_thread(asyncio.run, test(text))


@pytest.mark.parametrize("htmx", [2, 4])
async def test_elements_of_both_versions_of_htmx(htmx: int) -> None:
    """Several connect elements of a page share one stream, as in a browser."""
    app, sse = make_app(QUART_SSE_HTMX=htmx)
    client = QuartClient(app)
    async with live(client, "/apart") as page:
        assert len(sse.connections) == 1
        await add(client, "both", 1)
        await sse.topic("clock").push("now", "one")

        assert "both" in await page.fragment("comments.list")
        assert await page.fragment("clock.now") == "one"


async def test_pages_below_a_root_path(sse: SSE, app: Quart) -> None:
    """The options are for all requests of the page."""
    client = QuartClient(app)
    async with live(client, "/app/discussion/7", root_path="/app") as page:
        await add(client, "below")

        assert "below" in await page.fragment("comments.list")
        assert (await page.fragment("comments.mine")) == "None: 1"
