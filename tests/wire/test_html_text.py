"""HTML that htmx would cut in two is encoded, or named; all other HTML is left as it is."""

import contextlib
import random
import re
import time

import pytest
from playwright.async_api import Browser

from quart_sse.errors import FragmentError
from quart_sse.wire.html_text import encode_tags

#: What htmx 2.0.11 and 4.0.1 replace or remove in an answer before it is parsed.
TAKEN = re.compile(r"<hx-[a-z]+|</hx-[a-z]+>|<head(\s[^>]*)?>[\s\S]*?</head>", re.IGNORECASE)
KEY = "comments.list"


@pytest.mark.parametrize(
    ("html", "encoded"),
    [
        ('<a title="</hx-partial>">x</a>', '<a title="&lt;/hx-partial>">x</a>'),
        ("<a title='<hx-partial>'>x</a>", "<a title='&lt;hx-partial>'>x</a>"),
        ("<a title=<hx-partial>x</a>", "<a title=&lt;hx-partial>x</a>"),
        ('<a title="<HX-Other a>">', '<a title="&lt;HX-Other a>">'),
        ('<a title="<head>lost</head>">', '<a title="&lt;head>lost&lt;/head>">'),
        ("a<hx-partial>b</hx-partial>c", "a&lt;hx-partial>b&lt;/hx-partial>c"),
        ("<!-- <hx-partial> -->", "<!-- &lt;hx-partial> -->"),
        ("<!-->" + "<i title='<hx-a'>", "<!-->" + "<i title='&lt;hx-a'>"),
        ("<!-- <script> --><i t='</hx-p>'>", "<!-- <script> --><i t='&lt;/hx-p>'>"),
        ("<textarea></hx-partial></textarea>", "<textarea>&lt;/hx-partial></textarea>"),
        ('<p title=a"b><i title="<hx-a>">', '<p title=a"b><i title="&lt;hx-a>">'),
        ("<script>a < b</script><hx-a>", "<script>a < b</script>&lt;hx-a>"),
    ],
)
def test_tags_of_htmx_are_encoded_where_they_are_text(html: str, encoded: str) -> None:
    """Attributes, text, comments and text areas mean the same when the tag's ``<`` is ``&lt;``."""
    assert encode_tags(KEY, html) == encoded
    assert encode_tags(KEY, encoded) == encoded


@pytest.mark.parametrize(
    "html", ["", "hx-partial", "<p>&lt;hx-partial></p>", "<header>a</header>", "<hx>", "< hx-a>"]
)
def test_other_html_is_handed_on_as_it_is(html: str) -> None:
    """Nothing is copied or changed where there is nothing for htmx."""
    assert encode_tags(KEY, html) is html


def test_real_head_stays_a_tag() -> None:
    """Browsers ignore a head inside a page, and htmx removes it: that is left to them."""
    assert encode_tags(KEY, "<head>a</head><hx-a>") == "<head>a</head>&lt;hx-a>"


@pytest.mark.parametrize(
    "html",
    [
        "<script>say('<hx-partial>')</script>",
        "<SCRIPT type=module>'</hx-partial>'</SCRIPT>",
        "<style>a::before { content: '<hx-a>' }</style>",
        "<script>'<head></head>'</script>",
        "<script>'<hx-a>'",
        "<xmp><hx-a></xmp>",
        "<iframe></hx-a></iframe>",
    ],
)
def test_raw_text_that_htmx_would_change_is_named(html: str) -> None:
    """A script cannot write ``&lt;``, so the error says which fragment it is and what to do."""
    with pytest.raises(FragmentError, match=r"'comments\.list'.*in two parts"):
        encode_tags(KEY, html)


@pytest.mark.parametrize(
    "piece", ['<a "', "<", "<!--", "<!-- -->", "<script>", "<a =", "<a b='", "</", "<!", "<b a=b "]
)
def test_no_text_makes_it_slow(piece: str) -> None:
    """The time that encoding takes grows with the text, whatever the text is."""
    seconds = []
    for number in (2_000, 40_000):
        html = piece * number + "<hx-a>"
        begun = time.process_time()
        for _ in range(3):
            with contextlib.suppress(FragmentError):
                encode_tags(KEY, html)
        seconds.append(time.process_time() - begun)

    # Twenty times the text: a quadratic rule would take 400 times as long.
    assert seconds[1] < 100 * max(seconds[0], 0.001)


PIECES = [
    "<p>", "</p>", "<a title=", '"', "'", ">", " ", "=", "/", "<", "&lt;", "text", "<!--", "-->",
    "--!>", "<!doctype html>", "<textarea>", "</textarea>", "<title>", "</title>", "<b x='",
    "<i class=a>", "</i>", "<br/>", "<?x", "</ x", "<svg>", "</svg>", "\n", "<hx-partial>",
    "</hx-partial>", "<hx-a b=c>", "<head>", "</head>", "<header>",
]  # fmt: skip

#: Returns how many pairs were compared, and those whose trees differ. Where the browser itself
#: takes htmx's tags for tags they become text, which is another tree; end tags show in none, so
#: they are looked at as if they began elements. A comment shows nothing.
COMPARE = r"""(pairs) => {
    const tree = (html) => {
        const { body } = new DOMParser().parseFromString(`<body>${html}`, "text/html");
        const hidden = NodeFilter.SHOW_COMMENT | NodeFilter.SHOW_PROCESSING_INSTRUCTION;
        const walker = document.createTreeWalker(body, hidden);
        while (walker.nextNode()) walker.currentNode.data = "";
        return body;
    };
    const names = (element) => [element.localName, ...element.getAttributeNames()];
    const isOwn = (html) => {
        const begun = tree(html.replace(/<\/?(hx-|head(?=[>\s]))/g, "<hx-"));
        return [...begun.querySelectorAll("*")].flatMap(names).some((name) => /hx-/.test(name));
    };
    const compared = pairs.filter(([html]) => !isOwn(html));
    return [compared.length, compared.filter(([a, b]) => tree(a).innerHTML !== tree(b).innerHTML)];
}"""


@pytest.mark.browser
@pytest.mark.timeout(120)
async def test_browser_sees_the_same_before_and_after(browser: Browser) -> None:
    """In Chromium the encoded HTML has the same tree, and htmx finds nothing in it."""
    random_ = random.Random(7)
    pairs: list[tuple[str, str]] = []
    while len(pairs) < 4_000:
        html = "".join(random_.choices(PIECES, k=random_.randint(1, 14)))
        encoded = encode_tags(KEY, html)
        assert not re.search(r"</?hx-[a-z]", encoded, re.IGNORECASE)
        pairs.append((html, encoded))
    page = await browser.new_page()

    compared, different = await page.evaluate(COMPARE, pairs)

    assert sum(html != encoded for html, encoded in pairs) > 1000
    assert compared > 1_500
    assert different == []
