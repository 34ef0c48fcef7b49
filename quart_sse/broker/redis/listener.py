"""The supervised subscription of a process: it reconnects whatever ends it."""

import asyncio
import logging
import random
from collections.abc import Iterable

from redis.exceptions import RedisError

from ...background import Background
from ...error_log import ErrorLog
from ...errors import BrokerUnavailable
from ...logs import LogLine
from ...serving_loop import forget
from ...wire import public_name
from ..base import Receiver, State
from . import commands
from .commands import Names
from .link import AnyLink
from .order import Order
from .payload import Reader
from .subscription import Subscription

STARTS_WITHOUT = LogLine(
    "broker",
    "broker-not-there",
    logging.WARNING,
    "Redis has not answered yet; the app starts without it.",
)
AWAY = LogLine(
    "broker",
    "broker-away",
    logging.WARNING,
    "Redis is away (%(why)s); trying again until it is back.",
    why=str,
)
STILL_AWAY = LogLine(
    "broker", "broker-still-away", logging.DEBUG, "Redis is still away (%(why)s).", why=str
)
BACK = LogLine(
    "broker",
    "broker-back",
    logging.INFO,
    "Redis is back; every stream has been brought up to date.",
)
SILENT = LogLine(
    "broker",
    "broker-silent",
    logging.WARNING,
    "No message from Redis for %(seconds)g s; reconnecting the subscription.",
    seconds=float,
)
MAY_EVICT = LogLine(
    "broker",
    "broker-may-evict",
    logging.WARNING,
    "Redis may evict keys (maxmemory-policy is %(policy)r), so history can be lost. Set "
    "maxmemory-policy noeviction.",
    policy=str,
)
SUBSCRIPTION_FAILED = LogLine(
    "broker",
    "subscription-failed",
    logging.ERROR,
    "The subscription failed; reconnecting.",
)
MESSAGE_UNREADABLE = LogLine(
    "broker",
    "message-unreadable",
    logging.ERROR,
    "A message of topic %(topic)r cannot be read; skipped.",
    topic=str,
)

#: First and longest delay between attempts to connect, in seconds; it doubles each time.
FIRST_RETRY, LAST_RETRY = 0.05, 2.0
#: Probes that may fail to arrive before the subscription counts as dead.
UNHEARD = 3
#: Longest time that an app waits for Redis when it starts, in seconds.
START_TIMEOUT = 1.0


class Listener:
    """Delivers messages to the hub over one connection, and lets it catch up after each gap.

    Args:
        link: Makes connections, and inspects the server of each.
        names: Names of the channels.
        order: Learns the ids of messages.
        reader: Reads messages.
        errors: Logs errors.
        probe: Interval of probes, in seconds; they arrive over the subscription.
    """

    def __init__(
        self,
        link: AnyLink,
        names: Names,
        order: Order,
        reader: Reader,
        errors: ErrorLog,
        *,
        probe: float,
    ) -> None:
        self.state: State = State.STARTING
        self._link = link
        self._names = names
        self._order = order
        self._reader = reader
        self._errors = errors
        self._probe = probe
        self._receiver: Receiver | None = None
        self._epoch: str | None = None  #: of the hub's last catch-up
        self._wanted: set[str] = set()  #: topics to subscribe to, also while Redis is away
        self._changed = asyncio.Event()  #: set and replaced when the state or confirmations change
        self._subscription: Subscription | None = None
        self._task = Background("subscription", self._supervise, errors)
        self._heard = 0.0  #: when something last arrived, by the loop's clock

    # -- life --------------------------------------------------------------------------------------

    async def start(self, receiver: Receiver) -> None:
        """Begin to deliver; returns once Redis answers, or after ``START_TIMEOUT``.

        Args:
            receiver: The process's hub.
        """
        self._receiver = receiver
        self.state = State.STARTING
        self._task.start()
        try:
            async with asyncio.timeout(START_TIMEOUT):
                while self.state is State.STARTING:
                    await self._changed.wait()
        except TimeoutError:
            STARTS_WITHOUT.log()
            self._set_state(State.AWAY)

    async def stop(self) -> None:
        """End the subscription and do not reconnect."""
        await self._task.stop()
        self._wanted.clear()
        self._set_state(State.STOPPED)

    def abandon(self) -> None:
        """Forget the subscription of a loop that has ended, or of a parent process."""
        forget(self._subscription)
        self._subscription = None
        self._task.abandon()
        self._changed = asyncio.Event()
        self._wanted.clear()
        self.state = State.STOPPED

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
                    AWAY.log(why=why)
                else:
                    STILL_AWAY.log(why=why)
            except Exception as error:
                self._errors.log("subscription", error, SUBSCRIPTION_FAILED)
            finally:
                self._subscription = None
                await subscription.close()
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
        await subscription.subscribe(channels)
        # Channels that are given up meanwhile are confirmed all the same.
        missing = set(channels)
        held: list[tuple[str, bytes]] = []
        async with asyncio.timeout(UNHEARD * self._probe):
            while missing:
                said, channel, payload = await self._read(subscription)
                if said == "message":
                    held.append((channel, payload))
                elif not subscription.is_due(channel):
                    missing.discard(channel)
        await self._catch_up()
        for channel, payload in held:
            await self._deliver(channel, payload)
        if self.state is State.AWAY:
            BACK.log()
        self._set_state(state)
        self._notify()
        while True:
            said, channel, payload = await self._read(subscription)
            if said == "message":
                await self._deliver(channel, payload)

    async def _inspect(self) -> State:
        """Ask which server this is, and whether it may evict keys."""
        info = commands.read_info(await self._link.ask(*commands.INFO))
        self._order.replid = info.replid
        if not info.may_evict:
            return State.READY
        MAY_EVICT.log(policy=info.policy)
        return State.DEGRADED

    async def _compare(self) -> None:
        """Begin another epoch if the data set was made by another server."""
        call = commands.resume(self._names, self._order.request(compare=True))
        snapshot = commands.read_snapshot(await self._link.call(call))
        self._order.learn(snapshot.epoch, snapshot.id)

    async def _read(self, subscription: Subscription) -> tuple[str, str, bytes]:
        """Wait for the next message or confirmation, and record that one arrived."""
        said, channel, payload = await subscription.read()
        self._heard = asyncio.get_running_loop().time()
        if said == "subscribe":
            self._notify()
        return said, channel, payload

    async def _catch_up(self) -> None:
        known = self._order.known
        assert self._receiver is not None and known is not None  # noqa: PT018
        # The answer may have a newer epoch than the message that led here. Messages of the older
        # one that are still to arrive must not count as messages of the newer one.
        self._epoch = await self._receiver.catch_up() or known.epoch

    async def _deliver(self, channel: str, payload: bytes) -> None:
        topic = self._names.topic_of(channel)
        try:
            read = self._reader.message(topic, payload)
        except ValueError as error:
            # Reconnecting would not help: the message is lost either way.
            self._errors.log(
                "reading of messages", error, MESSAGE_UNREADABLE, topic=public_name(topic)
            )
            return
        if read is None:
            return
        message, epoch = read
        if epoch != self._epoch:
            # The data set was lost and another one begun, after FLUSHALL or the loss of a key.
            self._order.restart(epoch, message.id)
            await self._catch_up()
            return
        self._order.learn(epoch, message.id)
        assert self._receiver is not None
        self._receiver.receive(message)

    # -- topics ------------------------------------------------------------------------------------

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Subscribe, and wait until Redis has confirmed every topic.

        Raises:
            BrokerUnavailable: If Redis is away.
        """
        topics = list(topics)
        self._wanted.update(topics)
        channels = [self._names.channel(topic) for topic in topics]
        while not self._has_confirmed(channels):
            if self._subscription is None and self.state is not State.STARTING:
                raise BrokerUnavailable("Redis is away.")
            changed = self._changed
            if self._subscription is not None:
                try:
                    await self._subscription.subscribe(channels)
                except (RedisError, OSError) as error:
                    raise BrokerUnavailable(f"Redis is away ({error}).") from error
            if not self._has_confirmed(channels):
                await changed.wait()

    def _has_confirmed(self, channels: list[str]) -> bool:
        if self._subscription is None:
            return not channels
        return self._subscription.has_confirmed(channels)

    async def unsubscribe(self, topics: Iterable[str]) -> None:
        """Unsubscribe; confirmations that arrive later do not count.

        Raises:
            BrokerUnavailable: If the connection has ended.
        """
        topics = list(topics)
        self._wanted.difference_update(topics)
        if self._subscription is not None:
            try:
                await self._subscription.unsubscribe([self._names.channel(t) for t in topics])
            except (RedisError, OSError) as error:
                raise BrokerUnavailable(f"Redis is away ({error}).") from error

    # -- what ends a subscription ------------------------------------------------------------------

    async def reconnect(self) -> None:
        """End the current connection, if there is one; the next is made at once."""
        if self._subscription is not None:
            await self._subscription.close()

    async def end_silence(self) -> None:
        """Reconnect if the last probes did not arrive over the subscription."""
        silent = asyncio.get_running_loop().time() - self._heard
        if self._subscription is not None and silent > UNHEARD * self._probe:
            SILENT.log(seconds=round(silent, 1))
            self._set_state(State.AWAY)
            await self._subscription.close()
