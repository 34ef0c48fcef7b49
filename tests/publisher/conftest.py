"""What several tests of publishers use: an app that serves, and its Redis."""

from collections.abc import AsyncIterator

import pytest

from tests.support.redis_server import RedisServer
from tests.support.sites import Site, serving


@pytest.fixture
async def site(redis: RedisServer) -> AsyncIterator[Site]:
    """An app that serves, whose rooms have a shared and a personal fragment."""
    site = Site(redis.url)
    site.rooms.fragment("list")(lambda room: f"list of {room}")
    site.rooms.fragment("mine", personal=True)(lambda room: "mine")
    async with serving(site):
        yield site
