"""Topics that have changed, each at most once in its debounce time."""

import heapq
from collections.abc import Callable


class Debounce:
    """Collects what has changed of topics, until each of them is due.

    The first change of a topic is due at once, and those that follow within its debounce time are
    due together at its end. So a burst costs two rounds, and the last change is always taken.

    Args:
        seconds: Returns the debounce time of a topic, in seconds.
    """

    def __init__(self, seconds: Callable[[str], float]) -> None:
        self._seconds = seconds
        # Topic -> ids that have changed. Each has one entry in the heap, at which it is due; one
        # without ids was taken lately, and is forgotten when it is due again.
        self._changed: dict[str, set[str]] = {}
        self._due: list[tuple[float, str]] = []

    def __len__(self) -> int:
        """Return the number of topics that are remembered."""
        return len(self._changed)

    def add(self, topic: str, id: str, now: float) -> None:
        """Note that something has changed.

        Args:
            topic: The topic's name.
            id: What has changed of it.
            now: Current loop time, in seconds.
        """
        ids = self._changed.get(topic)
        if ids is None:
            ids = self._changed[topic] = set()
            heapq.heappush(self._due, (now, topic))
        ids.add(id)

    def take(self, now: float, most: int) -> dict[str, set[str]]:
        """Return what is due, and remember it no longer.

        Args:
            now: Current loop time, in seconds.
            most: Most topics to return.

        Returns:
            Topic -> ids that have changed, at least one.
        """
        taken: dict[str, set[str]] = {}
        while self._due and self._due[0][0] <= now and len(taken) < most:
            _, topic = heapq.heappop(self._due)
            ids = self._changed.pop(topic)
            if ids:
                taken[topic] = ids
                self._changed[topic] = set()
                heapq.heappush(self._due, (now + self._seconds(topic), topic))
        return taken

    @property
    def next(self) -> float:
        """Loop time at which something is due; infinity if nothing is remembered."""
        return self._due[0][0] if self._due else float("inf")

    def clear(self) -> None:
        """Forget all topics."""
        self._changed.clear()
        self._due.clear()
