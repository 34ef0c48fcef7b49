"""The command line: events from a shell, one line for an error, an exit code for a script."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from quart_sse.cli import main
from tests.support.redis_server import RedisServer, running_redis
from tests.support.servers import ROOT
from tests.support.sites import Site, heard, serving


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncIterator[RedisServer]:
    """A Redis that keeps nothing on disk."""
    async with running_redis(tmp_path) as server:
        yield server


@pytest.fixture
async def site(redis: RedisServer) -> AsyncIterator[Site]:
    """An app that serves."""
    site = Site(redis.url)
    site.rooms.fragment("list")(lambda room: "")
    async with serving(site):
        yield site


async def call(
    *arguments: str, environ: dict[str, str] | None = None
) -> tuple[int | None, str, str]:
    """Run it as a shell does, and return its exit code and what it printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-m", "quart_sse", *arguments),
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), **(environ or {})},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, complaints = await process.communicate()
    return process.returncode, printed.decode(), complaints.decode()


async def test_event_is_published_and_its_id_printed(site: Site, redis: RedisServer) -> None:
    """To any target; URL and prefix come from options or the environment."""
    async with site.view(3, who="mira") as (stream, _):
        code, id, complaints = await call(
            "--url", redis.url, "publish", "rooms?room=3", "said", '{"a": 1}'
        )
        assert (code, complaints) == (0, "")
        environ = {"QUART_SSE_BROKER_URL": redis.url}
        for arguments in (
            ["publish", "rooms?room=3", "said", "--text", "plain"],
            ["publish", "user?identity=mira", "saved"],
            ["publish", "everyone?channel=rooms", "closing", "7"],
            ["publish", "everyone", "maintenance", "[]", "--exclude", "x"],
            ["publish", "everyone", "hidden", "--where", '{"role": "admin"}'],
            ["refresh", "rooms?room=3", "list"],
        ):
            code, _, complaints = await call(*arguments, environ=environ)
            assert (code, complaints) == (0, "")
        assert await heard(stream, 5) == [
            ("rooms.said?room=3", '{"a": 1}'),
            ("rooms.said?room=3", "plain"),
            ("user.saved", "null"),
            ("rooms.closing", "7"),
            ("everyone.maintenance", "[]"),
        ]
        assert (await call("close", "rooms?room=3", environ=environ))[0] == 0
        assert (await stream.next("sse-stop")).data
    assert (await site.room(3).history())[0].id == id.strip()


WRONG = [
    (["publish", "roms?room=3", "said"], 1, "Did you mean 'rooms'?"),
    (["publish", "rooms?room=x", "said"], 1, "no topic with room='x'"),
    (["publish", "rooms", "said"], 1, "takes room, not none"),
    (["publish", "news", "message"], 1, "reserved"),
    (["publish", "news", "said", "{"], 1, "--text"),
    (["publish", "news", "said", "--where", "x"], 1, "--where is no JSON"),
    (["publish", "user?identity=", "said"], 1, "identity is ''"),
    (["refresh", "rooms?room=3", "lst"], 1, "no fragment 'lst'"),
    (["refresh", "everyone"], 1, "is no topic"),
    (["--prefix", "other", "publish", "news", "said"], 3, "No process of the app"),
    (["--prefix", "a b", "publish", "news", "said"], 2, "QUART_SSE_REDIS_PREFIX"),
    (["--url", "memory://", "publish", "news", "said"], 3, "QUART_SSE_BROKER_URL=redis://"),
    (["--url", "unix:///nowhere", "publish", "news", "said"], 4, "Nothing was published"),
]


@pytest.mark.parametrize(("arguments", "code", "text"), WRONG, ids=range(len(WRONG)))
async def test_error_is_one_line_and_an_exit_code(
    site: Site,
    redis: RedisServer,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    text: str,
) -> None:
    """Without a traceback."""
    environ = {"QUART_SSE_BROKER_URL": redis.url}

    assert await asyncio.to_thread(main, arguments, environ) == code
    shown = capsys.readouterr()
    assert text in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out == ""


async def test_full_redis_has_published_nothing(
    site: Site, redis: RedisServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """A script may try again."""
    arguments = ["--url", redis.url, "--timeout", "1", "publish", "news"]

    def publish() -> int:
        return main([*arguments, "said"], {})

    await redis.ask("CONFIG", "SET", "maxmemory", "1")
    assert await asyncio.to_thread(publish) == 4
    await redis.ask("CONFIG", "SET", "maxmemory", "0")
    assert "maxmemory" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["publish"],
        ["--url", "redis://h", "shout"],
        ["--url", "redis://h", "publish", "news", "said", "1", "--text", "x"],
    ],
)
def test_wrong_usage_has_the_code_of_argparse(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """And its usage."""
    with pytest.raises(SystemExit) as raised:
        main(arguments, {})
    assert raised.value.code == 2
    assert "usage: python -m quart_sse" in capsys.readouterr().err
