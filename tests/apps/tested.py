"""An app as users test theirs: discussions, signed-in users, and all kinds of fragments."""

import asyncio
from collections.abc import AsyncIterator

from quart import Quart, abort, redirect, render_template_string, request, session
from werkzeug.wrappers import Response

from quart_sse import SSE, ConnectionHandle

MACROS = (
    '{% from "quart_sse/macros.html" import sse_scripts, sse_fragment, sse_connect, sse_live %}'
    "<!doctype html>"
)
ONE = """<head>{{ sse_scripts() }}<link rel="icon" href="data:,"></head>
{{ sse_fragment("comments.list", discussion_id=number) }}
{{ sse_fragment("comments.mine", discussion_id=number) }}
{{ sse_connect(topics=[("secrets", {})]) }}"""
TWO = """{{ sse_fragment("comments.list", discussion_id=1) }}
{{ sse_fragment("comments.list", discussion_id=2) }}{{ sse_connect() }}"""
APART = '{{ sse_live("comments.list", discussion_id=1) }}{{ sse_live("clock.now") }}'
DEAD = "<head>{{ sse_scripts() }}</head><p>dead</p>"
REFUSED = '<head>{{ sse_scripts() }}</head><div sse-connect="/sse?t=none&k=a&since=0"></div>'
LIST = """<ul>{% for each in texts %}<li>{{ each }}</li>{% endfor %}</ul>
{{ sse_fragment("comments.count", tag="p", discussion_id=number) }}"""


def make_app(**config: object) -> tuple[Quart, SSE]:
    """Return the app and its extension; both are of this call alone."""
    app = Quart(__name__)
    app.secret_key = "for tests only"
    app.config.update(config)
    sse = SSE(app)
    stored: dict[int, list[str]] = {}
    comments = sse.channel("comments", "/discussion/<int:discussion_id>/comments")
    clock = sse.channel("clock", "/clock", public=True)
    secrets = sse.channel("secrets", "/secrets")

    @sse.identity
    async def who() -> str | None:
        return session.get("user")

    @sse.metadata
    async def metadata() -> dict[str, str]:
        return {"role": "admin" if session.get("user") == "ada" else "none"}

    @secrets.authorize
    async def may_know() -> bool:
        return session.get("user") == "ada"

    @comments.fragment("list", debounce=60.0)
    async def comment_list(discussion_id: int) -> str:
        texts = stored.get(discussion_id, [])
        return await render_template_string(
            MACROS[: -len("<!doctype html>")] + LIST, texts=texts, number=discussion_id
        )

    @comments.fragment("count")
    async def count(discussion_id: int) -> str:
        return str(len(stored.get(discussion_id, [])))

    @comments.fragment("mine", personal=True)
    async def mine(discussion_id: int) -> str:
        if "no mine" in stored.get(discussion_id, []):
            abort(500)
        return f"{session.get('user')}: {len(stored.get(discussion_id, []))}"

    @comments.initial
    async def hello(discussion_id: int) -> AsyncIterator[tuple[str, object]]:
        yield "hello", {"number": discussion_id}

    @clock.fragment("now")
    async def now() -> str:
        if app.config.get("BROKEN"):
            raise ValueError("broken")
        return "noon"

    @sse.on_disconnect
    async def say_goodbye(connection: ConnectionHandle, ending: object) -> None:
        await clock.topic().publish("left", connection.identity)

    @app.post("/sign-in")
    async def sign_in() -> Response | str:
        session["user"] = (await request.form)["name"]
        return ""

    @app.get("/discussion/<int:number>")
    async def discussion(number: int) -> str:
        return await render_template_string(MACROS + ONE, number=number)

    @app.post("/discussion/<int:number>")
    async def add(number: int) -> tuple[str, int]:
        form = await request.form
        stored.setdefault(number, []).append(form["text"])
        topic = comments.topic(discussion_id=number)
        await topic.publish("comment-added", {"by": session.get("user")}, to_others=True)
        await topic.refresh()
        return "", 204

    @app.post("/thread")
    def from_a_thread() -> str:
        asyncio.run(clock.topic().publish("ticked", "from a thread"))
        return ""

    pages = {"/two": TWO, "/apart": APART, "/dead": DEAD, "/refused": REFUSED}
    for path, template in pages.items():

        async def page(template: str = template) -> str:
            return await render_template_string(MACROS + template)

        app.add_url_rule(path, path[1:], page)

    @app.get("/away")
    async def away() -> Response:
        return redirect("/sign-in")

    @app.get("/json")
    async def json() -> dict[str, int]:
        return {"a": 1}

    return app, sse


app, sse = make_app()  #: for servers
