"""Pages that show notifications, under a policy that allows nothing inline."""

from quart import Quart, Response, render_template_string, request

from quart_sse import SSE, Target

app = Quart(__name__)
app.secret_key = "for tests only"
sse = SSE(app)
rooms = sse.channel("rooms", "/rooms/<name>", public=True)

POLICY = "; ".join(
    (
        "default-src 'none'; script-src 'self'; worker-src 'self'; connect-src 'self'",
        "style-src 'self'; img-src 'self'; require-trusted-types-for 'script'",
    )
)

#: What htmx needs of a browser that asks for trusted types: it swaps HTML by design.
BASE = (
    '{% from "quart_sse/macros.html" import'
    " sse_scripts, sse_fragment, sse_connect, sse_notifications -%}"
    "<!doctype html><html lang=en><head><title>{{ path }}</title>"
    '<meta name="color-scheme" content="light dark">'
    """<meta name="htmx-config" content='{"includeIndicatorStyles": false}'>"""
    "{{ sse_scripts() }}</head>"
    '<body hx-boost="true" hx-boost:inherited="true"><h1>{{ path }}</h1><input id="field">'
    '<a id="other" href="/{{ "b" if path == "a" else "a" }}?{{ query }}">other</a> '
    '<a id="plain" hx-boost="false" href="/b?{{ query }}">plain</a>'
    '<script src="/listen.js"></script>'
    "{{ sse_notifications(seconds=seconds, tabs=tabs) }}"
    '{{ sse_connect(topics=[("rooms", {"name": path})]) }}</body></html>'
)
LISTEN = """
window.heard ||= [];
QuartSSE.on("user", "said", (text) => heard.push(text));
"""


@sse.identity
def who() -> str | None:
    """Return the user, as a cookie says."""
    return request.cookies.get("who")


@app.after_request
async def add_policy(response: Response) -> Response:
    """Allow nothing inline."""
    response.headers["Content-Security-Policy"] = POLICY.partition("; require")[0]
    return response


@app.get("/listen.js")
async def listen() -> Response:
    """Return a script that stands in the body of each page."""
    return Response(LISTEN, content_type="text/javascript")


@app.get("/<any(a, b):path>")
async def page(path: str) -> str:
    """Show a page with notifications."""
    seconds = float(request.args.get("seconds", "0")) or None
    tabs = request.args.get("tabs", "all")
    query = request.query_string.decode()
    return await render_template_string(BASE, path=path, seconds=seconds, tabs=tabs, query=query)


@app.post("/notify/<target>/<name>")
async def notify(target: str, name: str) -> Response:
    """Notify a user, a room or everyone."""
    to: Target = sse.everyone
    if target != "everyone":
        to = sse.user(name) if target == "user" else rooms.topic(name=name)
    message = request.args.get("message", "Saved")
    level = request.args.get("level", "success")
    data = {"url": request.args.get("url")}
    await to.notify(message, level=level, title=request.args.get("title"), data=data)  # type: ignore[arg-type]
    return Response(status=204)


@app.post("/say/<name>/<text>")
async def say(name: str, text: str) -> Response:
    """Publish an event of a user."""
    await sse.user(name).publish("said", text)
    return Response(status=204)
