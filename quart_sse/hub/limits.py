"""The limits of a process: which new connections must wait, and which old ones make room."""

import logging
import time
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from ..config import Config
from ..error_log import OnceLog
from ..logs import LogLine
from ..wire import Ending
from .addresses import is_local
from .page import NO_LISTS, Listed
from .subscribers import Subscribers

_FULL = "; new streams retry in about %(seconds)g s. "
PROCESS_FULL = LogLine(
    "hub",
    "process-full",
    logging.WARNING,
    f"Connection limit reached (%(limit)d, QUART_SSE_MAX_CONNECTIONS){_FULL}Raise the limit, or "
    "serve from more processes.",
    limit=int,
    seconds=float,
)
CHANNEL_FULL = LogLine(
    "hub",
    "channel-full",
    logging.WARNING,
    "Connection limit of channel %(channel)r reached (%(limit)d, max_connections of the channel)"
    f"{_FULL}Raise it in sse.channel(), or serve from more processes.",
    channel=str,
    limit=int,
    seconds=float,
)
TOPIC_FULL = LogLine(
    "hub",
    "topic-full",
    logging.WARNING,
    f"Connection limit of topic %(topic)r reached (%(limit)d, %(setting)s){_FULL}Raise the limit, "
    "or serve from more processes.",
    topic=str,
    limit=int,
    setting=str,
    seconds=float,
)
ADDRESS_FULL = LogLine(
    "hub",
    "address-full",
    logging.WARNING,
    f"%(of)s limit of address %(address)r reached (%(limit)d, %(setting)s){_FULL}Raise the limit, "
    "or let the app see the addresses of clients behind its proxy.",
    of=str,
    address=str,
    limit=int,
    setting=str,
    seconds=float,
)
ADDRESS_UNLIMITED = LogLine(
    "hub",
    "address-unlimited",
    logging.WARNING,
    "More %(what)s came from %(address)s than %(setting)s allows (%(limit)d); addresses of "
    "loopback and private networks are not limited. If a proxy has this one, let the app see its "
    "clients' addresses: Hypercorn's ProxyFixMiddleware, Uvicorn's --proxy-headers. This is logged "
    "once.",
    what=str,
    address=str,
    setting=str,
    limit=int,
)

#: Interval between two equal log lines about a limit, in seconds.
FULL_LOG_INTERVAL = 60.0
#: Most topics of one stream, over all its tokens, unless one token may have more; our script opens
#: another stream before.
MAX_SHARED = 1024
#: Most topics of the open streams of one address, as a multiple of those of one stream.
STREAMS = 16
#: Most topics of the open streams of one address in lists that no page of the app has written, as a
#: multiple of those of one URL.
UNSIGNED = 64
#: When clients of streams that must wait come again, in seconds on average.
RETRIES = Ending.OVERLOADED.seconds


class ChannelLimits(NamedTuple):
    """The limits that a topic's channel has of its own; None where it has none.

    Attributes:
        channel: The channel's name.
        max_connections: Limit of connections that listen to any topic of the channel.
        max_per_topic: Limit of connections that listen to one topic of the channel.
    """

    channel: str
    max_connections: int | None = None
    max_per_topic: int | None = None


class Declared(Protocol):
    """Declared channels; :class:`~quart_sse.channels.AppChannels` implements it."""

    def limits(self, topic: str) -> ChannelLimits:
        """Return the limits that a topic's channel has of its own."""


class Limits:
    """Judges the limits of one process: per process, channel, topic, address and owner.

    A full process, channel, topic or address holds new connections off. Beyond the limit of an
    identity or a browser its oldest connections make room. Addresses of loopback and private
    networks have no limit: they are proxies, each with any number of clients.

    Args:
        config: The app's settings.
        subscribers: The connections of each topic.
        declared: The app's channels; None if no channel has limits of its own.

    Example:
        ``if not limits.is_full(len(connections), topics, address, count): ...``
    """

    def __init__(
        self, config: Config, subscribers: Subscribers, declared: Declared | None = None
    ) -> None:
        self._config = config
        self._subscribers = subscribers
        self._declared = declared
        self._by_channel: Counter[str] = Counter()
        self._once = OnceLog()
        #: Name of a log line about a limit -> how many streams had to wait for it.
        self.reached: Counter[str] = Counter()
        self._said_at: dict[object, float] = {}  #: what a log line is about -> time.monotonic

    # -- new connections that must wait ------------------------------------------------------------

    def is_full(
        self,
        number: int,
        topics: Iterable[str],
        address: str | None,
        of_address: int,
        listed: Listed = NO_LISTS,
    ) -> bool:
        """Whether a new connection must wait; if so, the log says which limit it met.

        Args:
            number: Number of open connections of the process.
            topics: Names of the topics to which the new connection would listen.
            address: What the new connection's address counts as, or None.
            of_address: Number of open connections of that address.
            listed: Topics in the lists of that address, those of the new connection too.
        """
        config = self._config
        if number >= config.max_connections:
            self.say(PROCESS_FULL, limit=config.max_connections, seconds=RETRIES)
            return True
        if any(self._is_topic_full(topic) for topic in topics):
            return True
        if address is None:
            return False
        if of_address >= config.max_per_address:
            return self._has_reached(
                address,
                "Connection",
                "streams",
                config.max_per_address,
                "QUART_SSE_MAX_PER_ADDRESS",
            )
        most = UNSIGNED * config.max_unsigned_topics
        if listed.unsigned > most:
            key = f"{UNSIGNED} x QUART_SSE_MAX_UNSIGNED_TOPICS"
            return self._has_reached(address, "Topic", "topics in unsigned lists", most, key)
        most = STREAMS * max_shared(config)
        key = f"{STREAMS} streams full of topics"
        return listed.all > most and self._has_reached(address, "Topic", "topics", most, key)

    def _has_reached(self, address: str, limit: str, what: str, most: int, key: str) -> bool:
        """Log that an address has reached a limit, and return whether the limit holds for it."""
        if is_local(address):
            self._once.warn(
                "address", ADDRESS_UNLIMITED, what=what, address=address, setting=key, limit=most
            )
            return False
        self.say(ADDRESS_FULL, of=limit, address=address, limit=most, setting=key, seconds=RETRIES)
        return True

    def _is_topic_full(self, topic: str) -> bool:
        channel, of_channel, of_topic = self._limits_of(topic)
        if of_channel is not None and self._by_channel[channel] >= of_channel:
            self.say(CHANNEL_FULL, channel=channel, limit=of_channel, seconds=RETRIES)
            return True
        limit = self._config.max_per_topic if of_topic is None else of_topic
        if self._subscribers.count(topic) < limit:
            return False
        key = "QUART_SSE_MAX_PER_TOPIC" if of_topic is None else "max_per_topic of the channel"
        self.say(TOPIC_FULL, topic=topic, limit=limit, setting=key, seconds=RETRIES)
        return True

    def _limits_of(self, topic: str) -> ChannelLimits:
        if self._declared is None:
            return ChannelLimits(channel_part(topic))
        return self._declared.limits(topic)

    def say(self, line: LogLine, /, **fields: object) -> None:
        """Log why new streams must wait, each line at most once a minute for each setting.

        The limit keeps a flood of connects from becoming a flood of log lines.

        Args:
            line: The log line.
            fields: Value of each field of the line.
        """
        self.reached[line.name] += 1
        now, what = time.monotonic(), (line.name, fields.get("of"), fields.get("setting"))
        if now - self._said_at.get(what, float("-inf")) >= FULL_LOG_INTERVAL:
            self._said_at[what] = now
            line.write(fields)

    # -- old connections that make room ------------------------------------------------------------

    def to_evict(self, owner: str, number: int, is_multiplexed: bool) -> int:
        """Return how many of an owner's connections must end before another one enters.

        Args:
            owner: ``identity`` or ``browser``.
            number: Number of the owner's open connections.
            is_multiplexed: Whether the browser shares one socket among its requests (HTTP/2), so
                that the limit per browser need not keep sockets free for other requests.
        """
        config = self._config
        is_own_limit = owner == "browser" and not is_multiplexed
        limit = config.max_per_browser if is_own_limit else config.max_per_identity
        return max(number + 1 - limit, 0)

    # -- counting ----------------------------------------------------------------------------------

    @property
    def by_channel(self) -> dict[str, int]:
        """Channel -> number of the streams that listen to any topic of it."""
        return dict(self._by_channel)

    def change(self, before: Iterable[str], topics: Iterable[str]) -> None:
        """Count a connection for the channels of its topics.

        Args:
            before: Names of the topics that it had; none if it enters.
            topics: Names of those that it has from now on; none if it leaves.
        """
        self._by_channel.update(set(map(channel_part, topics)))
        for channel in set(map(channel_part, before)):
            self._by_channel[channel] -= 1
            if not self._by_channel[channel]:
                del self._by_channel[channel]

    def clear(self) -> None:
        """Count from zero, after the loop of all connections has ended."""
        self._by_channel.clear()


def max_shared(config: Config) -> int:
    """Return the most topics of one stream, over all its tokens."""
    return max(MAX_SHARED, config.max_topics)


def channel_part(topic: str) -> str:
    """Return the name of a topic's channel."""
    return topic.partition("?")[0]
