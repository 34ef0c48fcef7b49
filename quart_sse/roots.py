"""Root path -> the shared fragments as pages below it show them; there is nearly always one."""

from collections import Counter
from collections.abc import Callable, Iterable

from .error_log import ErrorLog
from .errors import RenderError
from .fragments import Delivery, Fragments, Renderer

#: Root paths below which pages of one process can be at the same time.
MOST = 4


class Roots(dict[str, Fragments]):
    """The shared fragments of one process, apart for each root path.

    URLs in a fragment's HTML begin with the path below which the browser sees the app, so pages
    below ``/`` and below ``/app`` get HTML of their own. All of them hear of the same changes.

    Args:
        debounce: Seconds, for fragments that declare none of their own.
        renderer: Renders fragments.
        delivery: Takes their HTML to the pages that show them.
        errors: Takes what renderers get wrong.
    """

    def __init__(
        self, debounce: float, renderer: Renderer, delivery: Delivery, errors: ErrorLog
    ) -> None:
        super().__init__()
        self._debounce = debounce
        self._renderer = renderer
        self._delivery = delivery
        self._errors = errors
        self._pages: Counter[str] = Counter()  #: open connections

    def has_room(self, root: str) -> bool:
        """Whether fragments can be shown below a root path, in addition to those in use."""
        if root not in self and len(self) >= MOST:
            for idle in [other for other in self if not self._pages[other]]:
                # What is kept for those who only change pages, too: a root path that a client
                # made up would else be kept for as long as others look at the fragment.
                if self[idle].is_idle:
                    self.pop(idle).forget()
        return root in self or len(self) < MOST

    def at(self, root: str) -> Fragments:
        """Return the fragments of pages below a root path.

        Raises:
            RenderError: If there are pages below too many of them.
        """
        if not self.has_room(root):
            raise RenderError(
                f"Pages are shown below {len(self)} root paths, and now below {root!r}: "
                f"{', '.join(map(repr, self))}. If these are made up by clients, set "
                "QUART_SSE_BASE_URL to the app's own address, such as 'https://example.org/app'."
            )
        if root not in self:
            self[root] = Fragments(
                root, self, self._debounce, self._renderer, self._delivery, self._errors
            )
        return self[root]

    def enter(self, root: str) -> None:
        """Note that a connection of a page below a root path is open."""
        self._pages[root] += 1

    def leave(self, root: str) -> None:
        """Note that it is no longer."""
        self._pages[root] -= 1
        if not self._pages[root]:
            del self._pages[root]

    def nested(self, topic: str, fragment: str) -> frozenset[tuple[str, str]]:
        """Return (topic, fragment) of what a fragment contains, as far as is known here."""
        found = (fragments.nested(topic, fragment) for fragments in self.values())
        return frozenset[tuple[str, str]]().union(*found)

    def names(self) -> dict[str, set[str]]:
        """Return topic -> the fragments of it that are known."""
        found: dict[str, set[str]] = {}
        for fragments in self.values():
            for topic, names in fragments.names().items():
                found.setdefault(topic, set()).update(names)
        return found

    def outdate(self, topics: Iterable[str]) -> None:
        """Render again for the next connection: changes of these may have been missed until now."""
        topics = list(topics)
        for fragments in self.values():
            fragments.outdate(topics)

    def drop(self, is_kept: Callable[[str], bool]) -> None:
        """Forget the fragments of topics that are not heard of any more."""
        for fragments in self.values():
            fragments.drop(is_kept)

    def invalidate_all(self) -> None:
        """Trust nothing rendered so far: the order of ids has begun again."""
        for fragments in self.values():
            fragments.invalidate_all()

    async def close(self) -> None:
        """Stop rendering."""
        for fragments in list(self.values()):
            await fragments.close()
