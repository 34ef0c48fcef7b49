"""Samples: rates of the last two minutes, without those of a time at which no page was open."""

from quart_sse import Stats
from quart_sse.inspector.samples import EVERY, GAP, PLACES, Samples


class Clock:
    """A time that a test moves on."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_rates_are_changes_in_a_second() -> None:
    """A process that has gone takes its count along, which is no negative rate."""
    clock = Clock()
    samples = Samples(clock)
    for delivered in (0, 10, 30, 4, 8):
        samples.add(Stats(delivered=delivered, connections=delivered, by_channel={"a": delivered}))
        clock.now += EVERY

    rate = samples.rate("Delivered", "", lambda each: each.delivered)
    assert (rate.newest, rate.peak) == (2.0, 10.0)
    assert samples.gauge("Connections", "", lambda each: each.connections).peak == 30
    assert samples.viewers("a").newest == 8
    assert samples.viewers("b").peak == 0
    assert len(samples.curves()) == 6


def test_two_who_look_give_no_double_samples() -> None:
    """Pages that are rendered at the same time have one place in the chart."""
    clock = Clock()
    samples = Samples(clock)
    for _ in range(3):
        samples.add(Stats())
        clock.now += EVERY / 10

    assert len(samples._kept) == 1


def test_what_was_before_a_pause_is_forgotten() -> None:
    """Its rate would be that of the whole pause."""
    clock = Clock()
    samples = Samples(clock)
    for delivered in range(2 * PLACES):
        samples.add(Stats(delivered=delivered))
        clock.now += EVERY
    assert len(samples._kept) == PLACES
    clock.now += GAP

    samples.add(Stats(delivered=10_000))

    assert samples.rate("Delivered", "", lambda each: each.delivered).line == ""
