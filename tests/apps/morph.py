"""One fragment whose HTML a test says, for the browser tests of what a refresh leaves alone."""

import asyncio
import os
from collections import defaultdict
from pathlib import Path

from markupsafe import Markup
from quart import (
    Quart,
    Response,
    abort,
    make_response,
    render_template_string,
    request,
    send_from_directory,
)

from quart_sse import SSE

app = Quart(__name__)
app.debug = "DEBUG" in os.environ
app.secret_key = "for tests only"
sse = SSE(app)
board = sse.channel("board", "/board/<name>", public=True)
said = defaultdict[str, str](str)  #: name of a topic -> HTML of its fragment
paid = defaultdict[str, int](int)
may_answer = defaultdict[str, asyncio.Event](asyncio.Event)
asked = defaultdict[str, int](int)  #: name of a topic -> requests for its personal fragment
statuses = defaultdict[str, list[int]](list)  #: the same -> what the next of these are answered
copies: dict[str, str] = {}  #: name of a copy -> its HTML
PACKAGES = Path(__file__).parents[2] / "node_modules"

PAGE = """<!doctype html>
{% from "quart_sse/macros.html" import sse_scripts, sse_fragment, sse_connect, sse_status %}
<head><title>page</title>
<meta name="htmx-config" content='{"includeIndicatorStyles": false}'>
{{ sse_scripts(htmx=htmx, shared=shared) }}{{ head }}</head>
{% if status %}{{ sse_status() }}{% endif %}<input id="outside">
{{ before }}{{ sse_fragment("board.part", name=name, tag=tag) }}
{% if mine %}{{ sse_fragment("board.mine", name=name) }}{% endif %}
{{ foot }}{{ sse_connect() }}"""


@board.fragment("part")
async def part(name: str) -> Markup:
    """Show what was said."""
    return Markup(said[name])


@board.fragment("mine", personal=True)
async def mine(name: str) -> Markup:
    """Show what only one viewer may see, or answer as a test says."""
    asked[name] += 1
    if "held" in said[name]:
        await may_answer[f"{name} {asked[name]}"].wait()
    if statuses[name]:
        status = statuses[name].pop(0)
        if status != 200:
            abort(Response("", status, headers={"Retry-After": "1"}))
    return Markup("<u>{} sees {}</u>").format(request.cookies.get("who"), said[name])


@app.post("/tell/<name>")
async def tell(name: str) -> Response:
    """Change what viewers see of their own; the body has the statuses of the next answers."""
    said[name], _, codes = str(await request.get_data(as_text=True)).partition(" ")
    statuses[name] = [int(code) for code in codes.split()]
    await board.topic(name=name).refresh("mine")
    return Response(status=204)


@app.get("/asked/<name>")
async def tell_asked(name: str) -> dict[str, int]:
    """Say how often a personal fragment was asked for."""
    return {"asked": asked[name]}


@app.post("/say/<name>")
async def say(name: str) -> Response:
    """Let the fragment say the body from now on."""
    said[name] = str(await request.get_data(as_text=True))
    await board.topic(name=name).push("part", html=Markup(said[name]))
    return Response(status=204)


@app.get("/page/<name>")
async def page(name: str) -> Response:
    """Show the fragment, with what a test puts into the head, before it and behind it."""
    more = {part: Markup(request.args.get(part, "")) for part in ("head", "before", "foot")}
    options = {
        "htmx": "plain" not in request.args and request.args.get("htmx", True),
        "shared": "ours" not in request.args,
        "tag": request.args.get("tag", "div"),
        "mine": "mine" in request.args,
        "status": "status" in request.args,
    }
    html = await render_template_string(PAGE, name=name, **options, **more)
    response = await make_response(html)
    assert isinstance(response, Response)
    if policy := request.args.get("policy"):
        response.headers["Content-Security-Policy"] = policy
    return response


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


@app.post("/copy/<name>")
async def take_copy(name: str) -> Response:
    """Take the document of a page, as a browser saves it."""
    copies[name] = str(await request.get_data(as_text=True))
    return Response(status=204)


@app.get("/copy/<name>")
async def show_copy(name: str) -> Response:
    """Show it where no script runs, since a browser does not find them on the disk."""
    policy = {"Content-Security-Policy": "script-src 'none'"}
    return Response(copies[name], mimetype="text/html", headers=policy)
