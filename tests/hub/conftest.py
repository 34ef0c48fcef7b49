"""What several tests of hubs use."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.support.clock import Jump
from tests.support.house import House


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """A process, of which nothing is left in the end."""
    house = House()
    await house.open()
    yield house
    await house.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.fixture
async def jump(monkeypatch: pytest.MonkeyPatch) -> Jump:
    """Move the event loop's clock on by seconds, without waiting for them."""
    loop = asyncio.get_running_loop()
    real, ahead = loop.time, [0.0]
    monkeypatch.setattr(loop, "time", lambda: real() + ahead[0])

    def jump(seconds: float) -> None:
        ahead[0] += seconds

    return jump
