"""The items of one list: which wait, which are newer than the whole list, and which are kept."""

import pytest

from quart_sse.broker import MOST_RESUMED
from quart_sse.hub.items import MOST_KEPT, Items
from quart_sse.hub.rendered import Rendered
from quart_sse.wire.position import ZERO
from tests.support.outgoing import at


def changed(*keys: str) -> Items:
    """Return items that viewers lack; their ids count from 1, and the positions are 1 less."""
    items = Items()
    for number, key in enumerate(keys, 1):
        items.get(key).need(at(number), at(number - 1))
    return items


def whole(*keys: str, is_ordered: bool = False) -> Rendered:
    """Return a render of a whole list."""
    return Rendered("<li></li>" * len(keys), items=keys, is_ordered=is_ordered)


def test_item_is_created_once() -> None:
    """And found only if it is known."""
    items = Items()
    assert items.find("a") is None
    assert items.get("a") is items.get("a") is items.find("a")


@pytest.mark.parametrize(
    ("shown", "is_ordered", "lacking", "is_storm"),
    [
        ("ab", False, "ab", False),
        ("ab", False, "abc", False),
        ("ab", False, "cd", True),
        ("ab", True, "cd", False),
    ],
)
def test_two_new_items_without_order_are_a_storm(
    shown: str, is_ordered: bool, lacking: str, is_storm: bool
) -> None:
    """Only the whole list says which of them comes first."""
    items = changed(*lacking)
    items.take_whole(ZERO, whole(*shown, is_ordered=is_ordered), is_for_all=True)
    assert items.is_storm is is_storm


def test_many_items_are_a_storm() -> None:
    """However well they are ordered."""
    items = changed(*map(str, range(MOST_RESUMED)))
    items.is_ordered = True
    assert not items.is_storm
    items.get("one more").need(at(99), at(98))
    assert items.is_storm


def test_item_that_was_sent_is_new_no_more_until_it_goes() -> None:
    """Or until a whole list without it is sent to all."""
    items = changed("a", "b")
    items.show(items.get("a"), Rendered("<li></li>"))
    assert not items.is_storm
    items.show(items.get("a"), Rendered(""))
    assert items.is_storm
    items.show(items.get("a"), Rendered("<li></li>"))
    items.take_whole(ZERO, whole("c"), is_for_all=False)
    assert not items.is_storm
    items.take_whole(ZERO, whole("c"), is_for_all=True)
    assert items.is_storm


def test_whole_list_has_the_html_of_no_newer_item() -> None:
    """Those that are newer go behind it, and count as shown."""
    items = changed("old", "new", "other")
    for key, version in (("old", 5), ("new", 6)):
        items.get(key).take(at(version), Rendered("<li></li>"), ZERO)
    assert items.html_size == 2 * len("<li></li>")

    items.take_whole(at(5), whole(), is_for_all=True)

    assert [item.key for item in items.newer] == ["new"]
    assert items.html_size == len("<li></li>")
    items.get("new").need(at(9), at(8))
    assert not items.is_storm


def test_whole_list_that_all_are_sent_leaves_only_newer_changes_lacking() -> None:
    """The lowest position before those that it has is returned, in case that it is not sent."""
    items = changed("a", "b", "c")
    assert items.floors == [at(0), at(1), at(2)]
    assert items.drop_up_to(at(2)) == at(0)
    assert [item.key for item in items.due] == ["c"]
    assert items.floors == [at(2)]
    assert items.drop_up_to(at(2)) is None


def test_items_are_forgotten_that_nothing_needs() -> None:
    """The oldest first, and not those which go behind the whole list that is rendered now."""
    items = Items()
    for number in range(2 * MOST_KEPT + 1):
        items.get(str(number)).version = at(number)
    items.get("0").need(at(999), at(998))
    items.get("1").version = at(999)

    items.forget(at(998))

    kept = {item.key for item in items}
    assert len(kept) == MOST_KEPT
    assert {"0", "1", str(2 * MOST_KEPT)} <= kept
    assert "2" not in kept


def test_few_items_are_all_kept() -> None:
    """What they are forgotten for is memory."""
    items = Items()
    for number in range(2 * MOST_KEPT):
        items.get(str(number))
    items.forget(None)
    assert len(list(items)) == 2 * MOST_KEPT
