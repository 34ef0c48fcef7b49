"""Encode text in a fragment's HTML that htmx would mistake for its own tags.

htmx 2 and 4 search the *text* of an answer for ``<hx-...>`` tags and ``<head>...</head>`` before
a parser sees it. A tag inside an attribute, a comment or a text area is a match, too, and cuts
the HTML in two. Written as ``&lt;`` it means the same to a browser and nothing to htmx. Scripts
and styles decode no entities, so there the match is an error.
"""

import re
from collections.abc import Iterator

from ..errors import FragmentError

#: Start of what htmx replaces or removes, wherever it stands.
_TAKEN = re.compile(r"<(?=/?hx-[a-z]|/?head[\s>])", re.IGNORECASE)
#: Tags that become text. A real <head> tag is kept: browsers ignore it inside a page.
_HTMX_TAG = re.compile(r"</?hx-[a-z]", re.IGNORECASE)

_TAG = re.compile(r"</?([a-z][^\s/>]*)", re.IGNORECASE)
# One attribute, by https://html.spec.whatwg.org/multipage/parsing.html#before-attribute-name-state:
# a name may begin with "=", and only a value may be quoted.
_ATTRIBUTE = re.compile(r"""=?[^\s/>=]*(?:\s*=\s*(?:"[^"]*"?|'[^']*'?|[^\s>"'][^\s>]*|))?""")
#: <!--> and <!---> are whole comments by the WHATWG's rules.
_END_OF_COMMENT = re.compile(r"<!---?>|--!?>")
_SPACE = re.compile(r"[\s/]*")

#: Elements whose text has no tags and no entities.
_RAW = frozenset({"script", "style", "xmp", "iframe", "noembed", "noframes", "plaintext"})
#: Elements whose text has no tags, but entities.
_RCDATA = frozenset({"textarea", "title"})


def encode_tags(key: str, html: str) -> str:
    """Return HTML in which htmx finds no tag of its own.

    Args:
        key: The fragment's key, which the error names.
        html: The fragment's HTML.

    Returns:
        Equivalent HTML; ``html`` itself if it has nothing to encode, as nearly all has not.

    Raises:
        FragmentError: If a script or style contains text that htmx would mistake for a tag.

    Example:
        ``encode_tags("a.b", '<i title="</hx-partial>">') == '<i title="&lt;/hx-partial>">'``
    """
    if not _TAKEN.search(html):
        return html
    parts = []
    for text, is_raw, is_tag in _parse(html):
        if is_raw and _TAKEN.search(text):
            raise FragmentError(
                f"A script or style in the HTML of fragment {key!r} contains <hx-...> or <head>, "
                "which htmx would take for a tag of its own. Write it in two parts, such as "
                "'<' + 'hx-partial>', or load the script from a file."
            )
        # The "<" of a real tag stays, unless htmx would act on that tag.
        own = 1 if is_tag and not _HTMX_TAG.match(text) else 0
        parts.append(text[:own] + _TAKEN.sub("&lt;", text[own:]))
    return "".join(parts)


def _parse(html: str) -> Iterator[tuple[str, bool, bool]]:
    """Yield HTML in pieces: (text, whether entities mean nothing in it, whether it is a tag).

    The scan is linear, because the text may be a user's.
    """
    at = 0
    while at < len(html):
        begin = html.find("<", at)
        if begin < 0:
            begin = len(html)
        if begin > at:
            yield html[at:begin], False, False
            at = begin
            continue
        name = _TAG.match(html, at)
        end = _end_of_tag(html, name.end()) if name else _end_of_other(html, at)
        yield html[at:end], False, name is not None
        at = end
        if name is not None and html[name.start() + 1] != "/":
            element = name[1].lower()
            if element in _RAW or element in _RCDATA:
                end = _end_of_text(html, at, element)
                yield html[at:end], element in _RAW, False
                at = end


def _end_of_tag(html: str, at: int) -> int:
    """Return the end of the tag whose name ends at ``at``."""
    while True:
        space = _SPACE.match(html, at)
        at = space.end() if space else at
        if at >= len(html):
            return at
        if html[at] == ">":
            return at + 1
        attribute = _ATTRIBUTE.match(html, at)
        at = max(attribute.end() if attribute else at, at + 1)


def _end_of_other(html: str, at: int) -> int:
    """Return the end of a comment, a declaration, or a ``<`` that begins nothing."""
    if html.startswith("<!--", at):
        end = _END_OF_COMMENT.match(html, at) or _END_OF_COMMENT.search(html, at + 4)
        return end.end() if end else len(html)
    if html.startswith(("<!", "<?", "</"), at):
        return html.find(">", at) + 1 or len(html)
    return at + 1


def _end_of_text(html: str, at: int, element: str) -> int:
    """Return the end of an element's text, in which only its own end tag counts."""
    if element == "plaintext":
        return len(html)
    end = re.compile(rf"</{element}(?=[\s/>])", re.IGNORECASE).search(html, at)
    return len(html) if end is None else end.start()
