"""What several tests of brokers use."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import Boot, Database, Process
from tests.support.redis_server import RedisServer, running_redis


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncIterator[RedisServer]:
    """Return a Redis that keeps nothing on disk."""
    async with running_redis(tmp_path) as server:
        yield server


@pytest.fixture
async def boot(tmp_path: Path) -> AsyncIterator[Boot]:
    """Return what starts a process; all of them end after the test."""
    async with AsyncExitStack() as stack:
        database = Database()

        async def boot(**config: Any) -> Process:
            url = config.pop("url", f"unix://{tmp_path / 'redis.sock'}")
            process = Process(url, database, config)
            await process.app.startup()
            stack.push_async_callback(process.app.shutdown)
            return process

        yield boot
