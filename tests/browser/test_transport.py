"""Live pages over what lies between: HTTP/2 with TLS, and an nginx that nothing was told."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme
from playwright.async_api import Browser, BrowserContext, Page, expect

from tests.support.browsers import OPEN, TABS, count, without_errors
from tests.support.nginx import Nginx, in_front_of
from tests.support.servers import PAUSE, Server, free_port, serve

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

#: Of twenty tabs, which show a or b by turns.
PATHS = [f"/number/{'ab'[i % 2]}" for i in range(TABS)]
STATE = "state => document.documentElement.dataset.sseState === state"
#: Notes each state of the page from now on.
NOTE_STATES = """() => {
    const root = document.documentElement;
    window.states = [root.dataset.sseState];
    const note = () => {
        if (states.at(-1) !== root.dataset.sseState) states.push(root.dataset.sseState);
    };
    new MutationObserver(note).observe(root, {attributeFilter: ["data-sse-state"]});
}"""
#: Notes each event of one topic from now on.
NOTE_EVENTS = """() => {
    window.got = [];
    QuartSSE.on("board", "raised", {name: "a"}, (number) => got.push(number));
}"""
#: The protocol by which the page itself came.
PROTOCOL = "() => performance.getEntriesByType('navigation')[0].nextHopProtocol"
#: The environment of pages without our script.
PLAIN = {"PLAIN": "1"}

both = pytest.mark.parametrize("htmx", [2, 4], ids=["htmx2", "htmx4"])


@pytest.fixture
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    """Return a browser of somebody who trusts any certificate; its pages log no error."""
    async with without_errors(browser, ignore_https_errors=True) as context:
        yield context


async def until(is_so: Callable[[], bool]) -> None:
    """Wait until something is so that another process does."""
    async with asyncio.timeout(30):
        while not is_so():  # noqa: ASYNC110 - it is another process
            await asyncio.sleep(PAUSE)


async def until_count(server: Server, number: int) -> None:
    """Wait until the server has so many streams open."""
    async with asyncio.timeout(30):
        while await count(server) != number:  # noqa: ASYNC110 - it is another process
            await asyncio.sleep(PAUSE)


async def visit(context: BrowserContext, origin: str, path: str) -> Page:
    """Open a tab and wait until it is connected."""
    page = await context.new_page()
    await page.goto(origin + path)
    await page.wait_for_function(OPEN)
    return page


async def visit_many(context: BrowserContext, origin: str) -> list[Page]:
    """Open twenty tabs at once, and wait until all are connected."""
    return await asyncio.gather(*(visit(context, origin, path) for path in PATHS))


async def expect_all_live(server: Server, tabs: Sequence[Page]) -> None:
    """See that each of twenty tabs is told of one change."""
    await server.post("/raise/a")
    await server.post("/raise/b")
    for tab, path in zip(tabs, PATHS, strict=True):
        name = path[-1]
        await expect(tab.locator(f"#{name}")).to_have_text(f"{name} is 1")


# -- HTTP/2 ----------------------------------------------------------------------------------------


@asynccontextmanager
async def serve_http2(
    htmx: int, folder: Path, environ: Mapping[str, str] | None = None
) -> AsyncIterator[tuple[Server, str]]:
    """Serve pages over TLS by a Hypercorn that logs which HTTP it was asked by.

    Gives the server, which the test asks over another port without TLS, and the pages' origin.
    """
    issued = trustme.CA().issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(str(folder / "server.key"))
    issued.cert_chain_pems[0].write_to_path(str(folder / "server.crt"))
    secure = f"127.0.0.1:{free_port()}"
    command = [
        *("-m", "hypercorn", "tests.apps.browser:app", "--bind", secure),
        *("--certfile", str(folder / "server.crt"), "--keyfile", str(folder / "server.key")),
        *("--access-logfile", "-", "--access-logformat", "HTTP/%(H)s %(U)s"),
    ]
    async with serve(
        lambda port: [*command, "--insecure-bind", f"127.0.0.1:{port}"],
        {"QUART_SSE_HTMX": str(htmx), **(environ or {})},
    ) as server:
        yield server, f"https://{secure}"


@both
async def test_tabs_over_http2_share_one_stream(
    context: BrowserContext, tmp_path: Path, htmx: int
) -> None:
    """Twenty tabs over HTTP/2 with TLS all load, are all live, and take one stream."""
    async with serve_http2(htmx, tmp_path) as (server, origin):
        tabs = await visit_many(context, origin)
        assert [await tab.evaluate(PROTOCOL) for tab in tabs] == ["h2"] * TABS
        await until_count(server, 1)

        await expect_all_live(server, tabs)
        await until_count(server, 1)

        await asyncio.gather(*(tab.close() for tab in tabs))
        await until_count(server, 0)
        await until(lambda: "HTTP/2 /sse\n" in server.output)
        assert "HTTP/1.1 /sse\n" not in server.output


async def test_tabs_over_http2_need_not_share(context: BrowserContext, tmp_path: Path) -> None:
    """Without our script twenty tabs over HTTP/2 load and are live, each with its own stream."""
    async with serve_http2(2, tmp_path, PLAIN) as (server, origin):
        tabs = [await context.new_page() for _ in range(TABS)]
        urls = [f"{origin}{path}" for path in PATHS]
        await asyncio.gather(*(tab.goto(url) for tab, url in zip(tabs, urls, strict=True)))
        assert [await tab.evaluate(PROTOCOL) for tab in tabs] == ["h2"] * TABS
        await until_count(server, TABS)

        await expect_all_live(server, tabs)


# -- nginx -----------------------------------------------------------------------------------------


@asynccontextmanager
async def serve_app(
    htmx: int, environ: Mapping[str, str] | None = None, port: int | None = None
) -> AsyncIterator[Server]:
    """Serve pages for nginx to be put in front of.

    By Hypercorn: nginx passes on what Uvicorn sends even without the header that asks for it.
    """
    command = ["-m", "hypercorn", "tests.apps.browser:app", "--bind"]
    environ = {"QUART_SSE_HTMX": str(htmx), **(environ or {})}
    async with serve(lambda free: [*command, f"127.0.0.1:{free}"], environ, port=port) as server:
        yield server


@asynccontextmanager
async def behind_nginx(
    htmx: int, folder: Path, *settings: str, environ: Mapping[str, str] | None = None
) -> AsyncIterator[tuple[Server, Nginx]]:
    """Serve pages through an nginx that is told where they are, and nothing else."""
    async with (
        serve_app(htmx, environ) as server,
        in_front_of(server.port, folder, *settings) as nginx,
    ):
        yield server, nginx


def origin_of(nginx: Nginx) -> str:
    """Return what the URLs of its pages begin with."""
    return f"http://127.0.0.1:{nginx.port}"


async def until_cut(nginx: Nginx) -> None:
    """Wait until nginx has brought one more stream to its end."""
    before = len(nginx.answered("/sse"))
    await until(lambda: len(nginx.answered("/sse")) > before)


@pytest.mark.parametrize(
    ("htmx", "environ"), [(2, {}), (4, {}), (4, PLAIN)], ids=["htmx2", "htmx4", "htmx4-plain"]
)
async def test_nginx_holds_nothing_back(
    context: BrowserContext, tmp_path: Path, htmx: int, environ: dict[str, str]
) -> None:
    """Though nginx buffers answers, a page is shown what happens while its stream goes on."""
    async with behind_nginx(htmx, tmp_path, environ=environ) as (server, nginx):
        page = await context.new_page()
        await page.goto(f"{origin_of(nginx)}/number/a")
        await until_count(server, 1)

        for number in (1, 2):
            await server.post("/raise/a")
            await expect(page.locator("#a")).to_have_text(f"a is {number}")
        assert nginx.answered("/sse") == []


async def test_tabs_through_nginx_share_one_stream(context: BrowserContext, tmp_path: Path) -> None:
    """Twenty tabs through nginx all load, are all live, and take one stream of the server."""
    async with behind_nginx(2, tmp_path) as (server, nginx):
        tabs = await visit_many(context, origin_of(nginx))
        await until_count(server, 1)

        await expect_all_live(server, tabs)
        await until_count(server, 1)

        await asyncio.gather(*(tab.close() for tab in tabs))
        await until_count(server, 0)


@both
async def test_page_heals_after_nginx_had_no_server(
    context: BrowserContext, tmp_path: Path, htmx: int
) -> None:
    """While the app is away nginx answers 502 with a page of its own; later the page is current."""
    async with behind_nginx(htmx, tmp_path) as (first, nginx):
        page = await visit(context, origin_of(nginx), "/number/a")
        await page.evaluate(NOTE_STATES)
        await first.stop(signal.SIGKILL, to_all=True)
        await page.wait_for_function(STATE, arg="retry")
        await until(lambda: "502 text/html" in nginx.answered("/sse"))

        async with serve_app(htmx, port=first.port) as second:
            await second.post("/raise/a")
            await page.wait_for_function(STATE, arg="open")
            await expect(page.locator("#a")).to_have_text("a is 1")
            await second.post("/raise/a")
            await expect(page.locator("#a")).to_have_text("a is 2")
            assert await page.evaluate("states") == ["open", "retry", "open"]


async def test_page_heals_after_nginx_was_restarted(
    context: BrowserContext, tmp_path: Path
) -> None:
    """A page is told once each what was published before, while and after nginx was away."""
    async with behind_nginx(4, tmp_path) as (server, nginx):
        page = await visit(context, origin_of(nginx), "/number/a")
        await page.evaluate(NOTE_STATES)
        await page.evaluate(NOTE_EVENTS)
        await server.post("/raise/a")
        await page.wait_for_function("() => got.length === 1")

        await nginx.stop()
        await page.wait_for_function(STATE, arg="retry")
        await server.post("/raise/a")
        await nginx.start()
        await page.wait_for_function(STATE, arg="open")
        await server.post("/raise/a")

        await expect(page.locator("#a")).to_have_text("a is 3")
        await page.wait_for_function("() => got.includes(3)")
        assert await page.evaluate("got") == [1, 2, 3]
        assert await page.evaluate("states") == ["open", "retry", "open"]


async def test_heartbeat_keeps_an_idle_stream_open(context: BrowserContext, tmp_path: Path) -> None:
    """An nginx that gives up whoever is silent for a while never gives up an idle stream."""
    settings, environ = "proxy_read_timeout 2s", {"QUART_SSE_HEARTBEAT": "0.5"}
    async with behind_nginx(2, tmp_path, settings, environ=environ) as (server, nginx):
        page = await visit(context, origin_of(nginx), "/number/a")
        await page.evaluate(NOTE_STATES)

        # Begun after the stream, and given up: the stream would have been before.
        answer = await context.request.get(f"{origin_of(nginx)}/silent")
        assert answer.status == 504
        assert nginx.answered("/sse") == []
        await server.post("/raise/a")
        await expect(page.locator("#a")).to_have_text("a is 1")
        assert await page.evaluate("states") == ["open"]


async def test_stream_that_nginx_gives_up_loses_nothing(
    context: BrowserContext, tmp_path: Path
) -> None:
    """Where heartbeats are too rare for nginx, a page comes back to where it was, each time."""
    settings, environ = "proxy_read_timeout 1s", {"QUART_SSE_HEARTBEAT": "15"}
    async with behind_nginx(2, tmp_path, settings, environ=environ) as (server, nginx):
        page = await visit(context, origin_of(nginx), "/number/a")
        await page.evaluate(NOTE_EVENTS)

        for number in (1, 3):
            await server.post("/raise/a")
            await page.wait_for_function("number => got.includes(number)", arg=number)
            await until_cut(nginx)
            await until_count(server, 0)
            await server.post("/raise/a")
            await page.wait_for_function("number => got.includes(number)", arg=number + 1)

        assert await page.evaluate("got") == [1, 2, 3, 4]
        await expect(page.locator("#a")).to_have_text("a is 4")
