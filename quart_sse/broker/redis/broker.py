"""The broker of many processes and machines: Redis 6.2 and later, or Valkey.

Each process receives live messages over one pub/sub connection, which is supervised: after a gap
it reconnects, and the hub catches up from what it has seen before new messages are delivered.
History is read only when clients resume.
"""

import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from redis.exceptions import ReadOnlyError

from ...error_log import ErrorLog
from ...errors import BrokerUnavailable
from ...logs import LogLine
from ...wire import Id, Position, public_name
from ..base import Broker, Receiver, State
from ..messages import Keep, Kind, Message
from ..replay import BUDGET, Budget, Past, Replay, Start
from ..texts import LARGEST, Claim, reference_of, size_of
from ..who import Moves
from . import commands
from .commands import Names, TopicCall
from .link import AnyLink, Link
from .listener import Listener
from .order import Order
from .payload import Reader
from .resuming import Resuming
from .script import ScriptCall

HISTORY_UNREADABLE = LogLine(
    "broker",
    "history-unreadable",
    logging.ERROR,
    "The history of topic %(topic)r has an entry that cannot be read; skipped, and clients that "
    "missed it are reset.",
    topic=str,
)


class RedisBroker(Broker):
    """Carries messages through Redis.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``.
        prefix: Prefix of every key and pub/sub channel; apps with different prefixes do not meet.
        timeout: Longest duration of one call, in seconds.
        probe: Interval of probes, in seconds; they arrive over the subscription.
        clock_offset_ms: Added to the server's clock, in milliseconds; for tests.
        link: Calls the server; None for one that awaits. With a blocking one the broker publishes
            and asks, but does not start.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "sse",
        timeout: float = 2.0,
        probe: float = 5.0,
        clock_offset_ms: int = 0,
        link: AnyLink | None = None,
    ) -> None:
        self._link = link or Link(url, timeout)
        self._names = Names(prefix, self._link.database)
        self._order = Order(clock_offset_ms)
        self._reader = Reader()
        self._errors = ErrorLog()
        self._listener = Listener(
            self._link, self._names, self._order, self._reader, self._errors, probe=probe
        )

    # -- life --------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """The current state."""
        return self._listener.state

    async def start(self, receiver: Receiver) -> None:
        """Begin to deliver; returns once Redis answers, or after a second without it."""
        await self._listener.start(receiver)

    async def stop(self) -> None:
        """Stop delivering, and close all connections."""
        await self._listener.stop()
        await self._link.close()

    def abandon(self) -> None:
        """Forget the subscription and all connections."""
        self._listener.abandon()
        self._link.abandon()

    async def release(self) -> None:
        """Close idle connections."""
        await self._link.release()

    # -- positions ---------------------------------------------------------------------------------

    @property
    def known(self) -> Position | None:
        """The newest position that this process has heard of, over any connection."""
        return self._order.known

    async def position(self) -> Position:
        """Ask Redis for the newest position."""
        if self.state is State.AWAY:
            raise BrokerUnavailable("Redis is away.")
        return (await self.resume({})).position

    async def _call(self, call: ScriptCall) -> Any:
        """Run a script once."""
        (answer,) = await self._call_all([call])
        return answer

    async def _call_all(self, calls: Sequence[ScriptCall]) -> list[Any]:
        """Run a script several times."""
        return await self._answered(self._link.call_all(calls))

    async def _answered(self, answers: Awaitable[list[Any]]) -> list[Any]:
        """Wait for answers, and reconnect the subscription if the server has become a replica."""
        try:
            return await answers
        except BrokerUnavailable as error:
            # A replica still passes on messages, those of its master, and the next call reaches the
            # master. So this is the only sign that the server was demoted, and that its successor
            # may have lost messages.
            if isinstance(error.__cause__, ReadOnlyError):
                await self._listener.reconnect()
            raise

    # -- publishing --------------------------------------------------------------------------------

    async def publish(self, message: Message, keep: Keep) -> Id:
        """Publish through Redis, once."""
        call = commands.publish(self._names, self._order.request(), message, keep)
        epoch, (id,) = commands.read_published(await self._call(call))
        self._order.learn(epoch, id)
        return id

    async def publish_all(self, messages: Iterable[tuple[Message, Keep]]) -> list[Id]:
        """Publish several messages in one round trip, or a few if they are many."""
        calls = commands.publish_all(self._names, self._order.request(), messages)
        ids: list[Id] = []
        for trip in commands.trips(calls):
            link, some = self._link, [call for _, call in trip]
            try:
                # A call that is alone loads its script only if that is missing.
                run = link.call_all if len(some) == 1 else link.call_in_order
                answers = await self._answered(run(some))
            except BrokerUnavailable as error:
                if ids and not error.maybe_published:
                    raise BrokerUnavailable(str(error), maybe_published=True) from error
                raise
            for epoch, published in map(commands.read_published, answers):
                ids += published
                self._order.learn(epoch, ids[-1])
        return ids

    async def probe(self) -> None:
        """Publish a probe, and reconnect the subscription if earlier ones did not arrive."""
        await self._listener.end_silence()
        await super().probe()

    async def converse(
        self, message: Message, take: Callable[[Message], bool], seconds: float
    ) -> None:
        """Publish a control message and take those that come back, over a connection of its own."""
        async with self._link.hear(self._names.service, seconds) as hear:
            await self.publish(message, Keep(0, 0))
            while (text := await hear()) is not None:
                with suppress(ValueError):  # no message of ours
                    found = self._reader.message("", text)
                    if found is not None and found[0].kind is Kind.CONTROL and take(found[0]):
                        return

    # -- subscribing and resuming ------------------------------------------------------------------

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Subscribe, and wait until Redis has confirmed every topic."""
        await self._listener.subscribe(topics)

    async def unsubscribe(self, topics: Iterable[str]) -> None:
        """Unsubscribe; confirmations that arrive later do not count."""
        await self._listener.unsubscribe(topics)

    async def resume(self, starts: Mapping[str, Start], budget: Budget = BUDGET) -> Replay:
        """Return what was missed since each topic's start, up to one position."""
        resuming, replay = Resuming(self._names, starts, budget, self._read_past), None
        while replay is None:
            call = resuming.call(self._order.request())
            epoch, id, topics = commands.read_snapshot(await self._call(call))
            self._order.learn(epoch, id)
            replay = resuming.take(epoch, id, topics)
        return replay

    def _read_past(self, topic: str, epoch: str, past: list[Any]) -> Past:
        """Read a topic's history, skipping entries that cannot be read.

        One bad entry must not keep a process from catching up. It counts as a loss: the topic's
        events are incomplete, and some of its changes unknown.
        """
        past_of_topic, unread = self._reader.past(topic, epoch, *past)
        if unread is not None:
            self._errors.log(
                "reading of histories",
                unread,
                HISTORY_UNREADABLE,
                topic=public_name(topic),
            )
        return past_of_topic

    async def kept(self, topic: str, most: int) -> list[Message]:
        """Return the events of a topic's history."""
        epoch = (await self.position()).epoch
        newest_first: list[Any] = []
        while (left := most - len(newest_first)) > 0:
            count = min(left, commands.PAGE)
            before = newest_first[-1][0].decode() if newest_first else ""
            page = await self._link.ask(*commands.kept(self._names, topic, count, before))
            newest_first += page
            if len(page) < count:
                break
        past = self._read_past(topic, epoch, [newest_first[::-1], b"", b"", []])
        return list(past.events)

    # -- texts -----------------------------------------------------------------------------------

    async def keep_text(self, text: str, seconds: float, claim: Claim) -> str | None:
        """Keep a text for every process; None if there is no room for it."""
        if size_of(text) > LARGEST:
            return None
        reference = reference_of(text)
        call = commands.keep_text(self._names, reference, text, seconds, claim)
        return reference if await self._call(call) else None

    async def kept_text(self, reference: str) -> str | None:
        """Return a kept text; None if it has expired or was never kept."""
        return commands.read_text(await self._link.ask(*commands.kept_text(self._names, reference)))

    # -- presence ----------------------------------------------------------------------------------

    async def enter(self, members: Mapping[str, Mapping[str, str]]) -> Moves:
        """Record that connections are present, or renew the records."""
        return await self._move(commands.enter(self._names, members))

    async def exit(self, members: Mapping[str, Collection[str]]) -> Moves:
        """Record that connections have left."""
        return await self._move(commands.exit(self._names, members))

    async def _move(self, calls: list[TopicCall]) -> Moves:
        moves = Moves()
        for trip in commands.trips(calls):
            answers = await self._call_all([call for _, call in trip])
            for (topic, _), answer in zip(trip, answers, strict=True):
                commands.read_moves(moves, topic, answer)
        return moves

    async def present(self, topic: str) -> Mapping[str, str]:
        """Return connection id -> whom it counts as, of all that are present."""
        cursor, members = "0", dict[str, str]()
        while cursor:
            answer = await self._call(commands.present(self._names, topic, cursor))
            cursor, some = commands.read_members(answer)
            members |= some
        return members
