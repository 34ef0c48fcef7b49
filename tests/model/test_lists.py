"""Lists on every screen equal the data, whatever publishers, browsers and processes do.

These try whether the rules 40 to 46 of ``docs/protocol.md`` go together. A rule that only saves
renders can be broken here unseen, as can one that few schedules need; the tests of ``tests/hub``
and ``tests/broker`` try them one by one, and those of ``tests/browser`` what pages do (46).
"""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from quart_sse.broker import changed
from quart_sse.hub import items
from tests.support.list_model import (
    ROWS,
    ListCrowdModel,
    ListCrowdPairModel,
    ListModel,
    ListPairModel,
    ListRules,
)
from tests.support.model import EXAMPLES, Model, run_machine
from tests.support.real_redis import RealBroker, RedisPairModel
from tests.support.redis_server import RedisServer


def bound_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let so few items be recorded and sent one by one that schedules exceed it."""
    monkeypatch.setattr(changed, "MOST_ITEMS", 5)
    monkeypatch.setattr(changed, "MOST_RESUMED", 3)
    monkeypatch.setattr(items, "MOST_RESUMED", 3)


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
    bound_lists(monkeypatch)
    run_machine(machine, examples)


def overtaken_by_an_item() -> None:
    """An item is rendered while a render of all of the list goes on, which does not show it."""
    state = ListModel()
    state.begin()
    state.change(name=ROWS, what="add", which=0, how="item")
    state.change_many(which=0, count=6)
    state.render(how="slowly", is_inner_first=False)
    for how in ("item", "item", "whole", "item"):
        state.change(name=ROWS, what="add", which=0, how=how)
    state.teardown()


def beyond_the_record() -> None:
    """More items change than are on record, with an event between them, while a process is away."""
    state = ListPairModel()
    state.begin()
    state.begin_elsewhere()
    state.break_subscription(is_broken=True, is_data_lost=False, where=1)
    state.change(name=ROWS, what="add", which=0, how="item")
    state.say(topic=ROWS.topic, count=1)
    state.change_many(which=0, count=6)
    state.teardown()


@pytest.mark.parametrize("schedule", [overtaken_by_an_item, beyond_the_record])
def test_schedule_that_once_failed_goes_well(
    schedule: Callable[[], None], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Machines reach these by many other schedules, or by luck."""
    caplog.set_level(logging.CRITICAL, "quart_sse")
    bound_lists(monkeypatch)
    schedule()


class ListRedisModel(ListRules, RedisPairModel):
    """Lists in two processes with a real Redis."""


@pytest.mark.timeout(0 if EXAMPLES else 60)
def test_lists_equal_the_data_whatever_happens_to_redis(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its record of items says what each page lacks."""
    caplog.set_level(logging.CRITICAL, "quart_sse")
    bound_lists(monkeypatch)
    RealBroker.server = server = RedisServer(tmp_path)
    asyncio.run(server.start())
    try:
        run_machine(ListRedisModel, 30)
    finally:
        asyncio.run(server.kill())
