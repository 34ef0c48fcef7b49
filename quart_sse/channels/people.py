"""The people of a topic, and how many they are, by whom its connections count as."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..broker import read_who


@dataclass(frozen=True, slots=True)
class Person:
    """A person present on a topic, or one who has just joined or left it.

    Attributes:
        identity: What ``@sse.identity`` returned; None for an anonymous visitor.
        connections: Number of the person's open streams there: 0 for one who has left.
        metadata: What the channel lists of the metadata of one of these connections
            (``presence=("name",)``); empty if it lists nothing.

    Example:
        ``Person("mira", 2, {"name": "Mira"}).metadata["name"] == "Mira"``
    """

    identity: str | None
    connections: int
    metadata: Mapping[str, Any] = field(default_factory=dict)


def person_of(text: str, connections: int) -> Person:
    """Return the person whom a connection counts as.

    Args:
        text: Whom it counts as, as brokers record it.
        connections: Number of the person's connections.
    """
    who = read_who(text)
    identity = who.name[1:] if who.is_named else None
    return Person(identity, connections, json.loads(who.metadata) if who.metadata else {})


def people_of(counts: Mapping[str, int]) -> list[Person]:
    """Return the people among those whom connections count as.

    Those with an identity come first, in its order.

    Args:
        counts: Whom connections count as -> how many of them do.
    """
    connections: Counter[str] = Counter()
    texts: dict[str, str] = {}
    for person, text in _persons(counts):
        connections[person] += counts[text]
        texts[person] = max(text, texts.get(person, ""))
    found = [person_of(text, connections[person]) for person, text in texts.items()]
    return sorted(found, key=lambda each: (each.identity is None, each.identity or ""))


def count_people(members: Iterable[str]) -> int:
    """Return the number of people among those whom connections count as.

    The first character of a name says what the rest is, so that no identity can equal anything
    else: ``+identity``, ``-browser``, or ``@address:browser`` of a visitor whose browser has sent
    no cookie yet. Such a one counts as the browser, if another connection has the cookie by now,
    and as the address otherwise.
    """
    return len({person for person, _ in _persons(members)})


def identities(members: Iterable[str]) -> frozenset[str]:
    """Return the identities among those whom connections count as."""
    return frozenset(who.name[1:] for who in map(read_who, members) if who.is_named)


def _persons(members: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the name of the person, and the text, of each whom connections count as."""
    names = {text: read_who(text).name for text in members}
    all = set(names.values())
    for text, name in names.items():
        yield _person(name, all), text


def _person(name: str, all: set[str]) -> str:
    if not name.startswith("@"):
        return name
    address, _, browser = name.partition(":")
    return f"-{browser}" if f"-{browser}" in all else address
