"""Channels and topics: what applications declare, publish to and refresh."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from markupsafe import escape

from ..broker import Keep
from ..config import Config
from ..errors import FragmentError
from ..host import Host
from ..hub import FragmentSpec, Hub, id_of
from ..publisher import AsyncPublisher
from ..serving_loop import ServingLoop
from ..wire import plain
from .declaration import Declaration, Fragment
from .options import ChannelOptions
from .presence import Presence, PresenceTracker

#: Request header in which the script names the page that sends an htmx request.
PAGE_HEADER = "X-SSE-Page"
#: The header's value: the secret of the page's stream, and the page's number on that stream.
_PAGE = re.compile(r"([\w-]{16,64})\.([\w-]{1,64})", re.ASCII)

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Published:
    """The result of :meth:`Topic.publish`.

    Attributes:
        id: The event's id in the broker's order. Clients receive it as ``Last-Event-ID``; compare
            it for equality only.
        local_receivers: Number of open connections on the topic in this process. Connections of
            other processes are not counted, so 0 does not mean that the event had no receiver.

    Example:
        ``(await topic.publish("price", "42")).local_receivers``
    """

    id: str
    local_receivers: int


class Pushes(Protocol):
    """Checks and renders pushed HTML; :class:`quart_sse.pages.Renderer` implements it."""

    def check(self, topic: str, fragment: str, html: str) -> str:
        """Return the HTML if it may go to all viewers; raise FragmentError otherwise."""

    async def render_template(
        self, topic: str, fragment: str, template: str, context: Mapping[str, Any]
    ) -> str:
        """Render a template as a shared fragment: outside the current request."""


@dataclass(frozen=True, slots=True)
class Binding:
    """The services of one app that its topics use."""

    host: Host
    config: Config
    publisher: AsyncPublisher
    hub: Hub
    presence: PresenceTracker
    pushes: Pushes
    serving: ServingLoop


class Channel:
    """A named kind of topic: a URL rule whose parameters select one topic.

    ``sse.channel(...)`` makes channels and documents the arguments. A channel declares its
    fragments (:meth:`fragment`), authorizes clients (:meth:`authorize`) and returns topics
    (:meth:`topic`).

    Example:
        .. code-block:: python

            comments = sse.channel("comments", "/discussion/<int:discussion_id>/comments")

            @comments.fragment("list")
            async def comment_list(discussion_id: int) -> str:
                return await render_template("_comments.html", ...)

            await comments.topic(discussion_id=7).refresh("list")
    """

    def __init__(
        self,
        name: str,
        rule: str,
        options: ChannelOptions,
        *,
        blueprint: str | None = None,
        binding: Callable[[], Binding],
    ) -> None:
        self._declaration = Declaration(name, rule, options, blueprint)
        self._binding = binding

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

    # -- declaring -------------------------------------------------------------------------------

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
            includes: Fragments of other topics that the HTML may contain, as
                ``"channel.fragment"``. Fragments of the same topic need no entry.

        Returns:
            A decorator, which returns the renderer unchanged.

        Raises:
            DeclarationError: If the name is invalid or taken, ``every`` or ``debounce`` is no
                number of seconds, or a personal fragment has ``every``.

        Example:
            .. code-block:: python

                @board.fragment("chart", every=5.0)
                async def chart() -> str:
                    return await render_template("_chart.svg", points=await load_points())
        """
        name = plain(name)
        spec = FragmentSpec(name, personal, every, debounce, presence, frozenset(includes))
        self._declaration.check(spec)

        def declare(function: Function) -> Function:
            self._declaration.fragments[name] = Fragment(spec, function)
            return function

        return declare

    # -- topics ----------------------------------------------------------------------------------

    def topic(self, /, **params: Any) -> "Topic":
        """Return the topic that these parameters select.

        The parameters are built into a URL and matched back by the rule's converters, so that
        publishers and clients always mean the same topic.

        Args:
            params: One value for each parameter of the rule, of the type that its converter gives.

        Returns:
            The topic, bound to the current app.

        Raises:
            ParameterError: If a parameter is missing or unknown, or its URL leads back to another
                value (as an empty string, ``1.0`` for an int, or a string with ``/``).
            SetupError: If the SSE object serves no app, or several and none is current.

        Example:
            ``comments.topic(discussion_id=7).name == "comments?discussion_id=7"``
        """
        binding = self._binding()
        name, values = self._declaration.select(binding.host.url_map, params)
        return Topic(self, binding, name, values)


class Topic:
    """A channel with its parameters filled in: clients listen to it, the app publishes to it.

    Returned by :meth:`Channel.topic` and ``sse.topic(...)``. A topic holds no connection and no
    state: make one wherever you need it.

    Attributes:
        channel: The topic's channel.
        name: The topic's name, such as ``comments?discussion_id=7``.
        params: The parameters, as the rule's converters give them.

    Example:
        .. code-block:: python

            topic = comments.topic(discussion_id=7)
            await topic.refresh("list")
            await topic.publish("comment-added", {"id": 12})
    """

    def __init__(
        self, channel: Channel, binding: Binding, name: str, params: Mapping[str, Any]
    ) -> None:
        self.channel = channel
        self.name = name
        self.params = params
        self._binding = binding

    def __repr__(self) -> str:
        """Show the topic's name."""
        return f"<Topic {self.name!r}>"

    async def publish(
        self,
        name: str,
        data: Any = None,
        *,
        retry_ms: int | None = None,
        to_others: bool = False,
    ) -> Published:
        """Publish an event: a fact, delivered in order.

        The broker keeps events for ``QUART_SSE_HISTORY_TTL`` and replays missed ones to clients
        that resume.

        Args:
            name: The event's name: a letter, then letters, digits, ``_``, ``.`` or ``-``. The
                names ``message``, ``open`` and ``error`` (WHATWG: ``EventSource`` dispatches these
                itself), ``sse-*`` and ``htmx*`` are reserved.
            data: A ``str`` is sent as it is. Any other value is sent as JSON by ``app.json``, which
                writes dataclasses, dates and UUIDs; None is sent as ``null``.
            retry_ms: New reconnect delay of the clients that receive the event, in milliseconds
                (the ``retry`` field of the WHATWG event stream); None leaves it.
            to_others: Whether the page that sent the current request leaves the event out. The
                script names the page in a header of htmx's requests; requests without the header
                exclude no page.

        Returns:
            The event's id, and the number of connections on the topic in this process.

        Raises:
            EventError: If the name is reserved or invalid, the data cannot be written as JSON or
                exceeds ``QUART_SSE_PENDING_BYTES``, or ``retry_ms`` is negative.
            BrokerUnavailable: If the broker did not confirm the event. Its ``maybe_published`` is
                False if the event was certainly not published.

        Example:
            ``await topic.publish("comment-added", {"id": 12})``
        """
        bound = self._binding
        id = await bound.publisher.event(
            self.name,
            name,
            data,
            self._keep,
            retry_ms=retry_ms,
            origin=_page_that_asks(bound.host) if to_others else "",
        )
        return Published(str(id), bound.hub.receivers(self.name))

    @property
    def _keep(self) -> Keep:
        return self.channel._declaration.keep(self._binding.config)

    async def refresh(self, *fragments: str) -> None:
        """Render fragments again for their viewers, in every process.

        Commit first: the renderer may run at once, in a process that reads the committed data.
        Processes without viewers of a fragment do not render it.

        Args:
            fragments: Names of the changed fragments; without names, all of the channel.

        Raises:
            UnknownFragmentError: If the channel does not declare one of the fragments.
            BrokerUnavailable: If the broker cannot be reached. Refreshing again is always safe.

        Example:
            ``await comments.topic(discussion_id=7).refresh("list", "count")``
        """
        declared = self.channel._declaration
        names = [declared.find(name).spec.name for name in fragments] or [*declared.fragments]
        await self._binding.publisher.refresh(self.name, names, self._keep)

    async def push(
        self,
        fragment: str,
        html: str | None = None,
        *,
        template: str | None = None,
        **context: Any,
    ) -> None:
        """Publish a fragment's HTML, so that no other process renders it.

        The HTML is not stored. Clients that connect later get the renderer's output, so ``html``
        must match it.

        Args:
            fragment: The fragment's name.
            html: The HTML, the same for all viewers. ``Markup`` is sent as it is; a plain ``str``
                is escaped.
            template: Name of a template to render instead of ``html``. It is rendered as a shared
                fragment: outside the current request, without its session, user and ``g``.
            context: Variables of the template.

        Raises:
            UnknownFragmentError: If the channel does not declare the fragment.
            FragmentError: If the fragment is personal, neither or both of ``html`` and ``template``
                are given, or the HTML contains a connect element, a personal fragment, or htmx's
                own tags in a script or style.
            RenderError: If the template cannot be rendered outside a request, or takes longer than
                ``QUART_SSE_RENDER_TIMEOUT``.
            BrokerUnavailable: If the broker cannot be reached. Pushing again is always safe.

        Example:
            ``await topic.push("count", html=Markup("<b>3</b>"))``
        """
        spec = self.channel._declaration.find(fragment).spec
        fragment = spec.name
        if spec.personal:
            raise FragmentError(
                f"Fragment {fragment!r} of channel {self.channel.name!r} is personal: its HTML "
                f"differs between viewers. Use topic.refresh({fragment!r})."
            )
        if (html is None) == (template is None):
            raise FragmentError(
                "push() takes either html= or template=, and got neither or both. Pass one of them."
            )
        bound = self._binding
        if template is not None:
            text = await bound.serving.run(
                bound.pushes.render_template, self.name, fragment, template, context
            )
        else:
            given = html if html is None or hasattr(html, "__html__") else plain(html)
            text = bound.pushes.check(self.name, fragment, str(escape(given)))
        await bound.publisher.push(self.name, fragment, text, self._keep, root=bound.host.root())

    async def presence(self) -> Presence:
        """Return the users and connections present on the topic, over all processes.

        While the broker is unavailable only this process is counted, so that pages which show the
        number keep rendering.

        Example:
            ``(await topic.presence()).people``
        """
        return await self._binding.presence.look(self.name)


def _page_that_asks(host: Host) -> str:
    """Return the page that sent the current request; "" without a valid header.

    Every client of the topic receives the result. It is a hash of the header's secret, because a
    client that knew the secret could send the header itself and hide events from that page.
    """
    match = _PAGE.fullmatch(host.header(PAGE_HEADER))
    return "" if match is None else f"{id_of(match[1])}.{match[2]}"
