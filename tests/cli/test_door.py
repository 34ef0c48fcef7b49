"""Where a publisher comes from: the app at hand, or a URL."""

import click
import pytest
from quart import Quart

from quart_sse import SSE
from quart_sse.cli.door import AppDoor, Door, UrlDoor
from quart_sse.errors import ConfigError, SetupError
from tests.support.redis_server import RedisServer
from tests.support.shell import Shell
from tests.support.sites import Site


async def test_app_at_hand_is_all_that_is_needed(redis: RedisServer, shell: Shell) -> None:
    """No process has to live: its own channels, history and limits count."""
    site = Site(redis.url, history=2, pending_bytes=2000)
    for number in range(4):
        told = await shell.beside(site.app, "publish", "everyone", "said", str(number))
        assert (told.code, told.err) == (0, "")
    told = await shell.beside(site.app, "publish", "everyone", "said", "--text", "x" * 3000)
    assert told.code == 1
    assert [each.data for each in await site.sse.broker.kept("everyone", 9)] == ["2", "3"]
    told = await shell("publish", "everyone", "said")
    assert told.code == 3, "by the URL alone nothing is known"


def test_app_without_the_extension_is_an_error() -> None:
    """With its remedy."""
    door: Door = AppDoor(lambda: Quart("shop"))
    for call in (door.declared, door.open):
        with pytest.raises(SetupError, match=r"The app 'shop' is not initialised .* SSE\(app\)"):
            call()


def test_app_of_one_process_is_known_and_not_published_to() -> None:
    """What it declares is at hand."""
    app = Quart(__name__)
    SSE(app).channel("news", "/news")
    door = AppDoor(lambda: app)

    declared = door.declared()
    assert declared is not None
    assert [*declared.channels] == ["news"]
    with pytest.raises(SetupError, match="This needs Redis: the app's broker is memory://"):
        door.open()


def test_url_is_checked_when_it_is_used() -> None:
    """So that help needs none."""
    assert UrlDoor("redis://h", "sse", 1.0).declared() is None
    with pytest.raises(click.UsageError, match="Pass --url redis://"):
        UrlDoor(None, "sse", 1.0).open()
    with pytest.raises(ConfigError, match="QUART_SSE_REDIS_PREFIX"):
        UrlDoor("redis://h", "a b", 1.0).open()
