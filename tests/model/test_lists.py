"""Lists on every screen equal the data, whatever publishers, browsers and processes do."""

import asyncio
import logging
from pathlib import Path

import pytest

from quart_sse.broker import changed
from quart_sse.hub import lists
from tests.support.list_model import (
    ListCrowdModel,
    ListCrowdPairModel,
    ListModel,
    ListPairModel,
    ListRules,
)
from tests.support.model import EXAMPLES, Model, run_machine
from tests.support.real_redis import RealBroker, RedisPairModel
from tests.support.redis_server import RedisServer


@pytest.mark.timeout(0 if EXAMPLES else 60)
@pytest.mark.parametrize(
    ("machine", "examples"),
    [
        pytest.param(ListModel, 50, id="near"),
        pytest.param(ListPairModel, 80, id="pair"),
        pytest.param(ListCrowdModel, 80, id="crowd"),
        pytest.param(ListCrowdPairModel, 60, id="crowd pair"),
    ],
)
def test_lists_equal_the_data_whatever_happens(
    machine: type[Model],
    examples: int,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No item is lost, old or doubled, and each is where the data have it."""
    caplog.set_level(logging.CRITICAL, "quart_sse")  # of the renders that are meant to fail
    # With so few, schedules exceed them.
    monkeypatch.setattr(changed, "MOST_ITEMS", 5)
    monkeypatch.setattr(changed, "MOST_RESUMED", 3)
    monkeypatch.setattr(lists, "MOST_RESUMED", 3)
    run_machine(machine, examples)


class ListRedisModel(ListRules, RedisPairModel):
    """Lists in two processes with a real Redis."""


@pytest.mark.timeout(0 if EXAMPLES else 60)
def test_lists_equal_the_data_whatever_happens_to_redis(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its record of items says what each page lacks."""
    caplog.set_level(logging.CRITICAL, "quart_sse")
    monkeypatch.setattr(changed, "MOST_RESUMED", 3)
    monkeypatch.setattr(lists, "MOST_RESUMED", 3)
    RealBroker.server = server = RedisServer(tmp_path)
    asyncio.run(server.start())
    try:
        run_machine(ListRedisModel, 30)
    finally:
        asyncio.run(server.kill())
