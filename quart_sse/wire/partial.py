"""Messages that put HTML into a page: htmx partials, which name the elements that they change."""

from collections.abc import Mapping
from html import escape

from .event import check_unicode, encode_body
from .html_text import encode_tags
from .naming import selector


def encode_fragment(key: str, html: str, behind: Mapping[str, str] | None = None) -> bytes:
    """Return the message that puts HTML into every element of a fragment, without its id.

    An unnamed message that holds an htmx partial: the same bytes work in htmx 2.0.11 (which
    takes ``innerMorph`` for ``innerHTML``) and in htmx 4.

    Args:
        key: The fragment's key.
        html: Its HTML.
        behind: Key -> HTML of other fragments that are put in place after it, in this order.

    Raises:
        FragmentError: If the HTML cannot be carried; see :func:`check_html`.
    """
    parts = {key: html, **(behind or {})}
    return encode_body(
        "".join(_partial(key, "innerMorph", check_html(key, html)) for key, html in parts.items())
    )


def encode_loader(key: str, url: str, delay_ms: int) -> bytes:
    """Return the message that makes a viewer fetch a personal fragment with its own cookies.

    The element is put beside what is shown, which stays until the answer has come.
    """
    target = escape(f"closest {selector(key)}")
    loader = (
        f'<span hidden hx-get="{escape(url)}" hx-trigger="load delay:{delay_ms}ms"'
        f' hx-target="{target}" hx-swap="innerMorph"></span>'
    )
    return encode_body(_partial(key, "beforeend", loader))


def encode_replacement(element_id: str, html: str) -> bytes:
    """Return the message that replaces one element by another."""
    partial = f'<hx-partial hx-target="#{element_id}" hx-swap="outerHTML">{html}</hx-partial>'
    return encode_body(partial)


def check_html(key: str, html: str) -> str:
    """Return a fragment's HTML as a partial can carry it.

    Raises:
        FragmentError: If a script or style in it contains what htmx takes for a tag of its own.
        EventError: If it cannot be sent as UTF-8.
    """
    check_unicode(html)
    return encode_tags(key, html)


def _partial(key: str, swap: str, html: str) -> str:
    # The selector's own quotes are single ones, so only "&" and the like need escaping.
    target = selector(key).replace("&", "&amp;")
    return f'<hx-partial hx-target="{target}" hx-swap="{swap}">{html}</hx-partial>'
