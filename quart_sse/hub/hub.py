"""The hub of a process: takes the broker's messages and fans them out to connections."""

import asyncio
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Protocol

from ..broker import CONTROL_HISTORY, Broker, Kind, Message, Replay, Start
from ..config import Config
from ..error_log import ErrorLog, OnceLog
from ..errors import BrokerUnavailable
from ..wire import Id, Position, declared_name, encode_body, has_fragments
from .batcher import Batcher
from .connection import Connection
from .delivery import Delivery
from .fragment import FragmentSpec, Rendered
from .fragments import Fragments, Renderer
from .group import Joining
from .groups import Groups
from .outgoing import Outgoing
from .progress import Progress
from .replays import Replays
from .resume import Declared, Resumer, missed, unrecorded
from .roots import Roots
from .subscribers import Subscribers, TopicSubscribers

logger = logging.getLogger("quart_sse")


class ControlMessages(Protocol):
    """Takes what processes tell each other; :class:`~quart_sse.broker.control.Control`."""

    def take(self, name: str, text: str) -> None:
        """Take a control message."""

    def lose(self) -> None:
        """Note that this process may have missed control messages for good."""


class Hub:
    """Topic -> connections, for one process and one app.

    Args:
        broker: Where messages come from.
        config: The app's settings.
        declared: How the app's topics and fragments were declared.
        renderer: Renders shared fragments.
        control: Takes what processes tell each other.
        errors: Where errors of functions of the app are logged.
    """

    def __init__(
        self,
        broker: Broker,
        config: Config,
        declared: Declared,
        renderer: Renderer,
        control: ControlMessages,
        errors: ErrorLog,
    ) -> None:
        self._broker = broker
        self._config = config
        self._declared = declared
        self._control = control
        self._once = OnceLog()
        self._progress = Progress()
        self.subscribers = Subscribers()
        self._groups = Groups(self._progress, self.subscribers)
        self._batcher = Batcher(self._groups.share_bytes, errors)
        self._delivery = Delivery(self._progress, self.subscribers, self._batcher)
        self._roots = Roots(config.debounce, renderer, self._delivery, errors)
        self._replays = Replays(broker, config.replay_events, config.replay_bytes)
        self._resumer = Resumer(self._progress, self._roots, declared, self._delivery)

    @property
    def position(self) -> Position:
        """Position of a fully caught-up connection."""
        return self._progress.position

    # -- what comes from the broker ------------------------------------------------------------

    def receive(self, message: Message) -> None:
        """Take one message from the broker and hand it to whoever listens."""
        progress = self._progress
        if message.id <= progress.seen:
            return  # came by catching up
        before, progress.seen = progress.seen, message.id
        subscribers = self.subscribers.get(message.topic)
        if message.kind is Kind.CONTROL:
            self._control.take(message.name or "", message.data or "")
        elif message.kind is Kind.PROBE:
            self._groups.share_bytes()
        elif subscribers is None:
            return
        elif message.kind is Kind.EVENT:
            outgoing = Outgoing.from_event(progress.position, message)
            for group in subscribers.groups:
                self._delivery.add(group, outgoing)
        else:
            self._change(subscribers, message, before)

    def _change(self, subscribers: TopicSubscribers, message: Message, before: Id) -> None:
        name = message.name or ""
        spec = self._declared.spec(subscribers.topic, name)
        if spec is None:
            self._once.warn(
                declared_name(subscribers.topic, name),
                "Topic %r got a change of fragment %r, which this process does not declare. "
                "Another release of the app is running beside this one. This is said once.",
                subscribers.topic,
                name,
            )
        elif spec.personal:
            showing = subscribers.showing(name)
            viewers = sum(len(group.members) for group in showing)
            outgoing = Outgoing.signal(self.position, subscribers.topic, name, viewers)
            for group in showing:
                self._delivery.add(group, outgoing)
        else:
            for fragments in list(self._roots.values()):
                self._change_at(fragments, subscribers, spec, message, before)

    def _change_at(
        self,
        fragments: Fragments,
        subscribers: TopicSubscribers,
        spec: FragmentSpec,
        message: Message,
        before: Id,
    ) -> None:
        """Take a change of a shared fragment, as pages below one root path show it."""
        for other in subscribers.shown_without(spec.name):
            outer = fragments.known(subscribers.topic, other)
            if outer is not None and outer.has_unknown_inside:
                outer.check_inside(before)
                self._progress.wait_for(outer)
        shared, html = fragments.get(subscribers.topic, spec), message.data or ""
        is_push = message.kind is Kind.PUSH and message.origin == fragments.root
        if is_push and not has_fragments(html):
            shared.push(message.id, html)
        else:
            # It is not known how old what is inside pushed HTML is, and its URLs may begin with
            # another root path: a render is sure.
            shared.refresh(message.id, before)
            self._progress.wait_for(shared)

    # -- fragments -------------------------------------------------------------------------------

    async def render_now(
        self, topic: str, spec: FragmentSpec, *, root: str = "", is_urgent: bool = True
    ) -> Rendered:
        """Return a fragment's HTML by a render that begins after this call.

        Args:
            topic: The topic's name.
            spec: How the fragment was declared.
            root: The root path of the page.
            is_urgent: Whether it begins at once, as a page needs it, not when the debounce is over.

        Raises:
            RenderError: If there are pages below too many root paths.
            Exception: Whatever the renderer raised.
        """
        return await self._roots.at(root).render_now(
            topic, spec, is_kept=lambda: topic in self.subscribers, is_urgent=is_urgent
        )

    def nested(self, topic: str, fragment: str) -> frozenset[tuple[str, str]]:
        """Return (topic, fragment) of what a shared fragment contains, as far as is known here."""
        return self._roots.nested(topic, fragment)

    def has_room(self, root: str) -> bool:
        """Whether fragments can be shown to pages below a root path, too."""
        return self._roots.has_room(root)

    # -- connections -----------------------------------------------------------------------------

    async def join(
        self, connection: Connection, starts: Mapping[str, Start], granted: int | None = None
    ) -> None:
        """Let a connection listen to its topics, beginning with what it has missed.

        Whatever happens after this call began, :meth:`leave` must follow it.

        Args:
            connection: The connection.
            starts: Where each of its topics starts.
            granted: For the position, if some topics of its URL were refused.

        Raises:
            BrokerUnavailable: If the broker did not answer within ``QUART_SSE_JOIN_TIMEOUT``.
        """
        self._roots.at(connection.root)
        self._roots.enter(connection.root)
        joining = self._groups.add(connection, granted)
        try:
            async with asyncio.timeout(self._config.join_timeout):
                await self._broker.subscribe(connection.subscription)
                self._confirm(connection.subscription)
                replay = await self._replays.ask(starts)
        except TimeoutError:
            raise BrokerUnavailable(
                f"The broker did not answer within {self._config.join_timeout} s."
            ) from None
        if joining.has_gap:
            raise BrokerUnavailable(
                "Messages were lost while the broker was asked what was missed."
            )
        if replay.position.epoch != self._progress.epoch:
            await self._broker.probe()  # tells every process, this one too
            raise BrokerUnavailable("The broker's data set has just become another.")
        # What came inside a fragment later is not in the page's own list.
        starts = {
            topic: replace(start, fragments=self.subscribers[topic].with_nested(start.fragments))
            for topic, start in starts.items()
        }
        opening = encode_body(json.dumps(connection.introduction), "sse-open")
        self._resumer.admit(joining, starts, replay, [opening])
        self._groups.share_bytes()

    def _confirm(self, topics: Iterable[str]) -> None:
        """Note that nothing of these topics is missed any more; it may have been until now."""
        new = [topic for topic in topics if not self.subscribers[topic].is_confirmed]
        for topic in new:
            self.subscribers[topic].is_confirmed = True
        self._roots.outdate(new)

    # -- after a gap -----------------------------------------------------------------------------

    async def catch_up(self) -> str:
        """Ask the broker what this process has not seen, and hand it on.

        Connections whose topics' history does not reach are told so, and sent every fragment.

        Returns:
            The epoch in which this process stands now.
        """
        progress = self._progress
        position = progress.received
        known = self._roots.names()
        starts = {"": Start(position, frozenset(), CONTROL_HISTORY)}
        for topic, subscribers in self.subscribers.items():
            names = (group.subscription[topic] for group in subscribers.groups)
            fragments = frozenset().union(*names, subscribers.parents, known.get(topic, ()))
            starts[topic] = Start(position, fragments, self._declared.keep(topic))
        replay = await self._replays.resume(starts)
        snapshot, lost = replay.position, replay.incomplete
        # What is on its way belongs before a reset, and a reset before all that is newer: a
        # position must never pass events of which a client was not told that they are lost.
        await self._batcher.idle.wait()
        is_other = snapshot.epoch != progress.epoch
        if progress.epoch and (is_other or "" in lost):
            self._control.lose()
        if is_other:
            self._roots.invalidate_all()
            lost = set(starts)
            progress.epoch, progress.seen = snapshot.epoch, snapshot.events
        for connection, group in self._groups.items():
            # Who came while we asked may have been given an answer that is newer than this one.
            is_past = isinstance(group, Joining) and group.last >= snapshot.events and not is_other
            if not is_past and not lost.isdisjoint(connection.subscription):
                self._restart(connection, replay)
        self._groups.share_bytes()
        for message in unrecorded(replay, starts):
            # Whenever that was: before all that is delivered now.
            if message.topic in self.subscribers:
                self._change(self.subscribers[message.topic], message, progress.seen)
        for message in missed(replay):
            self.receive(message)
        progress.seen = max(progress.seen, snapshot.events)
        return snapshot.epoch

    def _restart(self, connection: Connection, replay: Replay) -> None:
        """Tell a connection that it has lost events, and bring its page up to date."""
        group = self._groups.of(connection)
        if isinstance(group, Joining) and group.is_holding:
            group.has_gap = True
            return
        joining = self._groups.separate(connection)
        connection.discard()
        starts = {
            topic: Start(replay.position, fragments, self._declared.keep(topic))
            for topic, fragments in connection.subscription.items()
        }
        topics = set(starts)
        kept = {topic for topic in topics if starts[topic].keep.events}
        reset = Replay(replay.position, [], kept, replay.changes, topics)
        self._resumer.admit(joining, starts, reset, [])

    def leave(self, connection: Connection) -> None:
        """Forget a connection; harmless if it is not here."""
        if self._groups.remove(connection):
            self._roots.leave(connection.root)

    # -- regular work, called by the sweeper -----------------------------------------------------

    def heartbeat(self) -> None:
        """Send every connection its position, which keeps it fresh and finds dead ones."""
        outgoing = Outgoing.heartbeat(self.position)
        for group in self._groups:
            self._delivery.add(group, outgoing)

    def position_of(self, connection: Connection) -> Position | None:
        """Return what a connection was sent up to; None while that is not the same for all."""
        is_own = isinstance(self._groups.of(connection), Joining)
        return None if is_own or not self._batcher.idle.is_set() else self.position

    async def forget(self, now: float) -> None:
        """Unsubscribe topics whose last viewer has been gone for ``QUART_SSE_LINGER``."""
        gone = self.subscribers.drop_empty(now, self._config.linger)
        if gone:
            await self._broker.unsubscribe(gone)
        self._roots.drop(self.subscribers.__contains__)
        for subscribers in self.subscribers.values():
            subscribers.keep_roots(self._roots)

    def receivers(self, topic: str) -> int:
        """Return how many connections of this process listen to a topic."""
        return self.subscribers.count(topic)

    async def close(self) -> None:
        """Stop rendering."""
        await self._roots.close()
