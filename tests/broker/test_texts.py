"""Kept texts: how much room they have, and that none pushes out another."""

import pytest

from quart_sse.broker.texts import FORGET, OVERHEAD, Claim, Shelf, Texts, reference_of, size_of

BIG = 1 << 20


def a_text(number: int, size: int = BIG) -> str:
    """Return one of many texts that take so many bytes."""
    return f"{number:08}" + "x" * (size - OVERHEAD - 8)


@pytest.fixture
def clock() -> list[float]:
    """The time in seconds, which a test may change."""
    return [1_795_302_000.0]


@pytest.fixture
def texts(clock: list[float]) -> Texts:
    """What keeps nothing yet."""
    return Texts(lambda: clock[0])


def test_size_counts_bytes_and_what_keeping_takes() -> None:
    """Characters may have several bytes."""
    assert size_of("é") == 2 + OVERHEAD
    assert size_of(a_text(1)) == BIG


def test_text_ends_after_its_time_and_makes_room(texts: Texts, clock: list[float]) -> None:
    """Keeping it again makes it last for longer, and takes no more room."""
    claim = Claim(Shelf.USERS, "ada")
    reference = texts.keep(a_text(1), 10.0, claim)
    assert reference == reference_of(a_text(1))
    assert texts.keep(a_text(2), 10.0, claim) is None
    clock[0] += 5.0
    assert texts.keep(a_text(1), 10.0, claim) == reference
    clock[0] += 9.0
    assert texts.get(reference) == a_text(1)
    assert texts.keep(a_text(2), 10.0, claim) is None
    clock[0] += 1.0
    assert texts.get(reference) is None
    assert texts.keep(a_text(2), 10.0, claim) is not None


def test_many_that_end_together_are_forgotten_a_few_at_a_time(
    texts: Texts, clock: list[float]
) -> None:
    """No single page pays for all of them."""
    claim = Claim(Shelf.OPEN, "ada")
    for number in range(2 * FORGET + 1):
        texts.keep(str(number), 10.0, claim)
    clock[0] += 10.0
    left = []
    for _ in range(3):
        texts.keep("another one", 10.0, claim)
        left.append(len(texts._kept) - 1)

    assert left == [FORGET + 1, 1, 0]
    assert texts._of_claim == {claim: size_of("another one")}


@pytest.mark.parametrize("shelf", Shelf)
def test_share_and_shelf_bound_what_is_kept(texts: Texts, shelf: Shelf) -> None:
    """Of one owner, and of all; what is on other shelves takes nothing of it."""
    share, most = shelf.share // BIG, shelf.most // BIG
    kept = [
        (number, texts.keep(a_text(number), 10.0, Claim(shelf, str(number // (share + 1)))))
        for number in range(3 * most)
    ]

    assert sum(reference is not None for _, reference in kept) == most
    assert next(number for number, reference in kept if reference is None) == share
    assert all(texts.get(each) == a_text(number) for number, each in kept if each is not None)
    for number, other in enumerate(set(Shelf) - {shelf}, 1000):
        assert texts.keep(a_text(number), 10.0, Claim(other, "0")) is not None
