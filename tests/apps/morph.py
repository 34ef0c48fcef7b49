"""One fragment whose HTML a test says, for the browser tests of what a refresh leaves alone."""

import asyncio
import os
from collections import defaultdict
from pathlib import Path

from markupsafe import Markup
from quart import Quart, Response, render_template_string, request, send_from_directory

from quart_sse import SSE

app = Quart(__name__)
app.debug = "DEBUG" in os.environ
app.secret_key = "for tests only"
sse = SSE(app)
board = sse.channel("board", "/board/<name>", public=True)
said = defaultdict[str, str](str)  #: name of a topic -> HTML of its fragment
paid = defaultdict[str, int](int)
may_answer = defaultdict[str, asyncio.Event](asyncio.Event)
PACKAGES = Path(__file__).parents[2] / "node_modules"

PAGE = """<!doctype html>
{% from "quart_sse/macros.html" import sse_scripts, sse_fragment, sse_connect %}
<head><title>page</title>{{ sse_scripts(htmx=htmx) }}{{ head }}</head>
<input id="outside">
{{ before }}{{ sse_fragment("board.part", name=name, tag=tag) }}{{ foot }}{{ sse_connect() }}"""


@board.fragment("part")
async def part(name: str) -> Markup:
    """Show what was said."""
    return Markup(said[name])


@app.post("/say/<name>")
async def say(name: str) -> Response:
    """Let the fragment say the body from now on."""
    said[name] = str(await request.get_data(as_text=True))
    await board.topic(name=name).push("part", html=Markup(said[name]))
    return Response(status=204)


@app.get("/page/<name>")
async def page(name: str) -> str:
    """Show the fragment, with what a test puts into the head, before it and behind it."""
    more = {part: Markup(request.args.get(part, "")) for part in ("head", "before", "foot")}
    options = {"htmx": "plain" not in request.args, "tag": request.args.get("tag", "div")}
    return await render_template_string(PAGE, name=name, **options, **more)


@app.get("/packages/<path:path>")
async def package(path: str) -> Response:
    """Serve a file of node_modules."""
    return await send_from_directory(PACKAGES, path)


@app.post("/pay/<name>")
async def pay(name: str) -> str:
    """Take money, and answer when it is allowed."""
    paid[name] += 1
    await may_answer[name].wait()
    return f"paid {paid[name]}"


@app.get("/paid/<name>")
async def tell_paid(name: str) -> dict[str, int]:
    """Say how often it was taken."""
    return {"paid": paid[name]}


@app.post("/answer/<name>")
async def answer(name: str) -> Response:
    """Let requests be answered."""
    may_answer[name].set()
    return Response(status=204)


@app.get("/part/<path:html>")
async def echo(html: str) -> str:
    """Answer with HTML that the URL has."""
    return html
