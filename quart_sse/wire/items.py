"""Items of lists in HTML: the attributes that their root elements carry, written and read."""

import re
from collections.abc import Iterator
from html import escape, unescape
from numbers import Real
from typing import Any, NamedTuple

from ..errors import FragmentError, MacroError
from .naming import plain, quote_item

_KEY = re.compile(r'\sdata-sse-item="([^"]*)"')
_ORDER = re.compile(r'\sdata-sse-order="([^"]*)"')
#: A comment, or a tag with its attributes, whose quotes may hold ">".
_TAG = re.compile(
    r"""<!--.*?-->|<(/?)([a-zA-Z][^\s/>]*)((?:[^>"']|"[^"]*"|'[^']*')*)>""", re.DOTALL
)
#: Elements without content (https://html.spec.whatwg.org/multipage/syntax.html#void-elements).
_VOID = frozenset(
    "area base br col embed hr img input link meta source track wbr".split()  # noqa: SIM905
)
#: Elements whose end tags may be missing.
_OPEN_ENDED = frozenset({"li", "option", "tr", "td", "th", "dt", "dd", "p"})
#: Most characters of a key.
_MOST_KEY = 128


class ItemRoots(NamedTuple):
    """The root elements of HTML.

    Attributes:
        keys: Keys of the items, as their attributes have them.
        is_ordered: Whether each item has an order.
        bare: Tag of the first root element without a key; "" if all have one.
    """

    keys: tuple[str, ...]
    is_ordered: bool
    bare: str


def check_item(item: object) -> str:
    """Return the key of an item, percent-encoded.

    Raises:
        FragmentError: If it is no ``str`` or ``int``, or is empty or longer than 128 characters.
    """
    if isinstance(item, bool) or not isinstance(item, str | int):
        raise FragmentError(
            f"The item is {item!r}. Pass its key, a str or an int, such as the row's primary key."
        )
    text = plain(str(item))
    if not 0 < len(text) <= _MOST_KEY:
        raise FragmentError(
            f"The item's key has {len(text)} characters. Pass one of 1 to {_MOST_KEY}."
        )
    return quote_item(text)


def item_attributes(key: object, order: Any = None) -> str:
    """Return the attributes of an item's root element, as HTML.

    Args:
        key: The item's key.
        order: A number or text by which the list is ordered; None for none.

    Raises:
        MacroError: If the order is of another type.
        FragmentError: As for :func:`check_item`.

    Example:
        ``item_attributes(12, order=3.5) == 'data-sse-item="12" data-sse-order="3.5"'``
    """
    text = f'data-sse-item="{escape(check_item(key))}"'
    if order is None:
        return text
    if isinstance(order, str):
        return f'{text} data-sse-order="={escape(plain(order))}"'
    is_number = isinstance(order, Real) and not isinstance(order, bool)
    if not is_number or order != order or order in (float("inf"), float("-inf")):
        raise MacroError(
            f"order is {order!r}. Pass a finite number or a text, such as created.timestamp() or "
            "created.isoformat()."
        )
    number = int(order) if order == int(order) else float(order)
    return f'{text} data-sse-order="{number}"'


class Root(NamedTuple):
    """A root element in HTML.

    Attributes:
        start: Where its tag begins.
        tag: Its name, in lower case.
        key: The item's key, as its attribute has it; None without one.
        order: The item's order, as its attribute has it; None without one.
    """

    start: int
    tag: str
    key: str | None
    order: str | None


def find_roots(html: str) -> Iterator[Root]:
    """Yield the root elements of HTML, in their order."""
    open_: list[str] = []
    for tag in _TAG.finditer(html):
        if tag[2] is None:
            continue  # a comment
        name, attributes = tag[2].lower(), tag[3]
        if tag[1]:
            while name in open_ and open_.pop() != name:
                pass
            continue
        # End tags may be missing: the next root element ends the one before.
        if not open_ or (name == open_[0] and _OPEN_ENDED.issuperset(open_)):
            open_.clear()
            key, order = _KEY.search(attributes), _ORDER.search(attributes)
            yield Root(tag.start(), name, key and unescape(key[1]), order and unescape(order[1]))
        if name not in _VOID and not attributes.endswith("/"):
            open_.append(name)


def read_roots(html: str) -> ItemRoots:
    """Return what the root elements of a list's HTML carry, or of an item's.

    Args:
        html: The HTML without the fragments inside, which may hold lists of their own.
    """
    roots = list(find_roots(html))
    keys = tuple(root.key for root in roots if root.key is not None)
    is_ordered = bool(keys) and all(root.order is not None for root in roots if root.key)
    bare = next((f"<{root.tag}>" for root in roots if root.key is None), "")
    return ItemRoots(keys, is_ordered, bare)


def check_list(key: str, html: str, keep: int | None = None) -> ItemRoots:
    """Return the items of a list's HTML.

    Args:
        key: The list's key.
        html: The HTML without the fragments inside.
        keep: How many items the list has at most; None for any number.

    Raises:
        FragmentError: If a root element has no key, two have the same, or there are too many.
    """
    roots = read_roots(html)
    if roots.bare:
        raise FragmentError(
            f"The list {key!r} has a {roots.bare} that is no item. Give the root element of each "
            "item {{ sse_item(key) }}, and put everything else beside the list."
        )
    if len(set(roots.keys)) < len(roots.keys):
        twice = next(each for each in roots.keys if roots.keys.count(each) > 1)
        raise FragmentError(
            f"The list {key!r} has two items with the key {twice!r}. Keys are unique in a list, as "
            "primary keys are."
        )
    if keep is not None and len(roots.keys) > keep:
        raise FragmentError(
            f"The list {key!r} has {len(roots.keys)} items, and is declared with keep={keep}. Let "
            "its renderer return that many at most."
        )
    return roots


def check_one(key: str, item: str, html: str) -> ItemRoots:
    """Return the root of an item's HTML, in which there is one.

    Args:
        key: The list's key.
        item: The item's key, percent-encoded.
        html: The HTML without the fragments inside.

    Raises:
        FragmentError: If it is not one root element that carries the item's key.
    """
    roots = read_roots(html)
    if roots.bare or roots.keys != (item,):
        found = roots.bare or f"{len(roots.keys)} items {list(roots.keys)}"
        raise FragmentError(
            f"The HTML of item {item!r} of {key!r} must be one element with "
            f"{{{{ sse_item({item!r}) }}}}, and is {found}. Return None for an item that has gone."
        )
    return roots
