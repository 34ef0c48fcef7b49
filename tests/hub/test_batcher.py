"""Batcher: the first message at once, what gathers meanwhile in one write, and a fair loop."""

import asyncio
from collections.abc import Callable

import pytest

from quart_sse.config import Config
from quart_sse.error_log import ErrorLog
from quart_sse.hub import batcher as batcher_module
from quart_sse.hub.batch import Personal
from quart_sse.hub.batcher import Batcher
from quart_sse.hub.connection import Connection
from quart_sse.hub.group import Group
from quart_sse.hub.outgoing import Outgoing
from quart_sse.hub.traffic import Traffic
from quart_sse.wire.event import encode_preamble
from quart_sse.wire.position import ZERO, Position
from tests.support.clock import Jump, all_quiet
from tests.support.streams import until


def event(number: int) -> Outgoing:
    """Return an event."""
    return Outgoing(Position("e", ZERO, ZERO), "board", None, None, b"data: %d\n\n" % number)


def html(version: int) -> Outgoing:
    """Return a version of a fragment."""
    body = b"data: v%d\n\n" % version
    return Outgoing(Position("e", ZERO, ZERO), "board", "list", "board.list", body)


class Client:
    """A connection and the server that drains it; what was sent, one entry for each write."""

    def __init__(self, loader: Callable[[Personal], bytes] = lambda _: b"") -> None:
        self.connection = Connection({}, Config(), loader=loader)
        self.writes: list[bytes] = []
        self._task = asyncio.create_task(self._serve())

    async def _serve(self) -> None:
        async for chunk in self.connection:
            if chunk != encode_preamble(3000):
                self.writes.append(chunk.replace(b"id: e.0-0\n", b""))

    @property
    def is_fed(self) -> bool:
        """Whether it was given something that its server has not yet taken."""
        return self.connection.busy_since is not None

    async def waits(self) -> "Client":
        """Wait until the server waits for more."""
        await asyncio.sleep(0)
        await until(lambda: not self.is_fed)
        return self


async def clients(count: int) -> list[Client]:
    """Return clients whose servers wait for something to send."""
    return [await Client().waits() for _ in range(count)]


def group_of(*members: Client) -> Group:
    """Return a group of connections."""
    group = Group({}, bare=False, granted=None)
    group.members.update(client.connection for client in members)
    return group


def send(batches: Batcher, group: Group, *items: Outgoing) -> None:
    """Give a group messages, as the hub does."""
    for item in items:
        group.add(item)
        batches.add(group)


async def test_first_message_goes_out_at_once(jump: Jump) -> None:
    """After a quiet time a message is written without any delay."""
    (client,) = await clients(1)
    batches, group = Batcher(lambda: None, ErrorLog()), group_of(client)

    send(batches, group, event(1))
    await all_quiet()

    assert client.writes == [b"data: 1\n\n"]
    assert batches.idle.is_set()


async def test_burst_is_one_write() -> None:
    """What is published in one go is joined, with the newest version of a fragment alone."""
    (client,) = await clients(1)
    batches, group = Batcher(lambda: None, ErrorLog()), group_of(client)

    send(batches, group, html(1), event(2), html(3), event(4))
    await until(lambda: client.writes)

    assert client.writes == [b"data: 2\n\ndata: v3\n\ndata: 4\n\n"]


async def test_next_batch_starts_no_sooner_than_the_last_one_took(jump: Jump) -> None:
    """What comes while a batch is on its way, and for as long again, is one more write."""
    (client,) = await clients(1)
    pauses = iter([1000.0, 0.0, 0.0])
    batches, group = Batcher(lambda: jump(next(pauses)), ErrorLog()), group_of(client)

    send(batches, group, event(1))
    await all_quiet()
    assert client.writes == [b"data: 1\n\n"]
    for number in range(2, 200):
        send(batches, group, event(number), html(number))
        await asyncio.sleep(0)
    jump(900.0)
    await all_quiet()
    assert len(client.writes) == 1

    jump(100.0)
    await until(lambda: len(client.writes) == 2)
    joined = b"".join(b"data: %d\n\n" % number for number in range(2, 200))
    assert client.writes[1] == joined + b"data: v199\n\n"
    assert batches.idle.is_set()


async def test_quick_batch_holds_nothing_up(jump: Jump) -> None:
    """Once the time that a batch took has passed, the next message goes out at once again."""
    (client,) = await clients(1)
    pauses = iter([1000.0, 0.0])
    batches, group = Batcher(lambda: jump(next(pauses)), ErrorLog()), group_of(client)
    send(batches, group, event(1))
    await all_quiet()

    jump(1000.0)
    send(batches, group, event(2))
    await all_quiet()

    assert client.writes == [b"data: 1\n\n", b"data: 2\n\n"]


async def test_message_during_a_batch_goes_out_with_the_next() -> None:
    """What is added while a batch is being fed is neither lost nor sent too early."""
    client, other = await clients(2)
    late = [event(2), event(3)]
    group, another = group_of(client), group_of(other)

    def add_more() -> None:
        if late:
            send(batches, group, late.pop(0))
            send(batches, another, late.pop(0))

    batches = Batcher(add_more, ErrorLog())
    send(batches, group, event(1))
    await until(lambda: len(client.writes) == 2)
    await until(lambda: other.writes)

    assert client.writes == [b"data: 1\n\n", b"data: 2\n\n"]
    assert other.writes == [b"data: 3\n\n"]


async def test_groups_of_one_batch_each_get_their_own() -> None:
    """All groups that something was added to are sent it, and no others."""
    first, second, third = await clients(3)
    batches, one, other = (
        Batcher(lambda: None, ErrorLog()),
        group_of(first, second),
        group_of(third),
    )

    send(batches, one, event(1))
    await until(lambda: first.writes)
    send(batches, one, event(2))
    send(batches, other, event(3))
    await until(lambda: len(first.writes) == 2)
    await all_quiet()

    assert first.writes == second.writes == [b"data: 1\n\n", b"data: 2\n\n"]
    assert third.writes == [b"data: 3\n\n"]


async def test_group_whose_messages_were_sent_otherwise_is_left_out() -> None:
    """A group that was emptied before its batch gets nothing, not even an empty write."""
    client, other = await clients(2)
    batches, group, another = Batcher(lambda: None, ErrorLog()), group_of(client), group_of(other)
    send(batches, group, event(1))
    send(batches, another, event(2))

    group.take(Traffic())
    await until(lambda: other.writes)
    await all_quiet()

    assert client.writes == []
    assert batches.idle.is_set()


async def test_hub_may_move_connections_between_taking_and_feeding() -> None:
    """Once a batch, after groups were emptied and before anyone is fed, the hub has its turn."""
    client, other = await clients(2)
    group, another = group_of(client), group_of(other)
    seen: list[tuple[bool, bool, bool]] = []

    def after() -> None:
        seen.append((bool(group.pending), bool(another.pending), client.is_fed))
        group.members.clear()

    batches = Batcher(after, ErrorLog())
    send(batches, group, event(1))
    send(batches, another, event(2))
    await until(lambda: client.writes and other.writes)

    assert seen == [(False, False, False)]
    assert client.writes == [b"data: 1\n\n"]


async def test_connections_are_fed_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two slices of a large batch the event loop does other work."""
    monkeypatch.setattr(batcher_module, "SLICE", 2)
    members = await clients(5)
    fed: list[int] = []

    def look() -> None:
        fed.append(sum(bool(client.is_fed or client.writes) for client in members))
        if fed[-1] < len(members):
            asyncio.get_running_loop().call_soon(look)

    batches, group = Batcher(look, ErrorLog()), group_of(*members)
    send(batches, group, event(1))
    await until(lambda: all(client.writes for client in members))

    assert [client.writes for client in members] == [[b"data: 1\n\n"]] * 5
    assert fed[0] == 0
    assert {2, 4} <= set(fed)


async def test_batch_is_not_over_before_its_last_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection gets a later message before an earlier one, however many there are."""
    monkeypatch.setattr(batcher_module, "SLICE", 1)
    members = await clients(4)
    batches, group = Batcher(lambda: None, ErrorLog()), group_of(*members)

    for number in range(1, 21):
        send(batches, group, event(number))
        await asyncio.sleep(0)
    await batches.idle.wait()
    await all_quiet()

    expected = b"".join(b"data: %d\n\n" % number for number in range(1, 21))
    assert [b"".join(client.writes) for client in members] == [expected] * 4


async def test_idle_says_whether_anything_is_on_its_way(jump: Jump) -> None:
    """Batcher are busy from the first message until all of them were fed to connections."""
    (client,) = await clients(1)
    pauses = iter([1000.0, 0.0])
    batches, group = Batcher(lambda: jump(next(pauses)), ErrorLog()), group_of(client)
    assert batches.idle.is_set()

    send(batches, group, event(1))
    assert not batches.idle.is_set()
    await until(batches.idle.is_set)
    assert client.is_fed or client.writes
    send(batches, group, event(2))
    await all_quiet()
    assert not batches.idle.is_set()

    jump(1000.0)
    await until(batches.idle.is_set)
    await until(lambda: len(client.writes) == 2)


async def test_connection_that_has_ended_is_passed_over() -> None:
    """A batch reaches the others although one of them has gone."""
    gone, client = await clients(2)
    batches, group = Batcher(lambda: None, ErrorLog()), group_of(gone, client)
    send(batches, group, event(1))

    gone.connection.end()
    await until(lambda: client.writes)

    assert client.writes == [b"data: 1\n\n"]
    assert gone.writes == []


async def test_connection_that_cannot_be_fed_stops_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """If one connection's own message cannot be made, that one ends, and all others go on."""

    def fail(personal: Personal) -> bytes:
        raise RuntimeError("no URL can be built")

    broken, client = await Client(fail).waits(), await Client().waits()
    batches, group, another = Batcher(lambda: None, ErrorLog()), group_of(broken), group_of(client)
    change = Outgoing(Position("e", ZERO, ZERO), "board", "mine", "board.mine", viewers=1)

    send(batches, group, change)
    send(batches, another, event(1))
    await all_quiet()
    send(batches, another, event(2))

    async with asyncio.timeout(5):
        await until(lambda: len(client.writes) == 2)
    assert broken.connection.is_ended
    await until(lambda: broken.writes)
    assert b"event: sse-holdoff\ndata: error\n" in broken.writes[0]
    assert [record.name for record in caplog.records] == ["quart_sse.hub"]
    assert client.writes == [b"data: 1\n\n", b"data: 2\n\n"]
