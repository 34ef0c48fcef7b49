"""State machines: publishers, browsers and processes do anything, in any order.

They drive real hubs and the real memory broker in virtual time. Their browsers read
bytes as ``EventSource`` does, are cut at any of them, stall and come back; their application
renders slowly, out of order, or not at all. What must hold stands at the top of
``docs/protocol.md``. Two things are checked with every message that a browser takes, so that no
lucky cut is needed to find a mistake: events come once and in order, and what a position says
(delivered up to ``e``, current up to ``s``) is true of that browser at that moment.

``QUART_SSE_MODEL_EXAMPLES`` is how many schedules each machine tries. Without it there are few,
always the same ones; with it they are random: ``QUART_SSE_MODEL_EXAMPLES=5000 pytest
tests/model``.
"""

import asyncio
import html
import json
import os
import re
import selectors
import sys
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial, wraps
from typing import Any, NamedTuple, TypeVar, cast

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from quart_sse.broker import (
    CONTROL_HISTORY,
    Budget,
    Keep,
    Kind,
    Message,
    Past,
    Receiver,
    Replay,
    Start,
    memory,
)
from quart_sse.broker.memory import MemoryBroker
from quart_sse.broker.replay import BUDGET
from quart_sse.config import Config
from quart_sse.errors import BrokerUnavailable
from quart_sse.hub.rendered import FragmentSpec, Inside, Rendered
from quart_sse.wire.audience import EVERYONE, event_key, user_topic
from quart_sse.wire.ending import Ending
from quart_sse.wire.naming import member_key
from quart_sse.wire.position import ZERO, Id, Position, new_epoch
from tests.support import house

T = TypeVar("T")

EXAMPLES = int(os.environ.get("QUART_SSE_MODEL_EXAMPLES", "0"))

#: The real time of the broker's clock when the loop's stands at 0.
CLOCK = 1_795_302_000.0
#: Seconds in which every renderer that raised has been tried again, and more.
LONGEST_RETRY = 35.0
#: Real seconds that another program may take for an answer.
PATIENCE = 5.0

CONFIG = Config(replay_events=20, pending_events=6, linger=5.0, join_timeout=5.0, debounce=0.1)

DEEP, SHALLOW, LOUD = "news?room=1", "news?room=2", "chat"
KEEPS = {DEEP: Keep(50, 60.0), SHALLOW: Keep(2, 30.0), LOUD: Keep(0, 30.0)}
USERS = ("ada", "bob")
AUDIENCES = {
    EVERYONE: Keep(50, 60.0),
    user_topic("ada"): Keep(50, 60.0),
    user_topic("bob"): Keep(2, 30.0),
}
#: The same with control messages, which are of no topic.
ALL_KEEPS = KEEPS | AUDIENCES | {"": CONTROL_HISTORY}


class Name(NamedTuple):
    """A fragment of a topic."""

    topic: str
    fragment: str

    @property
    def key(self) -> str:
        return member_key(self.topic, self.fragment)


FLAT = {
    Name(DEEP, "list"): FragmentSpec("list"),
    Name(DEEP, "mine"): FragmentSpec("mine", personal=True),
    Name(SHALLOW, "list"): FragmentSpec("list", debounce=0.0),
    Name(LOUD, "list"): FragmentSpec("list"),
    Name(LOUD, "clock"): FragmentSpec("clock", every=7.0),
}
BOARD, COUNT, LIST = Name(DEEP, "board"), Name(DEEP, "count"), Name(DEEP, "list")
CLOCK_FACE, SUM = Name(DEEP, "clock"), Name(SHALLOW, "sum")
NESTED = {
    BOARD: FragmentSpec("board", debounce=0.0),
    COUNT: FragmentSpec("count", debounce=0.0),
    LIST: FragmentSpec("list"),
    CLOCK_FACE: FragmentSpec("clock", every=7.0),
    SUM: FragmentSpec("sum"),
}
FEW = {name: NESTED[name] for name in (LIST, COUNT)}


def inside(specs: Mapping[Name, FragmentSpec], name: Name, value: int) -> tuple[Name, ...]:
    """Return what a fragment of that value contains: most come and go, one is of another topic."""
    holds: dict[Name, tuple[Name, ...]]
    holds = {
        BOARD: ((LIST,) if value % 2 else ()) + ((COUNT,) if value % 3 == 0 else ()) + (SUM,),
        LIST: (COUNT,) if value % 2 else (),
        CLOCK_FACE: (COUNT,) if value % 2 else (),
    }
    return tuple(other for other in holds.get(name, ()) if other in specs)


# -- time, the broker and the application ----------------------------------------------------------


class IdleSelector(selectors.DefaultSelector):
    """Stops its loop where it would have to wait, and notes for how long."""

    loop: "VirtualLoop"
    wait: float | None = None
    #: whether another program is about to answer, for which no time passes here
    is_answer_due: Callable[[], bool] = staticmethod(lambda: False)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and (timeout is None or timeout > 0) and self.is_answer_due():
            ready = super().select(PATIENCE)
        if not ready and timeout is not None and 0 < timeout < 1e-6:
            self.loop.now += timeout  # a rounding error is no wait
        elif not ready and (timeout is None or timeout > 0):
            self.wait = timeout
            self.loop.stop()
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes only in ``advance``."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.idle = IdleSelector()
        self.idle.loop = self
        super().__init__(self.idle)

    def time(self) -> float:
        return self.now

    def settle(self) -> None:
        """Run until everything waits for time to pass, or for the machine."""
        self.run_forever()

    def advance(self, seconds: float) -> None:
        """Let time pass, and every timer run at its own moment."""
        until = self.now + seconds
        while True:
            self.settle()
            if self.idle.wait is None or self.now + self.idle.wait > until:
                break
            self.now += self.idle.wait
        self.now = until
        self.settle()


class NearBroker(MemoryBroker):
    """The memory broker, with a clock that can be set."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.offset = 0.0  #: seconds by which the clock was set forward
        self.epochs: list[str] = []
        #: where the hub stood, and where it was brought to, whenever it caught up
        self.catch_ups: list[tuple[Mapping[str, Start], Position]] = []
        self.loud_lost: set[int] = set()  #: numbers of the events without history that got lost
        self.loop = loop
        self._evicted: dict[str, Id] = {}
        super().__init__(lambda: CLOCK + loop.now + self.offset)
        self.epochs.append(self.known.epoch)

    async def resume(self, starts: Mapping[str, Start], budget: Budget = BUDGET) -> Replay:
        replay = await super().resume(starts, budget)
        if "" in starts:  # control messages: only the hub itself asks for them
            self.catch_ups.append((starts, replay.position))
        return replay

    def rest(self) -> None:
        """Let everything that the machine has held back happen."""

    def peer(self) -> "NearBroker":
        """Return the way of another process to the same data."""
        raise NotImplementedError

    async def free(self) -> None:
        """Free what is held outside this process."""

    def evict(self, topic: str) -> None:
        """Lose the record of a topic's changes, as a server does that runs out of memory."""
        record = self._records.get(topic)
        if record is not None and record.changes:
            self._evicted[topic] = max(self._evicted.get(topic, ZERO), *record.changes.values())
            record.changes.clear()
            record.items.clear()

    def _past(self, topic: str, start: Start, most: int) -> Past:
        past = super()._past(topic, start, most)
        return past._replace(unrecorded=self._evicted.get(topic, ZERO))


def _shared(name: str) -> property:
    """Return an attribute that a peer has from its home, once that is known."""

    def get(peer: "PeerBroker") -> object:
        return getattr(peer._home, name)

    def set(peer: "PeerBroker", value: object) -> None:
        if hasattr(peer, "peers"):  # what is set before that is of a broker of its own
            setattr(peer._home, name, value)

    return property(get, set)


class DistantBroker(NearBroker):
    """The memory broker behind a wire, which can do all that happens to Redis' two connections.

    Topics must be subscribed. Messages arrive late, though in order, and the answers of
    ``subscribe`` and ``resume`` when the machine lets them: before or after the messages of the
    same time. The subscription breaks, with all that is under way, and is made again; and the
    data may get lost, so that another order of ids begins.
    """

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__(loop)
        self.is_lagging = False
        self.is_mute = False
        self.is_broken = False  #: and cannot be made again yet
        self._is_asking = False  #: so that the next probe is published for no process
        self.may_arrive = 0
        self.peers = [self]  #: of every process: what one publishes reaches all
        self.unanswered: list[asyncio.Future[bool]] = []
        self._is_ended = False
        self._wanted: set[str] = set()
        self._subscribed: set[str] = set()
        self._wire: deque[tuple[str, Message]] = deque()
        self._hub: Receiver
        self._hub_epoch = ""
        self._moved = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self, receiver: Receiver) -> None:
        self._hub = self._receiver = receiver
        await self._catch_up()
        self._receiver = self
        self._task = self.loop.create_task(self._deliver())

    async def stop(self) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    @property
    def under_way(self) -> int:
        """How many messages have not arrived yet."""
        return len(self._wire)

    def move(self) -> None:
        """See what can happen now."""
        self._moved.set()

    def peer(self) -> NearBroker:
        return PeerBroker(self.loop, self)

    def rest(self) -> None:
        self.is_lagging = self.is_mute = self.is_broken = False
        for answer in self.unanswered:
            answer.set_result(True)
        self.move()

    def break_off(self) -> None:
        """Lose the subscription, and what is under way."""
        self.is_broken = True
        self._end_subscription()
        self.move()

    def _end_subscription(self) -> None:
        self._is_ended = True
        for _, message in self._wire:
            self._lose(message)
        self._wire.clear()
        self._subscribed.clear()

    def lose_data(self) -> None:
        """Forget everything, as a server that was restarted without its data."""
        self._records.clear()
        self._evicted.clear()
        self._epoch = new_epoch()
        self._last = ZERO.next(self._now_ms())
        self.epochs.append(self._epoch)

    # -- what arrives

    def receive(self, message: Message) -> None:
        """Take a message from a publisher, and send it to every process."""
        for peer in self.peers:
            peer.take(message)

    def take(self, message: Message) -> None:
        """Send a message to this process, if it would arrive."""
        if not self.is_broken and (not message.topic or message.topic in self._subscribed):
            self._wire.append((self._epoch, message))
            self.move()
        else:
            self._lose(message)

    async def catch_up(self) -> None:
        """Do nothing: it is the hub that catches up."""

    def _lose(self, message: Message) -> None:
        if message.topic == LOUD and message.kind is Kind.EVENT:
            self.loud_lost.add(int(message.data or ""))

    async def _deliver(self) -> None:
        while True:
            self._moved.clear()
            if self._is_ended and not self.is_broken:
                self._is_ended = False
                self._subscribed = set(self._wanted)
                await self._catch_up()
            elif not self._is_ended and self._wire and (self.may_arrive or not self.is_lagging):
                self.may_arrive = max(0, self.may_arrive - 1)
                await self._take(*self._wire.popleft())
            else:
                await self._moved.wait()

    async def _take(self, epoch: str, message: Message) -> None:
        if epoch != self._hub_epoch:
            self._lose(message)
            await self._catch_up()
            return
        if self.catch_ups and message.id <= self.catch_ups[-1][1].events:
            self._lose(message)
        self._hub.receive(message)

    async def _catch_up(self) -> None:
        try:
            self._hub_epoch = await self._hub.catch_up() or self._epoch
        except BrokerUnavailable:
            self._end_subscription()  # and make it again

    # -- what is answered

    async def subscribe(self, topics: Iterable[str]) -> None:
        wanted = set(topics)
        self._wanted |= wanted
        while not wanted <= self._subscribed:
            if self.is_broken:
                raise BrokerUnavailable("The broker is away.")
            await self._answer()
            if not self.is_broken:
                self._subscribed |= wanted

    async def unsubscribe(self, topics: Iterable[str]) -> None:
        self._wanted.difference_update(topics)
        self._subscribed.difference_update(topics)

    async def resume(self, starts: Mapping[str, Start], budget: Budget = BUDGET) -> Replay:
        await self._answer()  # the question, too, needs time to arrive
        self._is_asking = True
        replay = await super().resume(starts, budget)
        if replay.position.epoch != self._epoch:  # all parts are of one data set
            return await self.resume(starts, budget)
        await self._answer()
        return replay

    async def probe(self) -> None:
        is_asking, self._is_asking = self._is_asking, False
        receiver = self._receiver
        if is_asking:
            self._receiver = None  # nothing is published for it
        await super().probe()
        self._receiver = receiver

    async def _pause(self) -> None:
        await self._answer()  # each part of a resume is asked for

    async def _answer(self) -> None:
        if not self.is_mute:
            return
        answer: asyncio.Future[bool] = self.loop.create_future()
        self.unanswered.append(answer)
        try:
            if not await answer:
                raise BrokerUnavailable("The broker did not answer.")
        finally:
            self.unanswered.remove(answer)


class PeerBroker(DistantBroker):
    """The way of another process to the same data."""

    def __init__(self, loop: VirtualLoop, home: DistantBroker) -> None:
        self._home = home
        super().__init__(loop)
        self.epochs = home.epochs
        self.peers = home.peers
        self.peers.append(self)

    # What is kept is kept once.
    _records = _shared("_records")
    _evicted = _shared("_evicted")
    _epoch = _shared("_epoch")
    _last = _shared("_last")
    offset = _shared("offset")


class Application:
    """What all processes have in common: the data, and how fast and reliably it is rendered.

    Every change of a fragment gives it a greater number, which is its HTML.
    """

    def __init__(self, specs: Mapping[Name, FragmentSpec], loop: VirtualLoop) -> None:
        self.specs = specs
        self.data = dict.fromkeys(specs, 1)
        self.is_slow = False
        self.is_failing = False
        self.is_inner_first = False  #: whether what is inside is rendered before a renderer waits
        self.renders: list[asyncio.Future[str]] = []
        self.given = 0  #: messages to every process, by number
        self.loop = loop


class Process(house.Process):
    """One process: its way to the broker, its hub, and the renderers of the application."""

    def __init__(self, app: Application, broker: NearBroker) -> None:
        self.app = app
        self.broker = broker
        self.specs = app.specs
        self.excused = 0  #: so many of them may have been lost, and this was said
        self.told: list[int] = []  #: those that came
        super().__init__(broker, CONFIG, KEEPS | AUDIENCES)
        self._running: set[Name] = set()

    def spec(self, topic: str, fragment: str) -> FragmentSpec | None:
        return self.specs.get(Name(topic, fragment))

    def take(self, name: str, text: str) -> None:
        assert name == "number"
        assert self.told[-1:] < [int(text)], f"message {text} came after {self.told[-1]}"
        self.told.append(int(text))

    def lose(self) -> None:
        self.excused = self.app.given

    async def render(self, topic: str, fragment: str, root: str = "") -> Rendered:
        name = Name(topic, fragment)
        with self.alone(name):
            return await self._render(name)

    @contextmanager
    def alone(self, name: Name) -> Iterator[None]:
        """Note that a render runs beside which there must be no other one of the same thing."""
        if name in self._running:
            # Raised here, it would count as an error of the renderer, which the hub tries again.
            message = f"{name.key} is rendered twice at once"
            self.app.loop.call_exception_handler({"message": message})
        self._running.add(name)
        try:
            yield
        finally:
            self._running.discard(name)

    async def _render(self, name: Name) -> Rendered:
        app = self.app
        value = app.data[name]
        if app.is_failing:
            raise RuntimeError("the database is away")
        inner: dict[Name, Rendered] = {}
        if app.is_inner_first:
            await self._render_inside(name, value, inner)
        if app.is_slow:
            outcome: asyncio.Future[str] = app.loop.create_future()
            app.renders.append(outcome)
            try:
                match await outcome:
                    case "fail":
                        raise RuntimeError("the database went away")
                    case "late":  # it read its data at the end
                        value = app.data[name]
            finally:
                app.renders.remove(outcome)
        await self._render_inside(name, value, inner)
        inner = {other: inner[other] for other in inside(self.specs, name, value)}
        # As if one renderer changed what the macros gave it.
        return compose(value, inner, is_noted=name != CLOCK_FACE)

    async def _render_inside(self, name: Name, value: int, inner: dict[Name, Rendered]) -> None:
        for other in inside(self.specs, name, value):
            if other not in inner:
                inner[other] = await self.hub.render_now(other.topic, self.specs[other])


def compose(value: int, inner: Mapping[Name, Rendered], *, is_noted: bool = False) -> Rendered:
    """Return a fragment's HTML with others inside; ``is_noted`` as the macros do it."""
    insides = [
        Inside(*name, rendered, f'<div data-sse="{name.key}">', "</div>")
        for name, rendered in inner.items()
    ]
    html = f"{value}{''.join(inside.element for inside in insides)}"
    nested = frozenset(inner).union(*(rendered.nested for rendered in inner.values()))
    return Rendered(html, nested, tuple(insides) if is_noted else ())


# -- browsers --------------------------------------------------------------------------------------


class Block(NamedTuple):
    """One block of an event stream."""

    name: str
    data: str | None
    id: str | None


class EventSource:
    """Reads a stream's bytes as the standard says; a block that was cut is never seen.

    See https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
    """

    def __init__(self) -> None:
        self._rest = b""

    def read(self, data: bytes) -> Iterator[Block]:
        *blocks, self._rest = (self._rest + data).split(b"\n\n")
        for block in blocks:
            fields: dict[str, str | None] = {"event": None, "data": None, "id": None}
            for line in block.decode().split("\n"):
                name, _, value = line.partition(":")
                value = value.removeprefix(" ")
                known = fields.get(name)
                fields[name] = f"{known}\n{value}" if name == "data" and known else value
            yield Block(fields["event"] or "message", fields["data"], fields["id"])


_PARTIAL = re.compile(r'<hx-partial hx-target="([^"]*)" hx-swap="(\w+)">(.*?)</hx-partial>', re.S)
_KEY = re.compile(r"\[data-sse='([^']*)'\]")
_TOKEN = re.compile(r'(\d+)|<div data-sse="([^"]*)">|</div>')


class Moment(NamedTuple):
    """An id in the order of all epochs."""

    epoch: int
    id: Id


@dataclass
class Stream:
    """One request of a browser for a stream."""

    starts: dict[str, Start]
    process: Process
    wire: bytearray = field(default_factory=bytearray)  #: sent and not read yet
    source: EventSource = field(default_factory=EventSource)
    flowing: asyncio.Event = field(default_factory=asyncio.Event)
    is_over: bool = False
    task: "asyncio.Task[None] | None" = None
    loud_next: int | None = None  #: number of the next event without history; None before it joins
    begun: int = 0  #: how often the hub had caught up by then


class Browser:
    """One page in one browser: what it shows, what it was told, and what it should be told."""

    def __init__(
        self, world: "World", shown: dict[str, frozenset[str]], who: str | None = None
    ) -> None:
        self.world = world
        self.shown = shown  #: topic -> fragments
        self.who = who  #: its user; without one it belongs to no audience
        self.audiences = () if who is None else (EVERYONE, user_topic(who))
        self.state = "loading"  #: then "loaded", or "failed"
        self.is_stalled = False
        self.stream: Stream | None = None
        self.since = ""
        self.last_id = ""
        #: Where an element stands -> its number: a fragment's name, after the one around it.
        self.screen: dict[tuple[str, ...], int] = {}
        self.next: dict[str, int] = {}  #: topic -> number of the event that must come next
        self.loud_last = -1
        self._told: Position | None = None  #: newest position that it was told

    @property
    def has_bytes(self) -> bool:
        return self.stream is not None and bool(self.stream.wire)

    @property
    def heard(self) -> dict[str, frozenset[str]]:
        """Topics and audiences of which it is sent events -> the fragments that it shows."""
        return self.shown | dict.fromkeys(self.audiences, frozenset[str]())

    # -- what the user and the network do

    async def load(self, process: Process) -> None:
        """Ask a process for the page; what it shows first is rendered there."""
        since = process.broker.known
        self.since = str(since)
        self._start_at(since)
        try:
            for topic, names in list(self.shown.items()):
                for name in sorted(names):
                    await self._paint(process, Name(topic, name))
        except RuntimeError:
            self.state = "failed"
        else:
            self.state = "loaded"

    async def _paint(self, process: Process, name: Name) -> None:
        spec = self.world.app.specs[name]
        if spec.personal:
            self.screen[(name.key,)] = self.world.app.data[name]
            return
        rendered = await process.hub.render_now(name.topic, spec)
        self._swap((name.key,), rendered.html)
        for topic, fragment in rendered.nested:  # as the macros do
            self.shown[topic] = self.shown.get(topic, frozenset()) | {fragment}

    def _start_at(self, position: Position) -> None:
        self.next = {topic: self.world.first_after(topic, position) for topic in self.heard}
        self._told = position._replace(fragments=ZERO)

    def connect(self, keeps: str, process: Process) -> None:
        """Open the stream, knowing the last id, the page's start alone, or nothing of use."""
        if keeps == "since":
            self.last_id = ""
        elif keeps == "nonsense":
            self.last_id = "nonsense"
        text = self.last_id or self.since
        position = Position.parse(text)
        if text == self.since and position is not None:
            self._start_at(position)
        elif position is None:
            self._told = None
        starts = {
            topic: Start(position, names, ALL_KEEPS[topic]) for topic, names in self.heard.items()
        }
        self.stream = Stream(starts, process, begun=len(process.broker.catch_ups))
        if not self.is_stalled:
            self.stream.flowing.set()
        self.stream.task = self.world.spawn(self._serve(self.stream))

    async def _serve(self, stream: Stream) -> None:
        """Do what the server does: join, send what there is to send, leave."""
        world, hub = self.world, stream.process.hub
        connection = stream.process.connect(self.shown)
        connection.identity, connection.audiences = self.who, self.audiences
        hub.connections.enter(connection, is_multiplexed=False)
        try:
            try:
                await hub.join(connection, stream.starts)
            except BrokerUnavailable:
                connection.end(Ending.BROKER_AWAY)
            stream.loud_next = len(world.log[LOUD])
            async for data in connection:
                stream.wire += data
                await stream.flowing.wait()
        finally:
            connection.end()
            hub.connections.leave(connection)
            hub.leave(connection)
            stream.is_over = True

    def stall(self, is_stalled: bool) -> None:
        """Stop taking what the server sends, or go on."""
        self.is_stalled = is_stalled
        if self.stream is not None:
            (self.stream.flowing.clear if is_stalled else self.stream.flowing.set)()

    def read(self, size: int | None = None) -> None:
        """Take some of the bytes that came, or all of them."""
        stream = self.stream
        if stream is None:
            return
        data = bytes(stream.wire[:size])
        del stream.wire[:size]
        for block in stream.source.read(data):
            self._take(stream, block)
        if stream.is_over and not stream.wire:
            self.stream = None

    def cut(self) -> "Stream | None":
        """Lose the connection, with all that is on the wire; returns the server's end of it."""
        stream, self.stream = self.stream, None
        return stream

    # -- what it makes of a message

    def _take(self, stream: Stream, block: Block) -> None:
        position = None if block.id is None else Position.parse(block.id)
        assert block.id is None or position is not None, f"the id {block.id!r} is no position"
        if block.data is not None:
            if block.name == "message":
                self._swap_partials(block.data)
            elif block.name == "sse-reset":
                self._reset(stream, position, json.loads(block.data))
            elif not block.name.startswith("sse-"):
                self._event(stream, block.name, int(block.data))
        if position is not None:
            self.last_id = str(block.id)
            self._check_position(position, block)

    def _swap_partials(self, data: str) -> None:
        partials = _PARTIAL.findall(data)
        assert partials, f"no fragment in {data!r}"
        for target, swap, content in partials:
            target = html.unescape(target)
            (key,) = _KEY.findall(target)
            if swap == "beforeend":  # it fetches the new content for itself
                content = str(self.world.app.data[self.world.names[key]])
            for place in [place for place in self.screen if place[-1] == key]:
                if place in self.screen:  # else it was inside another one of these
                    self._swap(place, content)

    def _swap(self, place: tuple[str, ...], content: str) -> None:
        for other in [other for other in self.screen if other[: len(place)] == place]:
            del self.screen[other]
        for number, key in _TOKEN.findall(content):
            if number:
                self.screen[place] = int(number)
            else:
                place = (*place, key) if key else place[:-1]

    def _event(self, stream: Stream, wire_name: str, number: int) -> None:
        topic = next(topic for topic in self.heard if event_key(topic, "said") == wire_name)
        if ALL_KEEPS[topic].events:
            expected = self.next[topic]
            assert number == expected, f"{topic}: event {number} came instead of {expected}"
            self.next[topic] += 1
            return
        assert number > self.loud_last, f"{topic}: event {number} came after {self.loud_last}"
        self._check_loud(stream, number)
        self.loud_last = number
        stream.loud_next = number + 1

    def _check_loud(self, stream: Stream, number: int) -> None:
        assert stream.loud_next is not None
        lost = set(range(stream.loud_next, number)) - stream.process.broker.loud_lost
        assert not lost, f"{LOUD} {lost} never came"

    def _reset(self, stream: Stream, position: Position | None, topics: list[str]) -> None:
        """Start afresh: events from now on come after the snapshot."""
        world = self.world
        assert position is not None
        assert position.fragments == ZERO
        gaps = [(stream.starts, position), *stream.process.broker.catch_ups[stream.begun :]]
        topics += self.audiences  # of which the message says nothing
        needed = [topic for topic in topics for gap in gaps if world.may_lack(topic, *gap)]
        assert needed, f"{topics} were reset needlessly"
        for topic in topics:
            self.next[topic] = world.first_after(topic, position)
        # What was pending went with it, also what no history keeps.
        stream.loud_next = max(stream.loud_next or 0, world.first_after(LOUD, position))
        if self._told is not None:
            self._told = self._told._replace(fragments=ZERO)

    def _check_position(self, position: Position, block: Block) -> None:
        world, told = self.world, self._told
        events = world.moment(position.epoch, position.events)
        fragments = world.moment(position.epoch, position.fragments)
        if told is not None:
            back = f"the position went back from {told} to {position}"
            assert events >= world.moment(told.epoch, told.events), back
            assert fragments >= world.moment(told.epoch, told.fragments), back
        self._told = position
        for topic in self.heard:
            if ALL_KEEPS[topic].events:
                due = world.first_after(topic, position)
                assert self.next[topic] >= due, f"{block} says that {topic} {due - 1} was sent"
        if position.fragments == ZERO:
            return
        for place, shown in self.screen.items():
            changed, number = world.changes.get(world.names[place[-1]], (None, 0))
            if changed is not None and changed <= fragments:
                assert shown >= number, f"{block} says {place} is {number}, but it shows {shown}"

    def check_all(self) -> None:
        """Check what must be true after things have quietened."""
        world = self.world
        assert self.stream is not None, "it was sent away for no reason"
        assert self._told is not None
        assert self._told.fragments == self._told.events, f"{self._told} never becomes current"
        for topic in self.heard:
            count = len(world.log[topic])
            if ALL_KEEPS[topic].events:
                assert self.next[topic] == count, f"{topic} {self.next[topic]} never came"
            else:
                self._check_loud(self.stream, count)
        data = {place: world.app.data[world.names[place[-1]]] for place in self.screen}
        assert self.screen == data


# -- the world of one schedule ---------------------------------------------------------------------


class World:
    """The broker, the processes, and everybody who has to do with them."""

    application: type[Application] = Application
    process: type[Process] = Process

    def __init__(
        self, specs: Mapping[Name, FragmentSpec], broker: type[NearBroker], is_pair: bool = False
    ) -> None:
        self.loop = VirtualLoop()
        self.loop.set_exception_handler(lambda _, context: self.errors.append(context))
        self.errors: list[dict[str, Any]] = []
        self.broker = broker(self.loop)
        self.app = self.application(specs, self.loop)
        self.processes = [self.process(self.app, self.broker)]
        if is_pair:
            self.processes.append(self.process(self.app, self.broker.peer()))
        self.names = {name.key: name for name in specs}
        self.browsers: list[Browser] = []
        self.log: dict[str, list[Moment]] = {topic: [] for topic in ALL_KEEPS}
        #: fragment -> when its last change was announced, and its number
        self.changes: dict[Name, tuple[Moment, int]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        for process in self.processes:
            self.run(process.broker.start(process.hub))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do what needs no time."""
        task = self.loop.create_task(work)
        self.settle()
        assert task.done()
        return task.result()

    def do(self, function: Callable[[], None]) -> None:
        """Call something that needs a running loop, and all that follows from it."""

        async def call() -> None:
            function()

        self.run(call())

    def spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = self.loop.create_task(work)
        self._tasks.add(task)
        return task

    def settle(self) -> None:
        self.loop.settle()
        for task in [task for task in self._tasks if task.done()]:
            self._tasks.remove(task)
            if not task.cancelled():
                task.result()
        assert not self.errors, self.errors

    def moment(self, epoch: str, id: Id) -> Moment:
        return Moment(self.broker.epochs.index(epoch), id)

    def first_after(self, topic: str, position: Position) -> int:
        """Return the number of the first event of a topic after a position."""
        moment, moments = self.moment(position.epoch, position.events), self.log[topic]
        count = len(moments)
        while count and moments[count - 1] > moment:
            count -= 1
        return count

    def may_lack(self, topic: str, starts: Mapping[str, Start], snapshot: Position | None) -> bool:
        """Whether events of a topic may have been lost between a start and a snapshot."""
        if snapshot is None or topic not in starts:
            return False
        start, keep = starts[topic].position, ALL_KEEPS[topic]
        if not keep.events:
            return False
        if start is None or start.epoch != snapshot.epoch:
            return True
        if memory.STRETCH == 0:
            return True  # newer events may replace all of a history between two parts
        missed = {
            other: self.first_after(other, snapshot) - self.first_after(other, start)
            for other in starts
            if ALL_KEEPS[other].events
        }
        return (
            missed[topic] > keep.events
            or sum(missed.values()) > CONFIG.replay_events
            or start.events.ms < snapshot.events.ms - keep.ttl * 1000
        )

    def say(self, topic: str, count: int) -> None:
        """Publish events; the data of each is its number."""
        for _ in range(count):
            message = Message(Kind.EVENT, ZERO, topic, "said", str(len(self.log[topic])))
            self.log[topic].append(self._publish(message))

    def tell(self) -> None:
        """Tell every process something; the data of each message is its number."""
        message = Message(Kind.CONTROL, ZERO, "", "number", str(self.app.given))
        self.app.given += 1
        self.log[""].append(self._publish(message))

    def announce(self, name: Name, kind: Kind, age: int = 0) -> None:
        """Tell that a fragment has changed, with or without its HTML.

        What is inside pushed HTML was rendered some changes ago.
        """
        number = self.app.data[name]
        text = self._compose(name, number, age) if kind is Kind.PUSH else None
        message = Message(kind, ZERO, name.topic, name.fragment, text)
        self.changes[name] = self._publish(message), number

    def _compose(self, name: Name, value: int, age: int) -> str:
        inner = {
            other: Rendered(self._compose(other, max(1, self.app.data[other] - age), age))
            for other in inside(self.app.specs, name, value)
        }
        return compose(value, inner).html

    def _publish(self, message: Message) -> Moment:
        id = self.run(self.broker.publish(message, ALL_KEEPS[message.topic]))
        return self.moment(self.broker.epochs[-1], id)

    def advance(self, seconds: float) -> None:
        """Let time pass, and the sweeper do its regular work."""
        while seconds > 0:
            step = min(seconds, 5.0)
            seconds -= step
            self.loop.advance(step)
            self.settle()
            for process in self.processes:
                with suppress(BrokerUnavailable):  # the sweeper tries again, too
                    self.run(process.hub.forget(self.loop.now))
            if step == 5.0:
                self.run(self.broker.probe())

    def leave(self, stream: Stream | None) -> None:
        """Let the server notice that a client has gone."""
        if stream is not None and stream.task is not None:
            stream.task.cancel()
            self.settle()

    def quieten(self) -> None:
        """Let everything that was begun or is owed come to its end."""
        self.app.is_slow = self.app.is_failing = False
        for name, number in self.app.data.items():
            if name not in self.changes or self.changes[name][1] < number:
                self.announce(name, Kind.REFRESH)
        for browser in self.browsers:
            browser.stall(False)
        passed = 0.0
        while passed < LONGEST_RETRY:
            for process in self.processes:
                process.broker.rest()
            for render in self.app.renders:
                render.set_result("early")
            self.settle()
            for browser in self.browsers:
                browser.read()
                if browser.state == "loaded" and browser.stream is None:
                    browser.connect("last", self.processes[0])
            self.advance(5.0)
            passed += 5.0
        self.beat()
        for browser in self.browsers:
            browser.read()

    def beat(self) -> None:
        """Let every process send its heartbeat."""
        for process in self.processes:
            self.do(partial(process.hub.heartbeat, process.config.heartbeat))

    def check_all(self) -> None:
        for process in self.processes:
            lost = set(range(process.excused, self.app.given)).difference(process.told)
            assert not lost, f"control messages {lost} never came"
        for browser in self.browsers:
            assert browser.state != "loading", "a page was never rendered"
            if browser.state == "loaded":
                browser.check_all()

    def close(self) -> None:
        """Let everybody go, and see that nothing is left of them."""
        for browser in self.browsers:
            self.leave(browser.cut())
        self.browsers.clear()
        self.advance(CONFIG.linger + 5.0)
        for process in self.processes:
            hub = process.hub
            groups = hub._groups
            left = (
                *(hub.subscribers, groups._shared, groups._of, groups._joining),
                *(hub._audiences, hub.connections),
            )
            assert not any(left), left
            assert not hub._roots.names()
            self.run(process.broker.stop())
        assert not asyncio.all_tasks(self.loop)

    def destroy(self) -> None:
        """Free what this world holds, whatever state it is in."""
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.settle()
        for process in self.processes:
            self.loop.create_task(process.broker.free())
        self.loop.settle()
        self.loop.close()


WHICH = st.integers(0, 3)
WHERE = st.integers(0, 1)


def pick(things: Sequence[T], which: int) -> T:
    """Return one of the things, of which there is at least one."""
    return things[which % len(things)]


Step = TypeVar("Step", bound=Callable[..., None])


def rule_if(
    possible: Callable[[Any], Any], **arguments: st.SearchStrategy[Any]
) -> Callable[[Step], Step]:
    """Declare a rule for the states in which it can happen.

    A machine that is not repeatable offers it always, and then it may do nothing: what can be
    drawn must not depend on what another program did.
    """

    def declare(function: Step) -> Step:
        @wraps(function)
        def guarded(self: "Model", *given: Any, **drawn: Any) -> None:
            if possible(self):
                function(self, *given, **drawn)

        offer = precondition(lambda self: bool(possible(self)) or not self.is_repeatable)
        return cast("Step", offer(cast("Any", rule)(**arguments)(guarded)))

    return declare


class Model(RuleBasedStateMachine):
    """Everything that can happen to processes.

    A rule that needs a browser takes one to which it can happen, so that no step is idle.
    """

    specs: Mapping[Name, FragmentSpec] = FLAT
    broker: type[NearBroker] = NearBroker
    is_pair = False
    is_repeatable = True
    are_users = False  #: whether browsers have users, who are sent events of their own
    make_world: type[World] = World
    make_browser: type[Browser] = Browser

    def __init__(self) -> None:
        super().__init__()
        self.world = self.make_world(self.specs, self.broker, self.is_pair)
        self.gone: list[Stream] = []  #: streams whose clients went away unnoticed

    def teardown(self) -> None:
        """Let things quieten and check everything, unless a step has failed already."""
        try:
            if sys.exc_info()[0] is None:
                self.world.quieten()
                self.world.check_all()
                self._notice()
                self.world.close()
        finally:
            self.world.destroy()

    @property
    def names(self) -> list[Name]:
        return sorted(self.specs)

    @property
    def connected(self) -> list[Browser]:
        return [browser for browser in self.world.browsers if browser.stream]

    @property
    def cut_off(self) -> list[Browser]:
        return [
            browser
            for browser in self.world.browsers
            if browser.state == "loaded" and browser.stream is None
        ]

    # -- browsers

    @initialize()
    def begin(self) -> None:
        """A browser shows everything, before anything happens."""
        self._open(set(KEEPS), set(self.names), 0)
        self.connect(0, "last", 0)

    @rule_if(
        lambda self: len(self.world.browsers) < 4,
        topics=st.sets(st.sampled_from(list(KEEPS))),
        which=st.sets(st.integers(0, 4)),
        where=WHERE,
    )
    def open_page(self, topics: set[str], which: set[int], where: int) -> None:
        """A browser opens a page: of some fragments and topics, or of everything."""
        if not topics and not which:
            self._open(set(KEEPS), set(self.names), where)
        else:
            self._open(topics, {pick(self.names, number) for number in which}, where)

    def _open(self, topics: set[str], names: set[Name], where: int) -> None:
        shown = {
            topic: frozenset(name.fragment for name in names if name.topic == topic)
            for topic in sorted(topics | {name.topic for name in names})
        }
        who = USERS[len(self.world.browsers) % 2] if self.are_users else None
        browser = self.make_browser(self.world, shown, who)
        self.world.browsers.append(browser)
        self.world.spawn(browser.load(pick(self.world.processes, where)))
        self.world.settle()

    @rule_if(
        lambda self: self.cut_off,
        which=WHICH,
        keeps=st.sampled_from(["last", "last", "last", "since", "nonsense"]),
        where=WHERE,
    )
    def connect(self, which: int, keeps: str, where: int) -> None:
        """A browser connects, usually knowing where it stood."""
        pick(self.cut_off, which).connect(keeps, pick(self.world.processes, where))
        self.world.settle()

    @rule_if(
        lambda self: any(browser.has_bytes for browser in self.world.browsers),
        which=WHICH,
        size=st.none() | st.integers(1, 400),
    )
    def read(self, which: int, size: int | None) -> None:
        """A browser takes some of the bytes that came for it."""
        pick([browser for browser in self.world.browsers if browser.has_bytes], which).read(size)

    @rule_if(lambda self: self.connected, which=WHICH, size=st.none() | st.integers(0, 400))
    def cut(self, which: int, size: int | None) -> None:
        """A connection breaks after some bytes, and the server notices when time passes."""
        browser = pick(self.connected, which)
        browser.read(size)
        self._lose(browser)

    def _lose(self, browser: Browser) -> None:
        stream = browser.cut()
        if stream is not None:
            self.gone.append(stream)

    def _notice(self) -> None:
        for stream in self.gone:
            self.world.leave(stream)
        self.gone.clear()

    @rule_if(lambda self: self.connected, which=WHICH)
    def stall(self, which: int) -> None:
        """A connection stands still, or flows again."""
        browser = pick(self.connected, which)
        browser.stall(not browser.is_stalled)
        self.world.settle()

    @rule_if(lambda self: len(self.world.browsers) > 1, which=WHICH)
    def close_page(self, which: int) -> None:
        """A browser closes a page, if it was ever seen."""
        browser = pick(self.world.browsers, which)
        if browser.state != "loading":
            self.world.browsers.remove(browser)
            self._lose(browser)

    # -- publishers

    @rule(topic=st.sampled_from(list(KEEPS)), count=st.sampled_from([1, 1, 2, 3, 7, 21]))
    def say(self, topic: str, count: int) -> None:
        """The application publishes events."""
        self.world.say(topic, count)

    @rule()
    def tell(self) -> None:
        """Every process receives a control message."""
        self.world.tell()

    @rule(
        data=st.data(),
        step=st.sampled_from([0, 1, 1, 1]),
        kind=st.sampled_from([None, Kind.REFRESH, Kind.REFRESH, Kind.REFRESH, Kind.PUSH]),
        age=st.integers(0, 2),
    )
    def change(self, data: st.DataObject, step: int, kind: Kind | None, age: int) -> None:
        """What a fragment shows changes; the message comes at once, or later, or without need."""
        name = data.draw(st.sampled_from(self.names))
        app = self.world.app
        app.data[name] += step
        if self.specs[name].personal:
            self.world.announce(name, Kind.REFRESH)  # cannot be pushed
        elif kind is not None:
            self.world.announce(name, kind, age)

    # -- the application and time

    @rule(how=st.sampled_from(["well", "slowly", "slowly", "badly"]), is_inner_first=st.booleans())
    def render(self, how: str, is_inner_first: bool) -> None:
        """Renders begin to take until the machine ends them, or to fail, or to work.

        What is inside a fragment is rendered before that takes its time, or after.
        """
        self.world.app.is_slow = how == "slowly"
        self.world.app.is_failing = how == "badly"
        self.world.app.is_inner_first = is_inner_first

    @rule_if(
        lambda self: self.world.app.renders,
        which=WHICH,
        outcome=st.sampled_from(["early", "early", "late", "fail"]),
    )
    def finish_render(self, which: int, outcome: str) -> None:
        """A render ends, with the data as it began or as it is, or fails."""
        pick(self.world.app.renders, which).set_result(outcome)
        self.world.settle()

    @rule(seconds=st.sampled_from([0.0, 0.05, 0.1, 0.1, 1.0, 2.0, 4.0, 6.0, 15.0, 45.0, 90.0]))
    def advance(self, seconds: float) -> None:
        """Time passes."""
        self._notice()
        self.world.advance(seconds)

    @rule(
        what=st.sampled_from(["heartbeat", "probe", "set clock", "evict", "rest"]), data=st.data()
    )
    def tick(self, what: str, data: st.DataObject) -> None:
        """The regular work is done, the clock is set, a record goes, or everything rests."""
        match what:
            case "heartbeat":
                self.world.beat()
            case "probe":
                self.world.run(self.world.broker.probe())
            case "set clock":
                seconds = st.sampled_from([-3600.0, -40.0, -2.0, -0.01, 2.0])
                self.world.broker.offset += data.draw(seconds)
            case "evict":
                self.world.broker.evict(data.draw(st.sampled_from(list(KEEPS))))
            case "rest":
                self.world.quieten()
                self.world.check_all()


class NestedModel(Model):
    """The same with fragments inside fragments."""

    specs = NESTED


class PairRules(Model):
    """What can happen beside that if there are two processes."""

    is_pair = True

    @initialize()
    def begin_elsewhere(self) -> None:
        """A browser shows everything by the other process, too."""
        self._open(set(KEEPS), set(self.names), 1)
        self.connect(0, "last", 1)

    @rule_if(lambda self: self.connected, which=WHICH, size=st.none() | st.integers(0, 400))
    def move(self, which: int, size: int | None) -> None:
        """A connection breaks after some bytes, and its browser comes back to the other process."""
        browser = pick(self.connected, which)
        stream = browser.stream
        assert stream is not None
        browser.read(size)
        if browser.state == "loaded":
            where = 1 - self.world.processes.index(stream.process)
            self._lose(browser)
            browser.connect("last", self.world.processes[where])
            self.world.settle()


class DistantModel(Model):
    """Everything that can happen with a broker that is reached over a network."""

    broker = DistantBroker

    def distant(self, where: int) -> DistantBroker:
        """Return the way of one of the processes to the broker."""
        broker = pick(self.world.processes, where).broker
        assert isinstance(broker, DistantBroker)
        return broker

    @property
    def all_distant(self) -> list[DistantBroker]:
        return [self.distant(where) for where in range(len(self.world.processes))]

    @rule(
        how=st.sampled_from(["well", "late", "late", "mute", "mute", "late and mute"]), where=WHERE
    )
    def deliver(self, how: str, where: int) -> None:
        """Messages to a process, or answers, begin to need time, or come at once again."""
        self.distant(where).is_lagging = "late" in how
        self.distant(where).is_mute = "mute" in how
        self._move()

    @rule_if(
        lambda self: any(each.is_lagging and each.under_way for each in self.all_distant),
        which=WHICH,
        count=st.integers(1, 3),
    )
    def arrive(self, which: int, count: int) -> None:
        """Some messages arrive."""
        late = [each for each in self.all_distant if each.is_lagging and each.under_way]
        distant = pick(late, which)
        distant.may_arrive = min(count, distant.under_way)
        self._move()

    @rule_if(
        lambda self: any(each.unanswered for each in self.all_distant),
        which=WHICH,
        is_good=st.sampled_from([True, True, True, False]),
    )
    def answer(self, which: int, is_good: bool) -> None:
        """The broker answers one call, or the call fails."""
        unanswered = [answer for each in self.all_distant for answer in each.unanswered]
        pick(unanswered, which).set_result(is_good)
        self.world.settle()

    @rule(
        is_broken=st.booleans(),
        is_data_lost=st.sampled_from([False, False, False, True]),
        where=WHERE,
    )
    def break_subscription(self, is_broken: bool, is_data_lost: bool, where: int) -> None:
        """A subscription breaks, or can be made again; the data may have gone meanwhile."""
        if is_data_lost:
            self.distant(0).lose_data()
        if is_broken:
            self.distant(where).break_off()
        else:
            self.distant(where).is_broken = False
        self._move()

    def _move(self) -> None:
        for each in self.all_distant:
            each.move()
        self.world.settle()


class PairModel(PairRules, DistantModel):
    """Two processes, which hear of what was published at different times."""


class NestedPairModel(PairModel):
    """The same with fragments inside fragments."""

    specs = NESTED


class UserRules(Model):
    """What can happen beside that to users, and to everyone."""

    specs = FEW
    are_users = True

    @rule(audience=st.sampled_from(list(AUDIENCES)), count=st.sampled_from([1, 1, 2, 3, 7, 21]))
    def address(self, audience: str, count: int) -> None:
        """The application publishes events for a user, or for everyone."""
        self.world.say(audience, count)


class UserModel(UserRules, DistantModel):
    """Events for users and everyone, over a network."""


class UserPairModel(UserRules, PairModel):
    """The same with two processes."""


class LaggingModel(PairModel):
    """Nothing else than slow renders, and one process that hears later than the other.

    With fewer things that can happen, what needs many of them in one order happens more often.
    """

    specs = FEW
    tell = say = render = deliver = tick = cut = stall = None  # type: ignore[assignment]
    close_page = break_subscription = answer = None  # type: ignore[assignment]

    @initialize(is_inner_first=st.booleans())
    def begin_slowly(self, is_inner_first: bool) -> None:
        """Renders are slow, and the second process lags."""
        self.world.app.is_slow = True
        self.world.app.is_inner_first = is_inner_first
        self.distant(1).is_lagging = True

    @rule()
    def evict(self) -> None:
        """The record of changes gets lost."""
        self.world.broker.evict(DEEP)


class PartsModel(DistantModel):
    """Nothing else than a browser that comes and goes, and events, while each answer needs time."""

    tell = stall = open_page = close_page = read = change = None  # type: ignore[assignment]
    render = finish_render = advance = tick = None  # type: ignore[assignment]
    deliver = arrive = break_subscription = None  # type: ignore[assignment]

    @initialize()
    def begin_mute(self) -> None:
        """The broker answers when the machine lets it."""
        self.distant(0).is_mute = True

    @rule(topic=st.sampled_from([DEEP, DEEP, SHALLOW]), count=st.integers(1, 3))
    def say(self, topic: str, count: int) -> None:
        """The application publishes events, most often of what is asked for last."""
        self.world.say(topic, count)


def run_machine(machine: type[Model], examples: int) -> None:
    """Try schedules: always the same few, or as many random ones as ``EXAMPLES`` says."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES or examples,
            stateful_step_count=60,
            deadline=None,
            derandomize=not EXAMPLES,
            phases=[Phase.generate, Phase.shrink] if machine.is_repeatable else [Phase.generate],
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
