"""Channels and topics: what applications declare, publish to and refresh."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from markupsafe import escape
from quart import Quart, has_request_context, render_template, request

from . import presence
from .addresses import root_of
from .broker import Keep, Kind, Message
from .config import Config
from .connection import id_of
from .errors import (
    DeclarationError,
    EventError,
    FragmentError,
    ParameterError,
    UnknownFragmentError,
)
from .event import check_event
from .fragment import FragmentSpec
from .naming import check_event_name, check_name, member_key
from .position import ZERO
from .presence import Presence
from .render import check_pushed, render_shared
from .rules import ChannelRule
from .state import State

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
        default_state: Callable[[], State],
    ) -> None:
        self.name = check_name("channel", name)
        self.rule = rule
        self._rule = ChannelRule(self.name, rule)
        self.public = public
        self.authorizer: Callable[..., Any] | None = None
        self.fragments: dict[str, Fragment] = {}
        self._history = history
        self._history_ttl = history_ttl
        self._state = default_state

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
        parameters = self._rule.parameters
        if params.keys() != parameters:
            wanted = ", ".join(sorted(parameters)) or "no parameters"
            raise ParameterError(
                f"A topic of channel {self.name!r} takes {wanted}, not "
                f"{', '.join(sorted(params)) or 'none'}. Its rule is {self.rule!r}."
            )
        state = self._state()
        back = self._rule.there_and_back(state.app, params)
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
        return Topic(self, state, self._rule.topic_of(state.app, back), back)

    def values(self, app: Quart, topic: str) -> dict[str, Any] | None:
        """Return the parameters of a topic by its name; None if there can be no such topic.

        Args:
            app: The app, whose URL map has the converters.
            topic: A topic's name, which may come from anybody.
        """
        return self._rule.values(app, topic)

    def known_values(self, app: Quart, topic: str) -> dict[str, Any]:
        """Return the parameters of a topic that :meth:`values` has found to be one before."""
        return self._rule.parameters_of(app, topic)

    def fragment_url(self, app: Quart, values: Mapping[str, Any], fragment: str) -> str:
        """Return the path of a fragment of the topic that parameters pick."""
        return self._rule.fragment_path(app, values, fragment)


class Topic:
    """A channel with its parameters filled in: what is published to and subscribed to.

    Attributes:
        name: The topic's name, such as ``comments?discussion_id=7``.
        params: Its parameters, as the rule's converters give them.
    """

    def __init__(
        self, channel: Channel, state: State, name: str, params: Mapping[str, Any]
    ) -> None:
        self.channel = channel
        self.name = name
        self.params = params
        self._state = state

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
        check_event_name(name)
        text = data if isinstance(data, str) else self._json(name, data)
        check_event(text, name, retry_ms, self._state.config.pending_bytes)
        origin = _page_that_asks() if to_others else ""
        message = Message(Kind.EVENT, ZERO, self.name, name, text, retry_ms, origin)
        id = await self._publish(message)
        return Published(id, self._state.hub.receivers(self.name))

    def _json(self, name: str, data: Any) -> str:
        try:
            return self._state.app.json.dumps(data)
        except (TypeError, ValueError) as error:
            raise EventError(
                f"The data of event {name!r} cannot be written as JSON: {error}. Publish text, "
                "or something that app.json can write."
            ) from None

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
        for name in fragments or self.channel.fragments:
            self.channel.find(name)
        for name in fragments or self.channel.fragments:
            await self._publish(Message(Kind.REFRESH, ZERO, self.name, name))

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
        root = root_of(self._state.config)
        if template is not None:
            text = await self._render(fragment, template, context, root)
        else:
            text = check_pushed(self._state, member_key(self.name, fragment), str(escape(html)))
        await self._publish(Message(Kind.PUSH, ZERO, self.name, fragment, text, origin=root))

    async def _render(
        self, fragment: str, template: str, context: Mapping[str, Any], root: str
    ) -> str:
        """Render a template as the fragment's renderer would: for all viewers."""

        async def render() -> str:
            return await render_template(template, **context)

        path = self.channel.fragment_url(self._state.app, self.params, fragment)
        rendered = await render_shared(self._state, self.name, fragment, render, {}, path, root)
        return rendered.html

    async def presence(self) -> Presence:
        """Return who is present on the topic, over all processes.

        While the broker is away only those of this process are counted: a page that shows a
        number shall not fail for it.

        Example:
            ``(await topic.presence()).people``
        """
        return await presence.look(self._state, self.name)

    async def _publish(self, message: Message) -> str:
        keep = self.channel.keep(self._state.config)
        return str(await self._state.broker.publish(message, keep))


def _page_that_asks() -> str:
    """Return which page's request this is; "" if it does not say, or what cannot be true.

    All that listen are sent it, so it must not be what the header has to say: else each of them
    could hide events of its own from that page.
    """
    header = request.headers.get(PAGE_HEADER, "") if has_request_context() else ""
    match = _PAGE.fullmatch(header)
    return "" if match is None else f"{id_of(match[1])}.{match[2]}"


def _is_same(given: Any, back: Any) -> bool:
    """Whether a parameter came back as what was given; True and 1.0 are not 1."""
    if isinstance(given, bool) is not isinstance(back, bool):
        return False
    return bool(given == back) and isinstance(given, type(back))
