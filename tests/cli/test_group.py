"""Errors are one line with an exit code, which the help and docs/publishing.md list."""

import asyncio
import os
import re

import click
import pytest

from quart_sse.cli import group
from quart_sse.errors import BrokerUnavailable, ConfigError, EventError, SetupError
from tests.support.redis_server import RedisServer
from tests.support.servers import ROOT
from tests.support.shell import running
from tests.support.sites import Site

CODES = {
    "REFUSED": 1,
    "USAGE": 2,
    "NOT_SET_UP": 3,
    "NOT_PUBLISHED": 4,
    "MAYBE_PUBLISHED": 5,
    "NOT_OPEN": 6,
    "INCOMPLETE": 7,
    "INTERRUPTED": 130,
}


def test_codes_are_documented() -> None:
    """In the help of each door, and on the page."""
    text = (ROOT / "docs/publishing.md").read_text("utf-8")
    page = text.partition("\n## From a shell\n")[2].partition("\n## ")[0]
    expected = [0, *CODES.values()]

    assert {name: getattr(group, name) for name in CODES} == CODES
    assert [int(code) for code in re.findall(r"^  (\d+) ", group.EPILOG, re.M)] == expected
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", page, re.M)] == expected


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (EventError("a\n  b"), 1),
        (ConfigError("KEY", 1, "2"), 2),
        (click.UsageError("a\n b"), 2),
        (SetupError("a"), 3),
        (BrokerUnavailable("a"), 4),
        (BrokerUnavailable("a", maybe_published=True), 5),
        (KeyboardInterrupt(), 130),
    ],
)
def test_error_is_one_line_and_a_code(
    error: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever a command raises of these."""

    @click.group(cls=group.CommandGroup)
    def commands() -> None: ...

    @commands.command()
    def fail() -> None:
        raise error

    assert commands.main(["fail"], "test", standalone_mode=False) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == (0 if code == 130 else 1)


def test_other_errors_are_ours(capsys: pytest.CaptureFixture[str]) -> None:
    """They keep their traceback."""

    @click.group(cls=group.CommandGroup)
    def commands() -> None: ...

    @commands.command()
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        commands.main(["fail"], "test", standalone_mode=False)


async def test_pipe_that_is_closed_ends_the_command(site: Site, redis: RedisServer) -> None:
    """As by ``tail | head -1``: without a traceback."""
    reading, writing = os.pipe()
    async with running(
        *("--url", redis.url, "tail", "rooms?room=3", "--since", "5m"), stdout=writing
    ) as process:
        os.close(writing)
        await site.room(3).publish("said", 1)
        with os.fdopen(reading, "rb") as pipe:
            assert b"said" in await asyncio.to_thread(pipe.readline)
        await site.room(3).publish("said", 2)
        assert process.stderr is not None
        assert await process.stderr.read() == b""
        assert await process.wait() == 0
