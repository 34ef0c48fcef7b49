"""The hub of a process: receives the broker's messages and fans them out to connections."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from ..broker import CONTROL_HISTORY, Broker, Filter, Kind, Message, Replay, Start
from ..config import Config
from ..error_log import ErrorLog, OnceLog
from ..errors import BrokerUnavailable
from ..logs import LogLine
from ..serving_loop import Pauses, ServingLoop
from ..tracing import Tracing
from ..wire import Id, Position, declared_name, has_fragments, read_roots
from .audiences import Audiences
from .batcher import Batcher
from .changes import Changes
from .connection import Connection
from .connections import Connections
from .delivery import Delivery
from .durations import Durations, Renders
from .fragment import SharedFragment
from .fragments import Fragments, Renderer
from .group import Joining
from .groups import Groups
from .idle import IdleStreams
from .limits import Limits
from .lists import SharedList
from .outgoing import Outgoing
from .progress import Progress
from .receivers import Receivers
from .rendered import FragmentSpec, Rendered, next_number
from .replays import Replays, missed, unrecorded
from .resume import Declared, Resumer
from .roots import Roots
from .slots import Slots, waiting
from .subscribers import Subscribers, TopicSubscribers
from .traffic import Traffic

UNDECLARED = LogLine(
    "hub",
    "fragment-undeclared",
    logging.WARNING,
    "Topic %(topic)r got a change of fragment %(fragment)r, which this process does not declare, "
    "so its pages do not change. Another release of the app seems to run; restart this process if "
    "it is the older one. This is logged once.",
    topic=str,
    fragment=str,
)
CAUGHT_UP = LogLine(
    "hub",
    "caught-up",
    logging.DEBUG,
    "Caught up with the broker on %(topics)d topics.",
    topics=int,
)
STREAMS_RESET = LogLine(
    "hub",
    "streams-reset",
    logging.INFO,
    "Events of %(topics)d topics were lost while the broker was away, so %(streams)d streams are "
    "reset: their pages are sent every fragment.",
    topics=int,
    streams=int,
)


class ControlMessages(Protocol):
    """Takes control messages; see :class:`~quart_sse.broker.control.Control`."""

    def take(self, name: str, text: str) -> None:
        """Take a control message.

        Args:
            name: The message's name.
            text: The message's data, as JSON.
        """

    def lose(self) -> None:
        """Take note that control messages may be lost for this process."""


class Hub:
    """Fans messages out to the connections of one process and app.

    The hub knows no web framework: it can be tested without an app and without a socket.

    Args:
        broker: The app's broker, which calls :meth:`receive` and :meth:`catch_up`.
        config: The app's settings.
        declared: The declarations of the app's topics and fragments.
        renderer: Renders shared fragments.
        control: Takes control messages.
        errors: Log for exceptions of the app's functions.
        serving: The loop in which the hub works.
        tracing: Makes spans of renders and writes; None for none.

    Example:
        ``await hub.join(connection, starts)``, then ``async for data in connection``; at the end
        ``hub.leave(connection)``.
    """

    def __init__(
        self,
        broker: Broker,
        config: Config,
        declared: Declared,
        renderer: Renderer,
        control: ControlMessages,
        errors: ErrorLog,
        serving: ServingLoop,
        tracing: Tracing | None = None,
    ) -> None:
        self._broker = broker
        self._serving = serving
        self._config = config
        self._declared = declared
        self._control = control
        self._once = OnceLog()
        self._progress = Progress()
        self.subscribers: Subscribers = Subscribers()
        limits = Limits(config, self.subscribers, declared)
        self.traffic: Traffic = Traffic()
        self.received: int = 0  #: events, refreshes and pushes that are for connections of here
        self.connections: Connections = Connections(config, self.subscribers, limits, self.traffic)
        self._groups = Groups(self._progress, self.subscribers)
        self._audiences = Audiences()
        #: Ends the streams on which nothing is sent.
        self.idle: IdleStreams = IdleStreams(self.subscribers, self._audiences)
        self._batcher = Batcher(self._groups.share_bytes, errors, self.traffic, tracing)
        self._delivery = Delivery(self._progress, self.subscribers, self._batcher)
        self._receivers = Receivers(
            self._progress,
            self._groups,
            self.subscribers,
            self._audiences,
            self.connections,
            self._delivery,
            errors,
        )
        self.changes: Changes = Changes(
            broker,
            self._groups,
            self.subscribers,
            self._audiences,
            self.connections,
            self._delivery,
            config.join_timeout,
        )
        self._roots = Roots(
            config.debounce, renderer, self._delivery, errors, Slots(config.max_renders)
        )
        self._replays = Replays(broker, config.replay_events, config.replay_bytes)
        self._resumer = Resumer(
            self._progress, self._roots, declared, self._delivery, errors, self.traffic
        )

    @property
    def position(self) -> Position:
        """Position of a fully caught-up connection."""
        return self._progress.position

    # -- what is counted ---------------------------------------------------------------------------

    @property
    def renders(self) -> Renders:
        """The renders of shared fragments."""
        return self._roots.renders

    @property
    def fragments(self) -> list[SharedFragment]:
        """The shared fragments that this process knows, with the record of their renders."""
        return self._roots.all()

    @property
    def lag(self) -> Durations:
        """How long events took from being published until the server was given them."""
        return self._batcher.lag

    @property
    def resets(self) -> int:
        """Number of times that a stream was reset, because events are lost for it."""
        return self._resumer.resets

    @property
    def html_size(self) -> int:
        """Size of the HTML of shared fragments that is kept, in characters."""
        return self._roots.html_size

    # -- messages of the broker ------------------------------------------------------------------

    def receive(self, message: Message) -> None:
        """Take one message of the broker and fan it out to the topic's connections.

        A message that this process has seen, by its id, changes nothing.
        """
        progress = self._progress
        if message.id <= progress.seen:
            return  # catching up has brought it already
        before, progress.seen = progress.seen, message.id
        subscribers = self.subscribers.get(message.topic)
        if message.kind is Kind.CONTROL:
            self._control.take(message.name or "", message.data or "")
        elif message.kind is Kind.PROBE:
            self._groups.share_bytes()
        elif subscribers is None:
            if message.topic in self._audiences:
                self._deliver(message)
        elif message.kind is Kind.EVENT:
            self._deliver(message, subscribers)
        else:
            self.received += 1
            self._change(subscribers, message, before)

    def watch(self, listener: Callable[[Message], None] | None) -> None:
        """Show each message of the broker to a listener, before it is fanned out.

        The method that brokers call is replaced meanwhile, so that a delivery costs nothing more
        while there is no listener.

        Args:
            listener: Takes each message, in the serving loop, and raises nothing; None for none.
        """
        self.__dict__.pop("receive", None)
        if listener is None:
            return
        receive = self.receive

        def show(message: Message) -> None:
            listener(message)
            receive(message)

        self.receive = show  # type: ignore[method-assign]

    def _deliver(self, message: Message, topic: TopicSubscribers | None = None) -> None:
        self.received += 1
        self._receivers.deliver(message, topic)
        self._batcher.note_time(message.id.ms)

    def _change(self, subscribers: TopicSubscribers, message: Message, before: Id) -> None:
        name = message.name or ""
        spec = self._declared.spec(subscribers.topic, name)
        if spec is None:
            self._once.warn(
                declared_name(subscribers.topic, name),
                UNDECLARED,
                topic=subscribers.topic,
                fragment=name,
            )
        elif spec.personal:
            self._signal(subscribers, name, message.trace)
        else:
            for fragments in list(self._roots.values()):
                self._change_at(fragments, subscribers, spec, message, before)

    def _signal(self, subscribers: TopicSubscribers, name: str, trace: str = "") -> None:
        """Let the viewers of a personal fragment fetch it."""
        showing = subscribers.showing(name)
        viewers = sum(len(group.members) for group in showing)
        outgoing = Outgoing.signal(self.position, subscribers.topic, name, viewers)
        subscribers.sent_at = asyncio.get_running_loop().time()
        for group in showing:
            self._delivery.add(group, outgoing)
        if trace:
            self._batcher.note(trace, subscribers.topic)

    def _change_at(
        self,
        fragments: Fragments,
        subscribers: TopicSubscribers,
        spec: FragmentSpec,
        message: Message,
        before: Id,
    ) -> None:
        """Take a change of a shared fragment for the pages below one root path.

        Args:
            fragments: The fragments below the root path.
            subscribers: The groups of the topic.
            spec: How the fragment was declared.
            message: The refresh or push.
            before: The process's position before the message.
        """
        for other in subscribers.shown_without(spec.name):
            outer = fragments.known(subscribers.topic, other)
            if outer is not None and outer.has_unknown_inside:
                outer.check_inside(before)
                self._progress.wait_for(outer)
        shared, html = fragments.get(subscribers.topic, spec), message.data or ""
        is_refresh = message.kind is Kind.REFRESH
        # Fragments inside pushed HTML are of unknown age, and its URLs may begin with another root
        # path. A render is right in both cases.
        is_push = not is_refresh and message.origin == fragments.root and not has_fragments(html)
        origin = message.origin if is_refresh else ""
        if isinstance(shared, SharedList) and message.item:
            if is_push:
                shared.expect_whole(message.id, before, message.trace)
                self._progress.wait_for(shared)  # first, as the item is sent at once
                rendered = Rendered(
                    html,
                    number=next_number(),
                    trace=message.trace,
                    is_ordered=read_roots(html).is_ordered,
                )
                shared.push_item(message.id, before, message.item, rendered)
            else:
                shared.refresh(message.id, before, message.trace, origin, message.item)
            self._progress.wait_for(shared)
        elif is_push and not message.item:
            shared.push(message.id, html, message.trace)
        else:
            shared.refresh(message.id, before, message.trace, origin)
            self._progress.wait_for(shared)

    # -- fragments -------------------------------------------------------------------------------

    async def render_now(
        self, topic: str, spec: FragmentSpec, *, root: str = "", is_urgent: bool = True
    ) -> Rendered:
        """Return the outcome of a render of a shared fragment that begins after this call.

        Args:
            topic: The topic's name.
            spec: How the fragment was declared.
            root: Root path of the page.
            is_urgent: Whether the render begins at once, as a page needs it, instead of after the
                debounce.

        Raises:
            RenderError: If the process has pages below too many root paths.
            BrokerUnavailable: If another loop serves the app and does not take the call.
            Exception: Any exception of the renderer.
        """

        async def render() -> Rendered:
            return await self._roots.at(root).render_now(
                topic, spec, is_kept=lambda: topic in self.subscribers, is_urgent=is_urgent
            )

        async with waiting():
            return await self._serving.run(render)

    def hurry(self) -> bool:
        """Let renders that wait for their debounce begin now, and return whether any is due.

        For tests of apps, which wait for what has been published and for nothing else.
        """
        return self._roots.hurry()

    def nested(self, topic: str, fragment: str) -> frozenset[tuple[str, str]]:
        """Return (topic, fragment) of the fragments inside a shared one, by the renders of here."""
        return self._roots.nested(topic, fragment)

    def has_room(self, root: str) -> bool:
        """Whether the process can serve pages below a root path, in addition to those it has."""
        return self._roots.has_room(root)

    # -- connections -----------------------------------------------------------------------------

    async def join(
        self,
        connection: Connection,
        starts: Mapping[str, Start],
        first: Iterable[bytes] = (),
    ) -> None:
        """Replay what a connection missed, and let it go live.

        Call :meth:`leave` in any case afterwards, also if this raised or was cancelled.

        Args:
            connection: The new connection.
            starts: Topic -> the position at which it starts.
            first: Encoded messages that go out before what it missed.

        Raises:
            BrokerUnavailable: If the broker does not answer within ``QUART_SSE_JOIN_TIMEOUT``,
                or messages or the data set were lost meanwhile.
            RenderError: If the process has pages below too many root paths.
        """
        pauses = Pauses()
        self._roots.at(connection.root)
        self._roots.enter(connection.root)
        joining = self._groups.add(connection, connection.mask)
        self._audiences.add(connection)
        self.changes.send_again(connection)
        try:
            async with asyncio.timeout(self._config.join_timeout):
                await self._broker.subscribe([*connection.subscription, *connection.audiences])
                self._confirm(connection.subscription)
                # Without a pause before: the connection counts as a receiver already, and a
                # snapshot holds no event for a stream that begins now.
                replay = await self._replays.ask(starts)
        except TimeoutError:
            raise BrokerUnavailable(
                f"The broker did not answer within {self._config.join_timeout} s "
                "(QUART_SSE_JOIN_TIMEOUT). The client reconnects."
            ) from None
        # With the delay of the first block, which some clients ignore because it stands alone.
        chunks = [connection.encode_opening(connection.retry_ms), *first]
        chunks += await self._prepare(joining, starts, replay, pauses)
        # From here on all is done at once, until the connection is live.
        if joining.has_gap:
            raise BrokerUnavailable(
                "Messages were lost while the replay was on its way. The client reconnects."
            )
        if replay.position.epoch != self._progress.epoch:
            await self._broker.probe()  # brings the new epoch to every process, this one too
            raise BrokerUnavailable(
                "The broker's data set was replaced, and this process has yet to catch up. "
                "The client reconnects."
            )
        # A page does not list fragments that have come inside its own since its render.
        starts = {
            topic: start._replace(fragments=self.subscribers[topic].with_nested(start.fragments))
            if start.fragments and topic in self.subscribers
            else start
            for topic, start in starts.items()
        }
        self._resumer.admit(joining, starts, replay, chunks)
        self._groups.share_bytes()

    async def _prepare(
        self, joining: Joining, starts: Mapping[str, Start], replay: Replay, pauses: Pauses
    ) -> list[bytes]:
        """Return the encoded replay, and make the fragments that are looked at next.

        Other tasks run meanwhile, and the connection holds what they send it.
        """
        chunks, fragments = [], self._roots.at(joining.root)
        for chunk in self._resumer.replayed(joining, starts, replay):
            chunks.append(chunk)
            await pauses.due()
        for topic, names in joining.subscription.items():
            await pauses.due()
            for spec in (self._declared.spec(topic, name) for name in names):
                if spec is not None and not spec.personal:
                    fragments.get(topic, spec)
        return chunks

    def _confirm(self, topics: Iterable[str]) -> None:
        """Note that the broker has confirmed topics; changes of before may have been missed."""
        new = [topic for topic in topics if not self.subscribers[topic].is_confirmed]
        for topic in new:
            self.subscribers[topic].is_confirmed = True
        self._roots.outdate(new)

    # -- after a gap -----------------------------------------------------------------------------

    async def catch_up(self) -> str:
        """Replay what this process missed, and fan it out (rule 18 of ``docs/protocol.md``).

        Connections whose topics lost events are reset and get every fragment.

        Returns:
            The broker's epoch, which is now this process's.

        Raises:
            BrokerUnavailable: If the broker cannot be asked.
        """
        progress = self._progress
        position = progress.received
        known = self._roots.names()
        starts = {"": Start(position, frozenset(), CONTROL_HISTORY)}
        for topic, subscribers in self.subscribers.items():
            names = (group.subscription[topic] for group in subscribers.groups)
            listed = frozenset().union(*names, subscribers.parents, known.get(topic, ()))
            fragments = frozenset(name for name in listed if not name.endswith("/"))
            starts[topic] = Start(position, fragments, self._declared.keep(topic))
        for audience in self._audiences:
            starts[audience] = Start(position, frozenset(), self._declared.keep(audience))
        replay = await self._replays.resume(starts)
        snapshot, lost = replay.position, replay.incomplete
        # Pending batches belong before a reset, and a reset before anything newer: positions must
        # not pass lost events before the client knows of the loss.
        while not self._batcher.idle.is_set():
            await self._batcher.idle.wait()  # others who waited may have added something since
        is_other = snapshot.epoch != progress.epoch
        if progress.epoch and (is_other or "" in lost):
            self._control.lose()
        if is_other:
            self._roots.invalidate_all()
            lost = set(starts)
            progress.epoch, progress.seen = snapshot.epoch, snapshot.events
        reset = 0
        for connection, group in self._groups.items():
            # A connection that joined meanwhile may have a replay of a later snapshot.
            is_past = isinstance(group, Joining) and group.last >= snapshot.events and not is_other
            if not is_past and not lost.isdisjoint(connection.topics):
                self._restart(connection, replay)
                reset += 1
        if reset:
            STREAMS_RESET.log(topics=len(lost - {""}), streams=reset)
        self._groups.share_bytes()
        for message in unrecorded(replay, starts):
            # Their ids are unknown. Taken first, no position passes them before their HTML.
            if message.topic in self.subscribers:
                self._change(self.subscribers[message.topic], message, progress.seen)
        for message in missed(replay):
            self.receive(message)
        progress.seen = max(progress.seen, snapshot.events)
        CAUGHT_UP.log(topics=len(starts) - 1)
        return snapshot.epoch

    def _restart(self, connection: Connection, replay: Replay) -> None:
        """Reset a connection that lost events, and send its page every fragment."""
        group = self._groups.of(connection)
        if isinstance(group, Joining) and group.is_holding:
            group.has_gap = True
            return
        joining = self._groups.separate(connection)
        is_lost = connection.discard()
        starts = {
            topic: Start(replay.position, fragments, self._declared.keep(topic))
            for topic, fragments in connection.subscription.items()
        } | {
            audience: Start(replay.position, frozenset(), self._declared.keep(audience))
            for audience in connection.audiences
        }
        topics = set(starts)
        kept = {topic for topic in topics if starts[topic].keep.events}
        reset = Replay(replay.position, [], kept, replay.changes, topics)
        # What has no place in the order comes in no replay.
        opening = [connection.encode_opening(connection.retry_ms)] if is_lost else []
        chunks = [*opening, *self._resumer.replayed(joining, starts, reset)]
        self._resumer.admit(joining, starts, reset, chunks)
        if is_lost:
            self.changes.send_again(connection)

    def leave(self, connection: Connection) -> None:
        """Remove a connection, if it has joined."""
        self.idle.forget(connection)
        if self._groups.remove(connection):
            self._roots.leave(connection.root)
            self._audiences.remove(connection, asyncio.get_running_loop().time())

    def render_all(self) -> None:
        """Render every fragment that a page shows again, as after a change of its template."""
        for fragments in self._roots.values():
            fragments.render_all()
        for topic, subscribers in self.subscribers.items():
            shown = {name for group in subscribers.groups for name in group.subscription[topic]}
            for name in shown:
                spec = self._declared.spec(topic, name)
                if spec is not None and spec.personal:
                    self._signal(subscribers, name)

    # -- regular work, called by the housekeeping ------------------------------------------------

    def heartbeat(self, interval: float) -> None:
        """Send their position to the connections that have this interval.

        Idle clients thus keep a position that the history reaches, and writes to dead sockets
        fail (rule 17 of ``docs/protocol.md``).

        Args:
            interval: Interval of the connections' heartbeats, in seconds.
        """
        outgoing = Outgoing.heartbeat(self.position)
        for group in self._groups:
            if group.heartbeat == interval:
                self._delivery.add(group, outgoing)

    def position_of(self, connection: Connection) -> Position | None:
        """Return a connection's position; None while it joins or messages are on their way."""
        is_own = isinstance(self._groups.of(connection), Joining)
        return None if is_own or not self._batcher.idle.is_set() else self.position

    async def forget(self, now: float) -> None:
        """Unsubscribe topics without connections for ``QUART_SSE_LINGER`` seconds.

        Args:
            now: The loop's time.
        """
        linger = self._config.linger
        gone = [
            *self.subscribers.drop_empty(now, linger),
            *self._audiences.drop_empty(now, linger),
        ]
        if gone:
            await self._broker.unsubscribe(gone)
        self._roots.drop(self.subscribers.__contains__)
        for subscribers in self.subscribers.values():
            subscribers.keep_roots(self._roots)

    def receivers(self, topic: str, where: Filter | None = None, exclude: str = "") -> int:
        """Return the number of this process's streams that an event is for.

        Args:
            topic: The topic's or audience's name.
            where: The event's filter; None for all connections.
            exclude: Id of the connection that it is not for, or "".
        """
        return self._receivers.count(topic, where, exclude)

    async def close(self) -> None:
        """Stop rendering, and forget all that belongs to the running loop."""
        await self._roots.close()
        self.abandon()

    def abandon(self) -> None:
        """Forget all connections, fragments and positions, whose loop has ended."""
        self._roots.abandon()
        self._groups.clear()
        self.connections.clear()
        self._audiences.clear()
        self.idle.clear()
        self.subscribers.clear()
        self._batcher.clear()
        self._replays.clear()
        self._progress.restart()
