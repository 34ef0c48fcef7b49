"""Surveying: what this process answers to those who look into it, a page at a time."""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from heapq import nsmallest
from typing import Any

from ..broker import Control, Filter
from ..config import Config
from ..hub import Connection, Hub
from .statistics import Statistics
from .stats import written
from .watching import Watching

#: The question's name.
SURVEY = "survey"
#: Most rows of one answer.
MOST_ROWS = 100
#: Size of one answer, in characters of JSON, of the MAX_CHARS that an answer may have.
PAGE_CHARS = 48_000
#: Most topics that a row of a connection names, and the longest text of a row, in characters.
MOST_TOPICS, MAX_TEXT = 3, 400
#: Most topics of one connection that is looked into, and most fragments of each.
ALL_TOPICS, ALL_FRAGMENTS = 200, 16
#: Milliseconds that no clock reaches, so that the newest connection comes first.
_END = 10**14

#: A row's place in the order, and what it says.
Row = tuple[str, Any]


class Surveying:
    """Answers about one process: its figures, connections, topics and renders.

    Rows have a place in one order, the same in every process, and a question says after which place
    to go on and how many rows it wants. So what is sent does not grow with what there is. Nothing
    is counted or kept for it between two questions.

    Args:
        control: Brings the questions.
        hub: Has what is live.
        statistics: Has the figures.
        config: The app's settings, with the limits.
    """

    def __init__(self, control: Control, hub: Hub, statistics: Statistics, config: Config) -> None:
        self._hub = hub
        self._watching = Watching(hub)
        self._statistics = statistics
        self._config = config
        self._answers: Mapping[str, Callable[[Mapping[str, Any]], Mapping[str, object]]] = {
            "figures": self._figures,
            "connections": self._connections,
            "connection": self._connection,
            "topics": self._topics,
            "renders": self._renders,
            "messages": self._messages,
        }
        control.reply(SURVEY, self._answer)

    def _answer(self, told: Any) -> Mapping[str, object]:
        return self._answers[str(told["what"])](told)

    def _figures(self, told: Mapping[str, Any]) -> Mapping[str, object]:
        config, figures = self._config, self._statistics.of_process()
        most = max(figures.top_topics.values(), default=0)
        return {
            "figures": written(figures),
            "limits": {
                "QUART_SSE_MAX_CONNECTIONS": [figures.connections, config.max_connections],
                "QUART_SSE_MAX_PER_TOPIC": [most, config.max_per_topic],
            },
            "reached": self._hub.connections.reached,
        }

    # -- connections -------------------------------------------------------------------------------

    def _connections(self, told: Mapping[str, Any]) -> Mapping[str, object]:
        fits = _condition(told)
        keyed = [
            (f"{_END - int(1000 * each.lasting.connected_at):014d} {each.id}", each)
            for each in list(self._hub.connections.newest)
            if not each.is_ended and fits(each)
        ]
        return _page(keyed, told, _brief)

    def _connection(self, told: Mapping[str, Any]) -> Mapping[str, object]:
        found = self._hub.connections.get(str(told["id"]))
        return {"row": None if found is None or found.is_ended else _whole(found)}

    # -- topics and renders ------------------------------------------------------------------------

    def _topics(self, told: Mapping[str, Any]) -> Mapping[str, object]:
        channel, part = told.get("channel"), told.get("part") or ""
        keyed = [
            (name, number)
            for name, number in self._hub.connections.by_topic.items()
            if part in name and channel in (None, name.partition("?")[0])
        ]
        now, subscribers = asyncio.get_running_loop().time(), self._hub.subscribers

        def row(name: str, number: int) -> Any:
            topic = subscribers.get(name)
            since = float("inf") if topic is None else now - topic.sent_at
            return [number, since if since < float("inf") else None]

        return _page(((key, (key, number)) for key, number in keyed), told, lambda it: row(*it))

    def _renders(self, told: Mapping[str, Any]) -> Mapping[str, object]:
        part, topic = told.get("part") or "", told.get("topic")
        viewers = self._hub.connections.by_topic
        keyed = (
            (f"{0 if each.record.error else 1} {each.key}", each)
            for each in self._hub.fragments
            if each.record.number and part in each.key and topic in (None, each.topic)
        )

        def row(shared: Any) -> Any:
            record = shared.record
            return {
                "topic": shared.topic,
                "fragment": shared.spec.name,
                "every": shared.spec.every,
                "viewers": viewers.get(shared.topic, 0),
                "number": record.number,
                "failed": record.failed,
                "seconds": record.seconds,
                "slowest": record.slowest,
                "at": record.at,
                "error": record.error,
                "reason": record.reason,
                "failed_at": record.failed_at,
                "size": 0 if shared.rendered is None else len(shared.rendered.html),
            }

        return _page(keyed, told, row)

    def _messages(self, told: Mapping[str, Any]) -> Mapping[str, object]:
        topic = told.get("topic")
        seen = [each for each in self._watching.look() if topic in (None, each["topic"])]
        return _page([(each["place"], each) for each in seen], told, lambda each: each)


def _condition(told: Mapping[str, Any]) -> Callable[[Connection], bool]:
    """Return whether a connection is one of those that are asked for."""
    channel, part = told.get("channel"), told.get("topic") or ""
    identity, where = told.get("identity") or "", told.get("where")
    condition = None if where is None else Filter(where)
    known: dict[Any, bool] = {}

    def is_meant(metadata: Any) -> bool:
        if condition is not None and metadata not in known:
            known[metadata] = condition.matches(None if metadata is None else metadata.values)
        return condition is None or known[metadata]

    def fits(connection: Connection) -> bool:
        return (
            (not identity or identity in (connection.identity or ""))
            and (
                channel is None
                or any(name.partition("?")[0] == channel for name in connection.subscription)
            )
            and (not part or any(part in name for name in connection.subscription))
            and is_meant(connection.metadata)
        )

    return fits


def _page(
    keyed: Iterable[tuple[str, Any]], told: Mapping[str, Any], write: Callable[[Any], Any]
) -> Mapping[str, object]:
    """Return the rows that come after a place, and how many there are in all."""
    rows_of, after = list(keyed), str(told.get("after") or "")
    most = min(int(told.get("most") or MOST_ROWS), MOST_ROWS)
    found = nsmallest(
        most + 1, (each for each in rows_of if each[0] > after), key=lambda each: each[0]
    )
    rows: list[Row] = []
    size = 0
    for key, value in found[:most]:
        row = (key, write(value))
        size += len(json.dumps(row)) + 2
        if rows and size > PAGE_CHARS:
            break
        rows.append(row)
    return {"rows": rows, "more": len(found) > len(rows), "total": len(rows_of)}


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}…"


def _brief(connection: Connection) -> Mapping[str, object]:
    """Return what a list says of a connection."""
    metadata, topics = connection.metadata, sorted(connection.subscription)
    return {
        "id": connection.id,
        "identity": connection.identity,
        "metadata": None if metadata is None else _cut(metadata.text),
        "topics": [*map(_cut, topics[:MOST_TOPICS])],
        "more_topics": max(len(topics) - MOST_TOPICS, 0),
        "connected_at": connection.lasting.connected_at,
        "remote_address": connection.remote_address,
        "user_agent": connection.user_agent,
        "queued": connection.queued,
    }


def _whole(connection: Connection) -> Mapping[str, object]:
    """Return what the page of a connection says of it."""
    subscription = connection.subscription
    names, topics, size = sorted(subscription), list[Row](), 0
    for name in names[:ALL_TOPICS]:
        topics.append((_cut(name), sorted(subscription[name])[:ALL_FRAGMENTS]))
        size += len(json.dumps(topics[-1]))
        if size > PAGE_CHARS:
            break
    left = connection.ends_at - asyncio.get_running_loop().time()
    return {
        **_brief(connection),
        "metadata": None if connection.metadata is None else connection.metadata.text,
        "topics": topics,
        "more_topics": len(names) - len(topics),
        "last_event_id": connection.last_event_id,
        "tabs": len(connection.pages),
        "ends_in": left if 0 <= left < float("inf") else None,
        "heartbeat": connection.heartbeat,
    }
