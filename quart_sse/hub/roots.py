"""The shared fragments of a process by root path; nearly every app has a single one."""

from collections import Counter
from collections.abc import Callable, Iterable

from ..error_log import ErrorLog
from ..errors import RenderError
from .durations import Renders
from .fragment import SharedFragment
from .fragments import Delivery, Fragments, Renderer
from .slots import Slots

#: Largest number of root paths that a process serves at the same time.
MOST = 4


class Roots(dict[str, Fragments]):
    """Root path -> the shared fragments of the pages below it.

    URLs in a fragment's HTML begin with the root path at which the browser sees the app, so that
    pages below ``/`` and ``/app`` need HTML of their own. Changes apply below every root path.

    Args:
        debounce: Debounce of fragments that declare none, in seconds.
        renderer: Renders fragments.
        delivery: Sends their HTML to pages.
        errors: Log for exceptions of renderers.
        slots: Bound how many renders of the process run at once.
    """

    def __init__(
        self,
        debounce: float,
        renderer: Renderer,
        delivery: Delivery,
        errors: ErrorLog,
        slots: Slots,
    ) -> None:
        super().__init__()
        self._slots = slots
        self.renders: Renders = Renders()
        self._debounce = debounce
        self._renderer = renderer
        self._delivery = delivery
        self._errors = errors
        self._pages: Counter[str] = Counter()  #: root path -> number of open connections

    def has_room(self, root: str) -> bool:
        """Whether the process can serve pages below a root path, too; evicts idle root paths."""
        if root not in self and len(self) >= MOST:
            for idle in [other for other in self if not self._pages[other]]:
                # Its topics need not have expired: root paths that clients made up would otherwise
                # stay for as long as other pages show a fragment of the topic.
                if self[idle].is_idle:
                    self.pop(idle).forget()
        return root in self or len(self) < MOST

    def at(self, root: str) -> Fragments:
        """Return the fragments below a root path, and create the collection if it is new.

        Raises:
            RenderError: If the process has pages below too many root paths.
        """
        if not self.has_room(root):
            raise RenderError(
                f"A page below root path {root!r} cannot be served: this process already has "
                f"pages below {len(self)} others ({', '.join(map(repr, self))}). If clients make "
                "them up, set QUART_SSE_BASE_URL to the app's own address, such as "
                "'https://example.org/app'."
            )
        if root not in self:
            self[root] = Fragments(
                root,
                self,
                self._debounce,
                self._renderer,
                self._delivery,
                self._errors,
                self._slots,
                self.renders,
            )
        return self[root]

    def enter(self, root: str) -> None:
        """Count an open connection below a root path."""
        self._pages[root] += 1

    def leave(self, root: str) -> None:
        """Uncount a closed connection below a root path."""
        self._pages[root] -= 1
        if not self._pages[root]:
            del self._pages[root]

    @property
    def html_size(self) -> int:
        """Size of the HTML of shared fragments that is kept, in characters."""
        return sum(fragments.html_size for fragments in list(self.values()))

    def nested(self, topic: str, fragment: str) -> frozenset[tuple[str, str]]:
        """Return (topic, fragment) of the fragments inside another one, below any root path."""
        found = (fragments.nested(topic, fragment) for fragments in self.values())
        return frozenset[tuple[str, str]]().union(*found)

    def all(self) -> list[SharedFragment]:
        """Return the known fragments below all root paths."""
        return [shared for fragments in list(self.values()) for shared in fragments.all()]

    def names(self) -> dict[str, set[str]]:
        """Return topic -> names of its known fragments."""
        found: dict[str, set[str]] = {}
        for fragments in self.values():
            for topic, names in fragments.names().items():
                found.setdefault(topic, set()).update(names)
        return found

    def hurry(self) -> bool:
        """Let renders that wait for their debounce begin now, and return whether any is due."""
        return sum(fragments.hurry() for fragments in self.values()) > 0

    def outdate(self, topics: Iterable[str]) -> None:
        """Render topics' fragments again for the next connection, as changes may be missed."""
        topics = list(topics)
        for fragments in self.values():
            fragments.outdate(topics)

    def drop(self, is_kept: Callable[[str], bool]) -> None:
        """Forget the fragments of topics whose changes the process no longer receives."""
        for fragments in self.values():
            fragments.drop(is_kept)

    def invalidate_all(self) -> None:
        """Drop all HTML and versions, after the broker's ids have begun again."""
        for fragments in self.values():
            fragments.invalidate_all()

    def abandon(self) -> None:
        """Forget all fragments, and count no connection any more."""
        for fragments in self.values():
            fragments.abandon()
        self._slots.clear()
        self.clear()
        self._pages.clear()

    async def close(self) -> None:
        """Stop rendering."""
        for fragments in list(self.values()):
            await fragments.close()
