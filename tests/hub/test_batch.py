"""A batch: the messages that connections of one group are given together."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quart_sse.hub.batch import Batch, Part, Personal, in_place_of
from quart_sse.wire.position import Id

LIST = "notes.rows"
PERSONAL = Personal(b"id: e.1-0\n", "notes", "mine", viewers=2)


@pytest.mark.parametrize(
    ("parts", "kept"),
    [
        ([], []),
        ([Part(None, b"1"), Part(None, b"1")], [b"1", b"1"]),
        ([Part("a", b"1"), Part("a", b"2")], [b"2"]),
        ([Part("a", b"1"), Part(None, b"2"), Part("a", b"3")], [b"2", b"3"]),
        ([Part("a", b"1"), Part("b", b"2"), Part(None, b"3")], [b"1", b"2", b"3"]),
        ([Part(" ", b"1"), Part("a", b"2"), Part(" ", b"3")], [b"2", b"3"]),
    ],
)
def test_batch_has_the_newest_of_each_fragment(parts: list[Part], kept: list[bytes]) -> None:
    """Joined are all events and of each fragment the newest version, where that one stood."""
    batch = Batch.of(parts)

    assert [part.data for part in batch.parts] == kept
    assert batch.data == b"".join(kept)


@settings(deadline=None)
@given(keys=st.lists(st.sampled_from([None, "a", "b", " "]), max_size=12))
def test_batch_drops_nothing_but_what_is_outdated(keys: list[str | None]) -> None:
    """A message is left out exactly if a later one is of the same fragment; order stays."""
    parts = [Part(key, b"%d;" % number) for number, key in enumerate(keys)]

    batch = Batch.of(parts)

    expected = [
        part for at, part in enumerate(parts) if part.key is None or part.key not in keys[at + 1 :]
    ]
    assert list(batch.parts) == expected


def test_batch_of_one_message_copies_nothing() -> None:
    """The bytes of a lone message are the very object that was encoded."""
    data = b"data: a\n\n" * 100

    assert Batch.of([Part(None, data)]).data is data
    assert Batch.of([Part("a", b"old"), Part("a", data)]).data is data


def test_batch_with_a_personal_part_is_not_shared() -> None:
    """Where each connection needs bytes of its own, there are none for all."""
    batch = Batch.of([Part(None, b"1"), Part("a", PERSONAL)])

    assert batch.data is None
    assert [part.data for part in batch.parts] == [b"1", PERSONAL]


def listed(at: int, version: int, item: str = "") -> Part:
    """Return a whole list, or an item of it, that was published at an id."""
    key = f"{LIST}/{item}" if item else LIST
    data = b"id: e.%d-0\ndata: %s%d\n\n" % (at, item.encode() or b"*", version)
    return Part(key, data, Id(version, 0), LIST)


def event(at: int) -> Part:
    """Return an event."""
    return Part(None, b"id: e.%d-0\ndata: said\n\n" % at)


def test_message_in_place_of_another_has_its_id_line() -> None:
    """What comes earlier than it was published promises no more than the one that it replaces."""
    old = b"id: e.1-0~0-0\norigin: x.page\ndata: old\n\n"
    new = b"id: e.9-0\ndata: new\ndata: id: e.9-0\n\n"

    assert in_place_of(old, new) == b"id: e.1-0~0-0\ndata: new\ndata: id: e.9-0\n\n"
    assert in_place_of(new, old) == b"id: e.9-0\norigin: x.page\ndata: old\n\n"


@pytest.mark.parametrize(
    ("parts", "kept"),
    [
        ([listed(1, 1, "a"), event(2), listed(3, 3, "a")], ["1 a3", "2 said"]),
        ([listed(1, 3, "a"), event(2), listed(3, 1, "a")], ["1 a3", "2 said"]),
        ([listed(1, 1, "a"), event(2), listed(3, 3, "b")], ["1 a1", "2 said", "3 b3"]),
        ([event(1), listed(2, 2, "a"), listed(3, 3, "b"), listed(4, 4)], ["1 said", "2 *4"]),
        ([listed(1, 1), event(2), listed(3, 3)], ["1 *3", "2 said"]),
        ([listed(1, 3), event(2), listed(3, 1)], ["1 *3", "2 said"]),
        ([listed(1, 1), event(2), listed(3, 3, "a")], ["1 *1", "2 said", "3 a3"]),
        ([listed(1, 1), listed(2, 2, "a"), event(3), listed(4, 4)], ["1 *4", "3 said"]),
    ],
    ids=[
        "newer item",
        "older item",
        "other item",
        "whole behind items",
        "newer whole",
        "older whole",
        "item behind a whole",
        "whole behind both",
    ],
)
def test_state_of_a_list_comes_earlier_and_never_later(parts: list[Part], kept: list[str]) -> None:
    """The newest takes the place, and the id line, of the first that it replaces."""
    batch = Batch.of(parts)

    lines = (part.data.decode() for part in batch.parts if isinstance(part.data, bytes))
    assert [re.sub(r"id: e\.(\d+)-0\ndata: (.*)\n\n", r"\1 \2", line) for line in lines] == kept
