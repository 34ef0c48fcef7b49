"""Calls that are not waited for: in order, from anywhere, with their result or error."""

import asyncio
import concurrent.futures
import gc
import logging
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from quart import Quart, request
from quart.testing import QuartClient

from quart_sse import SSE, BrokerUnavailable
from quart_sse.serving_loop import ServingLoop
from quart_sse.soon import GRACE, Soon
from tests.support.pages import LIST_AND_CONNECT, add_page, next_html, viewing
from tests.support.redis_server import running_redis
from tests.support.sites import Site, heard, serving
from tests.support.streams import open_stream, until

ROOT = Path(__file__).parents[2]


async def in_thread(function: Any, *args: Any) -> Any:
    """Call a function in a thread without a loop."""
    return await asyncio.to_thread(function, *args)


async def test_what_a_thread_publishes_comes_in_its_order(site: Site) -> None:
    """Whatever it is published by, and however many threads there are."""

    def publish(room: int) -> None:
        topic = site.room(room)
        for number in range(60):
            if number % 7:
                topic.publish_soon("said", number)
            else:
                site.sse.run_soon(topic.publish("said", number))

    async with site.view(1) as (one, _), site.view(2) as (two, _):
        await asyncio.gather(*(in_thread(publish, room) for room in (1, 2)))
        for stream in (one, two):
            assert [data for _, data in await heard(stream, 60)] == [str(n) for n in range(60)]


async def test_future_has_what_the_coroutine_returns_or_raises(site: Site) -> None:
    """As its awaiting caller would have it."""
    topic = site.room(1)

    def call() -> list[Any]:
        published = topic.publish_soon("said", {"n": 1}).result(5)
        errors = [
            topic.publish_soon("sse-x").exception(5),
            topic.publish_soon("said", object()).exception(5),
            topic.publish_soon("said", where=7).exception(5),  # type: ignore[call-overload]
            topic.refresh_soon("no").exception(5),
            topic.push_soon("no", "x").exception(5),
            site.sse.run_soon(site.sse.disconnect(identity="")).exception(5),
        ]
        return [published, *(type(error).__name__ for error in errors)]

    async with site.view(1) as (stream, _):
        published, *errors = await in_thread(call)
        assert await heard(stream, 1) == [("rooms.said?room=1", '{"n": 1}')]

    assert published.local_receivers == 1
    assert errors == [
        "EventError",
        "EventError",
        "FilterError",
        "UnknownFragmentError",
        "UnknownFragmentError",
        "AnswerError",
    ]


async def test_data_is_that_of_the_call() -> None:
    """What the thread does to it afterwards is not published."""
    site = Site("memory://")
    async with serving(site), site.view(1) as (stream, _):
        data = [1]
        future = site.room(1).publish_soon("said", data)
        data.append(2)
        await asyncio.wrap_future(future)
        assert await heard(stream, 1) == [("rooms.said?room=1", "[1]")]


async def test_result_in_the_loops_own_thread_is_an_error_and_no_deadlock() -> None:
    """Until it is there."""
    site = Site("memory://")
    async with serving(site):
        future = site.room(1).publish_soon("said")
        with pytest.raises(RuntimeError, match=r"publish_soon.*wrap_future"):
            future.result()
        with pytest.raises(RuntimeError, match="wrap_future"):
            future.exception(1)
        await asyncio.wrap_future(future)
        assert future.result().id
        assert future.exception() is None


@pytest.mark.parametrize("looks", [False, True])
async def test_error_is_logged_unless_it_is_asked_for(
    caplog: pytest.LogCaptureFixture, looks: bool
) -> None:
    """Once, with its traceback."""
    site = Site("memory://")
    async with serving(site):
        future = site.room(1).refresh_soon("no")
        await until(future.done)
        if looks:
            future.exception()
        del future
        await until(lambda: gc.collect() >= 0)
    records = [each for each in caplog.records if each.levelno >= logging.ERROR]

    assert len(records) == (0 if looks else 1)
    assert all(each.exc_info and "refresh_soon" in each.getMessage() for each in records)


async def test_long_coroutine_holds_up_little(site: Site) -> None:
    """What is published later goes on after a moment, and what was published before came first."""
    never = asyncio.Event()

    def call() -> None:
        site.room(1).publish_soon("said", "before")
        site.sse.run_soon(job())
        site.room(1).publish_soon("said", "after")

    async def job() -> None:
        await site.room(1).publish("said", "job")
        await never.wait()

    async with site.view(1) as (stream, _):
        begun = asyncio.get_running_loop().time()
        await in_thread(call)
        assert [data for _, data in await heard(stream, 3)] == ["before", "job", "after"]
        assert asyncio.get_running_loop().time() - begun > GRACE / 2
        never.set()


async def test_what_is_no_coroutine_is_an_error() -> None:
    """Such as the function itself."""
    site = Site("memory://")
    async with serving(site):
        with pytest.raises(TypeError, match="Call the async function"):
            site.sse.run_soon(site.sse.close_all)  # type: ignore[arg-type]


async def test_call_that_was_cancelled_before_it_began_does_not_run() -> None:
    """Its coroutine is closed, without a warning."""
    site = Site("memory://")
    async with serving(site), site.view(1) as (stream, _):
        first = site.room(1).publish_soon("said", "no")
        assert first.cancel()
        await asyncio.wrap_future(site.room(1).publish_soon("said", "yes"))
        assert await heard(stream, 1) == [("rooms.said?room=1", "yes")]
        with pytest.raises(concurrent.futures.CancelledError):
            first.result()


async def test_sync_view_and_its_thread_know_the_request() -> None:
    """The page that has asked is left out, as with publish()."""
    site = Site("memory://")

    @site.app.post("/say")
    def say() -> str:
        site.room(1).publish_soon("said", request.args["text"], to_others=True)
        return "ok"

    async with serving(site):
        client = site.client()
        async with open_stream(client, await site.page(1, client=client)) as one:
            secret = (await one.next("sse-open")).data.partition('"secret": "')[2].partition('"')[0]
            headers = {"X-SSE-Page": f"{secret}.7"}
            await client.post("/say?text=x", headers=headers)
            event = await one.next("rooms.said?room=1")
    assert event.data == "x"
    (kept,) = await site.room(1).history()
    assert kept.data == "x"


async def test_signal_handler_may_publish() -> None:
    """It comes while the loop is anywhere."""
    site = Site("memory://")
    async with serving(site), site.view(1) as (stream, _):
        before = signal.signal(
            signal.SIGUSR1, lambda *_: site.room(1).publish_soon("said", "signal") and None
        )
        try:
            os.kill(os.getpid(), signal.SIGUSR1)
            assert await heard(stream, 1) == [("rooms.said?room=1", "signal")]
        finally:
            signal.signal(signal.SIGUSR1, before)


async def test_loop_that_ends_leaves_no_thread_waiting() -> None:
    """Its outcome is an error that says so."""
    serving_loop = ServingLoop(1.0)
    soon = Soon(serving_loop)
    begun = threading.Event()
    outcomes: list[concurrent.futures.Future[None]] = []

    async def hang() -> None:
        begun.set()
        await asyncio.Event().wait()

    async def serve() -> None:
        serving_loop.enter()
        outcomes.append(soon.run(hang()))
        outcomes.append(soon.run(hang(), patience=None))
        await until(begun.is_set)

    await in_thread(lambda: asyncio.run(serve()))

    for outcome in outcomes:
        with pytest.raises(BrokerUnavailable, match="stopped serving"):
            await in_thread(outcome.result, 5)


async def test_loop_that_is_gone_before_it_took_the_call_is_noticed() -> None:
    """A thread that waits for the result is not left alone."""
    serving_loop = ServingLoop(1.0)
    soon = Soon(serving_loop)
    loop = asyncio.new_event_loop()
    outcomes: list[concurrent.futures.Future[None]] = []

    async def serve() -> None:
        serving_loop.enter()
        outcomes.append(soon.run(asyncio.sleep(0)))
        loop.stop()

    def run() -> None:
        task = loop.create_task(serve())
        loop.run_forever()
        task.result()

    await in_thread(run)
    with pytest.raises(BrokerUnavailable, match="stopped serving"):
        await in_thread(outcomes[0].result)
    # It does not run when the loop goes on after all.
    await in_thread(loop.run_until_complete, asyncio.sleep(0))
    loop.close()


#: A process that serves nothing.
SCRIPT = """
import asyncio, logging, sys
logging.basicConfig(format="%(message)s")
from quart import Quart
from quart_sse import SSE
app = Quart(__name__)
app.config["QUART_SSE_BROKER_URL"] = sys.argv[1]
sse = SSE(app)
rooms = sse.channel("rooms", "/rooms/<int:room>", public=True)

async def main():
    rooms.topic(room=1).publish_soon("said", "within a loop")
    await asyncio.wrap_future(sse.run_soon(asyncio.sleep(0)))

async def job():
    await rooms.topic(room=1).publish("said", "a coroutine")

rooms.topic(room=1).publish_soon("said", "without a loop")
asyncio.run(main())
assert sse.run_soon(job()).result() is None
for number in range(3):
    assert rooms.topic(room=1).publish_soon("said", number).result().id
"""


async def test_process_that_serves_nothing_publishes_before_the_call_returns(
    tmp_path: Path,
) -> None:
    """With Redis, others are sent it."""
    async with running_redis(tmp_path) as redis:
        site = Site(redis.url)
        async with serving(site), site.view(1) as (stream, _):
            done = await in_thread(run_script, redis.url)
            said = [data for _, data in await heard(stream, 6)]

    assert (done.returncode, done.stderr) == (0, "")
    assert said == ["without a loop", "within a loop", "a coroutine", "0", "1", "2"]


async def test_process_that_serves_nothing_is_warned_once_of_memory() -> None:
    """What it publishes reaches no browser."""
    done = await in_thread(run_script, "memory://")

    assert done.returncode == 0, done.stderr
    assert len(re.findall("no browser gets it", done.stderr)) == 1


def run_script(url: str) -> "subprocess.CompletedProcess[str]":
    """Run the script above with a broker."""
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, url],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


async def test_fragment_is_refreshed_and_pushed_from_a_thread(app: Quart, sse: SSE) -> None:
    """The same as by awaiting it."""
    board = sse.channel("board", "/board", public=True)
    shown = ["0"]
    board.fragment("list", debounce=0)(lambda: shown[0])
    add_page(app, LIST_AND_CONNECT)

    async with viewing(QuartClient(app)) as stream:
        shown[0] = "1"
        await in_thread(lambda: board.topic().refresh_soon("list").result(5))
        assert await next_html(stream) == ("board.list", "1")
        shown[0] = "2"
        await in_thread(lambda: board.topic().push_soon("list", "2").result(5))
        assert await next_html(stream) == ("board.list", "2")
