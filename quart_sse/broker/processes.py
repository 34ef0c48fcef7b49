"""The list of an app's live processes, on which each one renews its own entry until it stops."""

import contextlib
import json
import os
import re
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from ..errors import BrokerUnavailable
from ..release import RELEASE
from .base import Broker
from .texts import Claim, Shelf

#: Topic under which brokers keep the list, among presence.
PROCESSES = ""
#: Lifetime of what a process has declared, in seconds: longer than that of its entry, which names
#: it. Each announcement renews both.
DECLARED_TTL = 120.0
_CLAIM = Claim(Shelf.DECLARED, "app")


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
        self._declared: Callable[[], str] | None = None
        self._began = 0.0

    def begin(self) -> None:
        """Take an id, when this process begins to serve.

        Not earlier, because a server may load the app first and fork its workers then.
        """
        self._began = time.time()
        self.own = Process(secrets.token_hex(8), socket.gethostname(), os.getpid(), RELEASE)

    def declare(self, function: Callable[[], str]) -> None:
        """Announce what the app declares with this process, for publishers without the app.

        Args:
            function: Returns it as text, which :func:`read_declared` gives back.
        """
        self._declared = function

    async def announce(self) -> None:
        """Enter this process on the list, or renew its entry.

        Raises:
            BrokerUnavailable: If that was not, or may not have been, done.
        """
        if self.own is not None:
            told: dict[str, object] = asdict(self.own)
            id = str(told.pop("id"))
            if self._declared is not None:
                # By reference: processes that declare the same keep one text.
                text = self._declared()
                reference = await self._broker.keep_text(text, DECLARED_TTL, _CLAIM)
                told |= {"declared": reference, "began": self._began}
            await self._broker.enter({PROCESSES: {id: json.dumps(told)}})

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


async def read_declared(broker: Broker) -> list[str]:
    """Return what the live processes of an app declare, as text, that of the newest release last.

    Processes of one release stand in the order in which they began: in a deployment, those with the
    app's newer code come later.

    Args:
        broker: The app's broker.

    Raises:
        BrokerUnavailable: If the broker does not answer.
    """
    entries = (await broker.present(PROCESSES)).values()
    newest: dict[str, tuple[list[int], float]] = {}  # reference -> its newest process
    for text in entries:
        with contextlib.suppress(ValueError, KeyError, TypeError):  # of another release
            told = json.loads(text)
            age = _numbers(str(told["release"])), float(told["began"])
            reference = str(told["declared"])
            newest[reference] = max(newest.get(reference, age), age)
    texts = [await broker.kept_text(each) for each in sorted(newest, key=newest.__getitem__)]
    return [text for text in texts if text is not None]


def process_of(id: str) -> str | None:
    """Return the id of the process that a connection's id names; None for an id of the app's."""
    process, dot, _ = id.partition(".")
    return process if dot else None


def _numbers(release: str) -> list[int]:
    """Return the numbers of a release, for comparison."""
    return [int(number) for number in re.findall(r"\d+", release)]
