"""Statistics: the figures of this process, and what it answers to those that ask for them."""

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ..broker import Ask, Broker, Process, ask_pages
from ..hub import Durations, Hub
from ..publisher import MessagePublisher
from .finding import Live
from .stats import GONE, CollectedStats, Stats, most, read, took, total_of, written

#: Size of one answer, in characters of JSON, of the MAX_CHARS that an answer may have.
PAGE_CHARS = 48_000
#: First letters of the names in an answer.
_IDENTITY, _TOPIC = "i", "t"


class Statistics:
    """Puts together what the classes of one process count.

    Args:
        hub: Counts messages, bytes and renders, and has the open connections.
        broker: Has a state.
        publisher: Counts what the app publishes.
    """

    def __init__(self, hub: Hub, broker: Broker, publisher: MessagePublisher) -> None:
        self._hub = hub
        self._broker = broker
        self._publisher = publisher

    def listen(
        self, renders: Callable[[float], None] | None, lag: Callable[[float], None] | None
    ) -> None:
        """Call functions with each time of a render, and each lag, in seconds.

        Args:
            renders: Called after each render of a shared fragment; None for no function.
            lag: Called after each write that had an event; None for no function.
        """
        self.renders.listener, self.lag.listener = renders, lag

    @property
    def renders(self) -> Durations:
        """The times of renders."""
        return self._hub.renders.took

    @property
    def lag(self) -> Durations:
        """The times from publishing to the write."""
        return self._hub.lag

    def figures(self) -> Stats:
        """Return what costs little to find: all but identities, topics and their numbers."""
        hub, connections = self._hub, self._hub.connections
        traffic = hub.traffic
        began = min((each.lasting.connected_at for each in list(connections.newest)), default=None)
        return Stats(
            broker=self._broker.state.value,
            connections=len(connections.newest),
            by_channel=connections.by_channel,
            oldest=0.0 if began is None else max(time.time() - began, 0.0),
            opened=connections.opened,
            ended={
                GONE if ending is None else ending.reason: number
                for ending, number in list(connections.ended.items())
                if number
            },
            refused={ending.reason: each for ending, each in list(connections.refused.items())},
            published=self._publisher.published,
            received=hub.received,
            delivered=traffic.delivered,
            written=traffic.written,
            conflated=traffic.conflated,
            dropped=traffic.dropped,
            resets=hub.resets,
            renders=took(hub.renders.took),
            renders_failed=hub.renders.failed,
            lag=took(hub.lag),
            queued=sum(each.queued for each in connections),
            html=hub.html_size,
            kept=self._broker.kept_bytes,
        )

    def of_process(self) -> Stats:
        """Return the figures of this process."""
        connections = self._hub.connections
        owners, topics = connections.owners, connections.by_topic
        figures = self.figures()
        return replace(
            figures,
            anonymous=max(figures.connections - sum(owners.values()), 0),
            identities=len(owners),
            top_identities=most(owners),
            topics=len(topics),
            top_topics=most(topics),
        )

    def answer(self, told: Any) -> Mapping[str, object]:
        """Answer another process: the figures, and as many names as one answer holds."""
        after = told.get("after") or ""
        connections = self._hub.connections
        numbers = {f"{_IDENTITY}{name}": each for name, each in connections.owners.items()}
        numbers |= {f"{_TOPIC}{name}": each for name, each in connections.by_topic.items()}
        answer: dict[str, object] = {"figures": {} if after else written(self.of_process())}
        rows: list[tuple[str, int]] = []
        size = len(json.dumps(answer))
        for row in sorted(each for each in numbers.items() if each[0] > after):
            size += len(json.dumps(row)) + 2
            if rows and size > PAGE_CHARS:
                return answer | {"rows": rows, "more": True}
            rows.append(row)
        return answer | {"rows": rows, "more": False}


async def collect(ask: Ask, live: Live, deadline: float) -> CollectedStats:
    """Ask all processes for their figures, and those with many names once more.

    Args:
        ask: Asks them.
        live: Returns those that are live.
        deadline: Longest duration, in seconds.

    Raises:
        SetupError: If this process can receive no answers.
        BrokerUnavailable: If the broker is away.
    """
    found = await ask_pages(ask, "stats", {}, deadline, lambda answer: str(answer["rows"][-1][0]))
    known = await live()
    identities, topics = Counter[str](), Counter[str]()
    for answers in found.pages.values():
        for name, number in (row for answer in answers for row in answer["rows"]):
            counted = identities if name[0] == _IDENTITY else topics
            counted[name[1:]] += number
    figures = {id: read(answers[0]["figures"]) for id, answers in found.pages.items()}
    by_process = {known.get(id, Process(id)): each for id, each in figures.items()}
    total = total_of(figures.values(), identities, topics)
    return CollectedStats(total, by_process, found.silent(known))
