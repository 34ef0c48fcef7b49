"""What the house needs of a web framework: the protocol ``Host``, and one HTTP exchange.

``quart/`` has the host of Quart. All else stands on this protocol, so that a second framework can
be served without a change of the rest; one suite of tests is for every host.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from werkzeug.routing import Map

from .position import Position

#: Where an app keeps the extension, and an ASGI scope its exchange.
KEY = "quart_sse"


@dataclass(slots=True)
class Exchange:
    """What is remembered of one request until its answer was sent.

    It lives in the ASGI scope. A framework's own place for such things may be another one while a
    template is streamed.
    """

    #: The process's position before the view ran: nothing after it can be missed by the page.
    since: Position | None
    identity: str | None = None
    is_identified: bool = False  #: whether ``identity`` has been asked for
    began: float = field(default_factory=time.monotonic)
    #: Whether the client has many streams on one socket (HTTP/2).
    is_multiplexed: bool = False
    #: Ends the request as if its client had gone, and returns whether its socket is closed; None
    #: if the request cannot become a stream.
    kick: Callable[[], bool] | None = None
    is_foreign: bool = False  #: whether a page of another origin asks
    #: The path as the framework sees it, inside all middleware; None if no request reached it.
    path: str | None = None
    #: Called in this order when the answer was sent.
    after: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    page: object | None = None  #: what ``pages/`` keeps of it


class Sites(NamedTuple):
    """What the configuration of an app says of where the app is."""

    own: frozenset[tuple[str, str]]  #: scheme and host of each
    trusted: list[str] | None  #: hosts, as in Werkzeug's ``host_is_trusted``; None if not said


class Host(Protocol):
    """A web framework, as one app uses it.

    Streams and fragments are asked for in a request of the framework: the host enters the
    request's context, runs the app's own hooks, and calls the endpoints of ``streams/`` there. All
    that these ask of the app (identity, each ``authorize``, personal fragments) happens in that
    one context.
    """

    @property
    def url_map(self) -> Map:
        """The app's URL map, with an endpoint ``sse.<channel>.stream`` for each channel."""

    def keys(self) -> list[bytes]:
        """Return the app's secret keys, the one that signs first; none if there are none."""

    def dumps(self, value: Any) -> str:
        """Return a value as JSON, in the way that the app writes JSON.

        Raises:
            TypeError: If the app cannot write it.
        """

    def exchange(self) -> Exchange:
        """Return the current request's exchange; outside a request, one of the app context."""

    def header(self, name: str) -> str:
        """Return a header of the current request; ``""`` without one, and outside a request."""

    def root(self) -> str:
        """Return the path below which browsers see the app in the current request.

        Returns:
            ``""`` or a path such as ``"/app"``.
        """

    def sites(self) -> Sites:
        """Return where the app is, by its configuration."""

    async def call(self, function: Callable[..., Any], values: Mapping[str, Any]) -> Any:
        """Call a function of the app in the current context, and return what it finally gives.

        A sync function may block, so it runs in a thread. All that is awaitable is awaited: a sync
        decorator around an async function, an object with an async ``__call__`` or a
        ``functools.partial`` look like sync functions, and the coroutine that they return is no
        answer.

        Args:
            function: The app's function, sync or async.
            values: Its keyword arguments.

        Raises:
            Exception: What the function raised.
        """

    async def template(self, name: str, context: Mapping[str, Any]) -> str:
        """Render a template of the app in the current request."""

    async def render(
        self, path: str, root: str, exchange: Exchange, function: Callable[[], Awaitable[str]]
    ) -> str:
        """Call a function in a request of its own: an anonymous GET of a path.

        Args:
            path: Of the URL, without the root path.
            root: The root path, which begins the URLs that the function builds.
            exchange: That of the new request.
            function: Returns HTML.

        Raises:
            RenderError: If a hook of the app answered in the function's place, or the function
                asked for an absolute URL, and nothing says where the app is.
            Exception: What the function raised.
        """
