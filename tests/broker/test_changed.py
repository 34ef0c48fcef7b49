"""The record of changed items: what a client lacks that comes back."""

from quart_sse.broker.changed import MOST_ITEMS, MOST_RESUMED, Changed
from quart_sse.wire.position import Id


def test_items_are_in_the_order_of_their_last_change() -> None:
    """An item that changes again is the newest."""
    changed = Changed(Id(1, 0))
    for number, item in enumerate(["a", "b", "a"]):
        changed.note(item, Id(2, number))

    assert list(changed.items) == ["b", "a"]
    assert changed.after(Id(2, 1)) == {"a": Id(2, 2)}
    assert changed.after(Id(2, 2)) == {}


def test_client_from_before_the_base_needs_the_whole_list() -> None:
    """That is the last change of the whole list."""
    changed = Changed(Id(5, 0), {"a": Id(6, 0)})

    assert changed.after(Id(4, 0)) is None
    assert changed.after(Id(5, 0)) == {"a": Id(6, 0)}


def test_items_beyond_the_most_raise_the_base() -> None:
    """Who is older than an item that is forgotten cannot be told which one it lacks."""
    changed = Changed(Id(0, 0))
    for number in range(MOST_ITEMS + 2):
        changed.note(str(number), Id(1, number))

    assert changed.base == Id(1, 1)
    assert len(changed.items) == MOST_ITEMS


def test_client_that_lacks_many_items_needs_the_whole_list() -> None:
    """One render costs less than as many as these."""
    items = {str(number): Id(1, number + 1) for number in range(MOST_RESUMED + 1)}
    changed = Changed(Id(0, 0), items)

    assert changed.after(Id(1, 0)) is None
    assert changed.after(Id(1, 1)) is not None


def test_copy_stays_as_it_is() -> None:
    """A replay is of one moment."""
    changed = Changed(Id(0, 0))
    copy = changed.copy()
    changed.note("a", Id(1, 0))

    assert copy.items == {}
