"""What several tests of brokers use."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from quart_sse.broker.memory import MemoryBroker
from quart_sse.broker.redis import RedisBroker
from tests.support import control, processes
from tests.support.processes import Boot, Database, Inbox
from tests.support.redis_server import RedisServer


@pytest.fixture
async def boot(tmp_path: Path) -> AsyncIterator[Boot]:
    """Return what starts a process; all of them end after the test."""
    async with AsyncExitStack() as stack:
        database = Database()

        async def boot(**config: Any) -> processes.Process:
            url = config.pop("url", f"unix://{tmp_path / 'redis.sock'}")
            process = processes.Process(url, database, config)
            await process.app.startup()
            stack.push_async_callback(process.app.shutdown)
            return process

        yield boot


@pytest.fixture
async def two(redis: RedisServer) -> AsyncIterator[tuple[control.Process, control.Process]]:
    """Two processes that share a Redis."""
    async with (
        control.serving(RedisBroker(redis.url)) as one,
        control.serving(RedisBroker(redis.url)) as other,
    ):
        yield one, other


@pytest.fixture(params=["memory", "redis"])
async def process(request: pytest.FixtureRequest) -> AsyncIterator[control.Process]:
    """A process with a broker of each kind."""
    async with AsyncExitStack() as stack:
        if request.param == "redis":
            server = await stack.enter_async_context(control.redis_server())
            serving = control.serving(RedisBroker(server.url))
        else:
            serving = control.serving(MemoryBroker())
        yield await stack.enter_async_context(serving)


@pytest.fixture
async def raw(redis: RedisServer) -> AsyncIterator[tuple[RedisBroker, Inbox]]:
    """Return a broker that delivers into an inbox."""
    broker, inbox = RedisBroker(redis.url, timeout=1.0), Inbox()
    await broker.start(inbox)
    yield broker, inbox
    await broker.stop()
