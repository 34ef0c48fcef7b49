"""Which items of a list have changed, as brokers record it."""

from dataclasses import dataclass, field

from ..wire import Id

#: Most items of one list whose last change is on record; beyond, the oldest go.
MOST_ITEMS = 64
#: Most items that a client which resumes is sent one by one; beyond, it is sent the whole list.
MOST_RESUMED = 50


@dataclass(slots=True)
class Changed:
    """The items of a list that have changed since the whole list has.

    Attributes:
        base: Id of the last change of the whole list, or of the newest one of an item that is no
            longer on record: who was current before it needs the whole list.
        items: Key of an item -> id of its last change, in the order of ids.
    """

    base: Id
    items: dict[str, Id] = field(default_factory=dict)

    def note(self, item: str, id: Id) -> None:
        """Note the newest change of an item."""
        self.items.pop(item, None)
        self.items[item] = id
        while len(self.items) > MOST_ITEMS:
            self.base = max(self.base, self.items.pop(next(iter(self.items))))

    def after(self, position: Id) -> dict[str, Id] | None:
        """Return the items that have changed after a position; None if the whole list is needed."""
        if self.base > position:
            return None
        late = {item: id for item, id in self.items.items() if id > position}
        return late if len(late) <= MOST_RESUMED else None

    def copy(self) -> "Changed":
        """Return a copy, which stays as it is."""
        return Changed(self.base, dict(self.items))
