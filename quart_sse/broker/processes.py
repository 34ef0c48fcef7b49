"""The list of an app's live processes, on which each one renews its own entry until it stops."""

import contextlib
import json
import os
import secrets
import socket
from dataclasses import asdict, dataclass

from ..errors import BrokerUnavailable
from ..release import RELEASE
from .base import Broker

#: Topic under which brokers keep the list, among presence.
PROCESSES = ""


@dataclass(frozen=True, slots=True)
class Process:
    """One process that serves an app."""

    id: str  #: random, made when the process begins to serve
    host: str = ""  #: its machine's name
    pid: int = 0  #: its process id there
    release: str = ""  #: the version of quart_sse that it runs


class Processes:
    """The live processes of an app, and this one among them.

    A process is listed from soon after it begins to serve until it stops. One that was killed is
    listed until its entry expires, after a minute. ``memory://`` knows only its own process.

    Args:
        broker: Keeps the list.

    Example:
        ``[process.host for process in await processes.live()]``
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.own: Process | None = None  #: None while this process serves nothing

    def begin(self) -> None:
        """Take an id, when this process begins to serve.

        Not earlier, because a server may load the app first and fork its workers then.
        """
        self.own = Process(secrets.token_hex(8), socket.gethostname(), os.getpid(), RELEASE)

    async def announce(self) -> None:
        """Enter this process on the list, or renew its entry.

        Raises:
            BrokerUnavailable: If that was not, or may not have been, done.
        """
        if self.own is not None:
            told = asdict(self.own)
            await self._broker.enter({PROCESSES: {told.pop("id"): json.dumps(told)}})

    async def end(self) -> None:
        """Leave the list. If the broker is away, the entry expires by itself."""
        own, self.own = self.own, None
        if own is not None:
            with contextlib.suppress(BrokerUnavailable):
                await self._broker.exit({PROCESSES: [own.id]})

    async def live(self) -> list[Process]:
        """Return the live processes, ordered by host and process id.

        Raises:
            BrokerUnavailable: If the broker does not answer.
        """
        told = await self._broker.present(PROCESSES)
        found = [_read(id, text) for id, text in told.items()]
        return sorted(found, key=lambda process: (process.host, process.pid, process.id))


def _read(id: str, text: str) -> Process:
    """Read a process's entry; another release may write more, less or other things."""
    try:
        told = json.loads(text)
        return Process(id, str(told["host"]), int(told["pid"]), str(told["release"]))
    except (ValueError, KeyError, TypeError):
        return Process(id)
