"""A client that reads nothing costs other clients nothing, and resumes completely.

A real server sends large events and fragments to many clients that read and to one that does not.
The server tells what it holds; the events tell how long they took, because all processes of a
machine share one monotonic clock.
"""

import asyncio
import contextlib
import json
import logging
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from statistics import median
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.load import Viewer, ask, hypercorn, look, uvicorn
from tests.support.servers import Server, serve

#: Told what was measured; see it with ``--log-level info``.
logger = logging.getLogger(__name__)

pytestmark = [pytest.mark.servers, pytest.mark.timeout(120)]

#: Bytes of a replay that has all.
LARGE = 1 << 26
#: Who read, and bytes of an event and of a fragment.
VIEWERS = 200
SIZE = 5_000
#: The same of what fills the buffers between the server and the slow client alone.
FILL = 20_000
#: Bytes of events that a slow client may hold.
PENDING = 200_000
#: Rounds of publishing, and events in each, while no client is slow and while one is.
ROUNDS, EACH = 6, 4
#: Seconds until a client that takes nothing is cut off; and between two rounds.
CUT, PAUSE = 2.0, 0.05
#: Bytes by which memory may grow: what one slow client may hold, over and over, and the allocator's
#: own share, but not what was sent to it.
GROWTH = 24 << 20
#: Seconds more than without the slow client that the median of all deliveries may take.
SLACK = 0.01
#: Refreshes of a storm, and seconds between five and the next five.
STORM, BREATH = 2000, 0.004
#: Renders in a second, by the default debounce of 0.1 s, and more at its two ends.
RATE, ENDS = 10, 3

#: A stream of what the others are sent, and of what is for the slow client alone.
BOTH = "/sse?t=~rooms%3Fnumber%3D1:list+rooms%3Fnumber%3D2"


async def view(port: int, path: str, last_id: str = "") -> Viewer:
    """Open a stream that is read."""
    _, viewer = await asyncio.get_running_loop().create_connection(Viewer, "127.0.0.1", port)
    assert viewer.transport is not None
    viewer.transport.write(ask(path, last_id))
    async with asyncio.timeout(10):
        await viewer.is_open.wait()
    return viewer


@asynccontextmanager
async def viewing(port: int, path: str, count: int) -> AsyncIterator[Sequence[Viewer]]:
    """Open streams that are read, until the block ends."""
    viewers = [await view(port, path) for _ in range(count)]
    try:
        yield viewers
    finally:
        for viewer in viewers:
            assert viewer.transport is not None
            viewer.transport.close()


def stall(port: int, path: str) -> socket.socket:
    """Open a stream that is not read."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", port))
    client.sendall(ask(path))
    return client


async def all_have(viewers: Sequence[Viewer], number: int) -> None:
    """Wait until every client has got an event."""
    async with asyncio.timeout(20):
        while not all(viewer.numbers[-1:] == [number] for viewer in viewers):  # noqa: ASYNC110
            await asyncio.sleep(PAUSE / 10)


async def publish(server: Server, viewers: Sequence[Viewer], first: int) -> int:
    """Publish and change for some rounds, each of which every client must get."""
    for number in range(first, first + ROUNDS * EACH, EACH):
        await server.post(f"/rooms/1/events/{number}?count={EACH}&size={SIZE}")
        await server.post("/rooms/1/changes")
        await all_have(viewers, number + EACH - 1)
        await asyncio.sleep(PAUSE)
    return first + ROUNDS * EACH


def take(viewers: Sequence[Viewer]) -> float:
    """Return the median of all delays so far, and forget them."""
    delays = [delay for viewer in viewers for delay in viewer.delays]
    for viewer in viewers:
        viewer.delays.clear()
    return median(delays)


@pytest.mark.parametrize(
    ("command", "viewers", "replay"),
    [
        pytest.param(uvicorn, VIEWERS, LARGE, id="uvicorn-replayed"),
        pytest.param(uvicorn, 1, SIZE, id="uvicorn-reset"),
        pytest.param(hypercorn, 10, LARGE, id="hypercorn-replayed"),
    ],
)
async def test_client_that_reads_nothing_is_cut_off_and_heals(
    command: Any, viewers: int, replay: int
) -> None:
    """Memory stays bounded, no other client waits longer, and the slow one misses nothing."""
    environ = {
        "SIZE": str(SIZE),
        "QUART_SSE_PENDING_BYTES": str(PENDING),
        "QUART_SSE_REPLAY_BYTES": str(replay),
        "QUART_SSE_SEND_TIMEOUT": str(CUT),
        "QUART_SSE_HISTORY": "2000",
        "QUART_SSE_REPLAY_EVENTS": "2000",
    }
    path = "/sse/rooms/1?fragments=list"
    async with (
        serve(command, environ) as server,
        viewing(server.port, path, viewers) as fast,
    ):
        count = await publish(server, fast, 0)
        take(fast)  # whose first ones warmed up
        count = await publish(server, fast, count)
        alone, without = take(fast), await look(server)

        first = count
        page = f"{BOTH}&since={quote(last_of(fast))}"
        slow = stall(server.port, page)
        held, most = await look(server), dict(without)
        async with asyncio.timeout(20):
            while not held["pending"]:  # something more fits between the two
                await server.post(f"/rooms/2/events/0?count={EACH}&size={FILL}")
                held = await look(server)
        most = {name: max(most[name], held[name]) for name in most}
        async with asyncio.timeout(30):
            while held["connections"] > viewers:
                count = await publish(server, fast, count)
                held = await look(server)
                most = {name: max(most[name], held[name]) for name in most}
        beside = take(fast)
        # Its socket, too, and what was written to it: it still reads nothing.
        after = await until_held(server, files=without["files"])
        lost = numbers_of(await asyncio.to_thread(drain, slow))
        # If nothing was read whole it knows where its page began.
        back = await view(server.port, page, lost[1])
        await until_true(lambda: back.numbers[-1:] == [count - 1] or back.resets)
        await server.post(f"/rooms/1/events/{count}?size={SIZE}")
        await server.post("/rooms/1/changes")
        await all_have([back], count)
        state = json.loads((await server.get("/rooms/1/renders")).split(b"\r\n\r\n")[1])["state"]
        await until_true(lambda: back.states[-1:] == [state])
        assert back.transport is not None
        back.transport.close()

    measured = (
        f"{count} events of {SIZE} bytes; median {alone * 1000:.2f} ms, with a slow client "
        f"{beside * 1000:.2f} ms; grown {(most['memory'] - without['memory']) >> 10} KiB, at the "
        f"end {(after['memory'] - without['memory']) >> 10} KiB; pending {most['pending']}"
    )
    logger.info(measured)
    # A wave is taken whole, and of a fragment there is one version.
    assert 0 < most["pending"] <= PENDING + EACH * (FILL + 200) + EACH * (SIZE + 200) + SIZE + 200
    assert most["memory"] - without["memory"] < GROWTH
    assert beside < 2 * alone + SLACK
    for viewer in fast:
        assert viewer.numbers == list(range(count + 1))[: len(viewer.numbers)]
        assert viewer.resets == 0
    heard = lost[0] + back.numbers
    if replay == LARGE:
        assert back.resets == 0
        assert heard == list(range(first, count + 1))
    else:
        assert back.resets == 1
        assert back.numbers == [count]


def drain(client: socket.socket) -> bytes:
    """Read what had come before the client was cut off."""
    client.settimeout(5)
    data = b""
    with client, contextlib.suppress(ConnectionError):
        while more := client.recv(1 << 20):
            data += more
    return data


def numbers_of(data: bytes) -> tuple[list[int], str]:
    """Return the events that were read whole, and the id that the client knows."""
    viewer = Viewer()
    viewer.data_received(data)
    return viewer.numbers, viewer.last_id


def last_of(viewers: Sequence[Viewer]) -> str:
    """Return an id of this server's."""
    return viewers[0].last_id


async def until_true(condition: Any) -> None:
    """Wait until something is true of a client."""
    async with asyncio.timeout(15):
        while not condition():  # noqa: ASYNC110 - it is anything
            await asyncio.sleep(PAUSE / 10)


async def until_held(server: Server, **expected: int) -> dict[str, int]:
    """Wait until a process holds no more than so much, and return what it holds."""
    async with asyncio.timeout(15):
        while True:
            held = await look(server)
            if all(held[name] <= number for name, number in expected.items()):
                return held
            await asyncio.sleep(PAUSE)


async def test_storm_of_refreshes_renders_as_often_as_the_debounce_allows() -> None:
    """However often it is said that a fragment has changed, all soon see its last state."""
    async with (
        serve(uvicorn, {"SIZE": "1000"}) as server,
        viewing(server.port, "/sse/rooms/1?fragments=list", VIEWERS) as viewers,
    ):
        begun = time.monotonic()
        await server.post(f"/rooms/1/changes?count={STORM}&pause={BREATH}")
        seconds = time.monotonic() - begun
        await until_true(lambda: all(viewer.states[-1:] == [STORM] for viewer in viewers))
        told = json.loads((await server.get("/rooms/1/renders")).split(b"\r\n\r\n")[1])

    measured = f"{STORM} refreshes in {seconds:.2f} s: {told['renders']} renders, {VIEWERS} viewers"
    logger.info(measured)
    assert told["state"] == STORM
    assert RATE * seconds / 3 < told["renders"] <= RATE * seconds + ENDS
    assert all(viewer.states == sorted(viewer.states) for viewer in viewers)
    assert STORM / told["renders"] > 20, "that was no storm"
