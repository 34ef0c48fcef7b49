"""The connections of all processes, as these answer: to a process that serves, or to a shell."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ..broker import Ask, Filter, Process, ask_pages, unanswered
from ..channels import Channel, Topic
from ..errors import FilterError
from .desk import name_of

#: Returns the live processes, by id.
Live = Callable[[], Awaitable[Mapping[str, Process]]]


@dataclass(frozen=True, slots=True)
class ConnectionInfo:
    """What a process says of one of its connections; see :class:`ConnectionHandle`.

    ``sse.send(info.id, ...)`` and ``sse.close(info.id)`` reach it.

    Attributes:
        id: The connection's id.
        process: The process that has it.
        topics: Names of the topics that it listens to.
        identity: The user's identity, or None.
        metadata: What ``@sse.metadata`` returned for it, or None.
        connected_at: When it was opened, in UTC, by that process's clock.
        last_event_id: The ``Last-Event-ID`` with which the client came, or None.
        remote_address: The client's IP address, or None.
        user_agent: The client's ``User-Agent``, or "".

    Example:
        ``[info.identity for info in await sse.processes.connections()]``
    """

    id: str
    process: Process
    topics: tuple[str, ...]
    identity: str | None
    metadata: Mapping[str, Any] | None
    connected_at: datetime
    last_event_id: str | None
    remote_address: str | None
    user_agent: str


@dataclass(frozen=True, slots=True)
class Found:
    """The connections of all processes; returned by ``sse.processes.connections()``.

    Attributes:
        connections: What the processes have answered.
        silent: Live processes of which an answer, or a part of it, is missing.

    Example:
        .. code-block:: python

            for info in await sse.processes.connections(identity="mira"):
                print(info.id)
    """

    connections: tuple[ConnectionInfo, ...]
    silent: tuple[Process, ...]

    def __iter__(self) -> Iterator[ConnectionInfo]:
        """Iterate over the connections."""
        return iter(self.connections)

    def __len__(self) -> int:
        """Return the number of connections."""
        return len(self.connections)


@dataclass(frozen=True, slots=True)
class Counted:
    """The number of connections of all processes; returned by ``sse.processes.count()``.

    Attributes:
        total: Number of connections of the processes that have answered.
        by_process: Process -> number of its connections.
        silent: Live processes that have not answered.

    Example:
        ``(await sse.processes.count(channel="comments")).total``
    """

    total: int
    by_process: Mapping[Process, int]
    silent: tuple[Process, ...]


async def count(ask: Ask, live: Live, told: Mapping[str, object], deadline: float) -> Counted:
    """Ask all processes how many connections they have.

    The arguments and errors are those of :func:`find`.
    """
    asked = await ask("count", told, deadline=deadline)
    known = await live()
    counts = {
        _process(known, id): answer
        for id, answer in asked.answers.items()
        if isinstance(answer, int)
    }
    return Counted(sum(counts.values()), counts, unanswered(asked, known))


async def count_by_channel(
    ask: Ask, live: Live, deadline: float
) -> tuple[Mapping[str, int] | None, tuple[Process, ...]]:
    """Ask all processes how many of their connections listen to each channel.

    The arguments and errors are those of :func:`find`.

    Returns:
        Channel -> number over all processes that have answered, or None if there is no answer; and
        the live processes that have not answered.
    """
    asked = await ask("channels", {}, deadline=deadline)
    silent = unanswered(asked, await live())
    total = Counter[str]()
    for answer in asked.answers.values():
        total.update(answer)
    return (total if asked.answers else None), silent


async def find(ask: Ask, live: Live, told: Mapping[str, object], deadline: float) -> Found:
    """Ask all processes, and those with more connections than an answer holds once more.

    Args:
        ask: Asks them.
        live: Returns those that are live.
        told: What :func:`conditions` returned.
        deadline: Longest duration, in seconds.

    Raises:
        SetupError: If this process can receive no answers.
        BrokerUnavailable: If the broker is away.
    """
    found = await ask_pages(
        ask, "connections", told, deadline, lambda answer: str(answer["connections"][-1]["id"])
    )
    known = await live()
    rows = [
        _read(row, _process(known, id))
        for id, answers in found.pages.items()
        for answer in answers
        for row in answer["connections"]
    ]
    return Found(tuple(rows), found.silent(known))


def conditions(
    topic: Topic | str | None,
    channel: Channel | str | None,
    identity: str | None,
    where: object,
) -> dict[str, object]:
    """Return the conditions of a question, for JSON.

    The arguments are those of :meth:`ProcessList.connections`.

    Raises:
        ParameterError: If an argument is of the wrong type.
        FilterError: If ``where`` is no condition, or a function.
    """
    if where is not None and not isinstance(where, Mapping):
        raise FilterError(
            "where= is no mapping, and no other process can call a function. Pass what the "
            'metadata must equal, such as {"role": "admin"}.'
        )
    if where is not None:
        Filter(where)
    found = {
        "topic": name_of(topic, Topic),
        "channel": name_of(channel, Channel),
        "identity": name_of(identity, str),
        "where": where,
    }
    return {name: value for name, value in found.items() if value is not None}


def _process(known: Mapping[str, Process], id: str) -> Process:
    return known.get(id, Process(id))


def _read(row: Mapping[str, Any], process: Process) -> ConnectionInfo:
    """Read what a process says of a connection; another release may leave something out."""
    return ConnectionInfo(
        id=str(row["id"]),
        process=process,
        topics=tuple(row.get("topics", ())),
        identity=row.get("identity"),
        metadata=row.get("metadata"),
        connected_at=datetime.fromtimestamp(row.get("connected_at", 0), UTC),
        last_event_id=row.get("last_event_id"),
        remote_address=row.get("remote_address"),
        user_agent=row.get("user_agent", ""),
    )
