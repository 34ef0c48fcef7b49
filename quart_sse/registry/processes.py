"""The processes of an app, and the connections of all of them."""

import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Any

from ..broker import Control, Process
from ..channels import Channel, Topic
from ..config import Config
from ..hub import Connection
from ..serving_loop import ServingLoop
from .desk import Desk
from .finding import Counted, Found, conditions, count, find
from .statistics import Statistics, collect
from .stats import CollectedStats

#: Size of one answer, in characters of JSON, of the MAX_CHARS that an answer may have.
PAGE_CHARS = 48_000


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

    def __init__(
        self,
        control: Control,
        desk: Desk,
        statistics: Statistics,
        serving: ServingLoop,
        config: Config,
    ) -> None:
        self._control = control
        self._desk = desk
        self._serving = serving
        self._deadline = config.broker_timeout
        control.reply("connections", self._answer_connections)
        control.reply("count", self._answer_count)
        control.reply("channels", self._answer_channels)
        control.reply("stats", statistics.answer)

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
        told = conditions(topic, channel, identity, where)
        return await self._serving.run(find, self._control.ask, self._live, told, self._deadline)

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
        told = conditions(topic, channel, identity, where)
        return await self._serving.run(count, self._control.ask, self._live, told, self._deadline)

    async def stats(self) -> CollectedStats:
        """Return the figures of every process, and of all of them added up.

        The names of all identities and topics that have connections are asked for, so that the sums
        are exact. A process with many thousands of them answers in several messages.

        Raises:
            SetupError: If this process serves nothing.
            BrokerUnavailable: If the broker is away.

        Example:
            ``(await sse.processes.stats()).total.connections``
        """
        return await self._serving.run(collect, self._control.ask, self._live, self._deadline)

    # -- asking ------------------------------------------------------------------------------------

    async def _live(self) -> dict[str, Process]:
        return await live_processes(self._control)

    # -- answering ---------------------------------------------------------------------------------

    def _select(self, told: Mapping[str, Any]) -> list[Connection]:
        return self._desk.select(
            told.get("topic"), told.get("channel"), told.get("identity"), told.get("where")
        )

    def _answer_count(self, told: Any) -> int:
        return len(self._select(told))

    def _answer_channels(self, told: Any) -> Mapping[str, int]:
        """Count the connections of each channel, for the command line."""
        return Counter(
            channel
            for connection in self._select({})
            for channel in {topic.partition("?")[0] for topic in connection.subscription}
        )

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


async def live_processes(control: Control) -> dict[str, Process]:
    """Return the live processes, by id; this one is among them as soon as it serves.

    Raises:
        BrokerUnavailable: If the broker does not answer.
    """
    processes = [*await control.processes.live(), control.processes.own]
    return {process.id: process for process in processes if process is not None}


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
