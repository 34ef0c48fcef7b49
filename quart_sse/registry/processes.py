"""The processes of an app, and the connections of all of them."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ..broker import Control, Filter, Process
from ..channels import Channel, Topic
from ..config import Config
from ..errors import FilterError
from ..hub import Connection
from ..serving_loop import ServingLoop
from .desk import Desk, name_of

#: Size of one answer, in characters of JSON, of the MAX_CHARS that an answer may have.
PAGE_CHARS = 48_000


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


class ProcessList:
    """The live processes of the app, and the connections of all of them; ``sse.processes``.

    An ``async for`` gives each as a :class:`Process`, with ``id``, ``host``, ``pid`` and
    ``release``. Questions to all processes are answered within ``QUART_SSE_BROKER_TIMEOUT``. They
    must be asked in a process that serves.

    Example:
        .. code-block:: python

            async for process in sse.processes:
                print(process.host, process.pid, process.release)
    """

    def __init__(self, control: Control, desk: Desk, serving: ServingLoop, config: Config) -> None:
        self._control = control
        self._desk = desk
        self._serving = serving
        self._deadline = config.broker_timeout
        control.reply("connections", self._answer_connections)
        control.reply("count", self._answer_count)

    async def __aiter__(self) -> AsyncIterator[Process]:
        """Iterate over the live processes, ordered by host and process id."""
        for process in await self._control.processes.live():
            yield process

    async def connections(
        self,
        *,
        topic: Topic | str | None = None,
        channel: Channel | str | None = None,
        identity: str | None = None,
        where: Mapping[str, Any] | None = None,
    ) -> Found:
        """Return the connections of every process to which all given conditions apply.

        Args:
            topic: As for :meth:`Registry.of`.
            channel: As for :meth:`Registry.of`.
            identity: As for :meth:`Registry.of`.
            where: As for :meth:`Registry.of`, but no function.

        Raises:
            ParameterError: If an argument is of the wrong type.
            FilterError: If ``where`` is no condition, or a function.
            SetupError: If this process serves nothing.
            BrokerUnavailable: If the broker is away.

        Example:
            ``found = await sse.processes.connections(where={"role": "moderator"})``
        """
        told = _told(topic, channel, identity, where)
        return await self._serving.run(self._find, told)

    async def count(
        self,
        *,
        topic: Topic | str | None = None,
        channel: Channel | str | None = None,
        identity: str | None = None,
        where: Mapping[str, Any] | None = None,
    ) -> Counted:
        """Return the number of connections of every process to which all given conditions apply.

        The arguments and errors are those of :meth:`connections`.

        Example:
            ``(await sse.processes.count(topic=comments.topic(discussion_id=7))).total``
        """
        told = _told(topic, channel, identity, where)
        return await self._serving.run(self._count, told)

    # -- asking ------------------------------------------------------------------------------------

    async def _count(self, told: Mapping[str, object]) -> Counted:
        asked = await self._control.ask("count", told, deadline=self._deadline)
        live = await self._live()
        counts = {
            live.get(id, Process(id)): answer
            for id, answer in asked.answers.items()
            if isinstance(answer, int)
        }
        unanswered = tuple(live.get(id, Process(id)) for id in sorted(asked.faults))
        return Counted(sum(counts.values()), counts, (*asked.silent, *unanswered))

    async def _find(self, told: Mapping[str, object]) -> Found:
        """Ask all processes, and those with more connections than an answer holds once more."""
        ends_at = asyncio.get_running_loop().time() + self._deadline
        asked = await self._control.ask("connections", told, deadline=self._deadline)
        live = await self._live()
        silent = {process.id: process for process in asked.silent}
        silent |= {id: live.get(id, Process(id)) for id in asked.faults}
        pages = {id: [answer] for id, answer in asked.answers.items()}

        async def ask_more(id: str) -> None:
            while pages[id][-1]["more"]:
                left = ends_at - asyncio.get_running_loop().time()
                data = {**told, "after": pages[id][-1]["connections"][-1]["id"]}
                more = await self._control.ask("connections", data, deadline=max(left, 0), to=id)
                if id not in more.answers:
                    silent[id] = live.get(id, Process(id))
                    return
                pages[id].append(more.answers[id])

        await asyncio.gather(*map(ask_more, pages))
        rows = [
            _read(row, live.get(id, Process(id)))
            for id, answers in pages.items()
            for answer in answers
            for row in answer["connections"]
        ]
        return Found(tuple(rows), tuple(silent.values()))

    async def _live(self) -> dict[str, Process]:
        processes = [*await self._control.processes.live(), self._control.processes.own]
        return {process.id: process for process in processes if process is not None}

    # -- answering ---------------------------------------------------------------------------------

    def _select(self, told: Mapping[str, Any]) -> list[Connection]:
        return self._desk.select(
            told.get("topic"), told.get("channel"), told.get("identity"), told.get("where")
        )

    def _answer_count(self, told: Any) -> int:
        return len(self._select(told))

    def _answer_connections(self, told: Any) -> Mapping[str, object]:
        after = told.get("after") or ""
        found = sorted(
            (each for each in self._select(told) if each.id > after), key=lambda each: each.id
        )
        rows: list[Mapping[str, object]] = []
        size = 0
        for connection in found:
            row = _written(connection)
            size += len(json.dumps(row)) + 2
            if rows and size > PAGE_CHARS:
                return {"connections": rows, "more": True}
            rows.append(row)
        return {"connections": rows, "more": False}


def _told(
    topic: Topic | str | None,
    channel: Channel | str | None,
    identity: str | None,
    where: object,
) -> dict[str, object]:
    """Return the conditions of a question, for JSON."""
    if where is not None and not isinstance(where, Mapping):
        raise FilterError(
            "where= is no mapping, and no other process can call a function. Pass what the "
            'metadata must equal, such as {"role": "admin"}.'
        )
    if where is not None:
        Filter(where)
    conditions = {
        "topic": name_of(topic, Topic),
        "channel": name_of(channel, Channel),
        "identity": name_of(identity, str),
        "where": where,
    }
    return {name: value for name, value in conditions.items() if value is not None}


def _written(connection: Connection) -> dict[str, object]:
    return {
        "id": connection.id,
        "topics": sorted(connection.subscription),
        "identity": connection.identity,
        "metadata": None if connection.metadata is None else connection.metadata.values,
        "connected_at": connection.lasting.connected_at,
        "last_event_id": connection.last_event_id,
        "remote_address": connection.remote_address,
        "user_agent": connection.user_agent,
    }


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
