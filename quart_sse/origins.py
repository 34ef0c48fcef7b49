"""Tell requests of the app's own pages from those of other origins."""

from collections.abc import Container
from urllib.parse import urlsplit

from werkzeug.sansio.request import Request
from werkzeug.sansio.utils import host_is_trusted

from .host import Sites


def is_foreign(request: Request, sites: Sites, allowed: Container[str | None]) -> bool:
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
        sites: Where the app is, by its configuration.
        allowed: Other origins whose pages may ask, ``QUART_SSE_ORIGINS``.
    """
    trusted = sites.trusted
    host = request.headers.get("Host", "")
    if trusted is not None and not host_is_trusted(host, trusted):
        return True
    origin = request.headers.get("Origin")
    if origin in allowed:
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
    own = {_netloc(scheme, host) for scheme, host in sites.own}
    if given in own:
        return False
    is_known = host_is_trusted(given, trusted) if trusted is not None else not own
    if not is_known:
        return True
    return site is None and given != _netloc(parts.scheme, host)


def _netloc(scheme: str, host: str) -> str:
    """Return a host without the port that its scheme has anyway."""
    default = {"http": ":80", "https": ":443"}.get(scheme, "")
    return host.lower().removesuffix(default) if default else host.lower()
