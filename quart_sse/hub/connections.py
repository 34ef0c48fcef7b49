"""The open connections of a process."""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from ..config import Config
from ..logs import LogLine
from ..wire import Ending
from .chains import Chains
from .connection import Connection
from .limits import Limits, channel_part
from .page import NO_LISTS, Listed
from .subscribers import Subscribers
from .traffic import Traffic


class Connections:
    """The open connections of one process, by id, identity, browser, address and topic.

    A new connection evicts only older ones of the same identity or browser. While a stream takes
    the place of another one of the same connection, both are open, and the id names the new one.

    Args:
        config: The app's settings, with the limits.
        subscribers: The connections of each topic.
        limits: Judges the limits; None for those of the settings alone.
        traffic: Counts what the connections are sent; None for one of its own.
    """

    def __init__(
        self,
        config: Config,
        subscribers: Subscribers,
        limits: Limits | None = None,
        traffic: Traffic | None = None,
    ) -> None:
        self.traffic: Traffic = Traffic() if traffic is None else traffic
        self.opened: int = 0  #: streams that have entered
        #: How streams have ended that had entered -> their number; None if the client has gone.
        self.ended: Counter[Ending | None] = Counter()
        #: How streams were refused, of which none has entered -> their number.
        self.refused: Counter[Ending] = Counter()
        self._limits = Limits(config, subscribers) if limits is None else limits
        self._subscribers = subscribers
        self._chains = Chains()
        self._by_owner: dict[tuple[str, str], dict[Connection, None]] = {}
        self._listed: dict[str, Listed] = {}  #: address -> topics in the lists of its streams
        self.is_closing: bool = False  #: whether the server stops, so that no further stream opens
        self.emptied: asyncio.Event = asyncio.Event()  #: set while there are no connections
        self.emptied.set()

    def __len__(self) -> int:
        """Return the number of open streams."""
        return len(self._chains)

    def __iter__(self) -> Iterator[Connection]:
        """Iterate over a copy of the open streams, which may enter and leave meanwhile."""
        return iter(self._chains)

    @property
    def newest(self) -> Collection[Connection]:
        """The newest stream of each connection."""
        return self._chains.newest

    def get(self, id: str) -> Connection | None:
        """Return the newest stream of the connection with an id; None if it is not open here."""
        return self._chains.get(id)

    def streams_of(self, id: str) -> list[Connection]:
        """Return the streams of a connection, oldest first: two while one replaces the other."""
        return self._chains.of(id)

    def of(self, kind: str, value: str | None) -> list[Connection]:
        """Return the open connections of one identity, browser or address.

        Args:
            kind: ``identity``, ``browser`` or ``address``.
            value: Its value, as the connections have it; None has no connections.
        """
        return [] if value is None else list(self._by_owner.get((kind, value), {}))

    def listening(self, topic: str) -> list[Connection]:
        """Return the connections that listen to a topic."""
        subscribers = self._subscribers.get(topic)
        return [] if subscribers is None else subscribers.connections

    @property
    def owners(self) -> dict[str, int]:
        """Identity -> number of its connections."""
        held = [(owner, list(streams)) for owner, streams in list(self._by_owner.items())]
        return {
            owner: len(streams) if len(streams) < 2 else len({each.id for each in streams})
            for (kind, owner), streams in held
            if kind == "identity"
        }

    @property
    def by_topic(self) -> dict[str, int]:
        """Topic -> number of the connections that listen to it."""
        found = {topic: each.count for topic, each in list(self._subscribers.items())}
        return self._counted_once(found, lambda topic: topic)

    @property
    def by_channel(self) -> dict[str, int]:
        """Channel -> number of the connections that listen to any topic of it."""
        return self._counted_once(self._limits.by_channel, channel_part)

    def _counted_once(
        self, streams: Mapping[str, int], name_of: Callable[[str], str]
    ) -> dict[str, int]:
        """Return numbers of streams without those that another stream is about to replace."""
        found = dict(streams)
        for chain in self._chains.replaced:
            names = Counter(name for each in chain for name in {*map(name_of, each.subscription)})
            for name, number in names.items():
                found[name] = found.get(name, 0) - (number - 1)
        return {name: number for name, number in found.items() if number > 0}

    def topics_of(self, channel: str) -> list[str]:
        """Return the topics of a channel to which connections listen."""
        return list(self._subscribers.counts(channel))

    # -- entering and leaving ----------------------------------------------------------------------

    def is_full(
        self,
        topics: Iterable[str] = (),
        address: str | None = None,
        id: str | None = None,
        listed: Listed = NO_LISTS,
    ) -> bool:
        """Whether the process, a channel, a topic or the address has reached its limit.

        Args:
            topics: Names of the topics to which a new stream would listen.
            address: What the new stream's address counts as, or None.
            id: Id of its connection, whose only stream makes room for it; None for a new one.
            listed: Topics in its lists.
        """
        number, before = len(self), [] if id is None else self.streams_of(id)
        of_address = len(self._by_owner.get(("address", address or ""), ()))
        listed = self._listed.get(address or "", NO_LISTS).plus(listed)
        if len(before) == 1:
            topics = [topic for topic in topics if topic not in before[0].subscription]
            number -= 1
            if before[0].address == address:
                of_address -= 1
                listed = listed.plus(before[0].listed, -1)
        return self._limits.is_full(number, topics, address, of_address, listed)

    @property
    def reached(self) -> dict[str, int]:
        """Name of a log line about a limit -> how many streams had to wait for it."""
        return dict(self._limits.reached)

    def say_full(self, line: LogLine, /, **fields: object) -> None:
        """Log why new streams are held off, each line at most once a minute.

        Args:
            line: The log line.
            fields: Value of each field of the line.
        """
        self._limits.say(line, **fields)

    def refuse(self, ending: Ending) -> None:
        """Count a stream that is refused before it is made."""
        self.refused[ending] += 1

    def enter(self, connection: Connection, is_multiplexed: bool) -> None:
        """Add a connection; beyond a limit it evicts the oldest of its identity or browser.

        Args:
            connection: The new connection.
            is_multiplexed: Whether the browser shares one socket among its requests (HTTP/2), so
                that the limit per browser need not keep sockets free for other requests.
        """
        for owner in _owners(connection):
            held = self._by_owner.setdefault(owner, {})
            if owner[0] != "address":  # many users may have the same one
                self._evict(owner[0], held, connection.id, is_multiplexed)
            held[connection] = None
        self._count_listed(connection, 1)
        self.opened += 1
        connection.traffic = self.traffic
        self._chains.add(connection)
        self._limits.change((), connection.subscription)
        self.emptied.clear()

    def _evict(self, owner: str, held: Iterable[Connection], id: str, is_multiplexed: bool) -> None:
        """End the oldest of an owner's connections beyond its limit, before another one enters."""
        others = [self.get(each.id) for each in held if each.id != id]
        live = [*dict.fromkeys(each for each in others if each and not each.is_ended)]
        for other in live[: self._limits.to_evict(owner, len(live), is_multiplexed)]:
            for stream in self.streams_of(other.id):
                stream.end(Ending.EVICTED)

    def leave(self, connection: Connection) -> bool:
        """Remove a connection, if it has entered.

        Returns:
            Whether no stream of it is left.
        """
        for owner in _owners(connection):
            held = self._by_owner.get(owner, {})
            held.pop(connection, None)
            if not held:
                self._by_owner.pop(owner, None)
        if connection in self._chains:
            self._limits.change(connection.subscription, ())
            self._count_listed(connection, -1)
            self.ended[connection.ending] += 1
        elif connection.ending is not None:
            self.refused[connection.ending] += 1
        is_last = self._chains.remove(connection)
        if not len(self):
            self.emptied.set()
        return is_last

    def _count_listed(self, connection: Connection, sign: int) -> None:
        if connection.address is None:
            return
        listed = self._listed.pop(connection.address, NO_LISTS).plus(connection.listed, sign)
        if any(listed):
            self._listed[connection.address] = listed

    def recount(self, connection: Connection, topics: Iterable[str]) -> None:
        """Count a connection for other channels, before its topics change.

        Args:
            connection: The connection.
            topics: Names of its topics from then on.
        """
        if connection in self._chains:
            self._limits.change(connection.subscription, topics)

    def clear(self) -> None:
        """Forget the connections of a loop that has ended; what was counted stays."""
        self.ended[None] += len(self)
        self._chains.clear()
        self._by_owner.clear()
        self._listed.clear()
        self._limits.clear()
        self.emptied = asyncio.Event()
        self.emptied.set()

    # -- the server's stop -------------------------------------------------------------------------

    def open(self) -> None:
        """Allow new streams, when the server starts or starts again."""
        self.is_closing = False

    def close(self) -> None:
        """End every stream and allow no further one; clients reconnect to the next server."""
        self.is_closing = True
        for connection in self:
            connection.end(Ending.SHUTDOWN)


def _owners(connection: Connection) -> Iterator[tuple[str, str]]:
    if connection.identity is not None:
        yield "identity", connection.identity
    if connection.browser is not None:
        yield "browser", connection.browser
    if connection.address is not None:
        yield "address", connection.address
