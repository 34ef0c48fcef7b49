"""The app that is attacked: what an ordinary user sees, and what attackers ask for."""

import asyncio
import hashlib
import time
from collections import Counter
from typing import Any

from hypercorn.middleware import ProxyFixMiddleware
from quart import Quart, Response, render_template_string, request

from quart_sse import SSE

app = Quart(__name__)
app.secret_key = "for attacks only"
sse = SSE(app)
#: Of a channel of its own, so that there is one in each second of a short attack.
HEARTBEAT = 1.0
#: Bytes of an event that ordinary users are sent, and of one that keeps slow readers busy.
ORDINARY, LARGE = 200, 20_000
#: Seconds that an expensive render waits for its database, and keeps the processor busy.
WAITS, WORKS = 0.1, 0.001

news = sse.channel("news", "/news", public=True, heartbeat=HEARTBEAT)
# One letter each, so that a URL has room for many.
opened = sse.channel("o", "/o/<n>", public=True)
guarded = sse.channel("g", "/g/<n>")
dear = sse.channel("d", "/d/<n>", public=True)
lounge = sse.channel("p", "/p/<n>", public=True)
counts: Counter[str] = Counter()

PAGE = """{% from "quart_sse/macros.html" import sse_fragment, sse_connect %}
<h1>News</h1>{{ sse_fragment("news.front") }}{{ sse_connect() }}"""
WIDE = """{% from "quart_sse/macros.html" import sse_fragment, sse_connect %}
{% for name in shown %}{{ sse_fragment("o.l", n=name) }}{% endfor %}
{{ sse_connect(topics=topics) }}"""


@guarded.authorize
async def may_enter(n: str) -> bool:
    """Let in no client, after a look into the database."""
    counts["authorize"] += 1
    await asyncio.sleep(0.002)
    return False


@news.fragment("front")
async def front() -> str:
    """Show the newest."""
    return f"<p>{counts['published']}</p>"


@opened.fragment("l")
@guarded.fragment("l")
async def listed(n: str) -> str:
    """Show a small list."""
    counts["renders"] += 1
    await asyncio.sleep(0)
    return f"<p>{n}</p>"


@dear.fragment("l")
async def slow(n: str) -> str:
    """Show what takes its time."""
    counts["renders"] += 1
    await asyncio.sleep(WAITS)
    end = time.perf_counter() + WORKS
    while time.perf_counter() < end:
        pass
    return f"<p>{n}</p>" * 10


@dear.fragment("m", personal=True)
async def own(n: str) -> str:
    """Show what takes its time, to one user."""
    return await slow(n)


@lounge.fragment("l", presence=True)
async def people(n: str) -> str:
    """Show who is here."""
    counts["renders"] += 1
    here = await lounge.topic(n=n).presence()
    return f"<p>{here.people}</p>"


@app.get("/")
async def page() -> str:
    """Show the ordinary page."""
    return await render_template_string(PAGE)


@app.post("/news")
async def publish() -> dict[str, object]:
    """Publish an event, and say that the fragment has changed."""
    counts["published"] += 1
    await news.topic().publish("said", "x" * ORDINARY)
    await news.topic().refresh("front")
    return {}


@app.get("/wide")
async def wide() -> str:
    """Show a page of ``count`` topics from number ``first``: with fragments, or with long names."""
    first, count = int(request.args["first"]), int(request.args["count"])
    names = [str(number) for number in range(first, first + count)]
    if "long" in request.args:
        names = [hashlib.sha512(name.encode()).hexdigest() for name in names]
    shown = names if "shown" in request.args else []
    topics = [opened.topic(n=name) for name in names]
    return await render_template_string(WIDE, topics=topics, shown=shown)


@app.post("/fill")
async def fill() -> dict[str, object]:
    """Publish ``events`` of ``size`` bytes to each of ``topics`` topics."""
    events, size = int(request.args["events"]), int(request.args["size"])
    topics = [opened.topic(n=str(number)) for number in range(int(request.args["topics"]))]
    for _ in range(events):
        await asyncio.gather(*(topic.publish("said", "x" * size) for topic in topics))
    return {}


@app.post("/loud")
async def loud() -> Response:
    """Publish one large event to the topic of slow readers."""
    await opened.topic(n="loud").publish("said", "x" * LARGE)
    return Response(status=204)


@app.get("/counts")
async def count() -> dict[str, Any]:
    """Tell what the app was asked."""
    return {**counts, "streams": len(app.extensions["quart_sse"].connections)}


#: As behind a proxy: clients have the addresses that they say.
served = ProxyFixMiddleware(app)
