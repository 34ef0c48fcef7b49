"""The app that the tests of several processes serve; a file is the database that they share."""

import os
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from markupsafe import escape
from quart import Quart, Response, render_template_string, request

from quart_sse import SSE, BrokerUnavailable

app = Quart(__name__)
app.secret_key = "for tests only"
sse = SSE(app)
talks = sse.channel("talks", "/talks/<int:number>", public=True)
rooms = sse.channel("rooms", "/rooms/<int:number>")
notes = sse.channel("notes", "/notes/<int:number>")
control = app.extensions["quart_sse"].control
#: How often this process has rendered what.
renders: Counter[str] = Counter()
control.reply("pid", lambda _: os.getpid())

PAGE = """<!doctype html>
{% from "quart_sse/macros.html" import sse_scripts, sse_fragment, sse_connect, sse_event %}
<head><title>Talk</title>{{ sse_scripts() }}</head>
<script>
  window.seen = {};  // what the list shows -> when it did so first
  window.said = [];  // the events, as they came
  new MutationObserver(() => {
    for (const line of document.querySelectorAll("li")) seen[line.textContent] ??= Date.now();
  }).observe(document, {childList: true, subtree: true});
  const name = {{ sse_event("talks.said", number=number)|tojson }};
  const heard = (message) => said.push(message.data);
  document.addEventListener("htmx:sseOpen", (opened) => {
    opened.detail.source.addEventListener(name, heard);
  });
  document.addEventListener(name, (event) => heard(event.detail));
</script>
{{ sse_fragment("talks.list", number=number) }}
{{ sse_fragment("talks.mine", number=number) }}
{{ sse_connect(topics=[("notes", {"number": number})]) }}"""


def database(table: str) -> Path:
    """Return the file that holds a table, one row a line."""
    return Path(os.environ["CLUSTER_DATABASE"]) / table


def rows(table: str) -> list[str]:
    """Return the rows of a table."""
    path = database(table)
    return path.read_text().splitlines() if path.exists() else []


def insert(table: str, row: str) -> None:
    """Append a row to a table."""
    with database(table).open("a") as file:
        file.write(f"{row}\n")


@sse.identity
async def who() -> str | None:
    """Believe what the cookie says."""
    return request.cookies.get("who")


@rooms.authorize
async def may_enter(number: int) -> bool:
    """Authorize all clients except banned ones."""
    return request.cookies.get("who") not in rows("banned")


@talks.fragment("list")
async def comment_list(number: int) -> str:
    """Show the comments, and count that."""
    renders[f"list {number}"] += 1
    lines = (f"<li>{escape(row)}</li>" for row in rows(f"talk-{number}"))
    return f"<ol>{''.join(lines)}</ol>"


@talks.fragment("mine", personal=True)
async def mine(number: int) -> str:
    """Greet the viewer, and count that."""
    viewer = request.cookies.get("who", "nobody")
    renders[f"mine {viewer}"] += 1
    return f"<u>{escape(viewer)} sees {len(rows(f'talk-{number}'))}</u>"


@app.get("/talks/<int:number>")
async def page(number: int) -> str:
    """Show a talk."""
    return await render_template_string(PAGE, number=number)


@app.post("/talks/<int:number>/comments/<text>")
async def add_comment(number: int, text: str) -> Response:
    """Save a comment, then say so."""
    insert(f"talk-{number}", text)
    await talks.topic(number=number).refresh()
    return Response(status=204)


@app.post("/<channel>/<int:number>/events/<text>")
async def say(channel: str, number: int, text: str) -> dict[str, object]:
    """Publish an event; ``?size=`` fills it up."""
    topic = sse.topic(channel, number=number)
    published = await topic.publish("said", text.ljust(request.args.get("size", 0, type=int)))
    return {"id": published.id}


@app.post("/ban/<identity>")
async def ban(identity: str) -> Response:
    """Ban a user from every room."""
    insert("banned", identity)
    await sse.disconnect(identity=identity)
    return Response(status=204)


@app.post("/rooms/<int:number>/recheck")
async def recheck(number: int) -> Response:
    """Judge all clients of a room again."""
    await sse.recheck(rooms.topic(number=number))
    return Response(status=204)


@app.get("/processes")
async def processes() -> list[dict[str, object]]:
    """List the live processes."""
    return [asdict(process) for process in await control.processes.live()]


@app.get("/ask/<question>/<float:deadline>")
async def ask(question: str, deadline: float) -> dict[str, object]:
    """Ask every process something."""
    asked = await control.ask(question, deadline=deadline)
    return {
        "answers": asked.answers,
        "faults": asked.faults,
        "silent": [asdict(process) for process in asked.silent],
    }


@app.get("/state")
async def state() -> dict[str, object]:
    """Tell how the process is."""
    return {"broker": sse.broker.state.value, "renders": renders}


@app.errorhandler(BrokerUnavailable)
async def answer_unavailable(error: BrokerUnavailable) -> tuple[dict[str, object], int]:
    """Say that it could not be published."""
    return {"error": str(error), "maybe_published": error.maybe_published}, 503
