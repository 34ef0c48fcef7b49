"""Decide whether one of two series of figures costs more, in spite of a noisy machine."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

#: Student's t for a two-sided interval of 95 %, by degrees of freedom from 1 on.
T_95 = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093),
)
#: So many pairs can be judged.
FEWEST, MOST = 2, len(T_95) + 1


@dataclass(frozen=True)
class Ratio:
    """How one cost is to another: the mean of the pairs' ratios, and its interval of 95 %.

    Args:
        mean: The geometric mean.
        low: Where the interval begins.
        high: Where it ends.
    """

    mean: float
    low: float
    high: float

    def exceeds(self, limit: float) -> bool:
        """Return whether all of the interval lies above a limit."""
        return self.low > limit

    def noticed_from(self, limit: float) -> float:
        """Return the mean from which an interval of this width would exceed a limit."""
        return limit * self.mean / self.low


def ratio(pairs: Sequence[tuple[float, float]]) -> Ratio:
    """Compare two costs that were measured in pairs, the two of a pair right after each other.

    Args:
        pairs: What the one and the other cost, in one unit.

    Raises:
        ValueError: If there are too few or too many pairs, or a cost is not above zero.

    Example:
        >>> ratio([(11.0, 10.0), (11.0, 10.0)]).exceeds(1.03)
        True
    """
    if not FEWEST <= len(pairs) <= MOST:
        raise ValueError(f"{len(pairs)} pairs cannot be judged; take {FEWEST} to {MOST}.")
    if any(cost <= 0 for pair in pairs for cost in pair):
        raise ValueError(f"A cost is not above zero, so there is no ratio: {pairs}.")
    logs = [math.log(one / other) for one, other in pairs]
    mean = statistics.fmean(logs)
    half = T_95[len(logs) - 2] * statistics.stdev(logs) / math.sqrt(len(logs))
    return Ratio(math.exp(mean), math.exp(mean - half), math.exp(mean + half))
