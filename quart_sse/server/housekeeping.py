"""Housekeeping: the one task of a process that does all regular work when it is due."""

import asyncio
import logging
from collections.abc import Callable

from ..broker import Broker, Processes
from ..channels import AppChannels, PresenceTracker
from ..config import Config
from ..error_log import ErrorLog
from ..errors import BrokerUnavailable
from ..hub import Batch, Connection, Connections, Hub, Part
from ..serving_loop import cancel_left
from ..wire import Ending
from .shutdown import Shutdown

logger: logging.Logger = logging.getLogger("quart_sse")

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
#: Interval between two announcements of this process and of its presence, in seconds: a third of
#: the time that brokers keep them.
ANNOUNCE = 20.0


class Housekeeping:
    """Does the regular work of one app in one process.

    One sweep every ``TICK`` seconds ends old, idle and stalled streams, renews tokens, sends
    heartbeats, probes the broker, announces the process and forgets unused topics.

    Args:
        broker: Probed every ``QUART_SSE_PROBE`` seconds, to keep positions young.
        processes: Announces that this process is live.
        hub: Sends heartbeats, and forgets topics without viewers.
        connections: The open connections, which are ended and renewed in time.
        presence: Announces the identities that are present.
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
        presence: PresenceTracker,
        channels: AppChannels,
        shutdown: Shutdown,
        config: Config,
        errors: ErrorLog,
    ) -> None:
        self._broker = broker
        self._processes = processes
        self._hub = hub
        self._connections = connections
        self._presence = presence
        self._channels = channels
        self._config = config
        self._errors = errors
        self._chores: list[Callable[[], None]] = [shutdown.poll]
        self._task: asyncio.Task[None] | None = None
        self._probe_at = 0.0
        self._heartbeats_at: dict[float, float] = {}  #: interval -> loop time of its next one
        self._announce_at = 0.0

    def add(self, chore: Callable[[], None]) -> None:
        """Call a function with the regular work, four times a second; it must not wait."""
        self._chores.append(chore)

    def start(self) -> None:
        """Sweep until :meth:`stop`, in the running event loop."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._probe_at = now + self._config.probe
        self._heartbeats_at = {}
        self._announce_at = 0.0
        self._task = loop.create_task(self._run())

    async def stop(self) -> None:
        """Cancel the task, and wait for its end."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def abandon(self) -> None:
        """Forget the task of a loop that has ended; it ends if that loop goes on."""
        cancel_left(self._task)
        self._task = None

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(TICK)
            try:
                await self._sweep(loop.time())
            except BrokerUnavailable as error:
                logger.debug("The regular work needs the broker (%s); retrying.", error)
            except Exception as error:
                self._errors.log(
                    "regular work", error, "The regular work failed; it continues in %g s.", TICK
                )

    async def _sweep(self, now: float) -> None:
        config = self._config
        for chore in self._chores:
            chore()
        self._errors.flush()
        await self._end_old(now)
        self._hub.idle.end(now)
        self._hub.changes.forget_sent(now)
        self._send_heartbeats(now)
        if now >= self._probe_at:
            self._probe_at = now + config.probe
            await self._broker.probe()
        if now >= self._announce_at:
            # If the broker is away, the announcement is repeated with the next probe.
            self._announce_at = now + config.probe
            await self._processes.announce()
            await self._presence.announce()
            self._announce_at = now + ANNOUNCE
        await self._hub.forget(now)
        await self._presence.sweep(now)

    def _send_heartbeats(self, now: float) -> None:
        for interval in self._channels.heartbeats:
            if now >= self._heartbeats_at.setdefault(interval, now + interval):
                self._heartbeats_at[interval] = now + interval
                self._hub.heartbeat(interval)

    async def _end_old(self, now: float) -> None:
        patience = self._config.send_timeout
        if self._connections.is_closing:
            patience = min(patience, FAREWELL)  # the server waits for the slowest client
        for connection in self._connections:
            if connection.busy_since is not None and connection.busy_since < now - patience:
                self._cut(connection, patience)
            elif now >= connection.ends_at:
                connection.end(Ending.MAX_AGE)
            elif now >= connection.renew_at:
                try:
                    await self._renew(connection)
                except BrokerUnavailable:
                    logger.debug("No token is renewed while the broker is away; retrying.")

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
        logger.warning(
            "A client has read nothing for %g s (%s); its stream is cut off.%s",
            patience,
            "the server stops" if self._connections.is_closing else "QUART_SSE_SEND_TIMEOUT",
            "" if is_closed else OPEN,
        )
