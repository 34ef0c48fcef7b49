"""Ask every process who is present on a topic of which the broker keeps no record."""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from ..broker import Control, Process, ask_pages
from .members import Members

#: The question's name.
QUESTION = "present"
#: Longest answer of one process, in characters of JSON; the rest is asked for in further ones.
PAGE_CHARS = 32_000


class Asking:
    """Asks all processes who is present, and answers for this one.

    Args:
        control: Carries questions and answers.
        members: Who is present in this process.
        deadline: How long to wait for answers, in seconds.
    """

    def __init__(self, control: Control, members: Members, deadline: float) -> None:
        self._control = control
        self._members = members
        self._deadline = deadline
        control.reply(QUESTION, self._answer)

    async def ask(self, topic: str) -> tuple[Counter[str], tuple[Process, ...]]:
        """Return whom the connections of a topic count as, and which processes did not answer.

        Args:
            topic: The topic's name.

        Returns:
            Whom connections count as -> their number, over all processes that have answered; and
            the live processes that have not, or not in time with all they had to say.

        Raises:
            SetupError: If this process serves nothing.
            BrokerUnavailable: If the broker is away.
        """
        found = await ask_pages(
            self._control.ask,
            QUESTION,
            {"topic": topic},
            self._deadline,
            lambda answer: max(answer["who"]),
        )
        counts: Counter[str] = Counter()
        for answers in found.pages.values():
            for answer in answers:
                counts.update(answer["who"])
        if not (found.asked.faults or found.cut):
            return counts, found.asked.silent
        live = {process.id: process for process in await self._control.processes.live()}
        return counts, found.silent(live)

    def _answer(self, told: Mapping[str, Any]) -> Mapping[str, object]:
        """Return whom connections of this process count as, with their number."""
        after = told.get("after") or ""
        counts = Counter(self._members.of(told["topic"]).values())
        page: dict[str, int] = {}
        size = 0
        for who in sorted(who for who in counts if who > after):
            size += len(json.dumps(who)) + 10
            if page and size > PAGE_CHARS:
                return {"who": page, "more": True}
            page[who] = counts[who]
        return {"who": page, "more": False}
