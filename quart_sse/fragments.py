"""The shared fragments that a process knows, and how far all of them are current."""

import asyncio
from collections.abc import Callable

from .fragment import FragmentSpec, Rendered, SharedFragment
from .naming import member_key
from .position import Id


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

    def get(self, topic: str, spec: FragmentSpec) -> SharedFragment:
        """Return a fragment's state, which is made if it is not known."""
        key = member_key(topic, spec.name)
        shared = self._shared.get(key)
        if shared is None:
            debounce = self._debounce if spec.debounce is None else spec.debounce
            shared = self._shared[key] = self._make(topic, spec, debounce)
            shared.debounce_until(self._forgotten.pop(key, 0.0))
        return shared

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
        while self._forgotten and next(iter(self._forgotten.values())) <= now:
            del self._forgotten[next(iter(self._forgotten))]
        if shared.debounced_until > now:
            self._forgotten[shared.key] = shared.debounced_until

    def known(self, topic: str, name: str) -> SharedFragment | None:
        """Return a fragment's state; None if it is not known."""
        return self._shared.get(member_key(topic, name))

    def distrust(self) -> None:
        """Trust nothing rendered so far: the order of ids has begun anew."""
        for shared in self._shared.values():
            shared.forget()

    async def close(self) -> None:
        """Stop rendering."""
        for shared in list(self._shared.values()):
            await shared.close()
