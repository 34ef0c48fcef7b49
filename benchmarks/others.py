"""What else serves event streams: other libraries as their docs say, and a floor.

Each serves ``GET /sse/news``, and publishes by ``POST /go?count=&rate=&size=`` as `apps.py` does.
The modules are imported when an app is made, for few environments have all of them.
"""
# mypy: ignore-errors

import asyncio
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import ClassVar
from urllib.parse import parse_qs

SIZE = 120


def text_of(size: int) -> str:
    """Return an event's data: a mark, the time, and what fills it up."""
    return f"@@{time.monotonic_ns():019d} ".ljust(size, "x")


async def go(query: str, publish: Callable[[str], object]) -> None:
    """Publish as a query says; rate 0 is all at once."""
    asked = {name: values[0] for name, values in parse_qs(query).items()}
    count, rate = int(asked["count"]), float(asked.get("rate", 0))
    size, begun = int(asked.get("size", SIZE)), time.monotonic()
    for number in range(count):
        if rate:
            await asyncio.sleep(max(0.0, begun + number / rate - time.monotonic()))
        answer = publish(text_of(size))
        if hasattr(answer, "__await__"):
            await answer


def sse_starlette():
    """Serve a queue per client, as the README does."""
    from sse_starlette.sse import EventSourceResponse
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    queues = set()

    async def stream(request):
        async def events():
            queue = asyncio.Queue()
            queues.add(queue)
            try:
                yield {"event": "sse-open", "data": ""}
                while True:
                    yield {"event": "news", "data": await queue.get()}
            finally:
                queues.discard(queue)

        return EventSourceResponse(events())

    async def publish(request):
        def to_all(text):
            for queue in queues:
                queue.put_nowait(text)

        await go(request.url.query, to_all)
        return PlainTextResponse("ok")

    return Starlette(routes=[Route("/sse/news", stream), Route("/go", publish, methods=["POST"])])


def litestar():
    """Serve a channel by the plugin, as the docs do, with its memory backend."""
    from litestar import Litestar, Request, get, post
    from litestar.channels import ChannelsPlugin
    from litestar.channels.backends.memory import MemoryChannelsBackend
    from litestar.response import ServerSentEvent

    @get("/sse/news")
    async def stream(channels: ChannelsPlugin) -> ServerSentEvent:
        async def events():
            async with channels.start_subscription(["news"]) as subscriber:
                yield "sse-open"
                async for message in subscriber.iter_events():
                    yield message.decode()

        return ServerSentEvent(events())

    @post("/go", status_code=200)
    async def publish(channels: ChannelsPlugin, request: Request) -> str:
        await go(request.url.query, lambda text: channels.publish(text, "news"))
        return "ok"

    plugin = ChannelsPlugin(backend=MemoryChannelsBackend(), channels=["news"])
    # The plugin and the request are found by the names in the annotations.
    stream.fn.__globals__.update(ChannelsPlugin=ChannelsPlugin, Request=Request)
    stream.fn.__globals__.update(ServerSentEvent=ServerSentEvent)
    return Litestar([stream, publish], plugins=[plugin])


def django_eventstream():
    """Serve a channel by its URLs, without a storage."""
    import django
    from asgiref.sync import sync_to_async
    from django.conf import settings
    from django.core.asgi import get_asgi_application

    settings.configure(
        SECRET_KEY="for benchmarks only",
        ROOT_URLCONF=__name__,
        ALLOWED_HOSTS=["*"],
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django_eventstream"],
        DATABASES={},
    )
    django.setup()
    import django_eventstream as package
    from django.http import HttpResponse
    from django.urls import include, path

    async def publish(request):
        send = sync_to_async(package.send_event)
        await go(
            request.META["QUERY_STRING"],
            lambda text: send("news", "news", text, json_encode=False),
        )
        return HttpResponse("ok")

    module = sys.modules[__name__]
    module.urlpatterns = [
        path("sse/news", include(package.urls), {"channels": ["news"]}),
        path("go", publish),
    ]
    return get_asgi_application()


def serve_aiohttp(port: int) -> None:
    """Serve a queue per client by aiohttp-sse, on uvloop."""
    import uvloop
    from aiohttp import web
    from aiohttp_sse import sse_response

    queues = set()

    async def stream(request):
        async with sse_response(request) as response:
            queue = asyncio.Queue()
            queues.add(queue)
            try:
                await response.send("", event="sse-open")
                while response.is_connected():
                    await response.send(await queue.get(), event="news")
            finally:
                queues.discard(queue)
        return response

    async def publish(request):
        def to_all(text):
            for queue in queues:
                queue.put_nowait(text)

        await go(request.query_string, to_all)
        return web.Response(text="ok")

    app = web.Application()
    app.router.add_get("/sse/news", stream)
    app.router.add_post("/go", publish)
    web.run_app(app, port=port, loop=uvloop.new_event_loop(), access_log=None, print=None)


class Floor(asyncio.Protocol):
    """As little as a process in Python can do: one write for each stream, and no framework."""

    open: ClassVar = set()
    tasks: ClassVar = set()
    HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"

    def connection_made(self, transport) -> None:
        """Note the transport."""
        self.transport = transport

    def connection_lost(self, error) -> None:
        """Forget it."""
        self.open.discard(self.transport)

    def data_received(self, data) -> None:
        """Answer a request, which comes in one piece."""
        line = data.partition(b"\r\n")[0].decode()
        if line.startswith("GET"):
            self.transport.write(self.HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
            self.open.add(self.transport)
            self.to_all("", [self.transport], "sse-open")
        else:
            task = asyncio.ensure_future(self.publish(line.split()[1].partition("?")[2]))
            self.tasks.add(task)

    async def publish(self, query) -> None:
        """Publish, and answer then."""
        await go(query, self.to_all)
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    def to_all(self, text, transports=None, name="news") -> None:
        """Write an event to all streams."""
        data = f"event: {name}\ndata: {text}\n\n".encode()
        chunk = b"%x\r\n%b\r\n" % (len(data), data)
        for transport in self.open if transports is None else transports:
            transport.write(chunk)


def serve_floor(port: int) -> None:
    """Serve by the floor, on uvloop."""
    import uvloop

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Floor, "127.0.0.1", port)
        await server.serve_forever()

    with suppress(KeyboardInterrupt):
        uvloop.run(main())


if __name__ == "__main__":
    {"aiohttp": serve_aiohttp, "floor": serve_floor}[sys.argv[1]](int(sys.argv[2]))
