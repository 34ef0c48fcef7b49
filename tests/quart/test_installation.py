"""Installation: the extension in one Quart app, with all that it registers there."""

import pytest
from quart import Quart
from quart.testing import QuartClient

from quart_sse import SSE
from quart_sse.host import KEY
from quart_sse.server import Middleware
from quart_sse.wiring import Services


def endpoints(app: Quart) -> set[str]:
    """Return the endpoints of the extension in an app."""
    return {rule.endpoint for rule in app.url_map.iter_rules() if rule.endpoint.startswith("sse.")}


def test_app_gets_endpoints_macros_and_middleware() -> None:
    """Nothing else has to be registered by hand."""
    app = Quart(__name__)
    SSE(app)

    assert endpoints(app) == {"sse.connect", "sse.static"}
    assert "_quart_sse" in app.jinja_env.globals
    assert isinstance(app.asgi_app, Middleware)
    assert isinstance(app.extensions[KEY], Services)


@pytest.mark.parametrize("is_later", [False, True], ids=["before", "after"])
async def test_channel_may_be_declared_before_or_after(is_later: bool) -> None:
    """A module that declares channels may be imported when the app exists already."""
    app, sse = Quart(__name__), SSE()
    if is_later:
        sse.init_app(app)
    news = sse.channel("news", "/news", public=True)
    news.fragment("list")(lambda: "<li>one</li>")
    if not is_later:
        sse.init_app(app)

    assert endpoints(app) >= {"sse.news.stream", "sse.news.fragment"}
    answer = await QuartClient(app).get("/sse/~/list/news")
    assert await answer.get_data(as_text=True) == "<li>one</li>"


async def test_serving_starts_and_stops_what_was_installed() -> None:
    """The lifespan of the app is that of its services."""
    app = Quart(__name__)
    SSE(app)
    services = app.extensions[KEY]

    async with app.test_app():
        assert services.lifecycle.is_started
        assert not services.connections.is_closing

    assert not services.lifecycle.is_started
