"""Let the request of an open stream hold less memory, and nothing that the app could miss.

Quart keeps the request as long as it sends the answer. What can be made again is made again when it
is asked for, as by a background task with a copied request context.
"""

from collections.abc import Mapping
from typing import Any

from quart import Request
from quart.wrappers.request import Body
from werkzeug.datastructures import Headers
from werkzeug.sansio.request import Request as SansIORequest
from werkzeug.utils import cached_property

from ..host import KEY

#: What Werkzeug computes of a request when it is first asked for, and then keeps.
_CACHED = [
    name for name, value in vars(SansIORequest).items() if isinstance(value, cached_property)
]


class LazyHeaders(Headers):
    """The headers of a request, made out of those of its ASGI scope when they are asked for.

    Args:
        scope: The ASGI scope.
    """

    def __init__(self, scope: Mapping[str, Any]) -> None:
        # Not those of the base class: without its attributes any use comes to __getattr__.
        self._quart_sse_scope = scope

    def __getattr__(self, name: str) -> Any:
        """Make the headers, and return one of their attributes."""
        scope = self.__dict__.pop("_quart_sse_scope", None)
        if scope is None:
            raise AttributeError(name)
        self.__dict__.update(vars(Headers(_pairs_of(scope))))
        return getattr(self, name)

    def copy(self) -> Any:
        """Return a copy, which has no scope to make itself of."""
        return Headers(list(self))


class NoBody(Body):
    """The body of requests without one; it keeps nothing, so that many requests may share it."""

    def __init__(self) -> None:
        super().__init__(None, None)
        super().set_complete()

    def append(self, data: bytes) -> None:
        """Take nothing: there is nothing to take."""

    def set_complete(self) -> None:
        """Do nothing: it is complete."""

    async def put(self, data: bytes) -> None:
        """Take nothing, as later releases of Quart give it."""


def slim(request: Request) -> None:
    """Drop what can be made again of the request of a stream that is open.

    Args:
        request: The request itself, not the proxy.
    """
    for name in _CACHED:
        if getattr(type(request), name, None) is getattr(SansIORequest, name):
            request.__dict__.pop(name, None)
    headers, scope = request.headers, request.scope
    exchange: Any = scope.get(KEY)
    if exchange is not None:
        exchange.kick = exchange.find_outlet = None  # the connection has what it needs of them
    is_http_1 = request.http_version in ("1.0", "1.1")
    has_body = "Content-Length" in headers or "Transfer-Encoding" in headers
    if is_http_1 and not has_body and type(request.body) is Body:
        request.body = _no_body()
    # Others stay: the app has changed them, or Quart has made them otherwise.
    if type(headers) is Headers and list(headers) == _pairs_of(scope):
        request.headers = LazyHeaders(scope)


def _pairs_of(scope: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the headers of a request as Quart makes them of its scope."""
    return [
        ("Remote-Addr", (scope.get("client") or ["<local>"])[0]),
        *(
            (name.decode("latin1").title(), value.decode("latin1"))
            for name, value in scope["headers"]
        ),
    ]


_shared: NoBody | None = None


def _no_body() -> NoBody:
    # Made late: it has events of asyncio.
    global _shared
    if _shared is None:
        _shared = NoBody()
    return _shared
