"""Lists whose items a test says, for the tests of lists in browsers and in live pages."""

import os
from collections import defaultdict
from typing import Any, Literal

from markupsafe import Markup
from quart import Quart, Response, render_template_string, request

from quart_sse import SSE

app = Quart(__name__)
app.debug = "DEBUG" in os.environ
app.secret_key = "for tests only"
sse = SSE(app)
board = sse.channel("board", "/board/<name>", public=True)
#: Name of a topic -> key of an item -> its order and HTML.
said: dict[str, dict[str, tuple[Any, str]]] = defaultdict(dict)
rendered: list[str] = []  #: keys of the items that were rendered; "*" for a whole list

PAGE = """<!doctype html>
{% from "quart_sse/macros.html" import sse_scripts, sse_fragment, sse_connect %}
<head><title>page</title>{{ sse_scripts(htmx=htmx, shared=shared) }}</head>
<input id="outside">
{{ before }}{{ sse_fragment("board." + list, name=name, tag=tag, attrs=attrs) }}{{ foot }}
{{ sse_connect() }}"""

ITEM = """{% from "quart_sse/macros.html" import sse_item, sse_fragment -%}
<{{ tag }} {{ sse_item(key, order=order) }}>{{ html }}
{%- if "NESTED" in html %}{{ sse_fragment("board.count", name=name, tag="b") }}{% endif -%}
</{{ tag }}>
"""


def _sorted(name: str, is_up: bool) -> list[tuple[str, Any, str]]:
    rows = [(key, order, html) for key, (order, html) in said[name].items()]
    has_order = all(order is not None for _, order, _ in rows)
    return sorted(rows, key=lambda row: row[1], reverse=is_up) if has_order else rows


async def _item(name: str, key: str, tag: str) -> str:
    order, html = said[name][key]
    values = {"name": name, "key": key, "order": order, "html": Markup(html), "tag": tag}
    return str(await render_template_string(ITEM, **values))


def _declare(
    list: str, tag: str, *, place: Literal["start", "end"] = "end", keep: int | None = None
) -> None:
    is_up = place == "start"

    @board.fragment(list, debounce=0.0)
    async def whole(name: str) -> str:
        rendered.append("*")
        keys = [key for key, _, _ in _sorted(name, is_up)]
        keys = keys if keep is None else keys[:keep] if is_up else keys[-keep:]
        return "".join([await _item(name, key, tag) for key in keys])

    @board.item(list, place=place, keep=keep)
    async def one(name: str, key: str) -> str | None:
        rendered.append(key)
        return await _item(name, key, tag) if key in said[name] else None


_declare("rows", "li")
_declare("tops", "article", place="start", keep=3)  # the newest three first
_declare("cells", "tr")
_declare("options", "option")


@board.fragment("count")
async def count(name: str) -> str:
    """Show how many there are."""
    return str(len(said[name]))


@app.post("/say/<list>/<name>")
async def say(list: str, name: str) -> Response:
    """Change items: key -> order and HTML, or null for one that goes; then refresh them."""
    told = await request.get_json()
    for key, value in told["items"].items():
        if value is None:
            said[name].pop(key, None)
        else:
            said[name][key] = (value[0], value[1])
    topic = board.topic(name=name)
    if told.get("whole"):
        await topic.refresh(list)
    for key in () if told.get("whole") or told.get("quiet") else told["items"]:
        await topic.refresh(list, item=key, to_others=bool(told.get("to_others")))
    return Response(status=204)


@app.get("/page/<list>/<name>")
async def page(list: str, name: str) -> str:
    """Show the list, with what a test puts before it and behind it."""
    more = {part: Markup(request.args.get(part, "")) for part in ("before", "foot")}
    return await render_template_string(
        PAGE,
        list=list,
        name=name,
        htmx="plain" not in request.args,
        shared="unshared" not in request.args,
        tag=request.args.get("tag", "ul"),
        attrs={"data-sse-follow": request.args["follow"]} if "follow" in request.args else None,
        **more,
    )


@app.get("/rendered")
async def tell_rendered() -> list[str]:
    """Say what was rendered."""
    return rendered
