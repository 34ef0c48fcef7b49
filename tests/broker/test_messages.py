"""Messages: what they say, and what is known of them wherever they go."""

from dataclasses import FrozenInstanceError, fields, replace

import pytest

from quart_sse.broker import CONTROL_HISTORY, Filter, Kind, Message
from quart_sse.wire.position import ZERO, Id


def test_kinds_have_the_names_that_are_written() -> None:
    """Two releases read each other's messages, so that no name of a kind may change."""
    assert {kind.value for kind in Kind} == {"event", "refresh", "push", "probe", "control"}


def test_message_that_was_published_cannot_be_changed() -> None:
    """The memory broker hands the very object to all who listen, and keeps it for replays."""
    message = Message(Kind.EVENT, ZERO, "board", "said", "hello")

    with pytest.raises(FrozenInstanceError):
        message.data = "another"  # type: ignore[misc]


def test_id_is_assigned_and_all_else_stays() -> None:
    """Also a field that is added later."""
    values = [
        "board",
        "said",
        "hello",
        5,
        "page",
        True,
        Filter({"role": "x"}),
        "one",
        "trace",
        "12",
    ]
    message = Message(Kind.EVENT, ZERO, *values)  # type: ignore[arg-type]

    assert len(fields(Message)) == 2 + len(values)
    assert message.with_id(Id(7, 1)) == replace(message, id=Id(7, 1))


@pytest.mark.parametrize("kind", Kind)
def test_size_counts_what_the_publisher_has_chosen(kind: Kind) -> None:
    """It bounds replays, so that a message without data takes something, too."""
    empty = Message(kind, ZERO, "board")
    full = Message(kind, ZERO, "board", "n" * 10, "d" * 1000)

    assert empty.size > 0
    assert full.size - empty.size == 1010


def test_control_messages_are_kept_for_processes_that_are_cut_off() -> None:
    """A process that returns within that time has missed nothing."""
    assert CONTROL_HISTORY.events > 0
    assert CONTROL_HISTORY.ttl >= 60
