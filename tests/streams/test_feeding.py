"""The stream in the hand of a callback, with and without an event loop."""

import asyncio
import threading
from typing import Any

import pytest
from quart import Quart, Response

from quart_sse import SSE, BlockingOwnStream, ConnectionClosedError, Event, OwnStream
from tests.support.streams import open_stream, until


@pytest.fixture
def answers(app: Quart, sse: SSE) -> list[Any]:
    """The callback with which the app answers at ``/own``, as the last of a list."""
    given: list[Any] = []

    async def view() -> Response:
        return await sse.stream(given[-1])

    app.add_url_rule("/own", "own", view)
    return given


async def everything(app: Quart) -> list[tuple[str, str]]:
    """Return the names and data of all that a client is sent after ``sse-open``."""
    async with open_stream(app, "/own") as stream:
        return [(event.event, event.data) for event in await stream.rest()][1:]


SENT = [("a", "1"), ("b", "null"), ("message", "text"), ("c", "2"), ("d", "3"), ("e", "4")]


async def test_callback_sends_every_kind_of_item(app: Quart, answers: list[Any]) -> None:
    """By name and data, as a generator would, and raw; ``None`` is data, too."""

    async def send(stream: OwnStream) -> None:
        await stream.send("a", 1)
        await stream.send("b", None)
        await stream.send("text")
        await stream.send(("c", 2))
        await stream.send(Event("3", name="d"))
        await stream.send_raw("event: e\n")
        await stream.send_raw(b"data: 4\n\n")

    answers.append(send)
    assert await everything(app) == [*SENT, ("sse-stop", "done")]


async def test_blocking_callback_does_the_same(app: Quart, answers: list[Any]) -> None:
    """In a thread of its own."""
    threads: list[threading.Thread] = []

    def send(stream: BlockingOwnStream) -> None:
        threads.append(threading.current_thread())
        stream.send("a", 1)
        stream.send("b", None)
        stream.send("text")
        stream.send(("c", 2))
        stream.send(Event("3", name="d"))
        stream.send_raw("event: e\n")
        stream.send_raw(b"data: 4\n\n")

    answers.append(send)
    assert await everything(app) == [*SENT, ("sse-stop", "done")]
    assert threads[0].name == "quart_sse-stream-own"
    assert threads[0].daemon


@pytest.mark.parametrize("is_blocking", [False, True])
async def test_callback_goes_on_after_it_has_closed_the_stream(
    app: Quart, answers: list[Any], is_blocking: bool
) -> None:
    """The client is let go at once; what is sent then is an error."""
    state: list[Any] = []
    go_on = threading.Event()

    async def send(stream: OwnStream) -> None:
        await stream.send("a", 1)
        state.append(stream.is_open)
        await stream.close()
        await asyncio.to_thread(go_on.wait, 10)
        state.append(stream.is_open)
        with pytest.raises(ConnectionClosedError):
            await stream.send("a", 2)
        state.append(stream.id)

    def send_blocking(stream: BlockingOwnStream) -> None:
        stream.send("a", 1)
        state.append(stream.is_open)
        stream.close()
        go_on.wait(10)
        state.append(stream.is_open)
        with pytest.raises(ConnectionClosedError):
            stream.send("a", 2)
        state.append(stream.id)

    answers.append(send_blocking if is_blocking else send)
    assert await everything(app) == [("a", "1"), ("sse-stop", "done")]
    go_on.set()

    await until(lambda: len(state) == 3)
    assert state[:2] == [True, False]
    assert "." in state[2]


async def test_blocking_callback_sees_that_its_client_has_gone(
    app: Quart, answers: list[Any]
) -> None:
    """Without sending anything, if what it does takes long."""
    seen = threading.Event()

    def work(stream: BlockingOwnStream) -> None:
        stream.send("a", 1)
        while stream.is_open:
            seen.wait(0.001)
        seen.set()

    answers.append(work)
    async with open_stream(app, "/own") as stream:
        await stream.next("a")

    await until(seen.is_set)


async def test_several_tasks_may_send(app: Quart, answers: list[Any]) -> None:
    """Each message goes out once, and whole."""

    async def send(stream: OwnStream) -> None:
        await asyncio.gather(*(stream.send("n", number) for number in range(50)))

    answers.append(send)
    found = await everything(app)

    assert sorted(int(data) for name, data in found[:-1]) == [*range(50)]
    assert found[-1] == ("sse-stop", "done")
