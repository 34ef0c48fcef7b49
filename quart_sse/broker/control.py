"""Tell every process something, and ask every process something.

Both are messages without a topic (``Kind.CONTROL``), which every process receives. The broker
keeps the messages of ``tell``, for processes that are disconnected at the time. It does not keep
questions and answers, because a question has timed out by the time that such a process could read
it.
"""

import asyncio
import json
import logging
import secrets
from collections import deque
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakValueDictionary

from ..error_log import ErrorLog, OnceLog
from ..errors import BrokerUnavailable, SetupError
from ..logs import LogLine
from ..wire import ZERO
from .base import Broker
from .messages import CONTROL_HISTORY, Keep, Kind, Message
from .processes import Process, Processes

CONTROL_UNKNOWN = LogLine(
    "broker",
    "control-unknown",
    logging.WARNING,
    "Another release of the app sent the control message %(message)r, unknown here; skipped. This "
    "is logged once.",
    message=str,
)
CONTROL_KEY_UNKNOWN = LogLine(
    "broker",
    "control-key-unknown",
    logging.WARNING,
    "Another release of the app sent %(key)r in the control message %(message)r, unknown here; "
    "left out. This is logged once.",
    key=str,
    message=str,
)
CONTROL_UNREADABLE = LogLine(
    "broker",
    "control-unreadable",
    logging.ERROR,
    "The control message %(message)r cannot be read; skipped.",
    message=str,
)
ANSWERS_WAIT = LogLine(
    "broker",
    "answers-wait",
    logging.WARNING,
    "%(answers)d answers with %(characters)d characters to other processes wait to be sent, so "
    "further questions are refused; those processes see an error. They ask more than the broker "
    "takes: see whether it is slow, or send to fewer connections at once. This is logged once.",
    answers=int,
    characters=int,
)
ANSWER_FAILED = LogLine(
    "broker",
    "answer-failed",
    logging.ERROR,
    "The question %(question)r has no answer here.",
    question=str,
)
ANSWER_LOST = LogLine(
    "broker",
    "answer-lost",
    logging.DEBUG,
    "The broker was away when a question was answered: %(why)s",
    why=str,
)
ANSWER_UNSENT = LogLine(
    "broker",
    "answer-unsent",
    logging.ERROR,
    "An answer to another process was not sent.",
)

#: Names of the messages that ask and answer.
ASK, ANSWER = "ask", "answer"
#: Name of the message that closes topics.
CLOSE = "close"
#: Longest question or answer, in characters of JSON.
MAX_CHARS = 65_536
#: Most answers that are taken to one question.
MAX_ANSWERS = 1000
#: Most answers of this process that wait to be sent, and their characters of JSON. Further
#: questions are answered "busy", and those beyond twice as many not at all.
MAX_UNSENT, MAX_UNSENT_CHARS = 2000, 4 * 2**20
#: Number of answers that are sent at the same time.
MAX_SENDING = 16
#: Number of questions of this process to one other, or to all, that are under way at the same time.
#: Further ones wait for a turn, within their deadlines. For each process of its own, so that one
#: that is silent keeps no question to another one waiting.
MAX_ASKING = 64
#: Part of the deadline in which a process must answer that is not on the list of live ones. It has
#: most likely gone, and whoever asks it would always wait for the whole deadline. But it may have
#: begun just now, or Redis may have lost the list, so it is asked.
UNLISTED = 1 / 4
_NOT_KEPT = Keep(events=0, ttl=0)

#: What a question waits for until it is sent, as the error says it.
_WAIT = (
    "{most} earlier questions of this process wait for answers, and the question {question!r} had "
    "no turn within {deadline:g} s. It was not sent. Ask less at once."
)
_LIST = (
    "The broker did not tell the live processes within {deadline:g} s, so the question "
    "{question!r} was not sent."
)
_SEND = (
    "The broker did not confirm the question {question!r} within {deadline:g} s. It may have been "
    "sent."
)

Handler = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers to a question."""

    answers: Mapping[str, Any]  #: process id -> its answer
    #: process id -> why it has no answer: "unknown" (another release asks), "failed", "too-long",
    #: "busy" (it did nothing, because too many of its answers wait to be sent)
    faults: Mapping[str, str]
    silent: tuple[Process, ...]  #: live processes that did not answer in time


@dataclass(slots=True)
class _Asked:
    """A question of this process that waits for answers."""

    expected: set[str]  #: ids of processes that have not answered yet
    is_answered: asyncio.Event = field(default_factory=asyncio.Event)
    answers: dict[str, Any] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)


class Control:
    """Tells and asks all processes of an app.

    Args:
        broker: Carries the messages.
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
        self.processes: Processes = Processes(broker)
        self._broker = broker
        self._errors = errors
        self._handlers: dict[str, tuple[Handler, Set[str]]] = {}
        self._replies: dict[str, Callable[[Any], object]] = {}
        self._lost: list[Callable[[], None]] = []
        self._asked: dict[str, _Asked] = {}
        # To whom -> the turns of questions; only while there are any.
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._unsent: deque[str] = deque()
        self._unsent_chars = 0
        self._senders: set[asyncio.Task[None]] = set()
        self._once = OnceLog()
        self.handle(ASK, self._take_question, {"id", "question", "data", "to"})
        self.handle(ANSWER, self._take_answer, {"id", "process", "answer", "fault"})

    # -- declaring what this process does ----------------------------------------------------------

    def handle(self, name: str, handler: Handler, keys: Set[str]) -> None:
        """Call a function for each message of a name, from any process, this one included.

        Args:
            name: The name that :meth:`tell` takes, of letters.
            handler: Called with the data. Exceptions are logged.
            keys: Keys of the data that the handler takes. Others are left out, because a newer
                release may have added them.
        """
        self._handlers[name] = handler, keys

    def handle_loss(self, function: Callable[[], None]) -> None:
        """Call a function when this process may have lost control messages for good."""
        self._lost.append(function)

    def reply(self, question: str, function: Callable[[Any], object]) -> None:
        """Answer a question with what a function returns.

        Args:
            question: The name that :meth:`ask` takes.
            function: Called with the question's data. Returns something for JSON, of at most
                ``MAX_CHARS`` characters, without awaiting or blocking.
        """
        self._replies[question] = function

    # -- telling and asking ------------------------------------------------------------------------

    async def tell(self, name: str, data: Mapping[str, object]) -> None:
        """Tell every process something, including those that reconnect soon.

        Args:
            name: The name of the handler to call; see :meth:`handle`.
            data: Something for JSON.

        Raises:
            BrokerUnavailable: If the message was not, or may not have been, sent.
        """
        await self._send(name, json.dumps(data), CONTROL_HISTORY)

    async def ask(
        self, question: str, data: object = None, *, deadline: float, to: str | None = None
    ) -> Answers:
        """Ask every process something, this one included, or one of them.

        Args:
            question: See :meth:`reply`.
            data: Something for JSON, of at most ``MAX_CHARS`` characters.
            deadline: How long to wait for answers, in seconds.
            to: Id of the one process that is asked; None for all.

        Returns:
            The answers, and the processes that were live when the question was asked and did
            not answer. Returns before the deadline once all have answered. One process that is not
            on the list of live ones is waited for during a part of it, ``UNLISTED``.

        Raises:
            BrokerUnavailable: If the question was not, or may not have been, sent. It was not, and
                ``maybe_published`` is false, if earlier questions left it no turn.
            SetupError: If this process serves nothing, and so receives no answers.
            ValueError: If the data are too long.

        Example:
            ``(await control.ask("streams", deadline=1.0)).silent``
        """
        own = self.processes.own
        if own is None:
            raise SetupError(
                "A process that serves nothing receives no answers. Ask within a process that "
                "serves."
            )
        id = secrets.token_hex(8)
        one = {} if to is None else {"to": to}
        text = json.dumps({"id": id, "question": question, "data": data, **one})
        if len(text) > MAX_CHARS:
            raise ValueError(
                f"The question {question!r} has {len(text)} characters with its data. Ask with "
                f"at most {MAX_CHARS}."
            )
        asked = self._asked[id] = _Asked({own.id if to is None else to})
        live = [own]
        step: str | None = _WAIT  # None once the question was sent
        try:
            async with asyncio.timeout(deadline):
                async with self._turns.setdefault(to or "", asyncio.Semaphore(MAX_ASKING)):
                    step = _LIST
                    live += await self.processes.live()
                    if to is None:
                        asked.expected.update(process.id for process in live)
                    is_listed = to is None or any(process.id == to for process in live)
                    step = _SEND
                    await self._send(ASK, text, _NOT_KEPT)
                    step = None
                    if is_listed:
                        await asked.is_answered.wait()
                # Without a turn: those who ask a process that has gone would wait for each other.
                async with asyncio.timeout(deadline * UNLISTED):
                    await asked.is_answered.wait()
        except TimeoutError:
            if step is not None:
                raise BrokerUnavailable(
                    step.format(question=question, deadline=deadline, most=MAX_ASKING),
                    maybe_published=step is _SEND,
                ) from None
        finally:
            del self._asked[id]
        silent = {process.id: process for process in live if process.id in asked.expected}
        return Answers(asked.answers, asked.faults, tuple(silent.values()))

    async def _send(self, name: str, text: str, keep: Keep) -> None:
        await self._broker.publish(Message(Kind.CONTROL, ZERO, "", name, text), keep)

    # -- messages from the broker ------------------------------------------------------------------

    def take(self, name: str, text: str) -> None:
        """Take a control message; one that cannot be read is logged and skipped.

        It raises nothing. A kept message arrives again with each catch-up, so an exception would
        keep this process from ever catching up.

        Args:
            name: The message's name.
            text: Its data, as JSON.
        """
        if name not in self._handlers:
            self._once.warn(name, CONTROL_UNKNOWN, message=name)
            return
        handler, keys = self._handlers[name]
        try:
            handler(self._known(name, json.loads(text), keys))
        except Exception as error:
            self._errors.log(
                f"reading of control messages {name!r}", error, CONTROL_UNREADABLE, message=name
            )

    def _known(self, name: str, told: Any, keys: Set[str]) -> Mapping[str, Any]:
        """Return those of a message's data that this release knows."""
        if not isinstance(told, dict):
            raise TypeError("The data of a control message are no object.")
        for key in told.keys() - keys:
            self._once.warn(f"{name}.{key}", CONTROL_KEY_UNKNOWN, key=key, message=name)
        return {key: told[key] for key in keys & told.keys()}

    def lose(self) -> None:
        """Call the functions of :meth:`handle_loss`: control messages may be lost for good."""
        for function in self._lost:
            function()

    def _take_question(self, told: Mapping[str, Any]) -> None:
        own = self.processes.own
        if own is None or told.get("to", own.id) != own.id:
            return
        head = {"id": told["id"], "process": own.id}
        if not self._is_full(1):
            self._send_later(json.dumps({**head, **self._answer(told)}))
            return
        self._once.warn(
            "busy", ANSWERS_WAIT, answers=len(self._unsent), characters=self._unsent_chars
        )
        if not self._is_full(2):  # else the asking process lists this one as silent
            self._send_later(json.dumps({**head, "fault": "busy"}))

    def _is_full(self, times: int) -> bool:
        """Whether so many times as many answers wait as may."""
        is_long = self._unsent_chars >= times * MAX_UNSENT_CHARS
        return is_long or len(self._unsent) >= times * MAX_UNSENT

    def _answer(self, told: Mapping[str, Any]) -> Mapping[str, object]:
        question: str = told["question"]
        function = self._replies.get(question)
        if function is None:
            return {"fault": "unknown"}
        try:
            answer = function(told.get("data"))
            is_long = len(json.dumps(answer)) > MAX_CHARS
        except Exception as error:
            self._errors.log(f"answer to {question!r}", error, ANSWER_FAILED, question=question)
            return {"fault": "failed"}
        return {"fault": "too-long"} if is_long else {"answer": answer}

    def _send_later(self, text: str) -> None:
        self._unsent.append(text)
        self._unsent_chars += len(text)
        if len(self._senders) < MAX_SENDING:
            task = asyncio.get_running_loop().create_task(self._send_answers())
            self._senders.add(task)
            task.add_done_callback(self._senders.discard)

    async def _send_answers(self) -> None:
        """Send the answers that wait, until there are none."""
        while self._unsent:
            text = self._unsent.popleft()
            self._unsent_chars -= len(text)
            try:
                await self._send(ANSWER, text, _NOT_KEPT)
            except BrokerUnavailable as error:
                ANSWER_LOST.log(why=str(error))
            except Exception as error:
                self._errors.log("sending of answers", error, ANSWER_UNSENT)

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
        """Answer from now on, because this process begins to serve."""
        self.processes.begin()

    def abandon(self) -> None:
        """Stop answering, in a loop that has ended."""
        self._forget_unsent()
        self._senders.clear()
        self._turns.clear()
        self.processes.own = None

    async def end(self) -> None:
        """Leave the list of processes, and stop answering."""
        self._forget_unsent()
        for task in list(self._senders):
            task.cancel()
        await asyncio.gather(*self._senders, return_exceptions=True)
        await self.processes.end()

    def _forget_unsent(self) -> None:
        self._unsent.clear()
        self._unsent_chars = 0
