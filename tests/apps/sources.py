"""Streams of their own, for real servers and real browsers: who began, and who ended."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from quart import Blueprint, Quart, Response, render_template_string, request

from quart_sse import SSE, BlockingOwnStream, OwnStream

app = Quart(__name__)
app.secret_key = "for tests only"
app.config["RESPONSE_TIMEOUT"] = 1  # of other responses
app.config["QUART_SSE_RETRY"] = 0.2
sse = SSE(app)
blueprint = Blueprint("own", __name__)
if "compress" in os.environ.get("PACKAGES", ""):
    from quart_compress import Compress  # type: ignore[import-untyped]

    Compress(app)

#: What happened, by kind of source: how often it began, sent and cleaned up.
begun, sent, ended = Counter[str](), Counter[str](), Counter[str]()
#: Lets sources that wait go on.
go_on = asyncio.Event()
LARGE = "x" * 20_000
#: Seconds between two ticks.
PAUSE = 0.02


async def ticks(kind: str = "async", first: int = 0) -> AsyncIterator[Any]:
    """Count for ever."""
    begun[kind] += 1
    try:
        for number in range(first, 1_000_000):
            sent[kind] += 1
            yield "tick", number
            await asyncio.sleep(PAUSE)
    finally:
        await asyncio.sleep(0)
        ended[kind] += 1


def sync_ticks() -> Iterator[Any]:
    """Count for ever, in a thread."""
    begun["sync"] += 1
    try:
        for number in range(1_000_000):
            sent["sync"] += 1
            yield "tick", number
            time.sleep(PAUSE)
    finally:
        ended["sync"] += 1


async def callback(stream: OwnStream) -> None:
    """Count for ever, through the stream."""
    begun["callback"] += 1
    try:
        for number in range(1_000_000):
            await stream.send("tick", number)
            await asyncio.sleep(PAUSE)
    finally:
        ended["callback"] += 1


def sync_callback(stream: BlockingOwnStream) -> None:
    """Count for ever in a thread, through the stream."""
    begun["sync-callback"] += 1
    try:
        for number in range(1_000_000):
            stream.send("tick", number)
            time.sleep(PAUSE)
    finally:
        ended["sync-callback"] += 1


SOURCES: dict[str, Callable[[], Any]] = {
    "async": ticks,
    "sync": sync_ticks,
    "callback": lambda: callback,
    "sync-callback": lambda: sync_callback,
}


@blueprint.get("/ticks/<kind>")
async def ticking(kind: str) -> Response:
    """Count for ever, by each kind of source."""
    return await sse.stream(SOURCES[kind]())


@blueprint.get("/large/<kind>")
async def large(kind: str) -> Response:
    """Send much, for ever, as fast as it is taken."""

    async def much() -> AsyncIterator[str]:
        while True:
            sent[kind] += 1
            yield LARGE

    def much_in_a_thread() -> Iterator[str]:
        while True:
            sent[kind] += 1
            yield LARGE

    return await sse.stream(much() if kind == "async" else much_in_a_thread())


@blueprint.get("/job/<name>")
async def job(name: str) -> Response:
    """Do ten steps, once; ``?wait=3`` waits before the fourth until it may go on."""
    wait, fails = request.args.get("wait", -1, type=int), request.args.get("fails", -1, type=int)

    async def steps() -> AsyncIterator[tuple[str, Any]]:
        begun[name] += 1
        try:
            for step in range(10):
                if step == wait:
                    await go_on.wait()
                if step == fails:
                    raise ValueError("what no client may read")
                sent[name] += 1
                yield "progress", {"step": step, "html": f"<b>{step}</b>"}
                yield "line", f"<li>line {step}</li>"
        finally:
            ended[name] += 1

    return await sse.stream(steps())


@blueprint.get("/resumed")
async def resumed() -> Response:
    """Count on from where the client was."""

    async def rows(last_event_id: str | None) -> AsyncIterator[Any]:
        from quart_sse import Event

        begun["resumed"] += 1
        for number in range(int(last_event_id or -1) + 1, 1_000_000):
            yield Event(str(number), name="tick", id=str(number))
            await asyncio.sleep(PAUSE)

    return await sse.stream(rows, resume=True)


@blueprint.post("/go-on")
async def let_go_on() -> Response:
    """Let those go on that wait."""
    go_on.set()
    return Response(status=204)


@blueprint.get("/state")
async def state() -> dict[str, Any]:
    """Tell what happened."""
    open_ = sse.connections.count()
    return {"pid": os.getpid(), "open": open_, "begun": begun, "sent": sent, "ended": ended}


PAGE = """<!doctype html>
{% from "quart_sse/macros.html" import sse_scripts, sse_stream with context %}
<title>{{ name }}</title>
<meta name="htmx-config" content='{"includeIndicatorStyles": false}'>
{{ sse_scripts(htmx=htmx) }}
<script src="{{ url_for('own.script') }}"></script>
<body>
<main id="main">
{% call sse_stream(url, attrs={"id": "own", "hx-get": url_for("own.done"), "hx-trigger": "sse-stop",
                                "hx-target": "#done"} if htmx else {"id": "own"}) %}
<p id="bar" sse-swap="line"></p>
<ul id="tail" sse-swap="line" hx-swap="beforeend"></ul>
<p id="inner" {% if htmx %}hx-get="{{ url_for("own.done") }}" hx-trigger="sse:progress"
   hx-target="this"{% endif %}></p>
{% endcall %}
</main>
<p id="done"></p>
<a id="away" href="{{ url_for("own.empty") }}" {% if htmx %}hx-boost="true"{% endif %}>away</a>
<script src="{{ url_for("own.late") }}" defer></script>
</body>"""

SCRIPT = """
window.got = [];
window.shown = [];
addEventListener("pageshow", (event) => { window.isPersisted = event.persisted; });
for (const name of ["sse:progress", "sse-stop", "sse-error", "sse-holdoff", "sse-open"])
  addEventListener(name, ({ detail }) => got.push([name, detail.data]), true);
"""


@blueprint.get("/page/<path:path>")
async def page(path: str) -> Response:
    """Show a page with a stream of its own; the policy allows nothing inline."""
    query = request.query_string.decode()
    url = f"{request.root_path}{prefix}/{path}" + (f"?{query}" if query else "")
    html = await render_template_string(PAGE, url=url, name=path, htmx="plain" not in request.args)
    policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'"
    return Response(html, headers={"Content-Security-Policy": policy})


@blueprint.get("/script.js")
async def script() -> Response:
    """Note what the page is sent."""
    return Response(SCRIPT, mimetype="text/javascript")


@blueprint.get("/late.js")
async def late() -> Response:
    """Answer with the last script of a page, which does nothing."""
    return Response("", mimetype="text/javascript")


@blueprint.get("/empty")
async def empty() -> str:
    """Show nothing live."""
    return "<!doctype html><title>empty</title><body><p id='empty'>nothing</p></body>"


@blueprint.get("/done")
async def done() -> str:
    """Answer htmx."""
    return "done"


prefix = os.environ.get("OWN_PREFIX", "")
app.register_blueprint(blueprint, url_prefix=prefix or None)
