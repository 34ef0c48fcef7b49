"""The extension in a Quart app: its endpoints, hooks, macros and middleware."""

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from quart import Quart, utils

from quart_sse import SSE, SetupError
from quart_sse.broker import MemoryBroker
from quart_sse.channels import Channel
from quart_sse.config import Config
from quart_sse.host import Host
from quart_sse.quart.installation import Installation, reloader
from quart_sse.server import Middleware
from quart_sse.wire import Id
from tests.support.pages import get_text, viewing
from tests.support.streams import client_of


async def identify(host: Host) -> str | None:
    """Return that all are visitors."""
    return None


@pytest.fixture
def declared() -> dict[str, Channel]:
    """Channels that were declared before there was an app."""
    sse = SSE()
    sse.channel("board", "/board", public=True)
    return sse.channels


@pytest.fixture
def installation(app: Quart, declared: dict[str, Channel]) -> Installation:
    """The extension, installed."""
    installation = Installation(app, declared, identify, Config(url_prefix="/live"))
    installation.install()
    return installation


def endpoints(app: Quart) -> dict[str, str]:
    """Return the extension's endpoints and their rules."""
    return {rule.endpoint: rule.rule for rule in app.url_map.iter_rules() if "sse" in rule.endpoint}


@pytest.mark.usefixtures("installation")
def test_every_channel_has_endpoints_below_the_prefix(app: Quart) -> None:
    """One for its stream, one for its fragments, beside those that all channels share."""
    assert endpoints(app) == {
        "sse.connect": "/live",
        "sse.static": "/live/~static/<path:filename>",
        "sse.publish": "/live/~publish",
        "sse.stats": "/live/~stats",
        "sse.board.stream": "/live/board",
        "sse.board.fragment": "/live/~/<fragment>/board",
    }


def test_channel_that_comes_later_has_them_too(app: Quart, installation: Installation) -> None:
    """A module that declares it may be imported when the app is there."""
    installation.add_channel(SSE().channel("news", "/news"))

    assert endpoints(app)["sse.news.stream"] == "/live/news"


def test_app_is_inside_the_middleware(app: Quart, installation: Installation) -> None:
    """It sees each request before the app does, and all that the app answers."""
    assert isinstance(app.asgi_app, Middleware)
    assert app.jinja_env.globals["_quart_sse"] is installation.services.macros


async def test_services_live_as_long_as_the_app_serves(
    app: Quart, installation: Installation
) -> None:
    """The broker is started and stopped with it."""
    states = [installation.services.broker.state.value]
    async with app.test_app():
        states.append(installation.services.broker.state.value)
    states.append(installation.services.broker.state.value)

    assert states == ["starting", "ready", "stopped"]


class Threads(ThreadPoolExecutor):
    """Threads that note what they are given."""

    def __init__(self) -> None:
        super().__init__(1)
        self.given: list[Any] = []

    def submit(self, function: Any, /, *args: Any, **options: Any) -> Future[Any]:
        """Note it, and run it."""
        self.given.append((function, args))
        return super().submit(function, *args, **options)


@pytest.mark.usefixtures("rooms")
async def test_hooks_of_the_extension_need_no_thread(app: Quart) -> None:
    """Quart runs sync functions in threads, for each answer of the app."""

    @app.get("/plain")
    async def plain() -> str:
        return "plain"

    threads = Threads()
    asyncio.get_running_loop().set_default_executor(threads)
    client = client_of(app, "ada")
    async with app.test_app():
        assert await get_text(client, "/plain") == "plain"
        async with viewing(client) as stream:
            await stream.next("sse-open")
            assert threads.given == []

    @app.get("/sync")
    def sync() -> str:
        return "sync"

    assert await get_text(client, "/sync") == "sync"
    assert len(threads.given) == 1


def test_reloader_of_quart_is_known_by_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Quart without it does no harm: then streams end when the server stops."""
    assert reloader() is utils.observe_changes.__code__
    monkeypatch.delattr(utils, "observe_changes")
    assert reloader() is None


async def test_broker_of_the_app_s_own_is_used(app: Quart) -> None:
    """It carries what the app publishes, whatever the settings say."""
    broker = MemoryBroker()
    app.config["QUART_SSE_BROKER_URL"] = "redis://localhost:1"
    sse = SSE(app, broker=broker)
    news = sse.channel("news", "/news", public=True)

    async with app.test_app():
        assert sse.broker is broker
        published = await news.topic().publish("said", "x")

    assert broker.known.events == Id.parse(published.id)


def test_broker_serves_one_app() -> None:
    """Two hubs at one broker would each miss what the other receives."""
    sse, broker, first = SSE(), MemoryBroker(), Quart("one")
    sse.init_app(first, broker=broker)

    with pytest.raises(SetupError, match="Make one for each app"):
        sse.init_app(Quart("two"), broker=broker)


def test_broker_without_an_app_is_an_error() -> None:
    """It would be kept by none, and a broker of the settings be used instead."""
    with pytest.raises(SetupError, match="init_app"):
        SSE(broker=MemoryBroker())
