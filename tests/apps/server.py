"""The app that the server tests serve: a public channel, what it holds, marks of its life cycle."""

import asyncio
import contextlib
import gc
import logging
import os
from pathlib import Path

from quart import Quart, Response, render_template_string, request

from quart_sse import SSE
from quart_sse.hub.connection import Connection
from tests.support.wrapping import WRAPPINGS

if "LOG_LEVEL" in os.environ:
    logging.basicConfig(level=os.environ["LOG_LEVEL"])
app = Quart(__name__)
app.secret_key = "for tests only"
# Shorter than any stream here: Quart cuts other responses after it.
app.config["RESPONSE_TIMEOUT"] = 1
sse = SSE(app)
for name in filter(None, os.environ.get("WRAPPED", "").split(",")):
    app.asgi_app = WRAPPINGS[name](app.asgi_app)  # type: ignore[method-assign,assignment]
news = sse.channel("news", "/news", public=True)
inner = sse.channel("inner", "/inner")
shown = {"count": 0}
#: Seconds in which a server passes on what it is given, if its client takes it.
STALLED = 0.3


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
    """Publish an event, and tell who got it; ``?size=`` fills it up."""
    text = text.ljust(request.args.get("size", 0, type=int), "~")
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


@app.get("/state")
async def state() -> dict[str, object]:
    """Tell which process it is, and what it holds for its streams."""
    gc.collect()
    connections = app.extensions["quart_sse"].connections
    now = asyncio.get_running_loop().time()
    stalled = [
        connection
        for connection in connections
        if connection.busy_since is not None and now - connection.busy_since > STALLED
    ]
    return {
        "pid": os.getpid(),
        "connections": len(connections),
        "stalled": len(stalled),
        "objects": sum(isinstance(thing, Connection) for thing in gc.get_objects()),
        "present": (await news.topic().presence()).connections,
        "sockets": sockets(),
        "tasks": len(asyncio.all_tasks()),
    }


def sockets() -> int:
    """Return how many sockets the process has open."""
    number = 0
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the one by which the folder is read
            number += os.readlink(path).startswith("socket:")
    return number


@app.get("/hang")
async def hang() -> str:
    """Never answer."""
    await asyncio.Event().wait()
    return ""


@app.post("/close")
async def close() -> Response:
    """End all streams, for a server that does not say that it stops."""
    await sse.close_all()
    return Response(status=204)


@app.before_serving
async def mark_begin() -> None:
    """Leave a mark where a test looks for it."""
    mark("before_serving")


@app.after_serving
async def mark_end() -> None:
    """Leave another one."""
    mark("after_serving")


def mark(what: str) -> None:
    """Note what happens in which process, if a test asks for it."""
    path = os.environ.get("QUART_SSE_TEST_MARK")
    if path:
        with Path(path).open("a") as file:
            file.write(f"{what} {os.getpid()}\n")


if __name__ == "__main__":
    app.run(port=int(os.environ["PORT"]), use_reloader=False)
