"""The last release and this tree, side by side over one Redis, as during a deployment."""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from benchmarks.check import checked_out
from tests.support.browsers import OPEN, visit
from tests.support.redis_server import RedisServer, running_redis
from tests.support.servers import ROOT, RawStream, Server, serve

pytestmark = [pytest.mark.servers, pytest.mark.timeout(120)]

#: Names the commit of the last release; CONTRIBUTING says when it moves.
LAST_RELEASE = ROOT / "tests" / "support" / "last_release.txt"
LAST, THIS = "the last release", "this tree"
PAIRS = [
    pytest.param(LAST, THIS, id="last-to-this"),
    pytest.param(THIS, LAST, id="this-to-last"),
]
#: The events of a test, published by the two releases in turn.
EVENTS = 20
TALK = "/sse/talks/1?fragments=list,pushed"


@pytest.fixture(scope="module")
def trees() -> Iterator[dict[str, Path]]:
    """The folders of both releases; without the last one's commit it fails with the remedy."""
    with checked_out(LAST_RELEASE.read_text().strip()) as last:
        yield {LAST: last, THIS: ROOT}


@dataclass
class Site:
    """Processes of both releases that share a Redis and a table."""

    trees: dict[str, Path]
    redis: RedisServer
    stack: AsyncExitStack

    @asynccontextmanager
    async def serve(
        self, release: str, port: int | None = None, **keys: object
    ) -> AsyncIterator[Server]:
        """Serve the app by a release until the block ends.

        Args:
            release: Which one.
            port: If not one that the system gives.
            keys: ``QUART_SSE_*`` keys, without that prefix.
        """
        tree = self.trees[release]
        environ = {
            # Not the folder that the package is installed from.
            "PYTHONPATH": f"{tree}:{ROOT / 'tests' / 'apps'}",
            "TABLE": str(self.redis.directory / "table"),
            "QUART_SSE_BROKER_URL": self.redis.url,
            **{f"QUART_SSE_{key.upper()}": str(value) for key, value in keys.items()},
        }
        command = ("-m", "uvicorn", "release:app", "--log-level", "warning", "--port")
        async with serve(lambda free: [*command, str(free)], environ, port, tree) as server:
            assert (await server.state())["package"] == str(tree / "quart_sse")
            yield server
            assert "Traceback" not in server.output

    async def boot(self, release: str) -> Server:
        """Serve the app by a release until the test ends."""
        return await self.stack.enter_async_context(self.serve(release))


@pytest.fixture
async def site(trees: dict[str, Path], tmp_path: Path) -> AsyncIterator[Site]:
    """Both releases, a Redis and a table."""
    async with running_redis(tmp_path) as redis, AsyncExitStack() as stack:
        yield Site(trees, redis, stack)


def numbers(stream: RawStream) -> list[int]:
    """Return the numbers of the events that a stream was sent."""
    return [int(found) for found in re.findall(r"^data: n(\d+)$", stream.text, re.M)]


@pytest.mark.parametrize("traced", [False, True], ids=["", "traced"])
async def test_events_and_fragments_reach_viewers_of_the_other_release(
    site: Site, monkeypatch: pytest.MonkeyPatch, traced: bool
) -> None:
    """Events of both come in one order, refreshes and pushes bring the newest HTML, to all."""
    if traced:  # messages of this tree carry what the last release does not know
        monkeypatch.setenv("TRACED", "1")
    last, this = await site.boot(LAST), await site.boot(THIS)
    streams = [await RawStream.open(server.port, TALK) for server in (last, this)]

    for number in range(EVENTS):
        server = (last, this)[number % 2]
        await server.post(f"/say/n{number}")
        await server.post(f"/change/c{number}")
        for stream in streams:
            await stream.read_until(f"<li>c{number}</li>")
            await stream.read_until(f"<b>c{number}</b>")

    for stream in streams:
        assert numbers(stream) == list(range(EVENTS))
        assert "sse-reset" not in stream.text
        await stream.close()


@pytest.mark.parametrize(("publisher", "viewer"), PAIRS)
async def test_pushed_html_is_shown_and_not_rendered(
    site: Site, publisher: str, viewer: str
) -> None:
    """A push of one release is a push at the other, which needs no render of it."""
    one, other = await site.boot(publisher), await site.boot(viewer)
    stream = await RawStream.open(other.port, "/sse/talks/1?fragments=pushed")
    await one.post("/push/c1")
    await stream.read_until("<b>c1</b>")

    assert (await other.state())["renders"] == {}
    await stream.close()


@pytest.mark.parametrize(("first", "second"), PAIRS)
async def test_stream_goes_on_at_the_other_release(site: Site, first: str, second: str) -> None:
    """With the last id of one release the other sends what was missed, once, in order."""
    one, other = await site.boot(first), await site.boot(second)
    stream = await RawStream.open(one.port, TALK)
    for number in range(3):
        await other.post(f"/say/n{number}")
    await stream.read_until("data: n2\n")
    last = re.findall(r"^id: (.+)$", stream.text, re.M)[-1]
    await stream.close()
    for number in range(3, 9):
        await (one, other)[number % 2].post(f"/say/n{number}")
    await one.post("/change/meanwhile")

    again = await RawStream.open(other.port, TALK, {"Last-Event-ID": last})
    await again.read_until("<li>meanwhile</li>")
    await again.read_until("data: n8\n")

    assert numbers(stream) == [0, 1, 2]
    assert numbers(again) == [3, 4, 5, 6, 7, 8]
    assert "sse-reset" not in again.text
    await again.close()


@pytest.mark.parametrize(("teller", "told"), PAIRS)
@pytest.mark.parametrize("path", ["/disconnect/mira", "/recheck"])
async def test_revocations_end_streams_of_the_other_release(
    site: Site, teller: str, told: str, path: str
) -> None:
    """A user who is disconnected, or a topic that is rechecked, loses its streams at both."""
    one, other = await site.boot(teller), await site.boot(told)
    stream = await RawStream.open(other.port, "/sse/rooms/1", {"Cookie": "who=mira"})
    reason = path.split("/")[1]

    await one.post(path)
    await stream.read_to_end()

    assert f"event: sse-holdoff\ndata: {reason}" in stream.text
    await stream.close()


async def test_questions_leave_the_other_release_alone(site: Site) -> None:
    """What this tree asks keeps the last release from nothing, and is not waited for there."""
    last, this = await site.boot(LAST), await site.boot(THIS)
    stream = await RawStream.open(last.port, TALK)
    asked = await this.get_json("/ask")
    await this.post("/say/n1")
    await stream.read_until("data: n1\n")

    assert list(asked["faults"].values()) == ["unknown"]
    assert asked["silent"] == 0
    assert (await last.state())["broker"] == "ready"
    await stream.close()


@pytest.mark.browser
@pytest.mark.parametrize("htmx", [2, 4], ids=["htmx2", "htmx4"])
async def test_page_of_the_last_release_goes_on_with_this_one(
    browser: Browser, site: Site, htmx: int
) -> None:
    """While its server is replaced a page stays open, misses nothing, and is live again."""
    async with AsyncExitStack() as stack:
        beside = await stack.enter_async_context(site.serve(LAST, htmx=htmx))
        replaced = await stack.enter_async_context(site.serve(LAST, htmx=htmx))
        page = await stack.enter_async_context(visit(browser, replaced))
        await page.evaluate("window.neverReloaded = true")
        script = await page.evaluate("document.querySelector('script[src*=quart-sse]').src")
        for number in range(3):
            await beside.post(f"/say/n{number}")
        await page.wait_for_function("said.length == 3")

        await replaced.stop()
        for number in range(3, 6):
            await beside.post(f"/say/n{number}")
        await beside.post("/change/meanwhile")
        this = await stack.enter_async_context(site.serve(THIS, replaced.port, htmx=htmx))
        await expect(page.locator("li")).to_have_text("meanwhile")
        await expect(page.locator("b")).to_have_text("meanwhile")
        await expect(page.locator("u")).to_have_text("nobody: meanwhile")
        await page.wait_for_function("said.length == 6")

        for number in range(6, 9):
            await (beside, this)[number % 2].post(f"/say/n{number}")
        await this.post("/change/afterwards")
        await expect(page.locator("li")).to_have_text("afterwards")
        await expect(page.locator("b")).to_have_text("afterwards")
        await expect(page.locator("u")).to_have_text("nobody: afterwards")
        await page.wait_for_function("said.length >= 9")
        await page.wait_for_function(OPEN)

        assert await page.evaluate("said") == [f"n{number}" for number in range(9)]
        assert await page.evaluate("resets") == []
        assert await page.evaluate("window.neverReloaded")
        assert await page.evaluate("document.querySelector('script[src*=quart-sse]').src") == script
