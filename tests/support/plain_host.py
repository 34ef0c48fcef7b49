"""A second host: an ASGI app of its own, without Quart, that all else of the package serves."""

import contextvars
import inspect
import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule
from werkzeug.sansio.request import Request

from quart_sse.broker import MemoryBroker
from quart_sse.channels import Channel, ChannelOptions
from quart_sse.config import Config
from quart_sse.errors import RenderError
from quart_sse.host import KEY, Exchange, Sites
from quart_sse.streams import StreamAnswer, StreamBody
from quart_sse.wire import Position, Refusal
from quart_sse.wiring import Services, wire

Scope = MutableMapping[str, Any]
Page = Callable[[], Awaitable[str]]


def request_of(scope: Scope) -> Request:
    """Return what an ASGI scope asks for."""
    headers = Headers([(key.decode(), value.decode()) for key, value in scope["headers"]])
    client = scope.get("client") or (None, 0)
    return Request(
        scope["method"],
        scope.get("scheme", "http"),
        None,
        scope.get("root_path", ""),
        scope["path"],
        scope.get("query_string", b""),
        headers,
        client[0],
    )


class PlainHost:
    """The host of a ``PlainApp``; see :class:`~quart_sse.host.Host`.

    Args:
        known: Returns the newest position that the process knows of.
    """

    def __init__(self, known: Callable[[], Position | None]) -> None:
        self.url_map = Map()
        self.is_debug = False
        self.secrets = [b"for tests only"]
        self.templates: dict[str, str] = {}
        #: Called before each request; what it returns is the answer.
        self.hook: Callable[[str], str | None] = lambda _: None
        self._known = known
        self._scope: contextvars.ContextVar[Scope | None] = contextvars.ContextVar(
            "scope", default=None
        )

    def enter(self, scope: Scope) -> contextvars.Token[Scope | None]:
        """Begin a request."""
        return self._scope.set(scope)

    def leave(self, token: contextvars.Token[Scope | None]) -> None:
        """End a request."""
        self._scope.reset(token)

    def keys(self) -> list[bytes]:
        """Return the secret keys."""
        return self.secrets

    def dumps(self, value: Any) -> str:
        """Return a value as JSON."""
        return json.dumps(value)

    def exchange(self) -> Exchange:
        """Return the current exchange; outside a request one for each call."""
        scope = self._scope.get()
        if scope is None:
            return Exchange(self._known(), is_identified=True)
        kept: Exchange = scope.setdefault(KEY, Exchange(self._known()))
        return kept

    def header(self, name: str) -> str:
        """Return a header of the current request."""
        scope = self._scope.get()
        return "" if scope is None else request_of(scope).headers.get(name, "")

    def root(self) -> str:
        """Return the root path of the current request."""
        scope = self._scope.get()
        return "" if scope is None else str(scope.get("root_path", ""))

    def here(self) -> str:
        """Return the path of the current request."""
        scope = self._scope.get()
        return "" if scope is None else str(scope["path"])

    def address(self) -> str:
        """Return the IP address of the current request's client."""
        scope = self._scope.get()
        return "" if scope is None else str((scope.get("client") or ("",))[0])

    def sites(self) -> Sites:
        """Return where the app is."""
        return Sites(frozenset(), None)

    def complete_part(self, function: Callable[[], Awaitable[str]]) -> None:
        """Complete nothing: this host has no htmx."""

    async def call(self, function: Callable[..., Any], values: Mapping[str, Any]) -> Any:
        """Call a function of the app."""
        answer = function(**values)
        while inspect.isawaitable(answer):
            answer = await answer
        return answer

    async def call_apart(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function of the app outside any request."""
        return await self.call(lambda: function(*args), {})

    async def template(self, name: str, context: Mapping[str, Any]) -> str:
        """Render a template, which is a format string."""
        return self.templates[name].format(**context)

    async def render(
        self, path: str, root: str, exchange: Exchange, function: Callable[[], Awaitable[str]]
    ) -> str:
        """Call a function in a request of its own."""
        scope: Scope = {"method": "GET", "path": path, "root_path": root, "headers": []}
        token = self.enter({**scope, KEY: exchange})
        try:
            if self.hook(path) is not None:
                raise RenderError(f"The hook answered instead of letting {path!r} be rendered.")
            return await function()
        finally:
            self.leave(token)


class PlainApp:
    """An ASGI app with channels and pages, made of the package's services and a plain host.

    Args:
        config: The app's settings.
    """

    def __init__(self, config: Config | None = None) -> None:
        self.channels: dict[str, Channel] = {}
        self.pages: dict[str, Page] = {}
        broker = MemoryBroker()
        self.host = PlainHost(lambda: broker.known)
        self.services: Services = wire(
            self.host, broker, self.channels, self._identify, config or Config()
        )
        prefix = self.services.config.url_prefix
        self.host.url_map.add(Rule(prefix, endpoint="sse.connect"))
        self._handle = self.services.wrap(self._respond)

    async def _identify(self, host: object) -> str | None:
        return self.host.header("X-User") or None

    def channel(self, name: str, rule: str, *, public: bool = False) -> Channel:
        """Declare a channel."""
        channel = Channel(
            name,
            rule,
            ChannelOptions(public=public),
            binding=lambda: self.services.binding,
        )
        prefix = self.services.config.url_prefix
        self.host.url_map.add(Rule(f"{prefix}{rule}", endpoint=f"sse.{name}.stream"))
        self.host.url_map.add(Rule(f"{prefix}/~/<fragment>{rule}", endpoint=f"sse.{name}.fragment"))
        self.channels[name] = channel
        return channel

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve as an ASGI app."""
        await self._handle(scope, receive, send)

    async def _respond(self, scope: Any, receive: Any, send: Any) -> None:
        token = self.host.enter(scope)
        try:
            await _send(await self._answer(request_of(scope)), receive, send)
        finally:
            self.host.leave(token)

    async def _answer(self, request: Request) -> StreamAnswer:
        if request.path in self.pages:
            html = await self.pages[request.path]()
            return StreamAnswer(html.encode(), headers={"Content-Type": "text/html"})
        try:
            endpoint, values = self.host.url_map.bind("localhost").match(request.path)
        except HTTPException as error:
            return StreamAnswer(status=error.code or 500, headers={})
        self.host.exchange().path = request.path
        try:
            if endpoint == "sse.connect":
                return await self.services.streams.connect(request)
            channel = self.channels[endpoint.split(".")[1]]
            topic = channel.topic(**values)
            fragments = frozenset(self.services.channels.known(topic.name).fragments)
            return await self.services.streams.channel(request, topic, fragments)
        except Refusal as refusal:
            return StreamAnswer(status=refusal.ending.status, headers={})


async def _send(answer: StreamAnswer, receive: Any, send: Any) -> None:
    headers = [(name.lower().encode(), value.encode()) for name, value in answer.headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    if isinstance(answer.body, StreamBody):
        async with answer.body as connection:
            async for chunk in connection:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
    body = b"" if isinstance(answer.body, StreamBody) else answer.body
    await send({"type": "http.response.body", "body": body, "more_body": False})
