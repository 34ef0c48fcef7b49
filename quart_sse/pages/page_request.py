"""The fragments that a page shows, and those that a connect element covers, per request."""

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

from ..error_log import OnceLog
from ..host import Exchange, Host
from ..hub import Inside
from ..logs import LogLine
from ..wire import Position, declared_name

UNCONNECTED = LogLine(
    "pages",
    "page-unconnected",
    logging.WARNING,
    "A page shows the fragments %(fragments)s without a connect element, so they will not change. "
    "Put {{ sse_connect() }} after them, or use sse_live. This is logged once.",
    fragments=str,
)

NOTIFICATIONS_UNCONNECTED = LogLine(
    "pages",
    "notifications-unconnected",
    logging.WARNING,
    "A page has sse_notifications() and no connect element, so no notification comes. Put "
    "{{ sse_connect() }} after it. This is logged once.",
)
SWAP_UNREAD = LogLine(
    "pages",
    "swap-unread",
    logging.WARNING,
    'A page has sse-swap="%(event)s", which does nothing: it is of htmx\'s SSE extension, which '
    "sse_scripts() does not load. Show a fragment instead, or let the event trigger a request "
    "(hx-trigger). This is logged once.",
    event=str,
)

#: The attribute of htmx's SSE extension that swaps an event's data, but for connect elements.
_SWAP = re.compile(r'<(?![^>]*sse[-:]connect=)[^>]*\s(?:sse-swap|hx-sse:swap)="([^"]*)"')

#: (topic, fragment)
Pair = tuple[str, str]


class Shown:
    """The fragments that a page shows, and those that no connect element covers yet.

    A fragment is rendered, then noted, then taken by the next connect element. A fragment inside
    another one is noted together with the outer one.
    """

    __slots__ = ("_inside", "_noted", "_rendered", "_uncovered", "is_of_audience")

    def __init__(self) -> None:
        #: Whether the page names an event of its user, or of everyone, that is not covered yet.
        self.is_of_audience: bool = False
        self._uncovered: dict[str, set[str]] = {}
        # All rendered fragments, and those of them that were noted or taken.
        self._rendered: set[Pair] = set()
        self._noted: set[Pair] = set()
        # Fragment -> the fragments inside it, at any depth.
        self._inside: dict[Pair, frozenset[Pair]] = {}

    @property
    def rendered(self) -> frozenset[Pair]:
        """All fragments rendered so far, at any depth."""
        return frozenset(self._rendered)

    @property
    def inside(self) -> frozenset[Pair]:
        """Fragments that stand inside of another one."""
        return frozenset[Pair]().union(*self._inside.values())

    @property
    def uncovered(self) -> frozenset[str]:
        """Names (``channel.fragment``) of the fragments that no connect element covers yet."""
        return frozenset(
            declared_name(topic, name) for topic, names in self._uncovered.items() for name in names
        )

    def __bool__(self) -> bool:
        """Whether any topic or fragment has no connect element yet."""
        return bool(self._uncovered)

    def add(self, pairs: Iterable[Pair]) -> None:
        """Add rendered fragments."""
        self._rendered.update(pairs)

    def put_inside(self, outer: Pair, nested: frozenset[Pair]) -> None:
        """Add the fragments that were rendered inside another one."""
        self._rendered |= nested
        if nested:
            self._inside[outer] = nested

    def note_topic(self, topic: str) -> None:
        """Note that the page receives the events of a topic."""
        self._uncovered.setdefault(topic, set())

    def note_rendered(self) -> None:
        """Note the fragments rendered since the last call as shown by the page."""
        for topic, name in self._whole(self._rendered - self._noted):
            self._uncovered.setdefault(topic, set()).add(name)
        self._noted |= self._rendered

    def _whole(self, pairs: set[Pair]) -> set[Pair]:
        """Return fragments with those inside them, even if another connect element covers these.

        A token that names an outer fragment must name the inner ones, too: a client is refused the
        outer fragment if it may not see them.
        """
        return pairs.union(*(self._inside.get(pair, ()) for pair in pairs))

    def take(self) -> Mapping[str, set[str]]:
        """Return all uncovered topics with their fragments; from now on they count as covered."""
        taken, self._uncovered = self._uncovered, {}
        return taken

    def take_rendered(self, topic: str, fragment: str) -> Mapping[str, set[str]]:
        """Return a fragment and the new ones inside it, for a connect element of its own."""
        taken: dict[str, set[str]] = {}
        for nested_topic, name in self._whole({(topic, fragment)} | (self._rendered - self._noted)):
            taken.setdefault(nested_topic, set()).add(name)
        self._noted |= self._rendered
        return taken

    def forget(self) -> None:
        """Count all fragments as covered: the page that receives them has connected them."""
        self._uncovered.clear()


@dataclass(slots=True)
class PageRequest:
    """The state of one request for a page, or of the render of one shared fragment."""

    #: The process's position before the view ran. A page that connects from here misses nothing.
    since: Position | None = None
    #: Made at first use, for most requests show no fragment.
    _shown: Shown | None = None
    #: Topic and name of the shared fragment that the request renders; None for a client's page.
    rendering: Pair | None = None
    #: The fragments that were put into the one that this request renders, as they were put there.
    inside: list[Inside] = field(default_factory=list)
    #: Whether the page holds a token, which no shared cache may keep.
    is_private: bool = False
    #: Whether the answer, if it is a part of a page, gets a connect element for what lacks one.
    is_completed: bool = False
    #: Whether the page has a connect element.
    is_connected: bool = False
    #: Nonce of the page's script elements, "" for none; None before they are written.
    nonce: str | None = None
    #: Names of the further script files that the next connect element brings.
    files: set[str] = field(default_factory=set)
    #: Names of those for which the page has a script element.
    loaded: set[str] = field(default_factory=set)

    @property
    def shown(self) -> Shown:
        """The fragments that the page shows."""
        if self._shown is None:
            self._shown = Shown()
        return self._shown


class Pages:
    """Keep one :class:`PageRequest` for each request of an app.

    Args:
        host: The framework, which has the current request's exchange.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._warned: set[frozenset[str]] = set()
        self._once = OnceLog()

    def current(self) -> PageRequest:
        """Return the current request's page; the first call makes it."""
        exchange = self._host.exchange()
        page = exchange.page
        if not isinstance(page, PageRequest):
            page = self.start(exchange)
            exchange.after = (*exchange.after, partial(self._warn_unconnected, page))
        return page

    def start(self, exchange: Exchange, rendering: Pair | None = None) -> PageRequest:
        """Make the page of an exchange.

        Args:
            exchange: The exchange, which keeps the page.
            rendering: Topic and name of the shared fragment that is rendered; None for the page of
                a client.
        """
        page = exchange.page = PageRequest(exchange.since, rendering=rendering)
        return page

    def warn_unread(self, html: str) -> None:
        """Warn once about each attribute that nothing reads in a page with ``quart-sse.js``.

        Args:
            html: The page.
        """
        for name in _SWAP.findall(html):
            self._once.warn(name, SWAP_UNREAD, event=name)

    async def _warn_unconnected(self, page: PageRequest) -> None:
        """Warn once about what a page shows without a connect element."""
        if "notifications" in page.files and not page.is_connected:
            self._once.warn("sse_notifications", NOTIFICATIONS_UNCONNECTED)
        names = page.shown.uncovered
        if names and names not in self._warned:
            self._warned.add(names)
            UNCONNECTED.log(fragments=", ".join(sorted(names)))
