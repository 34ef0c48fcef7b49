"""Where the app is: its root path and host, from its configuration and never from a stranger.

The ``Host`` of a request is what its client wrote, and what one request says must not show in what
all others are sent. So shared fragments get relative URLs unless the app says where it is.
"""

from typing import Any
from urllib.parse import urlsplit

from quart import Quart, has_request_context, request

from .config import Config
from .errors import RenderError


def root_of(config: Config) -> str:
    """Return the path below which browsers see the app: that of ``QUART_SSE_BASE_URL``.

    Without it, that of the current request as Quart sees it, inside all middleware.

    Args:
        config: Of the app.

    Returns:
        ``""`` or a path such as ``"/app"``.
    """
    if config.base_url is not None:
        return urlsplit(config.base_url).path
    return request.root_path.rstrip("/") if has_request_context() else ""


def site_of(app: Quart, config: Config) -> tuple[str, str] | None:
    """Return scheme and host of the app's absolute URLs; None if it never said."""
    if config.base_url is not None:
        parts = urlsplit(config.base_url)
        return parts.scheme, parts.netloc
    if name := app.config.get("SERVER_NAME"):
        return app.config.get("PREFERRED_URL_SCHEME") or "http", name
    return None


def host_for_rendering(app: Quart, config: Config) -> tuple[str, str]:
    """Return scheme and host of the request in which a shared fragment is rendered."""
    trusted = [host for host in app.config.get("TRUSTED_HOSTS") or () if host[:1] != "."]
    return site_of(app, config) or ("http", trusted[0] if trusted else "localhost")


def forbid_absolute_urls(adapter: Any) -> None:
    """Let ``url_for(..., _external=True)`` raise, for an app that never said where it is.

    Args:
        adapter: The URL adapter of the request in which a shared fragment is rendered.
    """
    build = adapter.build

    def build_relative(*args: Any, force_external: bool = False, **options: Any) -> str:
        if force_external:
            raise RenderError(
                "A shared fragment asks for an absolute URL (_external=True), and nothing says "
                "which host that is: the one of a request may be anything. Set "
                "QUART_SSE_BASE_URL or SERVER_NAME, or write the URL without _external."
            )
        return str(build(*args, force_external=False, **options))

    adapter.build = build_relative
