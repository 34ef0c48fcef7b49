"""What serves an app is made in one place, for any framework."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from werkzeug.routing import Map, Rule

from quart_sse.broker import Kind, MemoryBroker, Message
from quart_sse.broker.redis import RedisBroker
from quart_sse.channels import Channel
from quart_sse.config import Config
from quart_sse.host import Exchange, Host, Sites
from quart_sse.wire import ZERO
from quart_sse.wiring import Services, make_broker, wire


class NoFramework:
    """A host that stands on nothing but an ASGI server."""

    def __init__(self) -> None:
        self._exchange = Exchange(None)

    @property
    def url_map(self) -> Map:
        """A map of one channel."""
        return Map([Rule("/sse/board", endpoint="sse.board.stream")])

    def keys(self) -> list[bytes]:
        """Return one key."""
        return [b"for tests only"]

    def dumps(self, value: Any) -> str:
        """Write anything."""
        return repr(value)

    def exchange(self) -> Exchange:
        """Return the only one."""
        return self._exchange

    def header(self, name: str) -> str:
        """Return nothing."""
        return ""

    def root(self) -> str:
        """Return that the app is at the root."""
        return ""

    def sites(self) -> Sites:
        """Return that nothing is said."""
        return Sites(frozenset(), None)

    async def call(self, function: Callable[..., Any], values: Mapping[str, Any]) -> Any:
        """Call an async function."""
        return await function(**values)

    async def template(self, name: str, context: Mapping[str, Any]) -> str:
        """Render nothing."""
        return ""

    async def render(
        self, path: str, root: str, exchange: Exchange, function: Callable[[], Awaitable[str]]
    ) -> str:
        """Call the function, in no request."""
        return await function()


async def identify(host: Host) -> str | None:
    """Return that all are visitors."""
    return None


def serve(channels: Mapping[str, Channel] | None = None) -> Services:
    """Return what serves an app of no framework."""
    return wire(NoFramework(), MemoryBroker(), channels or {}, identify, Config())


def test_nothing_is_started_when_it_is_made() -> None:
    """An app may be made where no event loop runs, and forked."""
    services = serve()

    assert services.broker.state.value == "starting"
    assert services.control.processes.own is None
    assert len(services.connections) == 0


async def test_services_end_all_that_they_begin() -> None:
    """Also when an app is served a second time."""
    services = serve()
    before = asyncio.all_tasks()
    for _ in range(2):
        await services.start()
        assert services.broker.state.value == "ready"
        await services.stop()

    assert services.broker.state.value == "stopped"
    assert asyncio.all_tasks() == before


async def test_hub_is_given_what_the_broker_delivers() -> None:
    """The services of one app know each other, and none of another app."""
    one, other = serve(), serve()
    await one.start()
    await other.start()
    await one.broker.publish(Message(Kind.PROBE, ZERO, ""), one.channels.keep("board"))

    assert one.hub.position == one.broker.known
    assert other.hub.position == other.broker.known
    assert one.hub.position.epoch != other.hub.position.epoch
    await one.stop()
    await other.stop()


def test_url_says_which_broker() -> None:
    """All that a Redis broker needs is in the settings."""
    assert isinstance(make_broker(Config()), MemoryBroker)
    assert isinstance(make_broker(Config(broker_url="redis://127.0.0.1")), RedisBroker)
