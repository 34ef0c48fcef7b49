"""Messages that put HTML into a page: htmx partials, which name their target elements.

Fields beside the data tell our script what a message is, so that it does not parse the HTML.
"""

from collections.abc import Mapping
from html import escape

from .event import check_unicode, encode_body
from .html_text import encode_tags
from .naming import selector


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


def encode_loader(key: str, url: str, delay_ms: int) -> bytes:
    """Encode the message that makes a page fetch a personal fragment with its viewer's cookies.

    The loading element is appended, so that the old HTML stays until the answer has arrived.

    Args:
        key: The fragment's key.
        url: The fragment's URL.
        delay_ms: Time that the page waits before it fetches, in milliseconds.
    """
    target = escape(f"closest {selector(key)}")
    loader = (
        f'<span hidden hx-get="{escape(url)}" hx-trigger="load delay:{delay_ms}ms"'
        f' hx-target="{target}" hx-swap="innerMorph"></span>'
    )
    return encode_body(_partial(key, "beforeend", loader), key=key, load=f"{delay_ms} {url}")


def encode_renewal(page: str, html: str, key: str, token: str, since: str) -> bytes:
    """Encode the message that replaces a page's connect element by one with a new token.

    Args:
        page: Random id of the page.
        html: HTML of the new connect element.
        key: The connect element's key, which stays the same.
        token: The new token.
        since: The stream's position, with the bits of the new token.
    """
    partial = f'<hx-partial hx-target="#sse-{page}" hx-swap="outerHTML">{html}</hx-partial>'
    return encode_body(partial, token=f"{key} {token} {since}")


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
