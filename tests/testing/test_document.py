"""The HTML of a page under test: where its fragments are, and how messages change it."""

import pytest

from quart_sse.testing.document import Document, partials
from quart_sse.testing.stream import read_block
from quart_sse.wire import encode_fragment

NESTED = "x<div>y</div><div/>z</div>"
NO_TAGS = '<!-- </div> --><script>"</div>"</script>x'
OUTER = '<div data-sse="a.outer"><p>x<p>y<div><br></div><b data-sse="a.in?n=1&amp;m=2">1</b></div>'


@pytest.mark.parametrize(
    ("html", "key", "inner"),
    [
        ('<div data-sse="a.b">x</div>', "a.b", "x"),
        ('<div data-sse="a.b"></div>', "a.b", ""),
        ('<UL class=x data-sse=a.b\n id="1">\n<li>x<li>y</UL> z', "a.b", "\n<li>x<li>y"),
        (f'<div data-sse="a.b">{NESTED}</div>w</div>', "a.b", NESTED),
        (f'<div data-sse="a.b">{NO_TAGS}</div>', "a.b", NO_TAGS),
        ('<div data-sse="a.b">&lt;&amp;é\u2028</div>', "a.b", "&lt;&amp;é\u2028"),
        ('<div data-sse="a.b">never ends', "a.b", "never ends"),
        ('a\r\nb\n<i data-sse="a.b">x\r\ny</i>', "a.b", "x\r\ny"),
        (OUTER, "a.in?n=1&m=2", "1"),
        (OUTER, "a.outer", OUTER[24:-6]),
        ("<p>none</p>", "a.b", None),
        ('<!-- <i data-sse="a.b">x</i> -->', "a.b", None),
        ('<div hx-disable><i data-sse="a.b">x</i></div>', "a.b", None),
        ('<div hx-disable></div><i data-sse="a.b">x</i>', "a.b", "x"),
    ],
)  # fmt: skip
def test_inner_html_is_the_text_of_the_page(html: str, key: str, inner: str | None) -> None:
    """It is what the server wrote, nothing added and nothing written in another way."""
    assert Document(html).inner(key) == inner


def test_html_is_put_into_every_element_of_the_fragment() -> None:
    """As htmx does; what stands around it stays."""
    document = Document('<i data-sse="a.b">1</i> <hr> <b data-sse="a.b">longer</b> <i>2</i>')

    assert document.put("a.b", "<u>x</u>")
    assert document.text == (
        '<i data-sse="a.b"><u>x</u></i> <hr> <b data-sse="a.b"><u>x</u></b> <i>2</i>'
    )
    assert not document.put("a.c", "y")
    assert "y" not in document.text


def test_fragments_inside_are_those_of_the_new_html() -> None:
    """One that is gone is shown no more, and one that is new can be changed."""
    document = Document(OUTER)
    assert document.keys == ["a.outer", "a.in?n=1&m=2"]
    assert document.overlapping("a.in?n=1&m=2") == {"a.outer", "a.in?n=1&m=2"}

    document.put("a.outer", '<b data-sse="a.new">1</b>')
    document.put("a.new", "2")

    assert document.keys == ["a.outer", "a.new"]
    assert document.inner("a.outer") == '<b data-sse="a.new">2</b>'
    assert document.overlapping("a.outer") == {"a.outer", "a.new"}


def test_fragment_inside_one_of_the_same_key_goes_with_it() -> None:
    """The outer element's HTML is replaced as a whole."""
    document = Document('<div data-sse="a.b">1<div data-sse="a.b">2</div></div>')

    document.put("a.b", "x")

    assert document.text == '<div data-sse="a.b">x</div>'


def test_connect_elements_are_those_that_the_script_uses() -> None:
    """Of either version of htmx, once each; not those that are marked, nor what is inside."""
    document = Document(
        '<div sse-connect="/sse?t=a&amp;k=1"></div><div hx-sse:connect="/sse?t=b"></div>'
        '<div sse-connect="/sse?t=c" hx-ignore></div>'
        '<div data-hx-disable><div><div sse-connect="/sse?t=d"></div></div></div>'
        '<br hx-ignore><div sse-connect="/sse?t=e">'
    )

    assert document.connects == ["/sse?t=a&k=1", "/sse?t=b", "/sse?t=e"]


def test_partials_are_those_that_the_server_writes() -> None:
    """Each with its key and HTML, in their order."""
    given = {"a.b?x=1&y=2": "<p>1\n\n2</p>", "a.c": ""}
    (text, *_) = (
        encode_fragment("a.b?x=1&y=2", given["a.b?x=1&y=2"], {"a.c": ""}).decode().split("\n\n")
    )

    assert list(partials(read_block(text)["data"])) == [*given.items()]
