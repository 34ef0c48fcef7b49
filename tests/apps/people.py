"""Rooms whose pages show who is in them, for tests with browsers and killed processes."""

import os

from quart import Quart, render_template_string, request

from quart_sse import SSE, Person, Topic
from quart_sse.broker.redis import commands
from quart_sse.channels import presence

# So that a test need not wait for a minute until the people of a killed process are forgotten.
commands.PRESENT_MS = int(os.environ.get("PRESENT_MS", commands.PRESENT_MS))
presence.RENEW = float(os.environ.get("RENEW", presence.RENEW))

app = Quart(__name__)
app.secret_key = "for tests only"
sse = SSE(app)
rooms = sse.channel("rooms", "/rooms/<int:room>", presence=("name",))
moves: list[str] = []

PAGE = """{% from "quart_sse/macros.html" import sse_scripts, sse_presence, sse_connect %}
<!doctype html><html lang="en"><head><title>Room {{ room }}</title>{{ sse_scripts(htmx=htmx) }}
</head><body><h1>Room {{ room }}</h1>
{{ sse_presence("rooms", room=room, attrs={"id": "count"}) }}
{{ sse_presence("rooms", room=room, names=true, attrs={"id": "names"}) }}
<ol id="moves"></ol>{{ sse_connect() }}<script>
for (const move of ["joined", "left"])
    QuartSSE.on("rooms", move, {room: {{ room }}}, ({ name }) =>
        document.getElementById("moves").append(`${move} ${name}, `));
</script></body></html>"""


@sse.identity
def who() -> str | None:
    """Return the user of the cookie."""
    return request.cookies.get("who")


@sse.metadata
def about() -> dict[str, str]:
    """Return the user's name, and what no page may show."""
    return {"name": request.cookies.get("who", "guest").title(), "secret": "ssh-key"}


@rooms.on_join
async def joined(person: Person, topic: Topic) -> None:
    """Say who has come."""
    moves.append(f"+{person.identity}")
    await topic.publish("joined", {"name": person.metadata["name"]})


@rooms.on_leave
async def left(person: Person, topic: Topic) -> None:
    """Say who has gone."""
    moves.append(f"-{person.identity}")
    await topic.publish("left", {"name": person.metadata["name"]})


@app.get("/rooms/<int:room>")
async def page(room: int) -> str:
    """Show a room."""
    return await render_template_string(PAGE, room=room, htmx="plain" not in request.args)


@app.get("/moves")
async def told() -> list[str]:
    """Return which hooks were called in this process."""
    return moves
