"""Live pages through the life of a browser: hidden, closed, killed, asleep, offline, signed out."""

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest

from tests.support.engines.chromium import (
    Chromium,
    ChromiumProfile,
    ChromiumTab,
    start_chromium,
)
from tests.support.proxy import Proxy, http, proxy_to
from tests.support.servers import Server, serve_pages

logger = logging.getLogger(__name__)

pytestmark = [pytest.mark.browser, pytest.mark.chromium, pytest.mark.timeout(120)]

EVERY_MS = 50  # between two events
HTMX = pytest.mark.parametrize("htmx", [2, 4], ids=["htmx2", "htmx4"])
#: With it the script gives up a silent connection sooner, and the server is never silent so long.
IMPATIENT = {"SILENCE_MS": "2000", "QUART_SSE_HEARTBEAT": "0.5"}
GIVEN_UP = 2.0
#: Why some Chromium (150 is one, 156 is not) loads a page again that it could have kept.
WORKER_IN_PAGE = "sharedworker-with-no-active-client"
#: And why any may: what the worker had sent before the page said that it leaves.
ON_ITS_WAY = "sharedworker-message"


@asynccontextmanager
async def serving(htmx: int, environ: dict[str, str] | None = None) -> AsyncIterator[Server]:
    """Serve the pages of ``tests.apps.life``."""
    async with serve_pages("life", htmx, environ) as server:
        yield server


@pytest.fixture
async def chromium() -> AsyncIterator[Chromium]:
    """Return a browser with real tabs."""
    async with start_chromium() as chromium:
        yield chromium


@pytest.fixture
async def profile(chromium: Chromium) -> ChromiumProfile:
    """Return somebody's browser."""
    return await chromium.new_profile()


def url_of(place: Server | Proxy, path: str = "/page/news/a") -> str:
    """Return the URL of a page."""
    return f"http://127.0.0.1:{place.port}{path}"


async def post(server: Server, path: str) -> dict[str, Any]:
    """Send a POST; returns what the JSON of the answer says, if there is any."""
    body = (await server.post(path)).partition(b"\r\n\r\n")[2]
    told: dict[str, Any] = json.loads(body or b"{}")
    return told


async def streams(server: Server) -> dict[str, int]:
    """Return how many streams are open, were at most, and in all."""
    told: dict[str, int] = await server.get_json("/streams")
    return told


async def until_streams(server: Server, number: int) -> None:
    """Wait until the server has so many streams."""
    async with asyncio.timeout(20):
        while (await streams(server))["open"] != number:
            pass


@asynccontextmanager
async def ticking(server: Server, pause_ms: int = EVERY_MS) -> AsyncIterator[None]:
    """Let the server publish events until the block ends."""
    await post(server, f"/start/news/a/{pause_ms}")
    yield
    await post(server, "/end/a")


async def expect_each_event_once(
    server: Server, *tabs: ChromiumTab, topic: str = "news/a", since: int | None = 1
) -> int:
    """Publish one more event, and see that tabs have it and all before; returns its number.

    Args:
        server: The server.
        tabs: The tabs.
        topic: What they show.
        since: The first event that they should have; None if whichever they have.
    """
    last: int = (await post(server, f"/tick/{topic}"))["number"]
    name = topic.partition("/")[2]
    for tab in tabs:
        await tab.until(f"got.at(-1) === {last}")
        got = await tab.evaluate("got")
        assert got == list(range(got[0] if since is None else since, last + 1))
        await tab.until(f"document.getElementById('{name}').textContent === '{last}'")
    return last


@HTMX
async def test_hidden_tabs_get_every_event(profile: ChromiumProfile, htmx: int) -> None:
    """Tabs behind others stay live, also while the connection changes for those that open."""
    async with serving(htmx) as server:
        tabs = [await profile.open(url_of(server)) for _ in range(3)]
        async with ticking(server, 10):
            for name in ("b", "c"):
                in_front = await profile.open(url_of(server, f"/page/news/{name}"))
            seen = await tabs[0].evaluate("got.length")
            for tab in tabs:
                await tab.until(f"got.length > {seen + 50}")
            states = [await tab.evaluate("document.visibilityState") for tab in (*tabs, in_front)]

        await expect_each_event_once(server, *tabs)
        assert states == ["hidden", "hidden", "hidden", "visible"]
        await until_streams(server, 1)


async def test_first_tab_closed_costs_the_others_nothing(profile: ChromiumProfile) -> None:
    """The connection was opened for a tab that goes, and goes on for the others as it is."""
    async with serving(2) as server:
        first, *others = [await profile.open(url_of(server)) for _ in range(3)]
        async with ticking(server):
            for tab in (first, *others):
                await tab.until("got.length > 10")  # so the connection is what it will be
            await until_streams(server, 1)
            before = await streams(server)
            await first.close()
            for tab in others:
                await tab.until("got.length > 30")

        await expect_each_event_once(server, *others)
        assert await streams(server) == before


@HTMX
@pytest.mark.parametrize(
    ("channel", "obstacles"),
    [
        pytest.param("news", set(), id="as-the-browser-can"),
        # What such a page holds is for its viewer alone, so no browser may keep it.
        pytest.param("room", {"response-cache-control-no-store"}, id="private"),
    ],
)
async def test_page_that_is_gone_back_to_held_nothing_and_is_current(
    profile: ChromiumProfile, htmx: int, channel: str, obstacles: set[str]
) -> None:
    """While it is away there is no stream; it is as it was and misses nothing, or loaded again."""
    async with serving(htmx) as server:
        url, topic = url_of(server, f"/page/{channel}/a"), f"{channel}/a"
        tab = await profile.open(url)
        await expect_each_event_once(server, tab, topic=topic)
        await tab.evaluate("window.neverReloaded = true")
        await tab.go(url_of(server, "/elsewhere"))
        await until_streams(server, 0)
        for _ in range(5):
            await post(server, f"/tick/{topic}")
        await tab.go_back(url)

        reasons = await tab.reasons_of_reload()
        if reasons:
            assert obstacles <= reasons <= {*obstacles, WORKER_IN_PAGE, ON_ITS_WAY}
            await tab.until("document.getElementById('a').textContent === '6'")
        else:
            assert channel != "room"
            await tab.until("got.length >= 6")
        was_kept = await tab.evaluate("[isPersisted, window.neverReloaded === true]")
        assert was_kept == [not reasons] * 2
        # What happened before a page was rendered is in its HTML, and need not come again.
        since = None if reasons else 1
        await expect_each_event_once(server, tab, topic=topic, since=since)
        await until_streams(server, 1)


@pytest.mark.parametrize("how", ["killed", "crashed"])
async def test_worker_that_dies_is_replaced_by_one_for_all(
    chromium: Chromium, profile: ChromiumProfile, how: str
) -> None:
    """Tabs notice by themselves, find the same new worker, and nobody misses an event."""
    async with serving(2) as server:
        first, *tabs = [await profile.open(url_of(server)) for _ in range(4)]
        async with ticking(server):
            for tab in tabs:
                await tab.until("got.length > 5")
            if how == "killed":
                assert await chromium.kill_workers() == 1
                tabs.append(first)
            else:
                # Its process may hold the worker, too, and is the one that started it.
                await first.crash()
            seen = (await post(server, "/tick/news/a"))["number"]
            seconds = sum([await tab.until(f"got.at(-1) > {seen}") for tab in tabs])
            logger.info("%s: all tabs were live again after %.1f s", how, seconds)

        await expect_each_event_once(server, *tabs)
        await until_streams(server, 1)


@pytest.mark.parametrize(
    ("seconds", "environ"),
    [(3, IMPATIENT), pytest.param(60, {}, marks=pytest.mark.slow)],
    ids=["short", "long"],
)
async def test_browser_that_slept_is_current_when_it_wakes(
    chromium: Chromium, profile: ChromiumProfile, seconds: int, environ: dict[str, str]
) -> None:
    """All processes of the browser stand still for longer than a silence may last, and go on."""
    async with serving(4, environ) as server:
        tabs = [await profile.open(url_of(server)) for _ in range(2)]
        await until_streams(server, 1)
        await post(server, "/forget")
        processes = await chromium.processes()
        async with ticking(server, seconds * 20):
            with chromium.asleep(processes):
                await asyncio.sleep(seconds)  # the sleep is what is tested
            for tab in tabs:
                await tab.until("got.length > 50")

        await expect_each_event_once(server, *tabs)
        await until_streams(server, 1)
        # The old one, its successor, and one more where that took longer than the short patience.
        assert (await streams(server))["most"] <= (2 if seconds == 60 else 3)


@HTMX
async def test_network_that_goes_and_returns_costs_no_event(
    profile: ChromiumProfile, htmx: int
) -> None:
    """The page shows that it is not live, and then is, with all that has happened, once."""
    async with serving(htmx) as server, proxy_to(server.port) as proxy:
        tabs = [await profile.open(url_of(proxy)) for _ in range(2)]
        async with ticking(server):
            for tab in tabs:
                await tab.until("got.length > 5")
            await proxy.shut()
            for tab in tabs:
                await tab.until_state("retry")
            await until_streams(server, 0)
            await proxy.open()
            await tabs[0].evaluate("dispatchEvent(new Event('online'))")
            for tab in tabs:
                await tab.until_state("open")

        await expect_each_event_once(server, *tabs)
        await until_streams(server, 1)


async def test_connection_that_died_silently_is_given_up(
    profile: ChromiumProfile,
) -> None:
    """Nothing says that nothing will come any more, but the page sees it, and misses nothing."""
    async with serving(2, IMPATIENT) as server, proxy_to(server.port) as proxy:
        tab = await profile.open(url_of(proxy))
        async with ticking(server):
            await tab.until("got.length > 5")
            proxy.swallow()
            dead_after = await tab.evaluate("got.length")
            seconds = await tab.until(f"got.length > {dead_after} + 20")
            logger.info("the tab was live again after %.1f s", seconds)

        await expect_each_event_once(server, tab)
        assert seconds > GIVEN_UP / 2
        proxy.cut()
        await until_streams(server, 1)


FAILURES = {
    "one": [http("502 Bad Gateway"), http("302 Found", "Location: /login"), http("503 Away")],
    "other": [
        http("200 OK", "Content-Type: text/html", body="<p>We are working on it."),
        http("504 Gateway Timeout"),
        http("302 Found", "Location: /login"),
    ],
}


async def test_answers_that_are_no_streams_cost_no_position(chromium: Chromium) -> None:
    """Errors, pages and redirects of a proxy are outlived; who is answered so asks ever less."""
    async with serving(2) as server, proxy_to(server.port) as proxy:
        tabs = {}
        for who in FAILURES:
            profile = await chromium.new_profile()
            await profile.set_cookie(proxy.url, "who", who)
            tabs[who] = await profile.open(url_of(proxy))
        answers = {who: iter(answers) for who, answers in FAILURES.items()}
        async with ticking(server):
            for tab in tabs.values():
                await tab.until("got.length > 5")
            await proxy.answer(lambda who: next(answers[who], http("500 No more")))
            for who, tab in tabs.items():
                await proxy.until_attempts(who, 3)
                await tab.until_state("retry")
            await proxy.open()
            for tab in tabs.values():
                await tab.evaluate("dispatchEvent(new Event('online'))")
                await tab.until_state("open")

        await expect_each_event_once(server, *tabs.values())
        shares = []
        for who in FAILURES:
            times = [attempt.at for attempt in proxy.attempts_of(who)][:3]
            gaps = [after - before for before, after in pairwise(times)]
            # The first gap follows the second attempt: one second doubled, and spread by half.
            shares += [gaps[0] / 2, gaps[1] / 4]
        assert min(shares) > 0.49
        assert max(shares) < 1.8
        assert max(shares) - min(shares) > 0.05, "browsers that failed together come together"


def said(event: str, retry_ms: int | None = None) -> bytes:
    """Return a stream that says one thing and ends."""
    retry = "id: stop\n" if retry_ms is None else f"retry: {retry_ms}\n"
    body = f":\n\n{retry}event: {event}\ndata: a reason\n\n"
    return http("200 OK", "Content-Type: text/event-stream", body=body)


async def test_browser_that_is_told_to_wait_waits(profile: ChromiumProfile) -> None:
    """It comes back after the time that the server says, and not earlier."""
    async with serving(2) as server, proxy_to(server.port) as proxy:
        await profile.set_cookie(proxy.url, "who", "one")
        tab = await profile.open(url_of(proxy))
        # Without being told it would wait 3 s at most after the first attempt.
        answers = iter([said("sse-holdoff", 4000), said("sse-holdoff", 1)])
        await proxy.answer(lambda who: next(answers, http("503 Away")))
        await proxy.until_attempts("one", 2)
        await proxy.open()
        await tab.until_state("open")
        await expect_each_event_once(server, tab)

        first, second = proxy.attempts[:2]
        assert 3.99 < second.at - first.at < 8


@HTMX
async def test_browser_that_is_told_to_stop_never_comes_again(
    chromium: Chromium, htmx: int
) -> None:
    """It says so, and asks no more, while another one, which only failed, goes on asking."""
    async with serving(htmx) as server, proxy_to(server.port) as proxy:
        tabs = {}
        for who in ("stopped", "failing"):
            profile = await chromium.new_profile()
            await profile.set_cookie(proxy.url, "who", who)
            tabs[who] = await profile.open(url_of(proxy))
        answers = {"stopped": said("sse-stop"), "failing": http("502 Bad Gateway")}
        await proxy.answer(answers.__getitem__)
        await tabs["stopped"].until_state("stopped")
        await tabs["stopped"].evaluate("dispatchEvent(new Event('online'))")
        await proxy.until_attempts("failing", 3)
        await proxy.open()
        await tabs["failing"].evaluate("dispatchEvent(new Event('online'))")
        await tabs["failing"].until_state("open")

        assert len(proxy.attempts_of("stopped")) == 1
        assert await tabs["stopped"].evaluate("document.documentElement.dataset.sseState") == (
            "stopped"
        )
        await expect_each_event_once(server, tabs["failing"])
        assert await tabs["stopped"].evaluate("got") == []
        assert (await streams(server))["open"] == 1


@pytest.mark.parametrize("event", ["sse-stop", "sse-holdoff"])
async def test_farewell_costs_no_position(profile: ChromiumProfile, event: str) -> None:
    """Its id is for other clients: the page goes on from where it was, without a loss."""
    async with serving(2) as server, proxy_to(server.port) as proxy:
        await profile.set_cookie(proxy.url, "who", "one")
        # They share a key, and the server stops the newer one's token.
        tabs = [await profile.open(url_of(proxy, "/page/room/a")) for _ in range(2)]
        await expect_each_event_once(server, *tabs, topic="room/a")
        answers = iter([said(event)])
        await proxy.answer(lambda who: next(answers, http("503 Away")))
        await proxy.until_attempts("one", 2)
        for attempt in proxy.attempts:
            (since,) = re.findall(r"since=([^&, ]*)", attempt.head)
            assert re.fullmatch(r"\w+\.\d+-\d+.*", since), "that is no position"
        await post(server, "/tick/room/a")
        await proxy.open()
        for tab in tabs:
            await tab.evaluate("QuartSSE.connect()")
            await tab.until_state("open")

        await expect_each_event_once(server, *tabs, topic="room/a")


@HTMX
async def test_page_that_missed_too_much_is_made_current(
    profile: ChromiumProfile, htmx: int
) -> None:
    """What is no longer kept cannot be given; the page is told so, and its fragments are right."""
    async with serving(htmx) as server, proxy_to(server.port) as proxy:
        tab = await profile.open(url_of(proxy, "/page/brief/a"))
        await expect_each_event_once(server, tab, topic="brief/a")
        await proxy.shut()
        await tab.until_state("retry")
        for _ in range(5):
            await post(server, "/tick/brief/a")
        await proxy.open()
        await tab.until("document.getElementById('a').textContent === '6'")
        await tab.until_state("open")
        await post(server, "/tick/brief/a")

        await tab.until("got.at(-1) === 7")
        got = await tab.evaluate("got")
        assert len(got) < 7, "it has missed nothing, so nothing was tested"
        assert got == sorted(set(got))
        await tab.until("document.getElementById('a').textContent === '7'")


async def test_tabs_see_what_whoever_is_signed_in_may_see(profile: ChromiumProfile) -> None:
    """One connection serves tabs of nobody, mira and tobi; none is given what is another's."""
    async with serving(2) as server:
        nobodys = await profile.open(url_of(server, "/page/room/a"))
        other = await profile.open_blank()
        await other.go(url_of(server, "/sign-in/mira"))
        miras = await profile.open(url_of(server, "/mine"))
        await until_streams(server, 1)
        await expect_each_event_once(server, nobodys, topic="room/a")
        await expect_each_event_once(server, miras, topic="room/mira")

        await other.go(url_of(server, "/sign-out"))
        await miras.until_state("stopped")
        await post(server, "/tick/room/mira")
        await expect_each_event_once(server, nobodys, topic="room/a")
        await other.go(url_of(server, "/sign-in/tobi"))
        tobis = await profile.open(url_of(server, "/mine"))
        await post(server, "/tick/room/mira")
        await expect_each_event_once(server, tobis, topic="room/tobi")
        await expect_each_event_once(server, nobodys, topic="room/a")

        await until_streams(server, 1)
        assert await miras.evaluate("got") == [1]
        assert await miras.evaluate("document.getElementById('mira').textContent") == "1"
        heard = "QuartSSE.messages.map(({event}) => event).filter((name) => !/^sse-/.test(name))"
        for tab, name in ((nobodys, "a"), (miras, "mira"), (tobis, "tobi")):
            assert set(await tab.evaluate(heard)) == {f"room.tick?name={name}"}
        assert (await tobis.evaluate("document.documentElement.dataset.sseState")) == "open"


async def test_more_topic_lists_than_one_connection_carries(profile: ChromiumProfile) -> None:
    """Twenty tabs that show twenty different things are all live over two connections at most."""
    async with serving(2) as server:
        names = [f"n{i}" for i in range(20)]
        tabs = [await profile.open(url_of(server, f"/page/room/{name}")) for name in names]
        for name in names:
            await post(server, f"/tick/room/{name}")

        for name, tab in zip(names, tabs, strict=True):
            await expect_each_event_once(server, tab, topic=f"room/{name}")
        assert 1 <= (await streams(server))["open"] <= 2
