"""Changes of single connections: they keep their place in the order, and lose nothing."""

import asyncio

import pytest

from quart_sse.errors import BrokerUnavailable, ConnectionClosedError
from quart_sse.hub import batcher as batcher_module
from quart_sse.hub.changes import SENT_SECONDS
from quart_sse.hub.outgoing import Outgoing
from quart_sse.hub.page import Page
from quart_sse.wire import Ending
from quart_sse.wire.audience import channel_topic
from tests.support.clock import Jump
from tests.support.house import KEEPS, LOUD, OTHER, TOPIC, House, Viewer
from tests.support.streams import until

NEWS = channel_topic("news")
PAGE = Page((TOPIC,), (TOPIC,), is_open=True, is_same=True, is_user=False, is_bound=False)


@pytest.fixture(autouse=True)
def _keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KEEPS, NEWS, KEEPS[TOPIC])


async def test_topic_is_added_in_the_middle_of_a_wave(house: House) -> None:
    """What was pending goes out before, and what comes after it of both topics, in order."""
    one, other = await house.viewing(), await house.viewing()

    await house.say("1")
    assert await house.hub.changes.subscribe(one.connection.id, OTHER)
    await house.say("2", topic=OTHER)
    await house.say("3")

    await one.hears("1", "2", "3")
    await other.hears("1", "3")
    assert one.positions == sorted(one.positions)
    assert one.connection.made == {OTHER}
    assert NEWS in one.connection.audiences


async def test_connections_with_the_same_topics_share_bytes_again(house: House) -> None:
    """However they came to have them."""
    one, other = await house.viewing(), await house.viewing(topics=(TOPIC, OTHER))

    await house.hub.changes.subscribe(one.connection.id, OTHER)
    await house.say("x")
    await house.quiet()

    assert house.hub._groups.of(one.connection) is house.hub._groups.of(other.connection)


async def test_topic_is_taken_off_in_the_middle_of_a_wave(house: House) -> None:
    """What was published before goes out, and nothing after."""
    one = await house.viewing(topics=(TOPIC, OTHER))

    await house.say("1", topic=OTHER)
    house.hub.changes.refuse(one.connection, [OTHER])
    await house.hub.changes.follow(one.connection)
    await house.say("no", topic=OTHER)
    await house.say("2")

    await one.hears("1", "2")
    assert [name for name, _ in one.named] == [
        "news.said?room=2",
        "sse-refused",
        "news.said?room=1",
    ]
    assert not await house.hub.changes.unsubscribe(one.connection.id, OTHER)


async def test_topic_that_is_subscribed_after_it_was_refused_stays(house: House) -> None:
    """However late the stream follows; its client is told of nothing."""
    viewer = await house.viewing(topics=(TOPIC, OTHER))

    house.hub.changes.refuse(viewer.connection, [OTHER])
    assert await house.hub.changes.subscribe(viewer.connection.id, OTHER)
    await house.hub.changes.follow(viewer.connection)
    await house.say("x", topic=OTHER)
    await viewer.hears("x")

    assert viewer.connection.subscription.keys() == {TOPIC, OTHER}
    assert [name for name, _ in viewer.named] == ["news.said?room=2"]


async def test_fragment_that_is_missing_is_waited_for_no_more(house: House) -> None:
    """A page that waits for a fragment of a topic that has gone goes on."""
    house.pages.gate.clear()
    viewer = house.view("list", topics=(OTHER, TOPIC), since=None)
    await until(lambda: house.pages.rendered)

    await house.hub.changes.unsubscribe(viewer.connection.id, OTHER)
    await house.quiet()

    assert house.hub.position_of(viewer.connection) is not None
    house.pages.gate.set()
    await house.quiet()


async def test_connection_that_joins_is_waited_for(house: House) -> None:
    """So that its replay and what is new do not part."""
    house.broker.answers.clear()
    viewer = house.view()
    await house.quiet()
    task = asyncio.create_task(house.hub.changes.subscribe(viewer.connection.id, OTHER))
    await house.quiet()
    assert not task.done()

    await house.say("1")
    house.broker.answers.set()
    assert await task
    await house.say("2", topic=OTHER)

    await viewer.hears("1", "2")


@pytest.mark.parametrize("is_early", [True, False])
async def test_connection_that_leaves_is_an_error(house: House, is_early: bool) -> None:
    """Before its replay, and after it."""
    if is_early:
        house.broker.answers.clear()
    viewer = house.view()
    await house.quiet()
    task = asyncio.create_task(house.hub.changes.subscribe(viewer.connection.id, OTHER))
    if is_early:
        await house.quiet()
        await house.leave(viewer)
        with pytest.raises(ConnectionClosedError):
            await task
    else:
        await task
        await house.leave(viewer)
    with pytest.raises(ConnectionClosedError):
        await house.hub.changes.unsubscribe(viewer.connection.id, TOPIC)
    outgoing = Outgoing.direct("x", "y", is_text=False, once="1")
    assert not house.hub.changes.send([viewer.connection], outgoing)


async def test_topic_that_the_broker_does_not_confirm(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing has changed."""
    viewer = await house.viewing()

    async def hang(topics: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(house.broker, "subscribe", hang)
    monkeypatch.setattr(house.hub.changes, "_timeout", 0.01)
    with pytest.raises(BrokerUnavailable, match="QUART_SSE_JOIN_TIMEOUT"):
        await house.hub.changes.subscribe(viewer.connection.id, OTHER)

    assert viewer.connection.subscription.keys() == {TOPIC}
    assert not viewer.connection.made


async def test_message_for_one_comes_behind_what_is_pending(house: House) -> None:
    """And without an id, so that its position stays."""
    one, other = await house.viewing(), await house.viewing()

    await house.say("1")
    house.hub.changes.send([one.connection], Outgoing.direct("note", "2", is_text=True, once="k.1"))
    await house.say("3")
    await one.hears("1", "2", "3")
    await other.hears("1", "3")

    assert b"event: note\nonce: k.1\ntype: text\ndata: 2\n\n" in b"".join(one.writes)
    assert one.positions == other.positions


async def test_end_comes_behind_what_is_pending(house: House) -> None:
    """Of all and of one alone."""
    one, other = await house.viewing(), await house.viewing()

    await house.say("1")
    house.hub.changes.send([one.connection], Outgoing.direct("note", "2", is_text=False, once="1"))
    house.hub.changes.end(one.connection, Ending.CLOSED)
    await house.say("3")
    await other.hears("1", "3")

    assert one.task is not None
    await one.task
    assert one.named[-3:] == [("news.said?room=1", "1"), ("note", "2"), ("sse-stop", "closed")]


async def test_end_comes_behind_a_batch_that_is_being_fed(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In slices; what is newer does not overtake what is in a later one."""
    monkeypatch.setattr(batcher_module, "SLICE", 2)
    viewers = [await house.viewing() for _ in range(5)]
    batcher = house.hub._batcher

    await house.say("1")
    await until(lambda: len(batcher._feeds) == 1)
    await house.say("2")
    for viewer in viewers:
        house.hub.changes.end(viewer.connection, Ending.PAUSED, 1000)
    await house.quiet()

    assert [viewer.said for viewer in viewers] == [["1", "2"]] * 5
    assert [viewer.named[-1] for viewer in viewers] == [("sse-holdoff", "paused")] * 5


async def test_stream_that_cannot_be_fed_in_the_end_keeps_no_other_one_open(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever ends several streams goes on."""
    viewer = await house.viewing("mine")

    def fail(personal: object) -> bytes:
        raise RuntimeError("no URL can be built")

    viewer.connection.loader = fail
    await house.refresh("mine")
    house.hub.changes.end(viewer.connection, Ending.CLOSED)
    await until(lambda: viewer.named)

    assert viewer.named == [("sse-holdoff", "error")]
    assert [record.name for record in caplog.records] == ["quart_sse.hub"]


async def test_topics_that_change_are_counted_for_the_limits(house: House) -> None:
    """A channel is full of those that listen to it, however that has come."""
    viewer = await house.viewing()
    counts = house.hub.connections._limits._by_channel

    await house.hub.changes.subscribe(viewer.connection.id, LOUD)
    assert counts == {"news": 1, "chat": 1}
    await house.hub.changes.unsubscribe(viewer.connection.id, TOPIC)
    assert counts == {"chat": 1}
    await house.leave(viewer)
    assert not counts


async def test_what_is_kept_of_messages_for_one_is_bounded(house: House, jump: Jump) -> None:
    """By number, by size, and by age."""
    viewer = await house.viewing()
    connection, other = viewer.connection, (await house.viewing()).connection
    connection.pages = (PAGE,)

    def send(size: int) -> None:
        outgoing = Outgoing.direct("note", "x" * size, is_text=False, once="1")
        house.hub.changes.send([connection], outgoing)

    for _ in range(100):
        send(10)
    assert len(connection.lasting.sent) == 64
    for _ in range(10):
        send(20_000)
    assert [len(outgoing.body) > 20_000 for _, outgoing in connection.lasting.sent] == [True] * 3
    send(70_000)
    assert not connection.lasting.sent
    send(10)
    jump(59.0)
    send(10)
    assert len(connection.lasting.sent) == 2
    jump(2.0)
    other.lasting = connection.lasting
    house.hub.changes.send_again(other)
    assert len(connection.lasting.sent) == 1


async def next_of(house: House, viewer: Viewer, *topics: str) -> Viewer:
    """Begin a stream that takes the place of a viewer's."""
    following = house.view(topics=topics or (TOPIC,))
    following.connection.lasting = viewer.connection.lasting
    following.connection.pages = viewer.connection.pages = (PAGE,)
    await house.quiet()
    return following


async def test_change_is_of_all_streams_of_a_connection(house: House) -> None:
    """The client may give up any of them."""
    viewer = await house.viewing()
    following = await next_of(house, viewer)

    assert await house.hub.changes.subscribe(viewer.connection.id, OTHER)
    assert not await house.hub.changes.subscribe(viewer.connection.id, OTHER)
    assert viewer.connection.subscription.keys() == {TOPIC, OTHER}
    assert following.connection.subscription.keys() == {TOPIC, OTHER}
    assert await house.hub.changes.unsubscribe(viewer.connection.id, TOPIC)
    await house.leave(following)
    await house.say("no")
    await house.say("1", topic=OTHER)

    await viewer.hears("1")
    assert not await house.hub.changes.unsubscribe(viewer.connection.id, TOPIC)


async def test_stream_that_joins_meanwhile_is_changed_when_it_has_joined(house: House) -> None:
    """If it gives up, the one before it has been changed all the same."""
    viewer = await house.viewing()
    house.broker.answers.clear()
    following = await next_of(house, viewer)

    task = asyncio.create_task(house.hub.changes.subscribe(viewer.connection.id, OTHER))
    await house.quiet()
    assert viewer.connection.subscription.keys() == {TOPIC, OTHER}
    assert not task.done()
    await house.leave(following)

    assert await task
    await house.say("1", topic=OTHER)
    await viewer.hears("1")


async def test_topic_that_a_page_lists_is_added_for_good(house: House) -> None:
    """It stays when that page goes, and what is new for other pages counts as a change."""
    viewer = await house.viewing(topics=(TOPIC, OTHER))
    connection = viewer.connection
    second = PAGE._replace(listed=(OTHER,), granted=(OTHER,))

    connection.pages = (PAGE, second)
    assert await house.hub.changes.subscribe(connection.id, OTHER)
    assert connection.lasting.made.keys() == {OTHER}
    connection.lasting.made, connection.made = {}, frozenset()
    connection.pages = (second,)
    assert not await house.hub.changes.subscribe(connection.id, OTHER)
    assert connection.lasting.made.keys() == {OTHER}


async def test_what_no_page_lists_is_not_remembered(house: House) -> None:
    """Else a connection would grow with each topic that came and went."""
    viewer = await house.viewing()
    viewer.connection.pages = (PAGE,)

    await house.hub.changes.subscribe(viewer.connection.id, OTHER)
    await house.hub.changes.unsubscribe(viewer.connection.id, OTHER)
    assert not viewer.connection.lasting.removed
    await house.hub.changes.unsubscribe(viewer.connection.id, TOPIC)
    assert viewer.connection.lasting.removed == {TOPIC}
    await house.hub.changes.subscribe(viewer.connection.id, TOPIC)
    assert not viewer.connection.lasting.removed


async def test_reset_says_again_what_has_no_place_in_the_order(house: House) -> None:
    """The opening, and events for one connection, that its client has not read."""
    viewer = await house.viewing()
    viewer.connection.pages = (PAGE,)
    viewer.flows.clear()
    await house.say("read", "not read")
    await house.quiet()

    house.hub.changes.send(
        [viewer.connection], Outgoing.direct("note", "2", is_text=True, once="1")
    )
    await house.quiet()
    house.broker.lose_data()
    await house.hub.catch_up()
    viewer.flows.set()
    await house.quiet()

    text = b"".join(viewer.writes)
    assert text.count(b"event: sse-open") == 2
    assert text.index(b"sse-reset") < text.index(b"event: note")


async def test_messages_for_one_are_forgotten_in_time(house: House, jump: Jump) -> None:
    """Those that are young enough stay, for the next stream."""
    viewer = await house.viewing()
    lasting, changes = viewer.connection.lasting, house.hub.changes
    viewer.connection.pages = (PAGE,)
    loop = asyncio.get_running_loop()

    def send(text: str) -> None:
        outgoing = Outgoing.direct("note", text, is_text=True, once="1")
        changes.send([viewer.connection], outgoing)

    send("old")
    jump(SENT_SECONDS)
    send("new")
    jump(1.0)
    changes.forget_sent(loop.time())
    assert [outgoing.body.count(b"new") for _, outgoing in lasting.sent] == [1]

    jump(SENT_SECONDS / 4)
    changes.forget_sent(loop.time())
    assert lasting.sent
    jump(SENT_SECONDS)
    changes.forget_sent(loop.time())
    assert not lasting.sent
