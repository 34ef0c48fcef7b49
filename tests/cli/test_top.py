"""The figures of all processes on a terminal, and as lines elsewhere."""

import json
import os
import pty

from tests.support.redis_server import RedisServer
from tests.support.shell import Shell, running
from tests.support.sites import Site, serving


async def test_each_look_is_a_line_where_there_is_no_terminal(
    site: Site, redis: RedisServer, shell: Shell
) -> None:
    """Through Redis, and beside the app; rates are there from the second look on."""
    there = Site(redis.url)
    async with serving(there), site.view(1, who="ada"), there.view(2):
        for told in (
            await shell("top", "--count", "2", "--every", "0.2"),
            await shell.beside(Site(shell.url).app, "top", "--count", "2", "--every", "0.2"),
        ):
            assert (told.code, told.err) == (0, "")
            first, second = told.out.splitlines()
            assert "2 connections, 1 users, 2 processes, broker ready, published -" in first
            assert "published 0.0/s" in second
            assert "\x1b" not in told.out


async def test_figures_as_json(site: Site, shell: Shell) -> None:
    """One object for each look, with the names of the process."""
    async with site.view(1):
        await site.room(1).publish("hello")
        told = await shell("top", "--json", "--count", "1")

    found = json.loads(told.out)
    assert (found["total"]["connections"], found["total"]["published"]) == (1, 1)
    assert found["total"]["top_topics"] == {"rooms?room=1": 1}
    (process,) = found["processes"]
    assert (process["pid"], process["connections"]) == (os.getpid(), 1)
    assert (found["silent"], found["rates"]) == ([], {})


async def test_terminal_is_refreshed_in_place(site: Site, shell: Shell) -> None:
    """What comes from clients commands no terminal, and lines are no longer than it is wide."""
    ours, theirs = pty.openpty()
    async with site.view(1, 2):
        try:
            arguments = ("--url", shell.url, "top", "--count", "2", "--every", "0.2")
            environ = {"COLUMNS": "72", "LINES": "30"}
            async with running(*arguments, environ=environ, stdout=theirs) as process:
                assert await process.wait() == 0
            shown = os.read(ours, 65_536).decode()
        finally:
            os.close(theirs)
            os.close(ours)

    assert shown.startswith("\x1b[2J\x1b[H")
    assert shown.count("\x1b[H") == 2
    screen = shown.rpartition("\x1b[H")[2].replace("\x1b[K", "").replace("\x1b[J", "")
    lines = screen.splitlines()
    assert all(len(line) < 72 for line in lines)
    assert any(line.startswith("rooms?room=1 ") for line in lines)
    assert f":{os.getpid()} " in screen
    assert "ended    none" in screen


async def test_it_says_what_is_missing(redis: RedisServer, shell: Shell) -> None:
    """No process, no Redis, a Redis that does not answer."""
    told = await shell("top")
    assert (told.code, "No process of the app is live" in told.err) == (3, True)
    told = await shell.beside(Site("memory://").app, "top")
    assert (told.code, "This needs Redis" in told.err) == (3, True)
    await redis.kill()
    told = await shell("top")
    assert told.code == 4
