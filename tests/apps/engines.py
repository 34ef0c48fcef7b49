"""Pages for the checks that run in every browser engine."""

import secrets
from collections import Counter
from typing import Any

from quart import Quart, Response, make_response, render_template_string, request, session

from quart_sse import SSE

app = Quart(__name__)
app.secret_key = "for tests only"
app.config["QUART_SSE_HISTORY"] = 1000
app.config["QUART_SSE_RETRY"] = 1.0
sse = SSE(app)
sse.inspector(authorize=lambda: session.get("user") == "operator")
news = sse.channel("news", "/news/<name>", public=True)
room = sse.channel("room", "/room/<name>")

numbers: Counter[str] = Counter()

PAGE = """<!doctype html>
{% from "quart_sse/macros.html" import sse_scripts, sse_fragment, sse_connect, sse_status %}
<title>{{ name }}</title>
<meta name="htmx-config" content='{"includeIndicatorStyles": false}'>{{ sse_scripts(nonce=nonce) }}
<script nonce="{{ nonce }}">
  window.got = [];
  QuartSSE.on("news", "tick", {name: "{{ name }}"}, (number) => got.push(number));
  addEventListener("click", ({target}) =>
    target.matches("button") && fetch("/tick/{{ name }}", {method: "POST"}));
  addEventListener("pageshow", (event) => { window.isPersisted = event.persisted; });
</script>
{{ sse_status() }}
<button>Count</button>
{{ sse_fragment("news.number", name=name) }}
{{ sse_fragment("news.form", name=name) }}
{% if personal %}{{ sse_fragment("room.mine", name=name) }}{% endif %}
{{ sse_connect() }}"""


class Streams:
    """Counts the event streams that are open, by the engine of the browser that has opened them."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.open: Counter[str] = Counter()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] != "/sse":
            await self.inner(scope, receive, send)
            return
        engine = engine_of(dict(scope["headers"]).get(b"user-agent", b"").decode())
        self.open[engine] += 1
        try:
            await self.inner(scope, receive, send)
        finally:
            self.open[engine] -= 1


def engine_of(agent: str) -> str:
    """Return the engine that a User-Agent names."""
    if "Firefox" in agent:
        return "firefox"
    return "chromium" if "Chrome" in agent else "webkit"


streams = Streams(app.asgi_app)
app.asgi_app = streams  # type: ignore[method-assign]


@sse.identity
async def identity() -> str | None:
    """Say who is signed in."""
    return session.get("user")


@news.fragment("number")
async def number(name: str) -> str:
    """Show how many events there were."""
    return f'<b id="number">{numbers[name]}</b>'


@news.fragment("form")
async def form(name: str) -> str:
    """Show a field inside a fragment."""
    return f'<p id="before">{numbers[name]}</p><input id="typed" name="typed" value="">'


@room.fragment("mine", personal=True)
async def mine(name: str) -> str:
    """Show something that differs between viewers."""
    return f'<u id="mine">{session.get("user")} sees {numbers[name]}</u>'


@app.get("/page/<name>")
async def page(name: str) -> Response:
    """Show a number, and collect the events of its topic."""
    nonce = secrets.token_urlsafe() if "strict" in request.args else ""
    personal = "personal" in request.args
    text = await render_template_string(PAGE, name=name, nonce=nonce, personal=personal)
    response = await make_response(text)
    assert isinstance(response, Response)
    if nonce:
        response.headers["Content-Security-Policy"] = (
            f"default-src 'none'; script-src 'nonce-{nonce}'; connect-src 'self'; img-src 'self'; "
            "worker-src 'self'; base-uri 'none'; form-action 'self'"
        )
    return response


@app.get("/elsewhere")
async def elsewhere() -> str:
    """Show a page that is not live."""
    return "<!doctype html><title>elsewhere</title><p>Nothing happens here.</p>"


@app.post("/tick/<name>")
async def tick(name: str) -> dict[str, int]:
    """Publish the next event, and change what shows the number."""
    numbers[name] += 1
    topic = news.topic(name=name)
    await topic.refresh("number", "form")
    await room.topic(name=name).refresh("mine")
    await topic.publish("tick", numbers[name])
    return {"number": numbers[name]}


@app.get("/streams/<engine>")
async def count(engine: str) -> dict[str, object]:
    """Say how many streams browsers of an engine have open, and for which topics."""
    topics = {
        topic
        for connection in app.extensions["quart_sse"].connections
        for topic in connection.subscription
    }
    return {"open": streams.open[engine], "topics": sorted(topics)}


@app.get("/sign-in/<user>")
async def sign_in(user: str) -> str:
    """Sign a user in."""
    session["user"] = user
    return "<!doctype html><p>Welcome."
