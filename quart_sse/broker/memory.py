"""The broker of a single process, whose history ends with the process."""

import asyncio
import heapq
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice

from ..error_log import OnceLog
from ..logs import LogLine
from ..wire import ZERO, Id, Position, new_epoch
from .base import Broker, Receiver, State
from .changed import Changed
from .messages import Keep, Kind, Message
from .replay import BUDGET, Budget, Collector, Past, Replay, Start, shortest_first
from .texts import Claim, Texts
from .who import Moves, Roll

NO_RECEIVER = LogLine(
    "broker",
    "no-receiver",
    logging.WARNING,
    "A message was published to memory://, but this process serves no pages, so no browser gets "
    "it. Set QUART_SSE_BROKER_URL=redis://... here and in the processes that serve. This is logged "
    "once.",
)

#: Extra lifetime of history, in seconds, so that a position of exactly its age still finds it.
GRACE = 10.0
#: How many topics, events and changes a resume reads before other tasks run, about a millisecond.
STRETCH = 500


@dataclass(slots=True)
class _Record:
    """The history of one topic."""

    expires: float
    events: deque[Message] = field(default_factory=deque)
    before: Id = ZERO  #: the event before the oldest one kept
    tip: Id | None = None
    changes: dict[str, Id] = field(default_factory=dict)
    items: dict[str, Changed] = field(default_factory=dict)  #: of lists

    def note_change(self, fragment: str, item: str, id: Id) -> None:
        """Note the change of a fragment, or of an item of it."""
        if not item:
            self.items.pop(fragment, None)
        elif fragment in self.items:
            self.items[fragment].note(item, id)
        else:
            self.items[fragment] = Changed(self.changes.get(fragment, ZERO), {item: id})
        self.changes[fragment] = id


class MemoryBroker(Broker):
    """Delivers inside ``publish``, without a task or a queue.

    Args:
        clock: Returns the time in seconds since 1970; tests replace it.
    """

    state: State = State.STARTING
    is_shared = False

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._epoch = new_epoch()
        self._last = ZERO.next(self._now_ms())
        self._records: dict[str, _Record] = {}
        # When to check whether a topic's record has expired; one entry for each topic.
        self._expiries: list[tuple[float, str]] = []
        self._rolls: dict[str, Roll] = {}  #: topic -> who is present
        self._texts = Texts(clock)
        self._receiver: Receiver | None = None
        self._pid = os.getpid()
        self._once = OnceLog()

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)

    def _now(self) -> float:
        """Return the time of the newest id, which stands still while the clock is set back."""
        return max(self._clock(), self._last.ms / 1000)

    async def start(self, receiver: Receiver) -> None:
        """Begin to deliver to the hub."""
        if self._pid != os.getpid():
            # A forked process has a history of its own, so a position of the parent's is unknown.
            self._pid, self._epoch = os.getpid(), new_epoch()
            self._records.clear()
            self._expiries.clear()
        self._receiver = receiver
        await receiver.catch_up()
        self.state = State.READY

    async def stop(self) -> None:
        """Stop delivering."""
        self.abandon()

    def abandon(self) -> None:
        """Forget the hub and the presence of its connections, which none of them renews."""
        self._receiver = None
        self._rolls.clear()
        self.state = State.STOPPED

    async def release(self) -> None:
        """Do nothing: there are no connections."""

    @property
    def kept_bytes(self) -> int:
        """Size of the kept lists of topics, in bytes."""
        return self._texts.size

    @property
    def known(self) -> Position:
        """The newest position, which a process that is its own broker always knows."""
        return Position(self._epoch, self._last, self._last)

    async def position(self) -> Position:
        """Return the newest position."""
        return self.known

    async def publish(self, message: Message, keep: Keep) -> Id:
        """Assign an id to a message, keep it, and hand it to the hub."""
        self._last = self._last.next(self._now_ms())
        message = message.with_id(self._last)
        if message.kind in (Kind.EVENT, Kind.CONTROL) and keep.events:
            self._keep_event(self._touch(message.topic, keep), message, keep)
        elif message.kind in (Kind.REFRESH, Kind.PUSH):
            record = self._touch(message.topic, keep)
            record.note_change(message.name or "", message.item, message.id)
        if self._receiver is not None:
            self._receiver.receive(message)
        elif message.kind is not Kind.PROBE:
            self._once.warn(
                "no receiver",
                NO_RECEIVER,
            )
        return message.id

    def _touch(self, topic: str, keep: Keep) -> _Record:
        now = self._now()
        self._drop_expired(now)
        record = self._records.get(topic)
        if record is None or record.expires <= now:
            if record is None:
                heapq.heappush(self._expiries, (now + keep.ttl + GRACE, topic))
            record = self._records[topic] = _Record(0.0)
        record.expires = now + keep.ttl + GRACE
        return record

    def _drop_expired(self, now: float) -> None:
        while self._expiries and self._expiries[0][0] <= now:
            topic = self._expiries[0][1]
            record = self._records.get(topic)
            if record is not None and record.expires > now:
                heapq.heapreplace(self._expiries, (record.expires, topic))
            else:
                heapq.heappop(self._expiries)
                self._records.pop(topic, None)

    def _keep_event(self, record: _Record, message: Message, keep: Keep) -> None:
        if not record.events:
            # Whatever preceded a topic's first known event has expired; only that is certain.
            expired = Id(message.id.ms - int(keep.ttl * 1000), 0)
            record.before = record.tip or expired
        record.events.append(message)
        record.tip = message.id
        while len(record.events) > keep.events:
            record.before = record.events.popleft().id

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Do nothing: the hub is handed every message."""

    async def unsubscribe(self, topics: Iterable[str]) -> None:
        """Do nothing: the hub is handed every message."""

    async def resume(self, starts: Mapping[str, Start], budget: Budget = BUDGET) -> Replay:
        """Return what was missed since each topic's start."""
        # The age of a position counts from now, not from the last message. The probe moves the hub
        # to the snapshot's position, too.
        await self.probe()
        collector, work = Collector(self.known, budget), 0
        for topic, start in shortest_first(starts):
            past = self._past(topic, start, collector.room)
            collector.add(topic, start, past, int(self._now() * 1000))
            work += 1 + len(past.events) + len(past.changes)
            if work > STRETCH:
                work = 0
                await self._pause()
        return collector.finish()

    async def _pause(self) -> None:
        """Let other tasks run."""
        await asyncio.sleep(0)

    def _past(self, topic: str, start: Start, most: int) -> Past:
        record = self._records.get(topic)
        if record is None or record.expires <= self._now():
            return Past((), None, None, {})
        position = None if start.now or not start.keep.events else start.position
        is_wanted = position is not None and position.epoch == self._epoch
        after = position.events if position else ZERO
        missed: list[Message] = []
        before = record.before
        for message in reversed(record.events) if is_wanted else ():
            if message.id <= after:
                before = message.id
                break
            if len(missed) == most:
                return Past((), None, record.tip, record.changes, is_cut=True, items=record.items)
            missed.append(message)
        return Past(missed[::-1], before, record.tip, record.changes, items=record.items)

    async def kept(self, topic: str, most: int) -> list[Message]:
        """Return the events of a topic's history."""
        record = self._records.get(topic)
        if record is None or record.expires <= self._now():
            return []
        return list(islice(reversed(record.events), most))[::-1]

    async def keep_text(self, text: str, seconds: float, claim: Claim) -> str | None:
        """Keep a text; None if there is no room for it."""
        return self._texts.keep(text, seconds, claim)

    async def kept_text(self, reference: str) -> str | None:
        """Return a kept text; None if it has expired or was never kept."""
        return self._texts.get(reference)

    async def enter(self, members: Mapping[str, Mapping[str, str]]) -> Moves:
        """Record that connections are present; none expires before its process."""
        moves = Moves()
        for topic, entering in members.items():
            self._rolls.setdefault(topic, Roll()).change(moves, topic, entering)
        return moves

    async def exit(self, members: Mapping[str, Collection[str]]) -> Moves:
        """Record that connections have left."""
        moves = Moves()
        for topic, leaving in members.items():
            roll = self._rolls.get(topic)
            if roll is not None:
                roll.change(moves, topic, dict.fromkeys(leaving))
                if not roll.members:
                    del self._rolls[topic]
        return moves

    async def present(self, topic: str) -> Mapping[str, str]:
        """Return connection id -> whom it counts as, of all that are present."""
        roll = self._rolls.get(topic)
        return {} if roll is None else dict(roll.members)
