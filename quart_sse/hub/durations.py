"""Durations: how long something took, in fixed buckets, so that processes can be added up."""

import time
from bisect import bisect_left
from collections.abc import Callable, Sequence

#: Upper bounds of the buckets, in seconds; what is longer is in a last one.
BOUNDS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
#: Age after which a duration no longer counts for quantiles, in seconds; it is kept up to twice as
#: long.
RECENT = 60.0


class Durations:
    """Counts durations in buckets: all of them, and those of the last one to two minutes.

    Args:
        clock: Returns a time in seconds that is never set back.

    Example:
        ``durations.observe(0.012)``, then ``quantile(durations.recent, 0.99)``
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.number: int = 0
        self.seconds: float = 0.0  #: their sum
        #: Is called with each one; for metrics, which count it in buckets of their own.
        self.listener: Callable[[float], None] | None = None
        self._now = [0] * (len(BOUNDS) + 1)
        self._before = [0] * (len(BOUNDS) + 1)
        self._turn_at = clock() + RECENT

    def observe(self, seconds: float) -> None:
        """Count a duration; a negative one, by clocks that differ, counts as 0."""
        seconds = max(seconds, 0.0)
        self._turn()
        self.number += 1
        self.seconds += seconds
        self._now[bisect_left(BOUNDS, seconds)] += 1
        if self.listener is not None:
            self.listener(seconds)

    @property
    def recent(self) -> list[int]:
        """How many of the last one to two minutes are in each bucket."""
        self._turn()
        return [now + before for now, before in zip(self._now, self._before, strict=True)]

    def _turn(self) -> None:
        now = self._clock()
        if now < self._turn_at:
            return
        none = [0] * len(self._now)
        self._before = self._now if now < self._turn_at + RECENT else none
        self._now = [0] * len(self._now)
        self._turn_at = now + RECENT


class Renders:
    """The renders of shared fragments: how long they took, and how many failed."""

    def __init__(self) -> None:
        self.took: Durations = Durations()
        self.failed: int = 0


def quantile(buckets: Sequence[int], part: float) -> float | None:
    """Return the duration that a part of those in buckets does not exceed.

    Between the bounds of a bucket it is estimated, as Prometheus does; beyond the last bound it is
    that.

    Args:
        buckets: The number in each bucket.
        part: From 0 to 1; 0.5 for the median.

    Returns:
        Seconds, or None if there is no duration.
    """
    rank = part * sum(buckets)
    below = 0
    for place, number in enumerate(buckets[: len(BOUNDS)]):
        if number and below + number >= rank:
            low = BOUNDS[place - 1] if place else 0.0
            return low + (BOUNDS[place] - low) * (rank - below) / number
        below += number
    return BOUNDS[-1] if sum(buckets) else None
