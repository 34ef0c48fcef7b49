"""Durations in buckets: how many, how long, and the quantiles of the newest."""

import pytest

from quart_sse.hub.durations import BOUNDS, RECENT, Durations, Renders, quantile


def buckets(**numbers: int) -> list[int]:
    """Return buckets with numbers, by their places."""
    found = [0] * (len(BOUNDS) + 1)
    for place, number in numbers.items():
        found[int(place.removeprefix("b"))] = number
    return found


def test_durations_are_counted_in_their_buckets() -> None:
    """A duration that equals a bound is below it; the longest have a bucket of their own."""
    durations = Durations()
    for seconds in (0.0005, 0.001, 0.0011, 59.0, 61.0, -3.0):
        durations.observe(seconds)

    assert durations.number == 6
    assert durations.seconds == pytest.approx(120.0026)
    assert durations.recent == buckets(b0=3, b1=1, b14=1, b15=1)


def test_only_the_newest_count_for_quantiles() -> None:
    """Those of the last one to two minutes; the sum has all."""
    now = 0.0
    durations = Durations(lambda: now)
    durations.observe(1.0)
    now += RECENT
    durations.observe(0.01)
    assert sum(durations.recent) == 2

    now += RECENT
    assert durations.recent == buckets(b3=1)
    now += 2 * RECENT
    assert sum(durations.recent) == 0
    assert (durations.number, durations.seconds) == (2, 1.01)


def test_listener_hears_each_duration() -> None:
    """As metrics need them."""
    durations, heard = Durations(), list[float]()
    durations.observe(1.0)
    durations.listener = heard.append
    durations.observe(2.0)
    durations.observe(-1.0)

    assert heard == [2.0, 0.0]


@pytest.mark.parametrize(
    ("numbers", "part", "found"),
    [
        (buckets(), 0.5, None),
        (buckets(b0=10), 0.5, 0.0005),
        (buckets(b0=50, b6=50), 0.5, 0.001),
        (buckets(b0=50, b6=50), 0.99, 0.099),
        (buckets(b15=1), 0.5, 60.0),
        (buckets(b3=99, b15=1), 0.99, 0.01),
    ],
)
def test_quantile_is_estimated_within_a_bucket(
    numbers: list[int], part: float, found: float | None
) -> None:
    """As Prometheus does it."""
    assert quantile(numbers, part) == (None if found is None else pytest.approx(found))


def test_renders_begin_with_none() -> None:
    """Neither good ones nor failed ones."""
    renders = Renders()

    assert (renders.took.number, renders.failed) == (0, 0)
