"""The table that is printed: a row for each proxy, with times in seconds."""

from collections.abc import Callable

from .catalogue import STREAMS
from .measure import Outcome


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


#: heading -> what stands there
COLUMNS: dict[str, Callable[[Outcome], str]] = {
    "proxy": lambda row: row.name,
    "first": lambda row: _seconds(row.first),
    "event": lambda row: f"{row.event:.3f}",
    "idle": lambda row: "open" if row.is_idle_open else "CUT",
    "stop": lambda row: _seconds(row.stop),
    "end": lambda row: "whole" if row.is_whole else "CUT",
    "away": lambda row: str(row.down or "cut"),
    "noticed": lambda row: _seconds(row.noticed),
    "streams": lambda row: "" if row.streams is None else f"{row.streams} of {STREAMS}",
    "tabs": lambda row: _seconds(row.tabs),
}
WIDTH = 10


def heading() -> str:
    """Return the first two lines of the table."""
    line = _line(list(COLUMNS))
    return f"{line}\n{_line(['-' * len(name) for name in COLUMNS])}"


def row(outcome: Outcome) -> str:
    """Return the line of a proxy."""
    return _line([cell(outcome) for cell in COLUMNS.values()])


def _line(cells: list[str]) -> str:
    first, *rest = cells
    return f"| {' | '.join([first.ljust(WIDTH), *(cell.rjust(8) for cell in rest)])} |"
