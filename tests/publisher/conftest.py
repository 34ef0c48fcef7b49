"""What several tests of publishers use: an app that serves, and its Redis."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.redis_server import RedisServer, running_redis
from tests.support.sites import Site, serving


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncIterator[RedisServer]:
    """A Redis that keeps nothing on disk."""
    async with running_redis(tmp_path) as server:
        yield server


@pytest.fixture
async def site(redis: RedisServer) -> AsyncIterator[Site]:
    """An app that serves, whose rooms have a shared and a personal fragment."""
    site = Site(redis.url)
    site.rooms.fragment("list")(lambda room: f"list of {room}")
    site.rooms.fragment("mine", personal=True)(lambda room: "mine")
    async with serving(site):
        yield site
