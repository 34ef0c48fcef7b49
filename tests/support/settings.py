"""An app with a channel that has settings of its own, one that has none, and views that stream."""

from collections.abc import Mapping
from typing import Any

from quart import Quart, Response

from quart_sse import SSE


def make_app(options: Mapping[str, Any], **config: object) -> tuple[Quart, SSE]:
    """Return an app and its extension, with the public channels ``rooms`` and ``news``.

    ``/own`` is a view that streams room 1, and ``/both`` one that streams it with the news.

    Args:
        options: The settings of ``rooms``; ``news`` has none.
        config: Of the app.
    """
    app = Quart(__name__)
    app.secret_key = "for tests only"
    app.config.update(config)
    sse = SSE(app)
    rooms = sse.channel("rooms", "/rooms/<int:room>", public=True, **options)
    news = sse.channel("news", "/news", public=True)
    rooms.fragment("list", debounce=0)(lambda room: f"<b>{room}</b>")

    @app.get("/own")
    async def own() -> Response:
        return await sse.stream(rooms.topic(room=1))

    @app.get("/both")
    async def both() -> Response:
        return await sse.stream(rooms.topic(room=1), news.topic())

    return app, sse
