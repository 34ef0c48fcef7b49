"""Metadata: what an app knows of a connection, as JSON, by which events are filtered."""

import json
import weakref
from collections.abc import Mapping
from typing import Any

from ..errors import AnswerError

#: Longest metadata of one connection, in characters of JSON.
MAX_CHARS = 4096

_known: "weakref.WeakValueDictionary[str, Metadata]" = weakref.WeakValueDictionary()


class Metadata:
    """The metadata of connections. Connections with equal metadata share one object.

    So a filter is evaluated once for each distinct object, and 10,000 connections of five roles
    hold five of them. Get one from :func:`metadata_of`.

    Args:
        text: The metadata as canonical JSON.
    """

    __slots__ = ("__weakref__", "text", "values")

    def __init__(self, text: str) -> None:
        self.text: str = text
        #: for filters, which do not change it
        self.values: Mapping[str, Any] = json.loads(text)

    def copy(self) -> dict[str, Any]:
        """Return the metadata as a new dict, which the caller may change."""
        copied: dict[str, Any] = json.loads(self.text)
        return copied


def metadata_of(given: object, source: str) -> Metadata | None:
    """Check what an app gave as metadata, and return the object for it.

    Args:
        given: A mapping with str keys and JSON values; None for no metadata.
        source: Begins the error: ``"The function of @sse.metadata returned"``.

    Raises:
        AnswerError: If it is no such mapping, or is longer than ``MAX_CHARS``.
    """
    if given is None:
        return None
    if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
        raise AnswerError(
            f"{source} {type(given).__name__}. Metadata are a dict with str keys, such as "
            '{"role": "admin"}, or None.'
        )
    try:
        text = json.dumps(dict(given), sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise AnswerError(
            f"{source} what JSON cannot hold: {error}. Metadata are texts, numbers, booleans, "
            "None, and lists and dicts of these."
        ) from None
    if len(text) > MAX_CHARS:
        raise AnswerError(
            f"{source} {len(text)} characters of JSON; {MAX_CHARS} are allowed. Keep what filters "
            "and views need, and look the rest up by the identity."
        )
    known = _known.get(text)
    if known is None:
        known = _known[text] = Metadata(text)
    return known
