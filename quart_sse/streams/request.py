"""The viewer of a stream, as the request describes it."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from types import FrameType

from werkzeug.datastructures import Headers, MultiDict
from werkzeug.http import dump_cookie
from werkzeug.sansio.request import Request

from ..access import Signer
from ..config import Config
from ..host import Host
from ..hub import NO_LISTS, Listed, Metadata, Outlet, counted_as
from ..wire import STOPPED


def wants_stream(request: Request) -> bool:
    """Whether a client accepts an event stream.

    ``EventSource`` and htmx 4 send this ``Accept``:
    https://html.spec.whatwg.org/multipage/server-sent-events.html#the-eventsource-interface
    """
    return "text/event-stream" in request.headers.get("Accept", "")


def first_of(values: Headers | MultiDict[str, str], key: str) -> str | None:
    """Return the first value of a key; None if there is none.

    Each stream looks for what most requests lack. For that, ``values.get`` makes an exception.
    """
    found = values.getlist(key)
    return found[0] if found else None


def was_stopped(request: Request) -> bool:
    """Whether a client reconnects after ``sse-stop``, by its ``Last-Event-ID``.

    The package's script and htmx never do; the browser's ``EventSource`` does, as the standard
    demands.
    """
    return last_event_id(request) == STOPPED


def last_event_id(request: Request) -> str | None:
    """Return the id of the last event that a client has received; None if it says none.

    Clients that cannot set headers send it in the query (``lastEventId``, of the widely used
    polyfills of ``EventSource``).
    """
    header = first_of(request.headers, "Last-Event-ID")
    return first_of(request.args, "lastEventId") if header is None else header


#: Longest ``User-Agent`` that is kept, in characters.
MAX_USER_AGENT = 256


#: Longest id that is kept with a connection, in characters; no position of ours is longer.
MAX_LAST_EVENT_ID = 512


@lru_cache(256)
def _shared(user_agent: str) -> str:
    """Return one object for equal texts: most browsers are of a few kinds.

    ``sys.intern`` would keep what clients make up as long as the process lives, on Python 3.12.
    """
    return user_agent


def _short(id: str | None) -> str | None:
    return id if id is None or len(id) <= MAX_LAST_EVENT_ID else None


@dataclass(slots=True)
class Viewer:
    """The client of one stream, as its request describes it.

    Args:
        identity: The user's identity; None for a visitor.
        browser: Id of the browser; None if the request has no valid cookie.
        address: What the client's IP address counts as; None if it has none.
        root: Root path of the viewer's pages, ``""`` or such as ``"/app"``.
        is_multiplexed: Whether the browser sends all requests over one socket, as with HTTP/2.
        is_browser_new: Whether the request had no valid cookie of the browser.
        judged_at: Time before the client was judged, by ``time.monotonic``.
        kick: Ends the request from outside and returns whether its socket is closed; None if the
            request cannot be ended so.
        find_outlet: Finds where batches may go without the stream's task, given the frame that has
            entered the stream's body; None if there is no such place.
        remote_address: IP address of the client, as the server says it.
        user_agent: ``User-Agent`` of the client, or "".
        last_event_id: Id of the last event that the client has received; None if it says none.
        metadata: What the app knows of the client, for filters; None for nothing.
        listed: How many topics its lists have.
    """

    identity: str | None
    browser: str | None
    address: str | None
    root: str
    is_multiplexed: bool
    is_browser_new: bool
    judged_at: float
    kick: Callable[[], bool] | None
    remote_address: str | None = None
    user_agent: str = ""
    last_event_id: str | None = None
    metadata: Metadata | None = None
    listed: Listed = NO_LISTS
    find_outlet: Callable[[FrameType], Outlet | None] | None = None


class Viewers:
    """Makes the viewer of a request, and the cookie by which a new browser is recognized.

    Args:
        host: Has the exchange of the current request.
        signer: Signs and verifies the cookie.
        config: The app's settings.
    """

    def __init__(self, host: Host, signer: Signer, config: Config) -> None:
        self._host = host
        self._signer = signer
        self._config = config

    def browser_of(self, request: Request) -> str | None:
        """Return the browser's id from the cookie of a request; None without a valid cookie."""
        return self._signer.read_browser(first_of(request.cookies, self._config.browser_cookie))

    def of(self, request: Request, identity: str | None) -> Viewer:
        """Return the viewer of the current request.

        Args:
            request: The current request.
            identity: The user's identity; None for a visitor.
        """
        exchange, browser = self._host.exchange(), self.browser_of(request)
        return Viewer(
            identity=identity,
            browser=browser,
            # With a cookie, too: a client can collect any number of cookies.
            address=counted_as(request.remote_addr),
            root=self._host.root(),
            is_multiplexed=exchange.is_multiplexed,
            is_browser_new=browser is None,
            judged_at=exchange.began,
            kick=exchange.kick,
            remote_address=request.remote_addr,
            user_agent=_shared(request.headers.get("User-Agent", "")[:MAX_USER_AGENT]),
            last_event_id=_short(last_event_id(request)),
            find_outlet=exchange.find_outlet,
        )

    def name_browser(self, viewer: Viewer, request: Request) -> str | None:
        """Give a new browser an id, and return the cookie that keeps it.

        Args:
            viewer: The viewer, whose ``browser`` is set.
            request: The current request; over HTTPS the cookie is ``Secure``.

        Returns:
            Value of ``Set-Cookie`` (RFC 6265); None if the browser is known, or if the app has no
            secret key or no ``QUART_SSE_BROWSER_COOKIE``.
        """
        name = self._config.browser_cookie
        if viewer.browser is not None or not name or not self._signer.has_key:
            return None
        viewer.browser = secrets.token_urlsafe(12)
        return dump_cookie(
            name,
            self._signer.sign_browser(viewer.browser),
            path=viewer.root or "/",
            httponly=True,
            samesite="Lax",
            secure=request.is_secure,
        )
