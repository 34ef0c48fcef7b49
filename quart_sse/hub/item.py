"""One item of a list in this process: its versions, and who lacks which of them."""

import asyncio
from dataclasses import dataclass, field
from typing import NamedTuple

from ..tracing import MOST_LINKS
from ..wire import ZERO, Id
from .rendered import Rendered


class Causes(NamedTuple):
    """What has caused a render of an item."""

    origins: frozenset[str] = frozenset()  #: the pages
    traces: tuple[str, ...] = ()  #: spans of publishes
    owed: Id = ZERO  #: version that connections wait for which have joined


class Before(NamedTuple):
    """An item as it was before HTML was taken that could not be sent."""

    needed: Id | None
    floor: Id | None
    sent: Id
    rendered: Rendered | None
    version: Id


@dataclass(slots=True)
class Item:
    """One item of a list, as far as this process has heard of it."""

    key: str  #: percent-encoded
    requested: Id = ZERO  #: id of the newest change that this process knows
    needed: Id | None = None  #: the newest change that viewers lack
    floor: Id | None = None  #: the hub's position before the oldest one
    owed: Id = ZERO  #: version that connections wait for which have joined
    sent: Id = ZERO  #: newest version that all viewers were sent
    rendered: Rendered | None = None  #: the HTML, while it is newer than that of the whole list
    version: Id = ZERO  #: of ``rendered``
    origin: str = ""  #: the page that caused the only change that ``rendered`` shows
    is_targeted: bool = False  #: whether only those get ``rendered`` who are owed it
    # Of its renders; see ``ItemRenders``.
    cause: str = ""  #: id of the connection for which alone the next render is
    origins: frozenset[str] = frozenset()  #: pages that have caused the next render
    traces: tuple[str, ...] = ()  #: spans of publishes that the next render shows
    task: "asyncio.Task[None] | None" = None
    nudge: asyncio.Event = field(default_factory=asyncio.Event)
    is_urgent: bool = False  #: whether the debounce is skipped
    not_before: float = 0.0  #: loop time of the debounce's end, or of the next retry
    failures: int = 0

    @property
    def is_idle(self) -> bool:
        """Whether nothing is to be rendered."""
        return self.task is None and self.needed is None and not self.owed > ZERO

    @property
    def newest(self) -> Id:
        """The version of a render that begins now."""
        return max(self.requested, self.owed, self.needed or ZERO)

    def need(self, id: Id, seen: Id) -> None:
        """Note a change that viewers lack.

        Args:
            id: Id of the change.
            seen: The hub's position before the change.
        """
        self.needed = id if self.needed is None else max(self.needed, id)
        self.floor = seen if self.floor is None else min(self.floor, seen)

    def note_cause(self, trace: str, origin: str) -> None:
        """Note what has caused the next render: the span of a publish, and a page."""
        self.cause = ""
        self.origins |= {origin}
        if trace and len(self.traces) < MOST_LINKS:
            self.traces += (trace,)

    def drop(self) -> None:
        """Forget what viewers lack."""
        self.needed = self.floor = None

    def drop_up_to(self, version: Id) -> None:
        """Forget what viewers lack, if it is no newer than a version that they are sent."""
        if self.needed is not None and self.needed <= version:
            self.drop()

    def invalidate(self) -> None:
        """Drop the HTML and all versions, after the broker's ids have begun again."""
        self.requested = self.owed = self.sent = self.version = ZERO
        self.rendered = None

    # -- renders -----------------------------------------------------------------------------------

    def begin(self) -> Causes:
        """Take what has caused the render that begins."""
        causes = Causes(self.origins, self.traces, self.owed)
        self.origins, self.traces, self.owed = Causes()
        self.is_urgent = False
        return causes

    def begin_again(self, causes: Causes) -> None:
        """Let a render that has failed be made again."""
        self.origins |= causes.origins
        self.traces = (causes.traces + self.traces)[:MOST_LINKS]
        self.owed = max(self.owed, causes.owed)

    def settle(self, version: Id) -> None:
        """Note that connections which have joined are about to be sent a version."""
        if self.owed <= version:
            self.owed = ZERO

    def take(self, version: Id, rendered: Rendered, all_sent: Id) -> Before:
        """Take HTML that is about to be sent, and return what was before.

        Args:
            version: Version of the HTML.
            rendered: The HTML; "" if the item has gone.
            all_sent: Version of the whole list that all viewers were sent.
        """
        before = Before(self.needed, self.floor, self.sent, self.rendered, self.version)
        self.is_targeted = self.needed is None or version <= all_sent
        if not self.is_targeted:
            self.sent = version
        self.drop_up_to(version)
        self.rendered, self.version = rendered, version
        return before

    def untake(self, before: Before) -> None:
        """Note that HTML was not sent, so that it is rendered once more."""
        self.owed = self.version
        self.needed, self.floor, self.sent, self.rendered, self.version = before
