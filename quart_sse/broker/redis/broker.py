"""The broker of many processes and machines: Redis 6.2 and later, or Valkey.

Live messages come over one pub/sub connection per process; history is read only by those who
come back. The connection is supervised: whatever ends it, it is made again, and the hub catches
up from what it has seen before anything new is delivered.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from redis.exceptions import ReadOnlyError

from ...error_log import ErrorLog
from ...errors import BrokerUnavailable
from ...position import Id, Position
from ..base import Broker, Receiver, State, reference_of
from ..messages import Keep, Message
from ..replay import Past, Replay, Start, judge
from . import commands
from .commands import Names
from .link import Link
from .listener import Listener
from .order import Order
from .payload import Reader
from .script import ScriptCall


class RedisBroker(Broker):
    """Carries messages through Redis.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``.
        prefix: Begins every key and pub/sub channel.
        timeout: Seconds that one call may take.
        probe: Seconds between two probes, which come back over the subscription.
        most: Events of one topic that a replay holds at most.
        clock_offset_ms: Added to the server's clock; for tests.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "sse",
        timeout: float = 2.0,
        probe: float = 5.0,
        most: int = 1000,
        clock_offset_ms: int = 0,
    ) -> None:
        self._link = Link(url, timeout)
        self._names = Names(prefix, self._link.database)
        self._order = Order(clock_offset_ms)
        self._reader = Reader()
        self._errors = ErrorLog()
        self._listener = Listener(
            self._link, self._names, self._order, self._reader, self._errors, probe=probe
        )
        self._most = most

    # -- life --------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """What the broker can do at the moment."""
        return self._listener.state

    async def start(self, receiver: Receiver) -> None:
        """Begin to deliver; returns when Redis is there, or soon if it is not."""
        await self._listener.start(receiver)

    async def stop(self) -> None:
        """Close the connections."""
        await self._listener.stop()
        await self._link.close()

    async def release(self) -> None:
        """Close the connections over which no call is under way."""
        await self._link.release()

    # -- positions ---------------------------------------------------------------------------------

    @property
    def known(self) -> Position | None:
        """The newest position that this process has heard of, from anywhere."""
        return self._order.known

    async def position(self) -> Position:
        """Ask Redis where its order stands."""
        if self.state is State.AWAY:
            raise BrokerUnavailable("Redis is away.")
        return (await self.resume({})).position

    async def _call(self, call: ScriptCall) -> Any:
        """Run a script, and end the subscription if its server has become a replica."""
        try:
            return await self._link.call(call)
        except BrokerUnavailable as error:
            # A replica passes on what its master publishes, and the next call goes to the master,
            # so nothing else would tell that the server was demoted, and that its successor may
            # know less.
            if isinstance(error.__cause__, ReadOnlyError):
                await self._listener.reconnect()
            raise

    # -- publishing --------------------------------------------------------------------------------

    async def publish(self, message: Message, keep: Keep) -> Id:
        """Publish through Redis, once."""
        call = commands.publish(self._names, self._order.request(), message, keep)
        epoch, id = commands.read_published(await self._call(call))
        self._order.learn(epoch, id)
        return id

    async def probe(self) -> None:
        """Send a probe, and end a subscription over which earlier ones did not come back."""
        await self._listener.end_silence()
        await super().probe()

    # -- subscribing and resuming ------------------------------------------------------------------

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Subscribe, and wait until Redis has confirmed every topic."""
        await self._listener.subscribe(topics)

    async def unsubscribe(self, topics: Iterable[str]) -> None:
        """Unsubscribe; from this moment nothing that comes counts."""
        await self._listener.unsubscribe(topics)

    async def resume(self, starts: Mapping[str, Start]) -> Replay:
        """Ask what was missed, in one atomic snapshot."""
        call = commands.resume(self._names, self._order.request(), starts, self._most + 1)
        epoch, id, topics = commands.read_snapshot(await self._call(call))
        self._order.learn(epoch, id)
        replay = Replay(Position(epoch, id, id))
        for (topic, start), past in zip(starts.items(), topics, strict=True):
            judge(replay, topic, start, self._read_past(topic, epoch, past))
        replay.events.sort(key=lambda message: message.id)
        return replay

    def _read_past(self, topic: str, epoch: str, past: list[Any]) -> Past:
        """Read what was kept of a topic, without what cannot be read.

        One bad entry must not keep a process from catching up. It is a loss, and clients get a
        reset: the topic's events are not complete, or its changes not all on record.
        """
        past_of_topic, unread = self._reader.past(topic, epoch, *past)
        if unread is not None:
            self._errors.log(
                "reading of histories",
                unread,
                "The history of topic %r has an entry that cannot be read; it is skipped, and "
                "clients that missed it start afresh.",
                topic,
            )
        return past_of_topic

    # -- texts -----------------------------------------------------------------------------------

    async def keep_text(self, text: str, seconds: float) -> str:
        """Keep a text for every process."""
        reference = reference_of(text)
        await self._link.ask(*commands.keep_text(self._names, reference, text, seconds))
        return reference

    async def kept_text(self, reference: str) -> str | None:
        """Return a text that was kept."""
        return commands.read_text(await self._link.ask(*commands.kept_text(self._names, reference)))

    # -- presence ----------------------------------------------------------------------------------

    async def enter(self, topic: str, members: Mapping[str, str]) -> None:
        """Note who is present, or still is."""
        await self._call(commands.enter(self._names, topic, members))

    async def exit(self, topic: str, member: str) -> None:
        """Note that a connection has left."""
        await self._call(commands.exit(self._names, topic, member))

    async def present(self, topic: str) -> Mapping[str, str]:
        """Return who is present, over all processes."""
        return commands.read_members(await self._call(commands.present(self._names, topic)))
