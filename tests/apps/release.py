"""The app that two releases of the package serve side by side; it uses what both have.

It is imported as ``release``, with the tree of either release before it on the path.
"""

import os
from collections import Counter
from pathlib import Path

from markupsafe import Markup
from quart import Quart, Response, render_template_string, request

import quart_sse
from quart_sse import SSE

if "TRACED" in os.environ:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

    trace.set_tracer_provider(TracerProvider())  # before the app, which asks for it
app = Quart(__name__)
app.secret_key = "for tests only"
sse = SSE(app)
talks = sse.channel("talks", "/talks/<int:number>")
rooms = sse.channel("rooms", "/rooms/<int:number>")
renders: Counter[str] = Counter()

PAGE = """<!doctype html>
{% from "quart_sse/macros.html" import sse_scripts, sse_fragment, sse_connect, sse_event %}
<head><title>Talk</title>{{ sse_scripts() }}</head>
<script>
  window.said = [];
  window.resets = [];
  const name = {{ sse_event("talks.said", number=1)|tojson }};
  document.addEventListener(name, (event) => said.push(event.detail.data));
  document.addEventListener("sse-reset", (event) => resets.push(event.detail));
</script>
{{ sse_fragment("talks.list", number=1) }}
{{ sse_fragment("talks.pushed", number=1) }}
{{ sse_fragment("talks.mine", number=1) }}
{{ sse_connect() }}"""


def table() -> Path:
    """Return the file that all processes share, one row a line."""
    return Path(os.environ["TABLE"])


def rows() -> list[str]:
    """Return the rows of the table."""
    return table().read_text().splitlines() if table().exists() else []


def latest() -> str:
    """Return the last row."""
    return (rows() or ["nothing"])[-1]


@sse.identity
async def who() -> str | None:
    """Believe what the cookie says."""
    return request.cookies.get("who")


@talks.authorize
async def may_read(number: int) -> bool:
    """Let in all clients."""
    return True


@rooms.authorize
async def may_enter(number: int) -> bool:
    """Let in all clients."""
    return True


@talks.fragment("list")
async def show_list(number: int) -> str:
    """Show the last row, and count that."""
    renders["list"] += 1
    return f"<li>{latest()}</li>"


@talks.fragment("pushed")
async def show_pushed(number: int) -> str:
    """Show the last row as a push does, and count that."""
    renders["pushed"] += 1
    return f"<b>{latest()}</b>"


@talks.fragment("mine", personal=True)
async def show_mine(number: int) -> str:
    """Show the last row to its viewer."""
    return f"<u>{request.cookies.get('who', 'nobody')}: {latest()}</u>"


@app.get("/")
async def page() -> str:
    """Show a talk."""
    return await render_template_string(PAGE)


@app.post("/say/<text>")
async def say(text: str) -> Response:
    """Publish an event."""
    await talks.topic(number=1).publish("said", text)
    return Response(status=204)


@app.post("/change/<text>")
async def change(text: str) -> Response:
    """Add a row, and change all that shows it."""
    with table().open("a") as file:
        file.write(f"{text}\n")
    await talks.topic(number=1).refresh("list", "mine")
    return await push(text)


@app.post("/push/<text>")
async def push(text: str) -> Response:
    """Push what shows the last row."""
    await talks.topic(number=1).push("pushed", html=Markup(f"<b>{text}</b>"))
    return Response(status=204)


@app.post("/disconnect/<identity>")
async def disconnect(identity: str) -> Response:
    """End a user's streams."""
    await sse.disconnect(identity=identity)
    return Response(status=204)


@app.post("/recheck")
async def recheck() -> Response:
    """End the streams of a room."""
    await sse.recheck(rooms.topic(number=1))
    return Response(status=204)


@app.get("/ask")
async def ask() -> dict[str, object]:
    """Ask every process what no release knows; this release alone can."""
    control = app.extensions["quart_sse"].control
    asked = await control.ask("riddle", deadline=20.0)
    return {"faults": asked.faults, "silent": len(asked.silent)}


@app.get("/state")
async def state() -> dict[str, object]:
    """Tell how the process is, and which release it runs."""
    return {
        "broker": sse.broker.state.value,
        "package": str(Path(quart_sse.__file__).parent),
        "renders": renders,
    }
