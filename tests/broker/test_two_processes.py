"""Two web processes and one Redis, all of them real, and what browsers see of it."""

import asyncio
import re
import signal
import socket
import statistics
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from quart_sse.release import RELEASE
from tests.support.browsers import RETRY, open_page, visit
from tests.support.network import Balancer
from tests.support.redis_server import RedisServer, running_redis
from tests.support.servers import ROOT, RawStream, Server, serve, until_so
from tests.support.streams import connect_urls

pytestmark = [pytest.mark.servers, pytest.mark.timeout(120)]

#: Comments whose way is timed, and seconds between two of them: more than a fragment's debounce.
COMMENTS, PACE = 30, 0.12


def uvicorn(port: int) -> Sequence[str]:
    """Serve the app in one process."""
    return [
        *("-m", "uvicorn", "tests.apps.cluster:app", "--port", str(port)),
        *("--log-level", "warning", "--timeout-graceful-shutdown", "5"),
    ]


class Cluster:
    """Web processes that share a Redis and a database.

    Args:
        folder: Of the database, and of the socket of Redis.
        stack: Ends the processes.
    """

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self._stack = stack
        self.redis = RedisServer(folder)
        self.environ = {
            "CLUSTER_DATABASE": str(folder),
            "QUART_SSE_BROKER_URL": self.redis.url,
            # An outage is noticed, and a browser comes back, a little sooner than by default.
            "QUART_SSE_PROBE": "1",
        }

    async def boot(self, **keys: object) -> Server:
        """Start one more process.

        Args:
            keys: More ``QUART_SSE_*`` keys, without that prefix.
        """
        more = {f"QUART_SSE_{key.upper()}": str(value) for key, value in keys.items()}
        return await self._stack.enter_async_context(serve(uvicorn, {**self.environ, **more}))


@pytest.fixture
async def lonely(tmp_path: Path) -> AsyncIterator[Cluster]:
    """Processes whose Redis nobody has started."""
    async with AsyncExitStack() as stack:
        yield Cluster(tmp_path, stack)


@pytest.fixture
async def cluster(lonely: Cluster, tmp_path: Path) -> AsyncIterator[Cluster]:
    """Processes and their Redis."""
    async with running_redis(tmp_path) as lonely.redis:
        yield lonely


def numbers(stream: RawStream) -> list[int]:
    """Return the numbers of the events that a stream was sent."""
    return [int(found) for found in re.findall(r"^data: n(\d+) *$", stream.text, re.M)]


# -- in browsers -----------------------------------------------------------------------------------

#: Posts a comment and returns when that began, by the clock of all pages of a machine.
POST = """async url => {
    const begun = Date.now();
    await fetch(url, {method: "POST"});
    return begun;
}"""


@pytest.mark.browser
async def test_comment_is_soon_on_pages_of_the_other_process(
    browser: Browser, cluster: Cluster
) -> None:
    """From a click at one process to the screen of another one it takes less than 100 ms."""
    a, b = await cluster.boot(), await cluster.boot()
    async with visit(browser, a, "/talks/1") as writer, visit(browser, b, "/talks/1") as reader:
        took = []
        for number in range(COMMENTS):
            begun = await writer.evaluate(POST, f"/talks/1/comments/c{number}")
            await expect(reader.locator("li").nth(number)).to_have_text(f"c{number}")
            took.append(await reader.evaluate("text => seen[text]", f"c{number}") - begun)
            await asyncio.sleep(PACE)

    median = statistics.median(took)
    print(f"median {median:g} ms, slowest {max(took):g} ms")  # noqa: T201 - see it with -s
    assert median < 100


@pytest.mark.browser
async def test_personal_fragments_show_each_viewer_their_own(
    browser: Browser, cluster: Cluster
) -> None:
    """After a change at one process, viewers at the other fetch what is theirs, there."""
    a, b = await cluster.boot(), await cluster.boot()
    async with viewer(browser, b, "mira") as mira, viewer(browser, b, "kip") as kip:
        await expect(mira.locator("u")).to_have_text("mira sees 0")
        before = (await b.state())["renders"]

        async with (
            mira.expect_response(re.compile(r"/~/mine/talks/1")),
            kip.expect_response(re.compile(r"/~/mine/talks/1")),
        ):
            await a.post("/talks/1/comments/hello")

        await expect(mira.locator("u")).to_have_text("mira sees 1")
        await expect(kip.locator("u")).to_have_text("kip sees 1")
        after = (await b.state())["renders"]

    for name in ("mine mira", "mine kip"):
        assert after[name] == before[name] + 1
    assert (await a.state())["renders"] == {}, "nobody looks there"


@asynccontextmanager
async def viewer(browser: Browser, server: Server, name: str) -> AsyncIterator[Page]:
    """Open a talk as somebody."""
    context = await browser.new_context()
    await context.add_cookies([{"name": "who", "value": name, "url": "http://127.0.0.1"}])
    page = await context.new_page()
    await open_page(page, server, "/talks/1")
    yield page
    await context.close()


@pytest.mark.browser
@pytest.mark.parametrize("htmx", [2, 4], ids=["htmx2", "htmx4"])
async def test_page_of_a_process_that_died_goes_on_at_the_other(
    browser: Browser, cluster: Cluster, htmx: int
) -> None:
    """A page whose process is killed is given by the other what it missed, once, in order."""
    a, b = await cluster.boot(htmx=htmx), await cluster.boot(htmx=htmx)
    async with Balancer(b.port) as balancer:
        address = Server(b.process, balancer.port, b.log)
        async with visit(browser, address, "/talks/1") as page:
            for number in range(3):
                await a.post(f"/talks/1/events/n{number}")
            await page.wait_for_function("said.length == 3")

            await b.stop(signal.SIGKILL)
            for number in range(3, 8):
                await a.post(f"/talks/1/events/n{number}")
            await a.post("/talks/1/comments/meanwhile")
            balancer.ports = [a.port]

            await expect(page.locator("li")).to_have_text("meanwhile")
            await a.post("/talks/1/events/n8")
            await page.wait_for_function("said.includes('n8')")
            assert await page.evaluate("said") == [f"n{number}" for number in range(9)]


@pytest.mark.browser
async def test_app_that_starts_before_redis(browser: Browser, lonely: Cluster) -> None:
    """Without Redis pages are served; when it comes they are live, without a restart or reload."""
    a, b = await lonely.boot(), await lonely.boot()
    assert (await a.state())["broker"] == "away"
    assert "Redis is away (" in a.output
    refused = await a.post("/talks/1/comments/early")
    assert b" 503 " in refused.partition(b"\r\n")[0]
    assert b'"maybe_published":false' in refused

    async with visit(browser, b, "/talks/1", until=RETRY) as page:
        await expect(page.locator("li")).to_have_text("early")
        await page.evaluate("window.neverReloaded = true")
        await lonely.redis.start()
        try:
            await until_so(lambda: is_ready(a))
            await until_so(lambda: is_ready(b))
            async with visit(browser, a, "/talks/1") as later:
                await a.post("/talks/1/comments/hello")

                await expect(later.locator("li").nth(1)).to_have_text("hello")
                await expect(page.locator("li").nth(1)).to_have_text("hello")
                await a.post("/talks/1/comments/again")
                await expect(page.locator("li").nth(2)).to_have_text("again")
                assert await page.evaluate("window.neverReloaded")
        finally:
            await lonely.redis.kill()
    assert "Traceback" not in a.output


async def is_ready(server: Server) -> bool:
    """Whether a process can use Redis."""
    return bool((await server.state())["broker"] == "ready")


# -- streams ---------------------------------------------------------------------------------------


async def test_refresh_is_rendered_once_by_each_process_with_viewers(cluster: Cluster) -> None:
    """However many look, a process renders a change once; where nobody looks, not at all."""
    a, b, c = [await cluster.boot(debounce=0) for _ in range(3)]
    url = "/sse/talks/{}?fragments=list"
    streams = [await RawStream.open(s.port, url.format(1)) for s in (a, b) for _ in range(5)]
    elsewhere = await RawStream.open(a.port, url.format(2))
    before = {server.port: (await server.state())["renders"] for server in (a, b)}

    for number in range(4):
        await elsewhere_too(c, elsewhere, number)
        await c.post(f"/talks/1/comments/c{number}")
        for stream in streams:
            await stream.read_until(f"<li>c{number}</li>")

    for server in (a, b):
        after = (await server.state())["renders"]
        assert after["list 1"] - before[server.port].get("list 1", 0) == 4
    assert "list 2" not in (await b.state())["renders"], "nobody looks at talk 2 there"
    assert (await c.state())["renders"] == {}, "nobody looks there"
    for stream in (*streams, elsewhere):
        await stream.close()


async def elsewhere_too(server: Server, stream: RawStream, number: int) -> None:
    """Comment on another talk, and wait until its viewer has it."""
    await server.post(f"/talks/2/comments/d{number}")
    await stream.read_until(f"<li>d{number}</li>")


async def test_stream_of_a_process_that_died_goes_on_at_the_other(cluster: Cluster) -> None:
    """With the last id from a killed process, another one sends what was missed, and no more."""
    a, b = await cluster.boot(), await cluster.boot()
    first = await RawStream.open(b.port, "/sse/talks/1")
    for number in range(3):
        await a.post(f"/talks/1/events/n{number}")
    await first.read_until("data: n2\n")

    await b.stop(signal.SIGKILL)
    await first.read_to_end()
    last = re.findall(r"^id: (.+)$", first.text, re.M)[-1]
    for number in range(3, 8):
        await a.post(f"/talks/1/events/n{number}")
    second = await RawStream.open(a.port, "/sse/talks/1", {"Last-Event-ID": last})
    await a.post("/talks/1/events/n8")
    await second.read_until("data: n8\n")

    assert numbers(first) == [0, 1, 2]
    assert numbers(second) == [3, 4, 5, 6, 7, 8]
    assert "sse-reset" not in second.text
    await first.close()
    await second.close()


async def test_revocations_end_streams_at_the_other_process(cluster: Cluster) -> None:
    """Who is disconnected or rechecked at one process loses their streams at the other."""
    a, b = await cluster.boot(), await cluster.boot()

    async def enter(who: str, until: str = "sse-open") -> RawStream:
        return await RawStream.open(b.port, "/sse/rooms/1", {"Cookie": f"who={who}"}, until)

    mira, kip = await enter("mira"), await enter("kip")

    await a.post("/ban/mira")
    await mira.read_to_end()
    await a.post("/rooms/1/events/n1")
    await kip.read_until("data: n1\n")

    assert mira.is_complete
    assert "event: sse-holdoff\ndata: disconnect" in mira.text
    assert numbers(mira) == []
    back = await enter("mira", "sse-stop")
    assert "data: refused" in back.text

    await a.post("/rooms/1/recheck")
    await kip.read_to_end()
    assert "event: sse-holdoff\ndata: recheck" in kip.text
    again = await enter("kip")
    for stream in (mira, kip, back, again):
        await stream.close()


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL], ids=["frozen", "killed"])
async def test_process_that_does_not_answer_is_named(
    cluster: Cluster, number: signal.Signals
) -> None:
    """Every process is asked, and at the deadline the asker knows which one is frozen or dead."""
    a, b, c = await cluster.boot(), await cluster.boot(), await cluster.boot()
    pids = {server.process.pid for server in (a, b, c)}
    await until_so(lambda: lists(a, pids))
    everyone = await a.get_json("/ask/pid/30.0")

    b.process.send_signal(number)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    asked = await a.get_json("/ask/pid/1.0")
    took = loop.time() - begun

    assert set(everyone["answers"].values()) == pids
    assert (everyone["faults"], everyone["silent"]) == ({}, [])
    assert set(asked["answers"].values()) == {a.process.pid, c.process.pid}
    (silent,) = asked["silent"]
    assert (silent["pid"], silent["host"]) == (b.process.pid, socket.gethostname())
    assert everyone["answers"][silent["id"]] == b.process.pid
    assert silent["release"] == RELEASE
    print(f"named after {took:.3f} s")  # noqa: T201 - see it with -s
    assert 1.0 <= took < 2.0

    if number is signal.SIGSTOP:
        b.process.send_signal(signal.SIGCONT)
        assert set((await c.get_json("/ask/pid/30.0"))["answers"].values()) == pids


async def test_process_that_stops_leaves_the_list(cluster: Cluster) -> None:
    """One that has stopped cleanly is neither listed nor waited for."""
    a, b = await cluster.boot(), await cluster.boot()
    pids = {server.process.pid for server in (a, b)}
    await until_so(lambda: lists(a, pids))

    await b.stop(signal.SIGTERM)

    assert await lists(a, {a.process.pid})
    asked = await a.get_json("/ask/pid/30.0")
    assert list(asked["answers"].values()) == [a.process.pid]
    assert asked["silent"] == []


async def lists(server: Server, pids: set[int]) -> bool:
    """Whether exactly these processes are live, as one of them sees it."""
    return {process["pid"] for process in await server.get_json("/processes")} == pids


async def test_process_that_falls_behind_is_cut_off_and_catches_up(cluster: Cluster) -> None:
    """Redis ends the subscription of who reads too little; their viewers miss nothing."""
    await cluster.redis.ask("CONFIG", "SET", "client-output-buffer-limit", "pubsub 64kb 0 0")
    a, b = await cluster.boot(), await cluster.boot()
    stream = await RawStream.open(b.port, "/sse/talks/1")
    subscribers = await subscriptions(cluster.redis)
    assert len(subscribers) == 2

    b.process.send_signal(signal.SIGSTOP)
    number = 0
    async with asyncio.timeout(20):
        while subscribers <= await subscriptions(cluster.redis):
            await a.post(f"/talks/1/events/n{number}?size=4000")
            number += 1
    b.process.send_signal(signal.SIGCONT)
    await a.post(f"/talks/1/events/n{number}")
    await stream.read_until(f"data: n{number}\n")

    assert numbers(stream) == list(range(number + 1))
    assert "sse-reset" not in stream.text
    assert "Redis is away (" in b.output
    await stream.close()


async def subscriptions(redis: RedisServer) -> set[str]:
    """Return the ids of the connections over which Redis publishes."""
    return set(re.findall(r"^id=(\d+) ", await redis.ask("CLIENT", "LIST", "TYPE", "pubsub"), re.M))


# -- without serving -------------------------------------------------------------------------------

WORKER = """
import asyncio
from tests.apps.cluster import app, insert, talks

async def work():
    async with app.app_context():
        insert("talk-1", "counted")
        await talks.topic(number=1).refresh("list")
        await talks.topic(number=1).publish("said", "done")

asyncio.run(work())
"""


async def test_worker_that_serves_nothing_publishes(cluster: Cluster) -> None:
    """A process that only works, such as a cron job, reaches the viewers of all others."""
    a = await cluster.boot()
    stream = await RawStream.open(a.port, "/sse/talks/1?fragments=list")

    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WORKER),
        cwd=ROOT,
        env=cluster.environ,
        stderr=asyncio.subprocess.PIPE,
    )
    _, complaints = await worker.communicate()
    await stream.read_until("<li>counted</li>")
    await stream.read_until("data: done")

    assert worker.returncode == 0
    assert complaints == b""
    await stream.close()


async def test_pages_of_any_process_connect_to_any_other(cluster: Cluster) -> None:
    """What one process signs another one accepts, and it starts where the page was rendered."""
    a, b = await cluster.boot(), await cluster.boot()
    (url,) = connect_urls((await a.get("/talks/1")).decode())
    await a.post("/notes/1/events/n0")

    stream = await RawStream.open(b.port, url)

    await stream.read_until("data: n0\n")
    assert "sse-refused" not in stream.text
    await stream.close()
