"""What several tests of ``quart_sse.testing`` use."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from quart import Quart
from quart.testing import QuartClient

from quart_sse import SSE
from tests.apps.tested import make_app
from tests.support.redis_server import running_redis


@pytest.fixture
def made() -> tuple[Quart, SSE]:
    """An app of its own, and its extension."""
    return make_app()


@pytest.fixture
def app(made: tuple[Quart, SSE]) -> Quart:
    """The app."""
    return made[0]


@pytest.fixture
def sse(made: tuple[Quart, SSE]) -> SSE:
    """The extension of the app."""
    return made[1]


@pytest.fixture
def client(app: Quart) -> QuartClient:
    """A visitor of the app."""
    return QuartClient(app)


@pytest.fixture(params=["memory", "redis"])
async def on_each_broker(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[tuple[Quart, SSE]]:
    """An app with a broker of each kind."""
    async with AsyncExitStack() as stack:
        url = "memory://"
        if request.param == "redis":
            url = (await stack.enter_async_context(running_redis(tmp_path))).url
        app, sse = make_app(QUART_SSE_BROKER_URL=url)
        yield app, sse
