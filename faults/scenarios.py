"""All scenarios, by the names that the command line takes."""

import sys
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path

from . import of_network, of_processes, of_redis
from .play import Play, playing
from .stage import Pace
from .verdict import Outcome

Scenario = Callable[[Play], Awaitable[None]]

_ALL = (
    of_processes.kill,
    of_processes.rolling,
    of_processes.formats,
    of_processes.idle,
    of_processes.leaving,
    of_processes.stalled,
    of_redis.restart_empty,
    of_redis.restart_kept,
    of_redis.loading,
    of_redis.frozen,
    of_redis.overrun,
    of_network.partition,
    of_network.newcomers,
    of_network.flapping,
    of_network.deaf,
    of_network.mute,
    of_network.dead,
    of_redis.promotion,
    of_redis.demotion,
)

SCENARIOS: Mapping[str, Scenario] = {
    scenario.__name__.replace("_", "-"): scenario for scenario in _ALL
}

#: Scenarios that need more than the pace gives: ``QUART_SSE_*`` keys, without that prefix.
KEYS: Mapping[str, Mapping[str, object]] = {
    "idle": {"history_ttl": of_processes.IDLE_TTL, "probe": 1, "heartbeat": 0.1},
    # Until its socket is full, more is sent to somebody who reads nothing than a replay may hold.
    # What is as large is read in parts, over a wire that is slow.
    "stalled": {
        "send_timeout": 1,
        "join_timeout": 5,
        "replay_bytes": 1 << 26,
        "replay_events": 5000,
        "pending_bytes": 1 << 26,
    },
}


async def play(name: str, folder: Path, pace: Pace, server: str = "uvicorn") -> Outcome:
    """Play a scenario.

    Args:
        name: Of the scenario.
        folder: For everything that it writes; a short path.
        pace: How large and how long.
        server: The web server's name.
    """
    pace = replace(pace, keys={**pace.keys, **KEYS.get(name, {})})
    async with playing(name, folder, pace, server) as prepared:
        try:
            await SCENARIOS[name](prepared)
        except TimeoutError:
            where = traceback.extract_tb(sys.exc_info()[2])
            line = next(frame.line for frame in where if frame.name in _NAMES)
            prepared.outcome.expect(False, f"it goes on in time; it still waits in: {line}")
        return prepared.outcome


#: The functions of scenarios, and those that several of them share.
_NAMES = {*(name.replace("-", "_") for name in SCENARIOS), "crash", "heal_by_itself"}
