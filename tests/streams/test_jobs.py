"""Sources that run: they end with their streams, whatever they do, and harm no one else."""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from quart import Quart, Response

from quart_sse import SSE, ConnectionHandle, Ending, ParameterError
from tests.support.sites import Site
from tests.support.streams import Stream, open_stream, until

Ended = list[str]
#: Seconds between two rows of a source that is in no hurry.
PAUSE = 0.001


def view(app: Quart, sse: SSE, make: Callable[[], Any], url: str = "/own", **more: Any) -> None:
    """Let the app answer with a source."""

    async def answer() -> Response:
        return await sse.stream(make(), **more)

    app.add_url_rule(url, url, answer)


async def names(stream: Stream) -> list[str]:
    """Return the names of all that comes, with the data of what ends the stream."""
    rest = [event for event in await stream.rest() if event.event != "sse-open"]
    return [f"{e.event} {e.data}" if e.event[:4] == "sse-" else e.event for e in rest]


def endless(ended: Ended) -> dict[str, Callable[[], Any]]:
    """Return one source of each kind, which never ends by itself and notes that it was ended."""

    async def rows() -> AsyncIterator[Any]:
        try:
            while True:
                yield "row", 1
                await asyncio.sleep(PAUSE)
        finally:
            await asyncio.sleep(0)
            ended.append("async")

    def sync_rows() -> Iterator[Any]:
        try:
            while True:
                yield "row", 1
                time.sleep(PAUSE)
        finally:
            ended.append("sync")

    async def callback(stream: Any) -> None:
        try:
            while True:
                await stream.send("row", 1)
                await asyncio.sleep(PAUSE)
        finally:
            ended.append("callback")

    def sync_callback(stream: Any) -> None:
        try:
            while True:
                stream.send("row", 1)
                time.sleep(PAUSE)
        finally:
            ended.append("sync-callback")

    async def silent() -> AsyncIterator[Any]:
        try:
            yield "row", 1
            await asyncio.Event().wait()
        finally:
            ended.append("silent")

    return {
        "async": rows,
        "sync": sync_rows,
        "callback": lambda: callback,
        "sync-callback": lambda: sync_callback,
        "silent": silent,
    }


KINDS = ("async", "sync", "callback", "sync-callback", "silent")


# -- the end ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_source_cleans_up_when_its_client_has_gone(app: Quart, sse: SSE, kind: str) -> None:
    """And the log has nothing of it, for it is no error."""
    ended: Ended = []
    view(app, sse, endless(ended)[kind])

    async with open_stream(app, "/own") as stream:
        await stream.next("row")
        assert sse.connections.count() == 1

    await until(lambda: ended)
    assert ended == [kind]
    assert sse.connections.count() == 0


@pytest.mark.parametrize("kind", KINDS)
async def test_source_cleans_up_when_the_server_stops(app: Quart, sse: SSE, kind: str) -> None:
    """Before the app's own functions after serving; the client comes back a second later."""
    ended: Ended = []
    at_stop: list[Ended] = []
    view(app, sse, endless(ended)[kind])

    @app.after_serving
    async def note() -> None:
        at_stop.append([*ended])

    async with app.test_app(), open_stream(app, "/own") as stream:
        await stream.next("row")
        app.extensions["quart_sse"].shutdown.close()
        assert (await names(stream))[-1] == "sse-holdoff shutdown"

    assert at_stop == [[kind]]


@pytest.mark.parametrize("kind", KINDS)
async def test_handle_ends_a_source(app: Quart, sse: SSE, kind: str) -> None:
    """As any connection; and an event for it alone comes among those of the source."""
    ended: Ended = []
    seen: list[tuple[str, Ending | None]] = []
    hooks: dict[str, Any] = {"on_disconnect": lambda _, ending: seen.append(("gone", ending))}
    view(app, sse, endless(ended)[kind], connection_id="job-7", metadata={"a": 1}, **hooks)

    async with open_stream(app, "/own") as stream:
        await stream.next("row")
        (handle,) = sse.connections.of(where={"a": 1})
        await handle.send("hello", {"from": "us"})
        assert (await stream.next("hello")).data == '{"from": "us"}'
        assert await sse.close("job-7")
        assert (await names(stream))[-1] == "sse-stop closed"

    await until(lambda: ended and seen)
    assert ended == [kind]
    assert seen == [("gone", Ending.CLOSED)]


async def test_connection_of_a_source_has_no_topics(app: Quart, sse: SSE) -> None:
    """None can be added, and the error says why."""
    news = sse.channel("news", "/news", public=True)
    view(app, sse, endless([])["silent"])

    async with open_stream(app, "/own") as stream:
        await stream.next("row")
        (handle,) = sse.connections
        assert handle.topics == ()
        with pytest.raises(ParameterError, match="has a source of a view and no topics"):
            await handle.subscribe(news.topic())


async def test_source_that_ends_stops_its_client(app: Quart, sse: SSE) -> None:
    """Both the end and an error are ``sse-stop``, so that no client begins the job again."""

    async def fails() -> AsyncIterator[Any]:
        yield "row", 1
        raise ValueError("what no client may read")

    view(app, sse, lambda: iter([("row", 1), "text"]), "/ends")
    view(app, sse, fails, "/fails")

    async with open_stream(app, "/ends") as stream:
        assert await names(stream) == ["row", "message", "sse-stop done"]
    async with open_stream(app, "/fails") as stream:
        events = [event async for event in all_of(stream)]
        assert events[1:] == [
            ("row", "1", "started"),
            ("sse-error", "failed", "started"),
            ("sse-stop", "failed", "stop"),
        ]


async def all_of(stream: Stream) -> AsyncIterator[tuple[str, str, str]]:
    """Yield the name, data and id of all that comes."""
    for event in await stream.rest():
        yield event.event, event.data, event.id


# -- sources that do wrong -------------------------------------------------------------------------


async def raises_in_finally() -> AsyncIterator[Any]:
    """Fail while cleaning up."""
    try:
        while True:
            yield "row", 1
    finally:
        raise LookupError("in finally")


def raises_in_finally_sync() -> Iterator[Any]:
    """Fail while cleaning up, in a thread."""
    try:
        while True:
            yield "row", 1
            time.sleep(PAUSE)
    finally:
        raise LookupError("in finally")


async def yields_in_finally() -> AsyncIterator[Any]:
    """Go on after the end."""
    try:
        while True:
            yield "row", 1
    finally:
        yield "row", 2


def yields_in_finally_sync() -> Iterator[Any]:
    """Go on after the end, in a thread."""
    try:
        while True:
            yield "row", 1
            time.sleep(PAUSE)
    finally:
        yield "row", 2


async def swallows_cancelling() -> AsyncIterator[Any]:
    """Take being cancelled for something else, and go on."""
    yield "row", 1
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            yield "row", 2


@pytest.mark.parametrize(
    ("source", "logged"),
    [
        (raises_in_finally, "LookupError: in finally"),
        (raises_in_finally_sync, "LookupError: in finally"),
        (yields_in_finally, "ignored GeneratorExit"),
        (yields_in_finally_sync, "ignored GeneratorExit"),
        (swallows_cancelling, None),
    ],
)
async def test_source_that_does_wrong_at_its_end_harms_no_one(
    app: Quart, sse: SSE, caplog: pytest.LogCaptureFixture, source: Any, logged: str | None
) -> None:
    """Its stream is released, others go on, and the log says what it did."""
    view(app, sse, source)
    view(app, sse, endless([])["silent"], "/other")
    jobs = app.extensions["quart_sse"].lifecycle._jobs

    async with open_stream(app, "/other") as other:
        await other.next("row")
        async with open_stream(app, "/own") as stream:
            await stream.next("row")
        await until(lambda: len(jobs._tasks) == 1)
        assert sse.connections.count() == 1
        (handle,) = sse.connections
        await handle.send("hello")
        await other.next("hello")

    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == (logged is not None)
    assert (logged or "") in caplog.text


def asks_to_exit() -> Iterator[Any]:
    """Ask the thread, or the process, to exit."""
    yield "row", 1
    raise SystemExit(3)


def ends_iteration(stream: Any) -> None:
    """Raise what generators end with."""
    stream.send("row", 1)
    raise StopIteration


async def is_cancelled_inside() -> AsyncIterator[Any]:
    """Await what was cancelled, by no one who means the source."""
    yield "row", 1
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


async def sends_after_close(stream: Any) -> None:
    """Send to a stream that the callback itself has closed."""
    await stream.send("row", 1)
    await stream.close()
    assert not stream.is_open
    await stream.send("row", 2)


def returns_a_coroutine(stream: Any) -> Any:
    """Be async behind the back of ``inspect``."""

    async def later() -> None:
        await stream.send("row", 1)

    return later()


@pytest.mark.parametrize(
    ("source", "sent", "logged"),
    [
        (asks_to_exit(), ["row", "sse-error failed", "sse-stop failed"], "SystemExit(3)"),
        (ends_iteration, ["row", "sse-error failed", "sse-stop failed"], "StopIteration()"),
        (is_cancelled_inside(), ["row", "sse-error failed", "sse-stop failed"], "CancelledError"),
        (sends_after_close, ["row", "sse-stop done"], "ConnectionClosedError"),
        (returns_a_coroutine, ["sse-error failed", "sse-stop failed"], "Declare it with async def"),
        (iter([5]), ["sse-error failed", "sse-stop failed"], "sent 5, which is no item"),
        (iter([b"data: 1\n"]), ["sse-error failed", "sse-stop failed"], "without the blank line"),
        (iter([("sse-stop", 1)]), ["sse-error failed", "sse-stop failed"], "is reserved"),
    ],
)
async def test_error_of_a_source_is_logged_and_not_sent(
    app: Quart,
    sse: SSE,
    caplog: pytest.LogCaptureFixture,
    source: Any,
    sent: list[str],
    logged: str,
) -> None:
    """Whatever it raises or sends."""
    view(app, sse, lambda: source)

    async with open_stream(app, "/own") as stream:
        assert await names(stream) == sent

    await until(lambda: logged in caplog.text)
    assert "The source of a stream of /own failed" in caplog.text


async def test_source_that_does_not_end_keeps_no_server(
    app: Quart, sse: SSE, caplog: pytest.LogCaptureFixture
) -> None:
    """A stopping server waits for it for a while, says so, and stops."""
    release = threading.Event()
    view(app, sse, lambda: blocks(release))
    begun = time.monotonic()

    async with app.test_app(), open_stream(app, "/own") as stream:
        await stream.next("row")

    assert time.monotonic() - begun < 8
    assert "1 sources of streams have not ended 2 s after" in caplog.text
    release.set()


def blocks(release: threading.Event) -> Iterator[Any]:
    """Send once, and never again."""
    yield "row", 1
    release.wait(20)


async def test_loop_goes_on_while_sync_sources_block(app: Quart, sse: SSE) -> None:
    """They take no thread of the app's executor, either."""
    release = threading.Event()
    view(app, sse, lambda: blocks(release))
    app.add_url_rule("/sync", "sync", lambda: "sync")
    loop = asyncio.get_running_loop()

    streams = [open_stream(app, "/own") for _ in range(40)]
    opened = [await stream.__aenter__() for stream in streams]
    for stream in opened:
        await stream.next("row")
    async with asyncio.timeout(5):
        assert await loop.run_in_executor(None, lambda: 7) == 7
        assert (await app.test_client().get("/sync")).status_code == 200
    release.set()
    for each in streams:
        await each.__aexit__(None, None, None)


# -- limits ----------------------------------------------------------------------------------------


async def test_sync_sources_have_a_limit(app: Quart, caplog: pytest.LogCaptureFixture) -> None:
    """Who comes beyond it comes back, and async sources need no place."""
    app.config["QUART_SSE_SYNC_STREAMS"] = 2
    sse, ended = SSE(app), Ended()
    sources = endless(ended)
    view(app, sse, sources["sync"])
    view(app, sse, sources["async"], "/async")

    async with open_stream(app, "/own") as one, open_stream(app, "/own") as two:
        await one.next("row")
        await two.next("row")
        async with open_stream(app, "/own") as third:
            (event,) = await third.rest()
            assert (event.event, event.data, event.id) == ("sse-holdoff", "overloaded", "")
        async with open_stream(app, "/async") as other:
            await other.next("row")
    await until(lambda: len(ended) == 3)

    assert "QUART_SSE_SYNC_STREAMS" in caplog.text
    async with open_stream(app, "/own") as again:
        await again.next("row")


async def test_place_of_a_source_that_never_began_is_free_again(app: Quart) -> None:
    """A client that leaves before it has read anything has begun nothing."""
    app.config["QUART_SSE_SYNC_STREAMS"] = 1
    sse, ended = SSE(app), Ended()
    view(app, sse, endless(ended)["sync"])
    async with app.test_request_context("/own"):
        response: Any = await sse.stream(endless(ended)["sync"]())
    async with response.response as chunks:
        await anext(chunks)
        assert app.extensions["quart_sse"].lifecycle._jobs.is_full
    assert not app.extensions["quart_sse"].lifecycle._jobs.is_full

    async with open_stream(app, "/own") as stream:
        await stream.next("row")
    assert ended in ([], ["sync"])


async def test_connections_of_sources_count(app: Quart) -> None:
    """A full process holds off a further one, which has begun nothing."""
    app.config["QUART_SSE_MAX_CONNECTIONS"] = 1
    sse = SSE(app)
    view(app, sse, endless([])["silent"])

    async with open_stream(app, "/own") as one:
        await one.next("row")
        async with open_stream(app, "/own") as two:
            (event,) = await two.rest()
            assert (event.event, event.data) == ("sse-holdoff", "overloaded")


async def test_hooks_and_identity_are_those_of_any_stream(app: Quart, sse: SSE) -> None:
    """And what ends the streams of a user ends this one."""
    seen: list[tuple[str, str | None]] = []
    ended: Ended = []

    @sse.on_connect
    async def note(connection: ConnectionHandle) -> None:
        seen.append((connection.id, connection.identity))

    view(app, sse, endless(ended)["silent"], identity="mira", connection_id="a")
    async with open_stream(app, "/own") as stream:
        await stream.next("row")
        await until(lambda: seen)
        await sse.disconnect(identity="mira")
        assert (await names(stream))[-1] == "sse-holdoff disconnect"
    await until(lambda: ended)
    assert seen == [("a", "mira")]


async def test_stream_of_a_source_lasts_longer_than_others(app: Quart) -> None:
    """What does not resume is not ended for its age; what does is, and goes on."""
    app.config["QUART_SSE_MAX_AGE"] = 1
    sse = SSE(app)
    view(app, sse, endless([])["silent"])
    view(app, sse, lambda: lambda last: endless([])["silent"](), "/resumed", resume=True)

    async with open_stream(app, "/own") as own, open_stream(app, "/resumed") as resumed:
        await own.next("row")
        await resumed.next("row")
        assert (await resumed.next("sse-holdoff")).data == "max-age"
        assert [each.ends_at for each in app.extensions["quart_sse"].connections] == [float("inf")]


async def test_source_needs_no_broker(site: Site) -> None:
    """With memory and with Redis; what is published goes to others."""
    view(site.app, site.sse, endless([])["async"])

    async with open_stream(site.app, "/own") as stream:
        await site.sse.everyone.publish("maintenance")
        await site.news.topic().publish("said")
        assert {(await stream.next()).event for _ in range(20)} == {"sse-open", "row"}


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_source_is_not_ahead_of_its_client(app: Quart, sse: SSE, kind: str) -> None:
    """It is advanced when the server has taken what it has sent."""
    sent = [0]

    async def rows() -> AsyncIterator[Any]:
        while True:
            sent[0] += 1
            yield "row", sent[0]

    def sync_rows() -> Iterator[Any]:
        while True:
            sent[0] += 1
            yield "row", sent[0]

    view(app, sse, rows if kind == "async" else sync_rows)
    async with app.test_request_context("/own"):
        response: Any = await sse.stream(rows() if kind == "async" else sync_rows())
    async with response.response as chunks:
        for _ in range(2):
            await anext(chunks)
        for number in range(1, 6):
            assert f"data: {number}\n".encode() in await anext(chunks)
            for _ in range(50):
                await asyncio.sleep(0)
            assert sent[0] == number
