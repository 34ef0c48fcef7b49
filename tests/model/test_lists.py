"""Lists on every screen equal the data, whatever publishers, browsers and processes do."""

import logging

import pytest

from quart_sse.broker import changed
from quart_sse.hub import lists
from tests.support.list_model import ListModel, ListPairModel
from tests.support.model import EXAMPLES, Model, run_machine


@pytest.mark.timeout(0 if EXAMPLES else 60)
@pytest.mark.parametrize(
    ("machine", "examples"),
    [pytest.param(ListModel, 80, id="near"), pytest.param(ListPairModel, 150, id="pair")],
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
