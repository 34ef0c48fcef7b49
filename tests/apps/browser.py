"""Pages for the browser tests that the example has no use for."""

import asyncio
import os

from markupsafe import Markup
from quart import (
    Quart,
    Response,
    abort,
    redirect,
    render_template_string,
    request,
)
from werkzeug.wrappers import Response as WerkzeugResponse

from quart_sse import SSE, Event
from quart_sse.wire import ending

app = Quart(__name__)
app.debug = "DEBUG" in os.environ
app.secret_key = "for tests only"
sse = SSE(app)
ending.STOP_MS = int(os.environ.get("STOP_MS", ending.STOP_MS))
asked: list[list[str | None]] = []  #: path and Last-Event-ID of each request for a stream
board = sse.channel("board", "/board/<name>")
hall = sse.channel("hall", "/hall/<name>", public=True)
numbers: dict[str, int] = {"a": 0, "b": 0, "inner": 0}
tokens: set[str] = set()
is_shut = asyncio.Event()
layouts: dict[str, int] = {}
gate = asyncio.Event()
gate.set()

#: A policy for the pages of this process, and the nonce of their scripts.
POLICY, NONCE = os.environ.get("CSP"), os.environ.get("NONCE")

#: What takes the place of a number, if it is obeyed.
#: What a sanitiser lets through, and htmx takes for tags of its own.
WRITTEN = """<p title="</hx-partial>hx-partial<head>a</head>">hx-partial &lt;hx-partial&gt;</p>
<!-- <hx-partial> --><textarea></hx-partial></textarea><b>last</b>"""
EVIL = (
    "key: board.number?name=a\n"
    """data: <hx-partial hx-target="[data-sse='board.number?name=a']" hx-swap="innerMorph">"""
    "evil</hx-partial>\n\n"
)
IMPORT = (
    '{% from "quart_sse/macros.html" import'
    " sse_scripts, sse_fragment, sse_connect, sse_live, sse_event, sse_status %}"
)
MACROS = IMPORT + (
    "<!doctype html><head>"
    """<meta name="htmx-config" content='{"includeIndicatorStyles": false}'>"""
    "{{ sse_scripts(nonce=nonce, shared=shared, refresh=1) }}</head>"
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


@board.fragment("slow")
async def slow(name: str) -> str:
    """Show two other fragments, each time in another place, and take a long time for it."""
    layouts[name] = layouts.get(name, 0) + 1
    shown = ["<section>{{ sse_fragment('board.row', name=name) }}</section>"]
    shown.insert(layouts[name] % 2, "<div>{{ sse_fragment('board.number', name=name) }}</div>")
    html = await render_template_string(
        '{% from "quart_sse/macros.html" import sse_fragment %}<h1>{{ layout }}</h1>'
        + "<hr>" * (layouts[name] % 2)
        + "".join(shown),
        name=name,
        layout=layouts[name],
    )
    await gate.wait()
    return html


@board.fragment("changed")
async def changed(name: str) -> str:
    """Show the same, and change what the macros gave."""
    return (await slow(name)).replace("data-sse", 'title="changed" data-sse')


@board.fragment("mine", personal=True)
async def mine(name: str) -> str:
    """Show something that differs between viewers."""
    return f"<u>{request.cookies.get('who', 'nobody')} sees {numbers[name]}</u>"


@board.fragment("desk", personal=True)
async def desk(name: str) -> str:
    """Show something that differs between viewers, with something inside that does not."""
    layout = layouts.get("desk", 0) + 1
    html = await render_template_string(
        '{% from "quart_sse/macros.html" import sse_fragment %}'
        "<u>{{ layout }}</u>{{ sse_fragment('board.number', name=name) }}",
        name=name,
        layout=layout,
    )
    layouts["desk"] = layout
    await gate.wait()
    return html


@app.get("/swap")
async def swap() -> str:
    """Show an attribute of htmx's SSE extension."""
    return await render_template_string(
        MACROS + '<p sse-swap="comment-added"></p>{{ sse_live("board.number", name="a") }}'
    )


@app.get("/unconnected")
async def unconnected() -> str:
    """Show a fragment without a connect element."""
    return await render_template_string(MACROS + '{{ sse_fragment("board.number", name="a") }}')


@app.get("/desk/<name>")
async def desk_page(name: str) -> str:
    """Show a personal fragment with a shared one inside."""
    return await render_template_string(
        MACROS + '{{ sse_fragment("board.desk", name=name) }}{{ sse_connect() }}', name=name
    )


@app.post("/gate/<state>")
async def hold(state: str) -> Response:
    """Let slow renders wait, or go on."""
    (gate.clear if state == "closed" else gate.set)()
    return Response(status=204)


@app.post("/refresh/<fragment>/<name>")
async def refresh(fragment: str, name: str) -> Response:
    """Say that a fragment has changed."""
    await board.topic(name=name).refresh(fragment)
    return Response(status=204)


@app.get("/layout/<name>")
async def layout(name: str) -> dict[str, int]:
    """Say how often the slow fragment has begun to be rendered."""
    return {"layout": layouts.get(name, 0)}


@app.context_processor
def script() -> dict[str, object]:
    """Say whether the pages of this process share their connection, and the nonce."""
    return {"shared": "PLAIN" not in os.environ, "nonce": NONCE}


@app.after_request
async def add_policy(response: Response) -> Response:
    """Set the policy on everything, as an app does that has one."""
    if POLICY is not None:
        response.headers["Content-Security-Policy"] = POLICY
    return response


@app.before_request
async def note_tokens() -> None:
    """Remember by what streams are asked for, which is in vain while it is shut."""
    if "text/event-stream" in request.headers.get("Accept", ""):
        asked.append([request.path, request.headers.get("Last-Event-ID")])
    if request.endpoint == "sse.connect":
        tokens.update(request.args.getlist("t"))
        if is_shut.is_set():
            abort(503)


@app.post("/shut/<name>")
async def shut(name: str) -> Response:
    """End all streams of a topic, and let none begin."""
    is_shut.set()
    await sse.recheck(board.topic(name=name))
    return Response(status=204)


@app.get("/asked")
async def tell_asked() -> list[list[str | None]]:
    """Say what streams were asked for."""
    return asked


@app.post("/stop/<reason>")
async def stop(reason: str) -> Response:
    """Tell all clients to stop."""
    for stream in list(app.extensions["quart_sse"].connections):
        stream.end(ending.Ending[reason.upper()])
    return Response(status=204)


@app.get("/ticker")
async def ticker() -> Response:
    """Answer with a stream of the app's own."""
    return await sse.stream(hall.topic(name="t"), initial=[Event("hello", name="welcome")])


@app.post("/open-again")
async def open_again() -> Response:
    """Let streams begin."""
    is_shut.clear()
    return Response(status=204)


@app.get("/connections")
async def connections() -> dict[str, object]:
    """Say how many streams are open and for what, and how many tokens there have been."""
    streams = app.extensions["quart_sse"].connections
    topics = sorted({topic for stream in streams for topic in stream.subscription})
    return {"open": len(streams), "topics": topics, "tokens": len(tokens)}


@app.get("/number/<name>")
async def one(name: str) -> str:
    """Show a number, a form that a refresh leaves alone, and the state of the connection."""
    return await render_template_string(
        MACROS + '<form><input id="outside"></form>{{ sse_status() }}'
        '{{ sse_fragment("board.form", name=name) }}'
        '{{ sse_fragment("board.number", name=name, aria_live="polite") }}'
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


@app.get("/events/<name>")
async def events(name: str) -> str:
    """Show a page that listens only, without htmx."""
    return await render_template_string(
        IMPORT + "<!doctype html><head>{{ sse_scripts(htmx=false) }}</head>{{ sse_status() }}"
        '{{ sse_fragment("board.number", name=name) }}'
        '{{ sse_connect(topics=[("board", {"name": name})]) }}',
        name=name,
    )


@app.get("/others/<name>")
async def others(name: str) -> str:
    """Show a page whose button tells the others."""
    return await render_template_string(
        MACROS + """<button hx-post="/tell/{{ name }}" hx-swap="none">tell</button>"""
        '<p><a hx-get="{{ elsewhere }}" hx-swap="none">ask elsewhere</a></p>'
        '{{ sse_connect(topics=[("board", {"name": name})]) }}',
        name=name,
        elsewhere=request.args.get("elsewhere", ""),
    )


@app.post("/say/<name>")
async def say(name: str) -> Response:
    """Publish the body as it is, as an app does with what people write."""
    await board.topic(name=name).publish("said", await request.get_data(as_text=True))
    return Response(status=204)


@app.get("/rows/<name>")
async def rows(name: str) -> str:
    """Show a fragment inside a table, without htmx."""
    return await render_template_string(
        IMPORT
        + '<!doctype html><body><table>{{ sse_fragment("board.row", tag="tbody", name=name) }}'
        "</table>{{ sse_connect() }}{{ sse_scripts(htmx=false) }}",
        name=name,
    )


@board.fragment("row")
async def row(name: str) -> str:
    """Show a number as a row of a table."""
    return f"<tr><td>{numbers[name]}</td></tr>"


@app.get("/many/<int:first>")
async def many(first: int) -> str:
    """Show a page that listens to very many topics."""
    topics = [("board", {"name": str(number)}) for number in range(first, first + 100)]
    return await render_template_string(MACROS + "{{ sse_connect(topics=topics) }}", topics=topics)


@app.post("/tell/<name>")
async def tell(name: str) -> Response:
    """Publish one event for everybody else, and one for all."""
    await board.topic(name=name).publish("told", "others", to_others=True)
    await board.topic(name=name).publish("told", "all")
    return Response(status=204)


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
        '<button id="mine" hx-get="/part/mine" hx-target="#part" hx-swap="beforeend">mine</button>'
    )


@app.get("/part")
@app.get("/part/<fragment>")
async def part(fragment: str = "number") -> str:
    """Answer with a fragment."""
    return await render_template_string(
        '{% from "quart_sse/macros.html" import sse_fragment %}'
        '{{ sse_fragment("board." + fragment, name="a") }}',
        fragment=fragment,
    )


@app.get("/nested")
async def nested() -> str:
    """Show a fragment that gets another one inside."""
    return await render_template_string(
        MACROS + '{{ sse_fragment("board.around", name="inner") }}{{ sse_connect() }}'
    )


@app.get("/outer/<fragment>/<name>")
async def outer(fragment: str, name: str) -> str:
    """Show a fragment that gets others inside, and one of those by itself."""
    return await render_template_string(
        "{% if htmx %}" + MACROS + "{% else %}" + IMPORT + "<!doctype html><head>"
        "{{ sse_scripts(htmx=false) }}</head>{% endif %}"
        "{{ sse_fragment(fragment, name=name) }}"
        '<main>{{ sse_fragment("board.number", name=name) }}</main>{{ sse_connect() }}',
        name=name,
        fragment=fragment,
        htmx="plain" not in request.args,
    )


@app.get("/alone/<name>")
async def alone(name: str) -> str:
    """Show nothing but the inner fragment, over the connection of the other tabs."""
    return await render_template_string(
        MACROS + '{{ sse_fragment("board.number", name=name) }}{{ sse_connect() }}', name=name
    )


@app.get("/mine")
async def own() -> str:
    """Show a personal fragment beside a shared one."""
    return await render_template_string(
        MACROS + '{{ sse_fragment("board.mine", name="a") }}'
        '{{ sse_fragment("board.number", name="a") }}{{ sse_connect() }}'
    )


@app.get("/parsing/<name>")
async def parsing(name: str) -> str:
    """Show a number, and what htmx brings after an event; a script comes late."""
    return await render_template_string(
        MACROS + '{{ sse_fragment("board.number", name=name) }}<p id="brought" hx-get="/brought"'
        """ hx-trigger="{{ sse_event('board.raised', name=name) }} from:document"></p>"""
        '{{ sse_connect() }}<script src="/late.js" defer></script>',
        name=name,
    )


@app.get("/brought")
async def brought() -> str:
    """Answer htmx."""
    return "brought"


@app.get("/late.js")
async def late_script() -> Response:
    """Answer with a script that does nothing."""
    return Response("", mimetype="text/javascript")


@app.post("/raise/<name>")
async def raise_number(name: str) -> Response:
    """Change a number and whatever shows it."""
    numbers[name] += 1
    await board.topic(name=name).refresh("number", "mine", "form", "row")
    await board.topic(name=name).publish("raised", numbers[name])
    return Response(status=204)


@app.post("/grow")
async def grow() -> Response:
    """Let the outer fragment contain the inner one from now on."""
    numbers["a"] = 1
    await board.topic(name="inner").refresh("around")
    return Response(status=204)


@app.get("/users")
async def users() -> str:
    """Show a number between what users have written, which was let through as it is."""
    scripts = "{{ sse_scripts(htmx=htmx, origins=origins) }}"
    where = [scripts, ""] if "late" not in request.args else ["", scripts]
    return await render_template_string(
        IMPORT + f"<!doctype html><head>{where[0]}</head><body {{{{ body }}}}>"
        '<div id="before">{{ before }}</div>{{ sse_fragment("board.number", name="a") }}'
        f'<div id="after">{{{{ after }}}}</div>{{{{ sse_connect() }}}}{where[1]}',
        htmx="none" not in request.args,
        origins=request.args.getlist("origin"),
        **{name: Markup(request.args.get(name, "")) for name in ("body", "before", "after")},
    )


@board.fragment("written")
async def written(name: str) -> str:
    """Show what a user has written since, which was let through as it is."""
    return WRITTEN if numbers[name] else "nothing"


@app.get("/written/<htmx>")
async def show_written(htmx: str) -> str:
    """Show what a user has written, with or without htmx."""
    return await render_template_string(
        IMPORT + "<!doctype html><head>{{ sse_scripts(htmx=htmx) }}</head>{{ sse_status() }}"
        '{{ sse_fragment("board.written", name="a") }}{{ sse_connect() }}',
        htmx=htmx == "htmx",
    )


@app.post("/write")
async def write() -> Response:
    """Write it."""
    numbers["a"] += 1
    await board.topic(name="a").refresh("written")
    return Response(status=204)


@app.get("/wall/<htmx>")
async def wall(htmx: str) -> str:
    """Show a page that hangs on a wall, unless something is typed in it."""
    return await render_template_string(
        IMPORT + "<!doctype html><head>{{ sse_scripts(htmx=htmx, reload=reload) }}</head>"
        "{{ sse_status() }}<input><textarea></textarea><select><option>a<option>b</select>"
        '<input type="checkbox"><p contenteditable>text</p>'
        '{{ sse_fragment("board.number", name="a") }}{{ sse_connect() }}',
        htmx=htmx == "htmx",
        reload="stay" not in request.args,
    )


@app.get("/away/<int:port>")
async def away(port: int) -> WerkzeugResponse:
    """Redirect to another origin, as many an app can be made to."""
    return redirect(f"http://127.0.0.1:{port}/sse")


@app.get("/uploads/stream.txt")
async def upload() -> Response:
    """Answer with a file that a user has uploaded."""
    text = f'event: sse-open\ndata: {{"topics": [["board?name=a"]]}}\n\n{EVIL}'
    return Response(text, content_type="text/plain")


@app.post("/open/<name>")
async def say_openly(name: str) -> Response:
    """Publish an event that every client may receive."""
    await hall.topic(name=name).publish("said", name)
    return Response(status=204)
