"""An app with metrics, for servers with one worker or several."""

import os

from quart import Quart, Response

from quart_sse import SSE

app = Quart(__name__)
app.secret_key = "for tests only"
sse = SSE(app)
rooms = sse.channel("rooms", "/rooms/<int:room>", public=True)
metrics = sse.metrics()


@rooms.fragment("list", debounce=0)
def show(room: int) -> str:
    """Show nothing of note."""
    return "<b>list</b>"


@app.get("/metrics")
async def show_metrics() -> Response:
    """Tell Prometheus."""
    return Response(metrics.exposition(), content_type=metrics.content_type)


@app.get("/state")
async def state() -> dict[str, int]:
    """Tell which worker this is."""
    return {"pid": os.getpid()}


@app.post("/say/<int:room>")
async def say(room: int) -> Response:
    """Publish an event and a refresh."""
    await rooms.topic(room=room).publish("said", "hello")
    await rooms.topic(room=room).refresh("list")
    return Response(status=204)
