"""All attacks, by the names that the command line takes."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from . import of_presence, of_requests, of_streams, of_topics
from .crowd import Crowd


@dataclass(frozen=True)
class Attack:
    """One attack.

    Args:
        run: Prepares it, calls ``crowd.begin()``, and attacks; its docstring says what it does.
        brokers: Where it is made: ``memory``, ``redis``.
        lasts: How many times as long it lasts as others.
    """

    run: Callable[[Crowd], Awaitable[None]]
    brokers: tuple[str, ...] = ("memory",)
    lasts: float = 1.0


BOTH = ("memory", "redis")

_ALL = (
    Attack(of_requests.ordinary, BOTH),
    Attack(of_topics.unsigned_topics),
    Attack(of_topics.refused_topics),
    Attack(of_topics.refused_few),
    Attack(of_topics.new_topics, BOTH),
    Attack(of_topics.collected_lists, BOTH),
    Attack(of_topics.own_lists),
    Attack(of_streams.collected_cookies),
    Attack(of_streams.replacing),
    Attack(of_streams.slow_readers),
    Attack(of_streams.long_replays, BOTH),
    Attack(of_requests.long_lists, lasts=12),
    Attack(of_requests.junk),
    Attack(of_requests.half_requests),
    Attack(of_requests.dear_fragments),
    Attack(of_requests.dear_streams),
    Attack(of_presence.joining, BOTH),
    Attack(of_presence.members, BOTH),
)

ATTACKS: Mapping[str, Attack] = {attack.run.__name__.replace("_", "-"): attack for attack in _ALL}
