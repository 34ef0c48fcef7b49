"""Messages that put HTML into a page: htmx partials, which name their target elements.

Fields beside the data tell our script what a message is, so that it does not parse the HTML.
"""

import re
from collections.abc import Callable, Mapping
from html import escape, unescape

from ..errors import FragmentError
from .event import check_unicode, encode_body
from .html_text import encode_tags
from .naming import item_key, selector

_CONNECT_ELEMENT = re.compile(r"""\s(?:hx-sse:|sse-)connect\s*=\s*["'][^"']*[?&;]t=""")
#: Triggers of a request that has failed, by the names of htmx 2 and of htmx 4.
_AGAIN = "".join(
    f", htmx:{name} delay:10s" for name in ("responseError", "sendError", "response:error", "error")
)
_SHOWN = re.compile(r"""\sdata-sse\s*=\s*["']([^"'?]+)""")


def encode_fragment(key: str, html: str, behind: Mapping[str, str] | None = None) -> bytes:
    """Encode the message that puts HTML into every element of a fragment, without its id.

    The message is unnamed and holds ``<hx-partial>``. htmx 2.0.11 (which reads ``innerMorph`` as
    ``innerHTML``) and htmx 4 put the same bytes into the same place.

    Args:
        key: The fragment's key.
        html: The fragment's HTML.
        behind: Key -> HTML of other fragments, which htmx puts in place afterwards, in this order.

    Raises:
        FragmentError, EventError: If a partial cannot carry the HTML; see :func:`check_html`.
    """
    parts = {key: html, **(behind or {})}
    return encode_body(
        "".join(_partial(key, "innerMorph", check_html(key, html)) for key, html in parts.items()),
        key=key,
    )


def encode_item(
    key: str, item: str, html: str, place: str, behind: Mapping[str, str] | None = None
) -> bytes:
    """Encode the message that puts one item into every element of a list, without its id.

    Args:
        key: The list's key.
        item: The item's key, percent-encoded.
        html: The item's HTML; "" if the item has gone.
        place: Where items without an order go, "start" or "end"; then how many the list keeps, if
            it is cut.
        behind: Key -> HTML of other fragments, as for :func:`encode_fragment`.

    Raises:
        FragmentError, EventError: As for :func:`encode_fragment`.
    """
    others = (
        _partial(key, "innerMorph", check_html(key, html)) for key, html in (behind or {}).items()
    )
    return encode_body(_item(key, item, html, place) + "".join(others), key=item_key(key, item))


def encode_list(
    key: str, html: str, behind: Mapping[str, str], items: Mapping[str, str], place: str
) -> bytes:
    """Encode the message that puts a whole list into place, and then the items that are newer.

    Args:
        key: The list's key.
        html: The list's HTML.
        behind: Key -> HTML of other fragments, as for :func:`encode_fragment`.
        items: Key of an item -> its HTML.
        place: As for :func:`encode_item`.

    Raises:
        FragmentError, EventError: As for :func:`encode_fragment`.
    """
    parts = {key: html, **behind}
    whole = (_partial(key, "innerMorph", check_html(key, html)) for key, html in parts.items())
    newer = (_item(key, item, html, place) for item, html in items.items())
    return encode_body("".join((*whole, *newer)), key=item_key(key, ""))


def encode_loader(key: str, url: str, delay_ms: int) -> bytes:
    """Encode the message that makes a page fetch a personal fragment with its viewer's cookies.

    The loading element is appended, so that the old HTML stays until the answer has arrived. Of two
    of these the later one's answer counts.

    Args:
        key: The fragment's key.
        url: The fragment's URL.
        delay_ms: Time that the page waits before it fetches, in milliseconds.
    """
    target = escape(f"closest {selector(key)}")
    loader = (
        f'<span hidden hx-get="{escape(url)}" hx-trigger="load delay:{delay_ms}ms{_AGAIN}"'
        f' hx-sync="closest [data-sse]:replace" hx-target="{target}" hx-swap="innerMorph"></span>'
    )
    return encode_body(_partial(key, "beforeend", loader), key=key, load=f"{delay_ms} {url}")


def encode_renewal(page: str, html: str, key: str, token: str, since: str, number: int) -> bytes:
    """Encode the message that replaces a page's connect element by one with a new token.

    Args:
        page: Random id of the page.
        html: HTML of the new connect element.
        key: The connect element's key, which stays the same.
        token: The new token.
        since: The stream's position, with the bits of the new token.
        number: Which ``t`` of the stream's URL the new token replaces, from 0. A token of which a
            part was refused is renewed without that, so its own key is another one afterwards.
    """
    partial = f'<hx-partial hx-target="#sse-{page}" hx-swap="outerHTML">{html}</hx-partial>'
    return encode_body(partial, token=f"{key} {token} {since} {number}")


def check_html(key: str, html: str) -> str:
    """Return a fragment's HTML in a form that a partial can carry.

    Raises:
        FragmentError: If a script or style contains text that htmx would mistake for a tag.
        EventError: If the HTML is not valid Unicode.
    """
    check_unicode(html)
    return encode_tags(key, html)


def _partial(key: str, swap: str, html: str) -> str:
    # A key has no quotes and the selector's are single, so that only "&" needs escaping.
    target = selector(key).replace("&", "&amp;")
    return f'<hx-partial hx-target="{target}" hx-swap="{swap}">{html}</hx-partial>'


def _item(key: str, item: str, html: str, place: str) -> str:
    # Only our script is sent items, so this is as short as what it reads.
    name = key.replace("&", "&amp;")
    return f"<hx-partial '{name}' {item} {place}>{check_html(key, html)}</hx-partial>"


def check_pushed(key: str, html: str, is_personal: Callable[[str, str], bool]) -> str:
    """Return pushed HTML if it may go to all viewers.

    The publisher rendered it for itself, so it may contain what is for one viewer only.

    Args:
        key: The fragment's key.
        html: The HTML.
        is_personal: Whether a channel declares a fragment as personal, by the names of the two.

    Raises:
        FragmentError: If the HTML contains a connect element (which would send the publisher's
            token to all viewers) or a personal fragment, or cannot be sent.
    """
    if _CONNECT_ELEMENT.search(html):
        raise FragmentError(
            f"The HTML pushed for fragment {key!r} contains a connect element, whose token is "
            "for one viewer. Push the fragment's own HTML, without sse_connect() or "
            "sse_live(), and not the response to an htmx request."
        )
    for name in map(unescape, _SHOWN.findall(html)):
        channel, _, inner = name.partition(".")
        if is_personal(channel, inner):
            raise FragmentError(
                f"The HTML pushed for fragment {key!r} contains the personal fragment "
                f"{name!r} as the publisher sees it. Put it beside, not inside."
            )
    return check_html(key, html)
