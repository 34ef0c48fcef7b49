"""The table that is printed: a row for each scenario, and which promises did not hold."""

from collections.abc import Callable

from .verdict import Outcome

#: heading -> what stands there
COLUMNS: dict[str, Callable[[Outcome], str]] = {
    "scenario": lambda row: row.name,
    "published": lambda row: str(row.published),
    "delivered": lambda row: str(row.delivered),
    "lost": lambda row: str(row.lost),
    "twice": lambda row: str(row.duplicated),
    "disorder": lambda row: str(row.disordered),
    "stale": lambda row: str(row.stale),
    "resets": lambda row: str(row.resets),
    "reconnects": lambda row: str(row.reconnects),
    "noticed": lambda row: f"{row.notes['noticed']:.1f} s" if "noticed" in row.notes else "",
    "healed": lambda row: f"{row.heal:.1f} s",
    "refused": lambda row: str(row.fates["refused"]),
    "maybe": lambda row: str(row.fates["maybe"]),
    "no answer": lambda row: str(row.fates["cut"]),
    "slowest": lambda row: f"{row.slowest:.1f} s",
}
#: Wide enough for the name of every scenario.
NAME = 14


def heading() -> str:
    """Return the first two lines of the table."""
    names = _line(list(COLUMNS))
    return f"{names}\n{_line(['-' * len(name) for name in COLUMNS])}"


def row(outcome: Outcome) -> str:
    """Return the line of a scenario."""
    return _line([column(outcome) for column in COLUMNS.values()])


def _line(cells: list[str]) -> str:
    widths = [NAME, *map(len, list(COLUMNS)[1:])]
    first, *rest = zip(cells, widths, strict=True)
    texts = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]
    return f"| {' | '.join(texts)} |"
