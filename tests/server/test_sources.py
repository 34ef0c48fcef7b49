"""Sources behind real servers: slow clients, clients that leave, servers that stop."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.support.servers import RawStream, Server, serve, until_so

pytestmark = [pytest.mark.servers, pytest.mark.timeout(90)]

APP = "tests.apps.sources:app"
SERVERS: Mapping[str, Callable[[int], Sequence[str]]] = {
    "hypercorn": lambda port: (
        *("-m", "hypercorn", "--graceful-timeout", "30", "-b", f"127.0.0.1:{port}", APP),
    ),
    "uvicorn": lambda port: ("-m", "uvicorn", "--no-access-log", "--port", str(port), APP),
    "granian": lambda port: ("-m", "granian", "--interface", "asgi", "--port", str(port), APP),
    "no-lifespan": lambda port: (*SERVERS["uvicorn"](port), "--lifespan", "off"),
}
KINDS = ("async", "sync", "callback", "sync-callback")
#: Messages of 20 kB that sockets and servers may hold for a client that reads nothing: 12 MB, where
#: a source that waits for no one has sent ten times as much in a second.
MOST_AHEAD = 600
#: Seconds until a server with open streams is gone.
AT_ONCE = 4.0


@asynccontextmanager
async def running(name: str, **environ: str) -> AsyncIterator[Server]:
    """Serve the app."""
    async with serve(SERVERS[name], environ) as server:
        yield server


async def until_state(server: Server, is_so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Wait until the app says something of its sources, and return all that it says."""
    found: list[dict[str, Any]] = []

    async def look() -> bool:
        found.append(await server.get_json("/state"))
        return is_so(found[-1])

    await until_so(look)
    return found[-1]


@pytest.mark.parametrize("name", SERVERS)
async def test_client_that_leaves_ends_the_source(name: str) -> None:
    """Of each kind; ``finally`` runs, and no connection is left."""
    async with running(name) as server:
        for kind in KINDS:
            stream = await RawStream.open(server.port, f"/ticks/{kind}", until="data: 3")
            await stream.close()

        state = await until_state(server, lambda state: len(state["ended"]) == len(KINDS))

    assert state["open"] == 0
    assert state["ended"] == dict.fromkeys(KINDS, 1)


@pytest.mark.parametrize("name", SERVERS)
@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_source_is_not_ahead_of_a_slow_client(name: str, kind: str) -> None:
    """A client that reads nothing costs what sockets hold, and gets the rest when it reads."""
    async with running(name) as server:
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", server.port))
        slow.sendall(f"GET /large/{kind} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        before = -1

        async def is_still() -> bool:
            nonlocal before
            await server.get("/state")
            await server.get("/state")
            sent = (await server.get_json("/state"))["sent"].get(kind, 0)
            was, before = before, sent
            return bool(was == sent > 0)

        await until_so(is_still)
        held = before
        await asyncio.to_thread(read_some, slow, 3_000_000)
        await until_state(server, lambda state: state["sent"][kind] > held + 50)
        slow.close()

    assert held < MOST_AHEAD, f"{held} messages were sent ahead"


def read_some(client: socket.socket, size: int) -> None:
    """Read so many bytes."""
    while size > 0:
        size -= len(client.recv(65536))


@pytest.mark.parametrize("name", SERVERS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_server_stops_at_once(name: str, number: signal.Signals) -> None:
    """Whatever the sources do; each stream ends cleanly, and tells its client to come back."""
    async with running(name) as server:
        streams = [
            await RawStream.open(server.port, f"/ticks/{kind}", until="data: 3") for kind in KINDS
        ]
        reading = asyncio.gather(*(stream.read_to_end() for stream in streams))
        seconds = await server.stop(number)
        await reading
        for stream in streams:
            await stream.close()
        output = server.output

    assert seconds < AT_ONCE
    for stream in streams:
        assert stream.is_complete
        assert "event: sse-holdoff\ndata: shutdown" in stream.text
    assert "Traceback" not in output


async def test_stream_outlasts_the_time_limit_of_responses() -> None:
    """``RESPONSE_TIMEOUT`` is a second."""
    async with running("hypercorn") as server:
        stream = await RawStream.open(server.port, "/ticks/async", until="data: 80\n")
        await stream.close()


async def test_cut_stream_begins_no_job_again() -> None:
    """The client that was cut off says the id that it was sent at the very start."""
    async with running("uvicorn") as server:
        stream = await RawStream.open(server.port, "/job/once?wait=3", until="line 2")
        await stream.close()
        await until_state(server, lambda state: bool(state["ended"]))
        again = await RawStream.open(
            server.port, "/job/once", {"Last-Event-ID": "started"}, until="sse-stop"
        )
        await again.read_to_end()
        await again.close()
        state = await server.get_json("/state")

    assert "id: started\n" in stream.text
    assert "data: cut\n" in again.text
    assert state["begun"] == {"once": 1}


async def test_stream_that_resumes_goes_on() -> None:
    """By the last id, whatever cut it off."""
    async with running("uvicorn") as server:
        stream = await RawStream.open(server.port, "/resumed", until="id: 5\n")
        await stream.close()
        again = await RawStream.open(
            server.port, "/resumed", {"Last-Event-ID": "5"}, until="id: 6\n"
        )
        await again.close()

    assert "id: 5\n" not in again.text


@pytest.mark.parametrize("name", ["hypercorn", "uvicorn"])
async def test_stream_is_not_compressed(name: str) -> None:
    """Compression would hold its messages back."""
    async with running(name, PACKAGES="compress") as server:
        headers = {"Accept-Encoding": "gzip, br"}
        stream = await RawStream.open(server.port, "/ticks/async", headers, until="data: 3")
        await stream.close()

    assert "content-encoding" not in stream.head


async def test_source_of_a_blueprint_with_a_prefix() -> None:
    """Its URL has nothing to do with those of the extension."""
    async with running("uvicorn", OWN_PREFIX="/deep/down", QUART_SSE_URL_PREFIX="/live") as server:
        stream = await RawStream.open(server.port, "/deep/down/job/one", until="sse-stop")
        await stream.close()
        page = (await server.get("/deep/down/page/job/one")).decode()

    assert "data: done" in stream.text
    assert 'sse-stream="/deep/down/job/one"' in page
    assert "/live/~static/quart-sse-stream.min.js" in page
