"""The same as in ``test_model``, with a real Redis whose connections are cut at any moment.

Time is virtual here too, for everything but Redis: its clock is set by the offset that scripts
are given, and whoever waits for it waits without time passing.
"""

import asyncio
import logging
from pathlib import Path

import pytest

from quart_sse.broker.redis import commands
from tests.support.model import EXAMPLES, Model, run_machine
from tests.support.real_redis import RealBroker, RedisModel, RedisPairModel
from tests.support.redis_server import RedisServer


@pytest.mark.timeout(0 if EXAMPLES else 60)
@pytest.mark.parametrize(
    ("machine", "examples"),
    [
        pytest.param(RedisModel, 150, id="one"),
        pytest.param(RedisPairModel, 100, id="pair"),
    ],
)
@pytest.mark.parametrize("is_split", [False, True], ids=["whole", "parts"])
def test_nothing_is_lost_whatever_happens_to_redis(
    machine: type[Model],
    examples: int,
    is_split: bool,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Facts come once and in order, state is never stale, and positions say what is true."""
    if is_split:
        monkeypatch.setattr(commands, "TOPICS", 1)
        monkeypatch.setattr(commands, "PORTION", commands.Portion(1, 1 << 18, 1))
    caplog.set_level(logging.CRITICAL, "quart_sse")  # of all that is meant to fail
    RealBroker.server = server = RedisServer(tmp_path)
    asyncio.run(server.start())
    try:
        run_machine(machine, examples // 3 if is_split else examples)
    finally:
        asyncio.run(server.kill())
