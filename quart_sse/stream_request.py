"""Who asks for a stream, as the request says."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from werkzeug.http import dump_cookie
from werkzeug.sansio.request import Request

from .config import Config
from .ending import STOPPED
from .host import Host
from .signer import Signer


def wants_stream(request: Request) -> bool:
    """Whether a client asks for an event stream, as ``EventSource`` and htmx 4 do."""
    return "text/event-stream" in request.headers.get("Accept", "")


def was_stopped(request: Request) -> bool:
    """Whether a client comes back that was told to stop; clients of ours never do."""
    return request.headers.get("Last-Event-ID") == STOPPED


@dataclass(slots=True)
class Viewer:
    """Who asks for a stream, as its request says.

    Args:
        identity: The app's name for the user, or None.
        browser: The id of the browser, or None if it is not known.
        address: Where the request comes from, if the browser is not known.
        root: The root path of its pages.
        is_multiplexed: Whether the browser has many streams on one socket, as over HTTP/2.
        is_browser_new: Whether it came without the browser's cookie.
        judged_at: ``time.monotonic`` before the client was judged.
        kick: Ends the request from outside; see :class:`Connection`.
    """

    identity: str | None
    browser: str | None
    address: str | None
    root: str
    is_multiplexed: bool
    is_browser_new: bool
    judged_at: float
    kick: Callable[[], bool] | None


class Viewers:
    """Tells who makes a request, and gives new browsers the cookie that they are known by.

    Args:
        host: Has the current request's exchange.
        signer: Signs the cookie.
        config: The app's settings.
    """

    def __init__(self, host: Host, signer: Signer, config: Config) -> None:
        self._host = host
        self._signer = signer
        self._config = config

    def browser_of(self, request: Request) -> str | None:
        """Return the browser that makes a request, by its cookie; None if it has none."""
        return self._signer.read_browser(request.cookies.get(self._config.browser_cookie))

    def of(self, request: Request, identity: str | None) -> Viewer:
        """Return who makes the current request, for a stream."""
        exchange, browser = self._host.exchange(), self.browser_of(request)
        return Viewer(
            identity=identity,
            browser=browser,
            # A browser that is not known yet may be any number of them, so its address counts too.
            address=request.remote_addr if browser is None else None,
            root=self._host.root(),
            is_multiplexed=exchange.is_multiplexed,
            is_browser_new=browser is None,
            judged_at=exchange.began,
            kick=exchange.kick,
        )

    def name_browser(self, viewer: Viewer, request: Request) -> str | None:
        """Give a browser that is not known yet an id; returns the ``Set-Cookie`` that keeps it."""
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
