"""What an app declares of a channel: the decorators of :class:`Channel`."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Literal, TypeVar, overload

from ..hub import FragmentSpec, ItemSpec
from ..publisher import Data, EventType
from ..wire import plain
from .declaration import Declaration, Fragment
from .refreshing import Refresher, Refreshers, Selected

Function = TypeVar("Function", bound=Callable[..., Any])
Mapper = TypeVar("Mapper", bound=Callable[[Any], Selected | Awaitable[Selected]])


class Declaring:
    """The part of a channel by which an app declares it.

    Args:
        declaration: What is declared, as the other wings work with it.
        refreshers: The functions of ``refresh_on`` of all channels of the app.
    """

    def __init__(self, declaration: Declaration, refreshers: Refreshers) -> None:
        self._declaration = declaration
        self._refreshers = refreshers

    @property
    def name(self) -> str:
        """The channel's name, such as ``"comments"``."""
        return self._declaration.name

    @property
    def rule(self) -> str:
        """The URL rule, below ``QUART_SSE_URL_PREFIX``."""
        return self._declaration.rule

    @property
    def public(self) -> bool:
        """Whether clients may listen without a token and without ``authorize``."""
        return self._declaration.public

    def authorize(self, function: Function) -> Function:
        """Register the function that authorizes clients for this channel's topics.

        The function decides at every connect, and again when a stream reaches
        ``QUART_SSE_MAX_AGE``; a page's token cannot overrule it. It runs in the client's own
        request, in a thread if it is sync.

        Args:
            function: A sync or async function that takes the topic's parameters as keyword
                arguments. It returns True to authorize the client. False, None, ``abort(4xx)`` and
                a raised redirect refuse it; any other answer is logged as an error and refuses it,
                too.

        Returns:
            The function, unchanged.

        Raises:
            DeclarationError: If the channel is public, or has an ``authorize`` function already.

        Example:
            .. code-block:: python

                @comments.authorize
                async def may_read(discussion_id: int) -> bool:
                    return await is_member(current_user.auth_id, discussion_id)
        """
        self._declaration.set_authorizer(function)
        return function

    def fragment(
        self,
        name: str,
        *,
        personal: bool = False,
        every: float | None = None,
        debounce: float | None = None,
        presence: bool = False,
        on: str | EventType[Any] | Iterable[str | EventType[Any]] = (),
        includes: Iterable[str] = (),
    ) -> Callable[[Function], Function]:
        """Declare a fragment: HTML that is a function of the topic's parameters.

        The decorated function is the fragment's renderer. It takes the topic's parameters as
        keyword arguments, may be sync or async, and returns HTML as ``str`` or ``Markup``. A shared
        fragment is rendered once for all viewers, as an anonymous GET of its own URL, so its HTML
        must not depend on the user.

        Args:
            name: The fragment's name: letters, digits, ``_`` and ``-``.
            personal: Whether the HTML depends on the viewer. The renderer then runs in each
                viewer's own request: first that of the page, after a refresh one of the fragment.
            every: Seconds between two refreshes while the topic has viewers, more than 0; None
                refreshes on ``topic.refresh()`` alone.
            debounce: Seconds in which the fragment is rendered at most once, 0 or more; None means
                ``QUART_SSE_DEBOUNCE``.
            presence: Whether the fragment is refreshed when a viewer joins or leaves the topic.
            on: An event, or several, that refresh the fragment when they are published to the
                topic. The broker records the refresh together with the event. It is for all
                viewers, also those whom ``where=``, ``exclude=`` or ``to_others=`` leaves out.
            includes: Fragments of other topics that the HTML may contain, as
                ``"channel.fragment"``. Fragments of the same topic need no entry.

        Returns:
            A decorator, which returns the renderer unchanged.

        Raises:
            DeclarationError: If the name is invalid or taken, ``every`` or ``debounce`` is no
                number of seconds, a personal fragment has ``every``, or ``on`` names no event.

        Example:
            .. code-block:: python

                @board.fragment("chart", every=5.0)
                async def chart() -> str:
                    return await render_template("_chart.svg", points=await load_points())
        """
        name = plain(name)
        spec = FragmentSpec(name, personal, every, debounce, presence, frozenset(includes))
        self._declaration.check(spec)
        events = self._declaration.checked_on(on)

        def declare(function: Function) -> Function:
            self._declaration.fragments[name] = Fragment(spec, function)
            for event in events:
                self._declaration.on.setdefault(event, []).append(name)
            return function

        return declare

    def item(
        self, name: str, *, place: Literal["start", "end"] = "end", keep: int | None = None
    ) -> Callable[[Function], Function]:
        """Declare how one item of a list is rendered, so that a change costs one item.

        The list is a shared fragment, declared before: its renderer returns all items. The root
        element of each item carries what ``sse_item(key, order=...)`` writes, in both renderers.

        Args:
            name: The fragment's name.
            place: Where the items begin that have come last: with ``"end"`` orders ascend, with
                ``"start"`` they descend. An item without an order that is new goes there.
            keep: How many items pages show at most; those at the other end go. The list's renderer
                returns that many at most. An item that goes from such a list costs a render of the
                list, as another one may take its place. None for any number.

        Returns:
            A decorator, which returns the renderer unchanged. The renderer takes the topic's
            parameters as keyword arguments, and ``key``, the item's key as a ``str``. It returns
            the item's HTML, or None if there is no such item.

        Raises:
            DeclarationError: If there is no such fragment, it is personal, it has items already,
                the channel's rule has a parameter ``key``, or ``place`` or ``keep`` is invalid.

        Example:
            .. code-block:: python

                @rooms.fragment("messages")
                async def messages(room: int) -> str:
                    return await render_template("_messages.html", messages=await newest(room))

                @rooms.item("messages", keep=500)
                async def message(room: int, key: str) -> str | None:
                    found = await find_message(room, int(key))
                    if found is None:
                        return None
                    return await render_template("_message.html", message=found)
        """

        def declare(function: Function) -> Function:
            self._declaration.add_item(plain(name), ItemSpec(place, keep), function)
            return function

        return declare

    @overload
    def event(self, name: str, type: type[Data]) -> EventType[Data]: ...

    @overload
    def event(self, name: str) -> EventType[Any]: ...

    def event(self, name: str, type: Any = Any) -> EventType[Any]:
        """Declare an event, and the type of its data.

        Once a channel declares an event, publishing another one to it is an error, everywhere: in
        the app, by a :class:`Publisher`, in the shell and by HTTP.

        Args:
            name: The event's name, as for :meth:`Topic.publish`.
            type: Type of the data: a dataclass, a TypedDict, a pydantic model, or a type that JSON
                has, such as ``str`` and ``list[int]``. Left out, all data are accepted.

        Returns:
            The event, to publish by: ``await topic.publish(added, CommentAdded(...))``.

        Raises:
            EventError: If the name is reserved or invalid.
            DeclarationError: If the channel declares the event already, or JSON has no values of
                such a type.

        Example:
            .. code-block:: python

                from dataclasses import dataclass

                @dataclass
                class CommentAdded:
                    id: int
                    author: str

                added = comments.event("comment-added", CommentAdded)
        """
        declared: EventType[Any] = EventType(name, type, channel=self.name)
        self._declaration.add_event(declared)
        return declared

    @overload
    def refresh_on(
        self, event: EventType[Data], *fragments: str
    ) -> Callable[
        [Callable[[Data], Selected | Awaitable[Selected]]],
        Callable[[Data], Selected | Awaitable[Selected]],
    ]: ...

    @overload
    def refresh_on(self, event: str, *fragments: str) -> Callable[[Mapper], Mapper]: ...

    def refresh_on(self, event: EventType[Any] | str, *fragments: str) -> Callable[[Any], Any]:
        """Register a function that says which topics of this channel an event refreshes.

        The event is one of any channel, or of users and everyone. The function takes the event's
        data and runs where the event is published, before that; the broker then records the
        refreshes together with the event. If the function raises, ``publish()`` raises, and
        nothing is published. A sync function runs in the event loop, so that it must not block; one
        that asks a database is async.

        A :class:`Publisher` has no functions of the app, so it refuses such events.

        Args:
            event: The event: its :class:`EventType`, or ``"channel.event"``, such as
                ``"orders.created"``, ``"user.renamed"`` or ``"everyone.closed"``.
            fragments: Names of the fragments to refresh; without names, all of the channel.

        Returns:
            A decorator, which returns the function unchanged. The function returns the parameters
            of the topic as a dict, a list of such dicts, or None for no topic.

        Raises:
            DeclarationError: If ``event`` names no channel and event.

        Example:
            .. code-block:: python

                @rooms.refresh_on("comments.comment-added")
                def room_of(comment: dict[str, int]) -> dict[str, int]:
                    return {"room": comment["room"]}
        """
        source, name = self._declaration.checked_source(event)
        self._declaration.refresh_on.append(f"{source}.{name}")

        def register(function: Any) -> Any:
            made = Refresher(source, name, function, self._declaration, fragments)
            self._refreshers.setdefault(name, []).append(made)
            return function

        return register

    def validate(self, function: Function) -> Function:
        """Register the function that looks at a topic's parameters, beyond the converters.

        A client that asks for a topic which the function refuses is answered as for a topic that
        does not exist, whatever its token and ``authorize`` say. The function runs at every
        connect, in the client's own request, before ``authorize``.

        Args:
            function: A sync or async function that takes the topic's parameters as keyword
                arguments. It returns True if there is such a topic. False, None and ``abort(4xx)``
                refuse it; any other answer is logged as an error and refuses it, too.

        Returns:
            The function, unchanged.

        Raises:
            DeclarationError: If the channel has a ``validate`` function already.

        Example:
            .. code-block:: python

                @prices.validate
                async def is_listed(symbol: str) -> bool:
                    return symbol in await listed_symbols()
        """
        self._declaration.set_validator(function)
        return function

    def initial(self, function: Function) -> Function:
        """Register a function whose events each new client of a topic is sent first.

        It is called for clients that begin, not for those that resume: those without
        ``Last-Event-ID``, and each new page, whose other tabs are sent nothing. The events are in
        no history. It runs in the client's own request.

        Args:
            function: A sync or async function that takes the topic's parameters as keyword
                arguments. It returns events: a list or any iterable of :class:`Event`, or of pairs
                of name and data, whose data are as for :meth:`Topic.publish`.

        Returns:
            The function, unchanged.

        Example:
            .. code-block:: python

                @prices.initial
                async def newest(symbol: str) -> list[tuple[str, float]]:
                    return [("price", await last_price(symbol))]
        """
        self._declaration.initials.append(function)
        return function

    def on_connect(self, function: Function) -> Function:
        """Register a hook that is called when a connection begins to listen to a topic.

        It runs in an app context of its own, off the delivery path; an error is logged and harms
        no stream.

        Args:
            function: A sync or async function that takes the connection and the topic.

        Returns:
            The function, unchanged.

        Example:
            .. code-block:: python

                @rooms.on_connect
                async def joined(connection: ConnectionHandle, topic: Topic) -> None:
                    await topic.publish("joined", connection.identity, to_others=True)
        """
        self._declaration.on_connect.append(function)
        return function

    def on_disconnect(self, function: Function) -> Function:
        """Register a hook that is called when a connection no longer listens to a topic.

        It runs as that of :meth:`on_connect`, and after it.

        Args:
            function: A sync or async function that takes the connection, the topic, and how the
                stream ended: an :class:`Ending`, or None if the client has gone.

        Returns:
            The function, unchanged.

        Example:
            .. code-block:: python

                @rooms.on_disconnect
                async def left(connection, topic: Topic, ending: Ending | None) -> None:
                    await topic.publish("left", connection.identity)
        """
        self._declaration.on_disconnect.append(function)
        return function

    def on_join(self, function: Function) -> Function:
        """Register a hook that is called when a user with an identity joins a topic.

        People join with their first connection and leave with their last one, over all processes;
        a reload, another page and another tab are neither. One process calls the hook, once, in an
        app context of its own. Anonymous visitors do not join, but count for
        :meth:`Topic.presence`.

        The call is lost if that process stops, or the broker is away, in the moment between. So
        let a hook tell of a change, and read who is there from ``presence()``.

        Args:
            function: A sync or async function that takes the :class:`Person` and the topic.

        Returns:
            The function, unchanged.

        Example:
            .. code-block:: python

                @rooms.on_join
                async def joined(person: Person, topic: Topic) -> None:
                    await topic.publish("joined", {"name": person.metadata.get("name")})
        """
        self._declaration.on_join.append(function)
        return function

    def on_leave(self, function: Function) -> Function:
        """Register a hook that is called when the last connection of a user has left a topic.

        That is ``QUART_SSE_PRESENCE_LINGER`` after it closed, or about a minute after its process
        was killed. It runs as that of :meth:`on_join`, and after it.

        Args:
            function: A sync or async function that takes the :class:`Person` and the topic.

        Returns:
            The function, unchanged.

        Example:
            .. code-block:: python

                @rooms.on_leave
                async def left(person: Person, topic: Topic) -> None:
                    await topic.publish("left", {"name": person.metadata.get("name")})
        """
        self._declaration.on_leave.append(function)
        return function
