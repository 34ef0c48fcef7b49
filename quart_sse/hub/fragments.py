"""The shared fragments of one process below one root path."""

import asyncio
import heapq
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple, Protocol

from ..error_log import ErrorLog
from ..tracing import Tracing
from ..wire import ZERO, Id, member_key
from .durations import Renders
from .fragment import SharedFragment
from .item import Item
from .lists import SharedList
from .rendered import FragmentSpec, Rendered
from .slots import Slots, Turn


class Renderer(Protocol):
    """Renders shared fragments; implemented in ``pages/``."""

    async def render(self, topic: str, fragment: str, root: str) -> Rendered:
        """Render a shared fragment for pages below a root path.

        Raises:
            Exception: Any exception of the application's renderer.
        """

    async def render_item(self, topic: str, fragment: str, root: str, item: str) -> Rendered:
        """Render one item of a list for pages below a root path; "" if it has gone.

        Raises:
            Exception: Any exception of the application's renderer.
        """


class Delivery(Protocol):
    """Sends HTML to the pages that show it; see :class:`~quart_sse.hub.delivery.Delivery`."""

    def deliver(self, fragments: "Fragments", shared: SharedFragment, is_wanted: bool) -> bool:
        """Note the nesting in a fragment's new HTML, and send the HTML to its pages if wanted."""

    def deliver_item(self, fragments: "Fragments", shared: SharedList, item: Item) -> bool:
        """Send an item's HTML to the pages that take it."""

    def replace_item(self, fragments: "Fragments", shared: SharedList, item: Item) -> None:
        """Let connections that lack an item wait for the whole list instead."""

    def viewers(self, topic: str, fragment: str, root: str) -> tuple[bool, bool]:
        """Whether pages below a root path take items of a list, and whether pages take none."""

    @property
    def tracing(self) -> Tracing | None:
        """What makes spans of renders; None for none."""

    def is_viewed(self, topic: str, fragment: str, root: str) -> bool:
        """Whether a page below a root path shows a fragment."""


class Whole(NamedTuple):
    """A fragment's HTML with the newest HTML of all fragments inside it."""

    html: str
    #: fragment key -> HTML that pages put in place afterwards, in this order
    behind: Mapping[str, str]
    #: (topic, fragment) of the fragments inside, at any depth
    nested: frozenset[tuple[str, str]]
    #: of a list: item -> version and HTML of what is newer than the list's
    items: Mapping[str, tuple[Id, str]] = MappingProxyType({})


def _recorded(rendered: Rendered) -> set[tuple[str, str]]:
    """Return (topic, fragment) of the fragments inside, at any depth, whose render is known."""
    found = set()
    for inside in rendered.inside:
        found |= {(inside.topic, inside.fragment), *_recorded(inside.rendered)}
    return found


def _put_behind(behind: dict[str, str], key: str, html: str) -> None:
    behind.pop(key, None)
    behind[key] = html


class Fragments:
    """The shared fragments of one process and app, as pages below one root path show them.

    URLs in a fragment's HTML begin with the root path of the pages, so that each root path has
    HTML of its own.

    Args:
        root: The root path of the pages.
        others: Root path -> the fragments below it, these among them.
        debounce: Debounce of fragments that declare none, in seconds.
        renderer: Renders the fragments.
        delivery: Sends their HTML to pages.
        errors: Log for exceptions of renderers.
        slots: Bound how many renders run at once.
        renders: Counts the renders; None for a count of its own.
    """

    def __init__(
        self,
        root: str,
        others: Mapping[str, "Fragments"],
        debounce: float,
        renderer: Renderer,
        delivery: Delivery,
        errors: ErrorLog,
        slots: Slots,
        renders: Renders | None = None,
    ) -> None:
        self._renders = Renders() if renders is None else renders
        self.root = root
        self._slots = slots
        self._others = others
        self._debounce = debounce
        self._renderer = renderer
        self._delivery = delivery
        self._errors = errors
        self._shared: dict[str, SharedFragment] = {}
        # Key of a forgotten fragment -> loop time of its debounce's end.
        self._forgotten: dict[str, float] = {}
        # The same as a heap: debounces differ, so that the dictionary is not in the order of time.
        self._forgotten_until: list[tuple[float, str]] = []

    def get(self, topic: str, spec: FragmentSpec) -> SharedFragment:
        """Return a fragment, and create it if it is unknown here."""
        key = member_key(topic, spec.name)
        shared = self._shared.get(key)
        if shared is None:
            debounce = self._debounce if spec.debounce is None else spec.debounce
            make = SharedFragment if spec.item is None else SharedList
            shared = make(topic, spec, debounce, self, self._errors)
            # A change holds below every root path.
            known = (each.known(topic, spec.name) for each in self._others.values())
            shared.requested = max((other.requested for other in known if other), default=ZERO)
            self._shared[key] = shared
            shared.debounce_until(self._forgotten.pop(key, 0.0))
        return shared

    @property
    def is_idle(self) -> bool:
        """Whether every fragment is idle, so that all can be forgotten."""
        return all(shared.is_idle for shared in self._shared.values())

    def forget(self) -> None:
        """Forget all fragments, which must be idle."""
        for shared in list(self._shared.values()):
            self._forget(shared)

    @property
    def html_size(self) -> int:
        """Size of the HTML that is kept, in characters."""
        return sum(shared.html_size for shared in list(self._shared.values()))

    def all(self) -> list[SharedFragment]:
        """Return the fragments that are known here."""
        return list(self._shared.values())

    def names(self) -> dict[str, set[str]]:
        """Return topic -> names of its known fragments."""
        found: dict[str, set[str]] = {}
        for shared in self._shared.values():
            found.setdefault(shared.topic, set()).add(shared.spec.name)
        return found

    async def render_now(
        self, topic: str, spec: FragmentSpec, *, is_kept: Callable[[], bool], is_urgent: bool
    ) -> Rendered:
        """Return a fragment's HTML by a render that begins after this call.

        Args:
            topic: The topic's name.
            spec: How the fragment was declared.
            is_kept: Whether the process receives the topic's changes, so that the HTML is kept.
            is_urgent: Whether the render begins at once instead of after the debounce.

        Raises:
            Exception: Any exception of the renderer.
        """
        shared = self.get(topic, spec)
        try:
            return await shared.render_now(is_urgent=is_urgent)
        finally:
            if not is_kept() and shared.is_idle:
                self._forget(shared)

    def render_all(self) -> None:
        """Render every fragment that a page shows, although none is known to have changed."""
        for shared in list(self._shared.values()):
            if shared.is_viewed():
                shared.rerender()

    def hurry(self) -> bool:
        """Let renders that wait for their debounce begin now, and return whether any is due."""
        return sum(shared.hurry() for shared in self._shared.values()) > 0

    def outdate(self, topics: Iterable[str]) -> None:
        """Render topics' fragments again for the next connection, as changes may be missed."""
        names = set(topics)
        for shared in self._shared.values():
            if shared.topic in names:
                shared.outdate()

    def drop(self, is_kept: Callable[[str], bool]) -> None:
        """Forget the fragments of topics whose changes the process no longer receives."""
        for shared in list(self._shared.values()):
            if not is_kept(shared.topic):
                shared.invalidate()  # also the outcome of a running render
                if shared.is_idle:
                    self._forget(shared)

    def _forget(self, shared: SharedFragment) -> None:
        shared.stop_every()
        shared.mark_current()
        self._shared.pop(shared.key, None)
        # The debounce outlives the fragment, or each request for it would cause a render.
        now = asyncio.get_running_loop().time()
        while self._forgotten_until and self._forgotten_until[0][0] <= now:
            until, key = heapq.heappop(self._forgotten_until)
            if self._forgotten.get(key) == until:
                del self._forgotten[key]
        if shared.debounced_until > now:
            self._forgotten[shared.key] = shared.debounced_until
            heapq.heappush(self._forgotten_until, (shared.debounced_until, shared.key))

    def whole(self, rendered: Rendered, within: frozenset[str] = frozenset()) -> Whole:
        """Return a fragment's HTML with the newest HTML of all fragments inside it.

        The render may have put older HTML of them inside than viewers have already.

        Args:
            rendered: The outcome of the fragment's render.
            within: Keys of the fragments around this one, against endless recursion.
        """
        html, behind, nested = rendered.html, dict[str, str](), set(rendered.nested)
        for inside in rendered.inside:
            key = member_key(inside.topic, inside.fragment)
            if key in within:
                continue
            newest = self._newest(inside.topic, inside.fragment, inside.rendered)
            inner = self.whole(newest, within | {key})
            nested |= inner.nested
            if inner.html != inside.rendered.html:
                element = inside.around(inner.html)
                html = html.replace(inside.element, element)
                if element not in html:  # the renderer has changed what the macros wrote
                    _put_behind(behind, key, inner.html)
            for other, content in inner.behind.items():
                _put_behind(behind, other, content)
        for topic, name in sorted(rendered.nested.difference(_recorded(rendered))):
            shared, key = self.known(topic, name), member_key(topic, name)
            if shared is not None and shared.rendered is not None and key not in within:
                inner = self.whole(shared.rendered, within | {key})
                nested |= inner.nested
                for other, content in {key: inner.html, **inner.behind}.items():
                    _put_behind(behind, other, content)
        return Whole(html, behind, frozenset(nested))

    def _newest(self, topic: str, name: str, rendered: Rendered) -> Rendered:
        shared = self.known(topic, name)
        kept = None if shared is None else shared.rendered
        return rendered if kept is None or kept.number < rendered.number else kept

    def known(self, topic: str, name: str) -> SharedFragment | None:
        """Return a fragment; None if it is unknown here."""
        return self._shared.get(member_key(topic, name))

    def nested(self, topic: str, name: str) -> frozenset[tuple[str, str]]:
        """Return (topic, fragment) of the fragments inside another one, by the newest renders.

        A fragment inside may contain more than when the outer one was rendered, and the outer
        one's message holds its newest HTML.
        """
        found, open_ = set[tuple[str, str]](), [(topic, name)]
        while open_:
            shared = self.known(*open_.pop())
            if shared is not None and shared.rendered is not None:
                new = shared.rendered.nested - found
                found |= new
                open_.extend(new)
        return frozenset(found)

    def invalidate_all(self) -> None:
        """Drop all HTML and versions, after the broker's ids have begun again."""
        for shared in self._shared.values():
            shared.invalidate()

    # -- the Home of the fragments -----------------------------------------------------------------

    async def render(
        self, shared: SharedFragment, traces: Sequence[str] = (), item: str | None = None
    ) -> Rendered:
        """Return the outcome of a render that begins now."""
        began, failure = time.monotonic(), None
        try:
            return await self._render(shared.topic, shared.spec.name, traces, item)
        except Exception as error:
            self._renders.failed += 1
            failure = error
            raise
        finally:
            seconds = time.monotonic() - began
            self._renders.took.observe(seconds)
            shared.record.note(seconds, failure)
            del failure  # or the error, its frames and this one would hold each other

    async def _render(
        self, topic: str, name: str, traces: Sequence[str], item: str | None
    ) -> Rendered:
        tracing = self._delivery.tracing
        if not traces or tracing is None:
            return await self._call(topic, name, item)
        with tracing.render(traces, topic.partition("?")[0], name) as trace:
            rendered = await self._call(topic, name, item)
        return replace(rendered, trace=trace)

    async def _call(self, topic: str, name: str, item: str | None) -> Rendered:
        if item is None:
            return await self._renderer.render(topic, name, self.root)
        return await self._renderer.render_item(topic, name, self.root, item)

    def deliver(self, shared: SharedFragment, is_wanted: bool) -> bool:
        """Note the nesting in a fragment's new HTML, and send the HTML to its pages if wanted."""
        return self._delivery.deliver(self, shared, is_wanted)

    def deliver_item(self, shared: SharedList, item: Item) -> bool:
        """Send an item's HTML to the pages that take it."""
        return self._delivery.deliver_item(self, shared, item)

    def replace_item(self, shared: SharedList, item: Item) -> None:
        """Let connections that lack an item wait for the whole list instead."""
        self._delivery.replace_item(self, shared, item)

    def viewers(self, shared: SharedList) -> tuple[bool, bool]:
        """Whether pages take items of a list, and whether pages take none."""
        return self._delivery.viewers(shared.topic, shared.spec.name, self.root)

    def is_viewed(self, shared: SharedFragment) -> bool:
        """Whether a page below the root path shows a fragment."""
        return self._delivery.is_viewed(shared.topic, shared.spec.name, self.root)

    def turn(self, cause: str, is_urgent: bool) -> Turn:
        """Return the turn of a render; see ``Slots.turn``."""
        return self._slots.turn(cause, is_urgent=is_urgent)

    def abandon(self) -> None:
        """Let no fragment render any more, in a loop that may go on all the same."""
        for shared in self._shared.values():
            shared.abandon()

    async def close(self) -> None:
        """Stop rendering."""
        for shared in list(self._shared.values()):
            await shared.close()
