"""The list of live processes: who is on it, and for how long."""

import asyncio
import os
import socket
from dataclasses import replace

import pytest

from quart_sse.broker.control import Control
from quart_sse.broker.memory import MemoryBroker
from quart_sse.broker.processes import PROCESSES, read_declared
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
    async with serving(RedisBroker(redis.url)) as one:
        dead = Control(RedisBroker(redis.url), ErrorLog())
        dead.begin()
        await dead.processes.announce()
        assert len(await one.control.processes.live()) == 2
        with monkeypatch.context() as patched:
            patched.setattr(commands, "PRESENT_MS", 100)
            await dead.processes.announce()
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


async def test_what_processes_declare_is_read_without_them(
    two: tuple[Process, Process], redis: RedisServer
) -> None:
    """That of the newest last: by the release of this package, and then by when they began."""
    one, other = two
    for process, text in ((one, "one"), (other, "other")):
        process.control.processes.declare(lambda text=text: text)  # type: ignore[misc]
        await process.control.processes.announce()
    reader = RedisBroker(redis.url)
    assert await read_declared(reader) == ["one", "other"]
    assert len(await one.control.processes.live()) == 2, "older entries are read as before"

    own = other.control.processes.own
    assert own is not None
    other.control.processes.own = replace(own, release="0.0.1")
    one.control.processes.own = replace(own, id=one.id, release="0.10.0")
    for process in two:
        await process.control.processes.announce()
    assert await read_declared(reader) == ["other", "one"]

    await one.control.end()
    assert await read_declared(reader) == ["other"]
    await redis.ask("FLUSHALL")
    assert await read_declared(reader) == []
    await reader.stop()


async def test_equal_declarations_are_kept_once(
    two: tuple[Process, Process], redis: RedisServer
) -> None:
    """And not for longer than their processes."""
    for process in two:
        process.control.processes.declare(lambda: "the same")
        await process.control.processes.announce()
    (key,) = await redis.ask("KEYS", "*:text:*")

    assert 60 < await redis.ask("TTL", key) <= 121
    assert await read_declared(two[0].broker) == ["the same"]


async def test_entry_without_a_declaration_is_skipped(process: Process) -> None:
    """Of an older release, or of nonsense."""
    await process.broker.enter({PROCESSES: {"a": "{}", "b": "no JSON", "c": "[]"}})

    assert await read_declared(process.broker) == []
