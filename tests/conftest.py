"""Fixtures that several test files use."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from functools import partialmethod
from pathlib import Path

import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright
from quart import Quart, request

from quart_sse import SSE
from quart_sse.channels.channel import Channel
from tests.support.browsers import serve_forum, without_errors
from tests.support.pages import add_page
from tests.support.redis_server import RedisServer, running_redis
from tests.support.servers import Server
from tests.support.shared_browser import SharedBrowser
from tests.support.sites import Site, serving


@pytest.fixture
def app() -> Quart:
    """An app that can sign."""
    app = Quart(__name__)
    app.secret_key = "for tests only"
    return app


@pytest.fixture
def sse(app: Quart) -> SSE:
    """The extension, initialised for ``app``."""
    return SSE(app)


@pytest.fixture(params=[2, 4], ids=["htmx2", "htmx4"])
async def forum(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Server]:
    """The example, served by its own command."""
    async with serve_forum(request.param, tmp_path) as server:
        yield server


@pytest.fixture
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    """Return a user's browser; its pages log no error."""
    async with without_errors(browser) as context:
        yield context


@pytest.fixture(scope="session")
def shared_browser() -> Iterator[SharedBrowser]:
    """Debian's Chromium, or with ``BROWSER=firefox`` its Firefox, started when first asked for."""
    with SharedBrowser(os.environ.get("BROWSER", "chromium")) as browser:
        yield browser


@pytest.fixture
async def browser(
    shared_browser: SharedBrowser, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Browser]:
    """That browser; contexts are closed after the test."""
    # By default it looks at each frame, and Firefox draws none of tabs that are behind others.
    by_the_clock = partialmethod(Page.wait_for_function, polling=50)
    monkeypatch.setattr(Page, "wait_for_function", by_the_clock)
    async with async_playwright() as playwright:
        launcher = getattr(playwright, shared_browser.browser)
        yield await launcher.connect(shared_browser.address())


@pytest.fixture
def rooms(app: Quart, sse: SSE) -> Channel:
    """A channel that is not public, with a personal fragment, and a page that shows it."""

    @sse.identity
    async def who() -> str | None:
        return request.cookies.get("who")

    rooms = sse.channel("rooms", "/rooms/<int:room>")

    @rooms.fragment("mine", personal=True)
    async def mine(room: int) -> str:
        return f"<b>{request.cookies.get('who')} in {room}</b>"

    add_page(app, '{{ sse_fragment("rooms.mine", room=7) }}{{ sse_connect() }}')
    return rooms


@pytest.fixture
def news(sse: SSE) -> str:
    """The URL of a public topic, in an app that knows who is who by a cookie."""

    @sse.identity
    async def who() -> str | None:
        return request.cookies.get("who")

    sse.channel("news", "/news", public=True)
    sse.channel("rooms", "/rooms/<int:room>", public=True)
    return "/sse/news"


@pytest.fixture
def board(sse: SSE) -> Channel:
    """A public channel of one topic."""
    return sse.channel("board", "/board", public=True)


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncIterator[RedisServer]:
    """A Redis that keeps nothing on disk."""
    async with running_redis(tmp_path) as server:
        yield server


@pytest.fixture(params=["memory", "redis"])
async def site(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Site]:
    """A site of one process, with a broker of each kind."""
    async with AsyncExitStack() as stack:
        url = "memory://"
        if request.param == "redis":
            url = (await stack.enter_async_context(running_redis(tmp_path))).url
        site = Site(url)
        await stack.enter_async_context(serving(site))
        yield site


@pytest.fixture
async def sites(redis: RedisServer) -> AsyncIterator[tuple[Site, Site]]:
    """A site of two processes that share a Redis."""
    sites = Site(redis.url), Site(redis.url)
    async with serving(*sites):
        yield sites
