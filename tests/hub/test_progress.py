"""Progress: up to where a process has received messages and has rendered what they ask for."""

from collections.abc import Sequence

from quart_sse.error_log import ErrorLog
from quart_sse.hub.fragment import SharedFragment
from quart_sse.hub.progress import Progress
from quart_sse.hub.rendered import FragmentSpec, Rendered
from quart_sse.hub.slots import Slots, Turn
from quart_sse.wire.position import Id, Position
from tests.support.outgoing import at


class Shelf:
    """Where fragments are kept that never end a render."""

    def __init__(self) -> None:
        self.has_viewers = True

    async def render(self, shared: SharedFragment, traces: Sequence[str] = ()) -> Rendered:
        """Render nothing."""
        raise NotImplementedError

    def deliver(self, shared: SharedFragment, is_wanted: bool) -> bool:
        """Take no HTML."""
        raise NotImplementedError

    def is_viewed(self, shared: SharedFragment) -> bool:
        """Tell whether a page shows the fragment."""
        return self.has_viewers

    def turn(self, cause: str, is_urgent: bool) -> Turn:
        """Let every render begin."""
        return Slots(1).turn(cause)


def behind(progress: Progress, name: str, since: Id, shelf: Shelf) -> SharedFragment:
    """Return a fragment that changed when the process stood at an id, and is not rendered since."""
    shared = SharedFragment("board", FragmentSpec(name), 0.0, shelf, ErrorLog())
    shared.refresh(Id(since.ms + 1, 0), since)
    progress.wait_for(shared)
    return shared


def test_position_is_where_messages_are_while_nothing_is_to_be_rendered() -> None:
    """Then events and fragments are current up to the same id."""
    progress = Progress()
    progress.epoch, progress.seen = "e", at(5)

    assert progress.position == progress.received == Position("e", at(5), at(5))


async def test_position_waits_for_the_oldest_change_that_is_not_rendered() -> None:
    """A client that is cut off then is sent the fragment when it resumes."""
    progress, shelf = Progress(), Shelf()
    progress.epoch, progress.seen = "e", at(9)
    newer = behind(progress, "list", at(7), shelf)
    older = behind(progress, "count", at(3), shelf)
    assert progress.position == Position("e", at(9), at(3))
    assert progress.received == Position("e", at(9), at(9))

    older.mark_current()
    assert progress.position.fragments == at(7)
    newer.mark_current()
    assert progress.position.fragments == at(9)
    for shared in (older, newer):
        await shared.close()


async def test_fragment_that_no_page_shows_is_not_waited_for() -> None:
    """A page that was closed must not hold back the positions of all others."""
    progress, shelf = Progress(), Shelf()
    progress.epoch, progress.seen = "e", at(9)
    shared = behind(progress, "list", at(3), shelf)
    progress.stop_waiting(frozenset({"board"}))
    assert progress.position.fragments == at(3), "a page still shows it"

    shelf.has_viewers = False
    progress.stop_waiting(frozenset({"other"}))
    assert progress.position.fragments == at(3), "the topic was another one"
    progress.stop_waiting(frozenset({"board"}))
    assert progress.position.fragments == at(9)
    await shared.close()
