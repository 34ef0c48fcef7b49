"""The server's own objects are found behind any middleware, and never those of another request."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import pytest
import quart

from quart_sse.config import Config
from quart_sse.hub.connections import Connections
from quart_sse.hub.subscribers import Subscribers
from quart_sse.server.internals import find_transport, find_worker
from quart_sse.server.shutdown import LOOKS, Shutdown
from tests.support.wrapping import WRAPPINGS, App


class Transport:
    """A socket that could be closed."""

    def abort(self) -> None:
        """Do nothing."""


class Request:
    """A request as Uvicorn has it: an object with scope, send and transport, and one method."""

    def __init__(self, number: int) -> None:
        self.scope = {"type": "http", "http_version": "1.1", "headers": [], "number": number}
        self.transport = Transport()

    async def receive(self) -> Any:
        """Never receive anything."""
        await asyncio.Event().wait()

    async def send(self, message: Any) -> None:
        """Take a message."""

    async def run(self, app: App) -> None:
        """Call the app."""
        await app(self.scope, self.receive, self.send)


async def handle(app: App, scope: Any, receive: Any, send: Any) -> None:
    """Call the app as Hypercorn does."""
    await app(scope, receive, send)


def by_method(request: Request, app: App) -> Any:
    """Handle a request as Uvicorn does."""
    return request.run(app)


def by_function(request: Request, app: App) -> Any:
    """Handle a request as Hypercorn does."""
    return handle(app, request.scope, request.receive, request.send)


@pytest.mark.parametrize("call", [by_method, by_function])
@pytest.mark.parametrize("wrapped", [[], ["send"], ["task"], ["task", "send", "task"]])
async def test_transport_is_that_of_the_request(
    call: Callable[[Request, App], Any], wrapped: list[str]
) -> None:
    """Several requests run at the same time, and it may be looked for from another task."""
    found: dict[int, Any] = {}
    finders: dict[int, Callable[[], Any]] = {}
    are_there, may_end = asyncio.Event(), asyncio.Event()

    async def inner(scope: Any, _: Any, send: Any) -> None:
        task = asyncio.current_task()
        finders[scope["number"]] = lambda: find_transport(scope, send, task)
        if len(finders) == 3:
            are_there.set()
        await may_end.wait()

    app: App = inner
    for name in wrapped:
        app = WRAPPINGS[name](app)
    requests = [Request(number) for number in range(3)]
    tasks = [asyncio.create_task(call(request, app)) for request in requests]
    await are_there.wait()
    for number, find in finders.items():
        found[number] = find()
    may_end.set()
    await asyncio.gather(*tasks)

    assert found == {number: request.transport for number, request in enumerate(requests)}


async def test_socket_of_several_requests_is_left_open() -> None:
    """Over HTTP/2 it is not the client's of this request alone."""
    request = Request(0)
    request.scope["http_version"] = "2"

    assert find_transport(request.scope, request.send, asyncio.current_task()) is None


async def test_server_that_is_unknown_has_neither() -> None:
    """What is not found is None, and no error."""

    async def send(message: Any) -> None: ...

    assert find_transport({"http_version": "1.1"}, send, None) is None
    assert find_worker() is None


@pytest.mark.parametrize(
    "make",
    [lambda: quart.g, lambda: SimpleNamespace(terminated=False), AsyncMock],
    ids=["proxy", "namespace", "mock"],
)
async def test_what_an_app_calls_context_is_no_worker(make: Callable[[], object]) -> None:
    """A task of its own may have a variable of that name, with anything in it."""
    thing = make()

    async def work(context: object) -> None:
        await asyncio.Event().wait()

    async def method(self: object) -> None:
        await asyncio.Event().wait()

    tasks = [asyncio.create_task(work(thing)), asyncio.create_task(method(thing))]
    await asyncio.sleep(0)

    assert find_worker() is None
    assert find_transport({"http_version": "1.1"}, None, tasks[1]) is None
    for task in tasks:
        task.cancel()


async def test_server_that_shows_no_stop_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """Once, with the remedy; off the main thread there are no signals."""

    async def serve() -> None:
        shutdown = Shutdown(Connections(Config(), Subscribers()), None)
        shutdown.start()
        for _ in range(LOOKS * 2):
            shutdown.look()

    await asyncio.to_thread(lambda: asyncio.run(serve()))

    (said,) = [record.getMessage() for record in caplog.records]
    assert "sse.close_all()" in said
