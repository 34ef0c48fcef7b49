"""Housekeeping: the tasks of a process that do all regular work when it is due."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial

from ..background import Background
from ..broker import Broker, Processes
from ..channels import AppChannels
from ..config import Config
from ..error_log import ErrorLog
from ..errors import BrokerUnavailable
from ..hub import Batch, Connection, Connections, Hub, Part
from ..logs import LogLine
from ..wire import Ending
from .shutdown import Shutdown

CLIENT_CUT = LogLine(
    "server",
    "client-cut",
    logging.INFO,
    "A client has read nothing for %(seconds)g s (%(why)s); its stream is cut off.%(note)s",
    connection=str,
    seconds=float,
    why=str,
    note=str,
)
RENEWAL_WAITS = LogLine(
    "server",
    "renewal-waits",
    logging.DEBUG,
    "No token is renewed while the broker is away; retrying.",
)
WORK_WAITS = LogLine(
    "server",
    "work-waits",
    logging.DEBUG,
    "The regular work needs the broker (%(why)s); retrying.",
    why=str,
)

#: Interval between two sweeps, in seconds.
TICK = 0.25
#: Addition to a log line for a client whose socket cannot be closed.
OPEN = (
    " Its socket stays open, because an application cannot close it with this server or over "
    "HTTP/2. Put a proxy in front that closes it (nginx: send_timeout). Granian waits for open "
    "sockets when it stops; start it with --workers-kill-timeout 5."
)
#: Send timeout of a stopping server, in seconds: it waits until every client has read its ending.
FAREWELL = 1.0
#: Interval between two announcements of this process, in seconds: a third of the time that brokers
#: keep it.
ANNOUNCE = 20.0


class Housekeeping:
    """Does the regular work of one app in one process.

    One sweep every ``TICK`` seconds ends old, idle and stalled streams and sends heartbeats. It
    waits for nothing. What waits for the broker has tasks of its own, which a slow broker delays
    without delaying the sweep: one renews tokens, another probes the broker, announces the process
    and forgets unused topics.

    Args:
        broker: Probed every ``QUART_SSE_PROBE`` seconds, to keep positions young.
        processes: Announces that this process is live.
        hub: Sends heartbeats, and forgets topics without viewers.
        connections: The open connections, which are ended and renewed in time.
        channels: The app's channels, which may have intervals of heartbeats of their own.
        shutdown: Notices a server that stops without a signal.
        config: The app's settings.
        errors: Logs errors of the regular work, and counts of repeated ones.
    """

    def __init__(
        self,
        broker: Broker,
        processes: Processes,
        hub: Hub,
        connections: Connections,
        channels: AppChannels,
        shutdown: Shutdown,
        config: Config,
        errors: ErrorLog,
    ) -> None:
        self._broker = broker
        self._processes = processes
        self._hub = hub
        self._connections = connections
        self._channels = channels
        self._config = config
        self._errors = errors
        self._chores: list[Callable[[], None]] = [shutdown.poll]
        works = {
            "sweep": self._sweep,
            "calls of the broker": self._call_broker,
            "renewals": self._renew_all,
        }
        self._tasks = [
            Background(name, partial(_tick, work), errors) for name, work in works.items()
        ]
        self._probe_at = 0.0
        self._heartbeats_at: dict[float, float] = {}  #: interval -> loop time of its next one
        self._announce_at = 0.0

    def add(self, chore: Callable[[], None]) -> None:
        """Call a function with the regular work, four times a second; it must not wait."""
        self._chores.append(chore)

    def start(self) -> None:
        """Sweep until :meth:`stop`, in the running event loop."""
        now = asyncio.get_running_loop().time()
        self._probe_at = now + self._config.probe
        self._heartbeats_at = {}
        self._announce_at = 0.0
        for task in self._tasks:
            task.start()

    async def stop(self) -> None:
        """Cancel the tasks, and wait for their end."""
        await asyncio.gather(*(task.stop() for task in self._tasks))

    def abandon(self) -> None:
        """Forget the tasks of a loop that has ended; they end if that loop goes on."""
        for task in self._tasks:
            task.abandon()

    async def _sweep(self, now: float) -> None:
        """Do what waits for nothing; an ``await`` here would delay heartbeats."""
        for chore in self._chores:
            chore()
        self._errors.flush()
        self._end_old(now)
        self._hub.idle.end(now)
        self._hub.changes.forget_sent(now)
        self._send_heartbeats(now)

    async def _call_broker(self, now: float) -> None:
        config = self._config
        if now >= self._probe_at:
            self._probe_at = now + config.probe
            await self._broker.probe()
        if now >= self._announce_at:
            # If the broker is away, the announcement is repeated with the next probe.
            self._announce_at = now + config.probe
            await self._processes.announce()
            self._announce_at = now + ANNOUNCE
        await self._hub.forget(now)

    def _send_heartbeats(self, now: float) -> None:
        for interval in self._channels.heartbeats:
            if now >= self._heartbeats_at.setdefault(interval, now + interval):
                self._heartbeats_at[interval] = now + interval
                self._hub.heartbeat(interval)

    def _end_old(self, now: float) -> None:
        patience = self._config.send_timeout
        if self._connections.is_closing:
            patience = min(patience, FAREWELL)  # the server waits for the slowest client
        for connection in self._connections:
            if connection.busy_since is not None and connection.busy_since < now - patience:
                self._cut(connection, patience)
            elif now >= connection.ends_at:
                connection.end(Ending.MAX_AGE)

    async def _renew_all(self, now: float) -> None:
        for connection in self._connections:
            if now >= connection.renew_at and not connection.is_ended:
                try:
                    await self._renew(connection)
                except BrokerUnavailable:
                    RENEWAL_WAITS.log()

    async def _renew(self, connection: Connection) -> None:
        """Send new connect elements to the pages of a stream, before their tokens expire."""
        if connection.renew is None:
            return
        write = await connection.renew()
        # No await from here to feed(): the new stream would repeat a message sent in between.
        position = self._hub.position_of(connection)
        if position is not None:
            connection.renew_at = float("inf")
            connection.feed(Batch.of([Part("connect element", write(position))]))

    def _cut(self, connection: Connection, patience: float) -> None:
        connection.busy_since = None
        connection.end()
        is_closed = connection.kick is not None and connection.kick()
        CLIENT_CUT.log(
            connection=connection.id,
            seconds=patience,
            why="the server stops" if self._connections.is_closing else "QUART_SSE_SEND_TIMEOUT",
            note="" if is_closed else OPEN,
        )


async def _tick(work: Callable[[float], Awaitable[None]]) -> None:
    """Wait for a moment, then do a piece of regular work with the loop time."""
    await asyncio.sleep(TICK)
    try:
        await work(asyncio.get_running_loop().time())
    except BrokerUnavailable as error:
        WORK_WAITS.log(why=str(error))
