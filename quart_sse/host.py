"""The protocol of a web framework (:class:`Host`), and one HTTP exchange (:class:`Exchange`).

``quart/`` implements the protocol for Quart. The other wings use the protocol only, so another
framework needs another host and nothing else; ``tests/project/test_host.py`` tests every host.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, NamedTuple, Protocol

from werkzeug.routing import Map

from .wire import Position

#: Key of the services in ``app.extensions``, and of the exchange in an ASGI scope.
KEY = "quart_sse"


@dataclass(slots=True)
class Exchange:
    """The state of one request until its response was sent.

    It lives in the ASGI scope, because a framework may change its own context (Quart's ``g``) while
    it streams a template.
    """

    #: The process's position before the view ran. A page that connects from here misses nothing.
    since: Position | None
    identity: str | None = None
    is_identified: bool = False  #: whether ``identity`` is set; None is an identity, too
    began: float = field(default_factory=time.monotonic)
    #: Whether the client's socket carries several streams (HTTP/2).
    is_multiplexed: bool = False
    #: Disconnects the client and returns whether its socket is closed; None if the request cannot
    #: become a stream.
    kick: Callable[[], bool] | None = None
    #: Given the frame that has entered a stream's body, returns where batches may go without the
    #: stream's task, or None; None if there is no such place.
    find_outlet: Callable[[FrameType], Any] | None = None
    is_rendering: bool = False  #: whether this is the anonymous request of a shared fragment
    is_foreign: bool = False  #: whether the request comes from a page of another origin
    #: The path as the framework sees it, inside all middleware; None if the framework saw none.
    path: str | None = None
    #: Functions called in order after the response was sent.
    after: tuple[Callable[[], Awaitable[None]], ...] = ()
    page: object | None = None  #: the request's page; only ``pages/`` reads it


class Sites(NamedTuple):
    """The sites that an app's configuration names as its own."""

    own: frozenset[tuple[str, str]]  #: pairs of scheme and host
    trusted: list[str] | None  #: hosts for Werkzeug's ``host_is_trusted``; None if not configured


class Host(Protocol):
    """One app of a web framework.

    The host handles requests for streams and fragments like any other request: it enters the
    request's context, runs the app's hooks and calls the endpoints of ``streams/``. All functions
    of the app that a stream needs (identity, each ``authorize``, personal renderers) run in that
    one context.
    """

    @property
    def url_map(self) -> Map:
        """The app's URL map, with an endpoint ``sse.<channel>.stream`` for each channel."""

    @property
    def is_debug(self) -> bool:
        """Whether the app is under development, so that pages may say what is wrong."""

    def keys(self) -> list[bytes]:
        """Return the app's secret keys, the signing key first; an empty list without any."""

    def dumps(self, value: Any) -> str:
        """Return a value as JSON, written by the app's own JSON encoder.

        Raises:
            TypeError: If the encoder cannot write the value.
        """

    def exchange(self) -> Exchange:
        """Return the current request's exchange; outside a request that of the app context."""

    def header(self, name: str) -> str:
        """Return a header of the current request; ``""`` if it is absent or there is no request."""

    def root(self) -> str:
        """Return the current request's root path: the path below which browsers see the app.

        Returns:
            ``""`` or a path such as ``"/app"``.
        """

    def here(self) -> str:
        """Return path and query of the current request as a link has them, or ``""``."""

    def address(self) -> str:
        """Return the IP address of the current request's client; ``""`` if it is not known."""

    def sites(self) -> Sites:
        """Return the sites that the configuration names as the app's own."""

    def complete_part(self, function: Callable[[], Awaitable[str]]) -> None:
        """Append what a function returns to the answer, if that is a part of a page for htmx.

        Args:
            function: Called once, before the app's hooks see the answer; returns HTML or ``""``.
        """

    async def call(self, function: Callable[..., Any], values: Mapping[str, Any]) -> Any:
        """Call a function of the app in the current context, and return its final result.

        A sync function may block, so it runs in a thread. Awaitable results are awaited until one
        is not: a sync decorator around an async function, an object with an async ``__call__`` and
        a ``functools.partial`` look like sync functions and return a coroutine.

        Args:
            function: The app's function, sync or async.
            values: Its keyword arguments.

        Raises:
            Exception: Any error of the function.
        """

    async def call_apart(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function of the app outside any request, in an app context of its own.

        Args:
            function: The app's function, sync or async; a sync one runs in a thread.
            args: Its arguments.

        Raises:
            Exception: Any error of the function.
        """

    async def template(self, name: str, context: Mapping[str, Any]) -> str:
        """Render a template of the app in the current request."""

    async def render(
        self, path: str, root: str, exchange: Exchange, function: Callable[[], Awaitable[str]]
    ) -> str:
        """Call a function in a request of its own: an anonymous GET of a path.

        The request is whole: all hooks of the app run before and after the function, as they do in
        a client's request, whatever the outcome. Its client has an address that no one has.

        Args:
            path: Path of the URL, without the root path.
            root: Root path, which begins the URLs that the function builds.
            exchange: The new request's exchange.
            function: Returns HTML.

        Returns:
            The function's HTML.

        Raises:
            RenderError: If a hook of the app answered the request, or the function built an
                absolute URL and the app's host is not configured.
            Exception: Any error of a hook or of the function.
        """
