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
from ...position import Id, Position
from ..base import Broker, Receiver, State, reference_of
from ..messages import Keep, Message
from ..replay import Past, Replay, Start, judge
from . import commands
from .commands import Names, ScriptCall
from .link import BATCH, Link, Subscription
from .order import Order
from .payload import Reader

logger = logging.getLogger("quart_sse")

#: Seconds between tries to connect, doubled each time from the first to the last.
FIRST_RETRY, LAST_RETRY = 0.05, 2.0
#: Probes that may go unheard before the subscription is taken for dead.
UNHEARD = 3


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
        self._errors = ErrorLog()
        self._reader = Reader()
        self._probe = probe
        self._most = most
        self._receiver: Receiver | None = None
        self._epoch: str | None = None  #: that the hub has caught up with
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
        state = await self._inspect()
        await self._compare()
        self._heard = asyncio.get_running_loop().time()
        self._subscription = subscription
        channels = [self._names.service, *map(self._names.channel, self._wanted)]
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

    async def _inspect(self) -> State:
        """Ask which data set this is, and whether it keeps what it is given."""
        info = commands.read_info(await self._link.ask(*commands.INFO))
        self._order.replid = info.replid
        if not info.may_evict:
            return State.READY
        logger.warning(
            "Redis may evict keys (maxmemory-policy is %r), so history can be lost. Set "
            "maxmemory-policy noeviction.",
            info.policy,
        )
        return State.DEGRADED

    async def _compare(self) -> None:
        """Begin another epoch if the data set was made on another server."""
        call = commands.resume(self._names, self._order.request(compare=True))
        snapshot = commands.read_snapshot(await self._link.call(call))
        self._order.learn(snapshot.epoch, snapshot.id)

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
        known = self._order.known
        assert self._receiver is not None and known is not None  # noqa: PT018
        # The answer may be of a newer epoch than what led here: what is still on its way from
        # before that must not be taken for a message of the newer one.
        self._epoch = await self._receiver.catch_up() or known.epoch

    async def _deliver(self, channel: str, payload: bytes) -> None:
        topic = self._names.topic_of(channel)
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
            self._order.restart(epoch, message.id)
            await self._catch_up()
            return
        self._order.learn(epoch, message.id)
        assert self._receiver is not None
        self._receiver.receive(message)

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
            if isinstance(error.__cause__, ReadOnlyError) and self._subscription is not None:
                await self._subscription.close()
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
        channels = [self._names.channel(topic) for topic in topics]
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
        channels = [self._names.channel(topic) for topic in topics]
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
