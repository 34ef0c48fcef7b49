"""An app with one public topic, and with no page."""

from quart import Quart

from quart_sse import SSE, Topic


def make_app(**config: object) -> tuple[Quart, SSE]:
    """Return an app and its extension."""
    app = Quart(__name__)
    app.secret_key = "for tests only"
    app.config.update(config)
    return app, SSE(app)


def make_topic(**config: object) -> tuple[Quart, Topic]:
    """Return an app and its public topic, at ``/sse/news``."""
    app, sse = make_app(**config)
    return app, sse.channel("news", "/news", public=True).topic()
