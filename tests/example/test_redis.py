"""The example on several processes: the long job, its workers, and `make demo-redis` itself."""

import asyncio
import contextlib
import os
import re
import signal
import socket
import sys
import tempfile
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect
from quart import Quart
from quart.testing import QuartClient
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from example.app import create_app
from example.building import build_reports
from example.jobs import Jobs
from example.models import Job
from example.store import Store
from example.yearly import QUESTIONS, answer
from quart_sse.testing import live
from tests.support.browsers import visit
from tests.support.redis_server import running_redis
from tests.support.servers import ROOT, Server, until_so

#: Interval of two looks at another process, and a lease that outlives every test, in seconds.
POLL, LONG = 0.02, 600.0


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """The database that the processes of a test share."""
    store = Store(tmp_path / "forum.sqlite3")
    store.prepare()
    return store


def forum(store: Store, broker_url: str = "memory://") -> Quart:
    """Return the app of one process, whose workers do not dawdle."""
    config = {
        "QUART_SSE_BROKER_URL": broker_url,
        "QUART_SSE_BROKER_TIMEOUT": 0.1,
        "EXAMPLE_STEP_SECONDS": 0,
    }
    return create_app(store.path, config)


async def job_that(store: Store, state: str, steps: int = 0) -> Job:
    """Wait until the newest job is in a state and some steps are done, and return it."""
    async with asyncio.timeout(20):
        while True:
            job = await Jobs(store).newest()
            if job and job.state(time.time()) == state and len(job.findings) >= steps:
                return job
            await asyncio.sleep(POLL)


# -- the queue -----------------------------------------------------------------------------------


async def test_job_is_claimed_by_one_worker(store: Store) -> None:
    """Of many workers that look for a job at the same time, one gets it."""
    await Jobs(store).ask("mira")

    claims = [Jobs(Store(store.path)).claim(f"worker-{number}", LONG) for number in range(12)]
    claimed = [job for job in await asyncio.gather(*claims) if job is not None]

    assert [job.asked_by for job in claimed] == ["mira"]


async def test_lease_that_runs_out_gives_the_job_to_another(store: Store) -> None:
    """A worker that is silent for too long loses its job; the next one goes on after its steps."""
    jobs = Jobs(store)
    await jobs.ask(None)
    first = await jobs.claim("first", LONG)
    assert first is not None
    assert await jobs.save(first, "first", 0, "zero", lease=0)

    second = await jobs.claim("second", LONG)

    assert second is not None
    assert (second.id, second.findings) == (first.id, ("zero",))
    assert not await jobs.save(first, "first", 1, "too late", LONG)
    await jobs.give_back(first, "first")
    await jobs.end(first, "first", "not mine to end")
    assert await jobs.claim("third", LONG) is None
    assert await jobs.save(second, "second", 1, "one", LONG)
    assert (await job_that(store, "running")).findings == ("zero", "one")


async def test_only_one_report_is_built_at_a_time(store: Store) -> None:
    """Asking again changes nothing until the report is there, and then begins a new one."""
    jobs = Jobs(store)
    await asyncio.gather(*(Jobs(Store(store.path)).ask(name) for name in ("mira", "kip", "suri")))
    job = await jobs.claim("worker", LONG)
    assert job is not None
    await jobs.save(job, "worker", 0, "zero", LONG)
    await jobs.ask("pell")
    assert await jobs.claim("other", LONG) is None

    await jobs.end(job, "worker")
    await jobs.ask("pell")

    newest = await job_that(store, "waiting")
    assert (newest.asked_by, newest.findings) == ("pell", ())


def test_state_of_a_job_is_told_as_it_is() -> None:
    """A job waits, runs, is interrupted, done or failed; an old lease is no worker's."""
    job = Job(1, None, asked=0, worker=None, lease=None, ended=None, problem=None)
    held = replace(job, worker="worker", lease=10)

    assert job.state(now=5) == "waiting"
    assert held.state(now=5) == "running"
    assert held.state(now=10) == "interrupted"
    assert replace(held, ended=6).state(now=10) == "done"
    assert replace(held, ended=6, problem="why").state(now=10) == "failed"


# -- building ------------------------------------------------------------------------------------


async def test_one_process_alone_builds_the_report_itself(store: Store) -> None:
    """With the broker of one process the web process works, and its pages follow to the end."""
    app = forum(store)
    async with app.test_app():
        client = QuartClient(app)
        async with live(client, "/reports", timeout=20.0) as page:
            assert "It has not been built yet" in page.html
            answer = await client.post("/reports")
            assert (answer.status_code, answer.location) == (303, "/reports")
            while 'class="report is-done"' not in await page.fragment("reports.progress"):
                pass

    job = await job_that(store, "done")
    assert len(job.findings) == len(QUESTIONS)


async def test_report_says_nothing_about_the_moderators_room(store: Store) -> None:
    """However busy a private room is, a report that everybody may read is the same."""
    answers = [await answer(store, question) for question in QUESTIONS]
    (room,) = [found.id for found in await store.summaries() if found.moderators_only]
    assert answers[0] == "4 discussions, begun by 4 people."

    for _ in range(9):
        await store.add_comment(room, "suri", "Psst! " * 200)
    for number in range(90):
        await store.set_vote(room, f"guest:{number}", up=True)

    assert [await answer(store, question) for question in QUESTIONS] == answers


async def test_report_on_an_empty_forum_has_nothing_to_tell(store: Store) -> None:
    """Every question has an answer even where there is nothing to count."""
    app = forum(store)
    for table in ("vote", "comment", "discussion", "card"):
        await store.query(f"DELETE FROM {table}")
    async with app.test_app():
        await Jobs(store).ask(None)

        job = await job_that(store, "done")

    assert job.findings[0] == "0 discussions, begun by 0 people."
    assert job.findings[-1] == "0 of 0 cards on the board are done."


async def test_worker_that_is_told_to_stop_gives_its_job_back(store: Store) -> None:
    """A process that stops in the middle leaves a job that another one takes up at once."""
    app = forum(store)
    app.config["EXAMPLE_STEP_SECONDS"] = LONG
    async with app.test_app():
        await Jobs(store).ask(None)
        await job_that(store, "running")

    async def is_free() -> bool:
        return await Jobs(store).claim("another", LONG) is not None

    await until_so(is_free)  # the task ends with the app, or a moment later


async def test_step_that_fails_ends_the_job_and_says_so(store: Store) -> None:
    """A report that cannot be built is shown as failed, and can be requested again."""
    app = forum(store)
    await store.query("DROP TABLE card")
    async with app.test_app():
        await Jobs(store).ask(None)
        job = await job_that(store, "failed")
        page = await (await app.test_client().get("/reports")).get_data(as_text=True)

    assert len(job.findings) == len(QUESTIONS) - 1
    assert "A step failed" in page
    assert 'id="build"' in page


async def test_pages_heal_when_redis_was_away_while_the_report_was_built(
    store: Store, tmp_path: Path
) -> None:
    """The job goes on without a broker, and a page that was open shows how it ended."""
    async with running_redis(tmp_path) as redis:
        web, worker = forum(store, redis.url), forum(store, redis.url)
        async with web.test_app():
            client = QuartClient(web)
            async with live(client, "/reports", timeout=20.0) as page:
                assert "in a process of its own" in page.html
                await redis.kill()
                assert (await client.post("/reports")).status_code == 303
                async with worker.app_context():
                    building = asyncio.create_task(build_reports())
                    await job_that(store, "done")
                    building.cancel()
                    await asyncio.gather(building, return_exceptions=True)
                while 'class="report is-done"' not in await page.fragment("reports.progress"):
                    pass
        await worker.extensions["quart_sse"].broker.stop()


async def test_database_is_made_once_by_processes_that_start_together(tmp_path: Path) -> None:
    """Several processes may find no database: all get the same key, and no card is there twice."""
    stores = [Store(tmp_path / "new.sqlite3") for _ in range(8)]

    keys = await asyncio.gather(*(asyncio.to_thread(store.prepare) for store in stores))

    assert len(set(keys)) == 1
    titles = [row["title"] for row in await stores[0].query("SELECT title FROM card")]
    assert len(titles) == len(set(titles)) > 0


# -- processes -----------------------------------------------------------------------------------


@asynccontextmanager
async def started(*command: str, **environ: str) -> AsyncIterator[Process]:
    """Run a program of the example in a session of its own, and stop all that it started."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=ROOT,
        env={**os.environ, **environ},
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        async with asyncio.timeout(15):
            await process.communicate()


@pytest.mark.servers
async def test_job_of_a_killed_worker_is_taken_up_by_another(store: Store, tmp_path: Path) -> None:
    """A worker that is killed in the middle holds nothing up, and no step is taken twice."""
    worker = (sys.executable, "-m", "example.worker")
    async with running_redis(tmp_path) as redis:
        environ = {
            "QUART_SSE_BROKER_URL": redis.url,
            "EXAMPLE_DATABASE": str(store.path),
            "EXAMPLE_STEP_SECONDS": "0.05",
            "EXAMPLE_LEASE_SECONDS": "0.5",
        }
        await Jobs(store).ask("mira")
        async with started(*worker, **environ) as first:
            await job_that(store, "running", steps=2)
            first.kill()
            await first.wait()
        left = await job_that(store, "interrupted")

        async with started(*worker, **environ) as second:
            done = await job_that(store, "done")
            second.terminate()
            _, said = await second.communicate()

    assert (second.returncode, said) == (0, b"")
    assert done.worker != left.worker
    assert done.findings[: len(left.findings)] == left.findings
    assert len(done.findings) == len(QUESTIONS) > len(left.findings)


@pytest.mark.servers
async def test_worker_without_a_redis_says_what_is_missing(store: Store) -> None:
    """A worker that no page could hear ends at once, and names the setting."""
    environ = {"QUART_SSE_BROKER_URL": "memory://", "EXAMPLE_DATABASE": str(store.path)}
    async with started(sys.executable, "-m", "example.worker", **environ) as worker:
        _, said = await worker.communicate()

    assert worker.returncode == 1
    assert said.startswith(b"QUART_SSE_BROKER_URL names no Redis")


# -- make demo-redis -----------------------------------------------------------------------------


@dataclass
class Demo:
    """`make demo-redis`, as it runs."""

    process: Process
    folder: Path  #: where it makes its temporary folder
    servers: list[Server] = field(default_factory=list)

    async def read_addresses(self) -> None:
        """Wait until it has said where it is."""
        assert self.process.stdout is not None
        said = ""
        async with asyncio.timeout(30):
            while "Ctrl+C" not in said:
                line = (await self.process.stdout.readline()).decode()
                assert line, f"the demo ended at once: {said}"
                said += line
        ports = [int(port) for port in re.findall(r"http://127\.0\.0\.1:(\d+)", said)]
        self.servers = [Server(self.process, port, self.folder) for port in ports]

    async def end(self) -> str:
        """Wait until nothing of it is left, and return what it has said about that."""
        assert self.process.stderr is not None
        async with asyncio.timeout(15):
            # Every process has inherited this pipe, so its end is that of the last one.
            said = (await self.process.stderr.read()).decode()
            await self.process.wait()
        for server in self.servers:
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", server.port)
        assert not list(self.folder.iterdir())
        assert "Traceback" not in said
        return said


@asynccontextmanager
async def demo_on(ports: str, store: Store, **environ: str) -> AsyncIterator[Demo]:
    """Run `make demo-redis` with the Python of the tests."""
    make = ("make", "--assume-old=.venv/.stamp-run", f"RUN={sys.executable} -m", f"PORTS={ports}")
    # Short, for a socket stands in it.
    with tempfile.TemporaryDirectory() as folder:
        environ = {"EXAMPLE_DATABASE": str(store.path), "TMPDIR": folder, **environ}
        async with started(*make, "demo-redis", **environ) as process:
            yield Demo(process, Path(folder))


#: Notes every value that the progress bar of a page has.
WATCH_BAR = """() => {
    window.seen = [];
    const note = () => {
        const bar = document.getElementById("bar");
        if (bar) seen.push(bar.value);
    };
    new MutationObserver(note).observe(document.body, {
        childList: true, subtree: true, attributes: true, attributeFilter: ["value"],
    });
}"""


@pytest.mark.chromium  # the driver of Firefox drags nothing
@pytest.mark.browser
@pytest.mark.servers
@pytest.mark.timeout(120)
async def test_demo_shows_one_forum_from_two_processes(browser: Browser, store: Store) -> None:
    """What happens at one address is seen at the other, until Ctrl+C ends all of it at once."""
    async with demo_on("0 0", store, EXAMPLE_STEP_SECONDS="0.2") as demo:
        await demo.read_addresses()
        one, other = demo.servers
        for server in demo.servers:
            assert b"Soldering evening" in await server.get("/board")

        async with visit(browser, one, "/board") as here, visit(browser, other, "/board") as there:
            await expect(there.locator("#people")).to_have_text("2")
            await here.drag_and_drop(
                '.board-card:has-text("Soldering")', ".column[data-stage=done] .column-title"
            )
            done = there.locator("[data-stage=done] .board-card-title")
            await expect(done.first).to_contain_text("Soldering evening")

        async with (
            visit(browser, one, "/reports") as here,
            visit(browser, other, "/reports") as there,
        ):
            await here.evaluate(WATCH_BAR)
            await there.click("#build")
            await expect(here.locator("#report.is-done .findings li")).to_have_count(10)
            values = await here.evaluate("seen")
            assert values == sorted(values)
            assert len(set(values)) > 5, "the bar moved on with the job, not only at its end"

        os.killpg(demo.process.pid, signal.SIGINT)  # as a terminal does
        assert await demo.end() == ""


@pytest.mark.servers
async def test_demo_ends_with_any_of_its_processes(store: Store) -> None:
    """When one process ends by itself, all of them do, and it is said which it was."""
    async with demo_on("0", store) as demo:
        await demo.read_addresses()
        (path,) = demo.folder.glob("shed-*/redis.sock")
        redis = Redis(unix_socket_path=str(path), retry=Retry(NoBackoff(), 0))
        with contextlib.suppress(RedisError):
            await redis.shutdown(nosave=True)
        await redis.aclose()

        said = await demo.end()

    assert "Redis has ended (status 0), so everything was stopped." in said
    assert demo.process.returncode


@pytest.mark.servers
async def test_demo_names_the_port_that_is_taken(store: Store) -> None:
    """A web process that cannot listen ends what was started before it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with demo_on(f"0 {port}", store) as demo:
            said = await demo.end()

    assert f"Cannot listen on 127.0.0.1:{port}" in said
    assert f"The web process for port {port} has ended (status 1)" in said


async def test_demo_without_a_redis_server_names_the_package(tmp_path: Path) -> None:
    """Where no Redis is installed, the demo says how to get one."""
    program = (sys.executable, "-m", "example.redis_demo")
    async with started(*program, PATH=str(tmp_path)) as demo:
        _, said = await demo.communicate()

    assert demo.returncode == 1
    assert said == (
        b"redis-server is missing. On Debian and Ubuntu: apt-get install redis-server\n"
    )
