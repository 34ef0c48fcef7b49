"""What tests of commands use: an app that serves, its Redis, and a shell."""

from collections.abc import AsyncIterator

import pytest

from tests.support.redis_server import RedisServer
from tests.support.shell import Shell
from tests.support.sites import Site, serving


@pytest.fixture
async def site(redis: RedisServer) -> AsyncIterator[Site]:
    """An app that serves, whose rooms have a shared and a personal fragment."""
    site = Site(redis.url)
    site.rooms.fragment("list")(lambda room: "")
    site.rooms.fragment("mine", personal=True)(lambda room: "")
    async with serving(site):
        yield site


@pytest.fixture
def shell(redis: RedisServer, capsys: pytest.CaptureFixture[str]) -> Shell:
    """A shell on the machine of the app's Redis."""
    return Shell(capsys, redis.url)
