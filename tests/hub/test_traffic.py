"""Traffic: messages and bytes of all streams, also of those that read slowly or not at all."""

from quart_sse.config import Config
from quart_sse.error_log import ErrorLog
from quart_sse.hub.batch import HEARTBEAT, Batch, Part
from quart_sse.hub.batcher import Batcher
from quart_sse.hub.connection import Connection
from quart_sse.hub.group import Group
from quart_sse.hub.traffic import Traffic
from quart_sse.wire.ending import Ending
from tests.support.outgoing import event, heartbeat, html
from tests.support.streams import until


def connect(traffic: Traffic, **config: int) -> Connection:
    """Return a stream whose traffic is counted."""
    connection = Connection({}, Config(**config), loader=lambda _: b"")  # type: ignore[arg-type]
    connection.traffic = traffic
    return connection


def group_of(*members: Connection) -> Group:
    """Return the group of streams."""
    group = Group({}, bare=False, granted=None)
    group.members.update(members)
    return group


def counts(traffic: Traffic) -> tuple[int, int, int]:
    """Return messages delivered, conflated and dropped."""
    return traffic.delivered, traffic.conflated, traffic.dropped


async def written(connection: Connection) -> int:
    """Take all that a stream has to send, as a server does, and return its size."""
    connection.end()
    return sum([len(chunk) async for chunk in connection])


async def test_batch_counts_for_each_stream_and_joined_versions_once_each() -> None:
    """Two events and the newest of three versions, for two streams; a heartbeat is no message."""
    traffic = Traffic()
    one, other = connect(traffic), connect(traffic)
    group = group_of(one, other)
    for outgoing in (html(1), event(2), html(3), heartbeat(4), html(5), event(6), heartbeat(7)):
        group.add(outgoing)
    batches = Batcher(lambda: None, ErrorLog(), traffic)
    batches.add(group)
    await batches.idle.wait()

    assert counts(traffic) == (6, 4, 0)
    size = await written(one) + await written(other)
    assert traffic.written == size > 0


async def test_aimed_message_counts_for_those_that_it_is_for() -> None:
    """The others get what is for all."""
    traffic = Traffic()
    one, other = connect(traffic), connect(traffic)
    group = group_of(one, other)
    group.add(html(1))
    group.aim(event(2), {one})
    group.add(html(3))
    for batch, members in group.take_feeds(traffic):
        for connection in members:
            connection.feed(batch)

    assert counts(traffic) == (3, 2, 0)
    size = await written(one) + await written(other)
    assert traffic.written == size > 0


async def test_slow_stream_replaces_versions_and_counts_bytes_when_it_sends_them() -> None:
    """What its client never reads is not counted as written."""
    traffic = Traffic()
    slow = connect(traffic)
    await anext(slow)
    before = traffic.written
    for version in (1, 2, 3):
        batch = Batch.of([Part("list", b"data: v%d\n\n" % version)])
        traffic.add(batch)
        slow.feed(batch)
    for _ in range(2):
        batch = Batch.of([Part(HEARTBEAT, b"\n")])
        traffic.add(batch)
        slow.feed(batch)
    assert counts(traffic) == (1, 2, 0)
    assert (traffic.written - before, slow.queued) == (0, 11)

    await anext(slow)
    assert (traffic.written - before, slow.queued) == (11, 0)


async def test_stream_that_holds_too_many_drops_them() -> None:
    """And what comes after its end counts for nothing."""
    traffic = Traffic()
    slow = connect(traffic, pending_events=2)
    await anext(slow)
    for _ in range(4):
        batch = Batch.of([Part(None, b"data: x\n\n")])
        traffic.add(batch)
        slow.feed(batch)

    assert slow.ending is Ending.OVERFLOW
    assert counts(traffic) == (0, 0, 3)
    assert slow.queued == 0
    before = traffic.written
    size = await written(slow)
    assert traffic.written - before == size > 0


async def test_event_is_measured_from_its_publishing() -> None:
    """A batch without an event says nothing of the lag; nor does an event that is for none."""
    traffic = Traffic()
    client = connect(traffic)
    batches, group = Batcher(lambda: None, ErrorLog(), traffic), group_of(client)
    batches.note_time(1)  # no batch is to come
    group.add(html(1))
    batches.add(group)
    await until(batches.idle.is_set)
    assert batches.lag.number == 0

    group.add(event(2))
    batches.add(group)
    batches.note_time(1)
    await until(batches.idle.is_set)
    assert batches.lag.number == 1
    assert batches.lag.seconds > 1_000_000_000
