"""The HTML of a page under test: its fragments and connect elements, and messages put in place."""

import re
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from itertools import accumulate

from .items import PlacedItem, read_item, with_item

#: Elements without content: https://html.spec.whatwg.org/multipage/syntax.html#void-elements
_VOID = frozenset(
    "area base br col embed hr img input link meta source track wbr".split()  # noqa: SIM905
)
#: The attributes that name a stream, of htmx 2 and of htmx 4.
_CONNECT = ("sse-connect", "hx-sse:connect")
#: The script ignores what is inside of elements with these.
_MARKS = frozenset({"hx-ignore", "data-hx-ignore", "hx-disable", "data-hx-disable"})
_PARTIAL = re.compile(
    r"<hx-partial hx-target=\"\[data-sse='([^']*)'\]\" hx-swap=\"\w+\">(.*)</hx-partial>\Z",
    re.DOTALL,
)


class _Element:
    """An element whose end is looked for; ``key`` is None if the script ignores what is inside."""

    def __init__(self, tag: str, key: str | None, start: int) -> None:
        self.tag, self.key, self.start, self.end = tag, key, start, start
        self.depth = 1  #: how many elements of this tag are open, this one among them


class _Scan(HTMLParser):
    """Finds the elements that matter, by the places of their tags in the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fragments: list[_Element] = []
        self.connects: list[str] = []
        self._open: list[_Element] = []
        self._lines = [0, *accumulate(len(line) + 1 for line in text.split("\n"))]
        self.feed(text)
        self.close()
        for element in self._open:
            element.end = len(text)

    @property
    def _place(self) -> int:
        line, column = self.getpos()
        return self._lines[line - 1] + column

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a fragment or a connect element, unless the script ignores it."""
        given = dict(attrs)
        for element in self._open:
            element.depth += element.tag == tag
        is_ignored = any(element.key is None for element in self._open)
        is_mark = not _MARKS.isdisjoint(given)
        if not is_ignored and not is_mark:
            self.connects += [url for name in _CONNECT if (url := given.get(name))][:1]
        key = given.get("data-sse")
        if tag in _VOID or is_ignored or not (key or is_mark):
            return
        element = _Element(tag, key or None, self._place + len(self.get_starttag_text() or ""))
        if key:
            self.fragments.append(element)
        self._open.append(element)
        if is_mark and key:  # the element itself is live, and nothing in it
            self._open.append(_Element(tag, None, element.start))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take ``<div/>`` as HTML does: it begins an element."""
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        """Note the end of elements."""
        for element in list(self._open):
            if element.tag == tag:
                element.depth -= 1
                if not element.depth:
                    element.end = self._place
                    self._open.remove(element)


def partials(data: str) -> Iterator[tuple[str, str] | PlacedItem]:
    """Yield what each partial in the data of a message brings, in the order of the script.

    That is the key and HTML of a fragment, or an item of a list.
    """
    for piece in data.split("<hx-partial ")[1:]:
        partial = "<hx-partial " + piece
        found, item = _PARTIAL.match(partial), read_item(partial)
        if found is not None:
            yield unescape(found[1]), found[2]
        elif item is not None:
            yield item


class Document:
    """The HTML of a page, as it is after the messages that were put in place.

    It stays the text that the server wrote: nothing is completed or written in another way.

    Args:
        text: The page's HTML.
    """

    def __init__(self, text: str) -> None:
        self.text: str = text
        scan = _Scan(text)
        self.connects: list[str] = scan.connects  #: URLs of the connect elements
        self._fragments = scan.fragments

    @property
    def keys(self) -> list[str]:
        """The keys of the fragments that the page shows, each once."""
        return list(dict.fromkeys(str(element.key) for element in self._fragments))

    def inner(self, key: str) -> str | None:
        """Return the HTML of a fragment, where the page shows it first; None if it does not."""
        for element in self._fragments:
            if element.key == key:
                return self.text[element.start : element.end]
        return None

    def overlapping(self, key: str) -> set[str]:
        """Return the keys of the fragments inside and around a fragment, and its own."""
        own = [element for element in self._fragments if element.key == key]
        return {
            str(each.key)
            for each in self._fragments
            for one in own
            if (one.start <= each.start and each.end <= one.end)
            or (each.start <= one.start and one.end <= each.end)
        }

    def take(self, data: str) -> None:
        """Put what the data of a message bring in place."""
        for each in partials(data):
            if isinstance(each, PlacedItem):
                html = self.inner(each.list)
                if html is not None:
                    self.put(each.list, with_item(html, each))
            else:
                self.put(*each)

    def put(self, key: str, html: str) -> bool:
        """Put HTML into every element of a fragment, and return whether the page shows it.

        Args:
            key: The fragment's key.
            html: Its new HTML.
        """
        places = [each for each in self._fragments if each.key == key]
        # From the end, so that the other places stay; one inside another of the same key is gone.
        for element in reversed(places):
            if not any(each.start < element.start < each.end for each in places):
                self.text = self.text[: element.start] + html + self.text[element.end :]
        if places:
            self._fragments = _Scan(self.text).fragments
        return bool(places)
