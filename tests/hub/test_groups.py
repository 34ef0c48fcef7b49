"""Groups: each connection is alone at first, then with all that get its bytes."""

import pytest

from quart_sse.config import Config
from quart_sse.hub.connection import Connection
from quart_sse.hub.group import Group, Joining
from quart_sse.hub.groups import Groups
from quart_sse.hub.progress import Progress
from quart_sse.hub.subscribers import Subscribers
from quart_sse.wire import Id
from tests.support.outgoing import event


class Hall:
    """The groups of a process that has received messages up to the ninth."""

    def __init__(self) -> None:
        self.progress = Progress()
        self.progress.epoch, self.progress.seen = "e", Id(9, 0)
        self.subscribers = Subscribers()
        self.groups = Groups(self.progress, self.subscribers)

    def come(
        self, *fragments: str, granted: int | None = None, bare: bool = False, at: int = 9
    ) -> Connection:
        """Let a connection come that has been sent everything up to a message."""
        subscription = {"board": frozenset(fragments)}
        connection = Connection(subscription, Config(), loader=lambda _: b"", bare=bare)
        self.groups.add(connection, granted).release(Id(at, 0))
        return connection

    def group(self, connection: Connection) -> Group:
        """Return the group of a connection."""
        group = self.groups.of(connection)
        assert group is not None
        return group


@pytest.fixture
async def hall() -> Hall:
    """A process without connections."""
    return Hall()


async def test_connection_is_alone_until_it_is_settled(hall: Hall) -> None:
    """Its positions are its own while something is missing; it listens from the start."""
    connection = hall.come("list")
    group = hall.group(connection)
    assert isinstance(group, Joining)
    assert hall.subscribers["board"].connections == [connection]
    hall.groups.settle()

    assert hall.group(connection) is not group
    assert hall.group(connection).members == {connection}
    assert hall.subscribers["board"].connections == [connection]


async def test_connections_of_a_kind_share_a_group(hall: Hall) -> None:
    """What is encoded for one of them is for all of them."""
    one, other = hall.come("list"), hall.come("list")
    hall.groups.settle()
    late = hall.come("list")
    hall.groups.settle()

    assert hall.group(one) is hall.group(other) is hall.group(late)
    assert list(hall.groups) == [hall.group(one)]
    assert len(hall.groups.items()) == 3


async def test_connections_that_get_other_bytes_are_apart(hall: Hall) -> None:
    """Fragments, names of events and what was granted are in the bytes."""
    kinds = [hall.come("list"), hall.come("count"), hall.come("list", bare=True)]
    kinds += [hall.come("list", granted=5)]
    hall.groups.settle()

    assert len({hall.group(connection) for connection in kinds}) == len(kinds)
    assert hall.group(kinds[-1]).granted == 5


async def test_client_that_is_ahead_waits_for_the_process(hall: Hall) -> None:
    """Its position must not be followed by a smaller one."""
    ahead = hall.come("list", at=12)
    hall.groups.settle()
    assert isinstance(hall.group(ahead), Joining)
    hall.progress.seen = Id(12, 0)
    hall.groups.settle()

    assert not isinstance(hall.group(ahead), Joining)


async def test_group_with_something_pending_is_joined_later(hall: Hall) -> None:
    """The newcomer has been sent what the others are still to get."""
    old = hall.come("list")
    hall.groups.settle()
    hall.group(old).add(event(9))
    new = hall.come("list")
    hall.groups.settle()
    assert isinstance(hall.group(new), Joining)
    hall.group(old).take()
    hall.groups.settle()

    assert hall.group(new) is hall.group(old)


async def test_connection_that_lost_something_is_alone_again(hall: Hall) -> None:
    """It is sent what it lacks, with positions of its own; the others go on."""
    one, other = hall.come("list", granted=5), hall.come("list", granted=5)
    hall.groups.settle()
    joining = hall.groups.part(one)

    assert hall.group(one) is joining
    assert joining.granted == 5
    assert hall.group(other).members == {other}
    assert set(hall.subscribers["board"].connections) == {one, other}


async def test_last_one_of_a_group_takes_it_along(hall: Hall) -> None:
    """Nothing is left of it, and the next one of its kind begins another."""
    one, other = hall.come("list"), hall.come("list")
    hall.groups.settle()
    shared = hall.group(one)

    assert hall.groups.remove(one)
    assert not hall.groups.remove(one)
    assert hall.groups.remove(other)
    assert hall.groups.of(one) is None
    assert hall.subscribers["board"].count == 0
    assert list(hall.groups) == []
    another = hall.come("list")
    hall.groups.settle()
    assert hall.group(another) is not shared


async def test_connection_that_leaves_alone_is_forgotten(hall: Hall) -> None:
    """Also before it has been sent anything."""
    connection = hall.come("list")

    assert hall.groups.remove(connection)
    hall.groups.settle()
    assert list(hall.groups) == []
    assert hall.subscribers["board"].count == 0
