"""Fragments and loaders on the wire: partials that htmx puts into a page."""

import re

import pytest
from bs4 import BeautifulSoup
from bs4.element import Tag

from quart_sse.errors import EventError, FragmentError
from quart_sse.wire.naming import selector
from quart_sse.wire.partial import check_html, encode_fragment, encode_loader, encode_renewal
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


def fields_of(message: bytes) -> dict[str, str]:
    """Return the fields of a message but its data, as a client of ours has them."""
    (block, rest) = message.decode().split("\n\n")
    assert rest == ""
    lines = [line.split(": ", 1) for line in block.split("\n") if not line.startswith("data:")]
    return dict(lines)


def test_fragment_is_an_unnamed_partial_over_its_elements() -> None:
    """A fragment goes out as one hx-partial that morphs every element of its key, with that key."""
    encoded = encode_fragment("comments.list?discussion_id=7", "<p>a</p>\n<p>b</p>")

    assert encoded == (
        b"key: comments.list?discussion_id=7\n"
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


def test_fragment_with_others_behind_has_its_own_key() -> None:
    """Of several partials the field says the key of the first, which the others repair."""
    encoded = encode_fragment(KEY, "outer", {"notes.inner": "inner"})

    assert encoded.count(b"<hx-partial") == 2
    assert fields_of(encoded) == {"key": KEY}


def test_fragment_without_html_has_its_key() -> None:
    """A message that empties a fragment has the fragment's key as well."""
    assert fields_of(encode_fragment(KEY, "")) == {"key": KEY}


@pytest.mark.parametrize("bad", ["\r", "\n", "\r\n", "\0"])
def test_field_that_would_end_its_line_raises(bad: str) -> None:
    """CR, LF and NUL are refused in a key, a URL and a token: they would begin another field."""
    broken = f"a{bad}data: <script>"

    with pytest.raises(EventError, match=r"^The key .* contains CR, LF or NUL"):
        encode_fragment(broken, "html")
    with pytest.raises(EventError, match=r"^The load .* contains CR, LF or NUL"):
        encode_loader(KEY, broken, 0)
    with pytest.raises(EventError, match=r"^The token .* contains CR, LF or NUL"):
        encode_renewal("page", "html", "00", broken, "", 0)


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
        "hx-trigger": "load delay:250ms, htmx:responseError delay:10s, htmx:sendError delay:10s, "
        "htmx:response:error delay:10s, htmx:error delay:10s",
        "hx-sync": "closest [data-sse]:replace",
        "hx-target": f"closest {selector(KEY)}",
        "hx-swap": "innerMorph",
    }
    assert loader.contents == []
    assert fields_of(encoded) == {"key": KEY, "load": f"250 {url}"}


def test_renewal_replaces_the_connect_element_and_says_its_token() -> None:
    """A page's connect element is replaced whole; its token, key and number stand beside it."""
    html = '<div id="sse-b" sse-connect="/sse?t=new%20token&amp;k=0a&amp;since=0"></div>'

    encoded = encode_renewal("a", html, "0a", "new", "e.5-0@3", 2)

    partial = partial_of(encoded)
    assert (partial["hx-target"], partial["hx-swap"]) == ("#sse-a", "outerHTML")
    assert partial.decode_contents() == html
    assert fields_of(encoded) == {"token": "0a new e.5-0@3 2"}
