"""Tell requests by the app's own pages from requests by pages of other origins."""

from collections.abc import Container
from urllib.parse import urlsplit

from werkzeug.sansio.request import Request
from werkzeug.sansio.utils import host_is_trusted

from ..host import Sites


def is_foreign(request: Request, sites: Sites, allowed: Container[str | None]) -> bool:
    """Whether a request comes from a page of another origin, or names a host that is not the app's.

    ``Sec-Fetch-Site`` decides (https://www.w3.org/TR/fetch-metadata/); where a browser does not
    send it, ``Origin`` must be the app's (RFC 6454). Requests that no page makes, such as those of
    a command line or a server, carry neither header and are not foreign.

    By DNS rebinding, an attacker's name points to this server, and the ``Host`` and ``Origin`` of
    the attacker's pages agree with each other. So the origin must agree with the configuration,
    wherever ``QUART_SSE_BASE_URL``, ``SERVER_NAME`` or ``TRUSTED_HOSTS`` names the app. Browsers
    send no ``Origin`` with a GET of the same origin, and proxies may rewrite ``Host``, so only
    ``TRUSTED_HOSTS`` refuses such requests by ``Host`` alone.

    Args:
        request: The request to judge.
        sites: The app's origins and trusted hosts, from its configuration.
        allowed: Other origins whose pages may send it, of ``QUART_SSE_ORIGINS`` and of a channel.
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
        return True  # not a URL, such as http://[
    own = {_netloc(scheme, host) for scheme, host in sites.own}
    if given in own:
        return False
    is_known = host_is_trusted(given, trusted) if trusted is not None else not own
    if not is_known:
        return True
    return site is None and given != _netloc(parts.scheme, host)


def _netloc(scheme: str, host: str) -> str:
    """Return a host in lower case, without the default port of its scheme."""
    default = {"http": ":80", "https": ":443"}.get(scheme, "")
    return host.lower().removesuffix(default) if default else host.lower()
