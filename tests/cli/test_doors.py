"""Both doors: the same commands, one line for an error, and the entry point of Quart's CLI."""

import re
import tomllib
from importlib.metadata import entry_points

import pytest

import quart_sse.cli
from quart_sse.cli.doors import by_url, main, sse
from tests.support.redis_server import RedisServer
from tests.support.servers import ROOT
from tests.support.shell import run
from tests.support.sites import Site, heard

APP = ("--app", "tests.apps.shell:app", "sse")


def test_both_have_the_same_commands() -> None:
    """Each with a line of its own in the help."""
    assert by_url.commands == sse.commands
    assert set(sse.commands) == {
        *("channels", "connections", "top", "tail", "publish", "notify", "refresh", "send"),
        *("close", "types"),
    }
    for command in sse.commands.values():
        assert not command.get_short_help_str().endswith("...")


def test_entry_point_leads_to_the_group() -> None:
    """Quart's command line finds it by that; also where the package is installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["entry-points"]["quart.commands"] == {"sse": "quart_sse.cli:sse"}
    assert quart_sse.cli.sse is sse
    for point in entry_points(group="quart.commands", name="sse"):
        assert point.load() is sse


async def test_quart_runs_it_with_the_configuration_of_the_app(
    site: Site, redis: RedisServer
) -> None:
    """The app is loaded, and does not begin to serve."""
    environ = {"QUART_SSE_BROKER_URL": redis.url}
    async with site.view(3) as (stream, handle):
        told = await run(*APP, "publish", "rooms?room=3", "said", "7", environ=environ, quart=True)
        assert (told.code, told.err) == (0, "")
        assert re.fullmatch(r"\d+-\d+\n", told.out)
        assert await heard(stream, 1) == [("rooms.said?room=3", "7")]
        told = await run(*APP, "send", handle.id, "hi", environ=environ, quart=True)
        assert told == (0, "", "")
        assert await heard(stream, 1) == [("connection.hi", "null")]


async def test_quart_runs_it_without_redis() -> None:
    """What needs it says so."""
    told = await run(*APP, "channels", quart=True)
    assert told.code == 0
    assert told.out.splitlines()[1].split() == ["news", "/news", "no", "none", "none", "-"]
    assert "needs Redis" in told.err
    for command in (["connections"], ["tail", "news"], ["publish", "news", "said"]):
        told = await run(*APP, *command, quart=True)
        assert (told.code, told.out, told.err.count("\n")) == (3, "", 1)
        assert "Set QUART_SSE_BROKER_URL=redis://..." in told.err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "Missing command. See python -m quart_sse --help."),
        (["publish"], "Missing argument 'TOPIC'. See python -m quart_sse publish --help."),
        (["--timeout", "x", "channels"], "'x' is not a valid float"),
        (["--url", "redis://h", "shout"], "No such command 'shout'."),
        (["channels"], "No broker is named. Pass --url redis://..., or set QUART_SSE_BROKER_URL"),
    ],
)
def test_wrong_usage_is_one_line(
    arguments: list[str],
    text: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the exit code of wrong usage."""
    monkeypatch.delenv("QUART_SSE_BROKER_URL", raising=False)

    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert text in shown.err
    assert (shown.err.count("\n"), shown.out) == (1, "")


@pytest.mark.parametrize("arguments", [["--help"], ["publish", "--help"]])
def test_help_needs_no_broker(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is asked for it."""
    assert main(arguments) == 0
    assert "Usage: python -m quart_sse" in capsys.readouterr().out
