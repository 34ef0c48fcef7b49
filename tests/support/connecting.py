"""An app with two public channels, and what streams of its pages receive."""

from quart import Quart, render_template_string, request
from quart.testing import QuartClient

from quart_sse import SSE
from quart_sse.channels.channel import Channel
from tests.support.streams import Stream, connect_urls, open_stream

PAGE = (
    '{% from "quart_sse/macros.html" import sse_connect, sse_fragment %}'
    '{% for name in request.args.getlist("show") %}{{ sse_fragment(name) }}{% endfor %}'
    "{{ sse_connect(topics=request.args.getlist('topic')) }}"
)


def make_app(**config: object) -> Quart:
    """Return an app with public channels ``a`` and ``b``, and a page that shows what one asks."""
    app = Quart(__name__)
    app.secret_key = "for tests only"
    app.config.update(config)
    sse = SSE(app)

    @sse.identity
    async def who() -> str | None:
        return request.cookies.get("who")

    for name in "ab":
        channel = sse.channel(name, f"/{name}", public=True)
        channel.fragment("list", debounce=0)(lambda name=name: f"<b>{name}</b>")
        channel.fragment("count", debounce=0)(lambda: "3")
        channel.fragment("mine", personal=True)(lambda: "mine")

    @app.get("/")
    async def page() -> str:
        return await render_template_string(PAGE)

    return app


def channel_of(app: Quart, name: str) -> Channel:
    """Return a channel of an app."""
    channel = app.extensions["quart_sse"].channels.declared[name]
    assert isinstance(channel, Channel)
    return channel


async def publish(app: Quart, *data: str) -> None:
    """Publish events, each to the topic that its data begins with."""
    for text in data:
        await channel_of(app, text[0]).topic().publish("said", text)


async def page_url(client: QuartClient, query: str) -> str:
    """Return the stream's URL of a page."""
    answer = await client.get(f"/?{query}")
    assert answer.status_code == 200
    (url,) = connect_urls(await answer.get_data(as_text=True))
    return url


async def said(
    stream: Stream, app: Quart, last: str = "a end", also: str | None = None
) -> list[str]:
    """Publish a last event, and return what came before it (and up to ``also``), but for that.

    Events are shown as their data, fragments as ``<name>``, and what we say as its name.
    """
    await publish(app, last)
    seen: list[str] = []
    while last not in seen or (also is not None and also not in seen):
        event = await stream.next()
        if event.event == "message":
            seen.append(event.data.partition("[data-sse='")[2].partition("'")[0].join("<>"))
        else:
            seen.append(event.data if event.event.endswith("said") else event.event)
    return [name for name in seen if name not in ("sse-open", last)]


async def verdict(client: QuartClient, url: str) -> tuple[str, int]:
    """Return what an event-stream client receives first, and the status of an answer to others."""
    async with open_stream(client, url) as stream:
        assert stream.status == 200
        first = await stream.next()
        if first.event == "sse-open":
            return "open", 200
    answer = await client.get(url)
    return f"{first.event} {first.data}", answer.status_code
