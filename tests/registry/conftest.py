"""What several tests of the registry use."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.support.redis_server import running_redis
from tests.support.sites import Site, serving


@pytest.fixture(params=["memory", "redis"])
async def site(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Site]:
    """A site of one process, with a broker of each kind."""
    async with AsyncExitStack() as stack:
        url = "memory://"
        if request.param == "redis":
            url = (await stack.enter_async_context(running_redis(tmp_path))).url
        site = Site(url)
        await stack.enter_async_context(serving(site))
        yield site


@pytest.fixture
async def sites(tmp_path: Path) -> AsyncIterator[tuple[Site, Site]]:
    """A site of two processes that share a Redis."""
    async with running_redis(tmp_path) as redis:
        sites = Site(redis.url), Site(redis.url)
        async with serving(*sites):
            yield sites
