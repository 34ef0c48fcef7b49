"""The app behind the proxies: events, a page, and how many streams are open."""

from quart import Quart, render_template_string

from quart_sse import SSE

app = Quart(__name__)
app.secret_key = "for measurements only"
# Twenty streams of one browser over HTTP/2, of which the app sees HTTP/1.1.
app.config["QUART_SSE_MAX_PER_BROWSER"] = 64
sse = SSE(app)
news = sse.channel("news", "/news", public=True)
shown = {"count": 0}

PAGE = """<!doctype html>
{% from "quart_sse/macros.html" import sse_scripts, sse_fragment, sse_connect %}
<head>{{ sse_scripts() }}</head>{{ sse_fragment("news.count") }}{{ sse_connect() }}"""


@news.fragment("count")
async def count() -> str:
    """Show how often the count was raised."""
    return f"<b id='count'>{shown['count']}</b>"


@app.get("/")
async def page() -> str:
    """Show the count."""
    return await render_template_string(PAGE)


@app.post("/publish/<text>")
async def publish(text: str) -> dict[str, str]:
    """Publish an event."""
    await news.topic().publish("said", text)
    return {}


@app.post("/count/<int:number>")
async def raise_count(number: int) -> dict[str, str]:
    """Set the count: a process that was started anew knows none."""
    shown["count"] = number
    await news.topic().refresh("count")
    return {}


@app.get("/open")
async def how_many() -> dict[str, int]:
    """Tell how many streams are open."""
    return {"open": len(app.extensions["quart_sse"].connections)}
