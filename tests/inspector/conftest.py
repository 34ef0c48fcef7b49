"""Sites with an inspector."""

from collections.abc import AsyncIterator

import pytest

from tests.support.operators import Operator, may_inspect
from tests.support.redis_server import RedisServer
from tests.support.sites import Site, serving


@pytest.fixture
async def shop() -> AsyncIterator[Site]:
    """A site of one process with an inspector."""
    site = Site("memory://")
    site.sse.inspector(authorize=may_inspect)
    async with serving(site):
        yield site


@pytest.fixture
def operator(shop: Site) -> Operator:
    """Return an operator of it."""
    return Operator(shop)


@pytest.fixture
async def shops(redis: RedisServer) -> AsyncIterator[tuple[Site, Site]]:
    """Two processes with inspectors that share a Redis."""
    sites = Site(redis.url), Site(redis.url)
    for site in sites:
        site.sse.inspector(authorize=may_inspect)
    async with serving(*sites):
        yield sites
