"""What commands print: tables, lines and JSON, safe for a terminal."""

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import click

#: Lets a command print JSON.
json_option: Callable[[Any], Any] = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON."
)


def clean(text: str) -> str:
    """Return text as one line without characters that command a terminal.

    Much of what is printed comes from clients, such as the data of events and user agents.
    """
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape", "backslashreplace").decode()
        for each in text
    )


def local(at: datetime) -> str:
    """Return a time as the clock of this machine shows it."""
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S}"


def print_json(value: object) -> None:
    """Print one value as one line of JSON."""
    click.echo(json.dumps(value, ensure_ascii=True))


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows below their head, in columns."""
    lines = [list(head), *([clean(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        click.echo("  ".join(cells).rstrip())
