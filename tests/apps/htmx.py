"""Pages for the browser tests of what htmx does with live pages: the same for both versions."""

import os
from collections import defaultdict

from markupsafe import Markup, escape
from quart import Quart, Response, render_template_string, request

from quart_sse import SSE
from quart_sse.streams import personal

app = Quart(__name__)
app.secret_key = "for tests only"
sse = SSE(app)
board = sse.channel("board", "/board/<name>")
if "MANY_VIEWERS" in os.environ:
    personal.SPREAD_MS = 500  # as long as a hundred of them wait, at most
numbers = defaultdict[str, int](int)
said = [""]
#: A parameter that has in it whatever means something in hx-trigger or in a URL.
ODD = "ü, [1] & x='2'"

MACROS = (
    '{% from "quart_sse/macros.html" import sse_scripts, sse_fragment, sse_connect, sse_event %}'
)
# htmx 4 wants the inheritance of hx-boost said, htmx 2 does not know how to.
PAGE = (
    MACROS + "<!doctype html><head>{{ sse_scripts() }}</head>"
    '<body hx-boost="true" hx-boost:inherited="true">{{ name }} <a id="to-{{ other }}"'
    ' href="/walk/{{ other }}">to {{ other }}</a> '
)


@board.fragment("number")
async def number(name: str) -> str:
    """Show a number."""
    return f'<b class="{name}">{name} is {numbers[name]}</b>'


@board.fragment("pushed")
async def pushed(name: str) -> str:
    """Show a number that is pushed."""
    return f'<i class="{name}">{name} is {numbers[name]}</i>'


@board.fragment("mine", personal=True)
async def mine(name: str) -> str:
    """Show a number that is fetched by each viewer."""
    who = request.cookies.get("who", "nobody")
    return f'<u class="{name}">{who} sees {numbers[name]}</u>'


@board.fragment("form")
async def form(name: str) -> str:
    """Show all elements that a user may be using while they change."""
    value, chosen = f"server {numbers[name]}", "ac"[numbers[name] % 2]
    ticked = " checked" if chosen == "c" else ""
    options = "".join(
        f"<option{' selected' if option == chosen else ''}>{option}</option>" for option in "abc"
    )
    ways = "".join(
        f'<input type="radio" name="way" value="{way}"{" checked" if way == chosen else ""}>'
        for way in "abc"
    )
    return (
        f'<p>{value}</p><form id="form"><input id="text" value="{value}">'
        f'<textarea id="area">{value}</textarea><select id="choice">{options}</select>'
        f'<input type="checkbox" id="box"{ticked}>{ways}</form>'
        f'<div id="free" contenteditable>{value}</div>'
        f'<details id="details"><summary>{value}</summary>more</details>'
        f'<div id="inner" style="height: 50px; overflow: auto">{value}'
        '<div style="height: 500px"></div></div>'
    )


def posting_form() -> str:
    """Return a form that htmx posts, and replaces by the answer."""
    return (
        '<form id="posting" hx-post="/post" hx-swap="outerHTML"><input id="said" name="said">'
        f"<output>{escape(said[-1])}</output><button>Say</button></form>"
    )


@board.fragment("posting")
async def posting(name: str) -> str:
    """Show the form inside a fragment that changes with it."""
    return f"<em>{numbers[name]}</em>{posting_form()}"


@app.get("/connections")
async def connections() -> dict[str, list[list[str]]]:
    """Say which topics each open stream is of."""
    opened = app.extensions["quart_sse"].connections
    return {"topics": [sorted(connection.subscription) for connection in opened]}


@app.post("/raise/<name>")
async def raise_number(name: str) -> Response:
    """Change a number and whatever shows it."""
    numbers[name] += 1
    topic = board.topic(name=name)
    await topic.refresh("number", "mine", "form", "posting")
    await topic.push("pushed", html=Markup(await pushed(name)))
    await topic.publish("raised", numbers[name])
    return Response(status=204)


@app.get("/all")
async def everything() -> str:
    """Show fragments of all kinds and of several topics."""
    return await render_template_string(
        PAGE + '{% for name in "abc" %}{% for kind in ("number", "pushed", "mine") %}'
        '{{ sse_fragment("board." ~ kind, name=name) }}{% endfor %}{% endfor %}{{ sse_connect() }}',
        other="a",
    )


@app.get("/walk/<name>")
async def walk(name: str) -> str:
    """Show a number, and a way to another one."""
    return await render_template_string(
        PAGE + '{{ sse_fragment("board.number", name=name) }}'
        '{{ sse_fragment("board.mine", name=name) }}{{ sse_connect() }}',
        name=name,
        other="b" if name == "a" else "a",
    )


@app.get("/late")
async def late() -> str:
    """Show a page into which htmx brings fragments later."""
    return await render_template_string(
        PAGE + '{% for name in ("a", "b", "nothing") %}'
        '<button id="{{ name }}" hx-get="/part/{{ name }}" hx-target="#part">{{ name }}</button>'
        '{% endfor %}<button id="more" hx-get="/part/a" hx-target="#parts" hx-swap="beforeend">'
        'more</button><button id="mine" hx-get="/part/page?kind=mine" hx-target="#part">mine'
        '</button><div id="part"></div><div id="parts"></div>'
        '{{ sse_fragment("board.number", name="page") }}{{ sse_connect() }}',
        other="a",
    )


@app.get("/part/<name>")
async def part(name: str) -> str:
    """Answer with a fragment, or with none."""
    if name == "nothing":
        return "nothing"
    return await render_template_string(
        MACROS + '{{ sse_fragment("board." ~ kind, name=name) }}',
        kind=request.args.get("kind", "number"),
        name=name,
    )


@app.get("/form")
async def forms() -> str:
    """Show the form, in a page that is long enough to scroll."""
    return await render_template_string(
        PAGE + '{{ sse_fragment("board.form", name="a") }}<div style="height: 3000px"></div>'
        "{{ sse_connect() }}",
        other="a",
    )


@app.get("/posting/<where>")
async def posting_page(where: str) -> str:
    """Show the form that htmx replaces next to a fragment, or inside one."""
    return await render_template_string(
        PAGE + '{{ sse_fragment("board.number", name="a") }}{% if where == "inside" %}'
        '{{ sse_fragment("board.posting", name="a") }}{% else %}{{ form }}{% endif %}'
        "{{ sse_connect() }}",
        other="a",
        where=where,
        form=Markup(posting_form()),
    )


@app.post("/post")
async def post() -> str:
    """Take a message, refresh all fragments, and respond with the form again."""
    said.append((await request.form)["said"])
    await raise_number("a")
    return posting_form()


@app.get("/triggers")
async def triggers() -> str:
    """Show what is fetched when an event comes, in a page where two connections bring it."""
    return await render_template_string(
        PAGE + '{% for name in ("a", odd) %}<span id="on-{{ loop.index }}" hx-get="/count"'
        """ hx-trigger="{{ sse_event('board.raised', name=name) }} from:document"></span>"""
        "{% endfor %}{{ sse_connect() }}{{ sse_connect([('board', {'name': 'a'})]) }}",
        other="a",
        odd=ODD,
    )


@app.get("/count")
async def count() -> str:
    """Say how often all of them asked."""
    numbers["asked"] += 1
    return f"{numbers['asked']}"
