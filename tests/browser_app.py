"""Pages for the browser tests that the example has no use for."""

import os

from quart import Quart, Response, render_template_string, request

from quart_sse import SSE

app = Quart(__name__)
app.secret_key = "for tests only"
sse = SSE(app)
board = sse.channel("board", "/board/<name>")
numbers: dict[str, int] = {"a": 0, "b": 0, "inner": 0}

MACROS = (
    '{% from "quart_sse/macros.html" import sse_scripts, sse_fragment, sse_connect, sse_live %}'
    "<!doctype html><head>{{ sse_scripts(shared=shared) }}</head>"
)


@board.fragment("number")
async def number(name: str) -> str:
    """Show a number."""
    return f'<b id="{name}">{name} is {numbers[name]}</b>'


@board.fragment("around")
async def around(name: str) -> str:
    """Show a number inside another fragment, only once there is one."""
    if numbers["a"] == 0:
        return "<i>nothing inside yet</i>"
    return await render_template_string(
        '{% from "quart_sse/macros.html" import sse_fragment %}'
        '<i>inside: {{ sse_fragment("board.number", name=name) }}</i>',
        name=name,
    )


@board.fragment("mine", personal=True)
async def mine(name: str) -> str:
    """Show something that differs between viewers."""
    return f"<u>{request.cookies.get('who', 'nobody')} sees {numbers[name]}</u>"


@app.context_processor
def script() -> dict[str, object]:
    """Say whether the pages of this process share their connection."""
    return {"shared": "SHARED" in os.environ}


@app.get("/connections")
async def connections() -> dict[str, int]:
    """Say how many streams are open."""
    return {"open": len(app.extensions["quart_sse"].hub.connections)}


@app.get("/number/<name>")
async def one(name: str) -> str:
    """Show a number, a form that a refresh leaves alone, and the state of the connection."""
    return await render_template_string(
        MACROS + '<form><input id="outside"></form>'
        '{{ sse_fragment("board.form", name=name) }}{{ sse_fragment("board.number", name=name) }}'
        "{{ sse_connect() }}",
        name=name,
    )


@board.fragment("form")
async def form(name: str) -> str:
    """Show a form inside a fragment."""
    return (
        f'<p>{numbers[name]}</p><input id="typed" name="typed" value="">'
        f'<input id="other" value="{numbers[name]}"><textarea id="area"></textarea>'
        '<input type="checkbox" id="box"><select id="choice"><option>a<option>b</select>'
    )


@app.get("/live")
async def live() -> str:
    """Show two fragments, each with a connection of its own."""
    return await render_template_string(
        MACROS + '{{ sse_live("board.number", name="a") }}{{ sse_live("board.number", name="b") }}'
    )


@app.get("/late")
async def late() -> str:
    """Show a page into which htmx brings a fragment later."""
    return await render_template_string(
        MACROS + '<button hx-get="/part" hx-target="#part">more</button><div id="part"></div>'
    )


@app.get("/part")
async def part() -> str:
    """Answer with a fragment."""
    return await render_template_string(
        '{% from "quart_sse/macros.html" import sse_fragment %}'
        '{{ sse_fragment("board.number", name="a") }}'
    )


@app.get("/nested")
async def nested() -> str:
    """Show a fragment that gets another one inside."""
    return await render_template_string(
        MACROS + '{{ sse_fragment("board.around", name="inner") }}{{ sse_connect() }}'
    )


@app.get("/mine")
async def own() -> str:
    """Show a personal fragment beside a shared one."""
    return await render_template_string(
        MACROS + '{{ sse_fragment("board.mine", name="a") }}'
        '{{ sse_fragment("board.number", name="a") }}{{ sse_connect() }}'
    )


@app.post("/raise/<name>")
async def raise_number(name: str) -> Response:
    """Change a number and whatever shows it."""
    numbers[name] += 1
    await board.topic(name=name).refresh("number", "mine", "form")
    await board.topic(name=name).publish("raised", numbers[name])
    return Response(status=204)


@app.post("/grow")
async def grow() -> Response:
    """Let the outer fragment contain the inner one from now on."""
    numbers["a"] = 1
    await board.topic(name="inner").refresh("around")
    return Response(status=204)
