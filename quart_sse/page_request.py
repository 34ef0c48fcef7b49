"""What is kept of one request: where its page starts, who it is for, what it shows."""

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import cast

from quart import g, has_request_context, request

from .fragment import Inside
from .naming import declared_name
from .position import Position
from .state import KEY, State, current_state

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
    """What the extension remembers of one request; lives in the ASGI scope.

    The scope and not ``g``, because streamed templates see another ``g``.
    """

    #: The process's position before the view ran: nothing after it can be missed by the page.
    since: Position | None
    identity: str | None = None
    is_identified: bool = False
    #: when it began, by ``time.monotonic``
    began: float = field(default_factory=time.monotonic)
    #: made when it is first asked for: requests that are streams show nothing
    _shown: Shown | None = None
    #: the shared fragment that this request renders, if it is none of a browser
    rendering: Pair | None = None
    #: the fragments that were put into the one that this request renders, as they were put there
    inside: list[Inside] = field(default_factory=list)
    #: whether the page holds a token, which no shared cache may keep
    is_private: bool = False
    #: ends the request as if its client had gone, and returns whether its socket is closed; None
    #: if it cannot become a stream
    kick: Callable[[], bool] | None = None
    #: whether a page of another origin asks
    is_foreign: bool = False
    #: the path as Quart sees it, inside all middleware; None if no request reached it
    path: str | None = None
    #: what is done when the answer has been sent
    farewell: Callable[[], Awaitable[None]] | None = None

    @property
    def shown(self) -> Shown:
        """What the page shows."""
        if self._shown is None:
            self._shown = Shown()
        return self._shown


def current_page() -> PageRequest:
    """Return what is remembered of the current request, or of the app context outside one."""
    if has_request_context():
        page = request.scope.get(KEY)
        if isinstance(page, PageRequest):
            return page
    elif KEY in g:
        kept: PageRequest = g.get(KEY)
        return kept
    page = PageRequest(current_state().broker.known, is_identified=not has_request_context())
    if has_request_context():
        cast("dict[str, object]", request.scope)[KEY] = page
    else:
        setattr(g, KEY, page)
    return page


async def current_identity() -> str | None:
    """Return who makes the current request, asked once per request."""
    page = current_page()
    if not page.is_identified:
        page.identity = await current_state().identify()
        page.is_identified = True
    return page.identity


def current_browser(state: State) -> str | None:
    """Return the browser that makes the current request, by its cookie; None if it has none."""
    return state.signer.read_browser(request.cookies.get(state.config.browser_cookie))
