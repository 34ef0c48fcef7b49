"""Streams through real servers, in processes of their own."""

import asyncio
import re
import signal
from pathlib import Path

import pytest

from tests.servers import SERVERS, RawStream, serve
from tests.support import connect_urls

pytestmark = [pytest.mark.servers, pytest.mark.timeout(90)]

#: Streams that are open when a server is told to stop.
STREAMS = 100


@pytest.mark.parametrize("name", SERVERS)
async def test_stream_carries_events_and_fragments(name: str) -> None:
    """What is published arrives, whole and in order, through every server."""
    async with serve(SERVERS[name]) as server:
        stream = await RawStream.open(server.port)

        for number in range(20):
            await server.post(f"/publish/n{number}")
        await server.post("/raise")
        await stream.read_until("<b>1</b>")
        await stream.close()

    assert re.findall(r'"n(\d+)"', stream.text) == [str(number) for number in range(20)]
    assert "hx-target=\"[data-sse='news.count']\"" in stream.text


@pytest.mark.parametrize("name", SERVERS)
async def test_client_that_leaves_is_forgotten(name: str) -> None:
    """A client that closes its socket no longer counts as a receiver."""
    async with serve(SERVERS[name]) as server:
        gone, stays = await RawStream.open(server.port), await RawStream.open(server.port)
        assert b'"local_receivers":2' in await server.post("/publish/x")

        await gone.close()

        async with asyncio.timeout(10):
            while b'"local_receivers":1' not in await server.post("/publish/x"):
                pass
        await stays.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["TERM", "INT"])
@pytest.mark.parametrize("name", SERVERS)
async def test_server_stops_at_once(name: str, number: signal.Signals, tmp_path: Path) -> None:
    """A server with open streams exits within a second, and every stream ends cleanly."""
    mark = tmp_path / "mark"
    async with serve(SERVERS[name], {"QUART_SSE_TEST_MARK": str(mark)}) as server:
        streams = [await RawStream.open(server.port) for _ in range(STREAMS)]

        reading = asyncio.gather(*(stream.read_to_end() for stream in streams))
        seconds = await server.stop(number)
        await reading

        for stream in streams:
            await stream.close()
        assert "Traceback" not in server.output
    assert all(stream.is_chunked_to_the_end for stream in streams)
    assert all("event: sse-holdoff" in stream.text for stream in streams)
    retries = {int(found) for s in streams for found in re.findall(r"retry: (\d+)", s.text)}
    assert len(retries) > STREAMS / 4, "browsers must not all come back at the same moment"
    assert seconds < 1.0
    # Granian leaves it out now and then, streams or not.
    assert name == "granian" or mark.read_text() == "after_serving\n"


@pytest.mark.parametrize("name", SERVERS)
async def test_head_gets_headers_and_no_stream(name: str) -> None:
    """A HEAD request is answered at once and leaves nothing behind."""
    async with serve(SERVERS[name]) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"HEAD /sse/news HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        async with asyncio.timeout(5):
            answer = await reader.read()
        writer.close()
        await writer.wait_closed()

    head, _, body = answer.partition(b"\r\n\r\n")
    assert b" 200 " in head
    assert b"text/event-stream" in head
    assert not body.strip(b"0\r\n")


async def test_two_processes_without_redis_are_noticed() -> None:
    """Pages of one worker that connect to the other make the log name the remedy."""
    command = [
        *("-m", "uvicorn", "tests.server_app:app", "--workers", "2", "--log-level", "warning"),
        "--port",
    ]
    async with serve(lambda port: [*command, str(port)]) as server, asyncio.timeout(60):
        while "QUART_SSE_BROKER_URL" not in server.output:
            page = (await server.get("/page")).decode()
            for url in connect_urls(page):
                stream = await RawStream.open(server.port, url)
                await stream.close()

        assert "Another process serves pages of this app" in server.output
        await server.stop()
