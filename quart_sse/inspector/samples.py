"""Samples: the figures of the last two minutes, which are kept while the inspector is looked at."""

import time
from collections import deque
from collections.abc import Callable
from itertools import pairwise

from ..registry import Stats
from .charts import Chart, draw

#: Interval of the renders of a page, in seconds.
EVERY = 2.0
#: Kept figures: two minutes of them.
PLACES = 61
#: Age of the newest figures after which the older ones are forgotten, in seconds: the page was left
#: meanwhile, and one step over that time would be no rate.
GAP = 5 * EVERY


class Samples:
    """The newest figures of all processes, as one process has asked for them.

    Args:
        clock: Returns a time in seconds that is never set back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: deque[tuple[float, Stats]] = deque(maxlen=PLACES)

    def add(self, figures: Stats) -> None:
        """Keep figures; those that come within a part of the interval stand for each other."""
        now = self._clock()
        if self._kept and now - self._kept[-1][0] > GAP:
            self._kept.clear()
        if not self._kept or now - self._kept[-1][0] > EVERY / 2:
            self._kept.append((now, figures))

    def gauge(self, title: str, unit: str, value: Callable[[Stats], float]) -> Chart:
        """Draw a figure that goes up and down."""
        return draw(title, unit, [value(each) for _, each in self._kept], PLACES)

    def rate(self, title: str, unit: str, value: Callable[[Stats], float]) -> Chart:
        """Draw how much a figure grows in a second."""
        # A process that has gone takes what it has counted with it.
        rates = [
            max(value(new) - value(old), 0.0) / (now - then)
            for (then, old), (now, new) in pairwise(self._kept)
        ]
        return draw(title, unit, rates, PLACES)

    def curves(self) -> list[Chart]:
        """Return the charts of the overview."""
        return [
            self.gauge("Connections", "", lambda each: each.connections),
            self.rate("Published", "per second", lambda each: each.published),
            self.rate("Delivered", "per second", lambda each: each.delivered),
            self.rate("Written", "KiB per second", lambda each: each.written / 1024),
            self.rate("Renders", "per second", lambda each: each.renders.number),
            self.gauge("Lag, median", "ms", lambda each: 1000 * (each.lag.p50 or 0.0)),
        ]

    def viewers(self, channel: str) -> Chart:
        """Draw the connections of a channel."""
        return self.gauge(channel, "viewers", lambda each: each.by_channel.get(channel, 0))
