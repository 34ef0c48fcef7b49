"""A batch: the messages that connections of one group are given together."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quart_sse.hub.batch import Batch, Part, Personal

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
