"""When streams are asked for again: by all tabs together, and less and less often."""

from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
import pytest_asyncio
from playwright.async_api import BrowserContext

from tests.support.browsers import OPEN, RETRY
from tests.support.morphing import Pages, serving_pages
from tests.support.proxy import RELEASE, Proxy, http, proxy_to

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

HOLD_OFF = 2.0
#: What an overloaded server answers.
LATER = http(
    "200 OK",
    "Content-Type: text/event-stream",
    body=f"retry: {HOLD_OFF * 1000:g}\nevent: sse-holdoff\ndata: overloaded\n\n",
)
#: A stream that is cut as soon as it has begun.
CUT = http(
    "200 OK",
    "Content-Type: text/event-stream",
    body='event: sse-open\ndata: {"id": "a", "secret": "b", "topics": [["board?name=a"]]}\n\n',
)
CONNECTING = "() => document.documentElement.dataset.sseState"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pages() -> AsyncIterator[Pages]:
    """Return a server of pages."""
    async with serving_pages("plain") as pages:
        yield pages


@pytest.fixture
async def proxy(pages: Pages) -> AsyncIterator[Proxy]:
    """Return a proxy before it."""
    async with proxy_to(int(pages.origin.rpartition(":")[2])) as proxy:
        yield proxy


async def open_and_cut(context: BrowserContext, proxy: Proxy, interval: int) -> None:
    """Open a page with an interval of its own, whose streams are cut from then on."""
    page = await context.new_page()
    await page.goto(f"{proxy.url}/page/a?plain=1")
    await page.wait_for_function(OPEN)
    await proxy.answer(lambda who: CUT, passes_pages=True)
    await page.evaluate(f"QuartSSE.interval = {interval}; QuartSSE.connect()")


async def test_tab_that_opens_during_a_hold_off_waits_with_the_others(
    context: BrowserContext, proxy: Proxy
) -> None:
    """As long as the server has said, and all of them ask together then."""
    await proxy.answer(lambda who: LATER, passes_pages=True)
    first = await context.new_page()
    await first.goto(f"{proxy.url}/page/a?plain=1")
    await first.wait_for_function(RETRY)
    for number in range(3):
        page = await context.new_page()
        await page.goto(f"{proxy.url}/page/b{number}?plain=1")
        await page.wait_for_function(CONNECTING)

    await proxy.until_attempts("", 2)
    begun, again = (attempt.at for attempt in proxy.attempts[:2])
    assert again - begun > HOLD_OFF - 0.1
    assert proxy.attempts[1].head.count("t=") >= 4
    await proxy.open()
    await page.wait_for_function(OPEN)


async def test_proxy_that_cuts_every_stream_is_asked_less_and_less_often(
    context: BrowserContext, proxy: Proxy
) -> None:
    """A stream that has begun is no success yet."""
    await open_and_cut(context, proxy, interval=100)

    await proxy.until_attempts("", 7)

    gaps = [b.at - a.at for a, b in pairwise(proxy.attempts)]
    assert gaps[-1] > 3 * gaps[1]


async def test_tab_without_an_interval_leaves_that_of_the_others(
    context: BrowserContext, proxy: Proxy
) -> None:
    """It is of the whole browser: a tab that opens after some attempts does not make them wait."""
    await open_and_cut(context, proxy, interval=10)
    await proxy.until_attempts("", 6)

    other = await context.new_page()
    await other.goto(f"{proxy.url}/page/b?plain=1")
    await other.wait_for_function(CONNECTING)
    before = len(proxy.attempts)
    await proxy.until_attempts("", before + 2)

    # The server's half second, doubled as often, would be 30 s, and vary between 15 and 45.
    assert proxy.attempts[before + 1].at - proxy.attempts[before - 1].at < 12


async def test_page_that_has_not_tried_yet_goes_on(context: BrowserContext, proxy: Proxy) -> None:
    """With `reconnect = false` a page stops at its own first failure, not at another's."""
    await proxy.answer(lambda who: None, passes_pages=True)
    first = await context.new_page()
    await first.goto(f"{proxy.url}/page/a?plain=1")
    await proxy.until_attempts("", 1)
    page = await context.new_page()
    # As soon as this page has subscribed the attempt of the other one fails.
    await page.add_init_script(
        """
        let api;
        Object.defineProperty(window, "QuartSSE", {
            get: () => api,
            set: (value) => { api = value; api.reconnect = false; },
        });
        new MutationObserver((records, observer) => {
            if (!document.querySelector("[sse-connect]")) return;
            observer.disconnect();
            setTimeout(() => {
                const request = new XMLHttpRequest();
                request.open("GET", "RELEASE", false);
                request.send();
            });
        }).observe(document, { childList: true, subtree: true });
    """.replace("RELEASE", RELEASE)
    )

    await page.goto(f"{proxy.url}/page/b?plain=1")

    await page.wait_for_function(OPEN)
    await first.wait_for_function(OPEN)
