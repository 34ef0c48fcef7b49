"""Live pages in Chromium, Firefox and WebKit: the same checks, in all three at the same time."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import count

import pytest
import pytest_asyncio

from tests.support.browsers import EXPECTED_NOISE
from tests.support.engines import Engine, Profile, Tab, in_all, running
from tests.support.servers import Server, serve_pages, until_so

# One loop for all of them, since the browsers and the servers are started once.
pytestmark = [
    pytest.mark.browser,
    pytest.mark.chromium,
    pytest.mark.timeout(180),
    pytest.mark.asyncio(loop_scope="module"),
]

HTMX = pytest.mark.parametrize("htmx", [2, 4], ids=["htmx2", "htmx4"])
TABS = 8
NAVIGATIONS = 12
EVENTS = 200
#: Seconds within which a server knows that a tab or a page has gone.
GONE = 20.0

_numbers = count(1)


@dataclass
class Place:
    """What one check works with: a browser, a server, and a topic that no other check has."""

    engine: Engine
    server: Server
    stack: AsyncExitStack
    name: str = field(default_factory=lambda: f"n{next(_numbers)}")

    def url(self, more: str = "", host: str = "127.0.0.1") -> str:
        """Return the URL of the page that shows the topic."""
        return f"http://{host}:{self.server.port}/page/{self.name}{more}"

    def elsewhere(self, host: str = "127.0.0.1") -> str:
        """Return the URL of a page that is not live."""
        return f"http://{host}:{self.server.port}/elsewhere"

    async def profile(self) -> Profile:
        """Return another user's browser, which is closed when the check ends."""
        profile = await self.engine.new_profile()
        self.stack.push_async_callback(profile.close)
        return profile

    async def open_as(self, user: str, url: str) -> Tab:
        """Sign a user in, in a browser of their own, and open a page there."""
        tab = await (await self.profile()).open_blank()
        await tab.go(f"http://127.0.0.1:{self.server.port}/sign-in/{user}")
        await tab.go(url)
        await tab.until_state("open")
        return tab

    async def tick(self, times: int = 1) -> None:
        """Publish events, and change the fragments."""
        for _ in range(times):
            await self.server.post(f"/tick/{self.name}")

    async def until_streams(self, number: int, seconds: float = GONE) -> None:
        """Wait until the engine's browsers have so many streams."""

        async def is_so() -> bool:
            told = await self.server.get_json(f"/streams/{self.engine.name}")
            return bool(told["open"] == number)

        await until_so(is_so, seconds)

    async def until_topics(self, *names: str, of: tuple[str, ...]) -> None:
        """Wait until of some topics just those named are listened to."""

        async def is_so() -> bool:
            told = await self.server.get_json(f"/streams/{self.engine.name}")
            wanted = {f"news?name={name}" for name in names}
            return wanted == set(told["topics"]) & {f"news?name={name}" for name in of}

        await until_so(is_so, GONE)


Check = Callable[[Place], Awaitable[None]]


async def until_number(tab: Tab, number: int) -> None:
    """Wait until a page shows a number."""
    await tab.until(f"document.getElementById('number').textContent === '{number}'")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def engines() -> AsyncIterator[list[Engine]]:
    """Return the three browsers."""
    async with running() as engines:
        yield engines


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def servers() -> AsyncIterator[dict[int, Server]]:
    """Return a server for either htmx."""
    async with serve_pages("engines", 2) as two, serve_pages("engines", 4) as four:
        yield {2: two, 4: four}


async def in_each(engines: list[Engine], server: Server, check: Check) -> None:
    """Run a check in all browsers at the same time; what fails names the engine."""
    await in_all(engines, lambda engine, stack: check(Place(engine, server, stack)))


@HTMX
async def test_first_paint_is_there_and_another_users_change_comes(
    engines: list[Engine], servers: dict[int, Server], htmx: int
) -> None:
    """A page shows what is, and what another browser changes by a click."""

    async def check(place: Place) -> None:
        await place.tick(3)
        reader = await (await place.profile()).open(place.url())
        assert await reader.evaluate("document.getElementById('number').textContent") == "3"
        assert (
            await reader.evaluate("document.querySelector('.sse-status').innerText.trim()")
            == "Live"
        )
        writer = await (await place.profile()).open(place.url())
        await writer.click("button")
        await until_number(reader, 4)
        await until_number(writer, 4)

    await in_each(engines, servers[htmx], check)


@HTMX
async def test_events_come_in_order_each_once(
    engines: list[Engine], servers: dict[int, Server], htmx: int
) -> None:
    """So they do while tabs come and go, for which the shared stream is replaced."""

    async def check(place: Place) -> None:
        profile = await place.profile()
        tab = await profile.open(place.url())
        publishing = asyncio.create_task(place.tick(EVENTS))
        other = await profile.open(place.url())
        await other.close()
        await publishing
        await tab.until(f"got.at(-1) === {EVENTS}")
        assert await tab.evaluate("got") == list(range(1, EVENTS + 1))
        await until_number(tab, EVENTS)

    await in_each(engines, servers[htmx], check)


@HTMX
async def test_viewers_see_their_own(
    engines: list[Engine], servers: dict[int, Server], htmx: int
) -> None:
    """Personal fragments are fetched by each viewer."""

    async def check(place: Place) -> None:
        tabs = {}
        for user in ("mira", "tobi"):
            tabs[user] = await place.open_as(user, place.url("?personal"))
        await place.tick()
        for user, tab in tabs.items():
            await tab.until(f"document.getElementById('mine').textContent === '{user} sees 1'")

    await in_each(engines, servers[htmx], check)


@HTMX
async def test_typing_outlives_refreshes(
    engines: list[Engine], servers: dict[int, Server], htmx: int
) -> None:
    """Text, focus and caret stay, while what is around the field changes."""

    async def check(place: Place) -> None:
        tab = await (await place.profile()).open(place.url())
        await tab.type("#typed", "half a sen")
        await place.tick()
        await tab.until("document.getElementById('before').textContent === '1'")
        await tab.type("#typed", "tence")
        value, focused = await tab.evaluate(
            "[document.getElementById('typed').value, document.activeElement.id]"
        )
        assert (sorted(value), focused) == (sorted("half a sentence"), "typed")

    await in_each(engines, servers[htmx], check)


async def test_many_tabs_share_one_stream(
    engines: list[Engine], servers: dict[int, Server]
) -> None:
    """Eight tabs load, are live, and take one stream; those behind others get events, too."""

    async def check(place: Place) -> None:
        profile = await place.profile()
        tabs = [await profile.open(place.url()) for _ in range(TABS)]
        await place.until_streams(1)
        seen = [await tab.evaluate("document.visibilityState") for tab in tabs]
        assert "hidden" in seen, "no tab is behind another, so this is not tested"
        await place.tick(3)
        for tab in tabs:
            await tab.until("got.at(-1) === 3")
        await tabs[0].activate()
        await tabs[0].until("document.visibilityState === 'visible'")
        await until_number(tabs[0], 3)

    await in_each(engines, servers[2], check)


async def test_walk_through_many_pages_never_stalls(
    engines: list[Engine], servers: dict[int, Server]
) -> None:
    """Pages that are left hold no stream, and are live when they return."""

    async def check(place: Place) -> None:
        tab = await (await place.profile()).open(place.url())
        for number in range(NAVIGATIONS):
            await tab.go(place.url(f"?walk={number}"))
            await tab.until_state("open")
        await place.until_streams(1)
        await tab.go_back(place.url(f"?walk={NAVIGATIONS - 2}"))
        await place.tick()
        await until_number(tab, 1)

    await in_each(engines, servers[2], check)


@HTMX
async def test_page_that_is_gone_back_to_is_current(
    engines: list[Engine], servers: dict[int, Server], htmx: int
) -> None:
    """While it is away it has no stream; whether it was kept or is loaded again, it is current."""

    async def check(place: Place) -> None:
        tab = await (await place.profile()).open(place.url())
        await place.tick()
        await tab.until("got.at(-1) === 1")
        await tab.go(place.elsewhere())
        await place.until_streams(0)
        await place.tick(3)
        await tab.go_back(place.url())
        await until_number(tab, 4)
        await place.tick()
        await tab.until("got.at(-1) === 5")
        if await tab.evaluate("isPersisted"):
            assert await tab.evaluate("got") == [1, 2, 3, 4, 5]
        await place.until_streams(1)

    await in_each(engines, servers[htmx], check)


async def test_tab_that_is_closed_is_gone(
    engines: list[Engine], servers: dict[int, Server]
) -> None:
    """Its topics leave the stream that other tabs share."""

    async def check(place: Place) -> None:
        profile = await place.profile()
        kept = await profile.open(place.url())
        other = Place(place.engine, place.server, place.stack)
        closed = await profile.open(other.url())
        both = (place.name, other.name)
        await place.until_topics(*both, of=both)
        await closed.close()
        await place.until_topics(place.name, of=both)
        await place.tick()
        await until_number(kept, 1)

    await in_each(engines, servers[2], check)


@pytest.mark.parametrize("how", ["link", "script"])
async def test_user_who_leaves_the_site_is_gone(
    engines: list[Engine], servers: dict[int, Server], how: str
) -> None:
    """The stream ends, although the browser and its tab are still there."""

    async def check(place: Place) -> None:
        tab = await (await place.profile()).open(place.url())
        await place.until_streams(1)
        begun = time.monotonic()
        if how == "script":
            await tab.go(place.elsewhere("localhost"))
        else:
            await tab.evaluate(
                "void document.body.insertAdjacentHTML('afterbegin',"
                f""" '<a id="away" href="{place.elsewhere("localhost")}">away</a>')"""
            )
            await tab.click("#away")
        await place.until_streams(0)
        assert time.monotonic() - begun < GONE

    await in_each(engines, servers[2], check)


@HTMX
async def test_strict_policy_is_enough(
    engines: list[Engine], servers: dict[int, Server], htmx: int
) -> None:
    """Under the Content-Security-Policy of the documentation a page is live."""

    async def check(place: Place) -> None:
        tab = await (await place.profile()).open(place.url("?strict"))
        await place.tick()
        await until_number(tab, 1)
        await tab.until("got.at(-1) === 1")

    await in_each(engines, servers[htmx], check)


async def test_inspector_shows_a_user_who_comes_and_disconnects_them(
    engines: list[Engine], servers: dict[int, Server]
) -> None:
    """Its pages are live under their own policy, and their forms are accepted."""

    async def check(place: Place) -> None:
        inspector = f"http://127.0.0.1:{place.server.port}/sse/~inspector"
        people = f"{inspector}/connections?identity={place.name}"
        operator = await place.open_as("operator", people)
        assert await operator.evaluate("document.querySelector('td.empty') !== null")

        user = await place.open_as(place.name, place.url())
        await operator.until(
            f"document.querySelector('td.main a')?.innerText.includes('{place.name}')"
        )
        await operator.click("td.main a")
        await operator.until("document.querySelector('button.danger') !== null")
        await operator.evaluate("void (document.querySelector('[name=retry]').value = '')")
        await operator.click("button.danger")

        await operator.until("document.querySelector('main p.good') !== null")
        await user.until_state("stopped")

    await in_each(engines, servers[2], check)


async def test_server_that_was_killed_costs_no_click(engines: list[Engine]) -> None:
    """The page says that it is not live, and is again when a server is there."""
    async with serve_pages("engines", 2) as first:
        places: list[tuple[Place, Tab]] = []
        async with AsyncExitStack() as stack:
            for engine in engines:
                place = Place(engine, first, stack)
                places.append((place, await (await place.profile()).open(place.url())))
            first.process.kill()
            await first.process.wait()
            for _, tab in places:
                await tab.until_state("retry")
            async with serve_pages("engines", 2, port=first.port) as second:
                for place, tab in places:
                    await second.post(f"/tick/{place.name}")
                    await tab.until_state("open")
                    await until_number(tab, 1)
                    await second.post(f"/tick/{place.name}")
                    await tab.until("got.at(-1) === 2")


async def test_blocked_cookies_leave_a_page_live(servers: dict[int, Server]) -> None:
    """A user who forbids all sites to keep anything has a stream for each tab."""

    async def check(place: Place) -> None:
        tab = await (await place.profile()).open(place.url())
        await place.tick()
        await until_number(tab, 1)
        await tab.until("got.at(-1) === 1")

    async with running(cookies=False) as engines:
        await in_each(engines, servers[2], check)


async def test_no_page_has_logged_an_error(engines: list[Engine]) -> None:
    """It stands last: engines that say what pages log have logged nothing but lost streams."""
    for engine in engines:
        assert [error for error in engine.errors if not EXPECTED_NOISE.search(error)] == []
