"""Every ``QUART_SSE_*`` key: default, unit and valid values; read and checked once."""

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
    """Declare a key.

    Args:
        default: The default value.
        expected: The valid values in words, for :class:`~quart_sse.errors.ConfigError`.
        read: Returns the setting from a value; raises ValueError for an invalid one.
    """
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


def _switch(value: Any) -> bool:
    if str(value) not in {"0", "1", "False", "True"}:
        raise ValueError
    return str(value) in {"1", "True"}


def _htmx(value: Any) -> int:
    if str(value) not in {"2", "4"}:
        raise ValueError
    return int(value)


def _base_url(value: Any) -> str:
    url = _text(r"https?://[^\s/?#]+(/[^\s?#]*)?")(value).rstrip("/")
    urlsplit(url)  # raises ValueError for a host in brackets that is no IPv6 address
    return url


def read_origins(value: Any) -> tuple[str, ...]:
    """Return the origins in a list, or in a text that separates them by spaces.

    Raises:
        ValueError: If an item is no origin (scheme, host and port, RFC 6454), such as
            ``https://example.org``.
        TypeError: If an item is no text, or the value is neither text nor a list.
    """
    origins = tuple(value.split()) if isinstance(value, str) else tuple(value)
    if not all(re.fullmatch(r"https?://[^/\s]+", origin) for origin in origins):
        raise ValueError
    return origins


def read_as(name: str, value: Any) -> Any:
    """Return a value as a key reads it, such as one that a channel has of its own.

    Args:
        name: The key's field, such as ``max_age``.
        value: The value; its form is that of ``app.config``.

    Raises:
        ValueError: If the key does not take the value; TypeError and OverflowError likewise.
    """
    return Config.__dataclass_fields__[name].metadata["read"](value)


@dataclass(frozen=True, slots=True)
class Config:
    """The extension's settings of one app.

    A field ``name`` is the key ``QUART_SSE_NAME``. Its value comes from ``app.config``, then from
    the environment variable of the same name, then from the default here. Times are in seconds,
    sizes in bytes.

    Example:
        ``app.config["QUART_SSE_HISTORY"] = 500``, before ``SSE(app)``
    """

    #: URL of the broker: "memory://" for one process; "redis://...", "rediss://..." (TLS) or
    #: "unix://..." (socket) for several.
    broker_url: str = _key(
        "memory://",
        "'memory://' or a redis://, rediss:// or unix:// URL",
        _text(r"memory://|(redis|rediss|unix)://.+"),
    )
    #: Path that begins every URL of the extension.
    url_prefix: str = _key("/sse", "a path such as '/sse'", _text(r"(/[\w.-]+)+"))
    #: URL under which browsers see the app: scheme, host and root path. None: shared fragments have
    #: relative URLs, below the root path of each page.
    base_url: str | None = _key(None, "a URL such as 'https://example.org/app'", _base_url)
    #: Version of htmx for which the macros write markup.
    htmx: int = _key(2, "2 or 4", _htmx)
    #: Further origins whose pages may connect: a list, or a text that separates them by spaces.
    origins: tuple[str, ...] = _key((), "origins such as 'https://example.org'", read_origins)

    #: Number of events kept per topic for clients that resume; 0 keeps none.
    history: int = _key(256, "a whole number, 0 or more", _int(0))
    #: Lifetime of a topic's history after its last message, in seconds.
    history_ttl: float = _key(300.0, "a number of seconds, at least 1", _seconds(1))
    #: Size limit of one replay, in events, over all topics of the connection. A client that missed
    #: more is reset (``sse-reset``).
    replay_events: int = _key(1000, "a whole number, 1 or more", _int(1))
    #: Size limit of one replay, in bytes.
    replay_bytes: int = _key(1 << 20, "a number of bytes, at least 1024", _int(1024))

    #: Shortest interval between two renders of a fragment, in seconds.
    debounce: float = _key(0.1, "a number of seconds, 0 or more", _seconds(0))
    #: Time limit of the render of a shared fragment, in seconds; a cancelled render is retried.
    render_timeout: float = _key(30.0, "a number of seconds, more than 0", _seconds(0.01))
    #: Most shared fragments that one process renders at once.
    max_renders: int = _key(32, "a whole number, 1 or more", _int(1))

    #: Interval in which an idle stream sends its position, in seconds; nginx closes streams that
    #: are silent for 60 s (``proxy_read_timeout``).
    # At most 30, because quart-sse.js replaces a connection that is silent for 45 s.
    heartbeat: float = _key(15.0, "a number of seconds, from 0.1 to 30", _seconds(0.1, 30))
    #: Time limit of one call to Redis, in seconds; a publisher gets BrokerUnavailable after it.
    broker_timeout: float = _key(2.0, "a number of seconds, at least 0.05", _seconds(0.05))
    #: Interval of the probes of the broker, in seconds. A probe also advances the positions of idle
    #: streams.
    probe: float = _key(5.0, "a number of seconds, at least 0.1", _seconds(0.1))
    #: Lifetime of a stream, in seconds. A stream ends at 80 to 100 % of it; the client reconnects,
    #: and the gate judges it again.
    max_age: float = _key(3600.0, "a number of seconds, at least 1", _seconds(1))
    #: Time after which a browser reconnects when its stream is cut, in seconds; streams that the
    #: server ends say their own.
    # At most a day: browsers keep milliseconds in 32 bits.
    retry: float = _key(3.0, "a number of seconds, from 0.1 to 86400", _seconds(0.1, 86_400))
    #: Time after which a client that reads nothing is disconnected, in seconds.
    send_timeout: float = _key(30.0, "a number of seconds, at least 0.1", _seconds(0.1))
    #: Time that a process stays subscribed to a topic without viewers, in seconds, for users who
    #: change pages.
    linger: float = _key(10.0, "a number of seconds, 0 or more", _seconds(0))
    #: Time that a new connection waits for the broker, in seconds, before the client must retry.
    join_timeout: float = _key(5.0, "a number of seconds, at least 0.1", _seconds(0.1))
    #: Time that a closed connection still counts as present, in seconds, so that a reload does not
    #: leave and join.
    presence_linger: float = _key(3.0, "a number of seconds, 0 or more", _seconds(0))

    #: Whether messages go straight to the transport of Uvicorn where that is known to be the same.
    #: Turn it off to hand each of them to Uvicorn's own ``send`` instead.
    direct: bool = _key(True, "1 or 0", _switch)
    #: Size limit of the messages that wait for one slow client, in events. Over it the stream ends,
    #: and the client resumes from history.
    pending_events: int = _key(1000, "a whole number, 1 or more", _int(1))
    #: Size limit of the messages that wait for one slow client, in bytes. No event may be larger.
    pending_bytes: int = _key(1 << 20, "a number of bytes, at least 1024", _int(1024))

    #: Lifetime of a page's token, in seconds; an open stream renews it.
    token_lifetime: float = _key(86400.0, "a number of seconds, at least 1", _seconds(1))
    #: Lifetime of a token over all its renewals, in seconds.
    token_max_lifetime: float = _key(604800.0, "a number of seconds, at least 1", _seconds(1))
    #: Limit of topics per connect element. A page that shows more is an error.
    max_topics: int = _key(128, "a whole number, 1 or more", _int(1))
    #: Limit of topics per URL in lists that no page of the app has written. Without a secret key
    #: these cannot be told from others, so the limit holds for each list.
    max_unsigned_topics: int = _key(16, "a whole number, 1 or more", _int(1))
    #: Limit of tokens per URL; tabs that share a connection have one token each.
    max_tokens: int = _key(16, "a whole number, 1 or more", _int(1))
    #: Limit of a query string, in bytes. The broker keeps lists of topics that are too long for it.
    max_query: int = _key(6144, "a number of bytes, at least 256", _int(256))

    #: Limit of open connections in one process; further clients must retry.
    max_connections: int = _key(10_000, "a whole number, 1 or more", _int(1))
    #: Limit of open connections per topic in one process; further clients must retry.
    max_per_topic: int = _key(10_000, "a whole number, 1 or more", _int(1))
    #: Limit of open connections per identity in one process. A new one evicts the oldest.
    max_per_identity: int = _key(64, "a whole number, 1 or more", _int(1))
    #: Limit of open connections per browser in one process over HTTP/1, where browsers open 6 per
    #: host. A new one evicts the browser's oldest.
    max_per_browser: int = _key(4, "a whole number, 1 or more", _int(1))
    #: Limit of open connections per address in one process; further clients must retry. All
    #: addresses of IPv6 in one /64 network count as one. Addresses of loopback and private networks
    #: are not limited: they are those of proxies.
    max_per_address: int = _key(1000, "a whole number, 1 or more", _int(1))
    #: Limit of streams in one process whose sources are sync, each of which holds a thread; further
    #: clients must retry.
    sync_streams: int = _key(64, "a whole number, 1 or more", _int(1))
    #: Name of the signed random cookie that identifies a browser; "" sets no cookie.
    browser_cookie: str = _key("sse_browser", "a cookie name, or ''", _text(r"[\w-]*"))

    #: Prefix of every key and pub/sub channel in Redis.
    redis_prefix: str = _key("sse", "letters, digits, '_', '-', '.' or ':'", _text(r"[\w.:-]+"))

    @classmethod
    def read(cls, config: Mapping[str, Any], environ: Mapping[str, str]) -> "Config":
        """Return the settings of an app.

        Args:
            config: The app's config, which has precedence.
            environ: Environment variables.

        Returns:
            The settings; keys that are absent or None have their default.

        Raises:
            ConfigError: If a value is invalid, or the config has an unknown key that begins with
                ``QUART_SSE_`` (most often a misspelt one).
        """
        fields = {PREFIX + field.name.upper(): field for field in dataclasses.fields(cls)}
        for key in config:
            if key.startswith(PREFIX) and key not in fields:
                # Without the prefix, which makes all of them alike.
                names = [name.removeprefix(PREFIX) for name in fields]
                from difflib import get_close_matches  # loaded with the first mistake

                near = get_close_matches(key.removeprefix(PREFIX), names, 1)
                keys = f"The keys are {', '.join(fields)}"
                if near:
                    keys = f"Did you mean {PREFIX}{near[0]}?"
                raise ConfigError(key, config[key], f"removed, for there is no such key. {keys}")

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
