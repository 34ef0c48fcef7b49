"""Fragments and loaders on the wire: partials that htmx puts into a page."""

import re

import pytest
from bs4 import BeautifulSoup
from bs4.element import Tag

from quart_sse.errors import EventError, FragmentError
from quart_sse.wire.naming import selector
from quart_sse.wire.partial import check_html, encode_fragment, encode_loader
from tests.support.streams import parse

KEY = "notes.list?room=a%26b&user=7"


def partial_of(message: bytes) -> Tag:
    """Return the one element that an unnamed message consists of."""
    (event,) = parse(message)
    assert event.name == "message"
    (partial,) = BeautifulSoup(event.data, "html.parser").contents
    assert isinstance(partial, Tag)
    assert partial.name == "hx-partial"
    return partial


def test_fragment_is_an_unnamed_partial_over_its_elements() -> None:
    """A fragment goes out as one hx-partial that morphs every element of its key."""
    encoded = encode_fragment("comments.list?discussion_id=7", "<p>a</p>\n<p>b</p>")

    assert encoded == (
        b"data: <hx-partial hx-target=\"[data-sse='comments.list?discussion_id=7']\""
        b' hx-swap="innerMorph"><p>a</p>\ndata: <p>b</p></hx-partial>\n\n'
    )


def test_fragment_key_of_several_parameters_keeps_its_selector() -> None:
    """An & between parameters reaches the browser's selector as it is, and so does the HTML."""
    html = '<p title="&amp;copy">a &amp; b</p>'

    encoded = encode_fragment(KEY, html)

    assert b"?room=a%26b&amp;user=7'" in encoded
    partial = partial_of(encoded)
    assert partial["hx-target"] == selector(KEY)
    assert partial["hx-swap"] == "innerMorph"
    assert partial.decode_contents() == html


@pytest.mark.parametrize(
    "html",
    [
        "a</hx-partial>b",
        "<hx-partial>",
        "<HX-Partial hx-target='body'>",
        "</HX-PARTIAL\n>",
        "<p>\n<hx-partial/>",
        '<i title="</hx-partial>">x</i>',
        "<!-- </hx-partial> -->",
    ],
)
def test_fragment_with_a_partial_tag_stays_one_partial(html: str) -> None:
    """A tag that would end the partial, or begin another, is written as text: once."""
    encoded = encode_fragment(KEY, html)

    assert len(re.findall(rb"</?hx-partial", encoded, re.IGNORECASE)) == 2
    assert encoded.lower().count(b"hx-partial") > 2
    assert check_html(KEY, check_html(KEY, html)) == check_html(KEY, html)


def test_script_that_holds_a_partial_tag_is_named() -> None:
    """A script cannot write the tag in another way, so the fragment's key is named instead."""
    with pytest.raises(FragmentError, match=re.escape(repr(KEY))):
        encode_fragment(KEY, "<script>say('<hx-partial>')</script>")


@pytest.mark.parametrize("html", ["", "&lt;/hx-partial&gt;", "hx-partial", "<p>hx-partial</p>"])
def test_fragment_that_only_speaks_of_partials_is_sent(html: str) -> None:
    """Escaped tags and plain text are no partial tags."""
    partial = partial_of(encode_fragment(KEY, html))

    assert partial.decode_contents() == html


def test_fragment_of_a_lone_surrogate_raises() -> None:
    """HTML that is not valid Unicode raises before anything is sent."""
    with pytest.raises(EventError, match="UTF-8"):
        encode_fragment(KEY, "<p>\ud800</p>")


def test_loader_fetches_beside_what_is_shown() -> None:
    """A loader adds a hidden element that fetches the fragment later into the element around."""
    url = "/app/sse/~/mine/notes?t=a.b~c&x=\"'<"

    encoded = encode_loader(KEY, url, 250)

    assert encoded.count(b"?room=a%26b&amp;user=7") == 2
    partial = partial_of(encoded)
    assert (partial["hx-target"], partial["hx-swap"]) == (selector(KEY), "beforeend")
    (loader,) = partial.contents
    assert isinstance(loader, Tag)
    assert loader.attrs == {
        "hidden": "",
        "hx-get": url,
        "hx-trigger": "load delay:250ms",
        "hx-target": f"closest {selector(KEY)}",
        "hx-swap": "innerMorph",
    }
    assert loader.contents == []
