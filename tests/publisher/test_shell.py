"""The publisher of the command line: names of targets, places, questions, and its end."""

import pytest

from quart_sse import UnknownChannelError
from quart_sse.broker import Keep
from quart_sse.broker.redis import RedisBroker
from quart_sse.errors import ParameterError, SetupError
from quart_sse.publisher import (
    AsyncPublisherTopic,
    ChannelRecord,
    Declared,
    Place,
    ShellPublisher,
)
from tests.support.redis_server import RedisServer
from tests.support.sites import Site


async def test_place_is_where_the_app_publishes(site: Site, redis: RedisServer) -> None:
    """By the name of a topic or an audience."""
    keep = Keep(256, 300.0)
    async with ShellPublisher(redis.url) as publisher:
        assert await publisher.place("rooms?room=3") == Place(
            "rooms?room=3", keep, frozenset({"list", "mine"})
        )
        for name in ("news", "everyone", "user?identity=a%20b", "everyone?channel=rooms"):
            assert await publisher.place(name) == Place(name, keep, frozenset())
        with pytest.raises(UnknownChannelError):
            await publisher.place("roms")
        with pytest.raises(ParameterError):
            await publisher.place("rooms?room=x")
        assert isinstance(publisher.target("news"), AsyncPublisherTopic)
        assert not isinstance(publisher.target("everyone"), AsyncPublisherTopic)


async def test_processes_are_asked(site: Site, redis: RedisServer) -> None:
    """One, or all."""
    async with ShellPublisher(redis.url) as publisher, site.view(3):
        (id,) = await publisher.live()
        for to in (None, id):
            asked = await publisher.ask("channels", deadline=publisher.timeout, to=to)
            assert (asked.answers, asked.silent) == ({id: {"rooms": 1}}, ())


async def test_what_the_app_declares_may_be_given(site: Site, redis: RedisServer) -> None:
    """Then nothing is read of what processes say; the broker is closed in the end."""
    broker = RedisBroker(redis.url)
    given = Declared({"news": ChannelRecord("news", "/news", history=7)}, keep=Keep(5, 60.0))
    async with ShellPublisher(broker, declared=given) as publisher:
        assert await publisher.declared() is given
        assert (await publisher.place("news")).keep.events == 7
        assert (await publisher.place("everyone")).keep == Keep(5, 60.0)
        await publisher.target("news").publish("said", 1)
        connections = await redis.ask("CLIENT", "LIST")
    assert (await redis.ask("CLIENT", "LIST")).count("\n") < connections.count("\n")
    with pytest.raises(SetupError, match="closed"):
        _ = publisher.broker
