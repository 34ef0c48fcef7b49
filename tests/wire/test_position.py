"""Ids and positions: one order, written and read back, and nothing read from garbage."""

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quart_sse.wire.position import ZERO, Id, Position, new_epoch

IDS = st.builds(Id, st.integers(0, 10**15 - 1), st.integers(0, 10**9 - 1))
EPOCHS = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=16)


@st.composite
def positions(draw: st.DrawFn) -> Position:
    """Draw any position that a broker can give: what a page has never lies ahead of events."""
    ids = draw(st.lists(IDS, min_size=2, max_size=2) | st.lists(st.just(ZERO), min_size=2))
    granted = draw(st.none() | st.integers(0, 2**128 - 1))
    kept = draw(st.booleans())
    return Position(draw(EPOCHS), max(ids), ZERO if kept else min(ids), granted)


@pytest.mark.parametrize(
    ("position", "text"),
    [
        (Position("b3k9", Id(1795302000123, 0), Id(1795302000123, 0)), "b3k9.1795302000123-0"),
        (Position("b3k9", Id(7, 2), Id(7, 1)), "b3k9.7-2~7-1"),
        (Position("b3k9", Id(7, 2), ZERO), "b3k9.7-2~0"),
        (Position("b3k9", ZERO, ZERO), "b3k9.0-0"),
        (Position("b3k9", Id(7, 2), Id(7, 2), 0), "b3k9.7-2@0"),
        (Position("b3k9", Id(7, 2), Id(7, 2), 0b11010), "b3k9.7-2@1a"),
        (Position("b3k9", Id(7, 2), Id(6, 9), 5), "b3k9.7-2~6-9@5"),
        (Position("b3k9", Id(7, 2), ZERO, 5), "b3k9.7-2~0@5"),
    ],
)
def test_position_has_one_wire_form(position: Position, text: str) -> None:
    """A position is written as short as it can be, and read from that."""
    assert str(position) == text
    assert Position.parse(text) == position


@settings(deadline=None)
@given(position=positions())
def test_position_is_read_back(position: Position) -> None:
    """Whatever position is written, the same is read."""
    assert Position.parse(str(position)) == position


def test_position_of_very_many_topics_is_read_back() -> None:
    """What was granted of more topics than the default of QUART_SSE_MAX_TOPICS is read, too."""
    position = Position("b3k9", Id(7, 2), Id(7, 2), 1 << 200)

    assert Position.parse(str(position)) == position


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "0",
        "now",
        "b3k9",
        "b3k9.",
        ".7-2",
        "b3k9.7",
        "b3k9.7-",
        "b3k9.-2",
        "b3k9.7-2-1",
        "b3k9.7--2",
        "b3k9.+7-2",
        "b3k9.7_0-2",
        "b3k9.7-2 ",
        " b3k9.7-2",
        "b3k9.7-2\n",
        "B3K9.7-2",
        "b3k9.\u0667-2",
        "b3k9.7-2~",
        "b3k9.7-2~1",
        "b3k9.7-2~00",
        "b3k9.7-2~7-1~7-1",
        "b3k9.7-2@",
        "b3k9.7-2@-1",
        "b3k9.7-2@xyz",
        "b3k9.7-2@1A",
        "b3k9.7-2@1@1",
        "b3k9.7-2@1~0",
        "x" * 17 + ".7-2",
        "b3k9." + "9" * 5000 + "-0",
        "b3k9.7-2@" + "f" * 5000,
    ],
)
def test_garbage_is_no_position(text: str | None) -> None:
    """What is not a position is read as None, not as a position near it."""
    assert Position.parse(text) is None


@settings(deadline=None)
@given(text=st.text())
def test_any_text_is_read_without_an_error(text: str) -> None:
    """Random text never raises, and is read as a position only if it is one."""
    read = Position.parse(text)

    assert read is None or text.startswith(f"{read.epoch}.{read.events}")


@settings(deadline=None)
@given(
    position=positions(),
    at=st.floats(0, 1, exclude_max=True),
    patch=st.text(max_size=2) | st.text("0123456789abc.-~@_+ \n\u0667", max_size=2),
    cut=st.integers(0, 2),
)
def test_damaged_position_is_none_or_consistent(
    position: Position, at: float, patch: str, cut: int
) -> None:
    """A position with a few characters changed is refused, or is one that could be written."""
    text = str(position)
    begin = int(at * len(text))

    read = Position.parse(text[:begin] + patch + text[begin + cut :])

    if read is not None:
        assert read.fragments <= read.events
        assert Position.parse(str(read)) == read


@pytest.mark.parametrize("text", ["b3k9.5-0~5-1", "b3k9.5-9~6-0", "b3k9.0-0~0-1@1"])
def test_fragments_ahead_of_events_are_refused(text: str) -> None:
    """A page cannot be current beyond what it was delivered, so such a position is forged."""
    assert Position.parse(text) is None


def test_fragments_may_be_written_although_equal() -> None:
    """A position whose two ids are equal means the same whether both are written or one."""
    assert Position.parse("b3k9.5-1~5-1") == Position.parse("b3k9.5-1")


def test_ids_are_compared_as_numbers() -> None:
    """Ids have the order of their two numbers, not that of their text."""
    texts = ["9-0", "10-9", "10-10", "10-11", "100-0"]

    ids = [Id.parse(text) for text in texts]

    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)
    assert [str(id) for id in ids] == texts


@pytest.mark.parametrize(
    "text",
    [
        *("", "-", "5", "5-", "-5", "a-0", "0-a", "5-0-0", "1.5-0", "5-0.5"),
        # Python's int() reads the numbers of all of these.
        *("1_0-0", "0-1_0", "+1-0", "1--5", " 1-0", "1-0\n", "\u0667-0"),
    ],
)
def test_text_that_is_no_id_raises(text: str) -> None:
    """Only two plain numbers with a hyphen between them are an id."""
    with pytest.raises(ValueError):  # noqa: PT011 - its text is Python's own
        Id.parse(text)


@settings(deadline=None)
@given(start=IDS, clocks=st.lists(st.integers(0, 10**13), max_size=30))
def test_next_id_grows_whatever_the_clock_does(start: Id, clocks: list[int]) -> None:
    """Each id is greater than the one before, under clocks that stand, jump or are set back."""
    last = start

    for clock in clocks:
        following = last.next(clock)

        assert following > last
        assert following == (Id(clock, 0) if clock > last.ms else Id(last.ms, last.n + 1))
        last = following


def test_new_epochs_differ_and_can_be_written() -> None:
    """An epoch is a random name that a position can carry."""
    epochs = {new_epoch() for _ in range(50)}

    assert len(epochs) == 50
    for epoch in epochs:
        position = Position(epoch, Id(1, 0), ZERO)
        assert Position.parse(str(position)) == position
