"""What became of all events: judged by what publishers were told, Redis kept and viewers saw."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from quart_sse.wire.position import Id

from .publisher import Attempt
from .viewer import Viewer


@dataclass
class Outcome:
    """The row of the table that one scenario gives."""

    name: str = ""
    published: int = 0  #: acknowledged, or found to have been published all the same
    delivered: int = 0  #: over all viewers
    lost: int = 0  #: published, not delivered, and not said to be lost
    duplicated: int = 0
    disordered: int = 0
    stale: int = 0  #: viewers whose fragment was not current in the end
    resets: int = 0
    reconnects: int = 0
    heal: float = 0.0  #: seconds from the end of the fault until all viewers have what is new
    slowest: float = 0.0  #: seconds until a publisher was answered, at most
    fates: Counter[str] = field(default_factory=Counter)
    notes: dict[str, float] = field(default_factory=dict)  #: more figures, by name
    broken: list[str] = field(default_factory=list)  #: promises that did not hold

    def expect(self, holds: bool, promise: str) -> None:
        """Note a promise that does not hold."""
        if not holds:
            self.broken.append(promise)


def judge(
    outcome: Outcome,
    attempts: Iterable[Attempt],
    stored: Mapping[int, Id],
    viewers: Iterable[Viewer],
    value: int,
) -> None:
    """Add what became of one publisher's events, for the viewers of its room.

    Args:
        outcome: To add to.
        attempts: All that the publisher tried.
        stored: What Redis had of it in the end.
        viewers: Who should have got it.
        value: What the fragment should show.
    """
    attempts = sorted(attempts, key=lambda attempt: attempt.number)
    viewers = list(viewers)
    published = {a.number: a.id for a in attempts if a.id is not None}
    published |= stored
    # One whose publisher got no answer, and which Redis has lost since, may have been delivered.
    for viewer in viewers:
        for seen in viewer.seen:
            published.setdefault(seen.number, seen.id)
    fates = {attempt.number: attempt.fate for attempt in attempts}
    denied = {number for number in published if fates.get(number, "refused") == "refused"}
    outcome.expect(not denied, f"refused, or never tried, and published all the same: {denied}")

    failed = {attempt.error for attempt in attempts if attempt.fate == "error"}
    outcome.expect(not failed, f"publishers are told of errors: {failed}")

    outcome.published += len(published)
    outcome.slowest = max([outcome.slowest, *(attempt.took for attempt in attempts)])
    outcome.fates.update(fates.values())
    for viewer in viewers:
        numbers = [seen.number for seen in viewer.seen]
        covered = max(viewer.resets, default=Id(0, 0))
        lost = {n for n, id in published.items() if id > covered}.difference(numbers)
        ids = [published[number] for number in numbers]
        wrong = [seen for seen in viewer.seen if seen.id != published[seen.number]]
        outcome.delivered += len(numbers)
        outcome.lost += len(lost)
        outcome.duplicated += len(numbers) - len(set(numbers))
        outcome.disordered += sum(a > b for a, b in pairwise(ids))
        outcome.stale += viewer.shown != str(value)
        outcome.resets += len(viewer.resets)
        outcome.reconnects += viewer.reconnects
        outcome.expect(not wrong, f"delivered at another position than their own: {wrong[:3]}")
