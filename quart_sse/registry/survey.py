"""The survey: what all processes answer to those who look into the app, put together."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ..broker import Ask, Process, process_of, unanswered
from .finding import Live
from .stats import Stats, read, total_of
from .surveying import SURVEY

#: A row's place in the order, the row, and the id of the process that has it.
_Found = tuple[str, Any, str]


@dataclass(frozen=True, slots=True)
class Surveyed:
    """The figures of all processes, for those who look at them again and again.

    Attributes:
        total: The figures that have been answered, added up. ``identities`` and ``topics`` are
            sums: one that several processes have counts for each of them.
        by_process: Process -> its figures.
        limits: Setting -> what of it is in use, and the limit, where it is most so.
        reached: Name of a log line about a limit -> number of streams that had to wait for it.
        silent: Live processes that have not answered.
    """

    total: Stats
    by_process: Mapping[Process, Stats]
    limits: Mapping[str, tuple[int, int]]
    reached: Mapping[str, int]
    silent: tuple[Process, ...]


@dataclass(frozen=True, slots=True)
class Sheet:
    """One page of a list that all processes have parts of.

    Attributes:
        rows: What is on the page.
        next: After which place the next page begins; "" for the last one.
        total: Number of rows on all pages; what several processes have counts for each of them.
        silent: Live processes of which there is no answer.
    """

    rows: tuple[Mapping[str, Any], ...]
    next: str
    total: int
    silent: tuple[Process, ...]


class Survey:
    """Asks all processes, for one page at a time.

    Args:
        ask: Asks them.
        live: Returns those that are live.
        deadline: Longest duration, in seconds.

    Example:
        ``(await survey.figures()).total.connections``
    """

    def __init__(self, ask: Ask, live: Live, deadline: float) -> None:
        self._ask = ask
        self._live = live
        self._deadline = deadline

    async def figures(self) -> Surveyed:
        """Return the figures of all processes.

        Raises:
            BrokerUnavailable: If the broker is away; so do all other methods.
            SetupError: If this process can receive no answers; so do all other methods.
        """
        answers, known, silent = await self._answers({"what": "figures"})
        stats = {id: read(answer["figures"]) for id, answer in answers.items()}
        identities, topics = Counter[str](), Counter[str]()
        for each in stats.values():
            identities.update(each.top_identities)
            topics.update(each.top_topics)
        total = total_of(stats.values(), identities, topics)
        reached = Counter[str]()
        limits: dict[str, tuple[int, int]] = {}
        for answer in answers.values():
            reached.update(answer.get("reached", {}))
            for name, (used, most) in answer.get("limits", {}).items():
                limits[name] = max(limits.get(name, (0, 1)), (used, most), key=_share)
        return Surveyed(
            total, {known[id]: each for id, each in stats.items()}, limits, dict(reached), silent
        )

    async def connections(self, find: Mapping[str, Any], after: str, most: int) -> Sheet:
        """Return a page of the connections, the newest first.

        Args:
            find: ``channel``, and parts of ``topic`` and ``identity``; ``where`` is a condition on
                the metadata. What is left out is any.
            after: Where the page begins: ``next`` of the page before; "" for the first one.
            most: Most rows of a page.
        """
        answers, known, silent = await self._answers(_told("connections", find, after, most))

        def merge(found: list[_Found]) -> Mapping[str, Any]:
            return {**found[0][1], **_of(known, found), "opened": _time(found[0][1])}

        return _sheet(answers, most, silent, merge)

    async def connection(self, id: str) -> Mapping[str, Any] | None:
        """Return what a connection's process says of it; None if it is not open."""
        told = {"what": "connection", "id": id}
        answers, known, _ = await self._answers(told, to=process_of(id))
        for process, answer in answers.items():
            if answer["row"] is not None:
                return {**answer["row"], "process": known[process], "opened": _time(answer["row"])}
        return None

    async def topics(self, find: Mapping[str, Any], after: str, most: int) -> Sheet:
        """Return a page of the topics that have connections, by name.

        Args:
            find: ``channel``, and a ``part`` of the name.
            after: As for :meth:`connections`.
            most: As for :meth:`connections`.
        """
        answers, _, silent = await self._answers(_told("topics", find, after, most))

        def merge(found: list[_Found]) -> Mapping[str, Any]:
            ages = [since for _, (_, since), _ in found if since is not None]
            number = sum(number for _, (number, _), _ in found)
            return {"name": found[0][0], "viewers": number, "since": min(ages, default=None)}

        return _sheet(answers, most, silent, merge)

    async def renders(self, find: Mapping[str, Any], after: str, most: int) -> Sheet:
        """Return a page of the shared fragments with their renders, those with errors first.

        Args:
            find: ``topic``, and a ``part`` of the fragment's key.
            after: As for :meth:`connections`.
            most: As for :meth:`connections`.
        """
        answers, known, silent = await self._answers(_told("renders", find, after, most))

        def merge(found: list[_Found]) -> Mapping[str, Any]:
            return {**_added([row for _, row, _ in found]), **_of(known, found)}

        return _sheet(answers, most, silent, merge)

    async def messages(self, topic: str | None, most: int) -> Sheet:
        """Return the newest messages that processes have received, the newest first.

        They are kept from the first call until some seconds after the last one.

        Args:
            topic: Name of a topic or an audience; None for all.
            most: Most messages.
        """
        find = {} if topic is None else {"topic": topic}
        answers, _, silent = await self._answers(_told("messages", find, "", most))
        return _sheet(answers, most, silent, lambda found: found[0][1])

    async def _answers(
        self, told: Mapping[str, Any], to: str | None = None
    ) -> tuple[Mapping[str, Any], Mapping[str, Process], tuple[Process, ...]]:
        asked = await self._ask(SURVEY, told, deadline=self._deadline, to=to)
        known = dict(await self._live())
        for id in asked.answers:
            known.setdefault(id, Process(id))
        return asked.answers, known, unanswered(asked, known)


def _share(limit: tuple[int, int]) -> float:
    used, most = limit
    return used / most


def _told(what: str, find: Mapping[str, Any], after: str, most: int) -> Mapping[str, Any]:
    return {"what": what, **find, "after": after, "most": most}


def _time(row: Mapping[str, Any]) -> datetime:
    return datetime.fromtimestamp(row.get("connected_at", 0), UTC)


def _of(known: Mapping[str, Process], found: list[_Found]) -> Mapping[str, Any]:
    return {"process": known[found[0][2]]}


def _added(rows: list[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the renders of one fragment in several processes, added up."""
    newest = max(rows, key=lambda row: row["at"])
    failed = max(rows, key=lambda row: row["failed_at"])
    return {
        **newest,
        **{name: failed[name] for name in ("error", "reason", "failed_at")},
        **{name: sum(row[name] for row in rows) for name in ("viewers", "number", "failed")},
        "slowest": max(row["slowest"] for row in rows),
    }


def _sheet(
    answers: Mapping[str, Any],
    most: int,
    silent: tuple[Process, ...],
    merge: Callable[[list[_Found]], Mapping[str, Any]],
) -> Sheet:
    """Put a page together of what each process has of it.

    A process whose answer is not its last one may have further rows behind it, so that the page
    ends before those.
    """
    by_key: dict[str, list[_Found]] = {}
    ends = [answer["rows"][-1][0] for answer in answers.values() if answer["more"]]
    end = min(ends, default=None)
    for process, answer in answers.items():
        for key, row in answer["rows"]:
            if end is None or key <= end:
                by_key.setdefault(key, []).append((key, row, process))
    keys = sorted(by_key)
    shown = keys[:most]
    has_more = bool(ends) or len(keys) > most
    total = sum(answer["total"] for answer in answers.values())
    rows = tuple(merge(by_key[key]) for key in shown)
    return Sheet(rows, shown[-1] if has_more and shown else "", total, silent)
