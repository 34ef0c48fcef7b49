"""What a page shows, and what of it is connected: one place for each request."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

from ..host import Exchange, Host
from ..hub import Inside
from ..wire import Position, declared_name

logger = logging.getLogger("quart_sse")

#: (topic, fragment)
Pair = tuple[str, str]


class Shown:
    """What a page shows, and what of it no connect element covers yet.

    A fragment is rendered, then noted, and taken by the connect element that follows it. What is
    rendered inside another fragment is noted with the outer one.
    """

    __slots__ = ("_inside", "_noted", "_rendered", "_uncovered")

    def __init__(self) -> None:
        self._uncovered: dict[str, set[str]] = {}
        #: of everything rendered so far, and what of it was noted or taken
        self._rendered: set[Pair] = set()
        self._noted: set[Pair] = set()
        #: fragment -> what is inside it, at any depth
        self._inside: dict[Pair, frozenset[Pair]] = {}

    @property
    def rendered(self) -> frozenset[Pair]:
        """Every fragment that was rendered so far, at any depth."""
        return frozenset(self._rendered)

    @property
    def uncovered(self) -> frozenset[str]:
        """The declared names of fragments, ``channel.fragment``, that nothing connects yet."""
        return frozenset(
            declared_name(topic, name) for topic, names in self._uncovered.items() for name in names
        )

    def __bool__(self) -> bool:
        """Whether there is anything that no connect element covers yet."""
        return bool(self._uncovered)

    def add(self, pairs: Iterable[Pair]) -> None:
        """Add fragments that were rendered."""
        self._rendered.update(pairs)

    def put_inside(self, outer: Pair, nested: frozenset[Pair]) -> None:
        """Add what was rendered inside a fragment."""
        self._rendered |= nested
        if nested:
            self._inside[outer] = nested

    def note_topic(self, topic: str) -> None:
        """Note that the page wants the events of a topic."""
        self._uncovered.setdefault(topic, set())

    def note_rendered(self) -> None:
        """Note that the page shows all that was rendered since the last time."""
        for topic, name in self._whole(self._rendered - self._noted):
            self._uncovered.setdefault(topic, set()).add(name)
        self._noted |= self._rendered

    def _whole(self, pairs: set[Pair]) -> set[Pair]:
        """Return fragments with what is inside them, also what another connect element covers.

        The token that names an outer fragment must name what opens only to a page's viewers, too.
        """
        return pairs.union(*(self._inside.get(pair, ()) for pair in pairs))

    def take(self) -> Mapping[str, set[str]]:
        """Return what no connect element covers yet, for the one that does from now on."""
        taken, self._uncovered = self._uncovered, {}
        return taken

    def take_rendered(self, topic: str, fragment: str) -> Mapping[str, set[str]]:
        """Return a fragment and what is new inside it, for a connect element of its own."""
        taken: dict[str, set[str]] = {}
        for nested_topic, name in self._whole({(topic, fragment)} | (self._rendered - self._noted)):
            taken.setdefault(nested_topic, set()).add(name)
        self._noted |= self._rendered
        return taken

    def forget(self) -> None:
        """Connect nothing: what is shown belongs to a page that has done so."""
        self._uncovered.clear()


@dataclass(slots=True)
class PageRequest:
    """What is remembered of one request for a page, or for a shared fragment."""

    #: The process's position before the view ran: nothing after it can be missed by the page.
    since: Position | None = None
    #: Made when it is first asked for: requests that are streams show nothing.
    _shown: Shown | None = None
    #: The shared fragment that this request renders, if it is none of a browser.
    rendering: Pair | None = None
    #: The fragments that were put into the one that this request renders, as they were put there.
    inside: list[Inside] = field(default_factory=list)
    #: Whether the page holds a token, which no shared cache may keep.
    is_private: bool = False

    @property
    def shown(self) -> Shown:
        """What the page shows."""
        if self._shown is None:
            self._shown = Shown()
        return self._shown


class Pages:
    """The page of each request of one app.

    Args:
        host: Has the current request's exchange.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._warned: set[frozenset[str]] = set()

    def current(self) -> PageRequest:
        """Return what is remembered of the current request's page; it is made when first asked."""
        exchange = self._host.exchange()
        page = exchange.page
        if not isinstance(page, PageRequest):
            page = self.start(exchange)
            exchange.after.append(partial(self._warn_unconnected, page))
        return page

    def start(self, exchange: Exchange, rendering: Pair | None = None) -> PageRequest:
        """Return a new page of an exchange.

        Args:
            exchange: That keeps it.
            rendering: The shared fragment that is rendered; None for a page of a browser.
        """
        page = exchange.page = PageRequest(exchange.since, rendering=rendering)
        return page

    async def _warn_unconnected(self, page: PageRequest) -> None:
        """Warn once of fragments that a page shows and does not connect."""
        names = page.shown.uncovered
        if names and names not in self._warned:
            self._warned.add(names)
            logger.warning(
                "A page shows the fragments %s and never connects, so they will not change. Put "
                "{{ sse_connect() }} after them, or use sse_live. This is said once.",
                ", ".join(sorted(names)),
            )
