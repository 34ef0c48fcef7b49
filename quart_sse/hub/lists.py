"""One list in this process: a shared fragment whose items are rendered and sent one by one.

The rules are 40 to 46 of ``docs/protocol.md``. A *whole* is a render of the whole list. Pages that
take no items are sent wholes alone.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from ..error_log import ErrorLog
from ..wire import ZERO, Id
from .fragment import Home, SharedFragment
from .item import Item
from .item_renders import ItemRenders
from .items import Items
from .rendered import FragmentSpec, Rendered
from .slots import Turn


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


class Before(NamedTuple):
    """What viewers lacked before a whole was taken."""

    sent: Id = ZERO  #: version of the newest whole that all were sent
    floor: Id | None = None  #: the hub's position before the oldest change of an item
    is_wanted: bool = False  #: whether all needed the whole


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
        self._items = Items()
        self._item_renders = ItemRenders(self, self._items, debounce)
        self._sent: Id = ZERO  #: version of the newest whole that all viewers were sent
        self._changed: Id = ZERO  #: the newest change of the whole list that this process knows
        self._is_due = False  #: whether all viewers need a whole
        self._is_owed = False  #: whether connections that have joined need one
        self._is_for_some = False  #: whether some viewers need the one that is rendered now
        self._running: Id | None = None  #: version of the whole that is rendered now
        self._before = Before()

    @property
    def floor(self) -> Id | None:
        """The hub's position before the oldest change whose HTML viewers still lack, or None."""
        floors = self._items.floors if self._floor is None else [self._floor, *self._items.floors]
        return min(floors, default=None)

    @property
    def html_size(self) -> int:
        """Size of the HTML that is kept, in characters."""
        return super().html_size + self._items.html_size

    @property
    def newer(self) -> list[Item]:
        """The items whose HTML is newer than that of the whole list."""
        return self._items.newer

    @property
    def is_idle(self) -> bool:
        """Whether no page shows the list and no render runs, so that it can be forgotten."""
        return super().is_idle and self._item_renders.is_idle

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
                of = self._items.get(item)
                of.requested = max(of.requested, id)
                self._items.forget(self._running)
            else:
                self._changed = max(self._changed, id)
            return
        if item:
            self._change_item(self._items.get(item), id, seen, trace, origin)
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
            item.need(id, seen)
            item.note_cause(trace, origin)
            if self._items.is_storm:
                self._start()
            self._item_renders.start(item)

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
        item = self._items.get(key)
        self.requested, item.requested = max(self.requested, id), max(item.requested, id)
        if not self.is_viewed():
            return
        takes, _ = self._list_home.viewers(self)
        if takes and id > self._sent and id > item.sent:
            item.needed, item.floor = id, seen if item.floor is None else item.floor
            self.take_item(item, id, rendered)

    def _need_whole(self, seen: Id) -> None:
        self._floor_next = seen if self._floor_next is None else min(self._floor_next, seen)

    def ready_item(self, key: str, needed: Id) -> Item | None:
        """Return an item if its HTML shows the change ``needed`` and every later one known here."""
        item = self._items.find(key)
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
        item = self._items.get(key)
        item.requested = max(item.requested, needed)
        self.requested = max(self.requested, needed)
        item.owed = max(item.owed, needed)
        if item.task is None:
            item.cause = cause
        self._item_renders.start(item)

    def may_send_items(self, late: int) -> bool:
        """Whether a viewer that lacks so many items can be sent them one by one."""
        return late <= 1 or self._items.is_ordered

    def mark_current(self) -> None:
        """Let positions advance: no page shows the list, or all have the newest HTML."""
        super().mark_current()
        self._is_due = False
        self._items.drop()

    def invalidate(self) -> None:
        """Drop all HTML and versions, after the broker's ids have begun again."""
        super().invalidate()
        self._sent = self._changed = ZERO
        self._running = None
        self._items.invalidate()

    def hurry(self) -> bool:
        """Let renders that wait for their debounce begin now, and return whether any is due."""
        is_due = super().hurry()
        return self._item_renders.hurry() or is_due

    # -- the whole list ----------------------------------------------------------------------------

    def _is_behind(self) -> bool:
        if (
            self._again
            or self._check_inside
            or self._is_due
            or self._is_owed
            or self._items.is_storm
        ):
            return True
        return self.requested > self.version and self._list_home.viewers(self)[1]

    def _owe(self) -> None:
        self._is_owed = True

    def _take_wanted(self, version: Id) -> bool:
        wanted = self._again or self._is_due or self._items.is_storm
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
        self._before = Before(self._sent, None, is_wanted)
        self._items.take_whole(version, self.rendered, is_for_all=is_wanted)
        if not is_wanted:
            return
        self._before = self._before._replace(floor=self._items.drop_up_to(version))
        self._sent = max(self._sent, version)
        if version >= self._changed:
            self._is_due = False
        self._start_due()
        self._items.forget(self._running)

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
        self._start_due()  # fewer items wait than before, so that no whole comes for them

    def _start_due(self) -> None:
        for item in self._items.due:
            self._item_renders.start(item)

    # -- the home of the items' renders ------------------------------------------------------------

    @property
    def generation(self) -> int:
        """How often the broker's ids have begun again."""
        return self._generation

    def is_item_wanted(self, item: Item) -> bool:
        """Whether an item is to be rendered by itself."""
        if not self.is_viewed():
            return False
        return item.owed > ZERO or (item.needed is not None and not self._items.is_storm)

    def turn(self, cause: str, is_urgent: bool) -> Turn:
        """Return the turn of a render; see ``Slots.turn``."""
        return self._list_home.turn(cause, is_urgent)

    async def render_item(self, item: Item, traces: Sequence[str]) -> Rendered:
        """Return the outcome of a render that begins now; "" if the item has gone."""
        return await self._list_home.render(self, traces, item.key)

    def take_item(self, item: Item, version: Id, rendered: Rendered) -> None:
        """Take an item's HTML, and send it to those who need it.

        Args:
            item: The item.
            version: Version of the HTML.
            rendered: The HTML; "" if the item has gone.
        """
        place = self.spec.item
        if not rendered.html and place is not None and place.keep is not None:
            self._replace_item(item, version)
            return
        if version < item.version:
            return  # newer HTML was pushed
        if rendered.html:
            self._items.is_ordered = rendered.is_ordered
        before = item.take(version, rendered, self._sent)
        if not item.is_targeted:
            self._items.show(item, rendered)
        is_sent = False
        try:
            is_sent = self._list_home.deliver_item(self, item)
        finally:
            if not is_sent:
                item.untake(before)
        if is_sent and version <= self.version:
            item.rendered = None  # the whole list has it

    def _replace_item(self, item: Item, version: Id) -> None:
        """Let the whole list answer for an item that has gone from a list that is cut."""
        self.requested = max(self.requested, version)
        self._changed = max(self._changed, version)
        if item.needed is not None and version > self._sent and item.floor is not None:
            self._is_due = True
            self._need_whole(item.floor)
            self._origins |= {item.origin}
        item.drop_up_to(version)
        item.version, item.rendered = version, None
        self._list_home.replace_item(self, item)
        if self._is_due:
            self._start()

    def rest_item(self, item: Item) -> None:
        """Note that an item is rendered no more for now."""
        if not self.is_viewed():
            item.owed = ZERO
            item.drop()
        self._items.forget(self._running)

    def say_failed(self, error: BaseException, delay: float) -> None:
        """Log that a render has failed, and in how many seconds it is tried again."""
        self._say_failed(error, delay)

    def abandon(self) -> None:
        """Stop rendering in a loop that has ended, or that will not end this properly."""
        super().abandon()
        self._item_renders.abandon()

    async def close(self) -> None:
        """Stop rendering, and cancel the calls that wait for a render."""
        await self._item_renders.close()
        await super().close()
