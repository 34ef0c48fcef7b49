"""The audiences of a process: they are kept as long as connections belong to them."""

from quart_sse.config import Config
from quart_sse.hub.audiences import Audiences
from quart_sse.hub.connection import Connection


def connect(*audiences: str) -> Connection:
    """Return a connection that belongs to audiences."""
    connection = Connection({}, Config(), loader=lambda _: b"")
    connection.audiences = audiences
    return connection


async def test_audience_lingers_after_its_last_connection() -> None:
    """The broker delivers its events until then."""
    audiences = Audiences()
    one, other = connect("everyone", "a"), connect("everyone")
    for connection in (one, other):
        audiences.add(connection)
    audiences.remove(one, now=100.0)

    assert audiences.drop_empty(now=105.0, linger=10.0) == []
    assert audiences.drop_empty(now=111.0, linger=10.0) == ["a"]
    audiences.remove(other, now=200.0)
    assert audiences.drop_empty(now=211.0, linger=10.0) == ["everyone"]
    assert not audiences


async def test_audience_that_is_joined_later() -> None:
    """It is kept for the time in between, and counted once."""
    audiences, connection = Audiences(), connect("everyone")
    audiences.add(connection)
    audiences.keep("a", now=100.0)
    assert audiences.drop_empty(now=105.0, linger=10.0) == []

    audiences.join(connection, "a")
    audiences.join(connection, "a")

    assert connection.audiences == ("everyone", "a")
    assert audiences.drop_empty(now=500.0, linger=10.0) == []
    audiences.remove(connection, now=500.0)
    assert set(audiences.drop_empty(now=511.0, linger=10.0)) == {"everyone", "a"}


async def test_audience_that_is_kept_does_not_go_earlier() -> None:
    """Whether or not audiences linger, or another connection leaves meanwhile."""
    audiences, connection = Audiences(), connect("a")
    audiences.keep("a", now=100.0)
    audiences.keep("a", now=90.0)
    assert audiences.drop_empty(now=99.0, linger=0.0) == []
    audiences.add(connection)
    audiences.remove(connection, now=95.0)

    assert audiences.drop_empty(now=99.0, linger=0.0) == []
    assert audiences.drop_empty(now=101.0, linger=0.0) == ["a"]
