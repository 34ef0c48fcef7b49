"""Many come, go and come back for a while, and then the process is as it was.

A real server process, streams over sockets, publishing all the time. In the end all leave, and
what the process holds is compared with what it held after a first round of the same: warm, with
its caches, pools and the allocator's arenas. ``make soak`` runs the long one.
"""

import asyncio
import http.client
import logging
import random
import tempfile
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.support.load import EXACT, Viewer, ask, look, uvicorn
from tests.support.redis_server import running_redis
from tests.support.servers import Server, serve

#: Told what was measured; see it with ``--log-level info``.
logger = logging.getLogger(__name__)

#: Rooms, and events kept of each.
ROOMS = 8
#: Longest life of a client, interval of two rounds of publishing, and time until an unused server
#: has freed everything, in seconds.
STAY, PAUSE, PATIENCE = 2.0, 0.02, 20.0
#: Bytes of memory that allocators may keep at the end of it: some, and some for each stream that
#: there was. What a process holds of an open one is more.
KEPT, KEPT_EACH = 4 << 20, 2 << 10
#: Names of what must be no more than it was.
NAMES = [*EXACT, "wanted", "present"]


class Crowd:
    """Clients that join, listen for a while, leave in different ways, and come back.

    Args:
        port: Of the server.
        streams: How many; the more there are, the longer they stay.
    """

    def __init__(self, port: int, streams: int) -> None:
        self.port = port
        self.dice = random.Random(streams)
        self.stay = STAY * max(1.0, streams / 200)
        self.opened = 0
        self.resumed = 0
        self.heard = 0
        self.is_over = False

    async def live(self, number: int) -> None:
        """Be one of them until it is over."""
        room, last_id = number % ROOMS, ""
        heard = -1
        while not self.is_over:
            viewer = await self._open(f"/sse/rooms/{room}", last_id)
            await asyncio.sleep(self.dice.uniform(0, self.stay))
            assert viewer.transport is not None
            # With a farewell, or as a browser that was killed.
            (viewer.transport.close if self.dice.random() < 0.5 else viewer.transport.abort)()
            expected = (
                list(range(viewer.numbers[0], viewer.numbers[-1] + 1)) if viewer.numbers else []
            )
            assert viewer.numbers == expected, "an event came twice, or not"
            if last_id and heard >= 0 and viewer.numbers and not viewer.resets:
                assert viewer.numbers[0] == heard + 1, "an event came twice, or not, over a cut"
            heard = expected[-1] if expected else heard
            self.heard += len(expected)
            last_id = viewer.last_id or last_id
            if self.dice.random() < 0.1:  # a new page
                room, last_id, heard = self.dice.randrange(ROOMS), "", -1

    async def _open(self, path: str, last_id: str) -> Viewer:
        loop = asyncio.get_running_loop()
        _, viewer = await loop.create_connection(Viewer, "127.0.0.1", self.port)
        assert viewer.transport is not None
        viewer.transport.write(ask(path, last_id))
        self.opened += 1
        self.resumed += bool(last_id)
        if self.dice.random() < 0.9:  # others leave before they are answered
            async with asyncio.timeout(PATIENCE):
                await viewer.is_open.wait()
        return viewer


async def crowd(server: Server, streams: int, seconds: float, first: int) -> Crowd:
    """Let many come and go under publishing, for so long."""
    people = Crowd(server.port, streams)
    loop = asyncio.get_running_loop()
    end, number = loop.time() + seconds, first
    async with asyncio.TaskGroup() as group:
        lives = [group.create_task(people.live(number)) for number in range(streams)]
        while loop.time() < end:
            # In a thread: with so many clients our own loop would rarely come to it.
            await asyncio.to_thread(publish, server.port, number)
            number += 1
            await asyncio.sleep(PAUSE)
        people.is_over = True
        await asyncio.gather(*lives)
    return people


def publish(port: int, number: int) -> None:
    """Publish an event in each room, and change its fragment."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    for room in range(ROOMS):
        for path in (f"events/{number}?size=200", "changes"):
            connection.request("POST", f"/rooms/{room}/{path}")
            assert connection.getresponse().read() == b""
    connection.close()


async def rest(server: Server, before: Mapping[str, int] | None = None) -> dict[str, int]:
    """Return what a process holds once it has become quiet, or after all patience."""
    loop = asyncio.get_running_loop()
    end = loop.time() + PATIENCE
    while True:
        held = await look(server)
        is_idle = not any(held[name] for name in ("connections", "topics", "departed", "wanted"))
        if is_idle and (before is None or not more(held, before)):
            return held
        if loop.time() > end:
            return held
        await asyncio.sleep(PAUSE)


def more(held: Mapping[str, int], before: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """Return what is more than it was."""
    return {n: (before[n], held[n]) for n in NAMES if held[n] > before[n]}


@pytest.mark.servers
@pytest.mark.parametrize(
    ("broker", "streams", "seconds"),
    [
        pytest.param("memory", 150, 3.0, id="short-memory"),
        pytest.param("redis", 150, 3.0, id="short-redis"),
        pytest.param(
            *("memory", 1000, 60.0),
            marks=[pytest.mark.slow, pytest.mark.timeout(300)],
            id="long-memory",
        ),
        pytest.param(
            *("redis", 1000, 60.0),
            marks=[pytest.mark.slow, pytest.mark.timeout(300)],
            id="long-redis",
        ),
    ],
)
async def test_process_is_as_it_was_when_all_have_left(
    broker: str, streams: int, seconds: float
) -> None:
    """Tasks, connections, subscriptions, files and memory return to where they began."""
    environ = {"QUART_SSE_LINGER": "0.5", "QUART_SSE_PRESENCE_LINGER": "0.5"}
    # Of as many people as there are streams, and kept for no longer than it takes.
    environ |= {"QUART_SSE_MAX_PER_IDENTITY": str(streams), "QUART_SSE_HISTORY": "100"}
    async with AsyncExitStack() as stack:
        if broker == "redis":
            directory = stack.enter_context(tempfile.TemporaryDirectory())
            redis = await stack.enter_async_context(running_redis(Path(directory)))
            environ["QUART_SSE_BROKER_URL"] = redis.url
        server = await stack.enter_async_context(serve(uvicorn, environ))
        await crowd(server, streams, seconds / 4, 0)
        before = await rest(server)
        people = await crowd(server, streams, seconds, 1_000_000)
        after = await rest(server, before)
        output = server.output

    grown = after["memory"] - before["memory"]
    measured = (
        f"{people.opened} streams ({people.resumed} resumed), {people.heard} events heard; memory "
        f"{before['memory'] >> 10} KiB, then {grown >> 10} KiB more; {after}"
    )
    logger.info(measured)
    assert "Traceback" not in output
    assert people.resumed > streams / 2
    assert people.heard > streams
    assert not more(after, before)
    assert grown < KEPT + KEPT_EACH * people.opened


async def flood(server: Server, streams: int, first: int) -> dict[str, int]:
    """Open so many streams, each with lists and an agent of its own, and close them as one."""
    loop = asyncio.get_running_loop()
    viewers: list[Viewer] = []

    async def come(number: int) -> None:
        _, viewer = await loop.create_connection(Viewer, "127.0.0.1", server.port)
        assert viewer.transport is not None
        agent = f"User-Agent: {number} {'x' * 200}\r\nHost:".encode()
        path = f"/sse?t=~rooms?number%3D{number}:list+rooms?number%3D{number + 1}:list&since=0"
        viewer.transport.write(ask(path).replace(b"Host:", agent))
        viewers.append(viewer)
        async with asyncio.timeout(PATIENCE):
            await viewer.is_open.wait()

    for begin in range(first, first + streams, 50):
        await asyncio.gather(*map(come, range(begin, min(begin + 50, first + streams))))
    held = await look(server)
    for viewer in viewers:
        assert viewer.transport is not None
        viewer.transport.abort()
    return held


@pytest.mark.servers
@pytest.mark.parametrize(
    "streams",
    [300, pytest.param(2000, marks=[pytest.mark.slow, pytest.mark.timeout(300)])],
)
async def test_memory_comes_back_after_a_flood(streams: int) -> None:
    """Nothing of it is kept. What Python does not hand back to the system serves the next one."""
    environ = {"QUART_SSE_LINGER": "0.5", "QUART_SSE_PRESENCE_LINGER": "0.5"}
    async with serve(uvicorn, environ) as server:
        await flood(server, 10, 0)
        before = await rest(server)
        open_ = await flood(server, streams, 1000)
        after = await rest(server, before)
        await flood(server, streams, 1_000_000)
        again = await rest(server, before)

    each = (open_["memory"] - before["memory"]) // streams
    measured = f"{each} bytes of memory for each; before {before}, after {after}, again {again}"
    logger.info(measured)
    assert open_["connections"] == streams
    assert open_["blocks"] > before["blocks"] + 50 * streams
    assert after["blocks"] < 1.2 * before["blocks"]
    assert again["blocks"] < 1.2 * before["blocks"]
    assert again["memory"] < 1.2 * after["memory"]


@pytest.mark.servers
@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_memory_levels_off_over_rounds(tmp_path: Path) -> None:
    """Through Redis each round of many clients leaves the process as large as the one before."""
    environ = {"QUART_SSE_LINGER": "0.5", "QUART_SSE_PRESENCE_LINGER": "0.5"}
    environ |= {"QUART_SSE_MAX_PER_IDENTITY": "1000", "QUART_SSE_HISTORY": "100"}
    sizes = []
    async with running_redis(tmp_path) as redis:
        environ["QUART_SSE_BROKER_URL"] = redis.url
        async with serve(uvicorn, environ) as server:
            held = None
            for number in range(5):
                people = await crowd(server, 1000, 40.0, number * 1_000_000)
                held = await rest(server, held)
                sizes.append(held["memory"])
                logger.info("%d streams, memory %d KiB", people.opened, held["memory"] >> 10)

    # Allocators take some time to find their level; a leak grows by the same in each round.
    assert sizes[4] - sizes[2] < KEPT
