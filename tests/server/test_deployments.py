"""Servers and ways to listen that docs/deploy.md describes, beside the three of docs/servers.md."""

import asyncio
import contextlib
import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from tests.support.http3 import http3_client
from tests.support.servers import RawStream, Server, serve, until_so

pytestmark = [pytest.mark.servers, pytest.mark.timeout(90)]

APP = "tests.apps.proxied:app"
#: The same in Hypercorn's middleware.
FIXED = "tests.apps.proxied:for_hypercorn"
#: The worker of gunicorn that is Uvicorn.
UVICORN = "uvicorn_worker.UvicornWorker"
STREAMS = 40
Command = Callable[[int], Sequence[str]]


def gunicorn(worker: str, *options: str, app: str = APP) -> Command:
    """Return the command of gunicorn with a kind of worker."""
    rest = ("-k", worker, "--no-control-socket", *options, app)
    return lambda port: ("-m", "gunicorn", "-b", f"127.0.0.1:{port}", *rest)


#: Server -> its command on a port, with what it needs to believe a proxy.
SERVERS: dict[str, Command] = {
    "uvicorn": lambda port: ("-m", "uvicorn", "--port", str(port), APP),
    "hypercorn": lambda port: ("-m", "hypercorn", "-b", f"127.0.0.1:{port}", FIXED),
    "granian": lambda port: (
        *("-m", "granian", "--interface", "asgi", "--port", str(port)),
        "tests.apps.proxied:for_granian",
    ),
    "gunicorn uvicorn-worker": gunicorn(UVICORN),
    "gunicorn asgi": gunicorn("asgi", app=FIXED),
    "daphne": lambda port: ("-m", "daphne", "--proxy-headers", "-p", str(port), APP),
}
#: Those that docs/servers.md does not have.
OTHERS = ("gunicorn uvicorn-worker", "gunicorn asgi", "daphne")


@pytest.mark.parametrize("name", SERVERS)
async def test_app_knows_what_the_proxy_says_of_a_client(name: str) -> None:
    """Cookies need the scheme, limits the address; each server has its own way to believe them."""
    async with serve(SERVERS[name]) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(
            b"GET /seen HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            b"X-Forwarded-For: 198.51.100.7\r\nX-Forwarded-Proto: https\r\n\r\n"
        )
        answer = await reader.read()
        writer.close()

    body = answer.partition(b"\r\n\r\n")[2]
    seen = json.loads(body[body.index(b"{") : body.rindex(b"}") + 1])
    assert seen == {"scheme": "https", "address": "198.51.100.7"}


@asynccontextmanager
async def ending_cleanly(server: Server) -> AsyncIterator[None]:
    """Hold streams, which the block must bring to a clean end."""
    streams = [await RawStream.open(server.port) for _ in range(STREAMS)]
    try:
        yield
        for stream in streams:
            await stream.read_to_end()
    finally:
        for stream in streams:
            await stream.close()
    assert all(stream.is_complete for stream in streams)
    assert all(s.text.endswith("event: sse-holdoff\ndata: shutdown\n\n") for s in streams)


@pytest.mark.parametrize("name", OTHERS)
async def test_stop_ends_every_stream_whole(name: str) -> None:
    """SIGTERM, which every manager of services sends."""
    async with serve(SERVERS[name]) as server, ending_cleanly(server):
        seconds = await server.stop()

    assert seconds < 5


async def until_another_serves(server: Server, before: int) -> None:
    """Ask until another worker answers.

    A connection that the old one had not taken yet when it ended is reset; the next is not.
    """

    async def is_another() -> bool:
        with contextlib.suppress(ConnectionResetError):
            return bool((await server.state())["pid"] != before)
        return False

    await until_so(is_another, 20)


@pytest.mark.parametrize("name", ["gunicorn uvicorn-worker", "gunicorn asgi"])
async def test_gunicorn_reloads_without_cutting_a_stream(name: str) -> None:
    """HUP replaces its workers; browsers go to the new ones."""
    async with serve(SERVERS[name]) as server:
        before = (await server.state())["pid"]
        async with ending_cleanly(server):
            os.kill(server.process.pid, signal.SIGHUP)
        await until_another_serves(server, before)
        async with ending_cleanly(server):
            await server.stop()


async def test_gunicorn_replaces_a_worker_that_has_served_enough() -> None:
    """``--max-requests`` with uvicorn-worker: its streams end, and the next one takes over."""
    command = gunicorn(UVICORN, "--max-requests", str(STREAMS + 9))
    async with serve(command) as server:
        before = (await server.state())["pid"]
        async with ending_cleanly(server):
            await until_another_serves(server, before)


async def test_gunicorn_with_its_default_worker_answers_500() -> None:
    """It speaks WSGI: an app of Quart answers nothing there, streams or not."""
    async with serve(gunicorn("sync")) as server:
        assert b" 500 " in (await server.get("/state")).splitlines()[0]


async def test_daphne_runs_no_lifespan_and_has_streams(tmp_path: Path) -> None:
    """Events and fragments arrive; what an app does before and after serving does not happen."""
    mark = tmp_path / "mark"
    async with serve(SERVERS["daphne"], {"QUART_SSE_TEST_MARK": str(mark)}) as server:
        stream = await RawStream.open(server.port)
        await server.post("/publish/hello")
        await stream.read_until('"hello"')
        await server.post("/raise")
        await stream.read_until("<b>1</b>")
        await stream.close()
        await server.stop()

    assert not mark.exists()


# -- HTTP/3 ----------------------------------------------------------------------------------------


async def test_streams_of_http3_end_whole(tmp_path: Path) -> None:
    """Hypercorn with aioquic: many streams on one connection, each with an end of its own."""
    ca = trustme.CA()
    certificate = ca.issue_cert("localhost")
    names = ("ca.pem", "key.pem", "cert.pem")
    authority, key, cert = (tmp_path / name for name in names)
    ca.cert_pem.write_to_path(str(authority))
    certificate.private_key_pem.write_to_path(str(key))
    certificate.cert_chain_pems[0].write_to_path(str(cert))

    def command(port: int) -> Sequence[str]:
        where = f"127.0.0.1:{port}"
        files = ("--certfile", str(cert), "--keyfile", str(key))
        return ("-m", "hypercorn", *files, "-b", where, "--quic-bind", where, APP)

    async with serve(command) as server, http3_client(server.port, authority) as client:
        streams = [client.get("/sse/news") for _ in range(STREAMS)]
        for stream in streams:
            await stream.read_until("sse-open")
        os.kill(server.process.pid, signal.SIGTERM)
        for stream in streams:
            await stream.read_to_end()

    assert {stream.status for stream in streams} == {"200"}
    assert all(s.text.endswith("event: sse-holdoff\ndata: shutdown\n\n") for s in streams)


# -- other sockets ---------------------------------------------------------------------------------

GUNICORN = ("-m", "gunicorn", "-k", UVICORN, "--no-control-socket")
#: Server -> what makes it listen at a unix socket.
AT_A_PATH: dict[str, Callable[[Path], Sequence[str]]] = {
    "uvicorn": lambda path: ("-m", "uvicorn", "--uds", str(path), APP),
    "hypercorn": lambda path: ("-m", "hypercorn", "-b", f"unix:{path}", APP),
    "granian": lambda path: ("-m", "granian", "--interface", "asgi", "--uds", str(path), APP),
    "gunicorn": lambda path: (*GUNICORN, "-b", f"unix:{path}", APP),
    "daphne": lambda path: ("-m", "daphne", "-u", str(path), APP),
}
#: Server -> what makes it listen at the socket that a manager of services gives it.
ACTIVATED: dict[str, Sequence[str]] = {
    "uvicorn": ("-m", "uvicorn", "--fd", "3", APP),
    "hypercorn": ("-m", "hypercorn", "-b", "fd://3", APP),
    "gunicorn": (*GUNICORN, APP),
    "daphne": ("-m", "daphne", "--fd", "3", APP),
}
#: What systemd does: the socket is number 3, and these two variables say so.
ACTIVATE = """
import os, sys
os.dup2(int(sys.argv[1]), 3, inheritable=True)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


@pytest.mark.parametrize("name", AT_A_PATH)
async def test_unix_socket_has_streams(name: str, tmp_path: Path) -> None:
    """A proxy on the same machine needs no port."""
    path = tmp_path / "web.sock"
    async with serve(lambda _: AT_A_PATH[name](path), path=path) as server:
        stream = await RawStream.open(path)
        reading = asyncio.create_task(stream.read_to_end())
        await server.stop()
        await reading
        await stream.close()

    assert stream.is_complete


@pytest.mark.parametrize("name", ACTIVATED)
async def test_client_waits_at_an_activated_socket_while_the_app_restarts(name: str) -> None:
    """It is not refused: the socket is the manager's, and the next process takes what waits."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number, port = listener.fileno(), listener.getsockname()[1]
        command = ("-c", ACTIVATE, str(number), *ACTIVATED[name])

        async with serve(lambda _: command, port=port, inherits=[number]) as server:
            first = await RawStream.open(port)
            reading = asyncio.create_task(first.read_to_end())
            await server.stop()
            await reading
            await first.close()
        waiting = asyncio.create_task(RawStream.open(port))
        async with serve(lambda _: command, port=port, inherits=[number]):
            second = await waiting
            await second.close()

    assert first.is_complete
