"""Targets: what events are published to."""

import re
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import Future
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, overload

from ..broker import Filter, Keep, Where
from ..errors import EventError, ParameterError, SSEError
from ..host import Host
from ..hub import id_of
from ..publisher import Data, Encoded, EventType, event_name
from ..wire import (
    EVERYONE,
    NOTIFICATION,
    ZERO,
    Level,
    Notification,
    channel_topic,
    make_notification,
    user_topic,
)
from .binding import Binding
from .declaration import Declaration
from .kept import KeptEvent, kept_for, kept_notifications
from .refreshing import Pending

Result = TypeVar("Result")

#: Request header in which the script names the page that sends an htmx request.
PAGE_HEADER = "X-SSE-Page"
#: The header's value: the secret of the page's stream, and the page's number on that stream.
_PAGE = re.compile(r"([\w-]{16,64})\.([\w-]{1,64})", re.ASCII)

#: Id of the connection whose hook runs; "" outside of hooks.
hooked: ContextVar[str] = ContextVar("hooked", default="")


class HasId(Protocol):
    """A connection, or what an app knows of one."""

    @property
    def id(self) -> str:
        """The connection's id."""


@dataclass(frozen=True, slots=True)
class Published:
    """The result of :meth:`Target.publish`.

    Attributes:
        id: The event's id in the broker's order. Clients receive it as ``Last-Event-ID``; compare
            it for equality only.
        local_receivers: Number of open connections in this process that the event is for.
            Connections of other processes are not counted, so 0 does not mean that the event had
            no receiver.

    Example:
        ``(await topic.publish("price", "42")).local_receivers``
    """

    id: str
    local_receivers: int


class Target:
    """What events are published to: a topic, a user, a channel as a whole, or everyone.

    Attributes:
        name: The name under which brokers know it.

    Example:
        ``await sse.everyone.publish("maintenance", {"minutes": 5})``
    """

    def __init__(self, binding: Binding, name: str, declaration: Declaration | None = None) -> None:
        self.name = name
        self._binding = binding
        self._declaration = declaration  #: of its channel; None for a user and everyone

    def __repr__(self) -> str:
        """Show the name."""
        return f"<{type(self).__name__} {self.name!r}>"

    def __eq__(self, other: object) -> bool:
        """Whether events published to the other one reach the same clients."""
        if not isinstance(other, Target):
            return NotImplemented
        return self.name == other.name and self._binding is other._binding

    def __hash__(self) -> int:
        """Return the hash of the name."""
        return hash(self.name)

    @overload
    async def publish(
        self,
        name: EventType[Data],
        data: Data,
        *,
        retry_ms: int | None = None,
        to_others: bool = False,
        where: Where | None = None,
        exclude: HasId | str | None = None,
        refresh_on: bool = True,
        id: object = None,
    ) -> Published: ...

    @overload
    async def publish(
        self,
        name: str,
        data: Any = None,
        *,
        retry_ms: int | None = None,
        to_others: bool = False,
        where: Where | None = None,
        exclude: HasId | str | None = None,
        refresh_on: bool = True,
        id: object = None,
    ) -> Published: ...

    async def publish(
        self,
        name: EventType[Any] | str,
        data: Any = None,
        *,
        retry_ms: int | None = None,
        to_others: bool = False,
        where: Where | None = None,
        exclude: HasId | str | None = None,
        refresh_on: bool = True,
        id: object = None,
    ) -> Published:
        """Publish an event: a fact, delivered in order.

        The broker keeps events for ``QUART_SSE_HISTORY_TTL`` and replays missed ones to clients
        that resume.

        Args:
            name: The event's name: a letter, then letters, digits, ``_``, ``.`` or ``-``. The
                names ``message``, ``open`` and ``error`` (WHATWG: ``EventSource`` dispatches these
                itself), ``sse-*`` and ``htmx*`` are reserved. Or the event's :class:`EventType`,
                as :meth:`Channel.event` returns it: data of another type are then an error, also
                for type checkers.
            data: A ``str`` is sent as it is. Any other value is sent as JSON by ``app.json``, which
                writes dataclasses, dates and UUIDs; None is sent as ``null``.
            retry_ms: New reconnect delay of the clients that receive the event, in milliseconds
                (the ``retry`` field of the WHATWG event stream); None leaves it.
            to_others: Whether the page that sent the current request leaves the event out. The
                script names the page in a header of htmx's requests; requests without the header
                exclude no page. In a hook, such as that of ``@sse.on_connect``, the hook's
                connection is sent nothing.
            where: For which connections the event is, by their metadata: a mapping of keys to the
                values that they must equal, where a list means any of its values. Others are sent
                nothing, also when they resume. With ``memory://`` it may be a function of the
                metadata that returns a bool. None for all.
            exclude: A connection that the event is not for, or its id; None for none.
            refresh_on: Whether the event refreshes what is declared to be refreshed on it, by
                ``fragment(on=...)`` and ``@channel.refresh_on``.
            id: Always an error, for those who bring an id of their own from another library: ids
                are the broker's, because clients resume by them. Put yours into the data.

        Returns:
            The event's id, and the number of connections of this process that it is for. In an
            ``sse.batch()`` the id is "", because the event gets one when the batch ends.

        Raises:
            EventError: If the name is reserved, invalid or not declared by a channel that declares
                events, the data is of another type than the event's, cannot be written as JSON or
                exceeds ``QUART_SSE_PENDING_BYTES``, ``retry_ms`` is negative, or ``id`` is given;
                also if the event refreshes more than 64 fragments, or is for a whole channel and
                refreshes fragments of its topic (``on=``).
            FilterError: If ``where`` is no condition, or a function with a broker of several
                processes.
            ParameterError: If ``exclude`` is no connection and no id.
            BrokerUnavailable: If the broker did not confirm the event. Its ``maybe_published`` is
                False if the event was certainly not published.
            Exception: Any exception of a function of ``@channel.refresh_on``; nothing is published.

        Example:
            ``await topic.publish("comment-added", {"id": 12}, where={"role": "moderator"})``
        """
        if id is not None:
            raise EventError(
                f"The event {event_name(name)!r} has an id of its own, {id!r}. Ids are the "
                "broker's, because clients resume by them. Put it into the data, such as "
                '{"id": ...}.'
            )
        condition = None if where is None else Filter(where)
        given = self._encoded(name, data, retry_ms)
        pending = self._refreshed(name, data) if refresh_on else None
        return await self._publish(
            event_name(name), given, retry_ms, to_others, condition, exclude, pending
        )

    def _encoded(self, event: EventType[Any] | str, data: Any, retry_ms: int | None) -> Encoded:
        declares = None if self._declaration is None else self._declaration.declares
        return self._binding.publisher.encode(event, data, retry_ms, declares)

    def _refreshed(self, event: EventType[Any] | str, data: Any) -> Pending | None:
        return self._binding.refreshing.begin(self.name, self._declaration, event, data)

    async def _publish(
        self,
        name: str,
        data: Encoded,
        retry_ms: int | None,
        to_others: bool,
        condition: Filter | None,
        exclude: HasId | str | None,
        pending: Pending | None,
    ) -> Published:
        bound = self._binding
        ids = (_id_of(exclude), hooked.get() if to_others else "")
        excluded = " ".join(filter(None, ids))
        published = await bound.publisher.event(
            self.name,
            name,
            data,
            self._keep,
            retry_ms=retry_ms,
            origin=page_that_asks(bound.host) if to_others else "",
            where=condition,
            exclude=excluded,
            refreshes=() if pending is None else await pending.done(),
        )
        id = "" if published == ZERO else str(published)
        return Published(id, bound.hub.receivers(self.name, condition, excluded))

    @overload
    def publish_soon(
        self,
        name: EventType[Data],
        data: Data,
        *,
        retry_ms: int | None = None,
        to_others: bool = False,
        where: Where | None = None,
        exclude: HasId | str | None = None,
        refresh_on: bool = True,
    ) -> Future[Published]: ...

    @overload
    def publish_soon(
        self,
        name: str,
        data: Any = None,
        *,
        retry_ms: int | None = None,
        to_others: bool = False,
        where: Where | None = None,
        exclude: HasId | str | None = None,
        refresh_on: bool = True,
    ) -> Future[Published]: ...

    def publish_soon(
        self,
        name: EventType[Any] | str,
        data: Any = None,
        *,
        retry_ms: int | None = None,
        to_others: bool = False,
        where: Where | None = None,
        exclude: HasId | str | None = None,
        refresh_on: bool = True,
    ) -> Future[Published]:
        """Publish an event without waiting for it, from any thread.

        For sync views, threads, schedulers, signal handlers and hooks such as SQLAlchemy's
        ``after_commit``. What one thread publishes so keeps its order. The data is written as JSON
        at once. Where the process does not serve the app, the event is published before the
        call returns.

        Args:
            name: As for :meth:`publish`, like all others.
            data: The data.
            retry_ms: New reconnect delay, in milliseconds.
            to_others: Whether the page that sent the request leaves the event out.
            where: For which connections the event is.
            exclude: A connection that it is not for, or its id.
            refresh_on: Whether the event refreshes what is declared to be refreshed on it.

        Returns:
            A future with what :meth:`publish` returns or raises. An error that is not asked for is
            logged. Its ``result()`` raises RuntimeError in the thread of the event loop that
            serves, which would wait for itself: there, ``await publish(...)``.

        Example:
            ``prices.topic().publish_soon("price", "42")``
        """
        what = f"publish_soon() of {event_name(name)!r} to {self.name!r}"
        try:
            given = self._encoded(name, data, retry_ms)
            condition = None if where is None else Filter(where)
            pending = self._refreshed(name, data) if refresh_on else None
        except Exception as error:  # of a function of the app's, too
            return self._binding.soon.failed(error, what)
        publishing = self._publish(
            event_name(name), given, retry_ms, to_others, condition, exclude, pending
        )
        return self._soon(publishing, what)

    async def notify(
        self,
        message: str,
        *,
        level: Level = "info",
        title: str | None = None,
        data: Any = None,
        id: str | None = None,
        to_others: bool = False,
        where: Where | None = None,
        exclude: HasId | str | None = None,
    ) -> Notification:
        """Notify the people of the target: pages with ``sse_notifications()`` show it.

        A notification is an event, ``sse-notification``, and is kept and replayed like any other.
        One to a user who has no page open is shown by the next page, within
        ``QUART_SSE_HISTORY_TTL``.

        Args:
            message: The text. It is shown as it is, so HTML in it is not obeyed.
            level: ``"info"``, ``"success"``, ``"warning"`` or ``"error"``.
            title: A heading; None for none.
            data: What templates and scripts need beside it, as JSON holds it.
            id: 1 to 64 letters, digits, ``_``, ``.``, ``:`` and ``-``, such as ``report:12``. A
                browser shows one id once, so that a call that is repeated notifies once. None for
                one that is made.
            to_others: As for :meth:`publish`, like all others.
            where: For which connections it is.
            exclude: A connection that it is not for, or its id.

        Returns:
            The notification, with its id and time.

        Raises:
            EventError: If the message is no text or is empty, the level is unknown, the title or
                the id cannot be one, or the data cannot be written as JSON or are too large.
            FilterError: As for :meth:`publish`, and so are all other errors.

        Example:
            ``await sse.user(str(user.id)).notify("Saved", level="success")``
        """
        notification = make_notification(message, level, title, data, id)
        await self._notify(notification, to_others, where, exclude)
        return notification

    def _notify(
        self,
        notification: Notification,
        to_others: bool,
        where: Where | None,
        exclude: HasId | str | None,
    ) -> Coroutine[Any, Any, Published]:
        given = self._binding.publisher.encode_notification(notification)
        condition = None if where is None else Filter(where)
        return self._publish(NOTIFICATION, given, None, to_others, condition, exclude, None)

    def notify_soon(
        self,
        message: str,
        *,
        level: Level = "info",
        title: str | None = None,
        data: Any = None,
        id: str | None = None,
        to_others: bool = False,
        where: Where | None = None,
        exclude: HasId | str | None = None,
    ) -> Future[Published]:
        """Notify the people of the target without waiting for it; see :meth:`publish_soon`.

        Args:
            message: As for :meth:`notify`, like all others.
            level: The level.
            title: A heading.
            data: What templates and scripts need beside it.
            id: By which a browser shows it once.
            to_others: Whether the page that sent the request leaves it out.
            where: For which connections it is.
            exclude: A connection that it is not for, or its id.

        Returns:
            A future with what :meth:`publish` returns, or an error of :meth:`notify`.

        Example:
            ``sse.user("7").notify_soon("Saved", level="success")``
        """
        what = f"notify_soon() to {self.name!r}"
        try:
            notification = make_notification(message, level, title, data, id)
            publishing = self._notify(notification, to_others, where, exclude)
        except SSEError as error:
            return self._binding.soon.failed(error, what)
        return self._soon(publishing, what)

    def _soon(self, publishing: Coroutine[Any, Any, Result], what: str) -> Future[Result]:
        """Start to publish, for the batch that is open here, if any."""
        future = self._binding.soon.run(publishing, what, patience=None)
        self._binding.publisher.starts(future)
        return future

    async def history(
        self, limit: int | None = None, *, metadata: Mapping[str, Any] | None = None
    ) -> Sequence[KeptEvent]:
        """Return the kept events, oldest first.

        The broker keeps ``QUART_SSE_HISTORY`` of them, for ``QUART_SSE_HISTORY_TTL`` after the
        last. What must not be lost belongs into a database. Events with a filter (``where=``) are
        left out, because what is returned may be shown to anyone.

        Args:
            limit: Most events to return, the newest; None for all.
            metadata: Metadata of a client, to return the filtered events that it would be sent,
                too; None for none of them.

        Raises:
            ParameterError: If ``limit`` is no whole number of 1 or more.
            BrokerUnavailable: If the broker does not answer.

        Example:
            .. code-block:: python

                for event in await prices.topic().history(limit=10):
                    print(event.time, event.data)
        """
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int)):
            raise ParameterError(f"limit is {limit!r}. Pass a whole number of 1 or more, or None.")
        if limit is not None and limit < 1:
            raise ParameterError(f"limit is {limit}. Pass 1 or more, or None for all.")
        most = self._keep.events
        if not most:
            return []
        events = kept_for(await self._binding.publisher.history(self.name, most), metadata)
        return events if limit is None else events[-limit:]

    async def notifications(
        self, *, metadata: Mapping[str, Any] | None = None
    ) -> Sequence[Notification]:
        """Return the kept notifications, oldest first; those with equal ids once.

        They are kept as other events are, at most for ``QUART_SSE_HISTORY_TTL``, or the channel's
        ``history_ttl``. What must not be lost belongs into a database.

        Args:
            metadata: Metadata of a client, to return those with a filter (``where=``) that it would
                be sent, too; None for none of them.

        Raises:
            BrokerUnavailable: If the broker does not answer.

        Example:
            ``len(await sse.user("7").notifications())``
        """
        keep = self._keep
        if not keep.events:
            return []
        events = await self._binding.publisher.history(self.name, keep.events)
        return kept_notifications(events, metadata, keep.ttl)

    @property
    def _keep(self) -> Keep:
        return self._binding.channels.keep(self.name)


class People(Target):
    """A user, or everyone: those whose pages may be reloaded."""

    async def reload(self) -> None:
        """Let every open page reload itself, as after a deployment that changed them.

        A page in which the user has typed something offers it instead, by a button at its end.
        Pages that resume later reload, too, as long as the history lasts. Only pages that load
        ``quart-sse.js`` do so.

        Raises:
            BrokerUnavailable: As for :meth:`Target.publish`.

        Example:
            ``await sse.everyone.reload()``
        """
        bound = self._binding
        await bound.publisher.reload(self.name, bound.reload_file, self._keep)


class Everyone(People):
    """Every open stream of the app, in all processes; ``sse.everyone``.

    Page scripts hear its events by ``QuartSSE.on("everyone", name, ...)``.

    Example:
        ``await sse.everyone.publish("maintenance", {"minutes": 5})``
    """

    def __init__(self, binding: Binding) -> None:
        super().__init__(binding, EVERYONE)


class User(People):
    """Every open stream of one user, in all browsers and processes; ``sse.user(identity)``.

    A page receives the events if it was rendered for that user. Page scripts hear them by
    ``QuartSSE.on("user", name, ...)``.

    Attributes:
        identity: The user's identity, as the ``@sse.identity`` function returns it.

    Example:
        ``await sse.user(str(user.id)).publish("saved", {"id": 12})``
    """

    def __init__(self, binding: Binding, identity: str) -> None:
        super().__init__(binding, user_topic(identity))
        self.identity = identity


class WholeChannel(Target):
    """All who listen to any topic of a channel; ``channel.everyone``.

    A page receives an event once, however many topics of the channel it shows. Its wire name has
    no parameters: scripts hear it by ``QuartSSE.on("comments", name, ...)``.

    Example:
        ``await comments.everyone.publish("closed-for-tonight")``
    """

    def __init__(self, binding: Binding, declaration: Declaration) -> None:
        super().__init__(binding, channel_topic(declaration.name), declaration)


def _id_of(excluded: HasId | str | None) -> str:
    if excluded is None:
        return ""
    id = excluded if isinstance(excluded, str) else getattr(excluded, "id", None)
    if not isinstance(id, str) or not id:
        raise ParameterError(
            f"exclude= is {excluded!r}, which is no connection. Pass one of sse.connections, or "
            "its id."
        )
    return id


def page_that_asks(host: Host) -> str:
    """Return the page that sent the current request; "" without a valid header.

    Every client of the topic receives the result. It is a hash of the header's secret, because a
    client that knew the secret could send the header itself and hide events from that page.
    """
    match = _PAGE.fullmatch(host.header(PAGE_HEADER))
    return "" if match is None else f"{id_of(match[1])}.{match[2]}"
