"""An app with answers in JSON whose clients open streams, and with a page that appends.

``AUTH=1`` lets quart-auth know the users, ``PREFIX`` is where the streams are. A middleware is
around the app, and ``/shelf/<name>?during=...`` lets something be published while the view runs.
"""

import asyncio
import os
from typing import Any

from quart import Quart, Response, render_template_string, request

from quart_sse import SSE

app = Quart(__name__)
app.secret_key = "for tests only, and long enough to sign with"
app.config["QUART_SSE_URL_PREFIX"] = os.environ.get("PREFIX", "/sse")
app.config["QUART_AUTH_COOKIE_SECURE"] = False
sse = SSE(app)
shelf = sse.channel("shelf", "/shelf/<name>")
rooms = sse.channel("rooms", "/rooms/<name>")
news = sse.channel("news", "/news", public=True)
news.fragment("list", debounce=0)(lambda: "<b>list</b>")
#: Name of a shelf -> its books; of this process alone, as each test asks one.
books: dict[str, list[dict[str, object]]] = {}

PAGE = """
{% from "quart_sse/macros.html" import sse_scripts, sse_connect, sse_seen, sse_status %}
<!doctype html><head>{{ sse_scripts(htmx=htmx) }}</head>
{{ sse_status() }}
<ol>{% for book in books %}
<li {{ sse_seen("shelf.added", book.id, name=name) }}>{{ book.title }}</li>
{% endfor %}</ol>
{% if htmx %}<p hx-get="{{ url_for('one') }}" hx-swap="beforeend"
  hx-trigger="shelf.added?name={{ name }} from:document">asks: </p>{% endif %}
{{ sse_connect(topics=[("shelf", {"name": name})], enabled=enabled) }}
<script>
window.heard = [];
QuartSSE.on("shelf", "added", {name: "{{ name }}"}, (book) => {
  heard.push(book.id);
  const item = document.createElement("li");
  item.textContent = book.title;
  document.querySelector("ol").append(item);
});
</script>
"""


if "AUTH" in os.environ:
    from quart_auth import AuthUser, QuartAuth, current_user, login_user

    QuartAuth(app)

    @app.get("/login/<who>")
    async def login(who: str) -> Response:
        """Sign a user in."""
        login_user(AuthUser(who))
        return Response("")

    def user() -> str | None:
        """Return the user as quart-auth knows it."""
        return current_user.auth_id

else:

    @app.get("/login/<who>")
    async def login(who: str) -> Response:
        """Sign a user in, after a fashion."""
        response = Response("")
        response.set_cookie("who", who)
        return response

    def user() -> str | None:
        """Return the user by a cookie that anyone may write."""
        return request.cookies.get("who")


@sse.identity
async def identity() -> str | None:
    """Return the user."""
    return user()


@rooms.authorize
async def may_enter(name: str) -> bool:
    """Let every user into the room of the same name."""
    return user() == name


async def add(name: str, title: str) -> None:
    """Put a book on a shelf, and publish that."""
    held = books.setdefault(name, [])
    book: dict[str, object] = {"id": len(held) + 1, "title": title}
    held.append(book)
    await shelf.topic(name=name).publish("added", book)


@app.get("/api/shelf/<name>")
async def as_json(name: str) -> dict[str, object]:
    """Answer with what is on a shelf, and with the URL of what comes."""
    held = list(books.get(name, []))
    await asyncio.sleep(0)
    return {"books": held, "stream": await sse.connect_url(shelf.topic(name=name))}


@app.get("/api/news")
async def public() -> dict[str, object]:
    """Answer with the URL of a public topic."""
    return {"stream": await sse.connect_url(news.topic())}


@app.get("/shelf/<name>")
async def page(name: str) -> str:
    """Show what is on a shelf, and append what comes."""
    for title in request.args.getlist("during"):
        await add(name, title)
    return await render_template_string(
        PAGE,
        name=name,
        books=books.get(name, []),
        htmx="plain" not in request.args,
        enabled="print" not in request.args,
    )


@app.get("/empty")
async def empty() -> str:
    """Show a page on which nothing is live, with a link that htmx follows to one that is off."""
    return await render_template_string(
        '{% from "quart_sse/macros.html" import sse_scripts, sse_status %}'
        "<!doctype html><head>{{ sse_scripts() }}</head>{{ sse_status() }}"
        '<a id="off" hx-boost="true" href="{{ url_for("page", name="a", print=1) }}">off</a>'
    )


@app.get("/one")
async def one() -> str:
    """Answer htmx."""
    return "<b>one</b>"


@app.post("/shelf/<name>/<title>")
async def put(name: str, title: str) -> Response:
    """Put a book on a shelf."""
    await add(name, title)
    return Response(status=204)


@app.post("/publish/<channel>/<data>")
async def publish(channel: str, data: str) -> Response:
    """Publish to the topic that a user's name or nothing picks."""
    topic = news.topic() if channel == "news" else sse.topic("rooms", name=channel)
    await topic.publish("said", data)
    if channel == "news":
        await topic.refresh()
    return Response(status=204)


class Outer:
    """Adds a header to every answer, as middleware of apps does.

    Args:
        inner: The app.
    """

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Call the app."""

        async def send_more(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-outer", b"yes")]
            await send(message)

        await self.inner(scope, receive, send_more)


app.asgi_app = Outer(app.asgi_app)  # type: ignore[method-assign]
