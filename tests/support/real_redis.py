"""The Redis broker in virtual time, for state machines: its connections are cut at any moment."""

import asyncio
import secrets
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from hypothesis import strategies as st
from hypothesis.stateful import rule
from redis import Redis

from quart_sse.broker import Budget, Keep, Kind, Message, Replay, Start, State
from quart_sse.broker.redis import RedisBroker
from quart_sse.broker.redis.link import Link
from quart_sse.broker.redis.listener import Listener
from quart_sse.broker.redis.order import Order
from quart_sse.broker.redis.subscription import Subscription
from quart_sse.broker.replay import BUDGET
from quart_sse.wire.position import Id, Position
from tests.support.model import (
    CLOCK,
    LOUD,
    NESTED,
    WHERE,
    Model,
    NearBroker,
    PairRules,
    VirtualLoop,
)
from tests.support.redis_server import RedisServer

if TYPE_CHECKING:
    from quart_sse.hub import Hub


class RealOrder(Order):
    """The order of a broker in virtual time, which Redis' clock follows."""

    def __init__(self, broker: "RealBroker") -> None:
        self._broker = broker
        super().__init__()

    @property
    def clock_offset_ms(self) -> int:
        """What makes Redis' clock the loop's."""
        broker = self._broker
        return int((CLOCK + broker.loop.now + broker.home.offset - time.time()) * 1000)

    @clock_offset_ms.setter
    def clock_offset_ms(self, value: int) -> None: ...

    def learn(self, epoch: str, id: Id) -> Position:
        self._broker._note_epoch(epoch)
        return super().learn(epoch, id)


class RealListener(Listener):
    """The subscription of a broker in virtual time."""

    def __init__(self, broker: "RealBroker", order: Order) -> None:
        self._broker = broker
        super().__init__(
            broker._link, broker._names, order, broker._reader, broker._errors, probe=5.0
        )

    async def _serve(self, subscription: Subscription) -> None:
        broker = self._broker
        broker._is_connecting = True
        try:
            await super()._serve(subscription)
        finally:
            broker._is_connecting = broker._is_cut = False
            broker._under_way = 0

    def _set_state(self, state: State) -> None:
        if state is State.READY:
            self._broker._is_connecting = False
        super()._set_state(state)

    async def _deliver(self, channel: str, payload: bytes) -> None:
        broker = self._broker
        while broker.is_lagging:
            broker.arrived.clear()
            await broker.arrived.wait()
        broker._under_way = max(0, broker._under_way - 1)
        read = self._reader.message(self._names.topic_of(channel), payload)
        assert read is not None
        message, epoch = read
        broker._note_epoch(epoch)
        if epoch != self._epoch or message.id <= cast("Hub", self._receiver)._progress.seen:
            broker._lose(message)
        await super()._deliver(channel, payload)


class RealBroker(RedisBroker):
    """The Redis broker in virtual time; knows what has not arrived yet."""

    server: RedisServer

    def __init__(self, loop: VirtualLoop, home: "RealBroker | None" = None) -> None:
        self.home = home or self
        self.offset = 0.0
        self.epochs: list[str] = self.home.epochs if home else []
        self.peers: list[RealBroker] = self.home.peers if home else []
        self.peers.append(self)
        self.catch_ups: list[tuple[Mapping[str, Start], Position]] = []
        self.loud_lost: set[int] = set()
        self.loop = loop
        self.is_lagging = False
        self.arrived = asyncio.Event()
        self.name: str = home.name if home else secrets.token_hex(4)
        super().__init__(self.server.url, prefix=self.name)
        self._order = RealOrder(self)
        self._listener = RealListener(self, self._order)
        self._client = Redis(unix_socket_path=str(self.server.socket), decode_responses=True)
        self._calls = 0  #: not answered yet
        self._under_way = 0  #: messages that Redis has sent and that have not arrived
        self._is_connecting = self._is_cut = False
        assert isinstance(self._link, Link)
        self._once = self._link._once
        self._link._once = self._counted  # type: ignore[method-assign]
        loop.idle.is_answer_due = lambda: any(peer.is_answer_due for peer in self.peers)

    # -- faults

    def cut(self, kind: str) -> None:
        """Cut connections of a kind."""
        self._client.client_kill_filter(_type=kind)
        for peer in self.peers:
            peer._is_cut = kind == "pubsub" and peer._listener._subscription is not None

    def lose_data(self) -> None:
        """Forget everything."""
        self._client.flushall()

    def lag(self, is_lagging: bool) -> None:
        """Take what arrives later, or at once."""
        self.is_lagging = is_lagging
        self.arrived.set()

    def evict(self, topic: str) -> None:
        """Lose the record of a topic's changes."""
        self._client.delete(self._names.key("fragments", topic))

    def rest(self) -> None:
        self.lag(False)

    def peer(self) -> "RealBroker":
        return RealBroker(self.loop, self)

    async def free(self) -> None:
        """Free what is held outside this process."""
        await self._link.close()
        self._client.close()

    # -- what is under way

    @property
    def is_answer_due(self) -> bool:
        """Whether something is about to come from Redis."""
        if self._calls or self._is_connecting:
            return True
        # What waits in here keeps the rest from being read, even that the connection was cut.
        return not self.is_lagging and bool(self._is_cut or self._under_way)

    async def _counted(self, *command: Any, **options: Any) -> Any:
        self._calls += 1
        try:
            return await self._once(*command, **options)
        finally:
            self._calls -= 1

    async def publish(self, message: Message, keep: Keep) -> Id:
        channel = self._names.channel(message.topic)
        hearing = [peer for peer in self.peers if peer._listener._has_confirmed([channel])]
        for peer in hearing:  # it may arrive before the answer does
            peer._under_way += not peer._is_cut
        id = await super().publish(message, keep)
        for peer in self.peers:
            # Of two, one may lag and be cut off unnoticed: which of these got lost is not counted.
            if peer not in hearing or peer.state is not State.READY or len(self.peers) > 1:
                peer._lose(message)
        return id

    def _lose(self, message: Message) -> None:
        if message.topic == LOUD and message.kind is Kind.EVENT:
            self.loud_lost.add(int(message.data or ""))

    # -- what the model asks

    def _note_epoch(self, epoch: str) -> None:
        if epoch not in self.epochs:
            self.epochs.append(epoch)

    async def resume(self, starts: Mapping[str, Start], budget: Budget = BUDGET) -> Replay:
        replay = await super().resume(starts, budget)
        if "" in starts:
            self.catch_ups.append((starts, replay.position))
        return replay


class RedisModel(Model):
    """Everything that can happen with Redis."""

    broker = cast("type[NearBroker]", RealBroker)
    is_repeatable = False

    @rule(kind=st.sampled_from(["pubsub", "pubsub", "normal"]))
    def cut_connections(self, kind: str) -> None:
        """Somebody cuts connections of the process to Redis."""
        cast("RealBroker", self.world.broker).cut(kind)
        self.world.settle()

    @rule(is_sure=st.sampled_from([False, False, True]))
    def lose_data(self, is_sure: bool) -> None:
        """Redis forgets everything, now and then."""
        if is_sure:
            cast("RealBroker", self.world.broker).lose_data()


class RedisPairModel(PairRules, RedisModel):
    """The same with two processes and fragments inside fragments."""

    specs = NESTED

    @rule(where=WHERE, is_lagging=st.booleans())
    def lag(self, where: int, is_lagging: bool) -> None:
        """What comes to a process waits, or arrives."""
        cast("RealBroker", self.world.processes[where].broker).lag(is_lagging)
        self.world.settle()
