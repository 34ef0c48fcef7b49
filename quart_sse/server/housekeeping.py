"""The one task per process that does what is due: heartbeats, ends, probes, forgetting."""

import asyncio
import logging

from ..broker import Broker, Processes
from ..channels import PresenceTracker
from ..config import Config
from ..error_log import ErrorLog
from ..errors import BrokerUnavailable
from ..hub import Batch, Connection, Connections, Hub, Part
from ..wire import Ending
from .shutdown import Shutdown

logger = logging.getLogger("quart_sse")

#: Seconds between two looks.
TICK = 0.25
#: Said where a client's socket cannot be closed.
OPEN = (
    " Its socket stays open, for with this server, or over HTTP/2, an application cannot close it: "
    "put a proxy in front that does (nginx: send_timeout). Granian waits for it when it stops; "
    "start it with --workers-kill-timeout 5."
)
#: Seconds that a client has to take the end of its stream when the server stops.
FAREWELL = 1.0
#: Seconds after which it is said again that this process is live, and who is present: a third of
#: what brokers remember.
ANNOUNCE = 20.0


class Housekeeping:
    """Does the regular work of one app in one process.

    Args:
        broker: Is probed.
        processes: Is told that this process is live.
        hub: Sends heartbeats, and forgets topics without viewers.
        connections: Are ended and renewed when it is time.
        presence: Is told who is still here.
        shutdown: Looks whether the server stops.
        config: The app's settings.
        errors: Where errors of the app's functions are logged.
    """

    def __init__(
        self,
        broker: Broker,
        processes: Processes,
        hub: Hub,
        connections: Connections,
        presence: PresenceTracker,
        shutdown: Shutdown,
        config: Config,
        errors: ErrorLog,
    ) -> None:
        self._broker = broker
        self._processes = processes
        self._hub = hub
        self._connections = connections
        self._presence = presence
        self._shutdown = shutdown
        self._config = config
        self._errors = errors
        self._task: asyncio.Task[None] | None = None
        self._is_serving = False
        self._probe_at = 0.0
        self._heartbeat_at = 0.0
        self._announce_at = 0.0

    def start(self) -> None:
        """Sweep until :meth:`stop`."""
        self._is_serving = True
        self.wake()

    def wake(self) -> None:
        """Sweep at least until no stream is open, for apps that run without a lifespan."""
        loop = asyncio.get_running_loop()
        if self._task is None or self._task.done() or self._task.get_loop() is not loop:
            now = loop.time()
            self._probe_at = now + self._config.probe
            self._heartbeat_at = now + self._config.heartbeat
            self._task = loop.create_task(self._run())

    async def stop(self) -> None:
        """Stop sweeping."""
        self._is_serving = False
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._is_serving or self._connections or self._presence.has_departed:
            await asyncio.sleep(TICK)
            try:
                await self._sweep(loop.time())
            except BrokerUnavailable as error:
                logger.debug("The broker was away while sweeping: %s", error)
            except Exception as error:
                self._errors.log(
                    "regular work", error, "The regular work failed; it goes on in %g s.", TICK
                )

    async def _sweep(self, now: float) -> None:
        config = self._config
        self._shutdown.poll()
        self._errors.flush()
        await self._end_old(now)
        if now >= self._heartbeat_at:
            self._heartbeat_at = now + config.heartbeat
            self._hub.heartbeat()
        if now >= self._probe_at:
            self._probe_at = now + config.probe
            await self._broker.probe()
        if now >= self._announce_at:
            # Soon again, should the broker be away.
            self._announce_at = now + config.probe
            await self._processes.announce()
            await self._presence.announce()
            self._announce_at = now + ANNOUNCE
        await self._presence.sweep(now)
        await self._hub.forget(now)

    async def _end_old(self, now: float) -> None:
        patience = self._config.send_timeout
        if self._connections.is_closing:
            patience = min(patience, FAREWELL)  # the server waits for the last of them
        for connection in self._connections:
            if connection.busy_since is not None and connection.busy_since < now - patience:
                self._cut(connection, patience)
            elif now >= connection.ends_at:
                connection.end(Ending.MAX_AGE)
            elif now >= connection.renew_at:
                try:
                    await self._renew(connection)
                except BrokerUnavailable:
                    logger.debug("A page's new token must wait until the broker is back.")

    async def _renew(self, connection: Connection) -> None:
        """Give a page that stays open a new token, before its old one expires."""
        if connection.renew is None:
            return
        write = await connection.renew()
        # Taken and sent in one go: what comes between would be sent twice.
        position = self._hub.position_of(connection)
        if position is not None:
            connection.renew_at = float("inf")
            connection.feed(Batch.of([Part("connect element", write(position))]))

    def _cut(self, connection: Connection, patience: float) -> None:
        connection.busy_since = None
        connection.end()
        is_closed = connection.kick is not None and connection.kick()
        logger.warning(
            "A client took nothing for %g s (%s); its stream is cut.%s",
            patience,
            "the server stops" if self._connections.is_closing else "QUART_SSE_SEND_TIMEOUT",
            "" if is_closed else OPEN,
        )
