"""Items of lists in the HTML of a page under test, put in place as quart-sse-list.js does."""

import re
from html import unescape
from typing import NamedTuple

from ..wire import find_roots

_PARTIAL = re.compile(
    r"<hx-partial '([^']*)' (\S+) (start|end)(?: (\d+))?>(.*)</hx-partial>\Z", re.DOTALL
)


class PlacedItem(NamedTuple):
    """An item as a message brings it.

    Attributes:
        list: Key of the list.
        item: Key of the item, percent-encoded.
        place: Where items without an order go, ``start`` or ``end``.
        keep: How many items the list has at most; None for any number.
        html: The item's HTML; "" if it has gone.
    """

    list: str
    item: str
    place: str
    keep: int | None
    html: str


def read_item(partial: str) -> PlacedItem | None:
    """Return the item that a partial brings; None if it brings a whole fragment."""
    found = _PARTIAL.match(partial)
    if found is None:
        return None
    keep = None if found[4] is None else int(found[4])
    return PlacedItem(unescape(found[1]), found[2], found[3], keep, found[5])


def find_item(html: str, item: str) -> str | None:
    """Return the HTML of an item in that of its list; None if it is not there."""
    return next((text for key, _, text in _split(html)[1] if key == item), None)


def with_item(html: str, placed: PlacedItem) -> str:
    """Return the HTML of a list with an item put in place."""
    before, items = _split(html)
    index = next((i for i, (key, _, _) in enumerate(items) if key == placed.item), None)
    order = _order_of(placed.html)
    if index is not None:
        is_moved = bool(placed.html) and order is not None and items[index][1] != order
        if placed.html and not is_moved:
            items[index] = (placed.item, items[index][1], placed.html)
        else:
            del items[index]
        index = None if is_moved else -1
    if placed.html and index is None:
        at = _index_of([each[1] for each in items], order, placed.place)
        items.insert(at, (placed.item, order, placed.html))
    if placed.keep is not None:
        items = items[: placed.keep] if placed.place == "start" else items[-placed.keep :]
    return before + "".join(text for _, _, text in items)


def _split(html: str) -> tuple[str, list[tuple[str | None, str | None, str]]]:
    """Return what comes before the first item, and key, order and text of each item."""
    roots = list(find_roots(html))
    ends = [*(root.start for root in roots[1:]), len(html)][: len(roots)]
    items = [
        (root.key, root.order, html[root.start : end])
        for root, end in zip(roots, ends, strict=True)
    ]
    return html[: roots[0].start] if roots else html, items


def _order_of(html: str) -> str | None:
    return next((root.order for root in find_roots(html)), None)


def _rank(order: str | None) -> tuple[int, float, str]:
    """Return what orders are compared by: numbers come before texts."""
    if order is None or order.startswith("="):
        return 1, 0, order or ""
    return 0, int(order) if re.fullmatch(r"-?\d+", order) else float(order), ""


def _index_of(orders: list[str | None], order: str | None, place: str) -> int:
    if order is None:
        return 0 if place == "start" else len(orders)
    if place == "start":
        return sum(_rank(each) > _rank(order) for each in orders)
    return sum(_rank(each) <= _rank(order) for each in orders)
