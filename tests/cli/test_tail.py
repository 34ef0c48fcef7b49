"""The command that shows a topic: its lines, where it begins, and how it ends."""

import asyncio
import itertools
import json
import os
import pty
import signal
from asyncio.subprocess import Process
from importlib import import_module

import pytest
from markupsafe import Markup

from quart_sse.broker import MemoryBroker
from quart_sse.errors import BrokerUnavailable
from tests.support.redis_server import RedisServer
from tests.support.shell import Shell, running
from tests.support.sites import Site

#: The module; the command has its name.
tail = import_module("quart_sse.cli.tail")


async def lines(process: Process, count: int) -> list[str]:
    """Return the next lines that a command prints."""
    assert process.stdout is not None
    return [(await process.stdout.readline()).decode().rstrip("\n") for _ in range(count)]


async def interrupt(process: Process) -> tuple[int | None, str, str]:
    """Press Ctrl-C; return the exit code and what is left."""
    process.send_signal(signal.SIGINT)
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_events_and_refreshes_are_shown_as_they_come(site: Site, redis: RedisServer) -> None:
    """One line each, without what would command a terminal; Ctrl-C ends it."""
    room = site.room(3)
    first = (await room.publish("said", {"n": 1})).id
    command = ("--url", redis.url, "tail", "rooms?room=3", "--since", "5m")
    async with running(*command) as process:
        assert (await lines(process, 1))[0][25:] == f'{first}  said  {{"n": 1}}'
        second = await room.publish("said", "red \x1b[31m\nline", where={"role": "admin"})
        third = await room.publish("said", exclude="x")
        await room.refresh("list")
        await room.push("list", Markup("<b>3</b>"))
        await site.room(4).publish("said", "elsewhere")
        await site.sse.recheck(room)
        await room.publish("said", "last")
        found = [line[25:] for line in await lines(process, 5)]
        assert await interrupt(process) == (130, "", "")
    assert found[0] == f'{second.id}  said  red \\x1b[31m\\nline  where={{"role": "admin"}}'
    assert found[1] == f"{third.id}  said  null  exclude=x"
    assert found[2].endswith("  list  (refresh)")
    assert found[3].endswith("  list  (push of 8 characters of HTML)")
    assert found[4].endswith("  said  last")


async def test_json_has_one_value_a_line(site: Site, redis: RedisServer) -> None:
    """Data are what scripts of pages have; users and everyone are followed, too."""
    user = site.sse.user("ada")
    one = await user.publish("saved", {"n": 1}, where={"role": "admin"}, exclude="x")
    first = one.id
    await user.publish("saved", "[1]")
    command = ("--url", redis.url, "tail", "user?identity=ada", "--json", "--since")
    async with running(*command, "1h") as process:
        shown, text = map(json.loads, await lines(process, 2))
        assert shown.pop("time").startswith("20")
        assert shown == {
            "kind": "event",
            "id": first,
            "topic": "user?identity=ada",
            "name": "saved",
            "data": {"n": 1},
            "where": {"role": "admin"},
            "exclude": ["x"],
        }
        assert text["data"] == "[1]"
    async with running(*command, first) as process:
        assert json.loads((await lines(process, 1))[0])["data"] == "[1]"
    position = await site.sse.broker.position()
    async with running(*command, str(position)) as process:
        third = await user.publish("saved")
        assert json.loads((await lines(process, 1))[0])["id"] == third.id


async def test_what_is_no_longer_kept_is_told(site: Site, redis: RedisServer) -> None:
    """Before what is."""
    first = (await site.room(3).publish("said", 0)).id
    for number in range(1, 300):
        await site.room(3).publish("said", number)
    command = ("--url", redis.url, "tail", "rooms?room=3", "--json", "--since", first)
    async with running(*command) as process:
        found = [json.loads(line)["data"] for line in await lines(process, 256)]
        code, out, complaints = await interrupt(process)
    assert found == list(range(44, 300))
    assert (code, out) == (130, "")
    assert complaints == "Some of what was published before this is no longer kept.\n"


@pytest.mark.parametrize(("environ", "has_colours"), [({}, True), ({"NO_COLOR": "1"}, False)])
async def test_terminal_has_colours(
    site: Site, redis: RedisServer, environ: dict[str, str], has_colours: bool
) -> None:
    """Unless they are not wanted."""
    await site.room(3).publish("said", 1)
    screen, terminal = pty.openpty()
    command = ("tail", "rooms?room=3", "--since", "5m")
    environ = {"QUART_SSE_BROKER_URL": redis.url, "TERM": "xterm", **environ}
    async with running(*command, environ=environ, stdout=terminal) as process:
        os.close(terminal)
        shown = await asyncio.to_thread(os.read, screen, 1000)
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 130
    os.close(screen)
    assert b"said" in shown
    assert (b"\x1b[" in shown) is has_colours


async def test_app_at_hand_is_followed_the_same(site: Site, redis: RedisServer) -> None:
    """And ends the same."""
    command = ("--app", "tests.apps.shell:app", "sse", "tail", "rooms?room=3", "--since", "5m")
    await site.room(3).publish("said", 1)
    environ = {"QUART_SSE_BROKER_URL": redis.url}
    async with running(*command, environ=environ, quart=True) as process:
        assert (await lines(process, 1))[0].endswith("  said  1")
        assert await interrupt(process) == (130, "", "")


async def test_probes_let_the_broker_notice_a_dead_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They go on while it is away."""
    monkeypatch.setattr(tail, "_PROBE", 0)
    probed = asyncio.Event()
    calls = itertools.count()

    class Probed(MemoryBroker):
        async def probe(self) -> None:
            if next(calls) < 3:
                raise BrokerUnavailable("It is away.")
            probed.set()

    task = asyncio.create_task(tail._probe(Probed()))
    async with asyncio.timeout(10):
        await probed.wait()
    task.cancel()


WRONG = [
    (["rooms"], 1, "takes room, not none"),
    (["roms"], 1, "Did you mean 'rooms'?"),
    (["news", "--since", "yesterday"], 1, "or a time ago such as 90s, 5m, 2h or 1d."),
    (["news", "--since", "5"], 1, "--since is '5'."),
]


@pytest.mark.parametrize(("arguments", "code", "text"), WRONG, ids=range(len(WRONG)))
async def test_error_is_one_line(
    site: Site, shell: Shell, arguments: list[str], code: int, text: str
) -> None:
    """Before anything is followed."""
    told = await shell("tail", *arguments)

    assert (told.code, told.out, told.err.count("\n")) == (code, "", 1)
    assert text in told.err


async def test_redis_that_is_away_is_an_error(shell: Shell, redis: RedisServer) -> None:
    """Also beside an app, which knows the channels by itself."""
    await redis.kill()
    for told in (
        await shell("tail", "news"),
        await shell.beside(Site(redis.url).app, "tail", "news"),
    ):
        assert (told.code, told.out, told.err.count("\n")) == (4, "", 1)
