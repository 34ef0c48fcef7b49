"""Encode what htmx would take for tags of its own in a fragment's HTML.

htmx 2 and 4 look for ``<hx-partial>`` and other ``<hx-...>`` tags, and for ``<head>...</head>``, in
the *text* of an answer, before any parser sees it. So such a tag inside an attribute, a comment or
a text area is taken for one as well, and cuts the HTML in two. Written as ``&lt;`` it means the
same to a browser, and nothing to htmx. Only scripts and styles have no such way of writing it.
"""

import re
from collections.abc import Iterator

from ..errors import FragmentError

#: What htmx replaces or removes, wherever it stands.
_TAKEN = re.compile(r"<(?=/?hx-[a-z]|/?head[\s>])", re.IGNORECASE)
#: A tag that becomes text. A <head> inside a page is one that browsers ignore, and htmx removes.
_HTMX_TAG = re.compile(r"</?hx-[a-z]", re.IGNORECASE)

_TAG = re.compile(r"</?([a-z][^\s/>]*)", re.IGNORECASE)
# One attribute, as https://html.spec.whatwg.org/multipage/parsing.html#before-attribute-name-state
# reads it: a name may begin with "=", and only a value may be quoted.
_ATTRIBUTE = re.compile(r"""=?[^\s/>=]*(?:\s*=\s*(?:"[^"]*"?|'[^']*'?|[^\s>"'][^\s>]*|))?""")
#: Also of one that is over at once, as <!--> and <!---> are.
_END_OF_COMMENT = re.compile(r"<!---?>|--!?>")
_SPACE = re.compile(r"[\s/]*")

#: Elements whose text has no entities, and those in which a browser sees no tags but decodes them.
_RAW = frozenset({"script", "style", "xmp", "iframe", "noembed", "noframes", "plaintext"})
_RCDATA = frozenset({"textarea", "title"})


def encode_tags(key: str, html: str) -> str:
    """Return HTML in which htmx finds no tag of its own; nearly always the very same object.

    Args:
        key: The fragment's key, for the error.
        html: The HTML.

    Raises:
        FragmentError: If a script or a style contains what htmx would take for a tag.

    Example:
        ``encode_tags("a.b", '<i title="</hx-partial>">') == '<i title="&lt;/hx-partial>">'``
    """
    if not _TAKEN.search(html):
        return html
    parts = []
    for text, is_raw, is_tag in _parse(html):
        if is_raw and _TAKEN.search(text):
            raise FragmentError(
                f"The HTML of fragment {key!r} has a script or style that contains a tag which "
                "htmx takes for its own (<hx-...> or <head>). Write it in two parts, such as "
                "'<' + 'hx-partial>', or load the script from a file."
            )
        # The "<" that begins a tag stays, unless the tag is one of htmx's.
        own = 1 if is_tag and not _HTMX_TAG.match(text) else 0
        parts.append(text[:own] + _TAKEN.sub("&lt;", text[own:]))
    return "".join(parts)


def _parse(html: str) -> Iterator[tuple[str, bool, bool]]:
    """Yield HTML in pieces: the text, whether it is a raw one, whether it is a tag.

    Each character is looked at once, so that no text can make this slow.
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
    """Return where a tag ends whose name ends here."""
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
    """Return where a comment or a declaration ends, or a ``<`` that begins nothing."""
    if html.startswith("<!--", at):
        end = _END_OF_COMMENT.match(html, at) or _END_OF_COMMENT.search(html, at + 4)
        return end.end() if end else len(html)
    if html.startswith(("<!", "<?", "</"), at):
        return html.find(">", at) + 1 or len(html)
    return at + 1


def _end_of_text(html: str, at: int, element: str) -> int:
    """Return where the text of an element ends, in which no tag but its own end counts."""
    if element == "plaintext":
        return len(html)
    end = re.compile(rf"</{element}(?=[\s/>])", re.IGNORECASE).search(html, at)
    return len(html) if end is None else end.start()
