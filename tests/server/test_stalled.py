"""No stream is silently dead: a client that reads nothing is cut off, others live to their age."""

import asyncio
import ctypes
import re
import socket
import struct
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.servers import PAUSE, SERVERS, RawStream, Server, serve

pytestmark = [pytest.mark.servers, pytest.mark.timeout(90)]

#: Clients that read nothing, clients whose network is gone, and those beside them.
ASLEEP, DEAF, HEALTHY = 2, 1, 5
#: What is published at once, in bytes; a socket alone holds megabytes.
SIZE = 256 * 1024
#: Of Linux; the module `socket` has no name for it.
SO_ATTACH_FILTER = 26
#: Seconds until a server with unread streams is gone; it takes 0.8 to 1.5.
SOON = 5.0
#: Servers that let an application close a client's socket.
CLOSING = ("hypercorn", "hypercorn-uvloop", "uvicorn", "uvicorn-h11", "quart-run")
PATIENCE = {
    "QUART_SSE_SEND_TIMEOUT": "2",
    "QUART_SSE_PENDING_BYTES": str(1 << 30),  # what it takes to stall is no overflow
    "QUART_SSE_HISTORY": "0",
    "QUART_SSE_PRESENCE_LINGER": "0",
    "LOG_LEVEL": "INFO",
}


class Sleeper:
    """A client that opens a stream and reads no further."""

    def __init__(self) -> None:
        self.socket = socket.socket()
        self.socket.setblocking(False)
        # The less it takes by itself, the sooner the server is stuck.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

    @classmethod
    async def open(cls, port: int, accept: bool = True) -> "Sleeper":
        """Connect and read as far as ``sse-open``."""
        sleeper, loop = cls(), asyncio.get_running_loop()
        await loop.sock_connect(sleeper.socket, ("127.0.0.1", port))
        head = b"GET /sse/news HTTP/1.1\r\nHost: localhost\r\n"
        head += b"Accept: text/event-stream\r\n\r\n" if accept else b"\r\n"
        await loop.sock_sendall(sleeper.socket, head)
        received = b""
        async with asyncio.timeout(10):
            while b"sse-open" not in received:
                received += await loop.sock_recv(sleeper.socket, 4096)
        return sleeper

    def deafen(self) -> None:
        """Drop all that arrives before the system sees it, as if the network were gone."""
        instruction = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0))  # return 0
        program = struct.pack("HP", 1, ctypes.addressof(instruction))
        self.socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)

    async def wake(self) -> bytes:
        """Read what is left; raises ConnectionResetError if the server has dropped the rest."""
        loop = asyncio.get_running_loop()
        received = b""
        async with asyncio.timeout(10):
            while data := await loop.sock_recv(self.socket, 65536):
                received += data
        return received


async def until_state(
    server: Server, sockets: float = float("inf"), **wanted: int
) -> dict[str, int]:
    """Ask the app until it holds what is wanted; returns all that it holds then.

    Of sockets at most so many: when they were counted, that of an earlier question may have been
    about to close.
    """
    state: dict[str, int] = {}
    try:
        async with asyncio.timeout(20):
            while not wanted.items() <= state.items() or state["sockets"] > sockets:
                await asyncio.sleep(PAUSE)
                state = await server.state()
    except TimeoutError:
        told = f"{wanted} and {sockets} sockets never came; at last it was {state}"
        raise AssertionError(told) from None
    return state


async def until_cut(server: Server, others: int) -> int:
    """Publish until the stalled clients are cut off; returns how many events it took."""
    number = 0
    async with asyncio.timeout(30):
        while (state := await server.state())["connections"] > others:
            if state["connections"] - state["stalled"] > others:
                await server.post(f"/publish/n{number}?size={SIZE}")
                number += 1
            else:
                await asyncio.sleep(PAUSE)
    return number


def numbers(stream: RawStream) -> list[int]:
    """Return which events a stream has got."""
    return [int(found) for found in re.findall(r'"n(\d+)~', stream.text)]


@pytest.mark.parametrize("wrapped", ["send", "task", "mounted"])
@pytest.mark.parametrize("name", CLOSING)
async def test_client_that_takes_nothing_is_cut_whatever_wraps_the_app(
    name: str, wrapped: str
) -> None:
    """Also if it does not say that it accepts a stream; and the server stops."""
    async with serve(SERVERS[name], {**PATIENCE, "WRAPPED": wrapped}) as server:
        before = await server.state()
        before.pop("tasks")  # one waits for the stop of Hypercorn, from soon after the start
        sleepers = [await Sleeper.open(server.port, accept) for accept in (True, False)]
        await until_state(server, connections=2)
        await until_cut(server, 0)
        await until_state(server, **before)
        for sleeper in sleepers:
            with pytest.raises(ConnectionResetError):
                await sleeper.wake()
            sleeper.socket.close()

        assert "Traceback" not in server.output
        assert await server.stop() < SOON


@pytest.mark.parametrize("name", [*CLOSING, "granian"])
async def test_client_that_takes_nothing_is_cut(name: str) -> None:
    """After QUART_SSE_SEND_TIMEOUT it holds no memory, task or socket; no other client noticed."""
    stalled = ASLEEP + DEAF
    async with serve(SERVERS[name], PATIENCE) as server:
        healthy = [await RawStream.open(server.port) for _ in range(HEALTHY)]
        before = await server.state()
        sleepers = [await Sleeper.open(server.port) for _ in range(stalled)]
        for sleeper in sleepers[ASLEEP:]:
            sleeper.deafen()
        await until_state(server, connections=HEALTHY + stalled, present=HEALTHY + stalled)

        reading = asyncio.gather(*(stream.read_until("the-end") for stream in healthy))
        published = await until_cut(server, HEALTHY)
        wanted = dict(before)
        if name not in CLOSING:
            wanted.pop("sockets")  # docs/servers.md says so, and what to do about it
        await until_state(server, **wanted)
        await server.post("/publish/the-end")
        await reading

        cuts = server.output.count("A client has read nothing for 2 s (QUART_SSE_SEND_TIMEOUT)")
        advice = server.output.count("--workers-kill-timeout")
        for sleeper in sleepers[:ASLEEP] if name in CLOSING else []:
            with pytest.raises(ConnectionResetError):
                await sleeper.wake()
        for sleeper in sleepers:
            sleeper.socket.close()
        for stream in healthy:
            await stream.close()
        assert "Traceback" not in server.output
        assert "without completing" not in server.output  # as Uvicorn says of a bug
    assert cuts == stalled
    assert advice == (0 if name in CLOSING else stalled)
    assert all(numbers(stream) == list(range(published)) for stream in healthy)


@pytest.mark.parametrize("name", ["hypercorn", "hypercorn-2", "uvicorn", "granian"])
async def test_client_that_takes_nothing_keeps_no_server_from_stopping(
    name: str, tmp_path: Path
) -> None:
    """A stopping server does not wait for it, and the other clients reconnect."""
    mark = tmp_path / "mark"
    environ = {"QUART_SSE_TEST_MARK": str(mark), "QUART_SSE_PENDING_BYTES": str(1 << 30)}

    def command(port: int) -> Sequence[str]:
        backstop = ("--workers-kill-timeout", "2") if name == "granian" else ()
        return (*SERVERS[name](port), *backstop)

    async with serve(command, environ) as server:
        await server.until_all_serve(2 if name.endswith("-2") else 1)
        sleeper = await Sleeper.open(server.port)
        # With two workers the events must reach the one that has it.
        await stall_somewhere(server)
        healthy = [await RawStream.open(server.port) for _ in range(HEALTHY)]

        reading = asyncio.gather(*(stream.read_to_end() for stream in healthy))
        seconds = await server.stop()
        await reading

        sleeper.socket.close()
        for stream in healthy:
            await stream.close()
        output = server.output
    print(f"{name}: {seconds:.2f} s")  # noqa: T201 - see it with -s
    assert all(stream.is_complete and "sse-holdoff" in stream.text for stream in healthy)
    assert seconds < SOON
    assert "Traceback" not in output
    begun, ended = (
        re.findall(rf"{w}_serving (\d+)", mark.read_text()) for w in ("before", "after")
    )
    assert set(ended) == set(begun) or name == "granian"  # it kills its worker


async def stall_somewhere(server: Server) -> None:
    """Publish until a client sleeps, in whichever process it is."""
    async with asyncio.timeout(20):
        while (await server.state())["stalled"] == 0:
            await server.post(f"/publish/n?size={SIZE}")


@pytest.mark.parametrize("name", ["hypercorn", "uvicorn", "granian", "quart-run", "app.run"])
async def test_stream_ends_at_its_age_and_not_before(name: str) -> None:
    """The app's RESPONSE_TIMEOUT, 1 s, cuts no stream; its age ends it, and it resumes."""
    environ = {"QUART_SSE_MAX_AGE": "2", "QUART_SSE_HEARTBEAT": "0.2", "QUART_SSE_PROBE": "0.2"}
    async with serve(SERVERS[name], environ) as server:
        loop = asyncio.get_running_loop()
        stream = await RawStream.open(server.port)
        begun = loop.time()
        await stream.read_to_end()
        age = loop.time() - begun
        await stream.close()

        # What is published while it is away.
        await server.post("/publish/missed")
        last = re.findall(r"^id: (.+)$", stream.text, re.M)[-1]
        back = await RawStream.open(server.port, headers={"Last-Event-ID": last}, until="missed")
        await back.close()
        assert "Traceback" not in server.output
    assert stream.is_complete
    assert re.search(r"retry: \d+\nevent: sse-holdoff\ndata: max-age\n\n$", stream.text)
    assert age > 1.5, "it is 80 to 100 % of QUART_SSE_MAX_AGE"
    assert len(re.findall(r"^id: ", stream.text, re.M)) > 2, "heartbeats moved its position"
    assert "sse-reset" not in back.text
