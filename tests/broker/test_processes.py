"""The list of live processes: who is on it, and for how long."""

import asyncio
import os
import socket

import pytest

from quart_sse.broker.control import Control
from quart_sse.broker.memory import MemoryBroker
from quart_sse.broker.processes import PROCESSES
from quart_sse.broker.redis import RedisBroker, commands
from quart_sse.error_log import ErrorLog
from quart_sse.release import RELEASE
from tests.support.control import Process, serving
from tests.support.redis_server import RedisServer


async def test_process_is_listed_while_it_serves(process: Process) -> None:
    """The list has its id, machine, number and release, until it stops."""
    (listed,) = await process.control.processes.live()
    assert listed == process.control.processes.own
    assert (listed.host, listed.pid, listed.release) == (socket.gethostname(), os.getpid(), RELEASE)

    await process.control.end()
    assert await process.control.processes.live() == []


async def test_processes_list_each_other(two: tuple[Process, Process]) -> None:
    """Every process sees all of them."""
    one, other = two
    ids = {process.id for process in await one.control.processes.live()}

    assert ids == {one.id, other.id}
    assert await one.control.processes.live() == await other.control.processes.live()


async def test_id_is_made_when_a_process_begins_to_serve() -> None:
    """What is loaded once and forked, or serves again, has another id each time."""
    control = Control(MemoryBroker(), ErrorLog())
    assert control.processes.own is None
    await control.processes.announce()
    assert await control.processes.live() == [], "it serves nothing"
    ids = set[str]()
    for _ in range(2):
        control.begin()
        assert control.processes.own is not None
        ids.add(control.processes.own.id)
        await control.end()

    assert len(ids) == 2


async def test_killed_process_is_forgotten(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without word of it Redis forgets a process, and only that one."""
    monkeypatch.setattr(commands, "PRESENT_MS", 100)
    async with serving(RedisBroker(redis.url)) as one:
        dead = Control(RedisBroker(redis.url), ErrorLog())
        dead.begin()
        await dead.processes.announce()
        assert len(await one.control.processes.live()) == 2
        async with asyncio.timeout(5):
            while len(listed := await one.control.processes.live()) == 2:
                await one.control.processes.announce()

        assert listed == [one.control.processes.own]
        await dead._broker.stop()


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ('{"host": "a", "pid": 7, "release": "9.0", "since": 1}', "a"),
        ('{"host": "a"}', ""),
        ('{"host": "a", "pid": "x", "release": "9.0"}', ""),
        ("[]", ""),
        ("no JSON", ""),
    ],
)
async def test_process_of_another_release_is_listed(process: Process, text: str, host: str) -> None:
    """What it says of itself beyond what is known here is left out; its id stays."""
    await process.broker.enter({PROCESSES: {"other": text}})
    (other,) = [each for each in await process.control.processes.live() if each.id == "other"]

    assert other.host == host
