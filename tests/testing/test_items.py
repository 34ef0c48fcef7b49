"""Items in the HTML of a page under test go where they go in a browser."""

import pytest

from quart_sse.testing.items import PlacedItem, find_item, read_item, with_item
from quart_sse.wire.items import item_attributes


def li(key: object, order: object = None) -> str:
    """Return an item."""
    return f"<li {item_attributes(key, order)}>{key}</li>"


@pytest.mark.parametrize(
    ("html", "item", "after"),
    [
        ("", PlacedItem("l", "1", "end", None, li(1, 1)), "1"),
        (li(1, 1) + li(3, 3), PlacedItem("l", "2", "end", None, li(2, 2)), "123"),
        (li(3, 3) + li(1, 1), PlacedItem("l", "2", "start", None, li(2, 2)), "321"),
        (li(1) + li(2), PlacedItem("l", "3", "end", None, li(3)), "123"),
        (li(1) + li(2), PlacedItem("l", "3", "start", None, li(3)), "312"),
        (li(1, 1) + li(2, 2), PlacedItem("l", "1", "end", None, li(1, 3)), "21"),
        (li(1, 1) + li(2, 2), PlacedItem("l", "1", "end", None, ""), "2"),
        (li(1, 1) + li(2, 2), PlacedItem("l", "3", "end", 2, li(3, 3)), "23"),
        (li(2, 2) + li(1, 1), PlacedItem("l", "3", "start", 2, li(3, 3)), "32"),
        (li("a", "a") + li("c", "c"), PlacedItem("l", "b", "end", None, li("b", "b")), "abc"),
    ],
)
def test_item_goes_where_its_order_says(html: str, item: PlacedItem, after: str) -> None:
    """In place of the one with its key, else by order, else to the list's place."""
    changed = with_item(html, item)

    assert changed == "".join(find_item(changed, key) or "" for key in after)


def test_partial_of_an_item_is_read() -> None:
    """The key of the list is as attributes write it."""
    partial = "<hx-partial 'chat.list?a=1&amp;b=2' 5 end 500><li>x</li></hx-partial>"

    assert read_item(partial) == PlacedItem("chat.list?a=1&b=2", "5", "end", 500, "<li>x</li>")
    assert read_item("<hx-partial hx-target=\"[data-sse='a']\">x</hx-partial>") is None
