"""Everything that the package logs: one logger for each part, lines with names and typed fields."""

import logging
from collections.abc import Mapping
from typing import Literal, get_args

#: The parts, which are the names of the loggers below ``quart_sse``.
Part = Literal[
    "access",
    "broker",
    "channels",
    "hub",
    "inspector",
    "pages",
    "publisher",
    "registry",
    "server",
    "streams",
]
PARTS: tuple[Part, ...] = get_args(Part)


def logger_of(part: Part) -> logging.Logger:
    """Return the logger of a part, such as ``quart_sse.broker``."""
    return logging.getLogger(f"quart_sse.{part}")


class LogLine:
    """One kind of line in the log; the module that logs it has it as a constant.

    A record has the name as ``record.sse_event``, and the fields as ``record.sse_fields``, so that
    a formatter that writes JSON has them without parsing the text. ``docs/logging.md`` lists all
    lines. No field holds data of events, HTML, tokens, cookies, identities or metadata.

    Args:
        part: The part of the package that logs it.
        name: The line's name, which stays the same while its words may change.
        level: Such as ``logging.WARNING``: the operator should do something. ``INFO`` is
            what happens seldom and explains others, ``DEBUG`` what single clients do.
        message: Format for :mod:`logging` with named fields, ``"%(topic)s"``: what happened, what
            follows, the remedy.
        fields: Name of a field -> its type.

    Example:
        ``AWAY = LogLine("broker", "broker-away", logging.WARNING, "Away: %(why)s.", why=str)``,
        then ``AWAY.log(why="timeout")``
    """

    __slots__ = ("fields", "level", "logger", "message", "name", "part")

    def __init__(self, part: Part, name: str, level: int, message: str, /, **fields: type) -> None:
        self.part: Part = part
        self.logger: logging.Logger = logger_of(part)
        self.name: str = name
        self.level: int = level
        self.message: str = message
        self.fields: dict[str, type] = fields

    @property
    def is_on(self) -> bool:
        """Whether it is logged, for callers whose fields take time to make."""
        return self.logger.isEnabledFor(self.level)

    def log(self, **fields: object) -> None:
        """Log the line.

        Args:
            fields: Value of each field.
        """
        self.write(fields)

    def write(
        self,
        fields: Mapping[str, object],
        error: BaseException | None = None,
        *,
        above: int = 2,
    ) -> None:
        """Log the line.

        Args:
            fields: Value of each field.
            error: An exception whose traceback is logged, too.
            above: How many calls above this one the place is that the record names.
        """
        if self.logger.isEnabledFor(self.level):
            self.logger.log(
                self.level,
                self.message,
                *((fields,) if fields else ()),
                exc_info=error,
                stacklevel=above + 1,
                extra={"sse_event": self.name, "sse_fields": fields},
            )
