"""Nothing is lost, whatever publishers, browsers and processes do, and in which order."""

import logging

import pytest

from quart_sse.broker import memory
from tests.support.model import (
    EXAMPLES,
    DistantModel,
    LaggingModel,
    Model,
    NestedModel,
    NestedPairModel,
    PairModel,
    PartsModel,
    UserModel,
    UserPairModel,
    run_machine,
)


@pytest.mark.timeout(0 if EXAMPLES else 60)
@pytest.mark.parametrize(
    ("machine", "examples"),
    [
        pytest.param(Model, 100, id="near"),
        pytest.param(NestedModel, 100, id="nested"),
        pytest.param(DistantModel, 200, id="distant"),
        pytest.param(PairModel, 200, id="pair"),
        pytest.param(NestedPairModel, 200, id="nested-pair"),
        pytest.param(LaggingModel, 300, id="lagging"),
        pytest.param(UserModel, 150, id="user"),
        pytest.param(UserPairModel, 150, id="user-pair"),
    ],
)
def test_nothing_is_lost_whatever_happens(
    machine: type[Model], examples: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Facts come once and in order, state is never stale, and positions say what is true."""
    caplog.set_level(logging.CRITICAL, "quart_sse")  # of the renders that are meant to fail
    run_machine(machine, examples)


@pytest.mark.timeout(0 if EXAMPLES else 60)
@pytest.mark.parametrize(
    ("machine", "examples"),
    [
        pytest.param(Model, 30, id="near"),
        pytest.param(PartsModel, 60, id="parts"),
        pytest.param(NestedPairModel, 50, id="nested-pair"),
        pytest.param(UserPairModel, 50, id="user-pair"),
    ],
)
def test_nothing_is_lost_when_a_resume_is_answered_in_parts(
    machine: type[Model],
    examples: int,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What happens between two topics of a resume is as good as before or after it."""
    caplog.set_level(logging.CRITICAL, "quart_sse")  # of the renders that are meant to fail
    monkeypatch.setattr(memory, "STRETCH", 0)
    run_machine(machine, examples)
