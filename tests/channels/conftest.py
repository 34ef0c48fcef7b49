"""Sites of one or two processes whose halls show who is here, for the tests of presence."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.support.halls import Halls
from tests.support.redis_server import running_redis
from tests.support.sites import serving


@pytest.fixture(params=["memory", "redis"])
async def site(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Halls]:
    """A site of one process, with a broker of each kind."""
    async with AsyncExitStack() as stack:
        url = "memory://"
        if request.param == "redis":
            url = (await stack.enter_async_context(running_redis(tmp_path))).url
        site = Halls(url)
        await stack.enter_async_context(serving(site))
        yield site


@pytest.fixture
async def still(site: Halls) -> Halls:
    """The same, without the task that tells the broker: the test does its work when it likes."""
    await site.tracker.stop()
    return site


@pytest.fixture
async def sites(tmp_path: Path) -> AsyncIterator[tuple[Halls, Halls]]:
    """A site of two processes that share a Redis."""
    async with running_redis(tmp_path) as redis:
        sites = Halls(redis.url), Halls(redis.url)
        async with serving(*sites):
            yield sites
