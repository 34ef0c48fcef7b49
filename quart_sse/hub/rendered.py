"""How fragments are declared, and what their renders give."""

import itertools
import time
from dataclasses import dataclass, field
from typing import NamedTuple

from ..wire import declared_name


class ItemSpec(NamedTuple):
    """How the items of a list were declared; see ``Channel.item``."""

    place: str = "end"  #: where items without an order go: "start" or "end"
    keep: int | None = None  #: how many items the list has at most; None for any number

    @property
    def text(self) -> str:
        """Return the same as messages have it."""
        return self.place if self.keep is None else f"{self.place} {self.keep}"


@dataclass(frozen=True, slots=True)
class FragmentSpec:
    """How a fragment was declared; see ``Channel.fragment``."""

    name: str
    personal: bool = False
    every: float | None = None  #: interval of regular renders, in seconds
    debounce: float | None = None  #: in seconds; None for ``QUART_SSE_DEBOUNCE``
    presence: bool = False
    includes: frozenset[str] = frozenset()
    item: ItemSpec | None = None  #: of a list; None for any other fragment


class Inside(NamedTuple):
    """One fragment inside another one's HTML, with the render and the tags that were put there."""

    topic: str
    fragment: str
    rendered: "Rendered"
    opening: str  #: start tag of its element
    closing: str  #: end tag of its element

    @property
    def element(self) -> str:
        """The element as the macros wrote it."""
        return self.around(self.rendered.html)

    def around(self, html: str) -> str:
        """Return the element with other content."""
        return f"{self.opening}{html}{self.closing}"


@dataclass(frozen=True, slots=True)
class Rendered:
    """The outcome of one render."""

    html: str
    #: (topic, fragment) of the fragments inside, at any depth
    nested: frozenset[tuple[str, str]] = frozenset()
    #: fragments directly inside whose render is known
    inside: tuple[Inside, ...] = ()
    #: when the render began, by :func:`next_number`; 0 as the renderer returns it
    number: int = field(default=0, compare=False)
    #: span of the render, or of the publish that has pushed the HTML; see ``tracing``
    trace: str = field(default="", compare=False)
    #: of a list: the keys of its items; of an item: its key, or nothing if it has gone
    items: tuple[str, ...] = ()
    is_ordered: bool = False  #: whether every item has an order


#: Longest text of an error that is kept, in characters.
MAX_REASON = 500


@dataclass(slots=True)
class RenderRecord:
    """What has come of the renders of one shared fragment, for those who look into a process."""

    number: int = 0  #: of renders, failed ones too
    failed: int = 0  #: number of those that failed
    seconds: float = 0.0  #: duration of the newest one
    slowest: float = 0.0  #: duration of the slowest one, in seconds
    at: float = 0.0  #: when the newest one ended, by ``time.time``
    error: str = ""  #: kind of the error of the newest one that failed; "" if none has
    reason: str = ""  #: what that error says
    failed_at: float = 0.0  #: when that render ended

    def note(self, seconds: float, error: BaseException | None) -> None:
        """Note a render that has ended.

        Args:
            seconds: Its duration.
            error: Its error; None if it did not fail.
        """
        self.number += 1
        self.at, self.seconds = time.time(), seconds
        self.slowest = max(self.slowest, seconds)
        if error is not None:
            # As text: the error itself holds the frames of the renderer. That of the app's function
            # stands behind the one that says what it means.
            cause = error.__cause__ or error
            self.failed, self.failed_at = self.failed + 1, self.at
            self.error, self.reason = type(cause).__name__, str(cause)[:MAX_REASON]


_numbers = itertools.count(1)


def next_number() -> int:
    """Return the next number of a count by which renders and connections compare their begin."""
    return next(_numbers)


def renderer_of(topic: str, fragment: str) -> str:
    """Return the name under which ``ErrorLog`` counts the errors of a fragment's renderer."""
    return f"renderer of fragment {declared_name(topic, fragment)!r}"
