"""JSON as Quart's default provider writes it, without Quart."""

import dataclasses
import json
from datetime import UTC, date, datetime
from typing import Any


def dumps(value: Any) -> str:
    """Return a value as JSON, as ``quart.json.provider.DefaultJSONProvider`` does.

    Dates are written as in HTTP (RFC 9110, 5.6.7), decimals and UUIDs as text, dataclasses as
    objects, and what has ``__html__`` as its HTML.

    Raises:
        TypeError: If JSON cannot hold the value.
    """
    return json.dumps(value, default=_plain, ensure_ascii=True, sort_keys=True)


def _plain(value: Any) -> Any:
    from decimal import Decimal  # loaded for values that JSON does not have
    from uuid import UUID

    if isinstance(value, date):
        return _http_date(value)
    if isinstance(value, Decimal | UUID):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if hasattr(value, "__html__"):
        return str(value.__html__())
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def _http_date(value: date) -> str:
    """Return a date as in HTTP; one without a time zone is taken as UTC."""
    from email.utils import format_datetime

    if not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    elif value.tzinfo is None:
        value = value.replace(tzinfo=UTC)
    return format_datetime(value.astimezone(UTC), usegmt=True)
