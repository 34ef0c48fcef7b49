"""Ask processes of an app from outside: a question, and its answers within a deadline."""

import json
import secrets
from collections.abc import Iterator, Mapping
from typing import Any

from ..broker import ANSWER, ASK, UNLISTED, Answers, Broker, Kind, Message, Processes
from ..errors import BrokerUnavailable
from ..wire import ZERO

#: Faults of processes that have done nothing of what they were asked.
_DID_NOTHING = {"busy", "unknown"}


async def ask(
    broker: Broker, question: str, data: Mapping[str, object], deadline: float, to: str | None
) -> Answers:
    """Ask one process of the app, or all, in a process that serves nothing.

    The answers come over a connection of its own, which is closed when they are complete, or at the
    deadline. Meanwhile it receives the control messages of all processes.

    Args:
        broker: The app's broker.
        question: The question's name.
        data: Its data, for JSON.
        deadline: Longest duration, in seconds. A process that is not on the list of live ones is
            waited for during a part of it.
        to: Id of the process to ask; None asks all live ones.

    Raises:
        BrokerUnavailable: If the question was not, or may not have been, sent.
        SetupError: If the broker serves one process alone.
    """
    live = {process.id: process for process in await Processes(broker).live()}
    waiting = set(live) if to is None else {to}
    if not waiting:
        return Answers({}, {}, ())
    id = secrets.token_hex(8)
    answers: dict[str, Any] = {}
    faults: dict[str, str] = {}

    def take(message: Message) -> bool:
        told = json.loads(message.data or "") if message.name == ANSWER else None
        if not isinstance(told, dict):
            return False
        process = str(told.get("process"))
        if told.get("id") == id and process in waiting:
            waiting.discard(process)
            if "answer" in told:
                answers[process] = told["answer"]
            else:
                faults[process] = str(told.get("fault", "unknown"))
        return not waiting

    one = {} if to is None else {"to": to}
    text = json.dumps({"id": id, "question": question, "data": dict(data), **one})
    seconds = deadline if to is None or to in live else deadline * UNLISTED
    await broker.converse(Message(Kind.CONTROL, ZERO, "", ASK, text), take, seconds)
    return Answers(answers, faults, tuple(live[each] for each in sorted(waiting) if each in live))


def is_done(asked: Answers, deadline: float) -> bool:
    """Whether a process has done what was asked; False if none has the connection.

    Args:
        asked: The answers, each of which says whether that process has done it.
        deadline: The question's, for the error.

    Raises:
        BrokerUnavailable: If a process that may have the connection has not answered.
    """
    if any(answer is True for answer in asked.answers.values()):
        return True
    if asked.faults:
        raise BrokerUnavailable(
            " ".join(_why(asked.faults)),
            maybe_published=bool(asked.silent)
            or not _DID_NOTHING.issuperset(asked.faults.values()),
        )
    if asked.silent:
        silent = ", ".join(f"{each.host or each.id} (pid {each.pid})" for each in asked.silent)
        raise BrokerUnavailable(
            f"No answer within {deadline:g} s (QUART_SSE_BROKER_TIMEOUT) from {silent}. "
            "The connection may have been sent it.",
            maybe_published=True,
        )
    return False


def _why(faults: Mapping[str, str]) -> Iterator[str]:
    """Say why processes have no answer; a later release may have other faults."""
    processes: dict[str, list[str]] = {}
    for process, fault in sorted(faults.items()):
        processes.setdefault(fault, []).append(process)
    for fault, ids in processes.items():
        some = f"Process {ids[0]}" if len(ids) == 1 else f"Processes {', '.join(ids)}"
        if fault == "busy":
            yield (
                f"{some}: too many answers wait to be sent there, so the question was refused. "
                "Nothing was sent. Try again later, and with fewer at once."
            )
        elif fault == "unknown":
            yield (
                f"{some}: another release runs there, which does not know the question. Try again "
                "when all processes run this one."
            )
        else:
            yield f"{some}: no answer ({fault}). The log there says why."
