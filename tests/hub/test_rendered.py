"""What a render gives: elements of the fragments inside it, and the order of renders."""

from quart_sse.hub.rendered import FragmentSpec, Inside, Rendered, next_number, renderer_of

INSIDE = Inside("notes?room=7", "count", Rendered("3"), '<b data-sse="notes.count">', "</b>")


def test_element_inside_is_written_as_the_macros_wrote_it() -> None:
    """Newer HTML takes the place of the old one between the very same tags."""
    assert INSIDE.element == '<b data-sse="notes.count">3</b>'
    assert INSIDE.around("4") == '<b data-sse="notes.count">4</b>'


def test_later_render_has_a_larger_number_and_equal_html_is_equal() -> None:
    """Numbers order renders in time; they do not make two renders of the same HTML differ."""
    first, second = next_number(), next_number()

    assert first < second
    assert Rendered("3", number=first) == Rendered("3", number=second)


def test_errors_of_a_renderer_are_counted_for_the_channel_as_a_whole() -> None:
    """A renderer that fails for every topic is one error, not one for each topic."""
    assert renderer_of("notes?room=7", "list") == renderer_of("notes?room=8", "list")
    assert "'notes.list'" in renderer_of("notes?room=7", "list")


def test_fragment_is_shared_and_plain_unless_it_is_declared_otherwise() -> None:
    """The name alone declares a fragment that all viewers share, rendered on changes only."""
    spec = FragmentSpec("list")

    assert not spec.personal
    assert spec.every is None
    assert spec.debounce is None
