"""Refreshes on events: what is recorded with an event, by whom, and when nothing is."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from quart import render_template_string
from redis.asyncio import Redis

from quart_sse import (
    AnswerError,
    DeclarationError,
    EventError,
    EventType,
    ParameterError,
    UnknownFragmentError,
)
from quart_sse.testing import Captured, CapturedFragment, capture
from tests.support.redis_server import RedisServer, running_redis
from tests.support.shops import Order, Shop
from tests.support.sites import Site, serving
from tests.support.streams import connect_urls, open_stream

PAGE = (
    '{% from "quart_sse/macros.html" import sse_fragment, sse_connect %}'
    '{{ sse_fragment("orders.list", shop=1) }}{{ sse_connect() }}'
)
LIST, COUNT = (CapturedFragment("orders?shop=1", name) for name in ("list", "count"))
SUM = CapturedFragment("stats?shop=1", "sum")


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


async def test_event_refreshes_what_is_declared(shop: Shop) -> None:
    """Of its own topic without a function, and of others by one; other events refresh nothing."""
    topic = shop.orders.topic(shop=1)
    with capture(shop.sse) as captured:
        await topic.publish(shop.created, Order(1, shop=1))
        assert captured.fragments == [LIST, COUNT, SUM]
        captured.clear()
        await topic.publish("gone", {"id": 1})
        assert captured.fragments == [LIST]
        captured.clear()
        await topic.publish("noted", "x")
        await topic.publish(shop.created, Order(2, shop=1), refresh_on=False)
        await shop.stats.topic(shop=1).publish("created", {"shop": 7})
        assert captured.fragments == []
        assert [event.name for event in captured.events] == ["noted", "created", "created"]
    assert shop.asked == [Order(1, shop=1)]


async def test_viewers_of_other_processes_see_it(redis: RedisServer) -> None:
    """The process that renders need not be the one that publishes."""
    here, there = Shop(redis.url), Shop(redis.url)
    async with serving(here, there), there.app.test_app():
        url = await _page(there)
        async with open_stream(there.app, url) as stream:
            await stream.next("sse-open")
            await here.orders.topic(shop=1).publish(here.created, Order(1, shop=1))
            assert (await stream.next("orders.created?shop=1")).data
            assert "list" in (await stream.next("message")).data
    assert here.renders == []


async def test_page_that_was_away_sees_both(shop: Shop) -> None:
    """The event and the change of the fragment, also where no events are kept."""
    url = await _page(shop)
    assert shop.renders == ["list of 1"]
    await shop.orders.topic(shop=1).publish(shop.created, Order(1, shop=1))
    async with open_stream(shop.app, url) as stream:
        assert (await stream.next("orders.created?shop=1")).data
        assert "list 2" in (await stream.next("message")).data


async def test_redis_records_both_in_one_script(redis: RedisServer) -> None:
    """So nothing can come between the event and what it refreshes."""
    shop = Shop(redis.url, probe=60)
    async with serving(shop), Redis.from_url(redis.url) as client:
        topic = shop.orders.topic(shop=1)
        await topic.publish(shop.created, Order(1, shop=1))  # loads the script
        await client.config_resetstat()
        await topic.publish(shop.created, Order(2, shop=1))
        told = await client.info("commandstats")

        assert told["cmdstat_hset"]["calls"] == 3
        assert told["cmdstat_xadd"]["calls"] == 1
        by_scripts = told["cmdstat_evalsha"]["calls"]
        await client.config_resetstat()
        await topic.publish("noted", "x", refresh_on=False)
        told = await client.info("commandstats")
        assert by_scripts == told["cmdstat_evalsha"]["calls"] == 1


async def _page(shop: Shop) -> str:
    """Return the URL by which a page with the list connects."""
    async with shop.app.test_request_context("/"):
        (url,) = connect_urls(await render_template_string(PAGE))
    return url


@pytest.mark.parametrize("url", ["memory://", "redis"])
async def test_channel_without_history_is_refreshed(url: str, redis: RedisServer) -> None:
    """Only events are not kept; the last change of a fragment is."""
    site = Site(redis.url if url == "redis" else url)
    rooms = site.sse.channel("halls", "/halls", public=True, history=0)
    renders: list[int] = []

    @rooms.fragment("list", on="said")
    def listed() -> str:
        renders.append(1)
        return f"render {len(renders)}"

    page = (
        '{% from "quart_sse/macros.html" import sse_fragment, sse_connect %}'
        '{{ sse_fragment("halls.list") }}{{ sse_connect() }}'
    )
    async with serving(site):
        async with site.app.test_request_context("/"):
            (connect,) = connect_urls(await render_template_string(page))
        await rooms.topic().publish("said", "x")
        async with open_stream(site.app, connect) as stream:
            assert "render 2" in (await stream.next("message")).data


async def test_refresh_is_for_all_whoever_the_event_is_for(shop: Shop) -> None:
    """A fragment is state, which also those see who are left out of the event."""
    with capture(shop.sse) as captured:
        topic = shop.orders.topic(shop=1)
        await topic.publish("gone", {"id": 1}, where={"role": "admin"})
        await topic.publish("gone", {"id": 1}, exclude="someone", to_others=True)
    assert captured.fragments == [LIST, LIST]


async def test_batch_refreshes_once_and_soon_keeps_the_order(shop: Shop) -> None:
    """The refresh comes behind the last event that causes it; dropped events refresh nothing."""
    topic = shop.orders.topic(shop=1)
    with capture(shop.sse) as captured:
        async with shop.sse.batch():
            await topic.publish("gone", {"id": 1})
            topic.publish_soon(shop.created, Order(2, shop=1))
            await topic.publish("gone", {"id": 3})
        assert captured.fragments == [LIST, COUNT, SUM]
        assert len(captured.events) == 3
        captured.clear()
        with suppress(ZeroDivisionError):
            async with shop.sse.batch():
                await topic.publish("gone", {"id": 1})
                raise ZeroDivisionError
        assert (captured.events, captured.fragments) == ([], [])
        order = Order(4, shop=1)
        future = topic.publish_soon(shop.created, order)
        order.shop = 9  # what changes afterwards does not count
        await asyncio.wrap_future(future)
        assert captured.fragments == [LIST, COUNT, SUM]


async def test_event_for_everyone_refreshes_by_a_function(shop: Shop) -> None:
    """Which may be async, and may return several topics or none; all fragments without names."""
    with capture(shop.sse) as captured:
        await shop.sse.everyone.publish("closed", [1, 2, 1])
        await shop.sse.everyone.publish("closed")
        await shop.sse.user("ada").publish("closed", [3])
    assert shop.asked == [[1, 2, 1], None]
    assert captured.fragments == [
        CapturedFragment(f"stats?shop={number}", name)
        for number in (1, 2)
        for name in ("sum", "chart")
    ]


async def test_whole_channel_is_refreshed_only_if_it_has_one_topic(shop: Shop) -> None:
    """There is no list of the topics of others, so the error says what to do."""
    with capture(shop.sse) as captured:
        with pytest.raises(EventError, match=r"orders\.everyone is no topic.*refresh_on=False"):
            await shop.orders.everyone.publish("gone", {"id": 1})
        assert captured.events == []
        await shop.orders.everyone.publish("gone", {"id": 1}, refresh_on=False)
        assert captured.fragments == []


async def test_single_topic_stands_for_its_channel() -> None:
    """Of a rule without parameters."""
    site = Site("memory://")
    site.news.fragment("list", on="said")(lambda: "")
    async with serving(site):
        with capture(site.sse) as captured:
            await site.news.everyone.publish("said")
    assert captured.fragments == [CapturedFragment("news", "list")]


WRONG: list[tuple[Any, type[Exception], str]] = [
    (lambda data: 1 / 0, ZeroDivisionError, "division"),
    (lambda data: "room", AnswerError, "returned 'room'. Return the parameters"),
    (lambda data: [{"shop": 1}, 7], AnswerError, "list of such dicts, or None"),
    (lambda data: {"room": 1}, ParameterError, "takes shop, not room"),
    (lambda data: {"shop": "x"}, ParameterError, "shop='x'"),
    (lambda data: [{"shop": number} for number in range(40)], EventError, "refreshes 80 fragments"),
]


@pytest.mark.parametrize(("function", "kind", "text"), WRONG, ids=range(len(WRONG)))
@pytest.mark.parametrize("is_async", [False, True])
async def test_nothing_is_published_if_a_function_fails(
    function: Any, kind: type[Exception], text: str, is_async: bool
) -> None:
    """The error is the caller's, and says which function it comes from."""
    shop = Shop("memory://")

    async def later(data: object) -> Any:
        return function(data)

    shop.stats.refresh_on("rooms.said")(later if is_async else function)
    async with serving(shop):
        with capture(shop.sse) as captured:
            with pytest.raises(kind) as caught:
                await shop.room().publish("said", "x")
            failed = shop.room().publish_soon("said", "x")
            with pytest.raises(kind):
                await asyncio.wrap_future(failed)
        assert (captured.events, captured.fragments) == ([], [])
    told = " ".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
    assert text in told
    if kind is not EventError:
        assert "refresh_on" in told
        assert "othing was published" in told


async def test_unknown_fragment_is_named() -> None:
    """When the event is published: fragments may be declared after the function."""
    shop = Shop("memory://")
    shop.stats.refresh_on("rooms.said", "sums")(lambda data: {"shop": 1})
    async with serving(shop):
        with pytest.raises(UnknownFragmentError, match="no fragment 'sums'"):
            await shop.room().publish("said")


async def test_function_gets_data_of_its_type_however_they_came(shop: Shop) -> None:
    """JSON of another program is made into the dataclass."""
    with capture(shop.sse) as captured:
        await shop.orders.topic(shop=1).publish("created", {"id": 1, "shop": 1, "note": None})
    assert shop.asked == [Order(1, shop=1)]
    assert _refreshed(captured) == ["list", "count", "sum"]


def _refreshed(captured: Captured) -> list[str]:
    return [each.name for each in captured.fragments]


BAD: list[tuple[Any, str]] = [
    (lambda shop: shop.orders.fragment("x", on="message"), "on='message' names no event"),
    (lambda shop: shop.orders.fragment("x", on=["a", 3]), "on=3 names no event"),
    (lambda shop: shop.stats.fragment("x", on=shop.created), "@stats.refresh_on"),
    (lambda shop: shop.stats.refresh_on("created"), "'channel.event'"),
    (lambda shop: shop.stats.refresh_on("orders."), "'channel.event'"),
    (lambda shop: shop.stats.refresh_on("orders.sse-open"), "is reserved"),
    (lambda shop: shop.stats.refresh_on(EventType("x", str)), "names no event of a channel"),
]


@pytest.mark.parametrize(("declare", "text"), BAD, ids=range(len(BAD)))
def test_what_names_no_event_is_refused_at_once(declare: Any, text: str) -> None:
    """Where it is declared."""
    with pytest.raises(DeclarationError, match=text):
        declare(Shop("memory://"))


TYPOS: list[tuple[Any, str]] = [
    (lambda shop: shop.stats.refresh_on("order.created"), "Did you mean 'orders'?"),
    (lambda shop: shop.stats.refresh_on("orders.create"), "Did you mean 'created'?"),
    (lambda shop: shop.orders.fragment("x", on="createx"), "Did you mean 'created'?"),
    (lambda shop: shop.stats.refresh_on("connection.created"), "no channel 'connection'"),
]


@pytest.mark.parametrize(("declare", "text"), TYPOS, ids=range(len(TYPOS)))
async def test_event_that_nothing_declares_keeps_the_app_from_serving(
    declare: Any, text: str
) -> None:
    """Channels may be declared in any order, so it is looked at when the app starts."""
    shop = Shop("memory://")
    declare(shop)(lambda *values: None)
    with pytest.raises(DeclarationError, match=text.replace("?", r"\?")):
        await shop.app.startup()
