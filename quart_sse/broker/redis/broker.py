"""The broker of many processes and machines: Redis 6.2 and later, or Valkey.

Live messages come over one pub/sub connection per process; history is read only by those who
come back. The connection is supervised: whatever ends it, it is made again, and the hub catches
up from what it has seen before anything new is delivered.
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from redis.exceptions import ReadOnlyError, RedisError

from ...error_log import ErrorLog
from ...errors import BrokerUnavailable
from ...position import Id, Position, new_epoch
from ..base import Broker, Receiver, State, reference_of
from ..messages import Keep, Kind, Message
from ..replay import Past, Replay, Start, judge
from .link import BATCH, Link, Script, Subscription
from .payload import FORMAT as FORMAT
from .payload import Reader, write

logger = logging.getLogger("quart_sse")

#: Seconds between tries to connect, doubled each time from the first to the last.
FIRST_RETRY, LAST_RETRY = 0.05, 2.0
#: Probes that may go unheard before the subscription is taken for dead.
UNHEARD = 3
#: Milliseconds that somebody counts as present whose process says nothing more.
PRESENT_MS = 60_000

_PUBLISH, _CHANGE, _RESUME = (Script("prelude", name) for name in ("publish", "change", "resume"))
_PRESENT = Script("present")


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
        self.clock_offset_ms = clock_offset_ms
        self._link = Link(url, timeout)
        # In braces, so that all keys are in one slot of a cluster.
        self._prefix = f"{{{prefix}:{FORMAT}}}"
        # Databases have keys of their own, but share all pub/sub channels.
        database = self._link.database
        self._channels = f"{self._prefix}{database}" if database else self._prefix
        self._service = f"{self._channels}!"
        self._errors = ErrorLog()
        self._reader = Reader()
        self._probe = probe
        self._most = most
        self._known: Position | None = None
        self._receiver: Receiver | None = None
        self._epoch: str | None = None  #: that the hub has caught up with
        self._replid = ""  #: of the server, when it was last connected to
        self._wanted: set[str] = set()
        self._confirmed: set[str] = set()
        #: channels asked for and not given up since, and how many answers about each are to come
        self._asked: set[str] = set()
        self._requested: Counter[str] = Counter()
        self._changed = asyncio.Event()  #: set, and made anew, when confirmed or state change
        self._subscription: Subscription | None = None
        self._task: asyncio.Task[None] | None = None
        self._heard = 0.0

    # -- life --------------------------------------------------------------------------------------

    async def start(self, receiver: Receiver) -> None:
        """Begin to deliver; returns when Redis is there, or soon if it is not."""
        self._receiver = receiver
        self.state = State.STARTING
        self._task = asyncio.get_running_loop().create_task(self._supervise())
        try:
            async with asyncio.timeout(1.0):
                while self.state is State.STARTING:
                    await self._changed.wait()
        except TimeoutError:
            logger.warning("Redis has not answered yet; the app starts without it.")
            self._set_state(State.AWAY)

    async def stop(self) -> None:
        """Close the connections."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await self._link.close()
        self._set_state(State.STOPPED)

    async def release(self) -> None:
        """Close the connections over which no call is under way."""
        await self._link.release()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _set_state(self, state: State) -> None:
        if state is not self.state:
            self.state = state
            self._notify()

    # -- the supervised subscription ---------------------------------------------------------------

    async def _supervise(self) -> None:
        delay = FIRST_RETRY
        while True:
            subscription = self._link.subscription()
            try:
                await self._serve(subscription)
            except (RedisError, OSError, TimeoutError, BrokerUnavailable) as error:
                why = str(error) or type(error).__name__
                if self.state is not State.AWAY:
                    logger.warning("Redis is away (%s); trying again until it is back.", why)
                else:
                    logger.debug("Redis is still away (%s).", why)
            except Exception as error:
                self._errors.log("subscription", error, "The subscription failed; reconnecting.")
            finally:
                self._subscription = None
                await subscription.close()
                self._asked.clear()
                self._confirmed.clear()
                self._requested.clear()
            delay = FIRST_RETRY if self.state is not State.AWAY else min(delay * 2, LAST_RETRY)
            self._set_state(State.AWAY)
            await asyncio.sleep(delay * random.uniform(0.5, 1.5))

    async def _serve(self, subscription: Subscription) -> None:
        """Connect, catch up, and deliver until the connection ends."""
        await subscription.connect()
        state, self._replid = await self._inspect()
        await self._resume({}, compare=True)
        self._heard = asyncio.get_running_loop().time()
        self._subscription = subscription
        channels = [self._service, *map(self._channel, self._wanted)]
        await self._ask_for(subscription, channels)
        # Those given up meanwhile are answered all the same.
        missing = set(channels)
        held: list[tuple[str, bytes]] = []
        async with asyncio.timeout(UNHEARD * self._probe):
            while missing:
                said, channel, payload = await subscription.read()
                self._note(said, channel)
                if said == "message":
                    held.append((channel, payload))
                elif channel not in self._requested:
                    missing.discard(channel)
        await self._catch_up()
        for channel, payload in held:
            await self._deliver(channel, payload)
        if self.state is State.AWAY:
            logger.info("Redis is back; every stream has been brought up to date.")
        self._set_state(state)
        self._notify()
        while True:
            said, channel, payload = await subscription.read()
            self._note(said, channel)
            if said == "message":
                await self._deliver(channel, payload)

    async def _inspect(self) -> tuple[State, str]:
        """Ask which data set this is, and whether it keeps what it is given."""
        info = _parse_info(await self._link.ask("INFO"))
        policy = info.get("maxmemory_policy", "noeviction")
        if policy == "noeviction" or info.get("maxmemory") == "0":
            return State.READY, info.get("master_replid", "")
        logger.warning(
            "Redis may evict keys (maxmemory-policy is %r), so history can be lost. Set "
            "maxmemory-policy noeviction.",
            policy,
        )
        return State.DEGRADED, info.get("master_replid", "")

    def _note(self, said: str, channel: str) -> None:
        """Keep count of what the server has confirmed."""
        self._heard = asyncio.get_running_loop().time()
        if said == "subscribe":
            self._requested[channel] -= 1
            # One that was given up and asked for again is confirmed by the last answer alone.
            if self._requested[channel] <= 0:
                del self._requested[channel]
                if channel in self._asked:
                    self._confirmed.add(channel)
                self._notify()

    async def _ask_for(self, subscription: Subscription, channels: list[str]) -> None:
        self._asked.update(channels)
        self._requested.update(channels)
        await subscription.subscribe(channels)

    async def _catch_up(self) -> None:
        assert self._receiver is not None and self._known is not None  # noqa: PT018
        epoch = self._known.epoch
        # The answer may be of a newer epoch than what led here: what is still on its way from
        # before that must not be taken for a message of the newer one.
        self._epoch = await self._receiver.catch_up() or epoch

    async def _deliver(self, channel: str, payload: bytes) -> None:
        topic = "" if channel == self._service else channel.removeprefix(f"{self._channels}:")
        try:
            read = self._reader.message(topic, payload)
        except ValueError as error:
            # Not a reason to connect again: the message would be lost all the same.
            self._errors.log(
                "reading of messages",
                error,
                "A message of topic %r cannot be read; skipped.",
                topic,
            )
            return
        if read is None:
            return
        message, epoch = read
        if epoch != self._epoch:
            # Somebody found the data set gone and began another: FLUSHALL, or a lost key.
            self._known = Position(epoch, message.id, message.id)
            await self._catch_up()
            return
        self._learn(epoch, message.id)
        assert self._receiver is not None
        self._receiver.receive(message)

    # -- positions ---------------------------------------------------------------------------------

    @property
    def known(self) -> Position | None:
        """The newest position that this process has heard of, from anywhere."""
        return self._known

    def _learn(self, epoch: str, id: Id) -> Position:
        known = self._known
        if known is None or known.epoch != epoch or known.events < id:
            known = self._known = Position(epoch, id, id)
        return known

    async def position(self) -> Position:
        """Ask Redis where its order stands."""
        if self.state is State.AWAY:
            raise BrokerUnavailable("Redis is away.")
        return (await self._resume({})).position

    async def _call(self, script: Script, keys: list[str], arguments: list[Any]) -> Any:
        """Run a script, and end the subscription if its server has become a replica."""
        try:
            return await self._link.call(script, keys, arguments)
        except BrokerUnavailable as error:
            # A replica passes on what its master publishes, and the next call goes to the master,
            # so nothing else would tell that the server was demoted, and that its successor may
            # know less.
            if isinstance(error.__cause__, ReadOnlyError) and self._subscription is not None:
                await self._subscription.close()
            raise

    # -- publishing --------------------------------------------------------------------------------

    def _key(self, kind: str, topic: str = "") -> str:
        return f"{self._prefix}:{kind}:{topic}" if topic else f"{self._prefix}:{kind}"

    def _channel(self, topic: str) -> str:
        return f"{self._channels}:{topic}"

    def _prelude(self, compare: str = "") -> tuple[list[str], list[object]]:
        """Return the keys and arguments that begin those of every script which takes an id."""
        keys = [self._key("last"), self._key("epoch"), self._key("replid")]
        return keys, [self.clock_offset_ms, new_epoch(), self._replid, compare]

    async def publish(self, message: Message, keep: Keep) -> Id:
        """Publish through Redis, once."""
        topic = message.topic
        channel = self._channel(topic) if topic else self._service
        keys, arguments = self._prelude()
        arguments += [channel, message.kind.value, write(message)]
        ttl_ms = int(keep.ttl * 1000)
        if message.kind in (Kind.REFRESH, Kind.PUSH):
            keys += [self._key("fragments", topic), self._key("tip", topic)]
            answer = await self._call(_CHANGE, keys, [*arguments, ttl_ms, message.name])
        else:
            keys += [self._key("events", topic), self._key("tip", topic)]
            answer = await self._call(_PUBLISH, keys, [*arguments, keep.events, ttl_ms])
        epoch, id = answer[0].decode(), Id.parse(answer[1].decode())
        self._learn(epoch, id)
        return id

    async def probe(self) -> None:
        """Send a probe, and end a subscription over which earlier ones did not come back."""
        silent = asyncio.get_running_loop().time() - self._heard
        if self._subscription is not None and silent > UNHEARD * self._probe:
            logger.warning("Redis says nothing over a connection that is open; it is made anew.")
            self._set_state(State.AWAY)
            await self._subscription.close()
        await super().probe()

    # -- subscribing and resuming ------------------------------------------------------------------

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Subscribe, and wait until Redis has confirmed every topic."""
        topics = list(topics)
        self._wanted.update(topics)
        channels = [self._channel(topic) for topic in topics]
        while not self._confirmed.issuperset(channels):
            if self._subscription is None and self.state is not State.STARTING:
                raise BrokerUnavailable("Redis is away.")
            changed = self._changed
            if self._subscription is not None:
                missing = [channel for channel in channels if channel not in self._asked]
                try:
                    await self._ask_for(self._subscription, missing)
                except (RedisError, OSError) as error:
                    raise BrokerUnavailable(f"Redis is away ({error}).") from error
            if not self._confirmed.issuperset(channels):
                await changed.wait()

    async def unsubscribe(self, topics: Iterable[str]) -> None:
        """Unsubscribe; from this moment nothing that comes counts."""
        topics = list(topics)
        channels = [self._channel(topic) for topic in topics]
        self._wanted.difference_update(topics)
        self._asked.difference_update(channels)
        self._confirmed.difference_update(channels)
        if self._subscription is not None:
            try:
                for at in range(0, len(channels), BATCH):
                    # Somebody may have asked for it again while others were written.
                    gone = [c for c in channels[at : at + BATCH] if c not in self._asked]
                    await self._subscription.unsubscribe(gone)
            except (RedisError, OSError) as error:
                raise BrokerUnavailable(f"Redis is away ({error}).") from error

    async def resume(self, starts: Mapping[str, Start]) -> Replay:
        """Ask what was missed, in one atomic snapshot."""
        return await self._resume(starts)

    async def _resume(self, starts: Mapping[str, Start], *, compare: bool = False) -> Replay:
        keys, arguments = self._prelude("compare" if compare else "")
        arguments.append(self._most + 1)
        for topic, start in starts.items():
            keys += [self._key(kind, topic) for kind in ("events", "tip", "fragments")]
            position = None if start.now or not start.keep.events else start.position
            arguments += ["", ""] if position is None else [position.epoch, str(position.events)]
        epoch, last, *pasts = await self._call(_RESUME, keys, arguments)
        name, id = epoch.decode(), Id.parse(last.decode())
        self._learn(name, id)
        replay = Replay(Position(name, id, id))
        for (topic, start), past in zip(starts.items(), pasts, strict=True):
            judge(replay, topic, start, self._read_past(topic, name, past))
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
        key = self._key("text", reference)
        await self._link.ask("SET", key, text, "EX", str(int(seconds) + 1))
        return reference

    async def kept_text(self, reference: str) -> str | None:
        """Return a text that was kept."""
        text = await self._link.ask("GET", self._key("text", reference))
        # What is no text fails the check against its reference, and nothing else.
        return None if text is None else text.decode(errors="replace")

    # -- presence ----------------------------------------------------------------------------------

    async def _presence(self, topic: str, *arguments: object) -> dict[str, str]:
        keys = [self._key("expiries", topic), self._key("members", topic)]
        flat = await self._call(_PRESENT, keys, [PRESENT_MS, *arguments])
        texts = [value.decode(errors="replace") for value in flat]
        return dict(zip(texts[::2], texts[1::2], strict=True))

    async def enter(self, topic: str, members: Mapping[str, str]) -> None:
        """Note who is present, or still is."""
        pairs = [text for pair in members.items() for text in pair]
        await self._presence(topic, len(members), *pairs)

    async def exit(self, topic: str, member: str) -> None:
        """Note that a connection has left."""
        await self._presence(topic, 0, member)

    async def present(self, topic: str) -> Mapping[str, str]:
        """Return who is present, over all processes."""
        return await self._presence(topic, 0)


def _parse_info(text: bytes) -> dict[str, str]:
    lines = (line.partition(":") for line in text.decode().splitlines())
    return {name: value.strip() for name, mark, value in lines if mark}
