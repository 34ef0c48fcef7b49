"""The table that is printed: a row for each attack."""

import statistics
from collections.abc import Callable

from .verdict import Outcome


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f}"


def _mib(kib: float) -> str:
    return f"{kib / 1024:.0f}"


#: heading -> width, and what stands there
COLUMNS: dict[str, tuple[int, Callable[[Outcome], str]]] = {
    "attack": (17, lambda row: row.name),
    "broker": (6, lambda row: row.broker),
    "MiB": (4, lambda row: _mib(row.held)),
    "peak": (4, lambda row: _mib(row.peak)),
    "after": (5, lambda row: _mib(row.after)),
    "again": (5, lambda row: "" if row.again is None else _mib(row.again)),
    "page before": (11, lambda row: _pages(row.before.pages)),
    "during, ms": (10, lambda row: _pages(row.during.pages)),
    "x": (3, lambda row: f"{row.during.stretch:.1f}"),
    "heartbeat": (9, lambda row: f"{row.late:.2f} s"),
    "published": (9, lambda row: str(row.during.published)),
    "failed": (6, lambda row: str(len(row.during.failures))),
    "answers": (0, lambda row: _counts(row)),
}


def _pages(seconds: list[float]) -> str:
    return f"{_ms(statistics.median(seconds))} / {_ms(max(seconds))}"


def _counts(row: Outcome) -> str:
    ends = ", ".join(f"{count} {end}" for end, count in sorted(row.ends.items()))
    asked = ", ".join(f"{count} {what}" for what, count in sorted(row.asked.items()) if count)
    return f"{ends}; {asked}" if asked else ends


def heading() -> str:
    """Return the first two lines of the table: pages in ms, at the median and at worst."""
    line = _line(list(COLUMNS))
    return f"{line}\n{_line(['-' * len(name) for name in COLUMNS])}"


def row(outcome: Outcome) -> str:
    """Return the line of an attack."""
    return _line([cell(outcome) for _, cell in COLUMNS.values()])


def _line(cells: list[str]) -> str:
    texts = []
    for place, (text, (width, _)) in enumerate(zip(cells, COLUMNS.values(), strict=True)):
        texts.append(text.ljust(width) if place < 2 else text.rjust(width))
    return f"| {' | '.join(texts)} |"
