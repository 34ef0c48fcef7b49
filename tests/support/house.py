"""A process without an app: its broker, its hub, what the hub asks, and its viewers.

``Process`` is what every harness of hubs has in common; ``House`` is the one for single tests, with
a broker, renderers and viewers that a test can hold up.
"""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from httpx_sse import ServerSentEvent
from httpx_sse._decoders import SSEDecoder

from quart_sse.broker import Budget, Keep, Kind, Message, Replay, Start
from quart_sse.broker.memory import MemoryBroker
from quart_sse.broker.replay import BUDGET
from quart_sse.config import Config
from quart_sse.error_log import ErrorLog
from quart_sse.hub.batch import Personal
from quart_sse.hub.connection import Connection
from quart_sse.hub.hub import Hub
from quart_sse.hub.limits import ChannelLimits
from quart_sse.hub.rendered import FragmentSpec, Rendered
from quart_sse.serving_loop import ServingLoop
from quart_sse.wire.naming import member_key
from quart_sse.wire.partial import encode_loader
from quart_sse.wire.position import ZERO, Id, Position, new_epoch
from tests.support.streams import until

TOPIC, OTHER, LOUD = "news?room=1", "news?room=2", "chat"
KEEPS = {TOPIC: Keep(10, 60.0), OTHER: Keep(2, 60.0), LOUD: Keep(0, 60.0)}
CONFIG = Config(debounce=0.0, linger=10.0, join_timeout=5.0, replay_events=20, pending_events=20)


class Process:
    """A hub, its way to the broker, and the answers to what a hub asks of the layers above.

    Args:
        broker: The hub's.
        config: The hub's.
        keeps: Of each topic, how its history is kept.
    """

    def __init__(self, broker: MemoryBroker, config: Config, keeps: Mapping[str, Keep]) -> None:
        self.config = config
        self.keeps = keeps
        self.errors = ErrorLog()
        self.hub = Hub(broker, config, self, self, self, self.errors, ServingLoop(2.0))

    def spec(self, topic: str, fragment: str) -> FragmentSpec | None:
        """Return how a fragment was declared; None if it was not."""
        raise NotImplementedError

    def keep(self, topic: str) -> Keep:
        """Return how a topic's history is kept."""
        return self.keeps[topic]

    def limits(self, topic: str) -> ChannelLimits:
        """Return the limits of a topic's channel: none."""
        return ChannelLimits(topic.partition("?")[0])

    def take(self, name: str, text: str) -> None:
        """Take a control message."""
        raise NotImplementedError

    def lose(self) -> None:
        """Note that control messages may be missing."""
        raise NotImplementedError

    async def render(self, topic: str, fragment: str, root: str = "") -> Rendered:
        """Render a fragment."""
        raise NotImplementedError

    async def render_item(self, topic: str, fragment: str, root: str, item: str) -> Rendered:
        """Render an item of a list."""
        raise NotImplementedError

    def connect(self, shown: Mapping[str, frozenset[str]], *, bare: bool = False) -> Connection:
        """Return a connection of a page that shows fragments of some topics."""
        return Connection(shown, self.config, loader=load, bare=bare)


def load(personal: Personal) -> bytes:
    """Return the message by which a page fetches a personal fragment."""
    key = member_key(personal.topic, personal.fragment)
    return personal.id_line + encode_loader(key, "/fetch", personal.viewers)


class Pages(Process):
    """The application: it renders fragments from data, and notes that it did."""

    def __init__(self, broker: MemoryBroker, config: Config) -> None:
        super().__init__(broker, config, KEEPS)
        self.specs = {name: FragmentSpec(name) for name in ("list", "count", "outer")} | {
            "mine": FragmentSpec("mine", personal=True),
            "clock": FragmentSpec("clock", every=0.01),
        }
        self.data: dict[str, str] = {}  #: fragment -> its HTML; "-" if none is set
        self.nested: dict[str, str] = {}  #: fragment -> the one that it contains
        self.rendered: list[str] = []  #: fragments whose renders have begun
        self.gate = asyncio.Event()  #: renders wait while it is not set
        self.gate.set()
        self.error: Exception | None = None
        self.controls: list[tuple[str, str]] = []

    def spec(self, topic: str, fragment: str) -> FragmentSpec | None:
        return self.specs.get(fragment)

    def take(self, name: str, text: str) -> None:
        self.controls.append((name, text))

    def lose(self) -> None:
        self.controls.append(("lost", ""))

    async def render(self, topic: str, fragment: str, root: str = "") -> Rendered:
        self.rendered.append(fragment)
        html = self.data.get(fragment, "-")
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        inner = self.nested.get(fragment)
        if inner is None:
            return Rendered(html)
        rendered = await self.hub.render_now(topic, self.specs[inner])
        div = f'<div data-sse="{member_key(topic, inner)}">{rendered.html}</div>'
        return Rendered(html + div, frozenset({(topic, inner)}))


class Broker(MemoryBroker):
    """The memory broker, whose answer, messages or data can be held up or lost."""

    def __init__(self) -> None:
        self.now = 1_795_302_000.0
        super().__init__(lambda: self.now)
        self.answers = asyncio.Event()  #: calls of resume that began with it wait for it
        self.answers.set()
        self.asked = 0
        self.is_deaf = False
        self.late: list[Message] | None = None  #: what has not arrived; None if all arrives at once
        self._hub: Hub

    def attach(self, hub: Hub) -> None:
        self._hub = hub
        self._receiver = self

    def receive(self, message: Message) -> None:
        if self.late is not None:
            self.late.append(message)
        elif not self.is_deaf:
            self._hub.receive(message)

    async def catch_up(self) -> None: ...

    def arrive(self) -> None:
        """Let everything arrive that is late."""
        late, self.late = self.late or [], None
        for message in late:
            self._hub.receive(message)

    async def resume(self, starts: Mapping[str, Start], budget: Budget = BUDGET) -> Replay:
        replay = await super().resume(starts, budget)
        self.asked += 1
        answers = self.answers
        await answers.wait()
        return replay

    def lose_data(self) -> None:
        """Begin another order of ids, and know of nothing before."""
        self._records.clear()
        self._epoch = new_epoch()


@dataclass
class Viewer:
    """One open stream: the server that drains it and the browser that reads it."""

    connection: Connection
    starts: dict[str, Start]
    writes: list[bytes] = field(default_factory=list)
    flows: asyncio.Event = field(default_factory=asyncio.Event)
    task: "asyncio.Task[None] | None" = None

    async def serve(self, hub: Hub) -> None:
        hub.connections.enter(self.connection, is_multiplexed=False)
        try:
            await hub.join(self.connection, self.starts)
            async for data in self.connection:
                self.writes.append(data)
                await self.flows.wait()
        finally:
            self.connection.end()
            hub.connections.leave(self.connection)
            hub.leave(self.connection)

    @property
    def events(self) -> list[ServerSentEvent]:
        """What a browser would have dispatched, but for ``sse-open``."""
        decoder, events = SSEDecoder(), []
        for line in b"".join(self.writes).decode().split("\n"):
            event = decoder.decode(line)
            # The decoder dispatches blocks without data, which browsers do not.
            if event is not None and event.data and event.event != "sse-open":
                events.append(event)
        return events

    @property
    def named(self) -> list[tuple[str, str]]:
        """Name and data of all that is no HTML."""
        return [(event.event, event.data) for event in self.events if event.event != "message"]

    @property
    def said(self) -> list[str]:
        """The data of all events of the application."""
        return [data for name, data in self.named if not name.startswith("sse-")]

    @property
    def shown(self) -> list[tuple[str, str]]:
        """Fragment's key and HTML of all partials, in the order of arrival."""
        found = r"<hx-partial hx-target=\"\[data-sse='(.*?)'\]\" .*?>(.*?)</hx-partial>"
        text = "".join(event.data for event in self.events if event.event == "message")
        return [(key, html) for key, html in re.findall(found, text)]

    @property
    def positions(self) -> list[Position]:
        """The position of each message, in the order of arrival."""
        lines = b"".join(self.writes).decode().split("\n")
        positions = [Position.parse(line[4:]) for line in lines if line.startswith("id: ")]
        assert None not in positions
        return [position for position in positions if position is not None]

    @property
    def position(self) -> Position:
        return self.positions[-1]

    async def sees(self, fragment: str, html: str) -> None:
        """Wait until it shows some HTML."""
        key = member_key(TOPIC, fragment)
        await until(lambda: dict(self.shown).get(key) == html)

    async def hears(self, *texts: str) -> None:
        """Wait for as many events, and check that they are these."""
        await until(lambda: len(self.said) >= len(texts))
        assert self.said == list(texts)


class House:
    """A process: its broker, hub and application, and the viewers of its pages."""

    def __init__(self, config: Config = CONFIG) -> None:
        self.broker = Broker()
        self.pages = Pages(self.broker, config)
        self.hub = self.pages.hub
        self.viewers: list[Viewer] = []

    async def open(self) -> None:
        await self.broker.start(self.hub)
        self.broker.attach(self.hub)
        self.broker.asked = 0

    async def close(self) -> None:
        for viewer in self.viewers:
            await self.leave(viewer)
        await self.hub.close()
        await self.broker.stop()

    def view(
        self,
        *fragments: str,
        since: Position | str | None = "now",
        topics: tuple[str, ...] = (TOPIC,),
        bare: bool = False,
        is_stalled: bool = False,
    ) -> Viewer:
        """Begin to look at fragments of the first topic, and listen to all of them.

        Args:
            fragments: What is shown.
            since: The page's position; "now" if it is of just now.
            topics: What is listened to.
            bare: Whether event names come without their topic.
            is_stalled: Whether nothing is read after the first write.
        """
        shown = {topic: frozenset[str]() for topic in topics} | {topics[0]: frozenset(fragments)}
        return self.look(shown, since=since, bare=bare, is_stalled=is_stalled)

    def look(
        self,
        shown: Mapping[str, frozenset[str]],
        *,
        since: Position | str | None = "now",
        bare: bool = False,
        is_stalled: bool = False,
    ) -> Viewer:
        """Begin to look at fragments of any topics; the arguments are those of ``view``."""
        position = self.broker.known if since == "now" else since
        assert not isinstance(position, str)
        starts = {topic: Start(position, names, KEEPS[topic]) for topic, names in shown.items()}
        viewer = Viewer(self.pages.connect(shown, bare=bare), starts)
        if not is_stalled:
            viewer.flows.set()
        self.viewers.append(viewer)
        viewer.task = asyncio.create_task(viewer.serve(self.hub))
        return viewer

    async def viewing(self, *fragments: str, topics: tuple[str, ...] = (TOPIC,)) -> Viewer:
        """Look at fragments; returns when the stream is live and shares bytes with others."""
        viewer = self.view(*fragments, topics=topics)
        await until(lambda: self.hub.position_of(viewer.connection) is not None)
        await self.quiet()
        return viewer

    async def leave(self, viewer: Viewer) -> None:
        assert viewer.task is not None
        viewer.task.cancel()
        await asyncio.gather(viewer.task, return_exceptions=True)

    async def say(self, *texts: str, topic: str = TOPIC) -> list[Id]:
        """Publish events."""
        messages = [Message(Kind.EVENT, ZERO, topic, "said", text) for text in texts]
        return [await self.broker.publish(message, KEEPS[topic]) for message in messages]

    async def change(self, fragment: str, html: str) -> Id:
        """Change a fragment's data and say so."""
        self.pages.data[fragment] = html
        return await self.refresh(fragment)

    async def refresh(self, fragment: str, topic: str = TOPIC) -> Id:
        """Say that a fragment has changed."""
        return await self.broker.publish(Message(Kind.REFRESH, ZERO, topic, fragment), KEEPS[topic])

    async def push(self, fragment: str, html: str) -> Id:
        """Publish a fragment's HTML."""
        self.pages.data[fragment] = html
        return await self.broker.publish(
            Message(Kind.PUSH, ZERO, TOPIC, fragment, html), KEEPS[TOPIC]
        )

    def heartbeat(self) -> None:
        """Send every connection its position."""
        self.hub.heartbeat(self.pages.config.heartbeat)

    async def catch_up(self) -> None:
        """Let the process hear again, after it has caught up."""
        self.broker.is_deaf = True
        await self.hub.catch_up()
        self.broker.is_deaf = False

    async def paint(self, fragment: str) -> str:
        """Render a fragment for a page."""
        return (await self.hub.render_now(TOPIC, self.pages.specs[fragment])).html

    async def quiet(self) -> None:
        """Let everything run that needs no time to pass, and batches that pause after the last."""
        for _ in range(50):
            await asyncio.sleep(0)
        # The pause is as long as the last batch took, which a busy machine makes long.
        await self.hub._batcher.idle.wait()
        for _ in range(50):
            await asyncio.sleep(0)
