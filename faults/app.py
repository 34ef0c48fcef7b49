"""The app that the scenarios serve; a file is the database that its processes share."""

import logging
import os
from pathlib import Path

from quart import Quart, render_template_string

from quart_sse import SSE, BrokerUnavailable
from quart_sse.broker.redis import payload
from quart_sse.server.housekeeping import CLIENT_CUT

#: Another release, whose messages and keys have another form.
payload.FORMAT = int(os.environ.get("FAULTS_FORMAT", payload.FORMAT))

# A client that is cut off is no warning, and a scenario waits for it. All else that is no warning
# stays out, since scenarios count the lines.
cuts = logging.StreamHandler()
cuts.addFilter(lambda record: getattr(record, "sse_event", "") == CLIENT_CUT.name)
server_log = logging.getLogger("quart_sse.server")
server_log.setLevel(logging.INFO)
server_log.addHandler(cuts)

app = Quart(__name__)
app.secret_key = "for scenarios only"
sse = SSE(app)
rooms = sse.channel("rooms", "/rooms/<int:room>")
database = Path(os.environ["FAULTS_DATABASE"])
renders = 0

PAGE = """{% from "quart_sse/macros.html" import sse_fragment, sse_connect %}
{{ sse_fragment("rooms.value", room=room) }}{{ sse_connect() }}"""


@rooms.fragment("value")
def value(room: int) -> str:
    """Show what the database has, and count that."""
    global renders
    renders += 1
    return f"<b>{database.read_text()}</b>"


@app.get("/rooms/<int:room>")
async def page(room: int) -> str:
    """Show a room."""
    return await render_template_string(PAGE, room=room)


@app.post("/rooms/<int:room>/events/<int:number>/<int:size>")
async def say(room: int, number: int, size: int) -> dict[str, object]:
    """Publish a numbered event of some size."""
    published = await rooms.topic(room=room).publish("said", str(number).ljust(size))
    return {"id": published.id}


@app.post("/rooms/<int:room>/refresh")
async def refresh(room: int) -> dict[str, object]:
    """Say that the value has changed."""
    await rooms.topic(room=room).refresh("value")
    return {}


@app.get("/state")
async def state() -> dict[str, object]:
    """Tell how the process is."""
    streams = len(app.extensions["quart_sse"].connections)
    return {"broker": sse.broker.state.value, "streams": streams, "renders": renders}


@app.errorhandler(BrokerUnavailable)
async def answer_unavailable(error: BrokerUnavailable) -> tuple[dict[str, object], int]:
    """Say that it was not published, or that it may have been."""
    return {"error": str(error), "maybe_published": error.maybe_published}, 503
