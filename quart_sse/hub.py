"""The hub of a process: takes the broker's messages and fans them out to connections."""

import asyncio
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Protocol

from .arrivals import Arrivals
from .broker import CONTROL_HISTORY, Broker, Keep, Kind, Message, Replay, Start, bound
from .config import Config
from .connection import Connection
from .debts import missed, unrecorded
from .ending import Ending
from .error_log import ErrorLog, OnceLog
from .errors import BrokerUnavailable
from .event import encode_body
from .fragment import FragmentSpec, Rendered, SharedFragment
from .fragments import Fragments
from .group import Group, Item, Solo
from .items import Items
from .naming import declared_name, has_fragments
from .position import ZERO, Id, Position
from .replays import Replays
from .roots import Roots
from .routes import Route, Routes
from .waves import Waves

logger = logging.getLogger("quart_sse")

#: Seconds for which it stays known what is inside a fragment, for clients that it sent back.
SENT_BACK = 10.0


class Source(Protocol):
    """What the hub asks of the layers above."""

    def spec(self, topic: str, fragment: str) -> FragmentSpec | None:
        """Return how a fragment was declared; None if this process knows no such fragment."""

    async def render(self, topic: str, fragment: str, root: str) -> Rendered:
        """Render a shared fragment for pages below a root path."""

    def keep(self, topic: str) -> Keep:
        """Return how a topic's history is kept."""

    def control(self, name: str, data: str) -> None:
        """Take a control message, which every process receives."""

    def control_lost(self) -> None:
        """Note that this process may have missed control messages for good."""


class Hub:
    """Topic -> connections, for one process and one app.

    Args:
        broker: Where messages come from.
        config: The app's settings.
        source: The layers above.
    """

    def __init__(self, broker: Broker, config: Config, source: Source) -> None:
        self.connections: dict[str, Connection] = {}
        self.emptied = asyncio.Event()  #: set while there are no connections
        self.emptied.set()
        self.errors = ErrorLog()  #: of functions of the app that fail
        self._once = OnceLog()
        self._broker = broker
        self._config = config
        self._source = source
        self._epoch = ""
        self._seen: Id = ZERO  #: the newest id that came from the broker
        self._routes = Routes()
        self._groups: dict[object, Group] = {}
        self._group_of: dict[Connection, Group] = {}
        self._solos: set[Solo] = set()
        self._roots = Roots(config.debounce, self._make_shared)
        self._waves = Waves(self._settle, self.errors)
        self._replays = Replays(self._resume)
        self._items = Items(lambda: self.position)
        self._arrivals = Arrivals(self._items, self._roots, source.spec, self._add)

    @property
    def position(self) -> Position:
        """Where every connection that owes nothing stands once it was sent all that is here."""
        return Position(self._epoch, self._seen, self._roots.current_up_to(self._seen))

    # -- what comes from the broker ------------------------------------------------------------

    def receive(self, message: Message) -> None:
        """Take one message from the broker and hand it to whoever listens."""
        if message.id <= self._seen:
            return  # came by catching up
        before, self._seen = self._seen, message.id
        route = self._routes.get(message.topic)
        if message.kind is Kind.CONTROL:
            self._source.control(message.name or "", message.data or "")
        elif message.kind is Kind.PROBE:
            self._settle()
        elif route is None:
            return
        elif message.kind is Kind.EVENT:
            item = self._items.event(message)
            for group in route.groups:
                self._add(group, item)
        else:
            self._change(route, message, before)

    def _change(self, route: Route, message: Message, before: Id) -> None:
        name = message.name or ""
        spec = self._source.spec(route.topic, name)
        if spec is None:
            self._once.warn(
                declared_name(route.topic, name),
                "Topic %r got a change of fragment %r, which this process does not declare. "
                "Another release of the app is running beside this one. This is said once.",
                route.topic,
                name,
            )
        elif spec.personal:
            wanting = route.wanting(name)
            viewers = sum(len(group.members) for group in wanting)
            item = self._items.signal(route.topic, name, viewers)
            for group in wanting:
                self._add(group, item)
        else:
            for root, fragments in list(self._roots.items()):
                self._change_at(root, fragments, route, spec, message, before)

    def _change_at(
        self,
        root: str,
        fragments: Fragments,
        route: Route,
        spec: FragmentSpec,
        message: Message,
        before: Id,
    ) -> None:
        """Take a change of a shared fragment, as pages below one root path show it."""
        for other in route.beside(spec.name):
            outer = fragments.known(route.topic, other)
            if outer is not None and outer.is_doubtful:
                fragments.recheck(outer, before)
        shared, html = fragments.get(route.topic, spec), message.data or ""
        is_push = message.kind is Kind.PUSH and message.origin == root
        if is_push and not has_fragments(html):
            shared.push(message.id, html)
        else:
            # It is not known how old what is inside pushed HTML is, and its URLs may begin with
            # another root path: a render is sure.
            fragments.refresh(shared, message.id, before)

    def _keep(self, root: str, shared: SharedFragment, is_wanted: bool) -> bool:
        """Learn what is inside a fragment's new HTML, and fan it out if it is for the viewers."""
        route = self._routes.get(shared.topic)
        if route is None or shared.rendered is None:
            return True
        is_late = self._learn(root, route, shared.spec.name, shared.rendered)
        if not is_wanted:
            return True
        if is_late:
            return False
        item = self._items.html(self._roots.at(root), shared, shared.rendered)
        for group in route.wanting(shared.spec.name, root):
            self._add(group, item)
        return True

    def _learn(self, root: str, route: Route, outer: str, rendered: Rendered) -> bool:
        """Note which fragments are inside another one.

        Returns:
            Whether one of them, which was not shown here until now, has changed since its render.
            No other render of it will follow, and positions have passed the change: the outer
            fragment needs another render before it is sent.
        """
        is_late = False
        for topic, name in rendered.nested:
            if topic == route.topic and route.put_inside(name, outer, root):
                inner = self._roots.at(root).known(topic, name)
                is_owed = inner is None or inner.is_current(ZERO) or inner.floor is not None
                is_late = is_late or not is_owed
        return is_late

    def _add(self, group: Group, item: Item) -> None:
        if item.inner:
            self._send_back(group, item)
        if group.add(item):
            self._waves.add(group)

    def _send_back(self, group: Group, item: Item) -> None:
        """End streams whose clients were not judged for what a fragment contains.

        What is inside is known only now; the clients come back and are judged for it. It stays
        known until then, or they would be sent back again.
        """
        for connection in list(group.members):
            may_see = connection.may_see
            if may_see is not None and not may_see(item.key or "", item.inner):
                if item.topic in self._routes:
                    kept_until = asyncio.get_running_loop().time() + SENT_BACK
                    self._routes[item.topic].kept_until = kept_until
                connection.discard()
                connection.end(Ending.RECHECK)

    # -- fragments -------------------------------------------------------------------------------

    def _make_shared(
        self, root: str, topic: str, spec: FragmentSpec, debounce: float
    ) -> SharedFragment:
        return SharedFragment(
            topic,
            spec,
            debounce,
            lambda: self._source.render(topic, spec.name, root),
            lambda shared, is_wanted: self._keep(root, shared, is_wanted),
            lambda: bool(self._routes.wanting(topic, spec.name, root)),
            self.errors,
        )

    async def render(
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
        return await self._roots.at(root).render(
            topic, spec, is_kept=lambda: topic in self._routes, is_urgent=is_urgent
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
        solo = Solo(connection, granted)
        self.connections[connection.id] = connection
        self.emptied.clear()
        self._group_of[connection] = solo
        self._solos.add(solo)
        self._routes.add(solo)
        try:
            async with asyncio.timeout(self._config.join_timeout):
                await self._broker.subscribe(connection.subscription)
                self._hear(connection.subscription)
                replay = await self._replays.ask(starts)
        except TimeoutError:
            raise BrokerUnavailable(
                f"The broker did not answer within {self._config.join_timeout} s."
            ) from None
        if solo.is_overtaken:
            raise BrokerUnavailable(
                "Messages were lost while the broker was asked what was missed."
            )
        if replay.position.epoch != self._epoch:
            await self._broker.probe()  # tells every process, this one too
            raise BrokerUnavailable("The broker's data set has just become another.")
        # What came inside a fragment later is not in the page's own list.
        starts = {
            topic: replace(start, fragments=self._routes[topic].with_nested(start.fragments))
            for topic, start in starts.items()
        }
        opening = encode_body(json.dumps(connection.introduction), "sse-open")
        self._arrivals.admit(solo, starts, replay, [opening])
        self._settle()

    def _hear(self, topics: Iterable[str]) -> None:
        """Note that nothing of these topics is missed any more; it may have been until now."""
        new = [topic for topic in topics if not self._routes[topic].is_heard]
        for topic in new:
            self._routes[topic].is_heard = True
        self._roots.outdate(new)

    async def _resume(self, starts: Mapping[str, Start]) -> Replay:
        replay = await self._broker.resume(starts)
        bound(replay, self._config.replay_events, self._config.replay_bytes)
        return replay

    # -- after a gap -----------------------------------------------------------------------------

    async def catch_up(self) -> str:
        """Ask the broker what this process has not seen, and hand it on.

        Connections whose topics' history does not reach are told so, and sent every fragment.

        Returns:
            The epoch in which this process stands now.
        """
        position = Position(self._epoch, self._seen, self._seen)
        known = self._roots.names()
        starts = {"": Start(position, frozenset(), CONTROL_HISTORY)}
        for topic, route in self._routes.items():
            names = (group.subscription[topic] for group in route.groups)
            fragments = frozenset().union(*names, route.parents, known.get(topic, ()))
            starts[topic] = Start(position, fragments, self._source.keep(topic))
        replay = await self._resume(starts)
        snapshot, lost = replay.position, replay.incomplete
        # What is on its way belongs before a reset, and a reset before all that is newer: a
        # position must never pass events of which a client was not told that they are lost.
        await self._waves.idle.wait()
        is_other = snapshot.epoch != self._epoch
        if self._epoch and (is_other or "" in lost):
            self._source.control_lost()
        if is_other:
            self._roots.distrust()
            lost = set(starts)
            self._epoch, self._seen = snapshot.epoch, snapshot.events
        for connection, group in list(self._group_of.items()):
            # Who came while we asked may have been given an answer that is newer than this one.
            is_past = isinstance(group, Solo) and group.last >= snapshot.events and not is_other
            if not is_past and not lost.isdisjoint(connection.subscription):
                self._restart(connection, replay)
        self._settle()
        for message in unrecorded(replay, starts):
            # Whenever that was: before all that is delivered now.
            if message.topic in self._routes:
                self._change(self._routes[message.topic], message, self._seen)
        for message in missed(replay):
            self.receive(message)
        self._seen = max(self._seen, snapshot.events)
        return snapshot.epoch

    def _restart(self, connection: Connection, replay: Replay) -> None:
        """Tell a connection that it has lost events, and bring its page up to date."""
        group = self._group_of[connection]
        if isinstance(group, Solo) and group.is_holding:
            group.is_overtaken = True
            return
        group.members.discard(connection)
        if not group.members:
            self._drop_group(group)
        solo = Solo(connection, group.granted)
        self._group_of[connection] = solo
        self._solos.discard(group)
        self._solos.add(solo)
        self._routes.add(solo)
        connection.discard()
        starts = {
            topic: Start(replay.position, fragments, self._source.keep(topic))
            for topic, fragments in connection.subscription.items()
        }
        topics = set(starts)
        kept = {topic for topic in topics if starts[topic].keep.events}
        reset = Replay(replay.position, [], kept, replay.changes, topics)
        self._arrivals.admit(solo, starts, reset, [])

    def leave(self, connection: Connection) -> None:
        """Forget a connection; harmless if it is not here."""
        group = self._group_of.pop(connection, None)
        if self.connections.pop(connection.id, None) is not None:
            self._roots.leave(connection.root)
        if not self.connections:
            self.emptied.set()
        if group is None:
            return
        group.members.discard(connection)
        if isinstance(group, Solo):
            self._solos.discard(group)
        if not group.members:
            self._drop_group(group)

    def _drop_group(self, group: Group) -> None:
        if self._groups.get(_group_key(group)) is group:
            del self._groups[_group_key(group)]
        self._routes.remove(group, asyncio.get_running_loop().time())
        self._roots.unwatched(frozenset(group.subscription))

    def _settle(self) -> None:
        """Let connections that owe nothing any more share bytes with others."""
        for solo in [solo for solo in self._solos if solo.is_settled]:
            # Another position than the hub's must never be followed by a smaller one.
            if solo.last > self._seen or solo.claim > self.position.fragments:
                continue
            key = _group_key(solo)
            group = self._groups.get(key)
            if group is None:
                group = self._groups[key] = Group(
                    solo.subscription, solo.bare, solo.granted, solo.root
                )
            elif group.pending:
                continue
            self._routes.add(group)
            self._routes.remove(solo, 0.0)
            group.members.add(solo.connection)
            self._group_of[solo.connection] = group
            self._solos.discard(solo)

    # -- regular work, called by the sweeper -----------------------------------------------------

    def heartbeat(self) -> None:
        """Send every connection its position, which keeps it fresh and finds dead ones."""
        item = self._items.heartbeat()
        for group in set(self._group_of.values()):
            self._add(group, item)

    def position_of(self, connection: Connection) -> Position | None:
        """Return what a connection was sent up to; None while that is not the same for all."""
        is_own = isinstance(self._group_of.get(connection), Solo)
        return None if is_own or not self._waves.idle.is_set() else self.position

    async def forget(self, now: float) -> None:
        """Unsubscribe topics whose last viewer has been gone for ``QUART_SSE_LINGER``."""
        gone = self._routes.drop_empty(now, self._config.linger)
        if gone:
            await self._broker.unsubscribe(gone)
        self._roots.drop(self._routes.__contains__)
        for route in self._routes.values():
            route.keep_roots(self._roots)

    def receivers(self, topic: str) -> int:
        """Return how many connections of this process listen to a topic."""
        route = self._routes.get(topic)
        return 0 if route is None else route.count

    def listeners(self, topic: str) -> list[Connection]:
        """Return the connections of this process that listen to a topic."""
        route = self._routes.get(topic)
        return [] if route is None else route.connections

    async def close(self) -> None:
        """Stop rendering."""
        await self._roots.close()


def _group_key(group: Group) -> object:
    return frozenset(group.subscription.items()), group.bare, group.granted, group.root
