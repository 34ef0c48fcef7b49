"""The app that the server tests serve: one public channel, and marks of its life cycle."""

import os
from pathlib import Path

from quart import Quart, Response, render_template_string

from quart_sse import SSE

app = Quart(__name__)
app.secret_key = "for tests only"
sse = SSE(app)
news = sse.channel("news", "/news", public=True)
inner = sse.channel("inner", "/inner")
shown = {"count": 0}


@inner.fragment("pid")
async def pid() -> str:
    """Show which process answers."""
    return str(os.getpid())


@news.fragment("count")
async def count() -> str:
    """Render how often the count was raised."""
    return f"<b>{shown['count']}</b>"


@app.post("/publish/<text>")
async def publish(text: str) -> dict[str, object]:
    """Publish an event, and tell who got it."""
    published = await news.topic().publish("said", {"text": text})
    return {"id": published.id, "local_receivers": published.local_receivers}


@app.post("/raise")
async def raise_count() -> Response:
    """Change the fragment."""
    shown["count"] += 1
    await news.topic().refresh("count")
    return Response(status=204)


@app.get("/page")
async def page() -> str:
    """Show the fragment of a channel that is not public, so that the page holds a token."""
    return await render_template_string(
        '{% from "quart_sse/macros.html" import sse_fragment, sse_connect %}'
        '{{ sse_fragment("inner.pid") }}{{ sse_connect() }}'
    )


@app.get("/ping")
async def ping() -> str:
    """Say that the server is up."""
    return "pong"


@app.after_serving
async def mark_end() -> None:
    """Leave a mark where a test looks for it."""
    mark = os.environ.get("QUART_SSE_TEST_MARK")
    if mark:
        with Path(mark).open("a") as file:  # noqa: ASYNC230 - a few bytes, at the very end
            file.write("after_serving\n")
