"""The items of one list that this process has heard of, and which of them wait for a render."""

from collections.abc import Iterator

from ..broker import MOST_RESUMED
from ..wire import ZERO, Id
from .item import Item
from .rendered import Rendered

#: Most items that are remembered without need.
MOST_KEPT = 128


class Items:
    """The items of one list that this process has heard of."""

    def __init__(self) -> None:
        self._known: dict[str, Item] = {}
        self._shown: set[str] = set()  #: keys of the items that viewers show
        self.is_ordered: bool = False  #: whether items carry an order, by the last whole or item

    def __iter__(self) -> Iterator[Item]:
        """Yield the items, in the order in which they became known."""
        return iter(list(self._known.values()))

    def find(self, key: str) -> Item | None:
        """Return an item; None if it is unknown here."""
        return self._known.get(key)

    def get(self, key: str) -> Item:
        """Return an item, and create it if it is unknown here."""
        item = self._known.get(key)
        if item is None:
            item = self._known[key] = Item(key)
        return item

    @property
    def newer(self) -> list[Item]:
        """The items whose HTML is newer than that of the whole list."""
        return [item for item in self if item.rendered is not None]

    @property
    def due(self) -> list[Item]:
        """The items that viewers lack."""
        return [item for item in self._known.values() if item.needed is not None]

    @property
    def floors(self) -> list[Id]:
        """Of each item that viewers lack, the hub's position before its oldest change."""
        return [item.floor for item in self._known.values() if item.floor is not None]

    @property
    def is_storm(self) -> bool:
        """Whether so many items wait that a whole is better.

        Where two new ones go that have no order, only the whole list says.
        """
        due = self.due
        if len(due) > MOST_RESUMED:
            return True
        return not self.is_ordered and sum(item.key not in self._shown for item in due) > 1

    @property
    def html_size(self) -> int:
        """Size of the HTML that is kept, in characters."""
        return sum(len(item.rendered.html) for item in self.newer if item.rendered)

    def show(self, item: Item, rendered: Rendered) -> None:
        """Note that viewers are sent an item, or that it has gone."""
        (self._shown.add if rendered.html else self._shown.discard)(item.key)

    def take_whole(self, version: Id, rendered: Rendered | None, *, is_for_all: bool) -> None:
        """Take HTML of the whole list, and drop that of the items that are in it.

        Args:
            version: Version of the HTML.
            rendered: The HTML.
            is_for_all: Whether all viewers are sent it.
        """
        for item in self._known.values():
            if item.version <= version:
                item.rendered = None
        if rendered is not None:
            self.is_ordered = rendered.is_ordered
            if is_for_all:
                self._shown.clear()
            self._shown.update(rendered.items)
            self._shown.update(
                item.key for item in self.newer if item.rendered and item.rendered.html
            )

    def drop_up_to(self, version: Id) -> Id | None:
        """Forget what viewers lack of items that a whole list has, and return the lowest floor."""
        dropped = [item for item in self.due if (item.needed or ZERO) <= version]
        floors = [item.floor for item in dropped if item.floor is not None]
        for item in dropped:
            item.drop()
            item.origins, item.traces = frozenset(), ()
        return min(floors, default=None)

    def drop(self) -> None:
        """Forget what viewers lack."""
        for item in self._known.values():
            item.drop()

    def invalidate(self) -> None:
        """Drop all HTML and versions, after the broker's ids have begun again."""
        self._shown.clear()
        for item in self._known.values():
            item.invalidate()

    def forget(self, running: Id | None) -> None:
        """Forget items of which nothing is to be rendered, the oldest first, if there are many.

        Args:
            running: Version of the whole list that is rendered now, behind which newer items go;
                None if it is not rendered.
        """
        for item in self if len(self._known) > 2 * MOST_KEPT else ():
            if len(self._known) <= MOST_KEPT:
                break
            is_newer = running is not None and item.version > running
            if item.is_idle and not is_newer:
                del self._known[item.key]
