"""Stats: what a process, or all processes of an app, have done and hold, as typed figures."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from heapq import nsmallest
from typing import Any

from ..broker import Process, State
from ..hub import BOUNDS, Durations, quantile

#: Number of identities, and of topics, that are named.
MOST_NAMED = 20
#: What streams end by whose clients have gone, where others have the reason of an ``Ending``.
GONE = "gone"
#: States of a broker, the worst first.
_WORST_FIRST = [
    state.value
    for state in (State.AWAY, State.STOPPED, State.STARTING, State.DEGRADED, State.READY)
]


@dataclass(frozen=True, slots=True)
class Took:
    """How long something took.

    Attributes:
        number: Number of times since the process began.
        seconds: Sum of the times since then, in seconds.
        p50: Time that half of those of the last one to two minutes did not exceed, in seconds; None
            if there are none.
        p99: The same for 99 of 100, in seconds.
        recent: Number of those of the last one to two minutes in each bucket, from which ``p50``
            and ``p99`` are estimated.
    """

    number: int = 0
    seconds: float = 0.0
    p50: float | None = None
    p99: float | None = None
    recent: tuple[int, ...] = (0,) * (len(BOUNDS) + 1)


@dataclass(frozen=True, slots=True)
class Stats:
    """Figures of one process, or of several added up; returned by ``sse.stats()``.

    Numbers of what has happened count from the start of the process. A connection counts once,
    also while one stream takes the place of another, and once for each of its channels and topics.

    Attributes:
        processes: Number of processes.
        broker: State of the broker: "starting", "ready", "degraded", "away" or "stopped"; of
            several processes the worst.
        connections: Number of open connections.
        anonymous: Number of those without an identity.
        identities: Number of identities that have connections.
        top_identities: Identity -> number of its connections; the 20 with most.
        by_channel: Channel -> number of connections that listen to any topic of it.
        topics: Number of topics that have connections.
        top_topics: Topic -> number of its connections; the 20 with most.
        oldest: Age of the oldest connection, in seconds; 0 without connections.
        opened: Number of streams that have opened.
        ended: How streams have ended -> their number: the reason of an :class:`Ending`, or "gone"
            for a client that has gone.
        refused: Reason of an :class:`Ending` -> number of streams that were refused by it.
        published: Number of events, refreshes and pushes that the broker has taken from the app.
        received: Number of those that came from the broker for connections or audiences of here.
        delivered: Number of messages for streams: an event for 5 streams counts 5 times.
        written: Bytes that the server was given for streams.
        conflated: Number of versions of fragments that streams were not sent, because a newer one
            came before.
        dropped: Number of messages that streams were not sent, because they held too many, or ended
            or were reset for another reason.
        resets: Number of streams that were reset, because events are lost for them.
        renders: Times of the renders of shared fragments, failed ones too.
        renders_failed: Number of those that have failed.
        lag: Times from publishing until the server was given it, of the oldest event of each write,
            from the broker's clock to that of the process: where the clocks of machines differ, it
            is off by as much.
        queued: Bytes that slow streams hold until their clients read.
        html: Size of the HTML of shared fragments that is kept, in characters.
        kept: Bytes of kept lists of topics that ``memory://`` holds; 0 with Redis, which keeps them
            itself.

    Example:
        ``sse.stats().by_channel.get("comments", 0)``
    """

    processes: int = 1
    broker: str = State.STARTING.value
    connections: int = 0
    anonymous: int = 0
    identities: int = 0
    top_identities: Mapping[str, int] = field(default_factory=dict)
    by_channel: Mapping[str, int] = field(default_factory=dict)
    topics: int = 0
    top_topics: Mapping[str, int] = field(default_factory=dict)
    oldest: float = 0.0
    opened: int = 0
    ended: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)
    published: int = 0
    received: int = 0
    delivered: int = 0
    written: int = 0
    conflated: int = 0
    dropped: int = 0
    resets: int = 0
    renders: Took = field(default_factory=Took)
    renders_failed: int = 0
    lag: Took = field(default_factory=Took)
    queued: int = 0
    html: int = 0
    kept: int = 0


@dataclass(frozen=True, slots=True)
class CollectedStats:
    """The figures of all processes; returned by ``sse.processes.stats()``.

    Attributes:
        total: The figures of the processes that have answered, added up.
        by_process: Process -> its figures.
        silent: Live processes of which an answer, or a part of it, is missing.

    Example:
        ``(await sse.processes.stats()).total.connections``
    """

    total: Stats
    by_process: Mapping[Process, Stats]
    silent: tuple[Process, ...]


def took(durations: Durations) -> Took:
    """Return durations as figures."""
    return _took(durations.number, durations.seconds, durations.recent)


def _took(number: int, seconds: float, recent: Iterable[int]) -> Took:
    recent = tuple(recent)
    return Took(number, seconds, quantile(recent, 0.5), quantile(recent, 0.99), recent)


def most(numbers: Mapping[str, int]) -> dict[str, int]:
    """Return the names with the largest numbers, the largest first."""
    return dict(nsmallest(MOST_NAMED, numbers.items(), key=lambda each: (-each[1], each[0])))


def total_of(found: Iterable[Stats], identities: Counter[str], topics: Counter[str]) -> Stats:
    """Return figures added up.

    Args:
        found: The figures of each process.
        identities: Identity -> number of its connections, over all processes.
        topics: Topic -> number of its connections, over all processes.
    """
    parts = list(found)

    def summed(name: str) -> Any:
        values = [getattr(part, name) for part in parts]
        if name == "broker":
            return min(values, key=_WORST_FIRST.index, default=State.AWAY.value)
        if name == "oldest":
            return max(values, default=0.0)
        if name in ("renders", "lag"):
            recent = zip(Took().recent, *(each.recent for each in values), strict=False)
            return _took(
                sum(each.number for each in values),
                sum(each.seconds for each in values),
                (sum(bucket) for bucket in recent),
            )
        if values and isinstance(values[0], Mapping):
            added = Counter[str]()
            for each in values:
                added.update(each)
            return dict(added)
        return sum(values)

    total = {each.name: summed(each.name) for each in fields(Stats)}
    total |= {"identities": len(identities), "topics": len(topics)}
    total |= {"top_identities": most(identities), "top_topics": most(topics)}
    return Stats(**total)


def written(stats: Stats) -> dict[str, Any]:
    """Return figures for JSON."""
    return asdict(stats)


def read(told: Mapping[str, Any]) -> Stats:
    """Return the figures of a process; another release may leave some out, or have others."""
    known = {each.name: told[each.name] for each in fields(Stats) if each.name in told}
    for name in ("renders", "lag"):
        each = known.get(name, {})
        known[name] = Took(**{**each, "recent": tuple(each.get("recent", ()))})
    if known.get("broker") not in _WORST_FIRST:
        known["broker"] = State.STARTING.value
    return Stats(**known)
