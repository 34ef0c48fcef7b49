"""Streams through real servers, in processes of their own: what they carry and how they end."""

import asyncio
import os
import re
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.servers import PAUSE, ROOT, SERVERS, RawStream, Server, serve
from tests.support.streams import connect_urls

pytestmark = [pytest.mark.servers, pytest.mark.timeout(90)]

TERM, INT = signal.SIGTERM, signal.SIGINT
#: One of each kind.
KINDS = ("hypercorn", "uvicorn", "granian")
DOCUMENTS = ("docs/guide.md", "docs/servers.md")
#: Seconds from the signal until a server is gone. It takes 0.1 to 0.9 on two cores with little
#: else to do; this is for machines that have more. A server that waits for its streams would take
#: for ever, and Hypercorn is configured to wait for 30 s.
AT_ONCE = 3.0
#: Streams that are open when a server gets the signal: many, and some.
MANY, SOME = 500, 40


class Stop(NamedTuple):
    """A way of stopping a server."""

    name: str
    number: signal.Signals
    to_all: bool  #: to the workers, too: CTRL+C in a terminal, and what systemd does
    streams: int


STOPS = [
    *(Stop(name, TERM, to_all=False, streams=MANY) for name in (*KINDS, "quart-run")),
    *(Stop(f"{kind}-2", TERM, to_all=False, streams=SOME) for kind in KINDS),
    *(Stop(name, INT, to_all=True, streams=SOME) for name in (*KINDS, "app.run")),
    *(Stop(f"{kind}-2", INT, to_all=True, streams=SOME) for kind in KINDS),
    *(Stop(f"{kind}-2", TERM, to_all=True, streams=SOME) for kind in KINDS),
]


def stop_id(stop: Stop) -> str:
    """Return how a way of stopping is called."""
    whom = "all" if stop.to_all else "one"
    return f"{stop.name}-{stop.number.name}-to-{whom}-{stop.streams}"


async def open_streams(server: Server, number: int) -> list[RawStream]:
    """Open some streams."""
    return [await RawStream.open(server.port) for _ in range(number)]


async def close_streams(streams: Sequence[RawStream]) -> None:
    """Go away with some streams."""
    for stream in streams:
        await stream.close()


def assert_ended_cleanly(streams: Sequence[RawStream]) -> None:
    """Check that streams have retry delays, not all the same, and their last chunk."""
    assert all(stream.is_complete for stream in streams)
    found = [re.findall(r"retry: (\d+)\nevent: sse-holdoff\n", s.text) for s in streams]
    assert all(len(retries) == 1 for retries in found), "each stream has one ending"
    assert all(s.text.endswith("event: sse-holdoff\ndata: shutdown\n\n") for s in streams)
    assert len({retry for (retry,) in found}) > len(streams) / 4, (
        "browsers must not all come at once"
    )


@pytest.mark.parametrize("name", KINDS)
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


@pytest.mark.parametrize("name", KINDS)
async def test_client_that_leaves_is_forgotten(name: str) -> None:
    """A client that closes its socket no longer counts as a receiver."""
    async with serve(SERVERS[name]) as server:
        gone, stays = await open_streams(server, 2)
        assert b'"local_receivers":2' in await server.post("/publish/x")

        await gone.close()

        async with asyncio.timeout(10):
            while b'"local_receivers":1' not in await server.post("/publish/x"):
                pass
        await stays.close()


@pytest.mark.parametrize("stop", STOPS, ids=stop_id)
async def test_server_stops_at_once(stop: Stop, tmp_path: Path) -> None:
    """A server with open streams exits at once, with its workers, and every stream ends cleanly."""
    mark = tmp_path / "mark"
    async with serve(SERVERS[stop.name], {"QUART_SSE_TEST_MARK": str(mark)}) as server:
        await server.until_all_serve(2 if stop.name.endswith("-2") else 1)
        streams = await open_streams(server, stop.streams)

        reading = asyncio.gather(*(stream.read_to_end() for stream in streams))
        seconds = await server.stop(stop.number, to_all=stop.to_all)
        await reading

        await close_streams(streams)
        output = server.output
    print(f"{stop_id(stop)}: {seconds:.2f} s")  # noqa: T201 - see it with -s
    assert_ended_cleanly(streams)
    assert seconds < AT_ONCE
    assert "Traceback" not in output
    begun, ended = (
        re.findall(rf"{w}_serving (\d+)", mark.read_text()) for w in ("before", "after")
    )
    # Granian leaves it out now and then, streams or not.
    assert set(ended) == set(begun) or stop.name.startswith("granian")


@pytest.mark.parametrize("wrapped", ["send", "task", "mounted", "send,task,mounted"])
@pytest.mark.parametrize("name", [*KINDS, "hypercorn-2"])
async def test_server_stops_at_once_whatever_wraps_the_app(name: str, wrapped: str) -> None:
    """Middleware around it, or a lifespan that it never gets, hides neither stop nor stream."""
    async with serve(SERVERS[name], {"WRAPPED": wrapped}) as server:
        await server.until_all_serve(2 if name.endswith("-2") else 1)
        streams = await open_streams(server, SOME)

        reading = asyncio.gather(*(stream.read_to_end() for stream in streams))
        seconds = await server.stop(TERM)
        await reading

        await close_streams(streams)
        output = server.output
    assert_ended_cleanly(streams)
    assert seconds < AT_ONCE
    assert "Traceback" not in output
    assert "does not show when it stops" not in output


async def until_served(server: Server, path: str, text: bytes) -> None:
    """Ask until a server answers with some text; it may be away meanwhile."""
    async with asyncio.timeout(20):
        while True:
            try:
                if text in await server.get(path):
                    return
            except ConnectionError:
                pass
            await asyncio.sleep(PAUSE)


#: A source file that changes while the server runs.
SOURCE = """
import os
from tests.apps.server import app

@app.get("/edition")
async def edition():
    return "edition {}"

if __name__ == "__main__":
    app.run(port=int(os.environ["PORT"]))
"""
RELOADERS: dict[str, Callable[[int], Sequence[str]]] = {
    "hypercorn": lambda port: (
        *("-m", "hypercorn", "--reload", "--graceful-timeout", "30"),
        *("-b", f"127.0.0.1:{port}", "edited:app"),
    ),
    "uvicorn": lambda port: ("-m", "uvicorn", "--reload", "--port", str(port), "edited:app"),
    "granian": lambda port: (
        *("-m", "granian", "--reload", "--interface", "asgi", "--port", str(port), "edited:app"),
    ),
    "quart-run": lambda port: (
        *("-m", "quart", "--app", "edited:app", "run", "--reload", "--port", str(port)),
    ),
    "app.run": lambda _: ("edited.py",),
}


@pytest.mark.parametrize("name", RELOADERS)
async def test_streams_come_back_after_a_reload(name: str, tmp_path: Path) -> None:
    """A changed source file ends every stream cleanly, and the new code serves them again."""
    source = tmp_path / "edited.py"
    source.write_text(SOURCE.format("one"))
    async with serve(RELOADERS[name], folder=tmp_path) as server:
        await until_served(server, "/edition", b"edition one")
        streams = await open_streams(server, SOME)
        source.write_text(SOURCE.format("two"))

        await asyncio.gather(*(stream.read_to_end() for stream in streams))
        await close_streams(streams)
        await until_served(server, "/edition", b"edition two")
        back = await open_streams(server, SOME)
        await server.post("/publish/hello")
        await asyncio.gather(*(stream.read_until("hello") for stream in back))
        await close_streams(back)

        # As in a terminal.
        seconds = await server.stop(INT, to_all=True)
    assert_ended_cleanly(streams)
    assert seconds < AT_ONCE


async def test_uvicorn_that_has_served_enough_stops() -> None:
    """Uvicorn stops without a signal after ``--limit-max-requests``, streams or not."""
    limit = 30

    def command(port: int) -> Sequence[str]:
        return (*SERVERS["uvicorn"](port), "--limit-max-requests", str(limit))

    async with serve(command) as server, asyncio.timeout(20):
        streams = await open_streams(server, SOME)
        reading = asyncio.gather(*(stream.read_to_end() for stream in streams))

        for _ in range(limit):
            await server.post("/raise")
        await reading
        await server.process.wait()

        await close_streams(streams)
        assert "Traceback" not in server.output
    assert_ended_cleanly(streams)


async def test_hypercorn_that_has_served_enough_begins_again() -> None:
    """A worker of Hypercorn stops after ``--max-requests``, and its successor serves."""

    def command(port: int) -> Sequence[str]:
        return (*SERVERS["hypercorn"](port), "--max-requests", str(SOME + 10))

    async with serve(command) as server:
        first = (await server.state())["pid"]
        streams = await open_streams(server, SOME)
        reading = asyncio.gather(*(stream.read_to_end() for stream in streams))

        async with asyncio.timeout(20):
            while not reading.done():
                await server.post("/raise")
        await reading
        await until_served(server, "/state", b'"connections":0')

        assert (await server.state())["pid"] != first
        await close_streams(streams)
        assert "Traceback" not in server.output
    assert_ended_cleanly(streams)


async def test_hypercorn_worker_that_is_signalled_stops_whatever_else_hangs() -> None:
    """Its streams end cleanly; what holds it up longer than they do is ended as ever."""
    async with serve(SERVERS["hypercorn"]) as server, asyncio.timeout(20):
        worker = (await server.state())["pid"]
        streams = await open_streams(server, SOME)
        _, hanging = await asyncio.open_connection("127.0.0.1", server.port)
        hanging.write(b"GET /hang HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await server.state()  # that request has come, too

        os.kill(worker, TERM)
        await asyncio.gather(*(stream.read_to_end() for stream in streams))
        await server.process.wait()  # Hypercorn does not go on without a worker that was killed

        hanging.close()
        await close_streams(streams)
    assert_ended_cleanly(streams)


async def test_granian_that_is_signalled_again_stops_all_the_same() -> None:
    """A second CTRL+C, the third signal for a worker, does not keep it from ending cleanly."""
    async with serve(SERVERS["granian"]) as server:
        streams = await open_streams(server, MANY)

        os.killpg(server.process.pid, INT)
        await streams[0].read_until("sse-holdoff")
        reading = asyncio.gather(*(stream.read_to_end() for stream in streams))
        seconds = await server.stop(INT, to_all=True)
        await reading

        await close_streams(streams)
        assert "Traceback" not in server.output
    assert_ended_cleanly(streams)
    assert seconds < AT_ONCE


#: An app that takes long to handle a signal, so that the next one comes meanwhile.
SLOW_TO_HANDLE = """
import signal, time
from tests.apps.server import app

@app.before_serving
async def slow_down():
    inner = signal.getsignal(signal.SIGINT)

    def handle(number, frame):
        inner(number, frame)
        end = time.monotonic() + 0.05
        while time.monotonic() < end:
            pass

    signal.signal(signal.SIGINT, handle)
"""


async def test_granian_stops_however_close_two_signals_are(tmp_path: Path) -> None:
    """CTRL+C sends a worker two signals; the second may come while the first is handled."""
    (tmp_path / "slow.py").write_text(SLOW_TO_HANDLE)

    def command(port: int) -> Sequence[str]:
        return ("-m", "granian", "--interface", "asgi", "--port", str(port), "slow:app")

    for _ in range(5):  # it depends on some microseconds
        async with serve(command, folder=tmp_path) as server:
            streams = await open_streams(server, SOME)
            reading = asyncio.gather(*(stream.read_to_end() for stream in streams))
            seconds = await server.stop(INT, to_all=True)
            await reading

            await close_streams(streams)
        assert_ended_cleanly(streams)
        assert seconds < AT_ONCE


#: A server that is not in the main thread, and so is not told of signals.
IN_A_THREAD = """
import asyncio, os, signal, threading
import uvicorn
from tests.apps.server import app, sse

server = uvicorn.Server(uvicorn.Config(app, port=int(os.environ["PORT"])))
thread = threading.Thread(target=server.run)

def stop(*_):
    asyncio.run(sse.close_all())
    server.should_exit = True

signal.signal(signal.SIGTERM, stop)
thread.start()
thread.join()
"""


async def test_close_all_ends_streams_of_a_server_in_a_thread() -> None:
    """If no sign shows that the server stops, the app calls close_all."""
    async with serve(lambda _: ("-c", IN_A_THREAD)) as server:
        streams = await open_streams(server, SOME)

        reading = asyncio.gather(*(stream.read_to_end() for stream in streams))
        seconds = await server.stop()
        await reading

        await close_streams(streams)
        assert "Traceback" not in server.output
    assert_ended_cleanly(streams)
    assert seconds < AT_ONCE


@pytest.mark.parametrize("name", KINDS)
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
    async with serve(SERVERS["uvicorn-2"]) as server, asyncio.timeout(60):
        while "QUART_SSE_BROKER_URL" not in server.output:
            page = (await server.get("/page")).decode()
            for url in connect_urls(page):
                stream = await RawStream.open(server.port, url)
                await stream.close()

        assert "Another process serves pages of this app" in server.output
        await server.stop()


def test_documents_recommend_the_same_commands() -> None:
    """The guide and the page about servers start each server alike."""
    row = re.compile(r"^\| \w+ \| `((?:hypercorn|uvicorn|granian) .*)` \|$", re.M)
    short, long = (row.findall((ROOT / name).read_text("utf-8")) for name in DOCUMENTS)

    assert len(short) == len(KINDS)
    assert short == long
