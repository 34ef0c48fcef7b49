"""One item of a list: what viewers lack of it, and what becomes of HTML that cannot be sent."""

from quart_sse.hub.item import Item
from quart_sse.hub.rendered import Rendered
from quart_sse.tracing import MOST_LINKS
from quart_sse.wire.position import ZERO, Id
from tests.support.outgoing import at

HTML, NEWER = Rendered("<li>one</li>"), Rendered("<li>two</li>")


def needed(*changes: tuple[int, int]) -> Item:
    """Return an item whose changes viewers lack, each with the position before it."""
    item = Item("a")
    for id, seen in changes:
        item.need(at(id), at(seen))
    return item


def lacking(item: Item) -> tuple[Id | None, Id | None]:
    """Return what viewers lack of an item: the newest change, and the position before the first."""
    return item.needed, item.floor


def test_viewers_lack_the_newest_change_since_before_the_oldest() -> None:
    """A process that catches up may hear of the older one later."""
    assert lacking(needed((5, 4), (9, 8))) == (at(9), at(4))
    assert lacking(needed((9, 8), (5, 4))) == (at(9), at(4))


def test_render_shows_every_change_that_is_known() -> None:
    """By whatever way this process has heard of it."""
    item = needed((5, 4))
    assert item.newest == at(5)
    item.owed = at(6)
    assert item.newest == at(6)
    item.requested = at(7)
    assert item.newest == at(7)


def test_sent_html_leaves_only_newer_changes_lacking() -> None:
    """Positions pass a change with the HTML that shows it."""
    item = needed((5, 4))
    item.take(at(5), HTML, ZERO)
    assert (lacking(item), item.sent, item.is_targeted) == ((None, None), at(5), False)

    item.need(at(9), at(8))
    item.take(at(7), NEWER, ZERO)
    assert (lacking(item), item.sent) == ((at(9), at(8)), at(7))


def test_html_that_a_sent_whole_list_has_is_for_those_who_are_owed_it() -> None:
    """As is that of an item which no viewer lacks."""
    item = needed((5, 4))
    item.take(at(5), HTML, at(5))
    assert (item.is_targeted, item.sent) == (True, ZERO)

    item = Item("a")
    item.take(at(5), HTML, ZERO)
    assert (item.is_targeted, item.sent) == (True, ZERO)


def test_html_that_was_not_sent_leaves_all_as_it_was() -> None:
    """But for the render that is owed."""
    item = needed((5, 4))
    item.untake(item.take(at(5), HTML, ZERO))
    assert (item.rendered, item.version, item.sent, item.owed) == (None, ZERO, ZERO, at(5))
    assert lacking(item) == (at(5), at(4))
    assert not item.is_idle


def test_connections_wait_on_for_a_newer_version() -> None:
    """What was owed when a render began may be less than what is owed when it ends."""
    item = Item("a", owed=at(5))
    item.settle(at(4))
    assert item.owed == at(5)
    item.settle(at(5))
    assert item.owed == ZERO


def test_failed_render_is_made_again_with_its_causes() -> None:
    """And with those of the meantime."""
    item = Item("a", owed=at(5), cause="c", is_urgent=True)
    item.note_cause("t1", "x.page")
    assert item.cause == ""  # it is for more than one connection
    causes = item.begin()
    assert (item.origins, item.traces, item.owed, item.is_urgent) == (frozenset(), (), ZERO, False)

    item.note_cause("t2", "")
    item.begin_again(causes)
    assert item.origins == {"x.page", ""}
    assert (item.traces, item.owed) == (("t1", "t2"), at(5))


def test_spans_of_a_render_are_bounded() -> None:
    """However many publishes it shows."""
    item = Item("a")
    for number in range(MOST_LINKS + 5):
        item.note_cause(str(number), "")
    assert len(item.traces) == MOST_LINKS
    item.begin_again(item.begin())
    assert len(item.traces) == MOST_LINKS


def test_ids_that_have_begun_again_leave_no_version() -> None:
    """None of before can be compared with those of now."""
    item = Item("a", requested=at(9), owed=at(9))
    item.need(at(9), at(8))
    item.take(at(9), HTML, ZERO)
    item.invalidate()
    assert (item.requested, item.owed, item.sent, item.version) == (ZERO, ZERO, ZERO, ZERO)
    assert item.rendered is None
