"""A connection that a source feeds: what it is sent, and how fast."""

import asyncio

import pytest

from quart_sse import Config, ConnectionClosedError, Ending
from quart_sse.hub import OwnConnection
from tests.support.streams import until


def make(resumes: bool = False, heartbeat: float = 15.0) -> OwnConnection:
    """Return a connection whose source is the test."""
    connection = OwnConnection(
        Config(heartbeat=heartbeat), begin=lambda _: begun.append(True), resumes=resumes
    )
    begun.clear()
    return connection


begun: list[bool] = []


async def test_source_begins_when_the_client_was_sent_how_the_stream_begins() -> None:
    """A client that goes before has begun nothing, and one that comes again is known by the id."""
    connection = make()
    connection.ahead([connection.encode_opening()])

    first, opening = await anext(connection), await anext(connection)
    assert not begun
    waiting = asyncio.ensure_future(anext(connection))
    await until(lambda: begun)

    assert first == b"retry: 3000\n:\n\n"
    assert opening.startswith(b"id: started\nevent: sse-open\n")
    assert connection.has_begun
    connection.end()
    with pytest.raises(StopAsyncIteration):
        await waiting


async def test_stream_that_resumes_begins_without_an_id() -> None:
    """The ids are the source's."""
    assert make(resumes=True).encode_opening().startswith(b"event: sse-open\n")


async def test_put_waits_until_the_server_asks_for_more() -> None:
    """What was written to a socket that takes no more is not overtaken by anything."""
    connection = make()
    await anext(connection)
    put = asyncio.ensure_future(connection.put(b"data: 1\n\n"))

    written = await anext(connection)
    for _ in range(5):
        await asyncio.sleep(0)
    was_done = put.done()
    asking = asyncio.ensure_future(anext(connection))
    await put

    assert written == b"data: 1\n\n"
    assert not was_done
    connection.end(Ending.DONE)
    assert b"data: done" in await asking


@pytest.mark.parametrize("ending", [None, Ending.SHUTDOWN, Ending.CLOSED])
async def test_end_stops_the_source_and_lets_those_go_who_wait(ending: Ending | None) -> None:
    """Whatever has ended the stream; what was sent before goes out, if the client is there."""
    connection = make()
    stopped: list[bool] = []
    connection.stop = lambda: stopped.append(True)
    put = asyncio.ensure_future(connection.put(b"data: 1\n\n"))
    await until(lambda: connection._senders)

    connection.end(ending)
    with pytest.raises(ConnectionClosedError):
        await put
    with pytest.raises(ConnectionClosedError):
        await connection.put(b"data: 2\n\n")

    assert stopped == [True]
    rest = [data async for data in connection]
    assert rest[:2] == [b"retry: 3000\n:\n\n", b"data: 1\n\n"]
    assert len(rest) == (2 if ending is None else 3)


async def test_source_that_ends_its_stream_is_not_stopped() -> None:
    """A callback that closes the stream goes on."""
    connection = make()
    stopped: list[bool] = []
    connection.stop = lambda: stopped.append(True)

    connection.finish(Ending.DONE)
    connection.end()

    assert not stopped
    assert connection.ending is Ending.DONE


async def test_silent_stream_sends_heartbeats_without_an_id() -> None:
    """The id that the client has stays, and nothing that comes later is lost."""
    connection = make(heartbeat=0.1)
    await anext(connection)

    assert await anext(connection) == b":\n\n"
    assert await anext(connection) == b":\n\n"
    put = asyncio.ensure_future(connection.put(b"data: 1\n\n"))
    await until(lambda: connection._ahead)
    assert await anext(connection) == b"data: 1\n\n"
    connection.end()
    with pytest.raises(ConnectionClosedError):
        await put
