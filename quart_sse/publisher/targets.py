"""What an :class:`AsyncPublisher` publishes to."""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, TypedDict, overload

from ..broker import Filter, Keep
from ..errors import FragmentError, ParameterError, SetupError
from ..wire import (
    EVERYONE,
    NOTIFICATION,
    Level,
    Notification,
    channel_topic,
    check_item,
    check_list,
    check_one,
    check_pushed,
    make_notification,
    member_key,
    plain,
    public_name,
    user_topic,
)
from .catalog import AGAIN, Catalog, Known
from .event_type import Data, EventType, event_name
from .messages import MessagePublisher
from .refreshes import Refresh, check_one_list, own_refreshes


class _Place(NamedTuple):
    """Where a target's messages go."""

    topic: str
    keep: Keep
    channel: Known | None


class Services(NamedTuple):
    """What the targets of one publisher work with."""

    catalog: Catalog
    messages: MessagePublisher


class AsyncPublisherTarget:
    """Everyone, a user, or all who listen to a channel.

    Example:
        ``await publisher.everyone.publish("maintenance", {"minutes": 5})``
    """

    def __init__(self, services: Services, topic: str, channel: str | None = None) -> None:
        self._services = services
        self._topic = topic
        self._channel = channel

    async def _place(self) -> _Place:
        """Return where messages go, by what the app declares."""
        catalog, messages = self._services
        declared = await catalog.declared()
        channel = None if self._channel is None else await catalog.find(self._channel)
        messages.max_bytes = declared.max_bytes
        keep = declared.keep if channel is None else channel.record.keep
        return _Place(self._topic, keep, channel)

    async def _place_of(self, event: str) -> _Place:
        """Return where an event goes; one that is not known is looked for again."""
        place = await self._place()
        if place.channel is None or place.channel.has_event(event):
            return place
        await self._services.catalog.declared(AGAIN)
        return await self._place()

    async def _refreshes(self, place: _Place, event: str) -> list[Refresh]:
        """Return what an event refreshes.

        Raises:
            SetupError: If only the app can say it.
            EventError: If it is for a whole channel, of whose topics no list exists.
        """
        source = public_name(place.topic).partition("?")[0]
        declared = await self._services.catalog.declared()
        if asked := declared.refreshed_by(source, event):
            raise SetupError(
                f"The event {event!r} of {source!r} refreshes topics of {', '.join(asked)}, which "
                f"functions of the app select (@{asked[0]}.refresh_on). Publish it in the app, or "
                f"at {declared.prefix}/~publish, or with refresh_on=False and refresh the topics "
                "yourself."
            )
        channel = place.channel
        names = () if channel is None else channel.record.on.get(event, ())
        if channel is None or not names:
            return []
        return own_refreshes(place.topic, event, names, place.keep, is_single=channel.is_single)

    @overload
    async def publish(
        self,
        name: EventType[Data],
        data: Data,
        *,
        retry_ms: int | None = None,
        where: Mapping[str, Any] | None = None,
        exclude: str | None = None,
        refresh_on: bool = True,
    ) -> str: ...

    @overload
    async def publish(
        self,
        name: str,
        data: Any = None,
        *,
        retry_ms: int | None = None,
        where: Mapping[str, Any] | None = None,
        exclude: str | None = None,
        refresh_on: bool = True,
    ) -> str: ...

    async def publish(
        self,
        name: EventType[Any] | str,
        data: Any = None,
        *,
        retry_ms: int | None = None,
        where: Mapping[str, Any] | None = None,
        exclude: str | None = None,
        refresh_on: bool = True,
    ) -> str:
        """Publish an event, as :meth:`Target.publish` does in the app.

        Args:
            name: The event's name, or its :class:`EventType`.
            data: A ``str`` is sent as it is, any other value as JSON.
            retry_ms: New reconnect delay of the clients that receive it, in milliseconds; None
                leaves it.
            where: For which connections the event is: what their metadata must equal. None for all.
            exclude: Id of a connection that the event is not for; None for none.
            refresh_on: Whether the event refreshes the fragments that are declared with ``on=``.

        Returns:
            The event's id in the broker's order.

        Raises:
            UnknownChannelError: If the app does not declare the channel.
            ParameterError: If a parameter is missing, unknown or invalid, or ``exclude`` is no id.
            EventError: If the name is reserved, invalid or not declared, the data cannot be written
                as JSON, are too large or not of the event's type, ``retry_ms`` is negative, or an
                event for a whole channel refreshes fragments of its topic.
            FilterError: If ``where`` is no condition.
            SetupError: If no process of the app has declared its channels yet, a converter is
                missing, the publisher is closed, or only a function of the app can say which topics
                the event refreshes (``@channel.refresh_on``).
            BrokerUnavailable: If the broker did not confirm the event. Its ``maybe_published`` is
                False if the event was certainly not published.

        Example:
            ``await publisher.topic("room", id=3).publish("said", {"text": "Hello"})``
        """
        filters = _filters(where, exclude)
        event, messages = event_name(name), self._services.messages
        place = await self._place_of(event)
        declares = None if place.channel is None else place.channel.declares
        given = messages.encode(name, data, retry_ms, declares)
        id = await messages.event(
            place.topic,
            event,
            given,
            place.keep,
            retry_ms=retry_ms,
            refreshes=await self._refreshes(place, event) if refresh_on else (),
            **filters,
        )
        return str(id)

    async def notify(
        self,
        message: str,
        *,
        level: Level = "info",
        title: str | None = None,
        data: Any = None,
        id: str | None = None,
        where: Mapping[str, Any] | None = None,
        exclude: str | None = None,
    ) -> Notification:
        """Notify the people of the target, as :meth:`Target.notify` does in the app.

        Args:
            message: The text. It is shown as it is, so HTML in it is not obeyed.
            level: ``"info"``, ``"success"``, ``"warning"`` or ``"error"``.
            title: A heading; None for none.
            data: What templates and scripts need beside it, as JSON holds it.
            id: By which a browser shows it once; None for one that is made.
            where: For which connections it is: what their metadata must equal. None for all.
            exclude: Id of a connection that it is not for; None for none.

        Returns:
            The notification, with its id and time.

        Raises:
            EventError: If the message is no text or is empty, the level is unknown, the title or
                the id cannot be one, or the data cannot be written as JSON or are too large.
            UnknownChannelError: As for :meth:`publish`, and so are all other errors.

        Example:
            ``await publisher.user("7").notify("Your report is ready", level="success")``
        """
        notification = make_notification(message, level, title, data, id)
        filters = _filters(where, exclude)
        place, messages = await self._place(), self._services.messages
        given = messages.encode_notification(notification)
        await messages.event(place.topic, NOTIFICATION, given, place.keep, **filters)
        return notification


class _Filters(TypedDict):
    """For which connections an event is, as the message publisher takes it."""

    where: Filter | None
    exclude: str


def _filters(where: Mapping[str, Any] | None, exclude: str | None) -> _Filters:
    if exclude is not None and (not isinstance(exclude, str) or not exclude):
        raise ParameterError(f"exclude= is {exclude!r}. Pass the id of a connection, or None.")
    return {"where": None if where is None else Filter(where), "exclude": exclude or ""}


class AsyncPublisherTopic(AsyncPublisherTarget):
    """A topic; ``publisher.topic(channel, ...)``.

    Example:
        ``await publisher.topic("room", id=3).refresh("list")``
    """

    def __init__(
        self, services: Services, channel: str, params: Mapping[str, Any], *, are_texts: bool
    ) -> None:
        super().__init__(services, "", channel)
        self._params = params
        self._are_texts = are_texts

    async def _place(self) -> _Place:
        _, keep, channel = await super()._place()
        assert channel is not None
        return _Place(channel.select(self._params, are_texts=self._are_texts), keep, channel)

    async def refresh(self, *fragments: str, item: str | int | None = None) -> None:
        """Render fragments again for their viewers, in every process of the app.

        Args:
            fragments: Names of the changed fragments; without names, all of the channel.
            item: Key of the item of a list that has changed; see :meth:`Topic.refresh`.

        Raises:
            UnknownFragmentError: If the channel does not declare one of the fragments.
            FragmentError: If ``item`` is given without one fragment that has items, or is no key.
            UnknownChannelError: As for :meth:`publish`, and so are all other errors.

        Example:
            ``await publisher.topic("room", id=3).refresh("list", "count")``
        """
        topic, keep, channel = await self._place()
        assert channel is not None
        names, key = channel.fragments(fragments), ""
        if item is not None:
            _check_list(channel, fragments)
            key = check_item(item)
        await self._services.messages.refresh(topic, names, keep, item=key)

    async def push(
        self,
        fragment: str,
        html: str,
        *,
        root: str | None = None,
        item: str | int | None = None,
    ) -> None:
        """Publish a fragment's HTML, so that no process renders it; see :meth:`Topic.push`.

        Args:
            fragment: The fragment's name.
            html: The HTML, the same for all viewers. ``Markup`` is sent as it is; a plain ``str``
                is escaped.
            root: Root path with which URLs in the HTML begin; None for that of
                ``QUART_SSE_BASE_URL``. Pages below another root path are rendered instead.
            item: Key of the item of a list that the HTML is of; None for the whole fragment.

        Raises:
            UnknownFragmentError: If the channel does not declare the fragment.
            FragmentError: If the fragment is personal, the HTML cannot go to all viewers, or items
                of a list do not carry what ``sse_item`` writes.
            UnknownChannelError: As for :meth:`publish`, and so are all other errors.

        Example:
            ``await publisher.topic("room", id=3).push("count", Markup("<b>3</b>"))``
        """
        from markupsafe import escape  # it takes a while to load

        topic, keep, channel = await self._place()
        assert channel is not None
        channel.fragments([fragment])
        if fragment in channel.record.personal:
            raise FragmentError(
                f"Fragment {fragment!r} of channel {channel.record.name!r} is personal: its HTML "
                f"differs between viewers. Use refresh({fragment!r})."
            )
        declared = await self._services.catalog.declared()

        def is_personal(name: str, inner: str) -> bool:
            return name in declared.channels and inner in declared.channels[name].personal

        given = html if hasattr(html, "__html__") else plain(html)
        list_key, key = member_key(topic, fragment), ""
        text = check_pushed(list_key, str(escape(given)), is_personal)
        if item is not None:
            _check_list(channel, [fragment])
            key = check_item(item)
            check_one(list_key, key, text)
        elif fragment in channel.record.items:
            check_list(list_key, text)
        root = declared.root if root is None else root
        await self._services.messages.push(topic, fragment, text, keep, root=root, item=key)

    async def close(self) -> None:
        """Take the topic off all open connections, in every process; see :meth:`Topic.close`.

        Raises:
            UnknownChannelError: As for :meth:`publish`, and so are all other errors.

        Example:
            ``await publisher.topic("room", id=3).close()``
        """
        topic = (await self._place()).topic
        await self._services.messages.close(topic=topic)


class AsyncPublisherChannel:
    """A channel as a whole; ``publisher.channel(name)``.

    Example:
        ``await publisher.channel("room").everyone.publish("closed-for-tonight")``
    """

    def __init__(self, services: Services, name: str) -> None:
        self._services = services
        self._name = name

    def topic(self, /, **params: Any) -> AsyncPublisherTopic:
        """Return a topic of the channel.

        Args:
            params: One value for each parameter of the channel's rule.

        Example:
            ``await publisher.channel("room").topic(id=3).refresh()``
        """
        return AsyncPublisherTopic(self._services, self._name, params, are_texts=False)

    @property
    def everyone(self) -> AsyncPublisherTarget:
        """All who listen to any topic of the channel.

        Example:
            ``await publisher.channel("room").everyone.publish("closed-for-tonight")``
        """
        return AsyncPublisherTarget(self._services, channel_topic(self._name), self._name)

    async def close(self) -> None:
        """Take all topics of the channel off all open connections, in every process.

        Raises:
            UnknownChannelError: As for :meth:`AsyncPublisherTarget.publish`, and so are all other
                errors.

        Example:
            ``await publisher.channel("room").close()``
        """
        await self._services.catalog.find(self._name)
        await self._services.messages.close(channel=self._name)


def _check_list(channel: Known, fragments: Collection[str]) -> None:
    record = channel.record
    check_one_list(record.name, fragments, record.items, [*record.personal])


def everyone(services: Services) -> AsyncPublisherTarget:
    """Return every open stream of the app, in all processes."""
    return AsyncPublisherTarget(services, EVERYONE)


def user(services: Services, identity: str) -> AsyncPublisherTarget:
    """Return every open stream of one user.

    Raises:
        ParameterError: If the identity is no ``str`` or is empty.
    """
    if not isinstance(identity, str) or not identity:
        raise ParameterError(
            f"The identity is {identity!r}. Pass a str that is not empty, as the @sse.identity "
            "function returns it."
        )
    return AsyncPublisherTarget(services, user_topic(identity))
