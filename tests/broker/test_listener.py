"""The subscription: which topics a process hears, whatever happens to it."""

import asyncio
from contextlib import suppress

import pytest

from quart_sse.broker import Keep, State
from quart_sse.broker.redis import RedisBroker
from quart_sse.broker.redis.subscription import Subscription
from quart_sse.errors import BrokerUnavailable
from tests.support.processes import Inbox, event, until_redis
from tests.support.redis_server import RedisServer
from tests.support.streams import until

KEEP = Keep(5, 100)


async def test_topic_that_returns_at_once_is_received(raw: tuple[RedisBroker, Inbox]) -> None:
    """Unsubscribing and subscribing again, in whatever order answers come, leaves no gap."""
    broker, inbox = raw
    for number in range(20):
        await broker.subscribe(["t"])
        # One that does not wait: its answer comes when the topic has been given up already.
        hasty = asyncio.create_task(broker.subscribe(["u"]))
        await asyncio.sleep(0)
        hasty.cancel()
        await broker.unsubscribe(["u", "t"])
        await broker.subscribe(["t", "u"])
        await broker.publish(event(f"t{number}", "t"), KEEP)
        await broker.publish(event(f"u{number}", "u"), KEEP)
        await until(lambda number=number: f"u{number}" in inbox.data)  # type: ignore[misc]
        await broker.unsubscribe(["u", "t"])

    assert inbox.data == [f"{topic}{number}" for number in range(20) for topic in "tu"]


async def test_topic_given_up_before_it_was_confirmed_counts_as_given_up(
    raw: tuple[RedisBroker, Inbox],
) -> None:
    """The late answer to the first wish does not pass for one to the second."""
    broker, inbox = raw
    hasty = asyncio.create_task(broker.subscribe(["t"]))
    await asyncio.sleep(0)
    hasty.cancel()
    await broker.unsubscribe(["t"])
    await broker.subscribe(["other"])  # by now both answers are here
    await broker.subscribe(["t"])
    await broker.publish(event("1"), KEEP)
    await until(lambda: inbox.data)

    assert inbox.data == ["1"]


async def test_many_topics_at_once(raw: tuple[RedisBroker, Inbox], redis: RedisServer) -> None:
    """Hundreds of topics are subscribed, published to at once, and given up again."""
    broker, inbox = raw
    topics = [f"t{number}" for number in range(300)]
    await asyncio.gather(*(broker.subscribe([topic]) for topic in topics))
    assert len(await redis.ask("PUBSUB", "CHANNELS", "*")) == 301
    await asyncio.gather(*(broker.publish(event(topic, topic), KEEP) for topic in topics))
    await until(lambda: len(inbox.messages) == 300)

    assert set(inbox.data) == set(topics)
    ids = [message.id for message in inbox.messages]
    assert ids == sorted(ids)
    await broker.unsubscribe(topics)
    await until_redis(redis, "PUBSUB", "CHANNELS", "*", is_so=lambda names: len(names) == 1)


async def test_topics_given_up_while_redis_comes_back(
    raw: tuple[RedisBroker, Inbox], redis: RedisServer
) -> None:
    """Topics that are unsubscribed during the reconnect do not delay the topics that remain."""
    broker, inbox = raw
    topics = [f"t{number}" for number in range(2000)]
    await broker.subscribe([*topics, "stays"])
    await redis.ask("CLIENT", "KILL", "TYPE", "pubsub")
    await until(lambda: broker.state is State.AWAY)
    async with asyncio.timeout(3):
        while broker.state is State.AWAY and topics:
            with suppress(BrokerUnavailable):
                await broker.unsubscribe([topics.pop()])
            await asyncio.sleep(0)
        await until(lambda: broker.state is State.READY)
    await broker.publish(event("1", "stays"), KEEP)
    await until(lambda: inbox.data)

    assert inbox.data == ["1"]
    assert inbox.catches == 2


async def test_message_of_an_epoch_that_is_past_is_not_taken_for_one_of_now(
    raw: tuple[RedisBroker, Inbox], redis: RedisServer
) -> None:
    """The data were lost twice while a process caught up: what lies between is no order of now."""
    broker, inbox = raw
    other, goes_on = RedisBroker(redis.url), asyncio.Event()
    await broker.subscribe(["t"])
    catches, catch_up = [], inbox.catch_up

    async def slow() -> str:
        await catch_up()
        catches.append(inbox.catches)
        await goes_on.wait()
        return (await broker.resume({})).position.epoch

    inbox.catch_up = slow  # type: ignore[method-assign, assignment]
    try:
        await redis.ask("FLUSHALL")
        await other.publish(event("first"), KEEP)
        await until(lambda: catches)
        await other.publish(event("past"), KEEP)
        await redis.ask("FLUSHALL")
        await other.publish(event("now"), KEEP)
        goes_on.set()
        await until(lambda: inbox.data)
    finally:
        await other.release()

    assert inbox.data == ["now"]
    assert len(catches) == 2


@pytest.mark.parametrize("error", [ZeroDivisionError("in the listener"), asyncio.CancelledError()])
async def test_subscription_task_that_dies_begins_again(
    raw: tuple[RedisBroker, Inbox],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: BaseException,
) -> None:
    """Also if what its own supervision does fails; the hub catches up."""
    broker, inbox = raw
    await broker.subscribe(["t"])
    close = Subscription.close

    async def fail_once(self: Subscription) -> None:
        monkeypatch.setattr(Subscription, "close", close)
        await close(self)
        raise error

    monkeypatch.setattr(Subscription, "close", fail_once)
    subscription = broker._listener._subscription
    assert subscription is not None
    await subscription._connection.disconnect()
    await until(lambda: "background task 'subscription'" in caplog.text)
    await until(lambda: inbox.catches == 2)
    await broker.publish(event("1"), KEEP)
    await until(lambda: "1" in inbox.data)

    assert broker.state is State.READY
