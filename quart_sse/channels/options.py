"""The settings of one channel, checked where they are declared, and those of a stream."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from ..config import Config, read_as
from ..errors import DeclarationError
from ..wire import plain

#: Option -> the key of :class:`~quart_sse.config.Config` whose values it takes.
_LIKE = {
    "history": "history",
    "history_ttl": "history_ttl",
    "max_connections": "max_connections",
    "max_per_topic": "max_per_topic",
    "max_age": "max_age",
    "max_idle": "max_age",
    "heartbeat": "heartbeat",
    "retry": "retry",
}
#: A header's name (RFC 9110, 5.6.2), and its value (5.5, of ASCII alone).
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"([!-~]([ \t!-~]*[!-~])?)?")
#: Headers that the server, the stream or ``origins=`` writes, in lower case.
RESERVED = frozenset(
    {
        *("connection", "content-encoding", "content-length", "content-type", "keep-alive"),
        *("proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
        *("cache-control", "set-cookie", "vary", "x-accel-buffering", "x-content-type-options"),
        *("access-control-allow-credentials", "access-control-allow-origin"),
    }
)


@dataclass(frozen=True, slots=True)
class ChannelOptions:
    """The settings of one channel; ``SSE.channel`` documents each.

    None stands for the app's setting of the same name.

    Raises:
        DeclarationError: If a value is invalid; the message names the option and what it takes.
    """

    public: bool = False
    presence: bool | Iterable[str] = False
    history: int | None = None
    history_ttl: float | None = None
    max_connections: int | None = None
    max_per_topic: int | None = None
    max_age: float | None = None
    max_idle: float | None = None
    heartbeat: float | None = None
    retry: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    origins: Iterable[str] = ()

    def __post_init__(self) -> None:
        """Check each value, and keep what was read of it; the class is frozen, so that it stays."""
        for option, key in _LIKE.items():
            value = getattr(self, option)
            if value is not None:
                object.__setattr__(self, option, _read(option, value, key))
        object.__setattr__(self, "presence", _read_presence(self.presence))
        object.__setattr__(self, "headers", _checked_headers(self.headers))
        object.__setattr__(self, "origins", _read_origins(self.origins))


class StreamSettings(NamedTuple):
    """The settings of one stream, made of those of its channels; times are in seconds."""

    max_age: float
    max_idle: float  #: infinity if no channel has one
    heartbeat: float
    retry: float


def settings_of(options: ChannelOptions, config: Config) -> StreamSettings:
    """Return the settings of streams of one channel: its own, or the app's.

    Args:
        options: The channel's settings.
        config: The app's settings.
    """
    return StreamSettings(
        config.max_age if options.max_age is None else options.max_age,
        float("inf") if options.max_idle is None else options.max_idle,
        config.heartbeat if options.heartbeat is None else options.heartbeat,
        config.retry if options.retry is None else options.retry,
    )


def shortest(channels: Iterable[StreamSettings]) -> StreamSettings:
    """Return the settings of a stream of several channels: of each setting the shortest.

    Args:
        channels: The settings of streams of each channel, at least one.
    """
    return StreamSettings(*map(min, zip(*channels, strict=True)))


def _read(option: str, value: object, key: str) -> float:
    try:
        if isinstance(value, str | bytes):
            raise TypeError  # the key takes texts, as of the environment
        read: float = read_as(key, value)
    except (ValueError, TypeError, OverflowError):
        expected = Config.__dataclass_fields__[key].metadata["expected"]
        raise DeclarationError(
            f"{option} is {value!r}. It must be {expected}, or be left out."
        ) from None
    return read


def _read_presence(presence: object) -> bool | tuple[str, ...]:
    if isinstance(presence, bool):
        return presence
    keys = () if isinstance(presence, str) or not isinstance(presence, Iterable) else (*presence,)
    if not keys or not all(isinstance(key, str) for key in keys):
        raise DeclarationError(
            f"presence is {presence!r}. Pass True, or the keys of the metadata that it carries, "
            'such as presence=("name",).'
        )
    return tuple(map(plain, keys))


def _read_origins(origins: Iterable[str]) -> tuple[str, ...]:
    try:
        read: tuple[str, ...] = read_as("origins", origins)
    except (ValueError, TypeError):
        raise DeclarationError(
            f"origins is {origins!r}. List origins such as 'https://example.org', without a path."
        ) from None
    return read


def _checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return a copy of response headers.

    Raises:
        DeclarationError: If a name or value cannot be sent, or the header is not the app's to set.
    """
    if not isinstance(headers, Mapping):
        raise DeclarationError(f"headers is {headers!r}. Pass a mapping such as {{'X-Name': 'a'}}.")
    seen: set[str] = set()
    for name, value in headers.items():
        if not isinstance(name, str) or not _TOKEN.fullmatch(name):
            raise DeclarationError(
                f"headers has the name {name!r}. Use letters, digits and hyphens (RFC 9110)."
            )
        if not isinstance(value, str) or not _VALUE.fullmatch(value):
            raise DeclarationError(
                f"The header {name!r} has the value {value!r}. Pass a text of printable ASCII "
                "characters, without line ends, and without spaces around it (RFC 9110)."
            )
        if name.lower() in RESERVED:
            raise DeclarationError(
                f"The header {name!r} cannot be set, because the stream has its own. Remove it"
                f"{'; origins= sets it.' if name.lower().startswith('access-') else '.'}"
            )
        if name.lower() in seen:
            raise DeclarationError(f"The header {name!r} is set twice. Remove one of them.")
        seen.add(name.lower())
    return dict(headers)
