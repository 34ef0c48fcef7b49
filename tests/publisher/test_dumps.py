"""JSON without Quart, which is that of Quart's default provider."""

import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from markupsafe import Markup
from quart import Quart

from quart_sse.publisher.dumps import dumps


@dataclass
class Point:
    """A dataclass, with another one inside."""

    x: int
    inner: Any = None


class Shown:
    """What knows its HTML."""

    def __html__(self) -> str:
        return "<b>shown</b>"


@pytest.mark.parametrize(
    "value",
    [
        {"b": 1, "a": [None, True, 1.5, "Käse"]},
        date(2026, 3, 1),
        datetime(2026, 3, 1, 12, 30, 15, 999),
        datetime(2026, 3, 1, 12, 30, tzinfo=UTC),
        datetime(2026, 3, 1, 0, 30, tzinfo=timezone(timedelta(hours=2))),
        Decimal("1.10"),
        uuid.UUID("0b8f6a3e-6a39-4b6b-9a68-4a6f3c1c1c55"),
        Point(1, Point(2, date(2026, 3, 1))),
        Markup("<b>"),
        Shown(),
        {2: "two", 1: "one"},
    ],
)
def test_value_is_written_as_by_quart(value: object) -> None:
    """Pages read the same, whoever publishes."""
    assert dumps(value) == Quart(__name__).json.dumps(value)


@pytest.mark.parametrize("value", [{1, 2}, object(), Point, b"x"])
def test_what_json_cannot_hold_is_a_type_error(value: object) -> None:
    """As by Quart."""
    with pytest.raises(TypeError):
        Quart(__name__).json.dumps(value)
    with pytest.raises(TypeError, match="not JSON serializable"):
        dumps(value)
