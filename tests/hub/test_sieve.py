"""Sieves: for which connections one event is."""

from typing import Any

from quart_sse.broker import Filter
from quart_sse.config import Config
from quart_sse.error_log import ErrorLog
from quart_sse.hub.connection import Connection
from quart_sse.hub.metadata import metadata_of
from quart_sse.hub.sieve import sieve_of


def connect(metadata: Any = None) -> Connection:
    """Return a connection with metadata."""
    loaded = metadata_of(metadata, "given")
    return Connection({}, Config(), loader=lambda _: b"", metadata=loaded)


async def test_event_for_all_has_no_sieve() -> None:
    """It costs nothing then."""
    assert sieve_of(None, "", ErrorLog()) is None


async def test_filter_is_asked_once_for_equal_metadata() -> None:
    """However many connections have them."""
    asked: list[object] = []

    def is_meant(metadata: Any) -> bool:
        asked.append(metadata)
        return bool(metadata["n"] == 1)

    ones, twos = [connect({"n": 1}) for _ in range(50)], [connect({"n": 2}) for _ in range(50)]
    sieve = sieve_of(Filter(is_meant), "", ErrorLog())
    assert sieve is not None

    assert sieve.among([*ones, *twos, connect()]) == set(ones)
    assert asked == [{"n": 1}, {"n": 2}]


async def test_excluded_connection_is_left_out() -> None:
    """With a filter and without."""
    one, other = connect({"n": 1}), connect({"n": 1})
    for where in (None, Filter({"n": 1})):
        sieve = sieve_of(where, one.id, ErrorLog())
        assert sieve is not None
        assert sieve.among([one, other]) == {other}
