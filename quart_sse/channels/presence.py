"""Presence: which users and connections a topic has, over all processes."""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ..background import Background
from ..broker import Broker, Control, Process
from ..error_log import ErrorLog
from ..errors import BrokerUnavailable, SetupError
from ..hub import Connection
from ..logs import LogLine
from .announcer import Announcer, Declared
from .asking import Asking
from .members import Members
from .people import Person, count_people, identities, people_of

PRESENCE_WAITS = LogLine(
    "channels",
    "presence-waits",
    logging.DEBUG,
    "Presence is announced later, for the broker is away (%(why)s).",
    why=str,
)

#: Interval in which the records are renewed, in seconds: a third of the time that brokers
#: keep them.
RENEW = 20.0
#: Pause after the broker was away, in seconds.
PAUSE = 0.25
#: Most topics of closed connections that are looked at in one turn of the event loop.
SLICE = 1_000


@dataclass(frozen=True, slots=True)
class Presence:
    """The users and connections present on a topic; returned by ``topic.presence()``.

    Attributes:
        people: Number of distinct users: identities, and anonymous users by browser cookie. Those
            whose browsers have not sent the cookie yet count once for each address.
        connections: Number of open streams. All tabs of a browser share one, if they load the
            script.
        identities: Identities that ``@sse.identity`` returned. Anonymous users are not in it.
        silent: Live processes that were asked and did not answer in time, so that their connections
            are not counted. Always empty where the broker knows who is present
            (``presence=True``).

    Example:
        ``here = await topic.presence()``, then ``"mira" in here.identities``
    """

    people: int
    connections: int
    identities: frozenset[str]
    silent: tuple[Process, ...] = ()
    #: Whom connections count as -> how many of them do.
    _counts: Mapping[str, int] = field(default_factory=dict, repr=False, compare=False)

    @property
    def who(self) -> list[Person]:
        """The people: those with an identity first, in its order, then the anonymous ones.

        The list is made with each look at it.
        """
        return people_of(self._counts)


class PresenceTracker:
    """Knows who is present, and announces it where the app has asked for it.

    A task of its own tells the broker and refreshes fragments, so that nothing else waits for it.
    Of topics that are not announced the broker hears nothing; processes are asked instead.

    Args:
        broker: Keeps the presence of all processes.
        control: Asks all processes.
        members: Who is present in this process.
        announcer: Tells the broker.
        channels: The app's channels.
        deadline: How long to wait for answers of processes, in seconds.
        errors: Logs errors of the task.
    """

    def __init__(
        self,
        broker: Broker,
        control: Control,
        members: Members,
        announcer: Announcer,
        channels: Declared,
        deadline: float,
        errors: ErrorLog,
    ) -> None:
        self._broker = broker
        self._control = control
        self._members = members
        self._announcer = announcer
        self._channels = channels
        self._asking = Asking(control, members, deadline)
        self._task = Background("presence", self._work, errors)
        self._wake = asyncio.Event()
        self._turn = asyncio.Lock()  #: held while the announcer works
        self._renew_at = 0.0  #: loop time

    # -- looking -----------------------------------------------------------------------------------

    async def look(self, topic: str) -> Presence:
        """Return a topic's presence; that of this process while the broker is unavailable.

        Call it in the serving loop.

        Raises:
            SetupError: If processes must be asked, and this one serves nothing.
        """
        silent: tuple[Process, ...] = ()
        try:
            if not self._broker.is_shared:
                who = Counter(self._members.of(topic).values())
            elif self._channels.announces(topic):
                who = Counter((await self._recorded(topic)).values())
            else:
                self._check_serving(topic)
                who, silent = await self._asking.ask(topic)
        except BrokerUnavailable:
            who = Counter(self._members.of(topic).values())
        return Presence(count_people(who), who.total(), identities(who), silent, who)

    async def _recorded(self, topic: str) -> dict[str, str]:
        """Return the broker's record, with this process's connections as they are now."""
        record = dict(await self._broker.present(topic))
        for id in self._announcer.recorded(topic):
            record.pop(id, None)
        return record | self._members.of(topic)

    def _check_serving(self, topic: str) -> None:
        if self._control.processes.own is None:
            raise SetupError(
                f"This process serves nothing, so no other one answers it who is present on "
                f"{topic!r}. Declare the channel with presence=True, so that the broker knows, or "
                "ask in a process that serves."
            )

    # -- what changes ------------------------------------------------------------------------------

    def enter(self, connection: Connection) -> None:
        """Note that a new connection is present on its topics."""
        for topic in connection.subscription:
            self._note(topic, connection.id)

    def join(self, topic: str, connection: Connection) -> None:
        """Note that an open connection has begun to listen to a topic."""
        self._note(topic, connection.id)

    def withdraw(self, topic: str, connections: Iterable[Connection]) -> None:
        """Note that open connections no longer listen to a topic."""
        for connection in connections:
            self._note(topic, connection.id)

    def leave(self, connection: Connection, now: float) -> None:
        """Let a closed connection expire after ``QUART_SSE_PRESENCE_LINGER``.

        It counts until then, so that a reloaded page does not leave and join.

        Args:
            connection: The closed connection.
            now: Current loop time, in seconds.
        """
        if connection.is_open:
            self._members.leave(connection, now)
            self._wake.set()
        else:
            self.enter(connection)  # it had hardly begun, if at all, and is no longer here

    def _note(self, topic: str, id: str) -> None:
        if self._channels.announces(topic):
            self._announcer.note(topic, id, asyncio.get_running_loop().time())
            self._wake.set()

    # -- the task ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Announce until :meth:`stop`, in the running event loop."""
        self._announcer.clear()
        self._renew_at = asyncio.get_running_loop().time() + RENEW
        self._task.start()

    async def stop(self) -> None:
        """End the task."""
        await self._task.stop()

    def abandon(self) -> None:
        """Forget what belongs to a loop that has ended; the broker's records expire."""
        self._task.abandon()
        self._members.clear()
        self._announcer.clear()
        self._wake, self._turn = asyncio.Event(), asyncio.Lock()

    async def _work(self) -> None:
        """Wait until something is due, and do it."""
        loop = asyncio.get_running_loop()
        self._wake.clear()
        due = min(self._announcer.next, self._members.next_expiry, self._renew_at)
        if due > loop.time():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._wake.wait()
        try:
            await self.sweep(loop.time())
            if loop.time() >= self._renew_at:
                await self.announce()
                self._renew_at = loop.time() + RENEW
        except BrokerUnavailable as error:
            PRESENCE_WAITS.log(why=str(error))
            await asyncio.sleep(PAUSE)

    async def sweep(self, now: float) -> None:
        """Let closed connections go that have expired, and tell the broker what is due.

        Args:
            now: Current loop time, in seconds.

        Raises:
            BrokerUnavailable: If the broker cannot be reached; the next sweep repeats it.
        """
        seen = 0
        while (connection := self._members.take_expired(now)) is not None:
            self.enter(connection)  # it is looked at again, and is no longer here
            seen += len(connection.subscription)
            if seen > SLICE:
                seen = 0
                await asyncio.sleep(0)
        async with self._turn:
            await self._announcer.tell(max(now, asyncio.get_running_loop().time()))

    async def announce(self) -> None:
        """Record all connections of announced topics again.

        Raises:
            BrokerUnavailable: If the broker cannot be reached.
        """
        async with self._turn:
            await self._announcer.renew()
