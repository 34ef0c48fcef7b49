"""The apps that are compared: quart_sse, the same with users, and the how-to of the Quart docs.

The first and the last use only what every version of quart_sse has, for `check.py` runs them over
older ones.
"""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

from quart import Quart, Response, make_response, render_template_string, request

import quart_sse
from quart_sse import SSE, Channel

PAYLOAD = "x" * 88  # makes an event of about 120 bytes

Publish = Callable[[str], Awaitable[None]]


def add_controls(app: Quart, publish: Publish) -> None:
    """Let ``POST /go?count=&rate=&size=`` publish events; rate 0 is all at once.

    Each begins with a mark and the time, by which `epoll.py` counts it and knows how old it is.
    """

    @app.get("/imported")
    async def imported() -> dict[str, str]:
        return {"quart_sse": quart_sse.__file__}

    @app.post("/go")
    async def go() -> dict[str, float]:
        count, rate = int(request.args["count"]), float(request.args["rate"])
        size = request.args.get("size", len(PAYLOAD) + 2, type=int)
        begun = time.monotonic()
        for number in range(count):
            if rate:
                await asyncio.sleep(max(0.0, begun + number / rate - time.monotonic()))
            await publish(f"@@{time.monotonic_ns():019d} ".ljust(size, "x"))
        return {"seconds": time.monotonic() - begun}


def ours() -> Quart:
    """Serve one public channel."""
    app = Quart(__name__)
    return serve_news(app, SSE(app))


def tuned() -> Quart:
    """Serve the same, with the setting of Python that docs/performance.md advises."""
    gc.set_threshold(10_000)
    return ours()


def users() -> Quart:
    """Serve it to users of whom each has an identity and metadata of its own."""
    app = Quart(__name__)
    sse = SSE(app)

    @sse.identity
    async def identity() -> str | None:
        return request.args.get("user")

    @sse.metadata
    async def metadata() -> dict[str, str | None]:
        return {"user": request.args.get("user"), "role": "reader"}

    return serve_news(app, sse)


def serve_news(app: Quart, sse: SSE) -> Quart:
    """Serve one public channel, many topics, and a fragment that may be refreshed in a storm."""
    news = sse.channel("news", "/news", public=True)
    topics = sse.channel("topics", "/topics/<int:number>", public=True)
    board = sse.channel("board", "/board", public=True)
    board_shows = {"text": "begun"}

    @board.fragment("list")
    async def render() -> str:
        return f"<p>{board_shows['text']}</p>"

    async def publish(text: str) -> None:
        # Lists: Werkzeug makes an exception for a key that is missing, for each event.
        for number in range(sum(map(int, request.args.getlist("topics")))):
            await topics.topic(number=number).publish("news", text)
        for number in range(refreshes := sum(map(int, request.args.getlist("storm")))):
            board_shows["text"] = text if number == refreshes - 1 else "goes on"
            await board.topic().refresh("list")
        await news.topic().publish("news", text)

    add_controls(app, publish)
    return app


#: A page that shows one fragment of the board.
PAGE = """{% from "quart_sse/macros.html" import sse_fragment, sse_connect %}
{{ sse_fragment(what) }}{{ sse_connect() }}"""


def html() -> Quart:
    """Serve pages with a fragment, and others with a list if this quart_sse has lists.

    ``POST /change/<what>?count=&rate=`` changes it so often, and then publishes an event.
    """
    app = Quart(__name__)
    app.secret_key = "for benchmarks only"
    app.config["QUART_SSE_DEBOUNCE"] = 0.0
    sse = SSE(app)
    boards = {"list": sse.channel("board", "/board", public=True)}
    text = ""
    add_fragment(boards["list"], lambda: f"<p>{text}</p>")
    has_lists = hasattr(boards["list"], "item")
    if has_lists:
        boards["rows"] = sse.channel("lists", "/lists", public=True)
        add_list(boards["rows"], lambda: text)

    @app.get("/imported")
    async def imported() -> dict[str, str | bool]:
        return {"quart_sse": quart_sse.__file__, "has_lists": has_lists}

    @app.get("/page/<what>")
    async def page(what: str) -> str:
        return await render_template_string(PAGE, what=f"{boards[what].name}.{what}")

    @app.post("/change/<what>")
    async def change(what: str) -> str:
        nonlocal text
        topic, begun = boards[what].topic(), time.monotonic()
        # By name, for older versions have no such argument.
        refresh: Callable[..., Awaitable[None]] = topic.refresh
        if what == "rows":
            refresh = partial(refresh, item=1)
        for number in range(int(request.args["count"])):
            wanted = begun + number / float(request.args["rate"])
            await asyncio.sleep(max(0.0, wanted - time.monotonic()))
            text = f"@@{number}".ljust(90, "x")
            await refresh(what)
        await asyncio.sleep(0.05)  # the render, behind which the event comes
        await topic.publish("end", 1)
        return ""

    return app


def add_fragment(board: Channel, show: Callable[[], str]) -> None:
    """Declare a fragment."""

    @board.fragment("list")
    async def render() -> str:
        return show()


def add_list(board: Channel, show: Callable[[], str]) -> None:
    """Declare a list of 500 items, of which one changes."""

    def row(key: int) -> str:
        text = show() if key == 1 else f"row {key}"
        return f'<li data-sse-item="{key}" data-sse-order="{key}">{text}</li>'

    @board.fragment("rows")
    async def render() -> str:
        return "".join(map(row, range(500)))

    @board.item("rows")
    async def render_row(key: str) -> str:
        return row(int(key))


def docs() -> Quart:
    """Serve the queue per client that the Quart docs and most applications use."""
    app = Quart(__name__)
    queues: set[asyncio.Queue[str]] = set()

    @app.get("/sse/news")
    async def stream() -> Response:
        async def events() -> AsyncIterator[bytes]:
            queue: asyncio.Queue[str] = asyncio.Queue()
            queues.add(queue)
            try:
                yield b"event: sse-open\ndata:\n\n"
                while True:
                    yield f"event: news\ndata: {await queue.get()}\n\n".encode()
            finally:
                queues.discard(queue)

        response = await make_response(events(), 200, {"Content-Type": "text/event-stream"})
        assert isinstance(response, Response)
        response.timeout = None
        return response

    async def publish(text: str) -> None:
        for queue in queues:
            await queue.put(text)

    add_controls(app, publish)
    return app
