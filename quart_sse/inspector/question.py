"""Questions: what a page of the inspector asks for, as its URL and its topic say it."""

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

#: Name of the channel of the pages.
CHANNEL = "sse-inspector"
#: Page -> what its URL may ask for.
ASKS: Mapping[str, frozenset[str]] = {
    "overview": frozenset(),
    "connections": frozenset({"channel", "topic", "identity", "metadata", "after"}),
    "connection": frozenset({"id"}),
    "topics": frozenset({"channel", "part", "after"}),
    "topic": frozenset({"name"}),
    "renders": frozenset({"part", "after"}),
    "messages": frozenset({"topic"}),
    "configuration": frozenset(),
}
#: The page of the topic by which the pages show who else looks.
PEOPLE = "people"
#: What a topic asks for that asks for nothing.
NOTHING = "-"
#: Longest value, and longest question as a topic has it, in characters.
MAX_VALUE, MAX_ASKED = 1_000, 1_500
#: Connections' ids: those that are made, and those that apps choose.
ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)


class Asked(dict[str, str]):
    """What is asked for; what is not is empty, also where templates may name nothing undefined."""

    def __missing__(self, key: str) -> str:
        """Return the empty text, which is not kept."""
        return ""


def written(view: str, asked: Mapping[str, str]) -> str:
    """Return a question as the parameter of a topic; what a page does not ask for is left out."""
    known = {
        name: value.strip()[:MAX_VALUE]
        for name, value in asked.items()
        if name in ASKS.get(view, ()) and value.strip()
    }
    text = urlencode(sorted(known.items())) or NOTHING
    return text if len(text) <= MAX_ASKED else NOTHING


def read(view: str, text: str) -> Asked | None:
    """Return what a topic asks for; None if no page would ask so."""
    if view == PEOPLE:
        return Asked() if text == NOTHING else None
    if view not in ASKS or len(text) > MAX_ASKED:
        return None
    asked = Asked() if text == NOTHING else Asked(parse_qsl(text))
    return asked if written(view, asked) == text else None


def condition(asked: Mapping[str, str]) -> dict[str, Any]:
    """Return the conditions of a list, as a survey takes them.

    A condition on the metadata is written as ``key=value``. The value is one of JSON or a text,
    whichever the metadata hold.
    """
    found: dict[str, Any] = {
        name: asked[name] for name in ("channel", "topic", "identity", "part") if name in asked
    }
    key, is_given, value = asked.get("metadata", "").partition("=")
    if is_given and key.strip():
        found["where"] = {key.strip(): _values(value.strip())}
    return found


def _values(text: str) -> list[Any]:
    try:
        value = json.loads(text, parse_constant=lambda _: text)
    except (ValueError, RecursionError):
        return [text]
    return [text] if isinstance(value, list | dict) else [text, value]
