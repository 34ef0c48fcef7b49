"""What serves an app is made in one place, for any framework."""

import asyncio
import dataclasses
from collections.abc import Mapping

from quart_sse.broker import Kind, MemoryBroker, Message
from quart_sse.broker.redis import RedisBroker
from quart_sse.channels import Channel
from quart_sse.config import Config
from quart_sse.host import Host
from quart_sse.wire import ZERO
from quart_sse.wiring import Services, make_broker, wire
from tests.support.plain_host import PlainHost


async def identify(host: Host) -> str | None:
    """Return that all are visitors."""
    return None


def serve(channels: Mapping[str, Channel] | None = None) -> Services:
    """Return what serves an app of no framework."""
    return wire(
        PlainHost(lambda: None),
        MemoryBroker(),
        {} if channels is None else channels,
        identify,
        Config(),
    )


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
        await services.lifecycle.start()
        assert services.broker.state.value == "ready"
        await services.lifecycle.stop()

    assert services.broker.state.value == "stopped"
    assert asyncio.all_tasks() == before


async def test_hub_is_given_what_the_broker_delivers() -> None:
    """The services of one app know each other, and none of another app."""
    one, other = serve(), serve()
    await one.lifecycle.start()
    await other.lifecycle.start()
    await one.broker.publish(Message(Kind.PROBE, ZERO, ""), one.channels.keep("board"))

    assert one.hub.position == one.broker.known
    assert other.hub.position == other.broker.known
    assert one.hub.position.epoch != other.hub.position.epoch
    await one.lifecycle.stop()
    await other.lifecycle.stop()


def test_apps_of_one_extension_share_nothing_but_the_channels() -> None:
    """What one app keeps of its streams and pages never shows in another."""
    channels: dict[str, Channel] = {}
    one, two = serve(channels), serve(channels)
    shared = {
        field.name
        for field in dataclasses.fields(Services)
        if field.name != "config" and getattr(one, field.name) is getattr(two, field.name)
    }

    assert shared == set()
    assert one.channels.declared is two.channels.declared is channels


def test_url_says_which_broker() -> None:
    """All that a Redis broker needs is in the settings."""
    assert isinstance(make_broker(Config()), MemoryBroker)
    assert isinstance(make_broker(Config(broker_url="redis://127.0.0.1")), RedisBroker)
