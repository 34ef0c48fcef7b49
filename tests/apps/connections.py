"""Pages whose connections are handled: what the server knows of them, and what reaches them."""

import asyncio
import json
from typing import Any

from quart import Quart, render_template_string, request, session

from quart_sse import SSE, ConnectionHandle, Ending

app = Quart(__name__)
app.secret_key = "for tests only"
sse = SSE(app)
rooms = sse.channel("rooms", "/rooms/<int:room>", public=True)
noted: list[list[str]] = []  #: what hooks were called for
begun: list[str] = []  #: rooms whose initial events were asked for
goes_on = asyncio.Event()  #: not set while streams that are asked for must wait
goes_on.set()
waiting: list[str] = []  #: what was asked for meanwhile

PAGE = """
{% from "quart_sse/macros.html" import sse_scripts, sse_connect, sse_event %}
<!doctype html><head>{{ sse_scripts() }}<link rel="icon" href="data:,"></head>
<script>
  window.got = [];
  for (const name of ["user", "everyone", "connection", "rooms"])
    for (const event of ["note", "hello"])
      QuartSSE.on(name, event, (data) => got.push(`${name} ${data}`));
  QuartSSE.on("rooms", "said", {room: {{ room }}}, (data) => got.push(`said ${data}`));
  QuartSSE.on("rooms", "said", {room: 99}, (data) => got.push(`99 ${data}`));
  QuartSSE.on("rooms", "hello", {room: {{ room }}}, (data) => got.push(`hello ${data}`));
</script>
<p id="here" hx-get="/here" hx-trigger="{{ sse_event('user.note') }} from:document">not yet</p>
<input id="text" value="as it was">
{% if request.args.offer %}
<p data-sse-reload hidden id="own">New! <a href="">Show it</a></p>
{% endif %}
{{ sse_connect(topics=topics, user=true) }}
"""


@sse.identity
async def identity() -> str | None:
    """Return the user."""
    return session.get("user")


@sse.on_connect
async def connected(connection: ConnectionHandle) -> None:
    """Note who has come."""
    noted.append(["connect", connection.id])


@sse.on_disconnect
async def disconnected(connection: ConnectionHandle, ending: Ending | None) -> None:
    """Note who has gone."""
    noted.append(["disconnect", connection.id])


@rooms.initial
async def hello(room: int) -> list[tuple[str, str]]:
    """Greet a new page."""
    begun.append(str(room))
    return [("hello", f"room {room}")]


@app.get("/room/<int:room>")
async def room_page(room: int) -> str:
    """Listen to a room, and to as many more as the query says; to none if it is 0."""
    last = room + request.args.get("more", 0, type=int)
    topics = [rooms.topic(room=number) for number in range(room, last + 1) if number]
    return await render_template_string(PAGE, room=room, topics=topics)


@app.before_request
async def wait() -> None:
    """Let a stream that is asked for wait."""
    if request.path == "/sse" and not goes_on.is_set():
        waiting.append(request.full_path)
        await goes_on.wait()


@app.get("/here")
async def here() -> str:
    """Say that htmx has asked."""
    return "htmx has asked"


@app.get("/as/<user>")
async def sign_in(user: str) -> str:
    """Sign in, or out as "nobody"."""
    session.pop("user", None)
    if user != "nobody":
        session["user"] = user
    return "<link rel=icon href=data:,>ok"


@app.get("/state")
async def state() -> dict[str, Any]:
    """Tell what is connected, and what hooks were called for."""
    return {
        "connections": [
            {
                "id": each.id,
                "identity": each.identity,
                "topics": [topic.name for topic in each.topics],
                "agent": each.user_agent,
            }
            for each in sse.connections
        ],
        "streams": len(app.extensions["quart_sse"].connections),
        "noted": noted,
        "begun": begun,
        "waiting": waiting,
    }


@app.post("/do/<what>")
async def do(what: str) -> str:
    """Do something to the first connection, or to all."""
    data = json.loads(request.args.get("data", "null"))
    first = next(iter(sse.connections), None)
    assert first is not None
    if what == "send":
        await first.send("note", data)
    elif what == "subscribe":
        return str(await first.subscribe(rooms.topic(room=99)))
    elif what == "move":
        await first.unsubscribe(rooms.topic(room=data["from"]))
        await first.subscribe(rooms.topic(room=data["to"]))
    elif what == "take":
        await first.unsubscribe(rooms.topic(room=data))
    elif what == "hold":
        goes_on.clear()
    elif what == "go-on":
        goes_on.set()
    elif what == "close":
        await first.close(retry=data)
    elif what == "user":
        await sse.user(data["user"]).publish("note", data["data"])
    elif what == "everyone":
        await sse.everyone.publish("note", data)
    elif what == "channel":
        await rooms.everyone.publish("note", data)
    elif what == "say":
        for number in range(data.get("times", 1)):
            text = data["data"] if "times" not in data else f"{data['data']} {number}"
            await rooms.topic(room=data["room"]).publish("said", text)
            await asyncio.sleep(0)
    elif what == "retry":
        await rooms.topic(room=data["room"]).publish("said", "x", retry_ms=data["ms"])
    elif what == "reload":
        await sse.everyone.reload()
    elif what == "topic-close":
        await rooms.topic(room=data).close()
    await asyncio.sleep(0)
    return "ok"
