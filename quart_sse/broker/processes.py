"""The processes of an app that are live: each one says so, again and again, until it stops."""

import contextlib
import json
import os
import secrets
import socket
from dataclasses import asdict, dataclass

from ..errors import BrokerUnavailable
from ..release import RELEASE
from .base import Broker

#: Where brokers keep the list: with those who are present, but of no topic.
PROCESSES = ""


@dataclass(frozen=True, slots=True)
class Process:
    """One process that serves an app."""

    id: str  #: random, made when the process begins to serve
    host: str = ""  #: its machine's name
    pid: int = 0  #: its number there
    release: str = ""  #: the version of quart_sse that it runs


class Processes:
    """The live processes of an app, and this one among them.

    A process is on the list soon after it began to serve, and until it stops. One that was killed
    stays until the broker has heard nothing of it for a minute; ``memory://`` knows only its own.

    Args:
        broker: Keeps the list.

    Example:
        ``[process.host for process in await processes.live()]``
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.own: Process | None = None  #: None while this process serves nothing

    def begin(self) -> None:
        """Take an id: this process begins to serve.

        Not before: a server may load the app first and fork its workers then.
        """
        self.own = Process(secrets.token_hex(8), socket.gethostname(), os.getpid(), RELEASE)

    async def announce(self) -> None:
        """Say that this process is live, or still is.

        Raises:
            BrokerUnavailable: If it could not be said.
        """
        if self.own is not None:
            told = asdict(self.own)
            await self._broker.enter(PROCESSES, {told.pop("id"): json.dumps(told)})

    async def end(self) -> None:
        """Leave the list; while the broker is away it forgets this process by itself."""
        own, self.own = self.own, None
        if own is not None:
            with contextlib.suppress(BrokerUnavailable):
                await self._broker.exit(PROCESSES, own.id)

    async def live(self) -> list[Process]:
        """Return the processes that are live, in the order of host and number.

        Raises:
            BrokerUnavailable: If the broker cannot be asked.
        """
        told = await self._broker.present(PROCESSES)
        found = [_read(id, text) for id, text in told.items()]
        return sorted(found, key=lambda process: (process.host, process.pid, process.id))


def _read(id: str, text: str) -> Process:
    """Read what a process says of itself; another release may say more, less or otherwise."""
    try:
        told = json.loads(text)
        return Process(id, str(told["host"]), int(told["pid"]), str(told["release"]))
    except (ValueError, KeyError, TypeError):
        return Process(id)
