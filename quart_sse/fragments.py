"""The shared fragments that a process knows, and how far all of them are current."""

import asyncio
import heapq
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, Protocol

from .error_log import ErrorLog
from .fragment import FragmentSpec, Rendered, SharedFragment
from .naming import member_key
from .position import ZERO


class Renderer(Protocol):
    """Renders shared fragments; ``pages/`` has the class."""

    async def render(self, topic: str, fragment: str, root: str) -> Rendered:
        """Render a shared fragment for pages below a root path.

        Raises:
            Exception: What the application's renderer raised.
        """


class Delivery(Protocol):
    """Takes HTML to the pages that show it; see :class:`~quart_sse.delivery.Delivery`."""

    def deliver(self, fragments: "Fragments", shared: SharedFragment, is_wanted: bool) -> bool:
        """Learn what is inside a fragment's new HTML, and send it if it is for the viewers."""

    def is_viewed(self, topic: str, fragment: str, root: str) -> bool:
        """Whether a page below a root path shows a fragment."""


class Whole(NamedTuple):
    """A fragment's HTML with the newest of all that is inside it."""

    html: str
    #: fragment key -> HTML that must be put in place after it, in this order
    behind: Mapping[str, str]
    #: (topic, fragment) of all that is inside
    nested: frozenset[tuple[str, str]]


def _recorded(rendered: Rendered) -> set[tuple[str, str]]:
    """Return what is inside, at any depth, as far as it is known which render of it is."""
    found = set()
    for inside in rendered.inside:
        found |= {(inside.topic, inside.fragment), *_recorded(inside.rendered)}
    return found


def _put_behind(behind: dict[str, str], key: str, html: str) -> None:
    behind.pop(key, None)
    behind[key] = html


class Fragments:
    """Fragment key -> its current HTML, for one process and one app.

    URLs in a fragment's HTML begin with the root path of the pages, so these are the fragments of
    pages below one root path.

    Args:
        root: The root path.
        others: Root path -> the fragments below it, these among them.
        debounce: Seconds, for fragments that declare none of their own.
        renderer: Renders them.
        delivery: Takes their HTML.
        errors: Takes what their renderers get wrong.
    """

    def __init__(
        self,
        root: str,
        others: Mapping[str, "Fragments"],
        debounce: float,
        renderer: Renderer,
        delivery: Delivery,
        errors: ErrorLog,
    ) -> None:
        self.root = root
        self._others = others
        self._debounce = debounce
        self._renderer = renderer
        self._delivery = delivery
        self._errors = errors
        self._shared: dict[str, SharedFragment] = {}
        # Key -> the loop time until which a fragment that was forgotten is not rendered again.
        self._forgotten: dict[str, float] = {}
        # The same by time: each fragment has a debounce of its own.
        self._forgotten_until: list[tuple[float, str]] = []

    def get(self, topic: str, spec: FragmentSpec) -> SharedFragment:
        """Return a fragment's state, which is made if it is not known."""
        key = member_key(topic, spec.name)
        shared = self._shared.get(key)
        if shared is None:
            debounce = self._debounce if spec.debounce is None else spec.debounce
            shared = SharedFragment(topic, spec, debounce, self, self._errors)
            # What is known of its changes holds below every root path.
            known = (each.known(topic, spec.name) for each in self._others.values())
            shared.requested = max((other.requested for other in known if other), default=ZERO)
            self._shared[key] = shared
            shared.debounce_until(self._forgotten.pop(key, 0.0))
        return shared

    @property
    def is_idle(self) -> bool:
        """Whether no connection shows or awaits any fragment, so that all can be forgotten."""
        return all(shared.is_idle for shared in self._shared.values())

    def forget(self) -> None:
        """Let go of all fragments, which are idle."""
        for shared in list(self._shared.values()):
            self._forget(shared)

    def names(self) -> dict[str, set[str]]:
        """Return topic -> the fragments of it that are known."""
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
            is_kept: Whether its state is to be kept afterwards, since changes of it are heard.
            is_urgent: Whether it begins at once, not when the debounce is over.

        Raises:
            Exception: Whatever the renderer raised.
        """
        shared = self.get(topic, spec)
        try:
            return await shared.render_now(is_urgent=is_urgent)
        finally:
            if not is_kept() and shared.is_idle:
                self._forget(shared)

    def outdate(self, topics: Iterable[str]) -> None:
        """Render again for the next connection: changes of these may have been missed until now."""
        names = set(topics)
        for shared in self._shared.values():
            if shared.topic in names:
                shared.outdate()

    def drop(self, is_kept: Callable[[str], bool]) -> None:
        """Forget the fragments of topics that are not heard of any more."""
        for shared in list(self._shared.values()):
            if not is_kept(shared.topic):
                shared.invalidate()  # also what a render that still runs will give
                if shared.is_idle:
                    self._forget(shared)

    def _forget(self, shared: SharedFragment) -> None:
        shared.stop_every()
        shared.mark_current()
        self._shared.pop(shared.key, None)
        # The debounce goes on, or asking for it again and again would render it each time.
        now = asyncio.get_running_loop().time()
        while self._forgotten_until and self._forgotten_until[0][0] <= now:
            until, key = heapq.heappop(self._forgotten_until)
            if self._forgotten.get(key) == until:
                del self._forgotten[key]
        if shared.debounced_until > now:
            self._forgotten[shared.key] = shared.debounced_until
            heapq.heappush(self._forgotten_until, (shared.debounced_until, shared.key))

    def whole(self, rendered: Rendered, within: frozenset[str] = frozenset()) -> Whole:
        """Return a fragment's HTML with the newest of all that is inside it.

        It may have been rendered from older HTML of those than viewers have been sent.

        Args:
            rendered: The fragment's.
            within: Keys of the fragments that this one is inside of.
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
                if element not in html:  # the renderer has changed it
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
        """Return a fragment's state; None if it is not known."""
        return self._shared.get(member_key(topic, name))

    def nested(self, topic: str, name: str) -> frozenset[tuple[str, str]]:
        """Return (topic, fragment) of all that is inside a fragment, by the newest renders.

        What is inside may contain more by now than when the fragment was rendered, and its
        message holds the newest.
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
        """Trust nothing rendered so far: the order of ids has begun again."""
        for shared in self._shared.values():
            shared.invalidate()

    # -- what the fragments ask of their home ------------------------------------------------------

    async def render(self, shared: SharedFragment) -> Rendered:
        """Return the outcome of a render that begins now."""
        return await self._renderer.render(shared.topic, shared.spec.name, self.root)

    def deliver(self, shared: SharedFragment, is_wanted: bool) -> bool:
        """Take note of a fragment's new HTML, and hand it on if it is for the viewers."""
        return self._delivery.deliver(self, shared, is_wanted)

    def is_viewed(self, shared: SharedFragment) -> bool:
        """Whether a page below the root path shows a fragment."""
        return self._delivery.is_viewed(shared.topic, shared.spec.name, self.root)

    async def close(self) -> None:
        """Stop rendering."""
        for shared in list(self._shared.values()):
            await shared.close()
