"""Event types: what is published by them, and what is refused, wherever events come from."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from quart_sse import (
    AsyncPublisher,
    DeclarationError,
    Event,
    EventError,
    EventType,
    Publisher,
    SetupError,
)
from quart_sse.cli.data_types import type_of
from quart_sse.publisher import targets
from quart_sse.testing import capture
from tests.support.redis_server import RedisServer, running_redis
from tests.support.shops import Gone, Order, Shop
from tests.support.sites import heard, serving
from tests.support.streams import Stream, open_stream

ORDER = '{"id": 1, "note": null, "shop": 1}'


@pytest.fixture(params=["memory", "redis"])
async def shop(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Shop]:
    """A site of one process, with a broker of each kind."""
    async with AsyncExitStack() as stack:
        url = "memory://"
        if request.param == "redis":
            url = (await stack.enter_async_context(running_redis(tmp_path))).url
        shop = Shop(url)
        await stack.enter_async_context(serving(shop))
        yield shop


async def events(stream: Stream, count: int) -> list[tuple[str, str]]:
    """Return the next events; what they refresh is sent meanwhile."""
    found: list[tuple[str, str]] = []
    while len(found) < count:
        found += [each for each in await heard(stream, 1) if each[0] != "message"]
    return found


async def test_data_are_sent_as_json_of_the_app(shop: Shop) -> None:
    """By the type and by the name, at once, soon and in a batch; to all targets."""
    topic = shop.orders.topic(shop=1)
    saved = EventType("saved", Gone)
    async with open_stream(shop.app, "/sse/orders/1") as stream:
        await topic.publish(shop.created, Order(1, shop=1))
        await topic.publish("created", Order(1, shop=1))
        await topic.publish("gone", {"id": 2})
        await asyncio.wrap_future(topic.publish_soon(shop.gone, Gone(id=3)))
        async with shop.sse.batch():
            await topic.publish(shop.gone, Gone(id=4))
        await topic.publish("noted", ["anything", 1])
        await shop.sse.everyone.publish(saved, Gone(id=5))
        assert await events(stream, 7) == [
            ("created", ORDER),
            ("created", ORDER),
            ("gone", '{"id": 2}'),
            ("gone", '{"id": 3}'),
            ("gone", '{"id": 4}'),
            ("noted", '["anything", 1]'),
            ("everyone.saved", '{"id": 5}'),
        ]


WRONG: list[tuple[Any, Any, str]] = [
    ("createx", 1, "Channel 'orders' has no event 'createx'. Did you mean 'created'?"),
    ("x", 1, "Declared: created, gone, noted. Declare it with orders.event('x', ...)"),
    ("created", {"id": 1}, "type Order: field 'shop' is missing"),
    ("created", "text", "it is 'text', and must be an object"),
    ("created", '{"id": 1, "shop": 1, "note": null}', "and must be an object"),
    ("created", Order("1", shop=1), "field 'id' is '1', and must be an integer"),  # type: ignore[arg-type]
    ("gone", {"id": 1, "extra": 2}, "there is no field 'extra'"),
    ("gone", {"id": True}, "must be an integer"),
    ("gone", None, "it is None"),
    (EventType("created", Order), {"id": 1, "shop": 1}, "of type dict, and must be a Order"),
    (EventType("elsewhere", Gone), {"id": 1}, "no event 'elsewhere'"),
    (EventType("gone", dict), {"ix": 1}, "field 'id' is missing"),
    ("message", 1, "reserved"),
]


@pytest.mark.parametrize(("event", "data", "text"), WRONG, ids=range(len(WRONG)))
async def test_wrong_data_and_unknown_names_are_refused(
    shop: Shop, event: Any, data: Any, text: str
) -> None:
    """Whatever publishes; nothing of it reaches a client, and no function is asked."""
    topic = shop.orders.topic(shop=1)

    async def batch() -> None:
        async with shop.sse.batch():
            await topic.publish("noted", 1)
            await topic.publish(event, data)

    calls: list[Any] = [
        lambda: topic.publish(event, data),
        lambda: asyncio.wrap_future(topic.publish_soon(event, data)),
        batch,
    ]
    with capture(shop.sse) as captured:
        for call in calls:
            with pytest.raises(EventError) as caught:
                await call()
            assert text in str(caught.value)
        assert (captured.events, captured.fragments) == ([], [])
    assert shop.asked == []


async def test_channel_that_declares_none_may_have_any(shop: Shop) -> None:
    """And fragments and reserved names have nothing to do with events."""
    await shop.room().publish("said", "x")
    await shop.room().publish(EventType("said", str), "x")
    await shop.orders.topic(shop=1).refresh("list")
    await shop.sse.everyone.reload()
    with pytest.raises(EventError, match=r"'gone' is declared by channel 'orders'.*'rooms'"):
        await shop.room().publish(shop.gone, Gone(id=1))
    with pytest.raises(EventError, match="no event 'closing'"):
        await shop.orders.everyone.publish("closing")


async def test_single_connection_is_sent_data_of_the_type(shop: Shop) -> None:
    """By its handle and by its id; its events are no channel's, so that other names are free."""
    async with shop.view(1) as (stream, handle):
        await handle.send(shop.gone, Gone(id=1))
        assert await shop.sse.send(handle.id, shop.created, Order(1, shop=1))
        await handle.send("anything", 1)
        sends: list[Any] = [handle.send, lambda *given: shop.sse.send(handle.id, *given)]
        for send in sends:
            with pytest.raises(EventError, match="must be a Order"):
                await send(shop.created, {"id": 1, "shop": 1})
            with pytest.raises(EventError, match="field 'id' is missing"):
                await send(shop.gone, {})
        assert await heard(stream, 3) == [
            ("connection.gone", '{"id": 1}'),
            ("connection.created", ORDER),
            ("connection.anything", "1"),
        ]


GIVEN: list[tuple[Any, str]] = [
    (lambda shop: (shop.gone, {"id": 1}), ""),
    (lambda shop: ("noted", 1), ""),
    (lambda shop: Event('{"id": 1}', name="gone"), ""),
    (lambda shop: ("closing", 1), "no event 'closing'"),
    (lambda shop: (shop.gone, {}), "field 'id' is missing"),
    (lambda shop: Event("{}", name="gone"), "field 'id' is missing"),
    (lambda shop: Event("{}", name="closing"), "no event 'closing'"),
]


@pytest.mark.parametrize(("given", "text"), GIVEN, ids=range(len(GIVEN)))
async def test_initial_events_are_declared_ones(
    given: Any, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A wrong one is an error of the function, which is logged."""
    shop = Shop("memory://")
    made = given(shop)
    shop.orders.initial(lambda shop: [made])
    async with serving(shop), open_stream(shop.app, "/sse/orders/1") as stream:
        await shop.orders.topic(shop=1).publish("noted", "end")
        first = (await heard(stream, 1))[0]
    assert (first[1] == "end") is bool(text)
    assert text in caplog.text


# -- publishers without the app --------------------------------------------------------------------


async def test_publisher_knows_what_the_app_declares(redis: RedisServer) -> None:
    """Names and data are checked by what the processes declare; ``on=`` refreshes by itself."""
    shop = Shop(redis.url)
    created = EventType("created", Order)
    async with (
        serving(shop),
        AsyncPublisher(redis.url) as publisher,
        open_stream(shop.app, "/sse/orders/1") as stream,
    ):
        topic = publisher.topic("orders", shop=1)
        await topic.publish("gone", {"id": 1})
        await topic.publish(shop.gone, Gone(id=2))
        await topic.publish(created, Order(1, shop=1), refresh_on=False)
        await publisher.user("ada").publish(created, Order(1, shop=1))
        for event, data, text in WRONG:
            with pytest.raises(EventError) as caught:
                await topic.publish(event, data)
            if "type Order" not in text:  # a worker knows the fields, not the class
                assert text.partition("must be")[0] in str(caught.value)
        with pytest.raises(EventError, match="must be a Order"):
            await publisher.send("x", created, Gone(id=1))  # type: ignore[misc]
        assert await events(stream, 3) == [
            ("gone", '{"id": 1}'),
            ("gone", '{"id": 2}'),
            ("created", ORDER),
        ]


async def test_blocking_publisher_takes_types_too(redis: RedisServer) -> None:
    """With the same errors."""
    shop = Shop(redis.url)
    async with serving(shop), open_stream(shop.app, "/sse/orders/1") as stream:

        def work() -> None:
            with Publisher(redis.url) as publisher:
                topic = publisher.topic("orders", shop=1)
                topic.publish(shop.gone, Gone(id=1))
                with pytest.raises(EventError, match="field 'id' is missing"):
                    topic.publish("gone", {})
                with pytest.raises(EventError, match="must be a Order"):
                    publisher.send("x", shop.created, Gone(id=1))  # type: ignore[misc]

        await asyncio.to_thread(work)
        assert await events(stream, 1) == [("gone", '{"id": 1}')]


async def test_publisher_refreshes_what_pages_of_the_app_show(redis: RedisServer) -> None:
    """Of the topic's own fragments; what a function selects is left to the app."""
    shop = Shop(redis.url)
    async with serving(shop), AsyncPublisher(redis.url) as publisher:
        topic = publisher.topic("orders", shop=1)
        with pytest.raises(SetupError, match=r"'created' of 'orders'.*@stats\.refresh_on"):
            await topic.publish("created", {"id": 1, "shop": 1, "note": None})
        async with open_stream(shop.app, "/sse/orders/1") as stream:
            await topic.publish(shop.gone, Gone(id=1))
            assert (await stream.next("gone")).data == '{"id": 1}'
            assert "list" in (await stream.next("message")).data


async def test_event_that_was_declared_just_now_is_known(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a deployment: what a publisher has read is read again for an unknown name."""
    old, new = Shop(redis.url), Shop(redis.url)
    new.orders.event("paid", Gone)
    async with AsyncPublisher(redis.url) as publisher:
        topic = publisher.topic("orders", shop=1)
        async with serving(old):
            await topic.publish("noted", 1)
            with pytest.raises(EventError, match="no event 'paid'"):
                await topic.publish("paid", {"id": 1})
        async with serving(new):
            monkeypatch.setattr(targets, "AGAIN", 0.0)
            await topic.publish("paid", {"id": 1})
            with pytest.raises(EventError, match="field 'id' is missing"):
                await topic.publish("paid", {})


async def test_pydantic_models_are_types_too() -> None:
    """Their own JSON is sent; what came as JSON is validated, and functions are given models."""
    pydantic = pytest.importorskip("pydantic")
    item = pydantic.create_model("Item", at=datetime, count=(int, pydantic.Field(alias="n")))
    box = pydantic.create_model("Box", item=(item, ...), note=(str | None, None))
    shop = Shop("memory://")
    packed = shop.orders.event("packed", box)
    given: list[object] = []
    shop.stats.refresh_on(packed)(given.append)
    at = datetime(2026, 1, 2, tzinfo=UTC)
    one = box(item=item(at=at, n=1))
    text = '{"item": {"at": "2026-01-02T00:00:00Z", "n": 1}, "note": null}'
    async with serving(shop), open_stream(shop.app, "/sse/orders/1") as stream:
        topic = shop.orders.topic(shop=1)
        await topic.publish(packed, one)
        await topic.publish("packed", one)
        await topic.publish("packed", json.loads(text))
        with pytest.raises(EventError, match="must be a Box"):
            await topic.publish(packed, json.loads(text))
        with pytest.raises(EventError, match="field 'item', field 'n' is 'x'"):
            await topic.publish("packed", {"item": {"at": "", "n": "x"}, "note": None})
        assert await events(stream, 3) == [("packed", text)] * 3
    assert given == [one, one, one]
    assert type_of(packed.schema) == ("{ item: { at: string; n: number }; note?: string | null }")


def test_event_is_declared_once_and_of_a_type_that_json_has() -> None:
    """Errors name the event, the class and what to do."""
    shop = Shop("memory://")
    with pytest.raises(DeclarationError, match="has an event 'gone' already"):
        shop.orders.event("gone", Gone)
    with pytest.raises(DeclarationError, match="set cannot be the type of an event's data"):
        shop.orders.event("other", set)
    with pytest.raises(EventError, match="reserved"):
        shop.orders.event("sse-open", Gone)
    assert repr(shop.gone) == "<EventType 'gone' of Gone>"
