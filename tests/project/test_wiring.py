"""Wiring: what an app is served by is made in one place, and apart for each app."""

import dataclasses

import pytest
from quart import Quart

from quart_sse import SSE
from quart_sse.broker import MemoryBroker
from quart_sse.broker.redis import RedisBroker
from quart_sse.config import Config
from quart_sse.wiring import Services, make_broker


@pytest.mark.parametrize(
    ("url", "broker"),
    [
        ("memory://", MemoryBroker),
        ("redis://localhost:1", RedisBroker),
        ("rediss://localhost:1", RedisBroker),
        ("unix:///nowhere.sock", RedisBroker),
    ],
)
async def test_broker_is_that_of_the_url(url: str, broker: type) -> None:
    """It is made without connecting to anything."""
    assert type(make_broker(Config(broker_url=url))) is broker


def test_apps_of_one_extension_share_nothing_but_the_channels() -> None:
    """What one app keeps of its streams and pages never shows in another."""
    sse, apps = SSE(), (Quart("one"), Quart("two"))
    for app in apps:
        sse.init_app(app)
    one, two = (app.extensions["quart_sse"] for app in apps)
    assert isinstance(one, Services)
    assert isinstance(two, Services)

    shared = {
        field.name
        for field in dataclasses.fields(Services)
        if getattr(one, field.name) is getattr(two, field.name)
    }

    assert shared == set()
    assert one.channels.declared is two.channels.declared is sse.channels


async def test_start_and_stop_are_those_of_the_whole_process() -> None:
    """After the stop no task is left, and streams are refused."""
    app = Quart(__name__)
    SSE(app)
    services = app.extensions["quart_sse"]

    await services.start()
    assert services.lifecycle.is_started
    assert services.control.processes.own is not None
    await services.stop()

    assert not services.lifecycle.is_started
    assert services.control.processes.own is None
    assert services.connections.is_closing
