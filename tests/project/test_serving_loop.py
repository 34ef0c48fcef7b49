"""Calls reach the loop that serves an app from any loop and thread, and nothing outlives a loop."""

import asyncio
import gc
import logging
import multiprocessing
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from jinja2 import DictLoader
from quart import Quart, render_template_string
from quart.testing import QuartClient

from quart_sse import SSE, Topic
from quart_sse.errors import BrokerUnavailable
from quart_sse.host import KEY
from quart_sse.serving_loop import STRETCH, Pauses, ServingLoop, at_end_of_loop
from tests.support.pages import LIST_AND_CONNECT, MACROS, get_text, next_html, viewing
from tests.support.redis_server import RedisServer, running_redis
from tests.support.streams import open_stream, until
from tests.support.turns import Turns, counting_turns

LIST = "list"


def make_board(**config: object) -> tuple[Quart, Topic]:
    """Return an app whose list counts its renders, with views that change it, and a page."""
    app = Quart(__name__)
    app.secret_key = "for tests only"
    app.config.update(config)
    sse = SSE(app)
    board = sse.channel("board", "/board", public=True)
    numbers: list[int] = []

    @board.fragment(LIST)
    async def show() -> str:
        numbers.append(1)
        return f"<li>{len(numbers)}</li>"

    @app.get("/")
    async def page() -> str:
        return await render_template_string(MACROS + LIST_AND_CONNECT)

    @app.post("/sync")
    def refresh() -> str:
        asyncio.run(board.topic().refresh(LIST))
        return "done"

    return app, board.topic()


async def in_thread(make: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run a coroutine in a thread that has a loop of its own."""
    return await asyncio.to_thread(lambda: asyncio.run(make()))


@pytest.fixture(params=["memory", "redis"])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """The URL of each broker."""
    if request.param == "memory":
        yield "memory://"
        return
    async with running_redis(tmp_path) as redis:
        yield redis.url


# -- calls from elsewhere --


async def test_sync_view_changes_what_pages_show(url: str) -> None:
    """It runs in a thread, and awaits with a loop of its own."""
    app, _ = make_board(QUART_SSE_BROKER_URL=url, QUART_SSE_DEBOUNCE=0)
    async with app.test_app():
        client = QuartClient(app)
        async with viewing(client) as stream:
            for number in (2, 3, 4):
                assert (await client.post("/sync")).status_code == 200

                assert await next_html(stream) == ("board.list", f"<li>{number}</li>")


async def test_threads_publish_in_the_order_of_their_calls(url: str) -> None:
    """A thread's loop ends with each call, and holds nothing of the app."""
    app, topic = make_board(QUART_SSE_BROKER_URL=url)
    async with app.test_app(), open_stream(app, "/sse/board") as stream:
        await stream.next("sse-open")

        def work() -> None:
            for number in range(20):
                asyncio.run(topic.publish("said", number))

        thread = threading.Thread(target=work)
        thread.start()
        heard = [(await stream.next("said")).data for _ in range(20)]
        thread.join()

    assert heard == [str(number) for number in range(20)]


async def test_page_of_another_loop_is_rendered(url: str) -> None:
    """Its shared fragments are those of the app, so they are rendered where it serves."""
    app, topic = make_board(QUART_SSE_BROKER_URL=url, QUART_SSE_DEBOUNCE=0)
    async with app.test_app(), viewing(QuartClient(app)) as stream:
        html = await in_thread(lambda: get_text(QuartClient(app)))
        await topic.refresh(LIST)

        assert "<li>2</li>" in html
        assert (await next_html(stream))[1] == "<li>3</li>"


async def test_stream_of_another_loop_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    """Its client is told to come back, and the log says what is wrong."""
    app, _ = make_board()

    async def ask() -> str:
        async with open_stream(app, "/sse/board") as stream:
            return (await stream.next("sse-holdoff")).data

    async with app.test_app(), viewing(QuartClient(app)):
        assert await in_thread(ask) == "error"

    assert "Let one process serve an app in one loop" in caplog.text


async def test_call_that_the_loop_does_not_take_is_an_error() -> None:
    """It was certainly not made, and is not made later."""
    serving, calls = ServingLoop(0.2), list[int]()
    serving.enter()

    async def call() -> None:
        calls.append(1)

    def block(thread: threading.Thread) -> None:
        thread.start()
        thread.join()

    errors: list[BaseException] = []

    def work() -> None:
        try:
            asyncio.run(serving.run(call))
        except BrokerUnavailable as error:
            errors.append(error)

    block(threading.Thread(target=work))
    await asyncio.sleep(0)

    (error,) = errors
    assert isinstance(error, BrokerUnavailable)
    assert not error.maybe_published
    assert "QUART_SSE_BROKER_TIMEOUT" in str(error)
    assert calls == []


async def test_caller_gets_what_the_function_returns_or_raises() -> None:
    """The function runs in the serving loop's thread."""
    serving = ServingLoop(2.0)
    serving.enter()
    threads: list[int] = []

    async def add(one: int, *, other: int) -> int:
        threads.append(threading.get_ident())
        if other < 0:
            raise ValueError("negative")
        return one + other

    assert await in_thread(lambda: serving.run(add, 1, other=2)) == 3
    with pytest.raises(ValueError, match="negative"):
        await in_thread(lambda: serving.run(add, 1, other=-2))
    assert await serving.run(add, 2, other=2) == 4
    assert set(threads) == {threading.get_ident()}


async def test_cancelled_caller_cancels_the_call() -> None:
    """Nothing goes on in the serving loop for which nobody waits."""
    serving, ended = ServingLoop(2.0), asyncio.Event()
    serving.enter()
    begun = threading.Event()

    async def wait() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def cancel() -> None:
        task = asyncio.create_task(serving.run(wait))
        await asyncio.to_thread(begun.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    await in_thread(cancel)
    async with asyncio.timeout(5):
        await ended.wait()


def test_loop_that_ends_during_a_call_ends_the_call() -> None:
    """The caller is told that it may have been made."""
    serving, begun = ServingLoop(2.0), threading.Event()
    errors: list[BrokerUnavailable] = []

    async def wait() -> None:
        begun.set()
        await asyncio.Event().wait()

    def work() -> None:
        try:
            asyncio.run(serving.run(wait))
        except BrokerUnavailable as error:
            errors.append(error)

    async def serve(thread: threading.Thread) -> None:
        serving.enter()
        thread.start()
        await asyncio.to_thread(begun.wait)

    thread = threading.Thread(target=work)
    asyncio.run(serve(thread))
    thread.join(10)

    assert [error.maybe_published for error in errors] == [True]


# -- loops that end --


async def serve_once(app: Quart, topic: Topic) -> str:
    """Show a page, let it change, and say what came."""
    async with viewing(QuartClient(app)) as stream:
        await topic.publish("said", "x")
        await topic.refresh(LIST)
        said = (await stream.next("board.said")).data
        return said + (await next_html(stream))[0]


@pytest.mark.parametrize("end", ["properly", "closed", "left"])
def test_app_serves_in_each_of_many_loops(end: str) -> None:
    """As in tests: each has a loop of its own, which ends in one way or another."""
    app, topic = make_board(QUART_SSE_DEBOUNCE=0, QUART_SSE_HEARTBEAT=0.1)
    loops = []

    def run(make: Callable[[], Coroutine[Any, Any, str]]) -> str:
        if end == "properly":
            return asyncio.run(make())
        loop = asyncio.new_event_loop()
        loops.append(loop)
        try:
            return loop.run_until_complete(make())
        finally:
            if end == "closed":
                loop.close()

    heard = [run(lambda: serve_once(app, topic)) for _ in range(4)]

    assert heard == ["xboard.list"] * 4
    for loop in loops:
        if not loop.is_closed():
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_fragment_is_not_dead_after_a_loop_of_ones_own() -> None:
    """A script that has rendered in a loop does not keep a later one from it."""
    app, topic = make_board(QUART_SSE_DEBOUNCE=0)

    async def read() -> str:
        async with asyncio.timeout(5):
            return await get_text(QuartClient(app))

    asyncio.run(topic.refresh(LIST))

    assert "<li>1</li>" in asyncio.run(read())
    assert "<li>2</li>" in asyncio.run(read())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_publishing_after_a_loop_that_was_closed_reaches_no_dead_stream(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What listened there is forgotten, and a later stream hears what comes then."""
    app, topic = make_board()
    loop = asyncio.new_event_loop()
    stream = open_stream(app, "/sse/board")
    opened = loop.run_until_complete(stream.__aenter__())
    loop.run_until_complete(opened.next("sse-open"))
    loop.close()

    asyncio.run(topic.publish("said", 1))

    assert not app.extensions[KEY].connections
    ours = [record.levelname for record in caplog.records if record.name.startswith("quart_sse.")]
    assert ours == ["WARNING"]  # that no page is served
    assert asyncio.run(serve_once(app, topic)) == "xboard.list"
    del stream, opened
    gc.collect()  # the tasks that were pending in the closed loop, which complain of it


def test_end_of_a_loop_is_noticed_without_a_lifespan() -> None:
    """Regular work, signal handlers and broker end with the loop of the first request."""
    app, _ = make_board()
    services = app.extensions[KEY]

    async def read() -> set[str]:
        await get_text(QuartClient(app))
        return {services.broker.state.value, *(task.get_name() for task in asyncio.all_tasks())}

    during = asyncio.run(read())

    assert "ready" in during
    assert services.broker.state.value == "stopped"
    assert not services.lifecycle.is_serving


async def test_function_waits_for_the_end_of_its_loop() -> None:
    """It is called in the loop, once."""
    calls: list[asyncio.AbstractEventLoop] = []

    async def note() -> None:
        await asyncio.sleep(0)
        calls.append(asyncio.get_running_loop())

    kept: list[object] = []

    async def run() -> asyncio.AbstractEventLoop:
        kept.append(at_end_of_loop(note))
        await asyncio.sleep(0)
        assert calls == []
        return asyncio.get_running_loop()

    loop = await in_thread(run)

    assert calls == [loop]


# -- connections to Redis --


async def clients(redis: RedisServer) -> int:
    """Return the number of clients that Redis has, but for the one that asks."""
    return len((await redis.ask("CLIENT", "LIST")).splitlines()) - 1


async def until_clients(redis: RedisServer, most: int) -> None:
    """Wait until Redis has no more clients than that."""
    async with asyncio.timeout(5):
        while await clients(redis) > most:
            pass


async def test_sync_views_leave_no_connection_to_redis(tmp_path: Path) -> None:
    """They are handed over, so a hundred need only the few of the loop that serves."""
    async with running_redis(tmp_path) as redis:
        app, _ = make_board(QUART_SSE_BROKER_URL=redis.url)
        async with app.test_app():
            client = QuartClient(app)
            for _ in range(100):
                assert (await client.post("/sync")).status_code == 200

            assert await clients(redis) < 10


async def test_loops_take_their_connections_with_them(tmp_path: Path) -> None:
    """A script may run many loops, one after the other."""
    async with running_redis(tmp_path) as redis:
        _, topic = make_board(QUART_SSE_BROKER_URL=redis.url)
        before = await clients(redis)

        def work() -> None:
            for _ in range(30):
                asyncio.run(topic.publish("said", 1))

        await asyncio.to_thread(work)
        await until_clients(redis, before)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
async def test_loop_that_was_only_closed_keeps_no_connection(tmp_path: Path) -> None:
    """What it left is dropped when another loop publishes."""
    async with running_redis(tmp_path) as redis:
        _, topic = make_board(QUART_SSE_BROKER_URL=redis.url)
        before = await clients(redis)

        def work() -> None:
            for _ in range(20):
                loop = asyncio.new_event_loop()
                loop.run_until_complete(topic.publish("said", 1))
                loop.close()
            asyncio.run(topic.publish("said", 1))
            gc.collect()

        await asyncio.to_thread(work)
        await until_clients(redis, before)


# -- processes --


def test_script_that_publishes_to_no_one_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    """On memory:// nobody else can hear it."""
    _, topic = make_board()

    for _ in range(3):
        asyncio.run(topic.publish("said", 1))

    (said,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "memory://" in said.message


def publish_in_child(topic: Topic, connection: Any) -> None:
    """Publish in a forked process, and report what the log says, or what was raised."""
    records: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("quart_sse").addHandler(handler)
    began = time.monotonic()
    try:
        asyncio.run(topic.publish("said", "child"))
    except Exception as error:
        records.append(repr(error))
    connection.send((records, time.monotonic() - began))


async def test_forked_child_knows_that_it_is_one(url: str) -> None:
    """It does not take the parent's loop for its own, and the parent goes on."""
    app, topic = make_board(QUART_SSE_BROKER_URL=url)
    here, there = multiprocessing.Pipe()
    fork = multiprocessing.get_context("fork")
    async with app.test_app(), open_stream(app, "/sse/board") as stream:
        await stream.next("sse-open")
        child = fork.Process(target=publish_in_child, args=(topic, there))
        child.start()
        records, seconds = await asyncio.to_thread(here.recv)
        child.join()
        await topic.publish("said", "parent")
        heard = [(await stream.next("said")).data]
        if url != "memory://":
            heard.append((await stream.next("said")).data)

    assert seconds < 1.5
    if url == "memory://":
        assert heard == ["parent"]
        assert "memory://" in records[0]
    else:
        assert heard == ["child", "parent"]
        assert records == []


async def test_forked_workers_have_positions_of_their_own() -> None:
    """A page of one worker asks another for what it missed, and is reset, not left in silence."""
    app, _ = make_board()
    fork = multiprocessing.get_context("fork")
    here, there = multiprocessing.Pipe()

    def serve() -> None:
        async def ask() -> str:
            await get_text(QuartClient(app))
            return str(app.extensions[KEY].broker.known)

        there.send(asyncio.run(ask()))

    epochs = []
    for _ in range(2):
        child = fork.Process(target=serve)
        child.start()
        epochs.append((await asyncio.to_thread(here.recv)).partition(".")[0])
        child.join()

    assert len({*epochs, str(app.extensions[KEY].broker.known).partition(".")[0]}) == 3


# -- apps --


def test_apps_are_collected_when_no_one_holds_them() -> None:
    """A factory that is called for each test keeps none of its apps alive."""
    sse = SSE()
    board = sse.channel("board", "/board", public=True)
    board.fragment(LIST)(lambda: "x")
    apps: list[weakref.ref[Quart]] = []

    async def use() -> None:
        app = Quart(__name__)
        app.secret_key = "for tests only"
        sse.init_app(app)
        apps.append(weakref.ref(app))
        async with open_stream(app, "/sse/board") as stream:
            await board.topic().publish("said", len(apps))
            assert (await stream.next("said")).data == str(len(apps))

    for _ in range(5):
        asyncio.run(use())
    gc.collect()

    assert [app() for app in apps] == [None] * 5


async def test_lifespan_that_stops_in_another_way_stops_once() -> None:
    """The end of its loop finds nothing left to stop."""
    app, topic = make_board()
    async with app.test_app():
        await get_text(QuartClient(app))
    async with app.test_app(), open_stream(app, "/sse/board") as stream:
        gc.collect()  # what waited for the end of the loop before
        await topic.publish("said", "x")

        assert (await stream.next("said")).data == "x"
        await until(lambda: app.extensions[KEY].lifecycle.is_serving)


# -- what strangers found --


async def test_sync_views_that_render_pages_do_not_wait_for_each_other() -> None:
    """Each holds a thread, and its fragments need some, too."""
    app, _ = make_board(QUART_SSE_RENDER_TIMEOUT=10)
    app.before_request(lambda: None)  # which runs in a thread

    @app.get("/page")
    def sync_page() -> str:
        html: str = asyncio.run(render_template_string(MACROS + LIST_AND_CONNECT))
        return html

    executor = ThreadPoolExecutor(2)
    asyncio.get_running_loop().set_default_executor(executor)
    async with app.test_app(), asyncio.timeout(8):
        pages = await asyncio.gather(*(QuartClient(app).get("/page") for _ in range(6)))

    assert [each.status_code for each in pages] == [200] * 6


async def test_push_of_a_sync_view_runs_hooks_where_they_belong() -> None:
    """A hook may use what belongs to the loop of the app, such as a pool of connections."""
    app, topic = make_board()
    loops: list[asyncio.AbstractEventLoop] = []

    @app.before_request
    async def note() -> None:
        loops.append(asyncio.get_running_loop())

    app.jinja_loader = DictLoader({"x.html": "pushed"})

    @app.post("/push")
    def push() -> str:
        asyncio.run(topic.push(LIST, template="x.html"))
        return "done"

    async with app.test_app(), viewing(QuartClient(app)) as stream:
        await QuartClient(app).post("/push")

        assert (await next_html(stream))[1] == "pushed"
    assert set(loops) == {asyncio.get_running_loop()}


async def test_nobody_is_present_after_a_restart() -> None:
    """Those who were there when the app stopped are not, when it serves again."""
    app, topic = make_board(QUART_SSE_PRESENCE_LINGER=0)
    async with app.test_app(), open_stream(app, "/sse/board") as stream:
        await stream.next("sse-open")
        assert (await topic.presence()).connections == 1
    async with app.test_app():
        assert (await topic.presence()).connections == 0


async def test_app_serves_again_after_a_stop_that_was_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A step of it took too long, or failed."""
    app, topic = make_board(QUART_SSE_DEBOUNCE=0)
    control = app.extensions[KEY].control
    await app.startup()
    monkeypatch.setattr(control, "end", asyncio.Event().wait)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(app.shutdown(), 0.05)
    monkeypatch.undo()

    async with app.test_app():
        assert await serve_once(app, topic) == "xboard.list"


async def test_broker_that_does_not_start_is_started_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first request fails, a later one is served."""
    app, topic = make_board(QUART_SSE_DEBOUNCE=0)
    broker = app.extensions[KEY].broker.inner

    async def fail(_: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(broker, "start", fail)
    with pytest.raises(OSError, match="no network"):
        await QuartClient(app).get("/")
    monkeypatch.undo()

    assert await serve_once(app, topic) == "xboard.list"


async def test_loop_that_warns_of_nothing_ends(tmp_path: Path) -> None:
    """Tests often turn warnings into errors, as of what begins when a loop is about to end."""
    async with running_redis(tmp_path) as redis:
        app, _ = make_board(QUART_SSE_BROKER_URL=redis.url)
        services = app.extensions[KEY]

        def serve() -> None:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                for _ in range(5):
                    asyncio.run(get_text(QuartClient(app)))
                    assert not services.lifecycle.is_serving

        before = await clients(redis)
        await asyncio.to_thread(serve)
        await until_clients(redis, before)


async def test_long_work_lets_other_tasks_run_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work that is short costs no turn of the loop."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    async with counting_turns() as turns:
        await asyncio.sleep(0)
        pauses, before = Pauses(), turns.count
        for _ in range(100):
            await pauses.due()
        assert turns.count == before

        for _ in range(3):
            now[0] += 1.1 * STRETCH
            await pauses.due()
            await pauses.due()

        assert turns.count >= before + 3


async def test_of_all_long_work_one_stretch_runs_in_each_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However many requests are long, what else is due waits for one stretch at a time."""
    now, ran = [1000.0], list[tuple[int, int]]()
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    async def work(turns: Turns, number: int) -> None:
        pauses = Pauses()
        for _ in range(3):
            now[0] += 1.1 * STRETCH
            await pauses.due()
            ran.append((turns.count, number))

    async with counting_turns() as turns:
        await asyncio.gather(*(work(turns, number) for number in range(4)))

    assert len({turn for turn, _ in ran}) == len(ran)
    assert [number for _, number in ran] == list(range(4)) * 3


async def test_request_that_is_cancelled_keeps_no_other_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A client that leaves while its request is worked on is passed over."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    two = [Pauses(), Pauses()]
    now[0] += 1.1 * STRETCH
    first, second = (asyncio.ensure_future(each.due()) for each in two)
    await asyncio.sleep(0)

    first.cancel()

    await asyncio.wait_for(second, 1)
    assert first.cancelled()
