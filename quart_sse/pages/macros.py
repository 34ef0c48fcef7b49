"""The functions behind the macros: the markup of scripts, fragments and connect elements."""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from markupsafe import Markup

from ..access import ConnectElement, ConnectElements, Gate
from ..channels import AppChannels, Channel, Topic
from ..errors import FragmentError, MacroError, UnknownChannelError
from ..host import Host
from ..hub import Hub, Inside, Rendered
from ..wire import RESERVED, check_event_name, item_attributes, items_of, member_key, plain
from .notifications import Notifications, Region
from .page_request import PageRequest, Pages
from .render import Renderer
from .scripts import Scripts

#: Values of ``aria-live`` (https://www.w3.org/TR/wai-aria-1.2/#aria-live); None omits it.
_ARIA_LIVE = (None, "polite", "assertive", "off")

_TAG_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]*")
#: Elements whose content browsers do not parse or show as HTML.
_RAW_TEXT = frozenset({"script", "style", "textarea", "title", "template", "iframe", "noscript"})
# Characters that may not occur in attribute names:
# https://html.spec.whatwg.org/multipage/syntax.html#attributes-2
_BREAKS_NAME = re.compile(r"""[\s/>=<"'\x00-\x1f\x7f]""")


class Macros:
    """The functions that ``quart_sse/macros.html`` calls, one object per app.

    Between two calls of a page their state lives in the request's ASGI scope (outside a request in
    ``g``), so they work in templates that are extended, included, imported with or without context,
    or streamed.

    Args:
        host: The framework, which has the current request's exchange and root path.
        channels: The app's channels.
        gate: Returns the current request's identity.
        hub: Renders shared fragments.
        renderer: Renders personal fragments.
        elements: Makes connect elements.
        pages: The page of each request, with the fragments that it shows.
        scripts: Writes script elements.
        notifications: Makes the region of notifications.
    """

    def __init__(
        self,
        host: Host,
        channels: AppChannels,
        gate: Gate,
        hub: Hub,
        renderer: Renderer,
        elements: ConnectElements,
        pages: Pages,
        scripts: Scripts,
        notifications: Notifications,
    ) -> None:
        self._host = host
        self._channels = channels
        self._gate = gate
        self._hub = hub
        self._renderer = renderer
        self._elements = elements
        self._pages = pages
        self._scripts = scripts
        #: ``sse_scripts``; see :meth:`Scripts.elements`.
        self.scripts: Callable[..., Markup] = scripts.elements
        #: ``sse_notifications``; see :meth:`Notifications.region`.
        self.notifications: Callable[..., Awaitable[Region]] = notifications.region
        #: The current page, for links that ``<base>`` does not lead elsewhere.
        self.here: Callable[[], str] = host.here
        # (topic, fragment) -> the fragments whose renders its own render waits for
        self._waiting: dict[tuple[str, str], set[tuple[str, str]]] = {}

    async def fragment(
        self,
        name: str,
        params: Mapping[str, Any],
        tag: str = "div",
        attrs: Mapping[str, Any] | None = None,
        aria_live: str | None = None,
    ) -> Markup:
        """Return a fragment in its element, rendered now; ``sse_fragment``.

        Args:
            name: ``"channel.fragment"``.
            params: The topic's parameters.
            tag: Name of the element around the fragment.
            attrs: Further attributes of the element; those whose value is None are omitted.
            aria_live: ``"polite"``, ``"assertive"``, ``"off"`` or None.

        Raises:
            UnknownChannelError: If the channel is not declared.
            UnknownFragmentError: If the channel does not declare the fragment.
            ParameterError: If the parameters are not those of the channel's rule.
            FragmentError: If the HTML cannot be sent, or the fragment may not stand inside the
                fragment that is being rendered.
            MacroError: If ``tag``, ``attrs`` or ``aria_live`` cannot be written as HTML.
        """
        topic, fragment = self._find(name, params)
        page = self._page()
        element = await self._element(page, topic, fragment, tag, attrs, aria_live)
        page.shown.note_rendered()
        return element

    async def presence(
        self,
        channel: str,
        params: Mapping[str, Any],
        names: bool = False,
        tag: str = "div",
        attrs: Mapping[str, Any] | None = None,
        aria_live: str | None = None,
    ) -> Markup:
        """Return who is on a topic, in words that follow it; ``sse_presence``.

        Args:
            channel: Name of the channel, which is declared with ``presence=``.
            params: The topic's parameters.
            names: Whether to list the people's names.
            tag: Name of the element around the words.
            attrs: Further attributes of the element, after its class.
            aria_live: ``"polite"``, ``"assertive"``, ``"off"`` or None.

        Raises:
            MacroError: If the channel is not declared with ``presence=``, or as for
                :meth:`fragment`, whose other errors are those of this method.
        """
        fragment = "presence-names" if names else "presence"
        if fragment not in self._channels.known(self._channel(channel).name).known:
            raise MacroError(
                f"sse_presence({channel!r}) needs to know who listens to the channel. Declare it "
                f"with presence=True: sse.channel({channel!r}, ..., presence=True)."
            )
        attributes = {"class": "sse-presence", **(attrs or {})}
        return await self.fragment(f"{channel}.{fragment}", params, tag, attributes, aria_live)

    async def live(
        self,
        name: str,
        params: Mapping[str, Any],
        tag: str = "div",
        attrs: Mapping[str, Any] | None = None,
        aria_live: str | None = None,
    ) -> Markup:
        """Return a fragment with a connect element of its own; ``sse_live``.

        The arguments and errors are those of ``sse_fragment``.
        """
        topic, fragment = self._find(name, params)
        page = self._page()
        element = await self._element(page, topic, fragment, tag, attrs, aria_live)
        return element + await self._connect(page, page.shown.take_rendered(topic.name, fragment))

    def item(self, key: str | int, order: Any = None) -> Markup:
        """Return the attributes of the root element of a list's item; ``sse_item``.

        Args:
            key: The item's key, as ``refresh(item=...)`` has it.
            order: A number or text by which the list is ordered; None for none.

        Raises:
            MacroError: If the order is neither.
            FragmentError: If the key is none.
        """
        return Markup(item_attributes(key, order))

    async def connect(
        self, topics: Iterable[Any] = (), user: bool = False, enabled: bool = True
    ) -> Markup:
        """Return the connect element of all fragments above it; ``sse_connect``.

        A page that shows no fragment and names no event or topic gets no element, unless a user is
        signed in, whose events it then receives.

        Args:
            topics: Further topics whose events the page receives: channel names, pairs of channel
                name and parameters, or ``Topic`` objects.
            user: Whether the page gets an element in any case, for what is for everyone.
            enabled: Whether the page is live. If not, the element opens no connection, and says
                to ``sse_status`` and scripts that the page is not live.

        Raises:
            UnknownChannelError: If a channel is not declared.
            ParameterError: If the parameters are not those of the channel's rule.
            FragmentError: Inside a shared fragment, whose HTML all viewers receive.
        """
        page = self._page()
        for topic in topics:
            page.shown.note_topic(self._topic(topic).name)
        shown = page.shown.take()
        is_wanted = bool(shown) or user or page.shown.is_of_audience
        if not is_wanted and page.rendering is None and not page.is_connected:
            is_wanted = self._elements.can_sign and await self._gate.identity() is not None
        if not is_wanted:
            return Markup()
        return await self._connect(page, shown) if enabled else self._disconnect(page)

    def stream(
        self,
        url: str,
        content: str = "",
        tag: str = "div",
        attrs: Mapping[str, Any] | None = None,
    ) -> Markup:
        """Return an element with a stream of its own; ``sse_stream``.

        Args:
            url: URL of a view that answers with ``sse.stream(source)``, of this origin.
            content: HTML inside of the element.
            tag: Name of the element.
            attrs: Further attributes of the element; those whose value is None are omitted.

        Raises:
            MacroError: If ``tag`` or ``attrs`` cannot be written as HTML.
        """
        attributes = _attributes(attrs or {})
        opening = Markup('<{} sse-stream="{}"{}>').format(_checked(tag), url, attributes)
        scripts = self._scripts.bring(self._pages.current(), "stream")
        return scripts + opening + Markup(content) + Markup("</{}>").format(tag)

    def event(self, name: str, /, *, everyone: bool = False, **params: Any) -> str:
        """Return the name under which the page receives an event; ``sse_event``.

        The next connect element covers the event's topic.

        Args:
            name: ``"channel.event"``; or ``"user.event"``, ``"everyone.event"`` and
                ``"connection.event"``, of :meth:`SSE.user`, :attr:`SSE.everyone` and
                :meth:`SSE.send`.
            everyone: Whether the event is one of ``channel.everyone``, which has no parameters.
            params: The topic's parameters.

        Raises:
            UnknownChannelError: If the channel is not declared.
            ParameterError: If the parameters are not those of the channel's rule.
            EventError: If the event's name is reserved or invalid.
        """
        wire_name, topic = self._event_name(name, everyone, params)
        if topic is not None:
            self._page().shown.note_topic(topic)
        elif name.partition(".")[0] in RESERVED:
            self._page().shown.is_of_audience = True
        return wire_name

    def seen(
        self,
        name: str,
        id: object,
        key: str | None = "id",
        /,
        *,
        everyone: bool = False,
        **params: Any,
    ) -> Markup:
        """Return the attribute of an element that shows what an event says; ``sse_seen``.

        The page drops such an event if it is sent all the same. The topic needs a connection by
        other means, for a page with an empty list has no such element.

        Args:
            name: As for :meth:`event`.
            id: What tells the event from others of its name; ``str(id)`` counts.
            key: Key of that in the event's data; None if the data are the id.
            everyone: As for :meth:`event`.
            params: The topic's parameters.

        Raises:
            UnknownChannelError: If the channel is not declared.
            ParameterError: If the parameters are not those of the channel's rule.
            EventError: If the event's name is reserved or invalid.
            MacroError: If ``key`` contains a space.
        """
        if key is not None and " " in key:
            raise MacroError(f"key is {key!r}. Use keys without spaces in the data of such events.")
        self._pages.current().files.add("seen")
        mark = f"{self._event_name(name, everyone, params)[0]} {key or ''} {id}"
        return Markup('data-sse-seen="{}"').format(mark)

    async def url(self, topics: Iterable[str]) -> str:
        """Return the URL of a stream of topics, for an answer that is no page.

        Args:
            topics: Names of the topics.

        Raises:
            FragmentError: Inside a shared fragment, whose HTML all viewers receive.
        """
        page = self._pages.current()
        element = await self._make(page, {topic: set() for topic in topics})
        return element.url_from(page.since)

    # -- inner -------------------------------------------------------------------------------------

    def _page(self) -> PageRequest:
        """Return the current page; a part of a page gets a connect element for what it shows."""
        page = self._pages.current()
        if not page.is_completed and page.rendering is None:
            page.is_completed = True
            self._host.complete_part(self._complete)
        return page

    async def _complete(self) -> str:
        page = self._pages.current()
        return str(await self.connect()) if page.shown else ""

    def _channel(self, name: str) -> Channel:
        channel = self._channels.declared.get(name)
        if channel is None:
            raise UnknownChannelError(name, self._channels.declared)
        return channel

    def _event_name(
        self, name: str, everyone: bool, params: Mapping[str, Any]
    ) -> tuple[str, str | None]:
        """Return the wire name of an event, and its topic; None for an audience."""
        channel, _, event = name.partition(".")
        if channel in RESERVED:
            return member_key(channel, check_event_name(event)), None
        if everyone:
            return member_key(self._channel(channel).name, check_event_name(event)), None
        topic = self._channel(channel).topic(**params).name
        return member_key(topic, check_event_name(event)), topic

    def _find(self, name: str, params: Mapping[str, Any]) -> tuple[Topic, str]:
        channel_name, dot, fragment = name.partition(".")
        if not dot:
            raise FragmentError(
                f"{name!r} does not name a fragment. Write 'channel.fragment', such as "
                "'comments.list'."
            )
        channel = self._channel(channel_name)
        self._channels.known(channel_name).find(fragment)
        return channel.topic(**params), fragment

    def _topic(self, topic: Any) -> Topic:
        if isinstance(topic, Topic):
            return topic
        name, params = (topic, {}) if isinstance(topic, str) else topic
        return self._channel(name).topic(**params)

    async def _connect(self, page: PageRequest, shown: Mapping[str, set[str]]) -> Markup:
        element = await self._make(page, shown)
        page.is_connected = True
        page.shown.is_of_audience = False
        scripts, files = self._scripts.take_further(page)
        return scripts + element.element(page.since, files)

    def _disconnect(self, page: PageRequest) -> Markup:
        """Return what stands for a connect element in a page that is not to be live."""
        _refuse_shared(page)
        page.is_connected = True  # as far as this page is to be
        page.shown.is_of_audience = False
        page.files = {"off"}
        scripts, _ = self._scripts.take_further(page, is_boosted=True)
        return scripts + Markup("<div data-sse-off hidden></div>")

    async def _make(self, page: PageRequest, shown: Mapping[str, set[str]]) -> ConnectElement:
        _refuse_shared(page)
        element = await self._elements.make(
            {topic: self._with_lists(page, topic, names) for topic, names in shown.items()},
            root=self._host.root(),
            identity=await self._gate.identity(),
            address=self._host.address(),
        )
        page.is_private = page.is_private or element.is_signed
        return element

    def _with_lists(self, page: PageRequest, topic: str, names: set[str]) -> set[str]:
        """Return names of fragments, and those by which the page takes items of lists.

        A list inside of another fragment is sent with that, so it is always whole.
        """
        channel = self._channels.of(topic)
        lists = () if channel is None else names & channel.items.keys()
        if not lists:
            return names
        inside = page.shown.inside
        return names | {items_of(name) for name in lists if (topic, name) not in inside}

    async def _element(
        self,
        page: PageRequest,
        topic: Topic,
        fragment: str,
        tag: str,
        attrs: Mapping[str, Any] | None,
        aria_live: str | None,
    ) -> Markup:
        if aria_live not in _ARIA_LIVE:
            raise MacroError(f"aria_live is {aria_live!r}. Write 'polite', 'assertive' or 'off'.")
        tag = _checked(tag)
        attributes = _attributes({"aria-live": aria_live, **(attrs or {})})
        rendered = await self._render(page, topic, fragment)
        key = member_key(topic.name, fragment)
        opening = Markup('<{} data-sse="{}"{}>').format(tag, key, attributes)
        closing = Markup("</{}>").format(tag)
        if page.rendering is not None:
            page.inside.append(Inside(topic.name, fragment, rendered, opening, closing))
        return opening + Markup(rendered.html) + closing

    async def _render(self, page: PageRequest, topic: Topic, fragment: str) -> Rendered:
        declared = self._channels.known(topic.name).find(fragment)
        self._check_nesting(page, topic, fragment)
        page.shown.add([(topic.name, fragment)])
        if declared.spec.personal:
            page.is_private = True  # in public channels, too: the HTML is this viewer's
            page.files |= {"personal", "refused"}
            return Rendered(await self._renderer.call(topic.name, fragment, topic.params))
        inside, inner = page.rendering, (topic.name, fragment)
        if inside is not None:
            self._waiting.setdefault(inside, set()).add(inner)
        try:
            rendered = await self._hub.render_now(topic.name, declared.spec, root=self._host.root())
        finally:
            if inside is not None:
                self._waiting[inside].discard(inner)
                if not self._waiting[inside]:
                    del self._waiting[inside]
        page.shown.put_inside((topic.name, fragment), rendered.nested)
        if declared.spec.item is not None:
            page.files.add("list")
        return rendered

    def _check_nesting(self, page: PageRequest, topic: Topic, fragment: str) -> None:
        """Refuse a fragment inside another one if it could not be refreshed there."""
        if page.rendering is None:
            return
        outer_topic, outer = page.rendering
        name = f"{topic.channel.name}.{fragment}"
        if self._channels.known(topic.name).find(fragment).spec.personal:
            raise FragmentError(
                f"The shared fragment {outer!r} contains the personal fragment {name!r}, whose "
                "HTML is for one viewer. Put it beside, not inside."
            )
        outer_channel = self._channels.known(outer_topic)
        if topic.name != outer_topic and name not in outer_channel.find(outer).spec.includes:
            raise FragmentError(
                f"Fragment {outer!r} contains {name!r} of another topic. Declare it: "
                f"@{outer_channel.name}.fragment({outer!r}, includes=[{name!r}])."
            )
        if self._reaches((topic.name, fragment), page.rendering):
            raise FragmentError(f"Fragment {name!r} contains itself. Remove it from its own HTML.")

    def _reaches(self, start: tuple[str, str], goal: tuple[str, str]) -> bool:
        """Whether the render of ``start`` waits, directly or not, for that of ``goal``."""
        found, open_ = {start}, [start]
        while open_:
            here = open_.pop()
            if here == goal:
                return True
            for other in self._waiting.get(here, set()) - found:
                found.add(other)
                open_.append(other)
        return False


def _refuse_shared(page: PageRequest) -> None:
    """Refuse to open a connection in a shared fragment.

    Raises:
        FragmentError: If the page is the render of one.
    """
    if page.rendering is not None:
        raise FragmentError(
            f"The shared fragment {page.rendering[1]!r} opens a connection, but its HTML "
            "is for all viewers. Put sse_connect() or sse_live() into the page instead."
        )


def _checked(tag: str) -> str:
    """Return the name of an element that shows HTML.

    Raises:
        MacroError: If it is none.
    """
    if not _TAG_NAME.fullmatch(tag) or tag.lower() in _RAW_TEXT:
        raise MacroError(
            f"tag is {tag!r}. Write the name of an element that shows HTML, such as 'div'."
        )
    return tag


def _plain_value(value: Any) -> Any:
    is_text = isinstance(value, str) and not hasattr(value, "__html__")
    return plain(value) if is_text else value


def _attributes(values: Mapping[str, Any]) -> Markup:
    """Return the attributes of a tag, without those whose value is None.

    Raises:
        MacroError: If a name has a character that ends it, so that a user who chose the name could
            add attributes. Jinja's ``xmlattr`` filter refuses the same names.
    """
    for name in values:
        if not name or _BREAKS_NAME.search(name):
            raise MacroError(
                f"{name!r} in attrs cannot name an attribute: it is empty, or has a space, a "
                "quote, '/', '<', '>' or '='. Write the name yourself; values may have these."
            )
    return Markup().join(
        Markup(' {}="{}"').format(name, _plain_value(value))
        for name, value in values.items()
        if value is not None
    )
