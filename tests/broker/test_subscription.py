"""One pub/sub connection: what it has asked for, what is confirmed, and that it ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from redis.exceptions import ConnectionError

from quart_sse.broker.redis.link import Link
from quart_sse.broker.redis.subscription import BATCH, Subscription, calling_redis
from tests.support.redis_server import RedisServer


@pytest.fixture
async def subscription(redis: RedisServer) -> AsyncIterator[Subscription]:
    """A subscription that is connected."""
    subscription = Link(redis.url, timeout=1.0).subscription()
    await subscription.connect()
    yield subscription
    await subscription.close()


async def read(subscription: Subscription, number: int) -> list[tuple[str, str, bytes]]:
    """Read some messages or confirmations."""
    async with asyncio.timeout(5):
        return [await subscription.read() for _ in range(number)]


async def test_channel_is_confirmed_when_redis_says_so(
    subscription: Subscription, redis: RedisServer
) -> None:
    """From then on no message of it is missed."""
    await subscription.subscribe(["a", "b"])
    assert not subscription.has_confirmed(["a"])
    confirmations = await read(subscription, 2)
    await redis.ask("PUBLISH", "b", "hello")

    assert [(kind, channel) for kind, channel, _ in confirmations] == [
        ("subscribe", "a"),
        ("subscribe", "b"),
    ]
    assert subscription.has_confirmed(["a", "b"])
    assert await read(subscription, 1) == [("message", "b", b"hello")]


async def test_channel_is_asked_for_once(subscription: Subscription) -> None:
    """A second viewer of a topic costs Redis nothing."""
    await subscription.subscribe(["a"])
    await subscription.subscribe(["a", "b"])
    confirmations = await read(subscription, 2)

    assert [channel for _, channel, _ in confirmations] == ["a", "b"]
    assert not subscription.is_due("a")


async def test_late_confirmation_is_not_for_what_was_given_up(subscription: Subscription) -> None:
    """Of a channel that is asked for again, the last confirmation alone counts."""
    await subscription.subscribe(["a"])
    await subscription.unsubscribe(["a"])
    await subscription.subscribe(["a"])

    (first, _, _), (second, _, _) = await read(subscription, 2)
    assert (first, second) == ("subscribe", "unsubscribe")
    assert not subscription.has_confirmed(["a"])
    await read(subscription, 1)
    assert subscription.has_confirmed(["a"])


async def test_channel_that_was_given_up_is_not_confirmed(subscription: Subscription) -> None:
    """Its confirmation is on the way, and says nothing any more."""
    await subscription.subscribe(["a"])
    await subscription.unsubscribe(["a"])
    assert subscription.is_due("a")
    await read(subscription, 2)

    assert not subscription.is_due("a")
    assert not subscription.has_confirmed(["a"])


async def test_more_channels_than_one_command_takes(
    subscription: Subscription, redis: RedisServer
) -> None:
    """A process that returns to Redis asks for all of its topics at once."""
    channels = [f"c{number}" for number in range(BATCH + 1)]
    await subscription.subscribe(channels)
    await read(subscription, len(channels))
    assert subscription.has_confirmed(channels)
    await subscription.unsubscribe(channels)
    await read(subscription, len(channels))

    assert await redis.ask("PUBSUB", "CHANNELS", "*") == []


async def test_connection_that_ended_is_not_made_again(
    subscription: Subscription, redis: RedisServer
) -> None:
    """A silent reconnect would hide the gap."""
    await subscription.subscribe(["a"])
    await read(subscription, 1)
    await redis.ask("CLIENT", "KILL", "TYPE", "pubsub")
    with pytest.raises((ConnectionError, OSError)):
        await read(subscription, 1)

    with pytest.raises(ConnectionError, match="ended"):
        await subscription.subscribe(["b"])


async def test_every_loop_says_in_one_way_that_a_connection_is_closed() -> None:
    """uvloop raises another error than asyncio; an error of another cause stays."""
    with pytest.raises(ConnectionError), calling_redis():
        raise RuntimeError("unable to perform operation; the handler is closed")
    with pytest.raises(RuntimeError, match="a mistake"), calling_redis():
        raise RuntimeError("a mistake")


@pytest.mark.parametrize("error", [None, ConnectionError("Timeout writing to socket")])
async def test_cancellation_that_a_call_has_lost_is_raised(error: Exception | None) -> None:
    """Whatever the call has come to; one from before the call is not its own."""

    async def lose() -> None:
        with calling_redis():
            task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0)
            if error is not None:
                raise error

    async def call() -> None:
        for _ in range(2):
            with pytest.raises(asyncio.CancelledError):
                await lose()
        with calling_redis():
            await asyncio.sleep(0)

    task = asyncio.create_task(call())
    await task
