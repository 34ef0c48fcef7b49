"""Channels and connections, as the processes of the app tell of them."""

import json
import os
import socket

from tests.support.redis_server import RedisServer
from tests.support.shell import Shell
from tests.support.sites import Site, serving

ROOMS = {
    "name": "rooms",
    "rule": "/rooms/<int:room>",
    "public": True,
    "history": 256,
    "history_ttl": 300.0,
    "fragments": ["list", "mine"],
    "personal": ["mine"],
    "viewers": 1,
}


async def test_channels_are_listed_with_their_viewers(site: Site, shell: Shell) -> None:
    """A connection with several topics of a channel is one viewer; each door says the same."""
    beside = Site(shell.url)
    beside.rooms.fragment("list")(lambda room: "")
    beside.rooms.fragment("mine", personal=True)(lambda room: "")
    async with site.view(1, 2), site.view(who="ada"):
        for told in (await shell("channels"), await shell.beside(beside.app, "channels")):
            assert (told.code, told.err) == (0, "")
            head, news, rooms = (line.split("  ") for line in told.out.splitlines())
            assert [cell.strip() for cell in head if cell] == [
                *("CHANNEL", "RULE", "PUBLIC", "HISTORY", "FRAGMENTS", "VIEWERS")
            ]
            cells = [[cell.strip() for cell in row if cell] for row in (news, rooms)]
            assert cells == [
                ["news", "/news", "yes", "256 for 300 s", "none", "0"],
                [
                    "rooms",
                    "/rooms/<int:room>",
                    "yes",
                    "256 for 300 s",
                    "list, mine (personal)",
                    "1",
                ],
            ]
        told = await shell("channels", "--json")
        found = json.loads(told.out)
        assert found["channels"][1] == ROOMS
        assert found["silent"] == []


async def test_channels_of_the_app_need_no_redis(shell: Shell) -> None:
    """No number stands where nothing was counted."""
    app = Site("memory://").app

    told = await shell.beside(app, "channels", "--json")
    assert told.code == 0
    assert [each["viewers"] for each in json.loads(told.out)["channels"]] == [None, None]
    assert told.err.startswith("Viewers are not counted. This needs Redis: the app's broker is")

    told = await shell.beside(Site(shell.url).app, "channels")
    assert (told.code, told.err) == (
        0,
        "Viewers are not counted: no process of the app is live.\n",
    )
    assert {line.split()[-1] for line in told.out.splitlines()} == {"VIEWERS", "-"}

    told = await shell.beside(Site("unix:///nowhere").app, "channels")
    assert told.code == 4
    assert told.out.splitlines()[1].startswith("news ")
    assert told.err.count("\n") == 1


async def test_connections_of_all_processes_are_listed(
    site: Site, redis: RedisServer, shell: Shell
) -> None:
    """Those that a condition is for, with what terminals may show of them."""
    there = Site(redis.url)
    async with (
        serving(there),
        site.view(1, who="ada", meta={"role": "admin"}) as (_, ada),
        there.view(1, 2, who="b\x1b[2Jb") as (_, bob),
    ):
        told = await shell("connections")
        assert (told.code, told.err) == (0, "")
        head, *rows = told.out.splitlines()
        assert head.split() == [
            *("ID", "IDENTITY", "SINCE", "ADDRESS", "PROCESS", "TOPICS", "USER", "AGENT")
        ]
        assert {row.split()[0] for row in rows} == {ada.id, bob.id}
        assert "\x1b" not in told.out
        assert "b\\x1b[2Jb" in told.out
        assert f"{socket.gethostname()}:{os.getpid()}" in rows[0]
        assert "rooms?room=1 rooms?room=2" in told.out

        told = await shell("connections", "--identity", "ada", "--json")
        (found,) = json.loads(told.out)["connections"]
        assert found["process"].pop("id") in ada.id
        assert found.pop("user_agent")
        assert found == {
            "id": ada.id,
            "identity": "ada",
            "connected_at": ada.connected_at.isoformat(),
            "remote_address": ada.remote_address,
            "process": {
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "release": found["process"]["release"],
            },
            "topics": ["rooms?room=1"],
            "metadata": {"role": "admin"},
        }
        for arguments, count in (
            (["--topic", "rooms?room=2"], 1),
            (["--channel", "rooms"], 2),
            (["--channel", "news"], 0),
        ):
            told = await shell.beside(Site(redis.url).app, "connections", "--json", *arguments)
            assert len(json.loads(told.out)["connections"]) == count


async def test_process_that_does_not_answer_is_named(
    site: Site, redis: RedisServer, shell: Shell
) -> None:
    """What is printed is what the others have said."""
    there = Site(redis.url)
    async with serving(there), site.view(1) as (_, here):
        silent = there.app.extensions["quart_sse"].control
        silent._handlers.pop("ask")
        name = f"{socket.gethostname()}:{os.getpid()}"
        for command in ("connections", "channels"):
            told = await shell("--timeout", "0.3", command)
            assert told.code == 7
            assert told.err.startswith(f"No answer from {name}, so what is there is")
            assert (here.id in told.out) == (command == "connections")
            told = await shell("--timeout", "0.3", command, "--json")
            (process,) = json.loads(told.out)["silent"]
            assert process["id"] == silent.processes.own.id


async def test_connections_of_no_process_are_an_error(shell: Shell) -> None:
    """Nothing is listed where nothing could be asked."""
    told = await shell("connections")

    assert (told.code, told.out) == (3, "")
    assert told.err.startswith("No process of the app is live. Start the app")
