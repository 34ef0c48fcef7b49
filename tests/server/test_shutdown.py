"""Shutdown: streams end when their server stops, and clients come back to another."""

import os
import signal

from quart import Quart, Response
from quart.testing import QuartClient

from quart_sse import SSE
from tests.support.streams import open_stream, until


async def test_close_all_ends_streams_and_holds_off_new_ones(
    app: Quart, sse: SSE, news: str
) -> None:
    """While a server stops, browsers come back later, to the process that serves then."""
    async with open_stream(app, news) as one, open_stream(app, "/sse?t=~news") as two:
        await sse.close_all()
        ended = [await stream.rest() for stream in (one, two)]
    async with open_stream(app, news) as late:
        refused = await late.rest()
    plain = await QuartClient(app).get(news)

    for events in ended:
        assert [event.event for event in events] == ["sse-open", "sse-holdoff"]
        assert events[-1].data == "shutdown"
    assert [(event.event, event.data) for event in refused] == [("sse-holdoff", "shutdown")]
    assert refused[0].retry
    assert plain.status_code == 503


async def test_close_all_holds_off_streams_of_views(app: Quart, sse: SSE, news: str) -> None:
    """A view's own stream ends, and is held off, like any other."""

    @app.get("/ticker")
    async def ticker() -> Response:
        return await sse.stream(sse.topic("news"))

    async with open_stream(app, "/ticker") as open_one:
        await sse.close_all()
        ended = await open_one.rest()
    async with open_stream(app, "/ticker") as late:
        refused = await late.rest()

    assert ended[-1].event == "sse-holdoff"
    assert [event.event for event in refused] == ["sse-holdoff"]


async def test_stop_of_the_app_ends_streams(app: Quart, news: str) -> None:
    """A lifespan that ends takes its streams with it."""
    async with app.test_app() as running, open_stream(app, news) as stream:
        await running.shutdown()
        events = await stream.rest()

    assert events[-1].event == "sse-holdoff"


async def test_ended_streams_are_forgotten(app: Quart, sse: SSE, news: str) -> None:
    """A client that goes away is no receiver any more, and nothing of it stays."""
    async with open_stream(app, news):
        pass

    assert (await sse.topic("news").publish("said")).local_receivers == 0
    await until(sse._current.connections.emptied.is_set)


async def test_signal_ends_streams_and_reaches_the_server_s_own_handler(
    app: Quart, news: str
) -> None:
    """A server waits for its responses first, and a stream would never end by itself."""
    told: list[int] = []

    def stop(number: int, _frame: object) -> None:
        told.append(number)

    former = signal.signal(signal.SIGTERM, stop)
    try:
        async with app.test_app():
            async with open_stream(app, news) as stream:
                os.kill(os.getpid(), signal.SIGTERM)
                events = await stream.rest()
            assert signal.getsignal(signal.SIGTERM) is not stop
        given_back = signal.getsignal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, former)

    assert [event.event for event in events] == ["sse-open", "sse-holdoff"]
    assert told == [signal.SIGTERM]
    assert given_back is stop


async def test_signal_without_a_handler_is_left_to_the_system(app: Quart, news: str) -> None:
    """The system ends a process without a handler; one of ours would take its place."""
    former = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        async with app.test_app(), open_stream(app, news):
            during = signal.getsignal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, former)

    assert during == signal.SIG_DFL
