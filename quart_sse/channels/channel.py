"""Channels and topics: what applications declare, publish to and refresh."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from markupsafe import escape

from ..broker import Keep
from ..config import Config
from ..errors import DeclarationError, FragmentError, ParameterError, UnknownFragmentError
from ..host import Host
from ..hub import FragmentSpec, Hub, id_of
from ..publisher import AsyncPublisher
from ..wire import UrlRule, check_name
from .presence import Presence, PresenceTracker

#: By which our script says, in requests of htmx, which page they come from.
PAGE_HEADER = "X-SSE-Page"
#: The secret of its stream, and which of the pages that share it.
_PAGE = re.compile(r"([\w-]{16,64})\.([\w-]{1,64})", re.ASCII)

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Published:
    """What became of an event."""

    id: str  #: its place in the broker's order; opaque
    local_receivers: int  #: connections of this process that listened; others are not counted


@dataclass(frozen=True, slots=True)
class Fragment:
    """A declared fragment: how it behaves and what renders it."""

    spec: FragmentSpec
    renderer: Callable[..., Any]


class Pushes(Protocol):
    """Makes the HTML that a publisher pushes; ``pages/`` has the class."""

    def check(self, topic: str, fragment: str, html: str) -> str:
        """Return HTML that may go to all viewers."""

    async def render_template(
        self, topic: str, fragment: str, template: str, context: Mapping[str, Any]
    ) -> str:
        """Render a template as a shared fragment is rendered."""


@dataclass(frozen=True, slots=True)
class Binding:
    """What binds the topics of channels to one app."""

    host: Host
    config: Config
    publisher: AsyncPublisher
    hub: Hub
    presence: PresenceTracker
    pushes: Pushes


class Channel:
    """Something that pages can listen to: a name, and a URL rule whose parameters pick a topic.

    Made by ``sse.channel(...)``, which documents the arguments.

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
        *,
        public: bool,
        history: int | None,
        history_ttl: float | None,
        binding: Callable[[], Binding],
    ) -> None:
        self.name = check_name("channel", name)
        self.rule = rule
        self.url_rule = UrlRule(self.name, rule)
        self.public = public
        self.authorizer: Callable[..., Any] | None = None
        self.fragments: dict[str, Fragment] = {}
        self._history = history
        self._history_ttl = history_ttl
        self._binding = binding

    @property
    def specs(self) -> Mapping[str, FragmentSpec]:
        """Fragment -> how it was declared."""
        return {name: fragment.spec for name, fragment in self.fragments.items()}

    @property
    def shared(self) -> frozenset[str]:
        """The fragments that look the same to everybody."""
        return frozenset(name for name, spec in self.specs.items() if not spec.personal)

    def keep(self, config: Config) -> Keep:
        """Return how the history of this channel's topics is kept."""
        return Keep(
            config.history if self._history is None else self._history,
            config.history_ttl if self._history_ttl is None else self._history_ttl,
        )

    # -- declaring -------------------------------------------------------------------------------

    def authorize(self, function: Function) -> Function:
        """Ask this function whether whoever connects may listen to a topic.

        It runs in the request of whoever connects, with the topic's parameters as keyword
        arguments, and may be sync or async. False, or ``abort(4xx)``, is a no. It has the last
        word: also over topics that one of the app's own pages signed, at every connect and
        whenever a stream reaches its maximum age.

        Raises:
            DeclarationError: If the channel is public or has such a function already.

        Example:
            .. code-block:: python

                @comments.authorize
                async def may_read(discussion_id: int) -> bool:
                    return await is_member(current_user.auth_id, discussion_id)
        """
        if self.public:
            raise DeclarationError(
                f"Channel {self.name!r} is public=True, so nobody would be asked. Remove one."
            )
        if self.authorizer is not None:
            raise DeclarationError(
                f"Channel {self.name!r} has an authorize function already. Join the two into one."
            )
        self.authorizer = function
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
        """Declare a fragment: HTML that is a function of the channel's parameters.

        The decorated function gets the topic's parameters as keyword arguments, may be sync or
        async, and returns HTML. A shared fragment is rendered once, as an anonymous GET of its
        own URL, and everybody gets the same bytes; it must not depend on who looks.

        Args:
            name: Letters, digits, ``_`` and ``-``.
            personal: Whether it depends on who looks. It is then rendered in each viewer's own
                request: at first in the page's, after a change in one of its own.
            every: Seconds between refreshes while the topic has viewers; None for none.
            debounce: Seconds in which it is rendered at most once; None for
                ``QUART_SSE_DEBOUNCE``.
            presence: Whether it shows who is present, so that it is refreshed when somebody
                joins or leaves the topic.
            includes: Fragments of other topics that it may contain, as ``"channel.fragment"``;
                those of its own topic need not be named.

        Raises:
            DeclarationError: If the name cannot be used or is taken, or ``every`` or
                ``debounce`` is not a number of seconds.

        Example:
            .. code-block:: python

                @board.fragment("chart", every=5.0)
                async def chart() -> str:
                    return await render_template("_chart.svg", points=await load_points())
        """
        check_name("fragment", name)
        if name in self.fragments:
            raise DeclarationError(
                f"Channel {self.name!r} has a fragment {name!r} already. Choose another name."
            )
        for option, seconds in (("every", every), ("debounce", debounce)):
            if seconds is not None and not 0 <= seconds < float("inf"):
                raise DeclarationError(f"{option} is {seconds!r}. It must be a number of seconds.")
        if every == 0 or (every is not None and personal):
            raise DeclarationError(
                f"every={every!r} cannot be used for fragment {name!r}: it must be more than 0, "
                "and a personal fragment is refreshed by topic.refresh() alone."
            )

        def declare(function: Function) -> Function:
            spec = FragmentSpec(name, personal, every, debounce, presence, frozenset(includes))
            self.fragments[name] = Fragment(spec, function)
            return function

        return declare

    def find(self, fragment: str) -> Fragment:
        """Return a declared fragment.

        Raises:
            UnknownFragmentError: If there is none of that name.
        """
        try:
            return self.fragments[fragment]
        except KeyError:
            raise UnknownFragmentError(self.name, fragment, self.fragments) from None

    # -- topics ----------------------------------------------------------------------------------

    def topic(self, /, **params: Any) -> "Topic":
        """Return the topic that these parameters pick.

        The parameters are sent through the rule's converters, built into a URL and matched back,
        so that what is published to and what is subscribed to can never be two things.

        Raises:
            ParameterError: If parameters are missing, unknown, or come back from the URL as
                anything else (an empty string, ``1.0`` for an int, ``/`` in a string).
            SetupError: If it is not known which app is meant.

        Example:
            ``comments.topic(discussion_id=7).name == "comments?discussion_id=7"``
        """
        parameters = self.url_rule.parameters
        if params.keys() != parameters:
            wanted = ", ".join(sorted(parameters)) or "no parameters"
            raise ParameterError(
                f"A topic of channel {self.name!r} takes {wanted}, not "
                f"{', '.join(sorted(params)) or 'none'}. Its rule is {self.rule!r}."
            )
        binding = self._binding()
        url_map = binding.host.url_map
        back = self.url_rule.round_trip(url_map, params)
        for name, value in params.items():
            if back is None or not _is_same(value, back[name]):
                got = "nothing" if back is None else repr(back[name])
                raise ParameterError(
                    f"The parameter {name}={value!r} of channel {self.name!r} comes back from "
                    f"its URL as {got}. Pass what the converter in {self.rule!r} takes."
                )
        if back is None:
            raise ParameterError(
                f"The URL of channel {self.name!r} does not lead to it. A route of the app's own, "
                f"or of another channel, hides its rule {self.rule!r}."
            )
        return Topic(self, binding, self.url_rule.topic_of(url_map, back), back)


class Topic:
    """A channel with its parameters filled in: what is published to and subscribed to.

    Attributes:
        name: The topic's name, such as ``comments?discussion_id=7``.
        params: Its parameters, as the rule's converters give them.
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
        """Publish an event: a fact, kept in order and replayed to those who come back.

        Args:
            name: The event's name; ``message``, ``open``, ``error``, ``sse-*`` and ``htmx*`` are
                reserved.
            data: Text is sent as it is; anything else as JSON, by the app's own JSON provider
                (which takes dataclasses, dates and UUIDs). None is sent as ``null``.
            retry_ms: Milliseconds that clients shall from now on wait before they reconnect.
            to_others: Whether the page whose request this is shall not be told: it knows. Pages
                tell who they are if they have our script, by the header that it adds to the
                requests of htmx.

        Returns:
            The event's id, and how many connections of this process listened.

        Raises:
            EventError: If the name is reserved, or the data cannot be sent.
            BrokerUnavailable: If the event was not, or may not have been, published.

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
        return self.channel.keep(self._binding.config)

    async def refresh(self, *fragments: str) -> None:
        """Say that fragments have changed: whoever shows them is sent the new HTML.

        Commit before refreshing, for the renderer may run at once.

        Args:
            fragments: Their names; none means all of the channel.

        Raises:
            UnknownFragmentError: If the channel declares no such fragment.
            BrokerUnavailable: If the broker cannot be reached; it is safe to try again.

        Example:
            ``await comments.topic(discussion_id=7).refresh("list", "count")``
        """
        for name in fragments:
            self.channel.find(name)
        names = fragments or tuple(self.channel.fragments)
        await self._binding.publisher.refresh(self.name, names, self._keep)

    async def push(
        self,
        fragment: str,
        html: str | None = None,
        *,
        template: str | None = None,
        **context: Any,
    ) -> None:
        """Publish a fragment's HTML, rendered here: spares every process its own render.

        Args:
            fragment: The fragment's name.
            html: ``Markup`` is sent as it is; a plain ``str`` is escaped. Make it of what is the
                same for all viewers.
            template: Name of a template to render instead, just as a shared fragment is: outside
                the current request, as an anonymous GET of the fragment's URL. Its session, user
                and ``g`` cannot reach what all viewers are sent.
            context: For the template.

        Raises:
            UnknownFragmentError: If the channel declares no such fragment.
            FragmentError: If the fragment is personal, neither or both of ``html`` and
                ``template`` are given, or the HTML cannot be sent: it holds a connect element or
                a personal fragment, or a script that htmx would cut in two.
            RenderError: If the template could not be rendered outside a request, or took longer
                than ``QUART_SSE_RENDER_TIMEOUT``.
            BrokerUnavailable: If the broker cannot be reached; it is safe to try again.

        Example:
            ``await topic.push("count", html=Markup("<b>3</b>"))``
        """
        if self.channel.find(fragment).spec.personal:
            raise FragmentError(
                f"Fragment {fragment!r} of channel {self.channel.name!r} is personal: no one HTML "
                f"is right for everybody. Use topic.refresh({fragment!r})."
            )
        if (html is None) == (template is None):
            raise FragmentError("push() takes either html= or template=.")
        bound = self._binding
        if template is not None:
            text = await bound.pushes.render_template(self.name, fragment, template, context)
        else:
            text = bound.pushes.check(self.name, fragment, str(escape(html)))
        await bound.publisher.push(self.name, fragment, text, self._keep, root=bound.host.root())

    async def presence(self) -> Presence:
        """Return who is present on the topic, over all processes.

        While the broker is away only those of this process are counted: a page that shows a
        number shall not fail for it.

        Example:
            ``(await topic.presence()).people``
        """
        return await self._binding.presence.look(self.name)


def _page_that_asks(host: Host) -> str:
    """Return the page whose request this is; "" if it does not say, or what cannot be true.

    All that listen are sent it, so it must not be what the header has to say: else each of them
    could hide events of its own from that page.
    """
    match = _PAGE.fullmatch(host.header(PAGE_HEADER))
    return "" if match is None else f"{id_of(match[1])}.{match[2]}"


def _is_same(given: Any, back: Any) -> bool:
    """Whether a parameter came back as what was given; True and 1.0 are not 1."""
    if isinstance(given, bool) is not isinstance(back, bool):
        return False
    return bool(given == back) and isinstance(given, type(back))
