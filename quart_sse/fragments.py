"""The shared fragments that a process knows, and how far all of them are current."""

import asyncio
import heapq
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from .fragment import FragmentSpec, Rendered, SharedFragment
from .naming import member_key
from .position import Id


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

    Args:
        debounce: Seconds, for fragments that declare none of their own.
        make: Makes the state of a fragment of a topic.
    """

    def __init__(
        self, debounce: float, make: Callable[[str, FragmentSpec, float], SharedFragment]
    ) -> None:
        self._debounce = debounce
        self._make = make
        self._shared: dict[str, SharedFragment] = {}
        self._behind: set[SharedFragment] = set()
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
            shared = self._shared[key] = self._make(topic, spec, debounce)
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

    def refresh(self, shared: SharedFragment, id: Id, seen: Id) -> None:
        """Note that a fragment changed at ``id``, when the hub stood at ``seen``."""
        shared.refresh(id, seen)
        if shared.floor is not None:
            self._behind.add(shared)

    def recheck(self, shared: SharedFragment, seen: Id) -> None:
        """Render a fragment, something inside which may have changed after ``seen``."""
        shared.recheck(seen)
        self._behind.add(shared)

    def current_up_to(self, seen: Id) -> Id:
        """Return up to where every fragment is that somebody looks at, ``seen`` at most."""
        if not self._behind:
            return seen
        self._behind = {shared for shared in self._behind if shared.floor is not None}
        floors = (shared.floor for shared in self._behind if shared.floor is not None)
        return min(floors, default=seen)

    async def render(
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
            return await shared.fresh(is_urgent=is_urgent)
        finally:
            if not is_kept() and shared.is_idle:
                self._forget(shared)

    def outdate(self, topics: Iterable[str]) -> None:
        """Render again for the next connection: changes of these may have been missed until now."""
        names = set(topics)
        for shared in self._shared.values():
            if shared.topic in names:
                shared.outdate()

    def unwatched(self, topics: frozenset[str]) -> None:
        """Owe nobody anything of fragments of these topics that nobody looks at any more."""
        for shared in list(self._behind):
            if shared.topic in topics and not shared.is_viewed():
                shared.forget_floor()

    def drop(self, is_kept: Callable[[str], bool]) -> None:
        """Forget the fragments of topics that are not heard of any more."""
        for shared in list(self._shared.values()):
            if not is_kept(shared.topic):
                shared.forget()  # also what a render that still runs will give
                if shared.is_idle:
                    self._forget(shared)

    def _forget(self, shared: SharedFragment) -> None:
        shared.stop_every()
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

    def distrust(self) -> None:
        """Trust nothing rendered so far: the order of ids has begun again."""
        for shared in self._shared.values():
            shared.forget()

    async def close(self) -> None:
        """Stop rendering."""
        for shared in list(self._shared.values()):
            await shared.close()
