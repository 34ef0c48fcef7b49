"""What an app publishes is captured, whether or not a page is open."""

import asyncio
import contextlib

import pytest
from quart import Quart
from quart.testing import QuartClient

from quart_sse import SSE, BrokerUnavailable, EventError, ParameterError, SetupError
from quart_sse.testing import (
    CapturedEvent,
    CapturedFragment,
    CapturedNotification,
    capture,
    live,
)
from tests.apps.tested import make_app

TOPIC = "comments?discussion_id=7"


async def test_events_and_refreshes_are_lists(on_each_broker: tuple[Quart, SSE]) -> None:
    """In their order, equal to what a test writes down; nothing else is in them."""
    app, sse = on_each_broker
    client = QuartClient(app)
    with capture(sse) as captured:
        await client.post("/discussion/7", form={"text": "hello"})
        await sse.topic("clock").push("now", "<1>")
        await sse.everyone.publish("late", "42", where={"role": ["admin"]})

    assert captured.events == [
        CapturedEvent(TOPIC, "comment-added", {"by": None}),
        CapturedEvent("everyone", "late", "42", {"role": ["admin"]}),
    ]
    assert captured.fragments == [
        *(CapturedFragment(TOPIC, name) for name in ("list", "count", "mine")),
        CapturedFragment("clock", "now", "&lt;1&gt;"),
    ]


async def test_what_is_published_elsewhere_in_the_process_is_captured(
    on_each_broker: tuple[Quart, SSE],
) -> None:
    """In hooks, in threads with loops of their own, and while a page is open."""
    app, sse = on_each_broker
    client = QuartClient(app)
    with capture(sse) as captured:
        async with live(client, "/apart") as page:
            await client.post("/thread")
            assert await page.event("clock.ticked") == "from a thread"
            async with live(client, "/discussion/7"):
                pass
            assert await page.event("clock.left") is None

    names = [event.name for event in captured.of(sse.topic("clock")).events]
    assert names[:2] == ["ticked", "left"]


async def test_batches_and_what_is_published_soon_are_captured(
    on_each_broker: tuple[Quart, SSE],
) -> None:
    """What is sent together is noted in its order; a batch that raises publishes nothing."""
    _, sse = on_each_broker
    topic = sse.topic("clock")
    with capture(sse) as captured:
        async with sse.batch():
            await topic.publish("a", 1)
            await topic.refresh("now")
            await topic.publish("b", 2)
            assert captured.events == []
        with contextlib.suppress(ZeroDivisionError):
            async with sse.batch():
                await topic.publish("never")
                raise ZeroDivisionError
        await asyncio.wrap_future(topic.publish_soon("c", 3))

    assert [(event.name, event.data) for event in captured.events] == [("a", 1), ("b", 2), ("c", 3)]
    assert captured.fragments == [CapturedFragment("clock", "now")]


async def test_target_has_its_own(sse: SSE) -> None:
    """A topic, a user, or the name of one."""
    with capture(sse) as captured:
        await sse.user("mira").publish("a", 1)
        await sse.channels["comments"].everyone.publish("b", 2)
        await sse.topic("clock").refresh("now")

    assert [event.data for event in captured.of(sse.user("mira")).events] == [1]
    assert [event.data for event in captured.of(sse.channels["comments"].everyone).events] == [2]
    assert captured.of("clock").fragments == [CapturedFragment("clock", "now")]
    assert captured.of("clock").events == []
    assert "CapturedEvent(topic='user?identity=mira', name='a', data=1" in repr(captured)
    captured.clear()
    assert (captured.events, captured.fragments) == ([], [])
    with pytest.raises(ParameterError, match="Pass a topic"):
        captured.of(sse.channels["clock"])  # type: ignore[arg-type]


async def test_only_what_was_published_within_the_block_and_confirmed(sse: SSE) -> None:
    """An error of the call publishes nothing; afterwards nothing is captured."""
    topic = sse.topic("clock")
    with capture(sse) as captured, pytest.raises(EventError):
        await topic.publish("message")
    await topic.publish("later")
    assert captured.events == []

    _, away = make_app(QUART_SSE_BROKER_URL="redis://127.0.0.1:1", QUART_SSE_BROKER_TIMEOUT=0.1)
    with capture(away) as captured:
        with pytest.raises(BrokerUnavailable):
            await away.topic("clock").publish("never")
        with pytest.raises(BrokerUnavailable):
            await away.topic("clock").refresh("now")
    assert (captured.events, captured.fragments) == ([], [])


async def test_captures_may_overlap(sse: SSE) -> None:
    """Each ends by itself, in whichever order."""
    topic = sse.topic("clock")
    outer, inner = capture(sse), capture(sse)
    one = outer.__enter__()
    other = inner.__enter__()
    await topic.publish("both")
    outer.__exit__(None, None, None)
    await topic.publish("second")
    inner.__exit__(None, None, None)
    await topic.publish("neither")

    assert [event.name for event in one.events] == ["both"]
    assert [event.name for event in other.events] == ["both", "second"]


def test_nothing_serves_yet() -> None:
    """Without an app nothing can be captured, and a test that passes would say nothing."""
    with pytest.raises(SetupError, match="init_app"), capture(SSE()):
        pass


def test_without_a_loop_or_a_client(sse: SSE, app: Quart) -> None:
    """A plain function is tested by what it publishes."""

    async def job() -> None:
        async with app.app_context():
            await sse.topic("clock").publish("done", [1])

    with capture(sse) as captured:
        asyncio.run(job())

    assert captured.events == [CapturedEvent("clock", "done", [1])]


async def test_filter_that_is_a_function_is_itself(sse: SSE) -> None:
    """A test can call it."""
    with capture(sse) as captured:
        await sse.topic("clock").publish("a", where=lambda metadata: metadata["role"] == "admin")

    assert captured.events[0].where({"role": "admin"})


async def test_notifications_are_apart_from_events(on_each_broker: tuple[Quart, SSE]) -> None:
    """As they were published, of one target or of all."""
    _, sse = on_each_broker
    with capture(sse) as captured:
        await sse.user("7").notify("Saved", level="success", title="Oh", data={"a": 1})
        await sse.everyone.notify("Late", where={"role": ["admin"]})
        saved = CapturedNotification("user?identity=7", "Saved", "success", "Oh", {"a": 1})
        late = CapturedNotification("everyone", "Late", where={"role": ["admin"]})
        assert captured.notifications == [saved, late]
        assert captured.of(sse.everyone).notifications == [late]
        assert "notifications=[" in repr(captured)
        captured.clear()

        assert (captured.events, captured.notifications) == ([], [])
