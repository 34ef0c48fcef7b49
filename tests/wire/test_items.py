"""The attributes of a list's items: written for templates, and read in HTML."""

from typing import Any

import pytest

from quart_sse.errors import FragmentError, MacroError
from quart_sse.wire.items import (
    check_item,
    check_list,
    check_one,
    find_roots,
    item_attributes,
    read_roots,
)


@pytest.mark.parametrize(
    ("key", "order", "written"),
    [
        (12, None, 'data-sse-item="12"'),
        ("a b/ü", None, 'data-sse-item="a%20b%2F%C3%BC"'),
        (1, 3, 'data-sse-item="1" data-sse-order="3"'),
        (1, 3.5, 'data-sse-item="1" data-sse-order="3.5"'),
        (1, 2**60 + 1, f'data-sse-item="1" data-sse-order="{2**60 + 1}"'),
        (1, '"12"', 'data-sse-item="1" data-sse-order="=&quot;12&quot;"'),
    ],
)
def test_attributes_say_key_and_order(key: Any, order: Any, written: str) -> None:
    """Keys are percent-encoded, texts begin with "=", and large numbers stay exact."""
    assert item_attributes(key, order) == written


@pytest.mark.parametrize("order", [True, float("nan"), float("inf"), object(), [1]])
def test_order_is_a_number_or_a_text(order: object) -> None:
    """Anything else would be compared as something that it is not."""
    with pytest.raises(MacroError, match=r"isoformat\(\)"):
        item_attributes(1, order)


@pytest.mark.parametrize("key", [True, None, 1.5, "", "x" * 129])
def test_key_is_a_short_text_or_a_number(key: object) -> None:
    """A key names an item in messages and attributes."""
    with pytest.raises(FragmentError, match="key"):
        check_item(key)


@pytest.mark.parametrize(
    ("html", "keys", "bare"),
    [
        ("", (), ""),
        ('<!-- <p> --><li data-sse-item="1">a<li data-sse-item="2"><br>b</li>', ("1", "2"), ""),
        ('<tr data-sse-item="1"><td>a<td>b</tr> <tr data-sse-item="2"></tr>', ("1", "2"), ""),
        ('<div data-sse-item="1"><p><i data-x=">"></i></p></div><p>b</p>', ("1",), "<p>"),
        ('<option data-sse-item="1">a<option data-sse-item="2">b', ("1", "2"), ""),
        ('<article data-sse-item="1"><img><article></article></article>', ("1",), ""),
    ],
)
def test_roots_are_found_in_html(html: str, keys: tuple[str, ...], bare: str) -> None:
    """Also where end tags are missing, as HTML allows."""
    roots = read_roots(html)

    assert (roots.keys, roots.bare) == (keys, bare)


def test_list_is_ordered_if_every_item_is() -> None:
    """One without an order has no place of its own."""
    one, other = (f"<li {item_attributes(1, order)}></li>" for order in (1, None))

    assert read_roots(one).is_ordered
    assert not read_roots(one + other).is_ordered
    assert not read_roots("").is_ordered
    assert [root.order for root in find_roots(one + other)] == ["1", None]


@pytest.mark.parametrize(
    ("html", "keep", "message"),
    [
        ('<li data-sse-item="1"></li><li>x</li>', None, "<li> that is no item"),
        ('<li data-sse-item="1"></li><li data-sse-item="1"></li>', None, "two items with the key"),
        ('<li data-sse-item="1"></li><li data-sse-item="2"></li>', 1, "keep=1"),
    ],
)
def test_list_with_faulty_items_is_refused(html: str, keep: int | None, message: str) -> None:
    """The error says which item, and what to write."""
    with pytest.raises(FragmentError, match=message):
        check_list("chat.list", html, keep)


@pytest.mark.parametrize(
    "html",
    ["", "text", "<li>x</li>", '<li data-sse-item="2"></li>', '<li data-sse-item="1"></li>' * 2],
)
def test_item_is_one_element_with_its_key(html: str) -> None:
    """Anything else could not be found again in the page."""
    with pytest.raises(FragmentError, match="must be one element"):
        check_one("chat.list", "1", html)
