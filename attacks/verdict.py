"""What an attack did: its row of the table, and which goals it has broken."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field

from .watch import Phase

#: Seconds that an ordinary page may take during an attack: at the median, and at worst.
MEDIAN, WORST = 0.05, 0.25
#: KiB that a process may need more, and how much of what it had may be left in the end.
MORE, LEFT = 60 * 1024, 1.2
#: Seconds that a heartbeat may come late.
LATE = 1.0


@dataclass
class Outcome:
    """What was measured in one attack.

    Args:
        name: Of the attack.
        broker: ``memory`` or ``redis``.
        before: What was noticed without it.
        during: What was noticed.
        after: KiB of memory when it was quiet again.
        again: The same after a second round, if ``after`` was too much; else None. Allocators keep
            memory for what comes next, and a process that was attacked is one that is warm.
        ends: Ending, status or ``open`` -> how many requests of the attackers.
        asked: What the app was asked because of it: ``authorize``, ``renders``.
        slack: How much of what a page takes without an attack is added to its goals: on a machine
            that does other work, too, all takes longer.
    """

    name: str
    broker: str
    before: Phase
    during: Phase
    after: float
    ends: Mapping[str, int] = field(default_factory=dict)
    asked: Mapping[str, int] = field(default_factory=dict)
    again: float | None = None
    slack: float = 0.0

    @property
    def held(self) -> float:
        """KiB of memory before it."""
        return statistics.median(self.before.memory)

    @property
    def peak(self) -> float:
        """Most KiB of memory during it."""
        return max(self.during.memory, default=0.0)

    @property
    def late(self) -> float:
        """Seconds that the latest heartbeat was late."""
        return max(self.during.lags)

    @property
    def left(self) -> str:
        """What the memory was, before and after each round, in MiB."""
        rounds = [self.held, self.after, *([] if self.again is None else [self.again])]
        return ", then ".join(f"{kib / 1024:.0f}" for kib in rounds)

    @property
    def is_healed(self) -> bool:
        """Whether the memory is as it was, or at least as it was after the first round."""
        last = self.after if self.again is None else self.again
        return last <= LEFT * (self.held if self.again is None else self.after)

    @property
    def broken(self) -> list[str]:
        """The goals that were not reached, with what was measured."""
        pages, usual = self.during.pages, self.before.pages
        # On a machine that does other work, too, the server waits for a processor.
        stretch = self.during.stretch
        median = MEDIAN * stretch + self.slack * statistics.median(usual)
        worst = WORST * stretch + self.slack * max(usual)
        goals = {
            f"the ordinary page takes {statistics.median(pages) * 1000:.0f} ms at the median, and "
            f"may take {median * 1000:.0f}": statistics.median(pages) < median,
            f"the ordinary page takes {max(pages) * 1000:.0f} ms at worst, and may take "
            f"{worst * 1000:.0f}": max(pages) < worst,
            f"the ordinary page fails: {self.during.errors[:3]}": not self.during.errors,
            f"memory grows by {(self.peak - self.held) / 1024:.0f} MiB, and may by "
            f"{MORE // 1024}": self.peak - self.held < MORE,
            f"memory is {self.left}, and may be {LEFT} of what it was": self.is_healed,
            f"a heartbeat is {self.late:.1f} s late, and may be {LATE * stretch:.1f}": self.late
            <= LATE * stretch,
            f"publishers fail: {self.during.failures[:3]}": not self.during.failures,
            f"the ordinary stream ends: {self.during.ends[:3]}": not self.during.ends,
            "nothing was published": bool(self.during.published),
            "attackers did nothing": bool(self.ends),
        }
        return [goal for goal, is_reached in goals.items() if not is_reached]
