"""Personal fragments: messages that make each viewer's page fetch its own version."""

import random
from collections.abc import Mapping
from urllib.parse import quote

from ..access import Admission, Token
from ..channels import AppChannels
from ..hub import Personal
from ..wire import encode_loader, member_key

#: Delay per viewer over which the fetches of a personal fragment are spread, in milliseconds.
SPREAD_MS = 5
#: Longest such delay, in milliseconds.
LAST_SPREAD_MS = 2000
#: Of a stream without personal fragments.
_NO_QUERIES: Mapping[tuple[str, str], str] = {}


class Loader:
    """Makes the messages that let one connection's viewer fetch personal fragments.

    Args:
        channels: The app's channels, for the URLs of fragments.
        root: Root path of the viewer's pages, ``""`` or such as ``"/app"``.
        queries: (topic, fragment) -> query with the token that grants it, such as ``"?t=..."``.
    """

    __slots__ = ("_channels", "_queries", "_root")  # each stream has one

    def __init__(
        self, channels: AppChannels, root: str, queries: Mapping[tuple[str, str], str]
    ) -> None:
        self._channels = channels
        self._root = root
        self._queries = queries or _NO_QUERIES  # most streams have none

    def __call__(self, personal: Personal) -> bytes:
        """Return the message for one fragment, with a random delay before the fetch.

        The delay grows with the number of viewers, so that their fetches do not come at once.

        Args:
            personal: The fragment, the line with its id, and the number of its viewers.
        """
        topic, fragment = personal.topic, personal.fragment
        path = self._channels.fragment_path(topic, self._channels.known_values(topic), fragment)
        spread = min(SPREAD_MS * personal.viewers, LAST_SPREAD_MS)
        url = f"{self._root}{path}{self._queries.get((topic, fragment), '')}"
        key = member_key(topic, fragment)
        return personal.id_line + encode_loader(key, url, random.randint(0, spread))


def make_loader(
    channels: AppChannels,
    root: str,
    admission: Admission,
    tokens: list[Token | None],
    texts: list[str],
) -> "Loader":
    """Return the loader of a stream that pages have opened by tokens.

    Pages that share a stream may show different fragments of one topic, so each fragment is fetched
    with a token that names it.

    Args:
        channels: The app's channels.
        root: Root path of the viewer's pages.
        admission: What was granted, and by which tokens.
        tokens: The tokens of the URL in their order; None for each that did not verify.
        texts: The same tokens as texts; none at a channel's own URL without a token.
    """
    queries: dict[tuple[str, str], str] = {}
    by_number = [f"?t={quote(text, safe='~')}" for text in texts]
    for topic, numbers in admission.tokens_of.items():
        # A stream may have a thousand topics, few of which have such a fragment.
        personal = channels.known(topic).personal
        for number in numbers if personal else ():
            token = tokens[number]
            if token is not None and number < len(texts):
                for name in personal & token.topics[topic]:
                    queries.setdefault((topic, name), by_number[number])
    return Loader(channels, root, queries)


def no_loader(personal: Personal) -> bytes:
    """Return no message, for streams of the app's views.

    Only pages of the macros show personal fragments, and a view's stream belongs to none.
    """
    return b""
