"""Groups: a connection is alone at first, and shares bytes once it is sent what others are."""

import pytest

from quart_sse.config import Config
from quart_sse.hub.connection import Connection
from quart_sse.hub.group import Group, Joining, Missing
from quart_sse.hub.groups import Groups
from quart_sse.hub.progress import Progress
from quart_sse.hub.subscribers import Subscribers
from quart_sse.hub.traffic import Traffic
from tests.support.outgoing import at, event

SHOWN = {"board": frozenset({"list"})}


class Process:
    """The groups of a process that has received messages up to 5."""

    def __init__(self) -> None:
        self.progress = Progress()
        self.progress.epoch, self.progress.seen = "e", at(5)
        self.subscribers = Subscribers()
        self.groups = Groups(self.progress, self.subscribers)

    def join(self, granted: int | None = None, *, at_id: int = 5, bare: bool = False) -> Joining:
        """Let a connection join that was sent all up to an id."""
        connection = Connection(SHOWN, Config(), loader=lambda _: b"", bare=bare)
        joining = self.groups.add(connection, granted)
        joining.release(at(at_id))
        joining.mark_current()
        return joining

    def group_of(self, joining: Joining) -> Group | None:
        """Return the group that a connection is in now."""
        return self.groups.of(joining.connection)


async def test_connections_of_one_kind_come_to_share_a_group() -> None:
    """They leave their own, and their topic has one subscriber instead of two."""
    process = Process()
    one, other = process.join(), process.join()
    assert process.group_of(one) is one
    process.groups.share_bytes()

    shared = process.group_of(one)
    assert shared is process.group_of(other)
    assert process.subscribers["board"].groups == {shared}
    assert process.subscribers.count("board") == 2


@pytest.mark.parametrize("kind", [{"granted": 1}, {"bare": True}])
async def test_connections_of_other_kinds_do_not(kind: dict[str, bool]) -> None:
    """Their id lines or event names differ."""
    process = Process()
    one, other = process.join(), process.join(**kind)
    process.groups.share_bytes()

    assert process.group_of(one) is not process.group_of(other)


async def test_connection_that_lacks_something_stays_alone() -> None:
    """Its positions are its own until it has been sent that."""
    process = Process()
    joining = process.join()
    joining.missing["board.list"] = Missing(at(4))
    process.groups.share_bytes()
    assert process.group_of(joining) is joining

    joining.missing.clear()
    process.groups.share_bytes()
    assert process.group_of(joining) is not joining


async def test_connection_that_is_ahead_waits_for_the_process() -> None:
    """A position of others must never be smaller than those that its client was sent."""
    process = Process()
    joining = process.join(at_id=7)
    process.groups.share_bytes()
    assert process.group_of(joining) is joining

    process.progress.seen = at(7)
    process.groups.share_bytes()
    assert process.group_of(joining) is not joining


async def test_group_with_pending_messages_takes_no_connection_in() -> None:
    """A newcomer was sent those already."""
    process = Process()
    one = process.join()
    process.groups.share_bytes()
    shared = process.group_of(one)
    assert shared is not None
    shared.add(event(5))
    other = process.join()
    process.groups.share_bytes()
    assert process.group_of(other) is other

    shared.take(Traffic())
    process.groups.share_bytes()
    assert process.group_of(other) is shared


async def test_connection_can_be_parted_from_its_group() -> None:
    """It is reset alone; the last one that leaves takes the group with it."""
    process = Process()
    one, other = process.join(granted=3), process.join(granted=3)
    process.groups.share_bytes()
    shared = process.group_of(one)

    alone = process.groups.separate(one.connection)
    assert process.groups.of(one.connection) is alone
    assert alone.granted == 3
    assert process.subscribers["board"].groups == {shared, alone}

    assert process.groups.remove(other.connection)
    assert process.subscribers["board"].groups == {alone}


async def test_connection_that_left_is_in_no_group() -> None:
    """Leaving twice is harmless, and tells that there was nothing to leave."""
    process = Process()
    joining = process.join()

    assert process.groups.remove(joining.connection)
    assert not process.groups.remove(joining.connection)
    assert process.groups.of(joining.connection) is None
    assert not list(process.groups)
    assert process.groups.items() == []
    assert process.subscribers.count("board") == 0
