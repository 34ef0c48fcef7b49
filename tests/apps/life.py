"""Pages for the tests of what happens to live pages in the life of a browser."""

import asyncio
import os
import re
from typing import Any

from quart import Quart, Response, abort, render_template_string, session

from quart_sse import SSE
from quart_sse.pages.assets import ASSETS

app = Quart(__name__)
app.secret_key = "for tests only"
app.config["QUART_SSE_HISTORY"] = 1000
app.config["QUART_SSE_RETRY"] = 1.0
sse = SSE(app)
#: Pages of it alone may be kept in the back-forward cache: nothing in them is signed.
news = sse.channel("news", "/news/<name>", public=True)
room = sse.channel("room", "/room/<name>")
#: What is missed of it is soon forgotten.
brief = sse.channel("brief", "/brief/<name>", history=2)
channels = {channel.name: channel for channel in (news, room, brief)}

numbers: dict[str, int] = {}
tickers: dict[str, asyncio.Event] = {}

PAGE = """<!doctype html>
{% from "quart_sse/macros.html" import sse_scripts, sse_fragment, sse_connect %}
<title>{{ name }}</title>{{ sse_scripts() }}
<script>
  window.got = [];
  QuartSSE.on("{{ channel }}", "tick", {name: "{{ name }}"}, (number) => got.push(number));
  addEventListener("pageshow", (event) => { window.isPersisted = event.persisted; });
</script>
{{ sse_fragment(channel ~ ".number", name=name) }}
{{ sse_connect() }}"""


class Streams:
    """Counts the event streams that the server has open, where no library can be mistaken."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.open = self.most = self.total = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] != "/sse":
            await self.inner(scope, receive, send)
            return
        self.open += 1
        self.total += 1
        self.most = max(self.most, self.open)
        try:
            await self.inner(scope, receive, send)
        finally:
            self.open -= 1


streams = Streams(app.asgi_app)
app.asgi_app = streams  # type: ignore[method-assign]


@sse.identity
async def identity() -> str | None:
    """Say who is signed in."""
    return session.get("user")


async def number(name: str) -> str:
    """Show how many events there were."""
    return f'<b id="{name}">{numbers.get(name, 0)}</b>'


for declared in channels.values():
    declared.fragment("number")(number)


@app.get("/page/<channel>/<name>")
async def page(channel: str, name: str) -> str:
    """Show a number, and collect the events of its topic."""
    return await render_template_string(PAGE, channel=channel, name=name)


@app.get("/mine")
async def mine() -> str:
    """Show a signed-in user what no other user may see."""
    if "user" not in session:
        abort(403)
    return await render_template_string(PAGE, channel="room", name=session["user"])


@app.get("/elsewhere")
async def elsewhere() -> str:
    """Show a page that is not live."""
    return "<!doctype html><title>elsewhere</title><p>Nothing happens here.</p>"


@app.post("/tick/<channel>/<name>")
async def tick(channel: str, name: str) -> dict[str, int]:
    """Publish the next event, and change the number."""
    numbers[name] = numbers.get(name, 0) + 1
    topic = channels[channel].topic(name=name)
    await topic.refresh("number")
    await topic.publish("tick", numbers[name])
    return {"number": numbers[name]}


@app.post("/start/<channel>/<name>/<int:pause_ms>")
async def start(channel: str, name: str, pause_ms: int) -> Response:
    """Publish from now on."""
    ended = tickers[name] = asyncio.Event()

    async def publish() -> None:
        while not ended.is_set():
            await tick(channel, name)
            await asyncio.sleep(pause_ms / 1000)

    app.add_background_task(publish)
    return Response(status=204)


@app.post("/end/<name>")
async def end(name: str) -> dict[str, int]:
    """Publish no more; say how many events there were."""
    tickers.pop(name).set()
    return {"number": numbers[name]}


@app.get("/streams")
async def count() -> dict[str, int]:
    """Say how many streams are open, how many were at most, and how many in all."""
    return {"open": streams.open, "most": streams.most, "total": streams.total}


@app.post("/forget")
async def forget() -> Response:
    """Restart the count of the most streams."""
    streams.most = streams.open
    return Response(status=204)


@app.get("/sign-in/<user>")
async def sign_in(user: str) -> str:
    """Sign a user in."""
    session["user"] = user
    return "<!doctype html><p>Welcome."


@app.get("/sign-out")
async def sign_out() -> str:
    """Sign out as an app should: streams end, and clients that reconnect are judged again."""
    await sse.disconnect(identity=session.pop("user"))
    return "<!doctype html><p>Goodbye."


# -- a script that notices silence sooner ----------------------------------------------------------

SILENCE_MS = os.environ.get("SILENCE_MS")


@app.get("/impatient.js")
async def impatient() -> Response:
    """Serve the script with another patience."""
    script = (ASSETS / "static/quart-sse.js").read_text()
    script, changes = re.subn(r"\b45000\b", f"{SILENCE_MS}", script)
    assert changes == 1, "where is the time after which a silent connection is given up?"
    return Response(script, content_type="text/javascript")


@app.after_request
async def use_impatient(response: Response) -> Response:
    """Let pages load that script instead of the one of the package."""
    if SILENCE_MS and response.mimetype == "text/html" and response.status_code == 200:
        text = await response.get_data(as_text=True)
        script = r'src="[^"]*quart-sse\.min\.js[^"]*" integrity="[^"]*"'
        response.set_data(re.sub(script, 'src="/impatient.js"', text))
    return response
