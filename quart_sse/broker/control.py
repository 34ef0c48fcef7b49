"""Tell every process something, and ask every process something.

Both are messages without a topic (``Kind.CONTROL``), which every process receives. The broker
keeps what is sent for processes that are cut off at the time. It does not keep a question or its
answers: by the time those processes could read them, the question has timed out.
"""

import asyncio
import json
import logging
import secrets
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

from ..error_log import ErrorLog, OnceLog
from ..errors import BrokerUnavailable, SetupError
from ..position import ZERO
from .base import Broker
from .messages import CONTROL_HISTORY, Keep, Kind, Message
from .processes import Process, Processes

logger = logging.getLogger("quart_sse")

#: The names of the messages that ask and answer.
ASK, ANSWER = "ask", "answer"
#: Characters that a question or an answer may have, as JSON.
MAX_CHARS = 65_536
#: Answers to one question that are taken; and answers of this process that wait to be sent.
MAX_ANSWERS, MAX_UNSENT = 1000, 64
_NOT_KEPT = Keep(events=0, ttl=0)

Handler = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Answers:
    """What came of a question."""

    answers: Mapping[str, Any]  #: process id -> its answer
    #: process id -> why it has none: "unknown" (the question is one of another release), "failed",
    #: "too-long"
    faults: Mapping[str, str]
    silent: tuple[Process, ...]  #: processes that were live and had not answered by the deadline


@dataclass(slots=True)
class _Asked:
    """A question of this process whose answers are being waited for."""

    expected: set[str]  #: ids of the processes that have not answered yet
    is_answered: asyncio.Event = field(default_factory=asyncio.Event)
    answers: dict[str, Any] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)


class Control:
    """What all processes of an app tell and ask each other.

    Args:
        broker: Carries it.
        errors: Where errors of handlers are logged.

    Example:
        .. code-block:: python

            control.handle("recheck", lambda data: end_streams(data["topic"]), {"topic"})
            await control.tell("recheck", {"topic": "news"})

            control.reply("streams", lambda data: len(connections))
            asked = await control.ask("streams", deadline=1.0)
            total = sum(asked.answers.values())
    """

    def __init__(self, broker: Broker, errors: ErrorLog) -> None:
        self.processes = Processes(broker)
        self._broker = broker
        self._errors = errors
        self._handlers: dict[str, tuple[Handler, Set[str]]] = {}
        self._replies: dict[str, Callable[[Any], object]] = {}
        self._lost: list[Callable[[], None]] = []
        self._asked: dict[str, _Asked] = {}
        self._unsent: set[asyncio.Task[None]] = set()
        self._once = OnceLog()
        self.handle(ASK, self._take_question, {"id", "question", "data"})
        self.handle(ANSWER, self._take_answer, {"id", "process", "answer", "fault"})

    # -- what this process does with messages and questions ----------------------------------------

    def handle(self, name: str, handler: Handler, keys: Set[str]) -> None:
        """Call a function whenever a process, this one too, tells something of this name.

        Args:
            name: Letters; what :meth:`tell` is called with.
            handler: Called with the data. What it raises is logged.
            keys: Of the data. Others are left out, for a newer release may have added them.
        """
        self._handlers[name] = handler, keys

    def handle_loss(self, function: Callable[[], None]) -> None:
        """Call a function when this process may have missed for good what it was told."""
        self._lost.append(function)

    def reply(self, question: str, function: Callable[[Any], object]) -> None:
        """Answer a question by what a function returns.

        Args:
            question: What :meth:`ask` is called with.
            function: Called with the question's data; returns what JSON can say, in at most
                ``MAX_CHARS`` characters, without waiting for anything.
        """
        self._replies[question] = function

    # -- telling and asking ------------------------------------------------------------------------

    async def tell(self, name: str, data: Mapping[str, object]) -> None:
        """Tell every process something, also those that are cut off now and come back soon.

        Args:
            name: Which handlers are called; see :meth:`handle`.
            data: What JSON can say.

        Raises:
            BrokerUnavailable: If it was not, or may not have been, told.
        """
        await self._send(name, json.dumps(data), CONTROL_HISTORY)

    async def ask(self, question: str, data: object = None, *, deadline: float) -> Answers:
        """Ask every process something, this one too.

        Args:
            question: See :meth:`reply`.
            data: What JSON can say, in at most ``MAX_CHARS`` characters.
            deadline: Seconds after which no further answer is waited for.

        Returns:
            The answers, and the processes that were live when the question was asked and have
            not answered; sooner than the deadline if all have.

        Raises:
            BrokerUnavailable: If the question was not, or may not have been, asked.
            SetupError: If this process serves nothing, and so hears no answer.
            ValueError: If the data are too long.

        Example:
            ``(await control.ask("streams", deadline=1.0)).silent``
        """
        own = self.processes.own
        if own is None:
            raise SetupError(
                "A process that serves nothing hears no answers. Ask within a process that serves."
            )
        id = secrets.token_hex(8)
        text = json.dumps({"id": id, "question": question, "data": data})
        if len(text) > MAX_CHARS:
            raise ValueError(
                f"The question {question!r} has {len(text)} characters with its data. Ask with "
                f"at most {MAX_CHARS}."
            )
        asked = self._asked[id] = _Asked({own.id})
        live = [own]
        is_sent = False
        try:
            async with asyncio.timeout(deadline):
                live = await self.processes.live()
                asked.expected.update(process.id for process in live)
                await self._send(ASK, text, _NOT_KEPT)
                is_sent = True
                await asked.is_answered.wait()
        except TimeoutError:
            if not is_sent:
                raise BrokerUnavailable(
                    f"The broker did not take the question {question!r} within {deadline:g} s."
                ) from None
        finally:
            del self._asked[id]
        silent = {process.id: process for process in (own, *live) if process.id in asked.expected}
        return Answers(asked.answers, asked.faults, tuple(silent.values()))

    async def _send(self, name: str, text: str, keep: Keep) -> None:
        await self._broker.publish(Message(Kind.CONTROL, ZERO, "", name, text), keep)

    # -- what comes from the broker ----------------------------------------------------------------

    def take(self, name: str, text: str) -> None:
        """Take a control message; one that cannot be read is logged and skipped.

        It raises nothing: what is kept would come again with each catching up, and keep this
        process from it for good.
        """
        if name not in self._handlers:
            self._once.warn(
                name,
                "Another release of the app sent the control message %r, unknown here; skipped. "
                "This is said once.",
                name,
            )
            return
        handler, keys = self._handlers[name]
        try:
            handler(self._known(name, json.loads(text), keys))
        except Exception as error:
            self._errors.log(
                f"reading of control messages {name!r}",
                error,
                "The control message %r cannot be read; skipped.",
                name,
            )

    def _known(self, name: str, told: Any, keys: Set[str]) -> Mapping[str, Any]:
        """Return what this release knows of a message's data."""
        if not isinstance(told, dict):
            raise TypeError("The data of a control message are no object.")
        for key in told.keys() - keys:
            self._once.warn(
                f"{name}.{key}",
                "Another release of the app sent %r in the control message %r, unknown here; "
                "left out. This is said once.",
                key,
                name,
            )
        return {key: told[key] for key in keys & told.keys()}

    def lose(self) -> None:
        """Note that this process may have missed for good what it was told."""
        for function in self._lost:
            function()

    def _take_question(self, told: Mapping[str, Any]) -> None:
        own = self.processes.own
        if own is None or len(self._unsent) >= MAX_UNSENT:
            return  # who asks will say that this process is silent
        text = json.dumps({"id": told["id"], "process": own.id, **self._answer(told)})
        task = asyncio.get_running_loop().create_task(self._send_answer(text))
        self._unsent.add(task)
        task.add_done_callback(self._unsent.discard)

    def _answer(self, told: Mapping[str, Any]) -> Mapping[str, object]:
        question: str = told["question"]
        function = self._replies.get(question)
        if function is None:
            return {"fault": "unknown"}
        try:
            answer = function(told.get("data"))
            is_long = len(json.dumps(answer)) > MAX_CHARS
        except Exception as error:
            self._errors.log(
                f"answer to {question!r}", error, "The question %r has no answer here.", question
            )
            return {"fault": "failed"}
        return {"fault": "too-long"} if is_long else {"answer": answer}

    async def _send_answer(self, text: str) -> None:
        try:
            await self._send(ANSWER, text, _NOT_KEPT)
        except BrokerUnavailable as error:
            logger.debug("The broker was away when a question was answered: %s", error)

    def _take_answer(self, told: Mapping[str, Any]) -> None:
        asked = self._asked.get(told["id"])
        process: str = told["process"]
        if asked is None or len(asked.answers) + len(asked.faults) >= MAX_ANSWERS:
            return
        if "answer" in told:
            asked.answers[process] = told["answer"]
        else:
            asked.faults[process] = str(told.get("fault", "unknown"))
        asked.expected.discard(process)
        if not asked.expected:
            asked.is_answered.set()

    # -- life --------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Answer from now on: this process begins to serve."""
        self.processes.begin()

    async def end(self) -> None:
        """Leave the list of processes, and answer no longer."""
        for task in list(self._unsent):
            task.cancel()
        await asyncio.gather(*self._unsent, return_exceptions=True)
        await self.processes.end()
