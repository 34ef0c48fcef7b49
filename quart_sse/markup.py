"""What the macros call: the markup of scripts, fragments and connect elements."""

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from markupsafe import Markup
from quart import Response, request
from quart.wrappers.response import DataBody

from .addresses import root_of
from .assets import ASSETS
from .channel import Channel, Topic
from .config import read_origins
from .errors import FragmentError, UnknownChannelError
from .fragment import Inside, Rendered
from .leaf import make_leaf
from .naming import check_event_name, member_key
from .page_request import PageRequest, current_identity, current_page
from .render import call_renderer
from .state import State

#: htmx version -> the scripts that a page needs, in their order, by their names in vendor.json:
#: with our own, by which all tabs of a browser share a connection, and without.
_SHARED = {2: ("htmx2", "idiomorph", "shared", "glue"), 4: ("htmx4", "shared", "glue")}
_PLAIN = {2: ("htmx2", "htmx2-sse"), 4: ("htmx4", "htmx4-sse")}

#: What https://www.w3.org/TR/wai-aria-1.2/#aria-live allows; None leaves the attribute out.
_ARIA_LIVE = (None, "polite", "assertive", "off")

_TAG_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]*")
#: Elements whose content is no HTML.
_RAW_TEXT = frozenset({"script", "style", "textarea", "title", "template", "iframe", "noscript"})
# https://html.spec.whatwg.org/multipage/syntax.html#attributes-2
_BREAKS_NAME = re.compile(r"""[\s/>=<"'\x00-\x1f\x7f]""")

VENDOR: Mapping[str, Mapping[str, str]] = json.loads((ASSETS / "static/vendor.json").read_text())


#: static file -> a hash of its content, for its URL; there are no others
STATIC: Mapping[str, str] = {
    path.relative_to(ASSETS / "static").as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
    for path in (ASSETS / "static").rglob("*")
    if path.is_file()
}


#: Our own scripts.
_OWN = {"shared": "quart-sse.min.js", "glue": "quart-sse-htmx.min.js"}


def _digest(file: str) -> str:
    """Return that by which a browser takes no other file for one of ours."""
    digest = hashlib.sha384((ASSETS / "static" / file).read_bytes()).digest()
    return f"sha384-{base64.b64encode(digest).decode()}"


#: name -> file and digest; of the scripts of others the table states it, whatever has become of
#: the file.
_LOADED = {name: (row["file"], row["integrity"]) for name, row in VENDOR.items()} | {
    name: (file, _digest(file)) for name, file in _OWN.items()
}


class Macros:
    """The functions behind ``quart_sse/macros.html``, one object per app.

    They keep what they must remember between calls in the request's scope (outside a request in
    ``g``), so they work however a template is put together: extended, included, imported with or
    without context, or streamed.

    Args:
        state: Of the app.
        channels: name -> channel.
    """

    def __init__(self, state: State, channels: Mapping[str, Channel]) -> None:
        self._state = state
        self._channels = channels
        # (topic, fragment) -> the fragments whose HTML its render waits for at the moment
        self._waiting: dict[tuple[str, str], set[tuple[str, str]]] = {}

    def scripts(
        self,
        nonce: str | None = None,
        shared: bool = True,
        htmx: bool = True,
        refresh: int | None = None,
        origins: Iterable[str] = (),
        reload: bool = False,
    ) -> Markup:
        """Return the script elements for the htmx version that ``QUART_SSE_HTMX`` names.

        They block, as they must: with ``defer`` or ``async`` htmx 4 may never connect.

        Args:
            nonce: Of the page's Content-Security-Policy, if it has one.
            shared: Whether all tabs of a browser share one connection, by ``quart-sse.js``;
                otherwise each connect element has its own, by htmx's SSE extension.
            htmx: Whether htmx is wanted at all; without it our script swaps fragments in itself.
            refresh: Seconds after which a browser without JavaScript loads the page anew.
            origins: Origins, beside the page's own, whose streams our script opens.
            reload: Whether a page in which nothing has been typed reloads itself when its
                signature has expired, as is right for one that hangs on a wall.

        Raises:
            ValueError: If neither htmx nor our script is wanted, what is given as an origin is
                none, or our script is given an option and not wanted.
        """
        names: tuple[str, ...] = (_SHARED if shared else _PLAIN)[self._state.config.htmx]
        if not htmx:
            if not shared:
                raise ValueError(
                    "sse_scripts(shared=false, htmx=false) asks for no script at all. Leave it out "
                    "of the template, or leave out one of the two arguments."
                )
            names = ("shared",)
        with_nonce = Markup(' nonce="{}"').format(nonce) if nonce else Markup()
        options = {"shared": _options(shared, origins, reload)}
        elements = [
            Markup('<script src="{}" integrity="{}"{}{}></script>').format(
                self._static_url(_LOADED[name][0]),
                _LOADED[name][1],
                with_nonce,
                options.get(name, ""),
            )
            for name in names
        ]
        if refresh is not None:
            meta = '<noscript><meta http-equiv="refresh" content="{:d}"></noscript>'
            elements.append(Markup(meta).format(refresh))
        return Markup("\n").join(elements)

    def _static_url(self, filename: str) -> str:
        config = self._state.config
        path = f"{root_of(config)}{config.url_prefix}/~static/{filename}"
        return f"{path}?v={STATIC[filename][:12]}"

    async def fragment(
        self,
        name: str,
        params: Mapping[str, Any],
        tag: str = "div",
        attrs: Mapping[str, Any] | None = None,
        aria_live: str | None = None,
    ) -> Markup:
        """Return a fragment in its element, rendered now, and note that the page shows it."""
        topic, fragment = self._find(name, params)
        element = await self._element(topic, fragment, tag, attrs, aria_live)
        current_page().shown.note_rendered()
        return element

    async def live(
        self,
        name: str,
        params: Mapping[str, Any],
        tag: str = "div",
        attrs: Mapping[str, Any] | None = None,
        aria_live: str | None = None,
    ) -> Markup:
        """Return a fragment with a connection of its own: nothing else is needed in the page."""
        topic, fragment = self._find(name, params)
        element = await self._element(topic, fragment, tag, attrs, aria_live)
        page = current_page()
        return element + await self._leaf(page, page.shown.take_rendered(topic.name, fragment))

    async def connect(self, topics: Iterable[Any] = ()) -> Markup:
        """Return the element that opens one connection for every fragment above.

        Args:
            topics: Further topics, whose events the page wants: channel names, pairs of channel
                name and parameters, or ``Topic`` objects.
        """
        page = current_page()
        for topic in topics:
            page.shown.note_topic(self._topic(topic).name)
        shown = page.shown.take()
        return await self._leaf(page, shown) if shown else Markup()

    def event(self, name: str, /, **params: Any) -> str:
        """Return the name by which an event of a topic reaches the page, and connect the topic."""
        channel, _, event = name.partition(".")
        topic = self._channel(channel).topic(**params).name
        current_page().shown.note_topic(topic)
        return member_key(topic, check_event_name(event))

    async def append_to(self, response: Response) -> Response:
        """Give an answer to an htmx request the connection that its fragments need."""
        page = current_page()
        page.path = request.path
        is_page = response.mimetype == "text/html" and response.status_code == 200
        if is_page and not isinstance(response.response, DataBody):
            # A streamed template sees another g, so who it is for must be asked now.
            await current_identity()
            # What it shows comes when the headers are gone, so nothing tells whether it is signed
            # or personal.
            page.is_private = any(
                not channel.public or channel.shared != channel.specs.keys()
                for channel in self._channels.values()
            )
        elif is_page and page.shown and is_htmx_part():
            body = await response.get_data(as_text=True)
            # Not Markup: adding one would escape the other.
            response.set_data(body + str(await self.connect()))
        if page.is_private and "Cache-Control" not in response.headers:
            # No shared cache may keep what only one visitor may use. It also keeps the page
            # out of the back-forward cache, where its stream would stay open.
            response.headers["Cache-Control"] = "private, no-store"
        return response

    # -- inner -------------------------------------------------------------------------------------

    def _channel(self, name: str) -> Channel:
        try:
            return self._channels[name]
        except KeyError:
            raise UnknownChannelError(name, self._channels) from None

    def _find(self, name: str, params: Mapping[str, Any]) -> tuple[Topic, str]:
        channel_name, dot, fragment = name.partition(".")
        if not dot:
            raise FragmentError(
                f"{name!r} does not name a fragment. Write 'channel.fragment', such as "
                "'comments.list'."
            )
        channel = self._channel(channel_name)
        channel.find(fragment)
        return channel.topic(**params), fragment

    def _topic(self, topic: Any) -> Topic:
        if isinstance(topic, Topic):
            return topic
        name, params = (topic, {}) if isinstance(topic, str) else topic
        return self._channel(name).topic(**params)

    async def _leaf(self, page: PageRequest, shown: Mapping[str, set[str]]) -> Markup:
        if page.rendering is not None:
            raise FragmentError(
                f"The shared fragment {page.rendering[1]!r} opens a connection, but its HTML goes "
                "to everybody. Put sse_connect() or sse_live() into the page instead."
            )
        identity = await current_identity()
        leaf = await make_leaf(
            self._state,
            shown,
            root=root_of(self._state.config),
            identity=identity,
        )
        page.is_private = page.is_private or leaf.is_signed
        return leaf.element(page.since)

    async def _element(
        self,
        topic: Topic,
        fragment: str,
        tag: str,
        attrs: Mapping[str, Any] | None,
        aria_live: str | None,
    ) -> Markup:
        if aria_live not in _ARIA_LIVE:
            raise ValueError(f"aria_live is {aria_live!r}. Write 'polite', 'assertive' or 'off'.")
        if not _TAG_NAME.fullmatch(tag) or tag.lower() in _RAW_TEXT:
            raise ValueError(
                f"tag is {tag!r}. Write the name of an element that shows HTML, such as 'div'."
            )
        attributes = _attributes({"aria-live": aria_live, **(attrs or {})})
        rendered = await self._render(topic, fragment)
        key = member_key(topic.name, fragment)
        opening = Markup('<{} data-sse="{}"{}>').format(tag, key, attributes)
        closing = Markup("</{}>").format(tag)
        page = current_page()
        if page.rendering is not None:
            page.inside.append(Inside(topic.name, fragment, rendered, opening, closing))
        return opening + Markup(rendered.html) + closing

    async def _render(self, topic: Topic, fragment: str) -> Rendered:
        page = current_page()
        declared = topic.channel.find(fragment)
        self._check_nesting(page, topic, fragment)
        page.shown.add([(topic.name, fragment)])
        if declared.spec.personal:
            page.is_private = True  # also where anybody may listen: it is this viewer's
            html = await call_renderer(
                self._state, topic.name, fragment, declared.renderer, topic.params
            )
            return Rendered(html)
        inside, inner = page.rendering, (topic.name, fragment)
        if inside is not None:
            self._waiting.setdefault(inside, set()).add(inner)
        try:
            rendered = await self._state.hub.render(
                topic.name, declared.spec, root=root_of(self._state.config)
            )
        finally:
            if inside is not None:
                self._waiting[inside].discard(inner)
                if not self._waiting[inside]:
                    del self._waiting[inside]
        page.shown.put_inside((topic.name, fragment), rendered.nested)
        return rendered

    def _check_nesting(self, page: PageRequest, topic: Topic, fragment: str) -> None:
        """Refuse a fragment inside another one where it could not be kept current."""
        if page.rendering is None:
            return
        outer_topic, outer = page.rendering
        name = f"{topic.channel.name}.{fragment}"
        if topic.channel.find(fragment).spec.personal:
            raise FragmentError(
                f"The shared fragment {outer!r} contains the personal fragment {name!r}, whose "
                "HTML would go to everybody. Put it beside, not inside."
            )
        outer_channel = self._channel(outer_topic.partition("?")[0])
        if topic.name != outer_topic and name not in outer_channel.find(outer).spec.includes:
            raise FragmentError(
                f"Fragment {outer!r} contains {name!r} of another topic. Declare it: "
                f"@{outer_channel.name}.fragment({outer!r}, includes=[{name!r}])."
            )
        if self._reaches((topic.name, fragment), page.rendering):
            raise FragmentError(f"Fragment {name!r} contains itself. Break the circle.")

    def _reaches(self, start: tuple[str, str], goal: tuple[str, str]) -> bool:
        """Whether a fragment's render waits, directly or not, for another's."""
        found, open_ = {start}, [start]
        while open_:
            here = open_.pop()
            if here == goal:
                return True
            for other in self._waiting.get(here, set()) - found:
                found.add(other)
                open_.append(other)
        return False


def _attributes(values: Mapping[str, Any]) -> Markup:
    """Return attributes for a tag, without those that are None.

    Raises:
        ValueError: If a name would end itself and begin another attribute, as Jinja's own
            ``xmlattr`` refuses it: names must not come from users, but templates do let them.
    """
    for name in values:
        if not name or _BREAKS_NAME.search(name):
            raise ValueError(
                f"{name!r} in attrs cannot name an attribute: it is empty, or has a space, a "
                "quote, '/', '<', '>' or '='. Values may have all of these, names come from you."
            )
    return Markup().join(
        Markup(' {}="{}"').format(name, value)
        for name, value in values.items()
        if value is not None
    )


def _options(shared: bool, origins: Iterable[str], reload: bool) -> Markup:
    """Return the attributes by which our script is given its options."""
    if (origins or reload) and not shared:
        raise ValueError(
            "sse_scripts(shared=false) leaves out our script, which origins= and reload= are for. "
            "Leave out that argument, or these."
        )
    try:
        listed = read_origins(origins)
    except (TypeError, ValueError):
        raise ValueError(
            f"origins is {origins!r}. List origins such as 'https://live.example.org', without a "
            "path, in sse_scripts(origins=[...])."
        ) from None
    text = Markup(' data-origins="{}"').format(" ".join(listed)) if listed else Markup()
    return text + Markup(" data-reload") if reload else text


def is_htmx_part() -> bool:
    """Whether the current request is htmx's for a part of a page, not for a whole one."""
    headers = request.headers
    return (
        headers.get("HX-Request") == "true"
        and headers.get("HX-Boosted") != "true"
        and headers.get("HX-History-Restore-Request") != "true"
        and headers.get("HX-Request-Type") != "full"
    )
