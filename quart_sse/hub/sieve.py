"""Sieves: for which connections one event is, by its filter and the connection that it excludes."""

import logging
from collections.abc import Iterable

from ..broker import Filter
from ..error_log import ErrorLog
from ..logs import LogLine
from .connection import Connection
from .metadata import Metadata

WHERE_FAILED = LogLine(
    "hub",
    "where-failed",
    logging.ERROR,
    "The function of where= failed for a connection's metadata; such connections are sent nothing.",
)


class Sieve:
    """Tells of one event for which connections it is.

    The filter is evaluated once for each distinct metadata.

    Args:
        where: Its filter; None for all connections.
        exclude: Ids of connections that it is not for, with spaces between them, or "".
        errors: Logs errors of a filter's function; the connection is then sent nothing.
    """

    __slots__ = ("_errors", "_exclude", "_found", "_where")

    def __init__(self, where: Filter | None, exclude: str, errors: ErrorLog) -> None:
        self._where = where
        self._exclude = exclude.split()
        self._errors = errors
        # Metadata, which connections share, -> whether the filter agrees.
        self._found: dict[Metadata | None, bool] = {}

    def passes(self, connection: Connection) -> bool:
        """Whether the event is for a connection."""
        if connection.id in self._exclude:
            return False
        return self._where is None or self._agrees(connection.metadata)

    def among(self, connections: Iterable[Connection]) -> set[Connection]:
        """Return the connections that the event is for."""
        return {connection for connection in connections if self.passes(connection)}

    def _agrees(self, metadata: Metadata | None) -> bool:
        found = self._found.get(metadata)
        if found is None:
            found = self._found[metadata] = self._ask(metadata)
        return found

    def _ask(self, metadata: Metadata | None) -> bool:
        if self._where is None or metadata is None:
            return False
        try:
            return self._where.matches(metadata.values)
        except Exception as error:
            self._errors.log("function of where=", error, WHERE_FAILED)
            return False


def sieve_of(where: Filter | None, exclude: str, errors: ErrorLog) -> Sieve | None:
    """Return the sieve of an event; None if it is for all. The arguments are those of `Sieve`."""
    return None if where is None and not exclude else Sieve(where, exclude, errors)
