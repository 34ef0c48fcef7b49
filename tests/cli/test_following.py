"""Follow a topic: from a position on, each message once and in order, also after a gap."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest

from quart_sse.broker import Broker, Budget, Keep, Kind, Message, Replay, Start
from quart_sse.broker.redis import RedisBroker
from quart_sse.cli.following import Following, Loss
from quart_sse.errors import BrokerUnavailable
from quart_sse.publisher import Place
from quart_sse.wire import ZERO, Id, Position
from tests.support.control import serving
from tests.support.redis_server import RedisServer

KEEP = Keep(3, 300.0)
PLACE = Place("news", KEEP, frozenset({"list"}))


@pytest.fixture
async def broker(redis: RedisServer) -> AsyncIterator[Broker]:
    """The broker of a process that serves, by which a test publishes."""
    async with serving(RedisBroker(redis.url)) as process:
        yield process.broker


@asynccontextmanager
async def following(redis: RedisServer, since: Position) -> AsyncIterator[Following]:
    """Follow the topic until the block ends."""
    broker = RedisBroker(redis.url, probe=0.2)
    following = Following(broker, PLACE, lambda _: since)
    try:
        async with asyncio.timeout(20):
            await following.start()
            yield following
    finally:
        await broker.stop()


def event(data: str, topic: str = "news") -> tuple[Message, Keep]:
    return Message(Kind.EVENT, ZERO, topic, "said", data), KEEP


def change(fragment: str) -> tuple[Message, Keep]:
    return Message(Kind.REFRESH, ZERO, "news", fragment), KEEP


async def take(following: Following, count: int) -> list[str | None]:
    """Return the next messages: the data of events, names of fragments, and losses."""
    found: list[str | None] = []
    for _ in range(count):
        message = await following.next()
        if isinstance(message, Loss):
            found.append("LOSS")
        else:
            found.append(message.data if message.kind is Kind.EVENT else message.name)
    return found


async def test_what_was_kept_comes_first(redis: RedisServer, broker: Broker) -> None:
    """Since a position, in the order of ids; other topics and control messages are not there."""
    await broker.publish(*event("1"))
    position = await broker.position()
    await broker.publish(*event("2"))
    await broker.publish(*change("list"))
    await broker.publish(*change("old"))
    await broker.publish(*event("other", "others"))
    await broker.publish(*event("3"))
    async with following(redis, position) as follower:
        await broker.publish(Message(Kind.CONTROL, ZERO, "", "recheck", "{}"), KEEP)
        await broker.publish(*event("4"))
        await broker.publish(Message(Kind.PUSH, ZERO, "news", "list", "<b>"), KEEP)
        await broker.publish(*event("5"))
        assert await take(follower, 6) == ["2", "list", "3", "4", "list", "5"]


async def test_loss_is_told_before_what_is_still_kept(redis: RedisServer, broker: Broker) -> None:
    """And where the position is of data that are gone."""
    start = await broker.position()
    for data in "12345":
        await broker.publish(*event(data))
    async with following(redis, start) as follower:
        await broker.publish(*event("6"))
        assert await take(follower, 5) == ["LOSS", "3", "4", "5", "6"]
    id = Id(start.events.ms + 10_000_000, 0)
    async with following(redis, Position("another", id, id)) as follower:
        await broker.publish(*event("7"))
        assert await take(follower, 5) == ["LOSS", "4", "5", "6", "7"]


async def test_message_that_comes_twice_is_taken_once(
    redis: RedisServer, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is published between the subscription and the replay comes by both."""
    resume = RedisBroker.resume

    async def publish_first(
        self: RedisBroker, starts: Mapping[str, Start], *budget: Budget
    ) -> Replay:
        if starts and self is not broker:
            await broker.publish(*event("1"))
        return await resume(self, starts, *budget)

    position = await broker.position()
    monkeypatch.setattr(RedisBroker, "resume", publish_first)
    async with following(redis, position) as follower:
        await broker.publish(*event("2"))
        assert await take(follower, 2) == ["1", "2"]


async def test_gap_is_caught_up_with(redis: RedisServer, broker: Broker) -> None:
    """What was published while its connection was cut comes once."""
    async with following(redis, await broker.position()) as follower:
        await broker.publish(*event("1"))
        assert await take(follower, 1) == ["1"]
        await redis.ask("CLIENT", "KILL", "TYPE", "pubsub")
        await broker.publish(*event("2"))
        await broker.publish(*change("list"))
        assert await take(follower, 2) == ["2", "list"]
        await broker.publish(*event("3"))
        assert await take(follower, 1) == ["3"]


async def test_new_data_are_followed_from_their_beginning(
    redis: RedisServer, broker: Broker
) -> None:
    """After a loss of all that Redis had; their ids may be smaller."""
    ahead = RedisBroker(redis.url, clock_offset_ms=3_600_000)
    async with following(redis, await broker.position()) as follower:
        await ahead.publish(*event("1"))
        assert await take(follower, 1) == ["1"]
        await ahead.stop()
        await redis.ask("FLUSHALL")
        await broker.publish(*event("2"))
        await redis.ask("CLIENT", "KILL", "TYPE", "pubsub")
        assert await take(follower, 2) == ["LOSS", "2"]
        await broker.publish(*event("3"))
        assert await take(follower, 1) == ["3"]


async def test_broker_that_is_away_is_an_error(redis: RedisServer, broker: Broker) -> None:
    """A command is not left waiting."""
    position = await broker.position()
    await redis.kill()
    with pytest.raises(BrokerUnavailable):
        async with following(redis, position):
            pass
