"""Pages stay live among the packages that apps use: gates, limiters, tracers, mounts."""

import asyncio
import gzip
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import httpx
import pytest

from tests.support.servers import PAUSE, ROOT, RawStream, Server, serve, until_so

pytestmark = [pytest.mark.packages, pytest.mark.timeout(120)]

APP, MOUNTED = "tests.apps.packages:app", "tests.apps.mounted:app"
#: Seconds until a server with open streams is gone, and one with a stream that nobody reads.
AT_ONCE, SOON = 3.0, 5.0
PATIENCE = {
    "QUART_SSE_SEND_TIMEOUT": "2",
    "QUART_SSE_PENDING_BYTES": str(1 << 30),  # what it takes to stall is no overflow
    "QUART_SSE_HISTORY": "0",
}
SERVERS: dict[str, Callable[[str, int], Sequence[str]]] = {
    "hypercorn": lambda app, port: (
        *("-m", "hypercorn", "--graceful-timeout", "30", "-b", f"127.0.0.1:{port}", app),
    ),
    "uvicorn": lambda app, port: (*("-m", "uvicorn", "--no-access-log", "--port", str(port), app),),
}


@asynccontextmanager
async def running(
    name: str, packages: str = "", app: str = APP, **environ: str
) -> AsyncIterator[Server]:
    """Serve the app among these packages."""
    environ = {"PACKAGES": packages, **environ}
    async with serve(lambda port: SERVERS[name](app, port), environ) as server:
        yield server


def client_of(server: Server) -> httpx.AsyncClient:
    """Return a browser."""
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}")


async def until_streams(server: Server, prefix: str, number: int) -> dict[str, object]:
    """Wait until the server has so many streams, and return its state."""
    async with asyncio.timeout(30):
        while True:
            state: dict[str, object] = await server.get_json(f"{prefix}/state")
            if state["streams"] == number:
                return state
            await asyncio.sleep(PAUSE)


WRAPPED = [
    ("sentry", APP, ""),
    ("telemetry", APP, ""),
    ("sentry,telemetry,compress,limiter", APP, ""),
    ("", MOUNTED, "/live"),
    ("sentry,telemetry", MOUNTED, "/live"),
]


@pytest.mark.parametrize("name", SERVERS)
@pytest.mark.parametrize(("packages", "app", "prefix"), WRAPPED)
async def test_page_is_live_and_the_server_stops(
    name: str, packages: str, app: str, prefix: str
) -> None:
    """A change in a thread reaches the page; every stream ends cleanly, and at once."""
    async with running(name, packages, app) as server, client_of(server) as client:
        page = await client.get(f"{prefix}/")
        (url,) = re.findall(r' sse-connect="([^"]+)"', page.text)
        streams = [await RawStream.open(server.port, url.replace("&amp;", "&")) for _ in range(5)]
        reading = asyncio.gather(*(stream.read_until("1 changes") for stream in streams))
        await client.post(f"{prefix}/change")
        await reading
        ending = asyncio.gather(*(stream.read_to_end() for stream in streams))
        seconds = await server.stop()
        await ending
        for stream in streams:
            await stream.close()
        output = server.output

    assert "0 changes" in page.text
    assert all("event: sse-holdoff\ndata: shutdown" in stream.text for stream in streams)
    assert all(stream.is_complete for stream in streams)
    assert seconds < AT_ONCE
    assert "Traceback" not in output


@pytest.mark.parametrize("name", SERVERS)
@pytest.mark.parametrize(("packages", "app", "prefix"), WRAPPED)
async def test_client_that_reads_nothing_is_cut_off(
    name: str, packages: str, app: str, prefix: str
) -> None:
    """Its socket is closed, and it does not keep the server from stopping."""
    async with running(name, packages.replace("limiter", ""), app, **PATIENCE) as server:
        # A socket of an earlier request may still be open.
        states = [await server.get_json(f"{prefix}/state") for _ in range(5)]
        before = min(state["sockets"] for state in states)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1024)
        writer.write(f"GET {prefix}/sse/board HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await reader.readuntil(b"sse-open")
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await until_streams(server, prefix, 1)
        async with asyncio.timeout(30):
            while (await server.get_json(f"{prefix}/state"))["streams"]:
                await server.post(f"{prefix}/publish/1000000")

        async def is_closed() -> bool:
            state = await server.get_json(f"{prefix}/state")
            return bool(state["sockets"] <= before)

        await until_so(is_closed, 10)
        writer.transport.abort()
        seconds = await server.stop()
        output = server.output

    assert seconds < SOON
    assert "Traceback" not in output


@pytest.mark.parametrize("passes", [True, False])
async def test_gate_of_quart_auth(passes: bool) -> None:
    """Who is signed in sees the page if the gate lets renders pass; the log says how."""
    environ = {} if passes else {"NO_PASS": "1"}
    async with running("uvicorn", "auth", **environ) as server, client_of(server) as client:
        visitor = await client.get("/")
        await client.post("/sign-in/ada")
        page = await client.get("/")
        output = server.output

    assert visitor.status_code == 302
    assert page.status_code == (200 if passes else 500)
    assert ("0 changes" in page.text) == passes
    assert ("sse.is_rendering" in output) == (not passes)


@pytest.mark.parametrize("passes", [True, False])
async def test_rate_limiter_counts_clients_and_no_renders(passes: bool) -> None:
    """A render has an address that can be limited, and is exempt by one line."""
    environ = {} if passes else {"NO_PASS": "1"}
    async with running("uvicorn", "limiter", **environ) as server, client_of(server) as client:
        # Each is allowed twelve times, and renders the fragment.
        statuses = [
            (await client.get(path)).status_code for path in ("/part",) * 12 + ("/state", "/")
        ]
        output = server.output

    assert statuses == [200] * 13 + [200 if passes else 500]
    assert ("sse.is_rendering" in output) == (not passes)


@pytest.mark.parametrize("name", SERVERS)
async def test_rate_limited_stream_is_held_off_and_no_error_page(name: str) -> None:
    """A connect counts once, whatever the stream is sent; one over the limit comes back later."""
    async with running(name, "limiter") as server, client_of(server) as client:
        began = time.monotonic()
        streams = [await RawStream.open(server.port, "/sse/board")]
        for number in range(1, 5):
            await client.post("/change")
            await streams[0].read_until(f"{number} changes")
        while "sse-open" in streams[-1].text:
            streams.append(await RawStream.open(server.port, "/sse/board", until="data: "))
        seconds = time.monotonic() - began
        *_, refused = streams
        await refused.read_to_end()
        plain = await client.get("/sse/board")
        await client.post("/change")
        await streams[0].read_until("5 changes")
        for stream in streams:
            await stream.close()

    assert 12 <= len(streams) - 1 <= 12 + seconds / 5  # one more is allowed every five seconds
    assert refused.head.startswith("http/1.1 200")
    assert re.fullmatch(r"retry: \d+\nevent: sse-holdoff\ndata: error\n\n", refused.text)
    assert plain.status_code == 429


@pytest.mark.parametrize("accept", ["gzip", "identity"])
async def test_compressed_answer_to_htmx_connects_its_fragments(accept: str) -> None:
    """quart-compress, initialised after the extension, compresses what was completed."""
    headers = {"HX-Request": "true", "Accept-Encoding": accept}
    async with running("uvicorn", "compress") as server, client_of(server) as client:
        async with client.stream("GET", "/part", headers=headers) as answer:
            raw = b"".join([chunk async for chunk in answer.aiter_raw()])
        stream = await RawStream.open(server.port, "/sse/board")
        await stream.close()
    html = (gzip.decompress(raw) if accept == "gzip" else raw).decode()

    assert answer.status_code == 200
    assert answer.headers.get("Content-Encoding") == ("gzip" if accept == "gzip" else None)
    assert "sse-connect=" in html
    assert "0 changes" in html


async def test_gunicorn_that_loads_the_app_first_serves_each_worker_as_its_own() -> None:
    """Workers of --preload have positions of their own, and stop at once with open streams."""

    def command(port: int) -> Sequence[str]:
        return (
            *("-m", "gunicorn", "--preload", "--workers", "2", "--graceful-timeout", "30"),
            *("--worker-class", "uvicorn_worker.UvicornWorker"),
            *("--bind", f"127.0.0.1:{port}", APP),
        )

    async with serve(command, folder=ROOT) as server:
        epochs: dict[int, str] = {}
        async with asyncio.timeout(20):
            while len(epochs) < 2:
                state = await server.get_json("/state")
                epochs[state["pid"]] = state["epoch"]
        streams = [await RawStream.open(server.port, "/sse/board") for _ in range(10)]
        ending = asyncio.gather(*(stream.read_to_end() for stream in streams))
        seconds = await server.stop()
        await ending
        for stream in streams:
            await stream.close()

    assert len(set(epochs.values())) == 2
    assert all("event: sse-holdoff\ndata: shutdown" in stream.text for stream in streams)
    assert seconds < AT_ONCE


@pytest.mark.parametrize("name", SERVERS)
async def test_source_runs_for_who_is_signed_in(name: str) -> None:
    """The gate of the app decides; the source has the user, and ends with its client."""
    async with running(name, "auth,compress,limiter,sentry,telemetry") as server:
        async with client_of(server) as client:
            assert (await client.get("/own")).status_code == 302
            cookie = (await client.post("/sign-in/mira")).headers["Set-Cookie"].partition(";")[0]
        headers = {"Cookie": cookie, "Accept-Encoding": "gzip"}
        stream = await RawStream.open(server.port, "/own", headers, until="event: user")
        await stream.read_until("data: mira")
        await stream.close()
        state = await until_streams(server, "", 0)

        async def has_ended() -> bool:
            nonlocal state
            state = await server.get_json("/state")
            return bool(state.get("ended"))

        await until_so(has_ended)

    assert (state["begun"], state["ended"]) == (1, 1)
