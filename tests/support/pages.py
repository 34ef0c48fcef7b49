"""An app with two channels, and its pages as a browser has them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bs4 import BeautifulSoup, Tag
from httpx_sse import ServerSentEvent
from quart import Quart, render_template_string
from quart.testing import QuartClient

from quart_sse import SSE
from tests.support.streams import Stream, connect_urls, open_stream

MACROS = (
    '{% from "quart_sse/macros.html" '
    "import sse_scripts, sse_fragment, sse_connect, sse_event, sse_live, sse_presence, sse_seen, "
    "sse_status, sse_stream %}"
)


LIST = '{{ sse_fragment("board.list") }}'
LIST_AND_CONNECT = LIST + "{{ sse_connect() }}"
SIGNED = '{{ sse_fragment("hidden.list") }}{{ sse_connect() }}'


def make_app(folder: Path | None = None, **config: object) -> Quart:
    """Return an app whose templates are in a folder, with two channels."""
    app = Quart(__name__, template_folder=None if folder is None else str(folder))
    app.secret_key = "for tests only"
    app.config.update(config)
    sse = SSE(app)
    board = sse.channel("board", "/board", public=True)
    board.fragment("list")(lambda: "<li>list</li>")
    board.fragment("count")(lambda: "3")
    rooms = sse.channel("rooms", "/rooms/<path:room>/<int:seat>", public=True)
    rooms.fragment("list")(lambda room, seat: f"{room} {seat}")
    sse.channel("clubs", "/clubs/<int:seat>", public=True, presence=True)
    hidden = sse.channel("hidden", "/hidden")
    hidden.fragment("list")(lambda: "hidden")
    hidden.fragment("mine", personal=True)(lambda: "mine")
    return app


def add_page(app: Quart, body: str, path: str = "/") -> None:
    """Give an app a page."""

    async def page() -> str:
        return await render_template_string(MACROS + body)

    app.add_url_rule(path, f"page {path}", page)


def parse(html: str) -> BeautifulSoup:
    """Return a page as a browser would have it."""
    return BeautifulSoup(html, "html.parser")


async def get_page(app: Quart, path: str = "/", **options: Any) -> BeautifulSoup:
    """Return a page of an app as a browser would have it."""
    answer = await QuartClient(app).get(path, **options)
    assert answer.status_code == 200
    return parse(await answer.get_data(as_text=True))


async def render(app: Quart, body: str, **context: object) -> BeautifulSoup:
    """Return a template as a browser would have it, rendered within a request."""
    async with app.test_request_context("/"):
        return parse(await render_template_string(MACROS + body, **context))


def connect_elements(soup: BeautifulSoup) -> list[Tag]:
    """Return the connect elements of a page, for either version of htmx."""
    return [tag for tag in soup.find_all(True) if str(tag.get("id", "")).startswith("sse-")]


def url_of(element: Tag) -> str:
    """Return the URL that a connect element opens."""
    return str(element.get("sse-connect") or element["hx-sse:connect"])


async def get_text(client: QuartClient, path: str = "/", **options: Any) -> str:
    """Return a page's text."""
    answer = await client.get(path, **options)
    assert answer.status_code == 200
    return await answer.get_data(as_text=True)


@asynccontextmanager
async def viewing(client: QuartClient, path: str = "/") -> AsyncIterator[Stream]:
    """Look at a page: get it and open its one stream."""
    (url,) = connect_urls(await get_text(client, path))
    async with asyncio.timeout(20), open_stream(client, url) as stream:
        yield stream


def partial(event: ServerSentEvent) -> Tag:
    """Return the one partial of a message."""
    (found,) = BeautifulSoup(event.data, "html.parser").find_all(recursive=False)
    assert isinstance(found, Tag)
    assert found.name == "hx-partial"
    return found


async def next_html(stream: Stream) -> tuple[str, str]:
    """Return the fragment's key and the HTML of the next message."""
    found = partial(await stream.next("message"))
    assert found["hx-swap"] == "innerMorph"
    target = str(found["hx-target"])
    return target.removeprefix("[data-sse='").removesuffix("']"), found.decode_contents()


def loader_of(event: ServerSentEvent) -> Tag:
    """Return the element that fetches a personal fragment."""
    found = partial(event)
    assert found["hx-swap"] == "beforeend"
    (loader,) = found.find_all(recursive=False)
    assert isinstance(loader, Tag)
    return loader
