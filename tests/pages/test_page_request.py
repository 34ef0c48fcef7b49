"""What a page shows, and which of its connect elements covers it."""

from quart_sse.pages.page_request import Shown


def test_fragment_is_taken_by_the_connect_element_that_follows_it() -> None:
    """Each connect element covers what was noted since the one before it."""
    shown = Shown()
    shown.add([("board", "list")])
    shown.note_rendered()
    shown.note_topic("news")
    first = shown.take()
    shown.add([("board", "count")])
    shown.note_rendered()

    assert first == {"board": {"list"}, "news": set()}
    assert shown.take() == {"board": {"count"}}
    assert not shown


def test_what_is_inside_is_noted_with_the_outer_fragment() -> None:
    """A fragment inside another one, of any topic, is connected with it, and once."""
    shown = Shown()
    shown.add([("board", "outer"), ("board", "inner"), ("rooms?room=7", "list")])
    shown.note_rendered()
    shown.note_rendered()

    assert shown.take() == {"board": {"outer", "inner"}, "rooms?room=7": {"list"}}
    assert shown.rendered == {("board", "outer"), ("board", "inner"), ("rooms?room=7", "list")}


def test_live_fragment_takes_itself_although_it_was_shown_before() -> None:
    """A fragment with a connection of its own never relies on that of another element."""
    shown = Shown()
    shown.add([("board", "list")])
    shown.note_rendered()
    shown.add([("board", "list"), ("board", "inner")])

    assert shown.take_rendered("board", "list") == {"board": {"list", "inner"}}
    assert shown.take() == {"board": {"list"}}


def test_what_is_not_connected_is_named_as_it_was_declared() -> None:
    """The warning about a page that never connects names fragments without their parameters."""
    shown = Shown()
    shown.add([("rooms?room=7", "list"), ("rooms?room=8", "list")])
    shown.note_rendered()

    assert shown.uncovered == {"rooms.list"}
    shown.forget()
    assert not shown.uncovered
