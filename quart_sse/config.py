"""Every ``QUART_SSE_*`` key: its default, its unit and what it may be; read and checked once."""

import dataclasses
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from .errors import ConfigError

PREFIX = "QUART_SSE_"


def _key(default: Any, expected: str, read: Callable[[Any], Any]) -> Any:
    """Declare a key: its default, what a value must be in words, and how to read one."""
    return dataclasses.field(default=default, metadata={"expected": expected, "read": read})


def _int(low: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        number = int(value)
        if isinstance(value, bool) or number != float(value) or number < low:
            raise ValueError
        return number

    return read


def _seconds(low: float, high: float = sys.float_info.max) -> Callable[[Any], float]:
    def read(value: Any) -> float:
        number = float(value)
        if isinstance(value, bool) or not low <= number <= high:
            raise ValueError
        return number

    return read


def _text(pattern: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise ValueError
        return value

    return read


def _htmx(value: Any) -> int:
    if str(value) not in {"2", "4"}:
        raise ValueError
    return int(value)


def _base_url(value: Any) -> str:
    url = _text(r"https?://[^\s/?#]+(/[^\s?#]*)?")(value).rstrip("/")
    urlsplit(url)  # raises for a host in brackets that is no IPv6 address
    return url


def read_origins(value: Any) -> tuple[str, ...]:
    """Return origins that are given as a list, or as text with spaces between.

    Raises:
        ValueError: If one is no origin, such as ``https://example.org``.
    """
    origins = tuple(value.split()) if isinstance(value, str) else tuple(value)
    if not all(re.fullmatch(r"https?://[^/\s]+", origin) for origin in origins):
        raise ValueError
    return origins


@dataclass(frozen=True, slots=True)
class Config:
    """The extension's settings of one app.

    Each field ``name`` is the key ``QUART_SSE_NAME``, taken from ``app.config``, else from the
    environment variable of that name, else the default that stands here. Times are in seconds.
    """

    #: "memory://" for one process; "redis://...", "rediss://..." or "unix://..." for many.
    broker_url: str = _key(
        "memory://",
        "'memory://' or a redis://, rediss:// or unix:// URL",
        _text(r"memory://|(redis|rediss|unix)://.+"),
    )
    #: Begins every URL of the extension.
    url_prefix: str = _key("/sse", "a path such as '/sse'", _text(r"(/[\w.-]+)+"))
    #: Where browsers see the app: scheme, host and root path; None: relative URLs, of each page.
    base_url: str | None = _key(None, "a URL such as 'https://example.org/app'", _base_url)
    #: The htmx version that the macros write markup for.
    htmx: int = _key(2, "2 or 4", _htmx)
    #: Origins, beside our own, whose pages may connect: a list, or text with spaces between.
    origins: tuple[str, ...] = _key((), "origins such as 'https://example.org'", read_origins)

    #: Events kept per topic for clients that come back; 0 keeps none.
    history: int = _key(256, "a whole number, 0 or more", _int(0))
    #: How long they are kept after the topic's last event.
    history_ttl: float = _key(300.0, "a number of seconds, at least 1", _seconds(1))
    #: A connection that missed more than this is told to start afresh.
    replay_events: int = _key(1000, "a whole number, 1 or more", _int(1))
    replay_bytes: int = _key(1 << 20, "a number of bytes, at least 1024", _int(1024))

    #: A fragment is rendered at most once in this time.
    debounce: float = _key(0.1, "a number of seconds, 0 or more", _seconds(0))
    #: A renderer that takes longer is stopped and tried again.
    render_timeout: float = _key(30.0, "a number of seconds, more than 0", _seconds(0.01))

    #: Idle streams get their position this often; proxies cut silent ones after 60 s.
    # Our script takes a connection for dead that has been silent for 45 s.
    heartbeat: float = _key(15.0, "a number of seconds, from 0.1 to 30", _seconds(0.1, 30))
    #: How long one call to Redis may take; publishing raises BrokerUnavailable then.
    broker_timeout: float = _key(2.0, "a number of seconds, at least 0.05", _seconds(0.05))
    #: How often the broker's liveness is proved, which also keeps positions fresh.
    probe: float = _key(5.0, "a number of seconds, at least 0.1", _seconds(0.1))
    #: A stream ends at 80 to 100 % of this age; its browser comes back and is judged anew.
    max_age: float = _key(3600.0, "a number of seconds, at least 1", _seconds(1))
    #: A client that takes nothing for this long is cut off.
    send_timeout: float = _key(30.0, "a number of seconds, at least 0.1", _seconds(0.1))
    #: How long a topic without viewers stays subscribed, for those who only change pages.
    linger: float = _key(10.0, "a number of seconds, 0 or more", _seconds(0))
    #: How long a new connection waits for the broker before it is told to come back later.
    join_timeout: float = _key(5.0, "a number of seconds, at least 0.1", _seconds(0.1))
    #: How long somebody who left still counts as present, so that a reload is no leaving.
    presence_linger: float = _key(3.0, "a number of seconds, 0 or more", _seconds(0))

    #: What one slow connection may hold; over it the connection ends and resumes from history.
    pending_events: int = _key(1000, "a whole number, 1 or more", _int(1))
    pending_bytes: int = _key(1 << 20, "a number of bytes, at least 1024", _int(1024))

    #: Lifetime of the topics that a page signed; a stream that stays open renews them.
    token_lifetime: float = _key(86400.0, "a number of seconds, at least 1", _seconds(1))
    #: However often a stream renews its page's token, the signature ends at this age.
    token_max_lifetime: float = _key(604800.0, "a number of seconds, at least 1", _seconds(1))
    #: Topics of one connection, tokens of one URL, and bytes of its query.
    max_topics: int = _key(128, "a whole number, 1 or more", _int(1))
    max_tokens: int = _key(16, "a whole number, 1 or more", _int(1))
    max_query: int = _key(6144, "a number of bytes, at least 256", _int(256))

    #: Open connections of one process, topic, identity and browser.
    max_connections: int = _key(10_000, "a whole number, 1 or more", _int(1))
    max_per_topic: int = _key(10_000, "a whole number, 1 or more", _int(1))
    max_per_identity: int = _key(64, "a whole number, 1 or more", _int(1))
    #: On HTTP/1 a browser opens 6 connections per host; the oldest stream makes room.
    max_per_browser: int = _key(4, "a whole number, 1 or more", _int(1))
    #: Connections that one address has without a browser cookie; over it they wait. As high as
    #: the process's own limit, because behind a proxy all browsers may seem to share one address.
    max_per_address: int = _key(10_000, "a whole number, 1 or more", _int(1))
    #: Name of the signed random cookie that tells browsers apart; "" sets none.
    browser_cookie: str = _key("sse_browser", "a cookie name, or ''", _text(r"[\w-]*"))

    #: Begins every key in Redis.
    redis_prefix: str = _key("sse", "letters, digits, '_', '-', '.' or ':'", _text(r"[\w.:-]+"))

    @classmethod
    def read(cls, config: Mapping[str, Any], environ: Mapping[str, str]) -> "Config":
        """Return the settings of an app.

        Args:
            config: The app's config; a value there beats the environment.
            environ: Environment variables.

        Raises:
            ConfigError: If a value is not what its key takes, or a key beginning with
                ``QUART_SSE_`` is none of ours (which is nearly always a misspelt one).
        """
        fields = {PREFIX + field.name.upper(): field for field in dataclasses.fields(cls)}
        for key in config:
            if key.startswith(PREFIX) and key not in fields:
                raise ConfigError(key, config[key], f"removed: the keys are {', '.join(fields)}")

        values = {}
        for key, field in fields.items():
            value = config.get(key, environ.get(key))
            if value is None:
                continue
            try:
                values[field.name] = field.metadata["read"](value)
            except (ValueError, TypeError, OverflowError):
                raise ConfigError(key, value, field.metadata["expected"]) from None
        return cls(**values)
