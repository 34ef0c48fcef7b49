"""A whole app, of which a type checker knows every type without being told."""

from collections.abc import Mapping
from typing import Any, assert_type

from quart import Quart, Response, render_template

from quart_sse import (
    SSE,
    Broker,
    BrokerUnavailable,
    Channel,
    Config,
    Event,
    Person,
    Presence,
    Process,
    Published,
    SSEError,
    Stats,
    Took,
    Topic,
)
from quart_sse.testing import CapturedEvent, LivePage, capture, live

app = Quart(__name__)
sse = SSE(app)
assert_type(sse.broker, Broker)
assert_type(sse.channels, dict[str, Channel])

chat = sse.channel("chat", "/chat/<int:room>", history=100, history_ttl=60.0)
assert_type(chat, Channel)
topic = chat.topic(room=7)
assert_type(topic, Topic)
assert_type(topic.name, str)
assert_type(topic.params, Mapping[str, Any])
assert_type(sse.topic("chat", room=7), Topic)


@sse.identity
async def identity() -> str | None:
    """Say who asks."""
    return None


@chat.authorize
async def may_read(room: int) -> bool:
    """Decide who may listen; a decorated function keeps its type."""
    return room > 0


@chat.fragment("messages", every=5.0, debounce=0.2, includes=["other.count"])
async def messages(room: int) -> str:
    """Render the fragment."""
    return await render_template("_messages.html", room=room)


@chat.fragment("mine", personal=True)
def mine(room: int) -> str:
    """Render what only one user sees, by a sync function."""
    return str(room)


@app.post("/say")
async def say() -> str:
    """Use everything that a topic can do."""
    assert_type(await may_read(room=7), bool)
    assert_type(mine(room=7), str)
    try:
        published = await topic.publish("said", {"text": "hello"}, to_others=True)
    except BrokerUnavailable as error:
        assert_type(error.maybe_published, bool)
        return ""
    except SSEError:
        return ""
    assert_type(published, Published)
    assert_type(published.id, str)
    assert_type(published.local_receivers, int)
    await topic.refresh("messages")
    await topic.push("messages", template="_messages.html", room=7)
    presence = await topic.presence()
    assert_type(presence, Presence)
    assert_type(presence.people, int)
    assert_type(presence.who, list[Person])
    assert_type(presence.identities, frozenset[str])
    await sse.disconnect(identity="7")
    await sse.recheck(topic)
    await sse.logout()
    stats = sse.stats()
    assert_type(stats, Stats)
    assert_type(stats.by_channel, Mapping[str, int])
    assert_type(stats.lag.p99, float | None)
    found = await sse.processes.stats()
    assert_type(found.total.renders, Took)
    assert_type(found.by_process, Mapping[Process, Stats])
    sse.stats_endpoint(authorize=lambda: True)
    assert_type(sse.metrics().exposition(), bytes)
    return sse.position()


@app.get("/ticker")
async def ticker() -> Response:
    """Answer by a stream."""
    hello = Event("hello", name="welcome", retry_ms=500)
    return await sse.stream(topic, initial=[hello], metadata={"page": 1}, identity=None)


assert_type(Config().history, int)
assert_type(Config.read({}, {}), Config)
Event("price", "42")  # type: ignore[call-arg]  # pyright: ignore  # a name is given by its keyword
chat.fragment("list", every="5")  # type: ignore[arg-type]  # pyright: ignore


async def test_page() -> None:
    """Open a page in a test, by a client or by the app."""
    async with live(app.test_client(), "/", timeout=1.0, headers={"Accept": "*/*"}) as page:
        assert_type(page, LivePage)
        assert_type(await page.fragment("chat.list", room=7), str)
        assert_type(page.closed, str | None)
    async with live(app, "/"), live(app.test_app(), "/"):
        pass
    with capture(sse) as captured:
        assert_type(captured.of(topic).events, list[CapturedEvent])
