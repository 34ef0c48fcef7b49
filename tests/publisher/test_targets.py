"""The targets of publishers: what they say to the broker."""

import json

import pytest
from markupsafe import Markup

from quart_sse import (
    AsyncPublisher,
    ChannelRecord,
    EventError,
    FragmentError,
    ParameterError,
    SetupError,
)
from quart_sse.broker import Kind
from quart_sse.broker.memory import MemoryBroker
from tests.support.processes import Inbox

ROOM = ChannelRecord(
    "room",
    "/room/<int:id>",
    fragments=("list", "count", "mine"),
    personal=["mine"],
    items=("list",),
    on={"said": ["list", "count"], "left": ["count"]},
)
HALL = ChannelRecord("hall", "/hall", on={"said": ["list"]}, refresh_on=["room.left", "user.saved"])


EVENTS = ChannelRecord("events", "/events", events=frozenset({"said"}))


@pytest.fixture
async def inbox() -> Inbox:
    """What the app receives."""
    return Inbox()


@pytest.fixture
async def publisher(inbox: Inbox) -> AsyncPublisher:
    """A publisher over a broker in this process."""
    broker = MemoryBroker()
    await broker.start(inbox)
    return AsyncPublisher(broker, channels=[ROOM, HALL])


async def test_fragments_are_refreshed_and_pushed(publisher: AsyncPublisher, inbox: Inbox) -> None:
    """All of them without names; pushed text is escaped, and has its root path."""
    topic = publisher.topic("room", id=3)
    await topic.refresh()
    await topic.refresh("list")
    await topic.push("count", "<b>")
    await topic.push("count", "x", root="/app")
    sent = [(m.kind, m.topic, m.name, m.data, m.origin) for m in inbox.messages]

    assert sent == [
        *((Kind.REFRESH, "room?id=3", name, None, "") for name in ("list", "count", "mine")),
        (Kind.REFRESH, "room?id=3", "list", None, ""),
        (Kind.PUSH, "room?id=3", "count", "&lt;b&gt;", ""),
        (Kind.PUSH, "room?id=3", "count", "x", "/app"),
    ]


async def test_closing_tells_every_process(publisher: AsyncPublisher, inbox: Inbox) -> None:
    """A topic, or all of a channel."""
    await publisher.topic("room", id=3).close()
    await publisher.channel("room").close()

    assert [(m.kind, m.name, m.data) for m in inbox.messages] == [
        (Kind.CONTROL, "close", '{"topic": "room?id=3"}'),
        (Kind.CONTROL, "close", '{"channel": "room"}'),
    ]


async def test_audiences_are_those_of_the_app(publisher: AsyncPublisher, inbox: Inbox) -> None:
    """With the filter and the exclusion that were given."""
    await publisher.user("a b").publish("x", where={"role": "admin"}, exclude="id")
    await publisher.everyone.publish("x", retry_ms=50)
    await publisher.channel("room").everyone.publish("x")
    first, second, third = inbox.messages

    assert (first.topic, second.topic, third.topic) == (
        "user?identity=a%20b",
        "everyone",
        "everyone?channel=room",
    )
    assert first.where is not None
    assert (first.where.text, first.exclude, second.retry_ms) == ('{"role": "admin"}', "id", 50)


@pytest.mark.parametrize("identity", ["", None, 7])
async def test_identity_is_a_text(publisher: AsyncPublisher, identity: object) -> None:
    """A number would be the identity of nobody."""
    with pytest.raises(ParameterError, match="identity is"):
        publisher.user(identity)  # type: ignore[arg-type]


async def test_event_that_the_channel_does_not_declare_is_refused(inbox: Inbox) -> None:
    """A channel without a list of its events may have any."""
    broker = MemoryBroker()
    await broker.start(inbox)
    publisher = AsyncPublisher(broker, channels=[ChannelRecord("a", "/a", events=["said"])])
    await publisher.topic("a").publish("said")
    for target in (publisher.topic("a"), publisher.channel("a").everyone):
        with pytest.raises(EventError, match="Did you mean 'said'"):
            await target.publish("sayd")

    assert [message.name for message in inbox.messages] == ["said"]


async def test_notification_is_that_of_the_app(publisher: AsyncPublisher, inbox: Inbox) -> None:
    """To each target, also of a channel that declares its events."""
    publisher = AsyncPublisher(publisher._broker, channels=[EVENTS])  # type: ignore[arg-type]
    targets = {
        "user?identity=7": publisher.user("7"),
        "everyone": publisher.everyone,
        "everyone?channel=events": publisher.channel("events").everyone,
        "events": publisher.topic("events"),
    }
    for target in targets.values():
        sent = await target.notify("Hi", level="error", data=[1], where={"a": 1}, exclude="id")

    assert [(m.topic, m.name, m.exclude) for m in inbox.messages] == [
        (topic, "sse-notification", "id") for topic in targets
    ]
    assert json.loads(inbox.messages[-1].data or "")["id"] == sent.id
    for given in ({"level": "bad"}, {"data": object()}, {"title": 7}):
        with pytest.raises(EventError):
            await publisher.everyone.notify("Hi", **given)
    assert len(inbox.messages) == 4


async def test_events_refresh_fragments_of_their_topic(
    publisher: AsyncPublisher, inbox: Inbox
) -> None:
    """Together with the event, and by what the app declares alone."""
    await publisher.topic("room", id=3).publish("said", "x")
    await publisher.topic("room", id=3).publish("said", "x", refresh_on=False)
    await publisher.topic("room", id=3).publish("moved", "x")
    await publisher.channel("hall").everyone.publish("said", "x")
    sent = [(each.kind, each.topic, each.name) for each in inbox.messages]

    assert sent == [
        (Kind.EVENT, "room?id=3", "said"),
        (Kind.REFRESH, "room?id=3", "list"),
        (Kind.REFRESH, "room?id=3", "count"),
        (Kind.EVENT, "room?id=3", "said"),
        (Kind.EVENT, "room?id=3", "moved"),
        (Kind.EVENT, "everyone?channel=hall", "said"),
        (Kind.REFRESH, "hall", "list"),
    ]


async def test_events_that_need_a_function_of_the_app_are_refused(
    publisher: AsyncPublisher, inbox: Inbox
) -> None:
    """With its name, and what to do; without its refreshes they may be published."""
    for target, event in (
        (publisher.topic("room", id=3), "left"),
        (publisher.channel("room").everyone, "left"),
        (publisher.user("ada"), "saved"),
    ):
        with pytest.raises(SetupError, match=r"'(left|saved)'.*@hall\.refresh_on.*/sse/~publish"):
            await target.publish(event)
    with pytest.raises(EventError, match=r"room\.everyone is no topic"):
        await publisher.channel("room").everyone.publish("said")
    assert inbox.messages == []
    await publisher.topic("room", id=3).publish("left", refresh_on=False)
    await publisher.everyone.publish("saved")
    assert [each.name for each in inbox.messages] == ["left", "saved"]


async def test_items_are_refreshed_and_pushed(publisher: AsyncPublisher, inbox: Inbox) -> None:
    """Of lists alone, and with what sse_item writes."""
    topic = publisher.topic("room", id=3)
    await topic.refresh("list", item="a b")
    await topic.push("list", Markup('<li data-sse-item="7">x</li>'), item=7)
    sent = [(m.kind, m.name, m.data, m.item) for m in inbox.messages]

    assert sent == [
        (Kind.REFRESH, "list", None, "a%20b"),
        (Kind.PUSH, "list", '<li data-sse-item="7">x</li>', "7"),
    ]
    with pytest.raises(FragmentError, match="has no items"):
        await topic.refresh("count", item=7)
    with pytest.raises(FragmentError, match="must be one element"):
        await topic.push("list", Markup("<li>x</li>"), item=7)
