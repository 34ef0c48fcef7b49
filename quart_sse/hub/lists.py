"""One list in this process: a shared fragment whose items are rendered and sent one by one.

The rules are 40 to 46 of ``docs/protocol.md``. A *whole* is a render of the whole list. Pages that
take no items are sent wholes alone.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from ..broker import MOST_RESUMED
from ..error_log import ErrorLog
from ..errors import RenderError
from ..tracing import MOST_LINKS
from ..wire import ZERO, Id
from .fragment import FIRST_RETRY, LAST_RETRY, LONGEST_WAIT, Home, SharedFragment
from .rendered import FragmentSpec, Rendered, next_number

#: Most items that are remembered without need.
MOST_KEPT = 128


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
    cause: str = ""  #: id of the connection for which alone the next render is
    origins: frozenset[str] = frozenset()
    traces: tuple[str, ...] = ()
    task: "asyncio.Task[None] | None" = None
    nudge: asyncio.Event = field(default_factory=asyncio.Event)
    is_urgent: bool = False
    not_before: float = 0.0  #: loop time of the debounce's end, or of the next retry
    failures: int = 0

    @property
    def is_idle(self) -> bool:
        """Whether nothing is to be rendered."""
        return self.task is None and self.needed is None and not self.owed > ZERO

    def drop(self) -> None:
        """Forget what viewers lack."""
        self.needed = self.floor = None


class ListHome(Home, Protocol):
    """The collection of a list; see ``Fragments``."""

    async def render(
        self, shared: SharedFragment, traces: Sequence[str] = (), item: str | None = None
    ) -> Rendered:
        """Return the outcome of a render of the list, or of one item of it; "" if it has gone."""

    def deliver_item(self, shared: "SharedList", item: Item) -> bool:
        """Send an item's HTML to the pages that take it.

        Returns:
            Whether the HTML may be used; False if the item must be rendered once more.
        """

    def replace_item(self, shared: "SharedList", item: Item) -> None:
        """Let connections that lack an item wait for the whole list instead."""

    def viewers(self, shared: "SharedList") -> tuple[bool, bool]:
        """Whether pages take items of a list, and whether pages take none."""


class SharedList(SharedFragment):
    """The current HTML of a list, and of those of its items that are newer.

    The arguments are those of :class:`SharedFragment`.
    """

    requested: Id
    is_targeted: bool

    def __init__(
        self, topic: str, spec: FragmentSpec, debounce: float, home: ListHome, errors: ErrorLog
    ) -> None:
        super().__init__(topic, spec, debounce, home, errors)
        self._list_home = home
        self._items: dict[str, Item] = {}
        self._sent: Id = ZERO  #: version of the newest whole that all viewers were sent
        self._changed: Id = ZERO  #: the newest change of the whole list that this process knows
        self._is_due = False  #: whether all viewers need a whole
        self._is_owed = False  #: whether connections that have joined need one
        self._is_for_some = False  #: whether some viewers need the one that is rendered now
        self._running: Id | None = None  #: version of the whole that is rendered now
        self._keys: set[str] = set()  #: keys of the items that viewers show
        self._is_ordered = False  #: whether items carry an order, by the last whole or item
        self._before: tuple[Id, Id | None, bool] = (ZERO, None, False)

    @property
    def floor(self) -> Id | None:
        """The hub's position before the oldest change whose HTML viewers still lack, or None."""
        floors = [self._floor, *(item.floor for item in self._items.values())]
        return min((floor for floor in floors if floor is not None), default=None)

    @property
    def html_size(self) -> int:
        """Size of the HTML that is kept, in characters."""
        return super().html_size + sum(
            len(item.rendered.html) for item in self.newer if item.rendered
        )

    @property
    def newer(self) -> list[Item]:
        """The items whose HTML is newer than that of the whole list."""
        return [item for item in list(self._items.values()) if item.rendered is not None]

    @property
    def is_idle(self) -> bool:
        """Whether no page shows the list and no render runs, so that it can be forgotten."""
        return super().is_idle and all(item.task is None for item in self._items.values())

    @property
    def _due(self) -> list[Item]:
        return [item for item in self._items.values() if item.needed is not None]

    @property
    def _is_storm(self) -> bool:
        """Whether so many items wait that a whole is better.

        Where two new ones go that have no order, only the whole list says.
        """
        due = self._due
        if len(due) > MOST_RESUMED:
            return True
        return not self._is_ordered and sum(item.key not in self._keys for item in due) > 1

    # -- causes of a render ----------------------------------------------------------------------

    def refresh(self, id: Id, seen: Id, trace: str = "", origin: str = "", item: str = "") -> None:
        """Take a change of the list or of an item, and render it if a page shows the list.

        Args:
            id: Id of the change.
            seen: The hub's position before the change.
            trace: Span of its publish; "" if it is not recorded.
            origin: The page that has caused it and needs no HTML for it; "" for none.
            item: Key of the item; "" for the whole list.
        """
        self.requested = max(self.requested, id)
        if not self.is_viewed():
            if item:
                of = self._item(item)
                of.requested = max(of.requested, id)
                self._forget_items()
            else:
                self._changed = max(self._changed, id)
            return
        if item:
            self._change_item(self._item(item), id, seen, trace, origin)
            return
        self._changed = max(self._changed, id)
        if id > self._sent:
            self._need_whole(seen)
            self._is_due = True
            self._note_cause(trace, origin)
            self._start()

    def _change_item(self, item: Item, id: Id, seen: Id, trace: str, origin: str) -> None:
        item.requested = max(item.requested, id)
        takes, takes_none = self._list_home.viewers(self)
        if takes_none and id > self.version:
            self._need_whole(seen)
            self._note_cause(trace, origin)
            self._start()
        if takes and id > self._sent and id > item.sent:
            item.needed = id if item.needed is None else max(item.needed, id)
            item.floor = seen if item.floor is None else min(item.floor, seen)
            item.cause = ""
            item.origins |= {origin}
            if trace and len(item.traces) < MOST_LINKS:
                item.traces += (trace,)
            if self._is_storm:
                self._start()
            self._start_item(item)

    def expect_whole(self, id: Id, seen: Id, trace: str) -> None:
        """Render the whole list for pages that take no items, before an item is pushed to others.

        Positions must wait for it already when the item is sent, or they would go back.

        Args:
            id: Id of the change.
            seen: The hub's position before the change.
            trace: Span of its publish; "" if it is not recorded.
        """
        self.requested = max(self.requested, id)
        if self.is_viewed() and self._list_home.viewers(self)[1] and id > self.version:
            self._need_whole(seen)
            self._note_cause(trace, "")
            self._start()

    def push_item(self, id: Id, seen: Id, key: str, rendered: Rendered) -> None:
        """Take an item's HTML that a publisher rendered, without fragments inside.

        Args:
            id: Id of the change.
            seen: The hub's position before the change.
            key: The item's key.
            rendered: The HTML.
        """
        item = self._item(key)
        self.requested, item.requested = max(self.requested, id), max(item.requested, id)
        if not self.is_viewed():
            return
        takes, _ = self._list_home.viewers(self)
        if takes and id > self._sent and id > item.sent:
            item.needed, item.floor = id, seen if item.floor is None else item.floor
            self._take_item(item, id, rendered)

    def _need_whole(self, seen: Id) -> None:
        self._floor_next = seen if self._floor_next is None else min(self._floor_next, seen)

    def ready_item(self, key: str, needed: Id) -> Item | None:
        """Return an item if its HTML shows the change ``needed`` and every later one known here."""
        item = self._items.get(key)
        if item is None or item.rendered is None or item.rendered.number <= self._outdated:
            return None
        return item if item.version >= max(needed, item.requested) else None

    def require_item(self, key: str, needed: Id, cause: str) -> None:
        """Render an item for a viewer that lacks the change ``needed``.

        Args:
            key: The item's key.
            needed: Id of the change.
            cause: Id of the viewer's connection.
        """
        item = self._item(key)
        item.requested = max(item.requested, needed)
        self.requested = max(self.requested, needed)
        item.owed = max(item.owed, needed)
        if item.task is None:
            item.cause = cause
        self._start_item(item)

    def may_send_items(self, late: int) -> bool:
        """Whether a viewer that lacks so many items can be sent them one by one."""
        return late <= 1 or self._is_ordered

    def mark_current(self) -> None:
        """Let positions advance: no page shows the list, or all have the newest HTML."""
        super().mark_current()
        self._is_due = False
        for item in self._items.values():
            item.drop()

    def invalidate(self) -> None:
        """Drop all HTML and versions, after the broker's ids have begun again."""
        super().invalidate()
        self._sent = self._changed = ZERO
        self._running = None
        self._keys.clear()
        for item in self._items.values():
            item.requested = item.owed = item.sent = item.version = ZERO
            item.rendered = None

    def hurry(self) -> bool:
        """Let renders that wait for their debounce begin now, and return whether any is due."""
        is_due = super().hurry()
        for item in self._items.values():
            if item.task is not None and not item.failures:
                item.is_urgent = is_due = True
                item.nudge.set()
        return is_due

    # -- the whole list ----------------------------------------------------------------------------

    def _is_behind(self) -> bool:
        if self._again or self._check_inside or self._is_due or self._is_owed or self._is_storm:
            return True
        return self.requested > self.version and self._list_home.viewers(self)[1]

    def _owe(self) -> None:
        self._is_owed = True

    def _take_wanted(self, version: Id) -> bool:
        wanted = self._again or self._is_due or self._is_storm
        self._is_for_some = wanted or self._is_owed or self._is_behind()
        self._is_due = self._is_owed = False
        self._running = version
        return wanted

    def _want_again(self, was_wanted: bool) -> None:
        self._running = None
        self._is_due = self._is_due or was_wanted
        self._is_owed = True

    def _took(self, version: Id, is_wanted: bool) -> None:
        self._running = None
        self.is_targeted = not is_wanted
        self._before = self._sent, None, is_wanted
        for item in self._items.values():
            if item.version <= version:
                item.rendered = None
        if self.rendered is not None:
            self._is_ordered = self.rendered.is_ordered
            if is_wanted:
                self._keys.clear()
            self._keys.update(self.rendered.items)
            self._keys.update(
                item.key for item in self.newer if item.rendered and item.rendered.html
            )
        if not is_wanted:
            return
        dropped = [item for item in self._due if (item.needed or ZERO) <= version]
        floors = (item.floor for item in dropped if item.floor is not None)
        self._before = self._sent, min(floors, default=None), True
        for item in dropped:
            item.drop()
            item.origins, item.traces = frozenset(), ()
        self._sent = max(self._sent, version)
        if version >= self._changed:
            self._is_due = False
        for item in self._due:
            self._start_item(item)
        self._forget_items()

    def _untook(self) -> None:
        self._sent, floor, was_wanted = self._before
        self._is_due = self._is_due or was_wanted
        if floor is not None:
            self._need_whole(floor)

    def _superseded(self, was_wanted: bool) -> None:
        self._want_again(was_wanted)

    def _is_sent(self, is_wanted: bool) -> bool:
        return is_wanted or self._is_for_some

    def _rest(self) -> None:
        if not self._is_behind():
            self._floor_next = None
        for item in self._due:
            self._start_item(item)  # fewer wait than before, so that no whole comes for them

    # -- items -------------------------------------------------------------------------------------

    def _item(self, key: str) -> Item:
        item = self._items.get(key)
        if item is None:
            item = self._items[key] = Item(key)
        return item

    def _forget_items(self) -> None:
        """Forget items of which nothing is to be rendered, the oldest first."""
        for item in list(self._items.values()) if len(self._items) > 2 * MOST_KEPT else ():
            if len(self._items) <= MOST_KEPT:
                break
            is_newer = self._running is not None and item.version > self._running
            if item.is_idle and not is_newer:
                del self._items[item.key]

    def _start_item(self, item: Item) -> None:
        if item.task is None:
            item.task = asyncio.get_running_loop().create_task(self._work_on(item))

    def _is_item_wanted(self, item: Item) -> bool:
        if not self.is_viewed():
            return False
        return item.owed > ZERO or (item.needed is not None and not self._is_storm)

    async def _work_on(self, item: Item) -> None:
        try:
            while self._is_item_wanted(item):
                await self._pause_item(item)
                turn, item.cause = self._home.turn(item.cause, item.is_urgent), ""
                async with turn:
                    if self._is_item_wanted(item):
                        await self._render_item(item)
        finally:
            item.task = None
            if not self.is_viewed():
                item.owed = ZERO
                item.drop()
            self._forget_items()

    async def _pause_item(self, item: Item) -> None:
        loop = asyncio.get_running_loop()
        while not item.is_urgent and item.not_before > loop.time():
            item.nudge.clear()
            try:
                async with asyncio.timeout_at(item.not_before):
                    await item.nudge.wait()
            except TimeoutError:
                return

    async def _render_item(self, item: Item) -> None:
        loop, generation = asyncio.get_running_loop(), self._generation
        version = max(item.requested, item.owed, item.needed or ZERO)
        owed, item.owed, item.is_urgent = item.owed, ZERO, False
        origins, traces = item.origins, item.traces
        item.origins, item.traces = frozenset(), ()
        number, item.not_before = next_number(), loop.time() + self._debounce
        try:
            rendered = await self._list_home.render(self, traces, item.key)
        except (Exception, asyncio.CancelledError) as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            item.origins |= origins
            item.traces = (traces + item.traces)[:MOST_LINKS]
            item.owed = max(item.owed, owed)
            self._fail_item(item, error)
            return
        item.failures = 0
        if generation != self._generation:
            return
        item.origin = next(iter(origins)) if len(origins) == 1 else ""
        if item.owed <= version:
            item.owed = ZERO
        try:
            self._take_item(item, version, replace(rendered, number=number))
        except Exception as error:
            item.owed = max(item.owed, owed)
            self._fail_item(item, error)

    def _take_item(self, item: Item, version: Id, rendered: Rendered) -> None:
        """Take an item's HTML, and send it to those who need it."""
        place = self.spec.item
        if not rendered.html and place is not None and place.keep is not None:
            self._replace_item(item, version)
            return
        before = item.needed, item.floor, item.sent
        kept = item.rendered, item.version
        if version < item.version:
            return  # newer HTML was pushed
        if rendered.html:
            self._is_ordered = rendered.is_ordered
        item.is_targeted = item.needed is None or version <= self._sent
        if not item.is_targeted:
            item.sent = version
            (self._keys.add if rendered.html else self._keys.discard)(item.key)
        if item.needed is not None and item.needed <= version:
            item.drop()
        item.rendered, item.version = rendered, version
        is_sent = False
        try:
            is_sent = self._list_home.deliver_item(self, item)
        finally:
            if not is_sent:
                (item.needed, item.floor, item.sent), item.owed = before, version
                item.rendered, item.version = kept
        if is_sent and version <= self.version:
            item.rendered = None  # the whole list has it

    def _replace_item(self, item: Item, version: Id) -> None:
        """Let the whole list answer for an item that has gone from a list that is cut."""
        self.requested = max(self.requested, version)
        self._changed = max(self._changed, version)
        if item.needed is not None:
            if version > self._sent and item.floor is not None:
                self._is_due = True
                self._need_whole(item.floor)
                self._origins |= {item.origin}
            if item.needed <= version:
                item.drop()
        item.version, item.rendered = version, None
        self._list_home.replace_item(self, item)
        if self._is_due:
            self._start()

    def _fail_item(self, item: Item, error: BaseException) -> None:
        delay = min(FIRST_RETRY * 2 ** min(item.failures, 16), LAST_RETRY)
        item.failures += 1
        item.not_before = asyncio.get_running_loop().time() + max(delay, LONGEST_WAIT)
        if isinstance(error, asyncio.CancelledError):
            error = RenderError(f"The renderer of items of {self.key!r} was cancelled.")
        self._say_failed(error, delay)

    def abandon(self) -> None:
        """Stop rendering in a loop that has ended, or that will not end this properly."""
        super().abandon()
        for item in self._items.values():
            if item.task is not None and not item.task.get_loop().is_closed():
                item.task.cancel()

    async def close(self) -> None:
        """Stop rendering, and cancel the calls that wait for a render."""
        tasks = [item.task for item in self._items.values() if item.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await super().close()
