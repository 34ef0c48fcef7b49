"""The broker of a single process: its history lives as long as the process does."""

import heapq
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from ..position import ZERO, Id, Position, new_epoch
from .base import Broker, Receiver, State, reference_of
from .messages import Keep, Kind, Message
from .replay import Past, Replay, Start, judge

#: Seconds that history outlives its lifetime, so that a position of just that age still finds it.
GRACE = 10.0
#: Lists of topics, too long for a URL, that are kept at most.
MAX_TEXTS = 10_000


@dataclass(slots=True)
class _Record:
    """What is kept of one topic."""

    expires: float
    events: deque[Message] = field(default_factory=deque)
    before: Id = ZERO  #: the event before the oldest one kept
    tip: Id | None = None
    changes: dict[str, Id] = field(default_factory=dict)


class MemoryBroker(Broker):
    """Delivers within ``publish`` itself: no task, no queue, nothing to wait for.

    Args:
        clock: Seconds since 1970; tests bring their own.
    """

    state = State.STARTING
    is_shared = False

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._epoch = new_epoch()
        self._last = ZERO.next(self._now_ms())
        self._records: dict[str, _Record] = {}
        # When to look whether a topic's record has expired: one entry for each.
        self._expiries: list[tuple[float, str]] = []
        self._present: dict[str, dict[str, str]] = {}
        self._texts: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self._receiver: Receiver | None = None

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)

    def _now(self) -> float:
        """Seconds by the order of ids: it stands still while a clock that was set back lags."""
        return max(self._clock(), self._last.ms / 1000)

    async def start(self, receiver: Receiver) -> None:
        """Begin to deliver to a hub."""
        self._receiver = receiver
        await receiver.catch_up()
        self.state = State.READY

    async def stop(self) -> None:
        """Stop delivering."""
        self._receiver = None
        self.state = State.STOPPED

    async def release(self) -> None:
        """Do nothing: nothing is held between calls."""

    @property
    def known(self) -> Position:
        """The newest position: a process that is its own broker always knows it."""
        return Position(self._epoch, self._last, self._last)

    async def position(self) -> Position:
        """Return the newest position."""
        return self.known

    async def publish(self, message: Message, keep: Keep) -> Id:
        """Give a message its id, keep it, and hand it to the hub."""
        self._last = self._last.next(self._now_ms())
        message = replace(message, id=self._last)
        if message.kind in (Kind.EVENT, Kind.CONTROL) and keep.events:
            self._keep_event(self._touch(message.topic, keep), message, keep)
        elif message.kind in (Kind.REFRESH, Kind.PUSH):
            record = self._touch(message.topic, keep)
            record.changes[message.name or ""] = message.id
        if self._receiver is not None:
            self._receiver.receive(message)
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
            # Of what was before a topic's first known event only this is certain: it expired.
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

    async def resume(self, starts: Mapping[str, Start]) -> Replay:
        """Return what was missed since each topic's start."""
        # The clock, not the last message, says how old a position is. Through the ordinary way,
        # so that the hub stands where the snapshot does.
        await self.probe()
        replay = Replay(self.known)
        for topic, start in starts.items():
            judge(replay, topic, start, self._past(topic, start))
        replay.events.sort(key=lambda message: message.id)
        return replay

    def _past(self, topic: str, start: Start) -> Past:
        record = self._records.get(topic)
        if record is None or record.expires <= self._now():
            return Past((), None, None, {})
        after = start.position.events if start.position else ZERO
        missed = [message for message in record.events if message.id > after]
        kept_before = len(record.events) - len(missed)
        before = record.events[kept_before - 1].id if kept_before else record.before
        return Past(missed, before, record.tip, dict(record.changes))

    async def keep_text(self, text: str, seconds: float) -> str:
        """Keep a text, among a bounded number of them."""
        reference = reference_of(text)
        self._texts[reference] = (text, self._clock() + seconds)
        self._texts.move_to_end(reference)
        while len(self._texts) > MAX_TEXTS:
            self._texts.popitem(last=False)
        return reference

    async def kept_text(self, reference: str) -> str | None:
        """Return a text that was kept."""
        text, expires = self._texts.get(reference, ("", 0.0))
        return text if expires > self._clock() else None

    async def enter(self, topic: str, members: Mapping[str, str]) -> None:
        """Note that connections are present."""
        self._present.setdefault(topic, {}).update(members)

    async def exit(self, topic: str, member: str) -> None:
        """Note that a connection has left."""
        members = self._present.get(topic, {})
        members.pop(member, None)
        if not members:
            self._present.pop(topic, None)

    async def present(self, topic: str) -> Mapping[str, str]:
        """Return who is present: connection -> identity."""
        return dict(self._present.get(topic, {}))
