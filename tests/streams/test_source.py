"""What a view may give as a source; all else is an error that says what to give."""

import asyncio
import functools
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from quart import Quart, Response, current_app, request
from quart.testing import QuartClient

from quart_sse import SSE, Event, ParameterError
from quart_sse.streams.source import source_of
from tests.support.streams import Stream, open_stream


async def rows(last: str | None = None) -> AsyncIterator[Any]:
    """Send one row."""
    yield "row", last


def sync_rows(last: str | None = None) -> Iterator[Any]:
    """Send one row, in a thread."""
    yield "row", last


async def send_row(stream: Any) -> None:
    """Send one row by the stream."""
    await stream.send("row", None)


def send_row_blocking(stream: Any) -> None:
    """Send one row by the stream, in a thread."""
    stream.send("row", None)


class Rows:
    """An object whose call is async."""

    async def __call__(self, stream: Any) -> None:
        await stream.send("row", None)


class EndlessRows:
    """An async iterable that is no generator."""

    def __aiter__(self) -> AsyncIterator[Any]:
        return rows()


async def read(
    app: Quart, given: Any, headers: dict[str, str] | None = None, **more: Any
) -> list[Any]:
    """Return the names and data of what a view sends with a source."""

    async def view() -> Response:
        answer: Response = await app.extensions["sse"].stream(given, **more)
        return answer

    app.view_functions["own"] = view
    async with open_stream(app, "/own", headers) as stream:
        return [(event.event, event.data) for event in await rest(stream)]


async def rest(stream: Stream) -> list[Any]:
    """Return what comes after ``sse-open``."""
    return [event for event in await stream.rest() if event.event != "sse-open"]


@pytest.fixture
def own(app: Quart, sse: SSE) -> Quart:
    """An app with a view whose source the test gives."""
    app.extensions["sse"] = sse
    app.add_url_rule("/own", "own", lambda: "")
    return app


@pytest.mark.parametrize(
    "make",
    [
        rows,
        sync_rows,
        EndlessRows,
        lambda: send_row,
        lambda: send_row_blocking,
        lambda: functools.partial(send_row),
        lambda: functools.partial(send_row_blocking),
        Rows,
        lambda: [("row", None)],
        lambda: iter([("row", None)]),
        lambda: (each for each in [("row", None)]),
    ],
)
async def test_source_feeds_the_stream(own: Quart, make: Any) -> None:
    """Generators, other iterables and callbacks, sync and async."""
    assert await read(own, make()) == [("row", "null"), ("sse-stop", "done")]


@pytest.mark.parametrize("function", [rows, sync_rows, lambda last: rows(last)])
@pytest.mark.parametrize(
    ("headers", "last"),
    [({}, "null"), ({"Last-Event-ID": "7"}, "7"), ({"Last-Event-ID": "started"}, "null")],
)
async def test_source_that_resumes_is_called_with_the_last_id(
    own: Quart, function: Any, headers: dict[str, str], last: str
) -> None:
    """It begins again where the client was cut off."""
    found = await read(own, function, headers, resume=True)

    assert found == [("row", last), ("sse-stop", "done")]


@pytest.mark.parametrize("id", ["started", "7", "x" * 600])
async def test_client_that_was_cut_off_begins_no_job_again(own: Quart, id: str) -> None:
    """It is sent that the stream has ended, whichever id it was sent last."""
    found = await read(own, rows(), {"Last-Event-ID": id})

    assert found == [("sse-stop", "cut")]


async def test_client_that_was_stopped_is_stopped_for_good(own: Quart) -> None:
    """``EventSource`` comes again after ``sse-stop``, and ends with a 204."""
    assert await read(own, rows()) != []

    answer = await QuartClient(own).get("/own", headers={"Last-Event-ID": "stop"})

    assert answer.status_code == 204


@pytest.mark.parametrize(
    ("given", "resume", "message"),
    [
        (rows, False, "got the generator function .* Call it, or pass resume=True"),
        (sync_rows, False, "got the generator function .* Call it, or pass resume=True"),
        (functools.partial(rows, "7"), False, "got the generator function"),
        (5, False, "cannot feed a stream. Pass a generator"),
        (b"data", False, "cannot feed a stream"),
        ({"a": 1}, False, "cannot feed a stream"),
        (Rows, False, "cannot feed a stream"),
        (send_row, True, "cannot begin again .* Pass the generator function itself"),
        (lambda last: last, True, "Let it return a generator"),
        (lambda last: [], True, None),
    ],
)
def test_what_cannot_be_a_source_is_an_error(given: Any, resume: bool, message: str | None) -> None:
    """It says what to give instead."""
    if message is None:
        assert source_of(given, "view", resume, None).is_sync
        return
    with pytest.raises(TypeError, match=message):
        source_of(given, "view", resume, None)


async def test_coroutine_and_generator_that_cannot_begin_again_are_errors() -> None:
    """A coroutine is closed, so that Python does not warn of it, too."""
    with pytest.raises(TypeError, match=r"got a coroutine\. Pass a generator"):
        source_of(asyncio.sleep(0), "view", resume=False, last_event_id=None)
    with pytest.raises(TypeError, match="rows and not rows"):
        source_of(rows(), "view", resume=True, last_event_id=None)


async def test_topics_and_a_source_do_not_go_together(own: Quart, sse: SSE) -> None:
    """Which of the two would say where a client goes on?"""
    topic = sse.channel("news", "/news", public=True).topic()
    stream: Any = sse.stream
    async with own.test_request_context("/"):
        with pytest.raises(TypeError, match=r"topics and a source\. A stream of topics goes on"):
            await stream(topic, rows())
        with pytest.raises(TypeError, match="got 2 sources, but a stream has one"):
            await stream(rows(), rows())
        with pytest.raises(TypeError, match="resume=True is for a source"):
            await stream(topic, resume=True)
        with pytest.raises(ParameterError, match="is no topic"):
            await stream(sse.channels["news"], rows())


async def test_source_has_the_view_s_request(own: Quart) -> None:
    """In a task and in a thread, while the view has long returned."""

    async def here() -> AsyncIterator[Any]:
        await asyncio.sleep(0)
        yield "here", [request.path, current_app.name]

    def there() -> Iterator[Any]:
        yield "here", [request.path, current_app.name]

    for source in (here(), there()):
        ((name, data), _) = await read(own, source)
        assert (name, data) == ("here", f'["/own", "{own.name}"]')


async def test_initial_events_come_before_the_source(own: Quart) -> None:
    """As with topics."""
    found = await read(own, rows(), initial=[Event("hello", name="welcome")])

    assert found == [("welcome", "hello"), ("row", "null"), ("sse-stop", "done")]


async def test_page_of_another_origin_is_refused(own: Quart, sse: SSE) -> None:
    """Nothing begins for it."""
    begun: list[bool] = []

    async def watched() -> AsyncIterator[Any]:
        begun.append(True)
        yield "row", 1

    async def view() -> Response:
        return await sse.stream(watched())

    own.view_functions["own"] = view
    answer = await QuartClient(own).get("/own", headers={"Sec-Fetch-Site": "cross-site"})

    assert answer.status_code == 403
    assert not begun


async def test_head_begins_nothing(own: Quart, sse: SSE) -> None:
    """It gets the headers of a stream."""
    begun: list[bool] = []

    async def watched(stream: Any) -> None:
        begun.append(True)

    async def view() -> Response:
        return await sse.stream(watched)

    own.view_functions["own"] = view
    answer = await QuartClient(own).head("/own")

    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert not begun
