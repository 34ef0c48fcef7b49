"""Questions whose answers may be longer than one message: the rest is asked for in further ones."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from .control import Answers
from .processes import Process


class Ask(Protocol):
    """Asks one process, or all; ``Control.ask``, or a publisher's."""

    async def __call__(
        self, question: str, data: object = None, *, deadline: float, to: str | None = None
    ) -> Answers:
        """Return the answers."""


class Paged(NamedTuple):
    """Answers that came in parts."""

    asked: Answers  #: to the first question
    pages: Mapping[str, list[Any]]  #: process id -> all parts of its answer
    cut: list[str]  #: ids of processes whose later parts are missing

    def silent(self, known: Mapping[str, Process]) -> tuple[Process, ...]:
        """Return the processes of which an answer, or a part of it, is missing.

        Args:
            known: The live processes, by id.
        """
        return unanswered(self.asked, known, self.cut)


async def ask_pages(
    ask: Ask,
    question: str,
    data: Mapping[str, object],
    deadline: float,
    last: Callable[[Any], str],
) -> Paged:
    """Ask all processes, and those that have more to say again, until the deadline.

    Args:
        ask: Asks them.
        question: The question's name. An answer is an object, whose ``more`` says whether there is
            more.
        data: The question's data; ``after`` is added to further questions.
        deadline: Longest duration, in seconds.
        last: Returns, of an answer, after what the next one goes on.

    Raises:
        SetupError: If this process can receive no answers.
        BrokerUnavailable: If the broker is away.
    """
    ends_at = asyncio.get_running_loop().time() + deadline
    asked = await ask(question, data, deadline=deadline)
    pages = {id: [answer] for id, answer in asked.answers.items()}
    cut: list[str] = []

    async def ask_more(id: str) -> None:
        while pages[id][-1]["more"]:
            left = ends_at - asyncio.get_running_loop().time()
            further = {**data, "after": last(pages[id][-1])}
            more = await ask(question, further, deadline=max(left, 0), to=id)
            if id not in more.answers:
                cut.append(id)
                return
            pages[id].append(more.answers[id])

    await asyncio.gather(*map(ask_more, pages))
    return Paged(asked, pages, cut)


def unanswered(
    asked: Answers, known: Mapping[str, Process], cut: Iterable[str] = ()
) -> tuple[Process, ...]:
    """Return the processes without an answer; those with a fault are among them.

    Args:
        asked: The answers.
        known: The live processes, by id.
        cut: Ids of further ones, whose answers are not complete.
    """
    lacking = [*sorted(asked.faults), *cut]
    return (*asked.silent, *(known.get(id, Process(id)) for id in lacking))
