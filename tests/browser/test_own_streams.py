"""Streams of their own in real pages: with htmx 2, htmx 4 and none, and a policy that is strict."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from playwright.async_api import Browser, Page, Route, expect

from tests.support.browsers import go_back, visit
from tests.support.proxy import proxy_to
from tests.support.servers import Server, serve_pages, until_so

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]


@asynccontextmanager
async def serving(kind: str, port: int | None = None, **environ: str) -> AsyncIterator[Server]:
    """Serve the pages of ``tests.apps.sources``."""
    async with serve_pages("sources", 4 if kind == "htmx4" else 2, environ, port) as server:
        yield server


@pytest.fixture(params=["htmx2", "htmx4", "plain"])
def kind(request: pytest.FixtureRequest) -> str:
    """Which htmx the page has."""
    return str(request.param)


def path(kind: str, of: str, **query: Any) -> str:
    """Return the path of a page with a stream."""
    pairs = [*query.items(), *([("plain", 1)] if kind == "plain" else [])]
    return f"/page/{of}?" + "&".join(f"{name}={value}" for name, value in pairs)


async def until_state(server: Server, is_so: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """Wait until the app says something of its sources, and return all that it says."""
    found: list[dict[str, Any]] = []

    async def look() -> bool:
        found.append(await server.get_json("/state"))
        return bool(is_so(found[-1]))

    await until_so(look)
    return found[-1]


async def until_stopped(page: Page) -> None:
    """Wait until the page's stream has ended for good."""
    # In a page that Firefox has kept, Playwright's locators wait for a load that does not come.
    await page.wait_for_function(
        "() => document.querySelector('#own').dataset.sseState === 'stopped'"
    )


async def got(page: Page) -> list[list[Any]]:
    """Return the events that the page was sent, with their data."""
    found: list[list[Any]] = await page.evaluate("got")
    return found


async def test_page_is_sent_what_the_source_sends(browser: Browser, kind: str) -> None:
    """Events for scripts, HTML for ``sse-swap``, triggers of htmx; and the end, once."""
    async with serving(kind) as server:
        async with visit(browser, server, path(kind, "job/ten"), "() => true") as page:
            await until_stopped(page)

            steps = [data["step"] for name, data in await got(page) if name == "sse:progress"]
            assert sorted({*steps}) == [*range(10)]
            await expect(page.locator("#bar")).to_have_text("line 9")
            assert await page.locator("#tail li").all_text_contents() == [
                f"line {number}" for number in range(10)
            ]
            assert ["sse-stop", "done"] in await got(page)
            if kind != "plain":
                await expect(page.locator("#done")).to_have_text("done")
                await expect(page.locator("#inner")).to_have_text("done")
        state = await server.get_json("/state")

    assert state["begun"] == {"ten": 1}


async def test_stream_waits_until_the_page_listens(browser: Browser, kind: str) -> None:
    """A job that is soon done says so to htmx, which begins when the last script has come."""
    async with serving(kind) as server:
        page = await browser.new_page()

        async def hold(route: Route) -> None:
            await expect(page.locator("#own")).to_have_attribute("data-sse-state", "connecting")
            for _ in range(100):  # which take much longer than the job
                state = await server.get_json("/state")
                assert state["begun"] == {}
            await route.continue_()

        await page.route("**/late.js", hold)
        await page.goto(f"http://127.0.0.1:{server.port}{path(kind, 'job/ten')}")
        await until_stopped(page)
        if kind != "plain":
            await expect(page.locator("#done")).to_have_text("done")
        assert ["sse-stop", "done"] in await got(page)
        await page.close()


async def test_error_of_the_source_ends_the_stream(browser: Browser, kind: str) -> None:
    """The page learns that there was one, and nothing of what it says."""
    async with serving(kind) as server:
        async with visit(browser, server, path(kind, "job/ten", fails=2), "() => true") as page:
            await until_stopped(page)
            ends = [each for each in await got(page) if each[0] in ("sse-error", "sse-stop")]
        state = await server.get_json("/state")

    assert ends == [["sse-error", "failed"], ["sse-stop", "failed"]]
    assert state["begun"] == {"ten": 1}


@pytest.mark.parametrize("way", ["away", "removed", "boosted", "closed"])
async def test_page_that_is_left_cancels_the_source(browser: Browser, kind: str, way: str) -> None:
    """By whichever way it is left; the source cleans up."""
    async with (
        serving(kind) as server,
        visit(browser, server, path(kind, "ticks/async"), "() => true") as page,
    ):
        await expect(page.locator("#own")).to_have_attribute("data-sse-state", "open")
        if way == "away":
            await page.goto(f"http://127.0.0.1:{server.port}/empty")
        elif way == "removed":
            await page.evaluate("document.getElementById('own').remove()")
        elif way == "boosted":
            await page.locator("#away").click()
            await expect(page.locator("#empty")).to_have_text("nothing")
        else:
            await page.close()
        state = await until_state(server, lambda state: state["ended"])

    assert state["open"] == 0
    assert state["begun"] == state["ended"] == {"async": 1}


@pytest.mark.parametrize("is_over", [True, False])
async def test_going_back_begins_no_job_again(browser: Browser, kind: str, is_over: bool) -> None:
    """Out of a cache of pages, or loaded once more; whether the job had ended or was left."""
    query = {} if is_over else {"wait": 3}
    async with serving(kind) as server:
        async with visit(browser, server, path(kind, "job/ten", **query), "() => true") as page:
            url = page.url
            if is_over:
                await until_stopped(page)
            else:
                await expect(page.locator("#bar")).to_have_text("line 2")
            await page.goto(f"http://127.0.0.1:{server.port}/empty")
            await until_state(server, lambda state: state["ended"] == {"ten": 1})
            await go_back(page, url)
            if is_over:
                await until_stopped(page)
        state = await server.get_json("/state")

    # A job that was cancelled is begun again by a page that is loaded again, and only then.
    assert state["begun"]["ten"] <= (1 if is_over else 2)


async def test_going_back_by_htmx_begins_no_job_again(browser: Browser) -> None:
    """Out of the snapshots of htmx 2, whose elements say what became of their streams."""
    async with serving("htmx2") as server:
        async with visit(browser, server, path("htmx2", "job/ten"), "() => true") as page:
            await until_stopped(page)
            await page.locator("#away").click()
            await expect(page.locator("#empty")).to_have_text("nothing")
            await page.go_back()
            await expect(page.locator("#own")).to_be_attached()
            await until_stopped(page)
        state = await server.get_json("/state")

    assert state["begun"] == {"ten": 1}


async def test_reload_begins_again(browser: Browser, kind: str) -> None:
    """It is what the user wants."""
    async with serving(kind) as server:
        async with visit(browser, server, path(kind, "job/ten"), "() => true") as page:
            await until_stopped(page)
            await page.reload()
            await until_stopped(page)
        state = await server.get_json("/state")

    assert state["begun"] == {"ten": 2}


async def test_cut_stream_is_not_begun_again(browser: Browser, kind: str) -> None:
    """The page says so at once, and scripts learn why."""
    async with serving(kind) as server, proxy_to(server.port) as proxy:
        async with visit(
            browser, replace(server, port=proxy.port), path(kind, "job/ten", wait=3), "() => true"
        ) as page:
            await expect(page.locator("#bar")).to_have_text("line 2")
            proxy.cut()
            await until_stopped(page)
            assert ["sse-stop", "cut"] in await got(page)
        state = await server.get_json("/state")

    assert state["begun"] == {"ten": 1}


async def test_stream_that_resumes_goes_on_after_a_restart(browser: Browser, kind: str) -> None:
    """The server is killed, gone for a while, and another one; nothing is lost, nothing twice."""
    async with serving(kind) as server:
        port = server.port
        async with visit(browser, server, path(kind, "resumed"), "() => true") as page:
            await page.evaluate(
                "addEventListener('sse:tick', (e) => shown.push(e.detail.data), true)"
            )
            await page.wait_for_function("() => shown.length > 5")
            server.process.kill()
            await server.process.wait()
            await expect(page.locator("#own")).to_have_attribute("data-sse-state", "retry")
            async with serving(kind, port):
                before = await page.evaluate("shown.length")
                await page.wait_for_function(f"() => shown.length > {before + 5}")
                shown = await page.evaluate("shown")

    assert shown == [*range(shown[0], shown[0] + len(shown))]


async def test_answer_that_is_no_stream_is_tried_again_or_not(browser: Browser, kind: str) -> None:
    """A 502 of a proxy is tried again, where ``EventSource`` would give up; a 404 is not."""
    async with (
        serving(kind) as server,
        visit(browser, server, path(kind, "job/ten", wait=0), "() => true") as page,
    ):
        answers = [502, 503]

        async def fail(route: Any) -> None:
            if answers:
                await route.fulfill(status=answers.pop(0), body="<h1>Bad Gateway</h1>")
            else:
                await route.continue_()

        await page.route("**/job/other*", fail)
        await page.evaluate(
            "document.getElementById('own').setAttribute('sse-stream', '/job/other')"
        )
        await page.evaluate(
            "(() => { const own = document.getElementById('own'); const next = own.cloneNode(true);"
            "delete next.dataset.sseState; delete next.dataset.sseLast; own.replaceWith(next); })()"
        )
        await until_stopped(page)
        assert not answers
        await page.evaluate(
            "(() => { const next = document.createElement('div'); next.id = 'gone';"
            "next.setAttribute('sse-stream', '/nowhere'); document.body.append(next); })()"
        )
        await expect(page.locator("#gone")).to_have_attribute("data-sse-state", "stopped")
        assert ["sse-stop", "refused"] in await got(page)
        state = await server.get_json("/state")

    assert state["begun"]["other"] == 1


async def test_scripts_open_streams(browser: Browser, kind: str) -> None:
    """``QuartSSE.open`` calls back by name, and what it returns closes the stream."""
    async with (
        serving(kind) as server,
        visit(browser, server, path(kind, "job/ten"), "() => true") as page,
    ):
        await until_stopped(page)
        await page.evaluate(
            "() => { window.reportError = (error) => { window.reported = error.message; }; }"
        )
        await page.evaluate(
            "() => { window.close_ = QuartSSE.open('/ticks/async', {"
            "tick: (number) => { shown.push(number); if (number == 1) throw Error('mine'); },"
            "'*': (data, message) => { window.last = message.event; }}); }"
        )
        await page.wait_for_function("() => shown.length > 3")
        await page.evaluate("close_()")
        state = await until_state(server, lambda state: state["ended"].get("async"))
        shown = await page.evaluate("shown")
        assert await page.evaluate("[last, reported]") == ["tick", "mine"]

    assert shown == [*range(len(shown))]
    assert state["open"] == 0


async def test_html_of_users_opens_nothing(browser: Browser) -> None:
    """Inside of a mark, or to another origin."""
    async with (
        serving("htmx2") as server,
        visit(browser, server, path("htmx2", "job/ten"), "() => true") as page,
    ):
        await until_stopped(page)
        await page.evaluate(
            "document.getElementById('main').insertAdjacentHTML('beforeend',"
            "'<p hx-disable><b id=a sse-stream=/job/a></b></p>"
            "<b id=b sse-stream=http://localhost:9/job/b></b><b id=c sse-stream=/job/c></b>')"
        )
        await expect(page.locator("#c")).to_have_attribute("data-sse-state", "stopped")
        assert await page.locator("#a").get_attribute("data-sse-state") is None
        assert await page.locator("#b").get_attribute("data-sse-state") is None
        state = await server.get_json("/state")

    assert state["begun"] == {"ten": 1, "c": 1}


async def test_server_that_stops_lets_the_page_come_back(browser: Browser, kind: str) -> None:
    """A stream that resumes waits as it was told, and goes on at the next process."""
    async with serving(kind) as server:
        port = server.port
        async with visit(browser, server, path(kind, "resumed"), "() => true") as page:
            await page.evaluate(
                "addEventListener('sse:tick', (e) => shown.push(e.detail.data), true)"
            )
            await page.wait_for_function("() => shown.length > 5")
            await server.stop()
            async with serving(kind, port):
                before = await page.evaluate("shown.length")
                await page.wait_for_function(f"() => shown.length > {before + 5}")
                shown = await page.evaluate("shown")
                assert ["sse-holdoff", "shutdown"] in await got(page)
            await asyncio.sleep(0)

    assert shown == [*range(shown[0], shown[0] + len(shown))]
