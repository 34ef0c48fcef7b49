"""Watching: the newest messages of this process, which are kept while an inspector shows them."""

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any

from ..broker import Kind, Message
from ..hub import Hub
from ..wire import LAST

#: Time for which messages are kept after a look, in seconds: some intervals of a page's renders.
LEASE = 15.0
#: Most messages that are kept, and the longest data of one, in characters.
MOST, MAX_DATA = 200, 2_000
#: Kinds that are for pages, as they are called.
KINDS = {Kind.EVENT: "event", Kind.REFRESH: "refresh", Kind.PUSH: "push"}


class Watching:
    """Sees each message that the hub receives, from one look to some seconds after the last one.

    Without a look the hub does not know of it, so that deliveries cost nothing more.

    Args:
        hub: Receives the messages.
        clock: Returns a time in seconds that is never set back.
    """

    def __init__(self, hub: Hub, clock: Callable[[], float] = time.monotonic) -> None:
        self._hub = hub
        self._clock = clock
        self._until = float("-inf")
        self._kept: deque[Mapping[str, Any]] = deque(maxlen=MOST)
        self._counts: Counter[str] = Counter()

    def look(self) -> list[Mapping[str, Any]]:
        """Return the messages that came since a look of before, and keep those that come."""
        self._begin()
        return list(self._kept)

    def count(self) -> Mapping[str, int]:
        """Return how many came for each channel and audience since then; it is a look, too."""
        self._begin()
        return self._counts

    def _begin(self) -> None:
        now = self._clock()
        if now > self._until:
            self._forget()
            self._hub.watch(self._take)
        self._until = now + LEASE

    def _forget(self) -> None:
        self._kept.clear()
        self._counts.clear()

    def _take(self, message: Message) -> None:
        if self._clock() > self._until:
            self._forget()
            self._hub.watch(None)
        elif message.kind in KINDS:
            self._kept.append(written_message(message))
            self._counts[message.topic.partition("?")[0]] += 1


def written_message(message: Message) -> Mapping[str, Any]:
    """Return what is shown of a message, for JSON."""
    data = message.data or ""
    return {
        "id": str(message.id),
        "ms": message.id.ms,
        "kind": KINDS[message.kind],
        "topic": message.topic,
        "name": message.name or "",
        "size": len(data),
        "data": data[:MAX_DATA],
        "where": None if message.where is None else message.where.text,
        # The newest comes first; all processes have the same place for it.
        "place": f"{LAST.ms - message.id.ms:015d} {10**9 - message.id.n:010d}",
    }
