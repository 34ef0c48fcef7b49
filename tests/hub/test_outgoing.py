"""Outgoing messages: their bytes for each kind of connection."""

from quart_sse.connection import Personal
from quart_sse.items import Outgoing
from tests.support.outgoing import LIST, event, heartbeat, html, position


def test_item_is_encoded_once_for_each_kind_of_connection() -> None:
    """All connections of a kind get the very same bytes; kinds differ in id line and name."""
    item = event(5)

    assert item.part(False, None) is item.part(False, None)
    assert item.part(False, None).data == b"id: e.5-0\ndata: 5\n\n"
    assert item.part(True, None).data == b"id: e.5-0\nbare data: 5\n\n"
    assert item.part(False, 5).data == b"id: e.5-0@5\ndata: 5\n\n"
    assert item.part(True, 0).data == b"id: e.5-0@0\nbare data: 5\n\n"


def test_item_without_another_name_is_the_same_for_all() -> None:
    """Fragments have no name, so a stream of one topic gets them as any other does."""
    item = html(5, 3, version=2)

    assert item.part(True, None).data == b"id: e.5-0~3-0\ndata: v2\n\n"
    assert item.part(True, None).key == LIST


def test_heartbeat_moves_the_position_and_dispatches_nothing() -> None:
    """A heartbeat is an id line and a blank line."""
    assert heartbeat(5, 3).part(False, None).data == b"id: e.5-0~3-0\n\n"


def test_change_of_a_personal_fragment_is_left_to_each_connection() -> None:
    """Instead of bytes there is what a connection needs to make its own."""
    item = Outgoing(position(5), "notes?room=7", "list", LIST, viewers=3)

    part = item.part(False, 5)

    assert part[:2] == (LIST, Personal(b"id: e.5-0@5\n", "notes?room=7", "list", 3))
