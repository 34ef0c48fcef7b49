"""A site with halls, whose presence is announced, beside its rooms, whose presence is not."""

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

from quart_sse import Person, Topic
from quart_sse.broker import Kind
from quart_sse.channels.announcer import Announcer
from quart_sse.channels.presence import PresenceTracker
from quart_sse.hub.connection import Connection
from tests.support.sites import Site


class Halls(Site):
    """One process of the site, which counts what its broker is asked about presence.

    Args:
        url: Of the broker.
        config: Further ``QUART_SSE_*`` keys, without that prefix.
    """

    def __init__(self, url: str, **config: Any) -> None:
        super().__init__(url, **{"presence_linger": 0, **config})
        self.halls = self.sse.channel("halls", "/halls/<int:hall>", public=True, presence=True)
        self.shows = self.sse.channel("shows", "/shows/<int:show>", public=True)
        keys = ("name", "role")
        self.clubs = self.sse.channel("clubs", "/clubs/<club>", public=True, presence=keys)
        self.moves: list[str] = []  #: who has joined (+) and left (-) clubs, as hooks were called
        self.clubs.on_join(partial(self._move, "+"))
        self.clubs.on_leave(partial(self._move, "-"))
        self.shown: list[Topic] = []
        self.people: list[int] = []  #: what renders have shown
        self.entered: list[Mapping[str, Mapping[str, str]]] = []
        self.left: list[Mapping[str, Collection[str]]] = []
        self.asked: list[str] = []
        self.refreshed: list[str] = []  #: topics of which fragments were refreshed
        self.shows.fragment("people", presence=True)(self._show)
        self._count_calls()

    async def _move(self, sign: str, person: Person, topic: Topic) -> None:
        assert person.connections == (sign == "+")
        name = person.metadata.get("name", "")
        self.moves.append(f"{sign}{person.identity} {name} {topic.params['club']}")

    async def _show(self, show: int) -> str:
        self.people.append((await self.shows.topic(show=show).presence()).connections)
        return f"<b>{self.people[-1]}</b>"

    def _count_calls(self) -> None:
        inner = self.app.extensions["quart_sse"].broker.inner
        enter, exit, present, publish = inner.enter, inner.exit, inner.present, inner.publish

        async def count_enter(members: Mapping[str, Mapping[str, str]]) -> Any:
            if members.keys() != {""}:
                self.entered.append(members)
            return await enter(members)

        async def count_exit(members: Mapping[str, Collection[str]]) -> Any:
            if members.keys() != {""}:
                self.left.append(members)
            return await exit(members)

        async def count_present(topic: str) -> Any:
            if topic:
                self.asked.append(topic)
            return await present(topic)

        async def count_publish(message: Any, keep: Any) -> Any:
            if message.kind is Kind.REFRESH:
                self.refreshed.append(message.topic)
            return await publish(message, keep)

        inner.enter, inner.exit, inner.present = count_enter, count_exit, count_present
        inner.publish = count_publish

    @property
    def tracker(self) -> PresenceTracker:
        """What tells the broker."""
        tracker: PresenceTracker = self.app.extensions["quart_sse"].presence
        return tracker

    @property
    def announcer(self) -> Announcer:
        """What it tells by."""
        return self.tracker._announcer

    async def record(self, topic: str) -> Mapping[str, str]:
        """Return whom the broker has recorded as present on a topic."""
        record: Mapping[str, str] = await self.app.extensions["quart_sse"].broker.present(topic)
        return record

    def hall(self, number: int = 1) -> Topic:
        """Return a hall."""
        return self.halls.topic(hall=number)

    def show(self, number: int = 1) -> Topic:
        """Return a show."""
        return self.shows.topic(show=number)

    def club(self, name: str = "chess") -> Topic:
        """Return a club, whose presence carries names and roles."""
        return self.clubs.topic(club=name)

    def connect(
        self, *topics: str, identity: str | None = None, is_heard: bool = True
    ) -> Connection:
        """Return an open connection without a client, which listens to topics.

        Args:
            topics: Their names.
            identity: The user.
            is_heard: Whether the hub knows of it, which catches up on all topics after each gap.
        """
        services = self.app.extensions["quart_sse"]
        connection = Connection(
            dict.fromkeys(topics, frozenset[str]()),
            services.config,
            loader=lambda personal: b"",
            identity=identity,
            browser=None,
            address=None,
            bare=False,
            root="",
            heartbeat=30.0,
            retry=None,
            metadata=None,
            process="p",
        )
        services.connections.enter(connection, is_multiplexed=False)
        if is_heard:
            services.hub._groups.add(connection, None)
        connection.is_open = True
        self.tracker.enter(connection)
        return connection

    def disconnect(self, connection: Connection) -> None:
        """Let such a connection go."""
        services = self.app.extensions["quart_sse"]
        services.connections.leave(connection)
        services.hub._groups.remove(connection)
        self.tracker.leave(connection, 0.0)
