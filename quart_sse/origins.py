"""Tell requests of the app's own pages from those of other origins."""

from urllib.parse import urlsplit

from quart import Quart, Request
from werkzeug.sansio.utils import host_is_trusted

from .addresses import site_of
from .config import Config


def is_foreign(request: Request, app: Quart, config: Config) -> bool:
    """Whether a request comes from a page of another origin, or to a host that is not the app's.

    See https://www.w3.org/TR/fetch-metadata/ for ``Sec-Fetch-Site``; where a browser does not
    send it, ``Origin`` must be ours. Requests of no page (a command line, a server) have neither.

    A name that an attacker lets point to this server (DNS rebinding) gives pages whose ``Host``
    and ``Origin`` agree with each other. So where the app says who it is, by
    ``QUART_SSE_BASE_URL``, ``SERVER_NAME`` or ``TRUSTED_HOSTS``, the origin must agree with that.
    Browsers send no ``Origin`` with a GET of the same origin, so only ``TRUSTED_HOSTS``, with which
    the host must agree, too, is sure: proxies may write another ``Host`` than the other two name.

    Args:
        request: The request.
        app: Its ``TRUSTED_HOSTS`` is a list as Flask and Werkzeug have it.
        config: Its origins are allowed.
    """
    trusted = _trusted(request, app)
    host = request.headers.get("Host", "")
    if trusted is not None and not host_is_trusted(host, trusted):
        return True
    origin = request.headers.get("Origin")
    if origin in config.origins:
        return False
    site = request.headers.get("Sec-Fetch-Site")
    if site not in (None, "same-origin", "none"):
        return True
    if origin is None:
        return False
    try:
        parts = urlsplit(origin)
        given = _netloc(parts.scheme, parts.netloc)
    except ValueError:
        return True  # such as http://[
    own = _own_hosts(app, config)
    if given in own:
        return False
    is_known = host_is_trusted(given, trusted) if trusted is not None else not own
    if not is_known:
        return True
    return site is None and given != _netloc(parts.scheme, host)


def _trusted(request: Request, app: Quart) -> list[str] | None:
    trusted = app.config.get("TRUSTED_HOSTS") or request.trusted_hosts
    return None if trusted is None else list(trusted)


def _own_hosts(app: Quart, config: Config) -> set[str]:
    """Return the hosts that the app says it has."""
    own = set()
    if name := app.config.get("SERVER_NAME"):
        own |= {_netloc(scheme, name) for scheme in ("http", "https")}
    if (site := site_of(app, config)) is not None:
        own.add(_netloc(*site))
    return own


def _netloc(scheme: str, host: str) -> str:
    """Return a host without the port that its scheme has anyway."""
    default = {"http": ":80", "https": ":443"}.get(scheme, "")
    return host.lower().removesuffix(default) if default else host.lower()
