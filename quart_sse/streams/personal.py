"""Personal fragments: the messages after which each viewer fetches its own."""

import random
from collections.abc import Mapping
from urllib.parse import quote

from ..access import Admission, Token
from ..channels import AppChannels
from ..hub import Personal
from ..wire import encode_loader, member_key

#: Viewers of a personal fragment fetch it within this many milliseconds each, up to the last.
SPREAD_MS = 5
LAST_SPREAD_MS = 2000


class Loader:
    """Makes the messages by which one connection's viewer fetches personal fragments.

    Args:
        channels: The app's channels.
        root: The app's root path as the viewer sees it.
        queries: (topic, fragment) -> the query that lets the viewer fetch it.
    """

    def __init__(
        self, channels: AppChannels, root: str, queries: Mapping[tuple[str, str], str]
    ) -> None:
        self._channels = channels
        self._root = root
        self._queries = queries

    def __call__(self, personal: Personal) -> bytes:
        """Return the message, with a random delay: viewers do not all come at once."""
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
    """Return what makes the messages by which a viewer fetches personal fragments.

    Pages that share a stream may show different fragments of one topic, and each fragment opens
    by a token that names it.
    """
    queries: dict[tuple[str, str], str] = {}
    for topic, numbers in admission.tokens_of.items():
        for number in numbers:
            token = tokens[number]
            if token is not None and number < len(texts):
                query = f"?t={quote(texts[number], safe='~')}"
                for name in token.topics[topic]:
                    queries.setdefault((topic, name), query)
    return Loader(channels, root, queries)


def no_loader(personal: Personal) -> bytes:
    """Return nothing, for streams that no page of the macros has opened."""
    # A view's own stream belongs to no page of the macros, which alone show personal fragments.
    return b""
