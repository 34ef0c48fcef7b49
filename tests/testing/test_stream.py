"""One stream of a test, read in blocks from Quart's test client."""

import asyncio
from typing import Any

import pytest
from quart import Quart, Response
from quart.testing import QuartClient

from quart_sse import SSE
from quart_sse.testing.stream import PageStream, read_block


def stream_of(app: Quart, path: str) -> PageStream:
    """Return a stream that is not open yet."""
    connection: Any = QuartClient(app).request(path, headers={"Accept": "text/event-stream"})
    return PageStream(connection)


@pytest.mark.parametrize(
    ("text", "block"),
    [
        ("event: a\ndata: 1", {"event": "a", "data": "1"}),
        ("data: 1\ndata:\ndata:  2", {"data": "1\n\n 2"}),
        ("retry: 1\n:", {"retry": "1"}),
        ("data: a: b\u2028c", {"data": "a: b\u2028c"}),
    ],
)
def test_block_is_read_as_the_script_reads_it(text: str, block: dict[str, str]) -> None:
    """Several data fields are lines of one text; comments are dropped."""
    assert read_block(text) == block


async def test_bytes_may_be_cut_anywhere(app: Quart) -> None:
    """Also inside of a character and between two line ends."""

    async def body() -> Any:
        whole = "event: é\ndata: ü\n\ndata: 2\n\n".encode()
        for number in range(len(whole)):
            yield whole[number : number + 1]

    @app.get("/cut")
    async def cut() -> Response:
        return Response(body(), content_type="text/event-stream")

    found = []
    async with stream_of(app, "/cut") as stream:
        while (blocks := await stream.read()) is not None:
            found += blocks

    assert found == [{"event": "é", "data": "ü"}, {"data": "2"}]
    assert stream.refusal is None


async def test_answer_that_is_no_stream_is_named(app: Quart) -> None:
    """By its status."""
    async with stream_of(app, "/json") as stream:
        await stream.read()

        assert stream.refusal == "status 200"


async def test_cookies_of_the_answer(app: Quart, sse: SSE) -> None:
    """The stream of a new browser sets one."""
    async with stream_of(app, "/sse/clock") as stream:
        await stream.read()

        assert list(stream.cookies) == ["sse_browser"]


async def test_leaving_ends_the_connection(app: Quart, sse: SSE) -> None:
    """Whoever leaves the block finds it ended."""
    async with stream_of(app, "/sse/clock") as stream:
        await stream.read()
        assert len(sse.connections) == 1

    assert len(sse.connections) == 0


async def test_request_that_raises_ends_the_stream(app: Quart) -> None:
    """In an app that hands errors on nothing waits for bytes, and the error is raised."""
    app.config["PROPAGATE_EXCEPTIONS"] = True

    @app.get("/broken")
    async def broken() -> str:
        raise ZeroDivisionError

    stream = stream_of(app, "/broken")
    async with asyncio.timeout(20):
        await stream.__aenter__()
        assert await stream.read() is None
        assert await stream.read() is None
        with pytest.raises(ZeroDivisionError):
            await stream.__aexit__(None, None, None)
