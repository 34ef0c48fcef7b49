"""The channels that a publisher knows: read from processes, kept for a while, or given."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from werkzeug.routing import BaseConverter

from quart_sse import (
    SSE,
    ChannelRecord,
    EventError,
    ParameterError,
    SetupError,
    UnknownChannelError,
)
from quart_sse.broker import Control
from quart_sse.broker.redis import RedisBroker
from quart_sse.error_log import ErrorLog
from quart_sse.errors import BrokerUnavailable, DeclarationError
from quart_sse.publisher import AsyncPublisher, Declared, catalog, write
from quart_sse.publisher.catalog import Catalog, Known
from quart_sse.wire import make_map
from tests.support.redis_server import RedisServer
from tests.support.sites import Site, serving


class Slug(BaseConverter):
    """A converter of an app's own."""

    regex = "[a-z]+"

    def to_url(self, value: Any) -> str:
        return str(value)


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of catalogs."""
    clock = Clock()
    monkeypatch.setattr(catalog, "time", clock)
    return clock


class Other:
    """Another process of the app, which declares what a test says."""

    def __init__(self, url: str, declared: Declared) -> None:
        self.broker = RedisBroker(url)
        self.control = Control(self.broker, ErrorLog())
        self.control.processes.declare(lambda: write(declared))

    async def announce(self) -> None:
        """Begin to serve."""
        self.control.begin()
        await self.control.processes.announce()

    async def end(self) -> None:
        """Stop."""
        await self.control.end()
        await self.broker.stop()


def declared(*records: ChannelRecord) -> Declared:
    """Return an app with channels."""
    return Declared({record.name: record for record in records})


async def test_union_of_processes_is_known_and_the_last_that_began_counts(
    redis: RedisServer,
) -> None:
    """They are of one release, so that of two which differ the newer process has newer code."""
    old = Other(redis.url, declared(ChannelRecord("a", "/a"), ChannelRecord("b", "/b")))
    new = Other(redis.url, declared(ChannelRecord("b", "/new-b"), ChannelRecord("c", "/c")))
    await old.announce()
    await new.announce()
    await old.control.processes.announce()
    found = await Catalog(new.broker, (), "Redis").declared()

    assert {name: each.rule for name, each in found.channels.items()} == {
        "a": "/a",
        "b": "/new-b",
        "c": "/c",
    }
    await old.end()
    await new.end()


async def test_what_was_read_is_kept_for_a_minute_and_while_no_process_lives(
    redis: RedisServer, clock: Clock
) -> None:
    """An unknown name is looked for again at once, but not more than once a second."""
    one = Other(redis.url, declared(ChannelRecord("a", "/a")))
    await one.announce()
    reader = RedisBroker(redis.url)
    found = Catalog(reader, (), "Redis")
    assert (await found.find("a")).record.rule == "/a"
    clock.now += 2
    two = Other(redis.url, declared(ChannelRecord("a", "/new-a"), ChannelRecord("b", "/b")))
    await two.announce()

    assert (await found.find("a")).record.rule == "/a", "within the minute"
    assert (await found.find("b")).record.rule == "/b", "it was unknown"
    assert (await found.find("a")).record.rule == "/new-a"
    await one.end()
    await two.end()
    three = Other(redis.url, declared(ChannelRecord("c", "/c")))
    await three.announce()
    with pytest.raises(UnknownChannelError):
        await found.find("c")
    clock.now += 1.1
    await found.find("c")
    await three.end()
    clock.now += 61
    assert (await found.find("c")).record.rule == "/c", "no process lives"
    with pytest.raises(SetupError, match="No process of the app"):
        await Catalog(reader, (), "Redis").declared()
    await reader.stop()


async def test_reading_that_fails_published_nothing(redis: RedisServer) -> None:
    """Whatever became of the question."""
    broker = RedisBroker(redis.url, timeout=0.2)
    redis.freeze()
    try:
        with pytest.raises(BrokerUnavailable, match="Nothing was published") as raised:
            await Catalog(broker, (), "Redis").declared()
    finally:
        redis.thaw()
    assert raised.value.maybe_published is False
    assert "may have been" not in str(raised.value)
    await broker.stop()


async def test_converter_of_the_apps_own_needs_the_channel(redis: RedisServer) -> None:
    """As the app's channel, or as a record."""
    site = Site(redis.url)
    site.app.url_map.converters["slug"] = Slug
    pages = site.sse.channel("pages", "/pages/<slug:name>", public=True, history=7)
    async with serving(site):
        async with AsyncPublisher(redis.url) as publisher:
            await publisher.topic("news").publish("said")
            with pytest.raises(SetupError, match=r"'slug'.*channels="):
                await publisher.topic("pages", name="tea").publish("said")
        record = ChannelRecord("pages", "/pages/<slug:name>", converters={"slug": Slug})
        for given in ([pages], site.sse.channels, [record]):
            async with AsyncPublisher(redis.url, channels=given) as publisher:
                await publisher.topic("pages", name="tea").publish("said", "x")
                await publisher.topic("rooms", room=3).publish("said", "x")
                with pytest.raises(ParameterError):
                    await publisher.topic("pages", name="TEA").publish("said")
        assert len(await pages.topic(name="tea").history()) == 3
        assert pages.record().history == 7


async def test_given_channels_need_no_process(redis: RedisServer) -> None:
    """But a converter that is not named is an error, as is a channel without an app."""
    room = ChannelRecord("room", "/room/<int:id>", fragments=["list"])
    async with AsyncPublisher(redis.url, channels=[room]) as publisher:
        assert await publisher.topic("room", id=3).publish("said")
        await publisher.everyone.publish("said")
    wrong = ChannelRecord("room", "/room/<slug:id>")
    async with AsyncPublisher(redis.url, channels=[wrong]) as publisher:
        with pytest.raises(DeclarationError, match="slug"):
            await publisher.topic("room", id="x").publish("said")
    with pytest.raises(SetupError, match="serves no app"):
        AsyncPublisher(redis.url, channels=[SSE().channel("a", "/a")])


@pytest.mark.parametrize(
    ("params", "are_texts", "topic"),
    [({"id": 3}, False, "room?id=3"), ({"id": "3"}, True, "room?id=3")],
)
def test_topic_is_selected_by_values_and_by_texts(
    params: Mapping[str, Any], are_texts: bool, topic: str
) -> None:
    """Texts are what stands in a URL."""
    url_map = make_map("/sse", {"room": "/room/<int:id>"}, {})
    known = Known(ChannelRecord("room", "/room/<int:id>"), url_map)

    assert known.select(params, are_texts=are_texts) == topic


def test_events_are_checked_where_they_are_declared() -> None:
    """A channel that declares none may have any."""
    url_map = make_map("/sse", {"a": "/a"}, {})
    assert Known(ChannelRecord("a", "/a"), url_map).has_event("sayd")
    known = Known(ChannelRecord("a", "/a", events=["said"]), url_map)
    assert known.has_event("said")
    assert not known.has_event("sayd")
    with pytest.raises(EventError, match="Did you mean 'said'"):
        known.declares.find("sayd")


async def test_tasks_at_once_read_the_same(redis: RedisServer) -> None:
    """None sees a half of it."""
    one = Other(redis.url, declared(ChannelRecord("a", "/a")))
    await one.announce()
    found = Catalog(one.broker, (), "Redis")
    known = await asyncio.gather(*(found.find("a") for _ in range(20)))

    assert {each.record.rule for each in known} == {"/a"}
    await one.end()
