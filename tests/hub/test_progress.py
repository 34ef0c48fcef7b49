"""Progress: how far a process has come, and for which fragments its position waits."""

from typing import Any, cast

import pytest

from quart_sse.hub.progress import Progress
from quart_sse.wire import ZERO, Id, Position


class Fragment:
    """What progress sees of a shared fragment."""

    def __init__(self, floor: int | None, topic: str = "board", *, is_viewed: bool = True) -> None:
        self.topic = topic
        self.floor = None if floor is None else Id(floor, 0)
        self._is_viewed = is_viewed

    def is_viewed(self) -> bool:
        """Whether a page shows it."""
        return self._is_viewed

    def mark_current(self) -> None:
        """Let positions pass it."""
        self.floor = None


def wait_for(progress: Progress, *fragments: Fragment) -> None:
    """Let positions wait for fragments."""
    for fragment in fragments:
        progress.wait_for(cast("Any", fragment))


@pytest.fixture
def progress() -> Progress:
    """A process that has received messages up to the ninth."""
    progress = Progress()
    progress.epoch, progress.seen = "e", Id(9, 0)
    return progress


def test_process_that_heard_nothing_stands_at_the_beginning() -> None:
    """Its position is of no epoch, so that it equals none of a broker's."""
    assert Progress().position == Position("", ZERO, ZERO)


def test_position_is_that_of_the_newest_message(progress: Progress) -> None:
    """Where no fragment is behind, both halves are the same."""
    wait_for(progress, Fragment(None))

    assert progress.position == progress.received == Position("e", Id(9, 0), Id(9, 0))


def test_position_waits_for_the_fragment_that_is_furthest_behind(progress: Progress) -> None:
    """It says what all pages show, and events do not wait for it."""
    late, later = Fragment(7), Fragment(4)
    wait_for(progress, late, later)

    assert progress.position == Position("e", Id(9, 0), Id(4, 0))
    assert progress.received.fragments == Id(9, 0)
    later.mark_current()
    assert progress.position.fragments == Id(7, 0)
    late.mark_current()
    assert progress.position.fragments == Id(9, 0)


def test_position_waits_for_no_fragment_that_no_page_shows(progress: Progress) -> None:
    """Its last viewer has left, and its render may never come."""
    shown, left = Fragment(6), Fragment(4, is_viewed=False)
    elsewhere = Fragment(5, topic="news", is_viewed=False)
    wait_for(progress, shown, left, elsewhere)
    progress.unwatched(frozenset({"board"}))

    assert progress.position.fragments == Id(5, 0)
    progress.unwatched(frozenset({"news"}))
    assert progress.position.fragments == Id(6, 0)
