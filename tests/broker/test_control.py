"""What processes tell and ask each other, by each broker."""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from quart_sse.broker import CONTROL_HISTORY, Keep, Message, Start
from quart_sse.broker import control as control_module
from quart_sse.broker.control import ANSWER, ASK, Control
from quart_sse.broker.memory import MemoryBroker
from quart_sse.broker.processes import PROCESSES
from quart_sse.error_log import ErrorLog
from quart_sse.errors import BrokerUnavailable, SetupError
from tests.support.control import Process
from tests.support.redis_server import RedisServer
from tests.support.streams import until

#: A deadline that no test waits for, and one that the tests of it do.
FAR, NEAR = 60.0, 0.3


Boot = Callable[[], AbstractAsyncContextManager[Process]]


class HeldBroker:
    """Holds what a process publishes until it may be sent, and takes it then."""

    def __init__(self, process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
        self.may_send = asyncio.Event()
        self.sent: list[dict[str, Any]] = []
        self.on_way = self.most_on_way = 0
        monkeypatch.setattr(process.broker, "publish", self._publish)

    async def _publish(self, message: Message, _: Keep) -> None:
        self.on_way += 1
        self.most_on_way = max(self.most_on_way, self.on_way)
        try:
            await self.may_send.wait()
            self.sent.append(json.loads(message.data or ""))
        finally:
            self.on_way -= 1


def question(number: int, name: str = "double") -> str:
    """Return the text of a question."""
    return json.dumps({"id": str(number), "question": name, "data": number})


# -- telling ---------------------------------------------------------------------------------------


async def test_what_is_told_reaches_the_process_that_tells_it(process: Process) -> None:
    """The teller is one of all processes."""
    await process.control.tell("news", {"number": 7})
    await until(lambda: process.told)

    assert process.told == [{"number": 7}]


async def test_what_is_told_reaches_every_process(two: tuple[Process, Process]) -> None:
    """Each process is told, in the order of telling."""
    one, other = two
    for number in range(3):
        await (one, other)[number % 2].control.tell("news", {"number": number})
    await until(lambda: len(one.told) == len(other.told) == 3)

    assert one.told == other.told == [{"number": number} for number in range(3)]


async def test_what_is_told_is_kept_for_processes_that_are_cut_off(process: Process) -> None:
    """What was told is in the replay that a process asks for; questions and answers are not."""
    before = await process.broker.position()
    await process.control.tell("news", {"number": 7})
    await process.control.ask("double", 4, deadline=FAR)
    replay = await process.broker.resume({"": Start(before, frozenset(), CONTROL_HISTORY)})

    assert [(event.name, event.data) for event in replay.events] == [("news", '{"number": 7}')]


async def test_what_another_release_tells_is_skipped_and_said_once(
    process: Process, caplog: pytest.LogCaptureFixture
) -> None:
    """A name and a key that are unknown here are one warning each, not one for each message."""
    for number in range(3):
        await process.control.tell("dance", {"to": "music"})
        await process.control.tell("news", {"number": number, "colour": "red"})
    await until(lambda: len(process.told) == 3)

    assert process.told == [{"number": number} for number in range(3)]
    warnings = [record.getMessage() for record in caplog.records]
    assert [("'dance'" in text, "'colour'" in text) for text in warnings] == [
        (True, False),
        (False, True),
    ]
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("text", ["no JSON", "[]", "7", "null", '"number"', "[" * 100_000])
@pytest.mark.parametrize("name", ["news", ASK, ANSWER])
async def test_message_that_cannot_be_read_is_skipped(
    process: Process, name: str, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What follows it arrives, and the log has it once."""
    await process.send(name, text)
    await process.send(name, text)
    await process.control.tell("news", {"number": 7})
    await until(lambda: process.told)

    assert process.told == [{"number": 7}]
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert name in caplog.text


@pytest.mark.parametrize(
    "told", [{}, {"id": 7}, {"id": []}, {"id": "x", "question": {}}, {"id": "x", "process": "y"}]
)
@pytest.mark.parametrize("name", [ASK, ANSWER])
async def test_question_or_answer_without_its_parts_hurts_nothing(
    process: Process, name: str, told: object
) -> None:
    """A process goes on to ask and to answer."""
    await process.send(name, json.dumps(told))

    assert (await process.control.ask("double", 4, deadline=FAR)).answers == {process.id: 8}


async def test_handler_that_raises_is_logged_and_others_go_on(
    process: Process, caplog: pytest.LogCaptureFixture
) -> None:
    """An error of a handler keeps the process neither from what follows nor from catching up."""

    def fail(told: Mapping[str, Any]) -> None:
        raise RuntimeError("no such thing")

    process.control.handle("fails", fail, set())
    await process.control.tell("fails", {})
    await process.control.tell("news", {"number": 7})
    await until(lambda: process.told)

    assert "no such thing" in caplog.text


# -- asking ----------------------------------------------------------------------------------------


async def test_process_answers_itself(process: Process) -> None:
    """The one who asks is one of all processes."""
    asked = await process.control.ask("double", 4, deadline=FAR)

    assert (asked.answers, asked.faults, asked.silent) == ({process.id: 8}, {}, ())


async def test_every_process_answers(two: tuple[Process, Process]) -> None:
    """The answers are there as soon as all live processes have answered."""
    one, other = two
    asked = await one.control.ask("double", 4, deadline=FAR)

    assert asked.answers == {one.id: 8, other.id: 8}
    assert asked.silent == ()


async def test_one_process_is_asked(two: tuple[Process, Process]) -> None:
    """The others do not answer, and are not waited for; nor is one that is not listed named."""
    one, other = two
    asked = await one.control.ask("double", 21, deadline=5.0, to=other.id)
    assert (asked.answers, asked.faults, asked.silent) == ({other.id: 42}, {}, ())
    asked = await one.control.ask("double", 21, deadline=5.0, to=one.id)
    assert asked.answers == {one.id: 42}

    nobody = await one.control.ask("double", 21, deadline=0.2, to="f" * 16)
    assert (nobody.answers, nobody.faults, nobody.silent) == ({}, {}, ())
    other.is_deaf = True
    silent = await one.control.ask("double", 21, deadline=0.2, to=other.id)
    assert [process.id for process in silent.silent] == [other.id]


async def test_questions_asked_at_once_have_their_own_answers(two: tuple[Process, Process]) -> None:
    """Answers are told apart by the random id of their question."""
    one, other = two
    questions = [(process, number) for number in range(20) for process in two]
    asked = await asyncio.gather(
        *(process.control.ask("double", number, deadline=FAR) for process, number in questions)
    )

    for (_, number), answers in zip(questions, asked, strict=True):
        assert answers.answers == {one.id: 2 * number, other.id: 2 * number}


@pytest.mark.parametrize(
    ("question", "fault"), [("riddle", "unknown"), ("fails", "failed"), ("long", "too-long")]
)
async def test_process_that_has_no_answer_says_why(
    two: tuple[Process, Process], question: str, fault: str
) -> None:
    """An unknown question, an error and a long answer are told at once, and are no silence."""
    one, other = two
    asked = await one.control.ask(question, deadline=FAR)

    assert (asked.answers, asked.silent) == ({}, ())
    assert asked.faults == {one.id: fault, other.id: fault}


async def test_live_process_that_does_not_answer_is_named(two: tuple[Process, Process]) -> None:
    """At the deadline the asker has the other answers, and who the silent process is."""
    one, other = two
    other.is_deaf = True
    asked = await one.control.ask("double", 4, deadline=NEAR)

    assert asked.answers == {one.id: 8}
    assert asked.silent == (other.control.processes.own,)


async def test_answers_to_no_question_of_the_process_are_dropped(process: Process) -> None:
    """Answers to other questions, and those that come late, change nothing."""
    forged = {"id": "other", "process": "other", "answer": "forged"}
    await process.send(ANSWER, json.dumps(forged))
    asked = await process.control.ask("double", 4, deadline=FAR)
    await process.send(ANSWER, json.dumps(forged))
    again = await process.control.ask("double", 5, deadline=FAR)

    assert asked.answers == {process.id: 8}
    assert again.answers == {process.id: 10}
    assert not process.control._asked


async def test_answers_are_bounded(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more answers than there may be the rest is dropped."""
    monkeypatch.setattr(control_module, "MAX_ANSWERS", 3)
    process.is_deaf = True
    question = asyncio.create_task(process.control.ask("double", 4, deadline=NEAR))
    await until(lambda: process.control._asked)
    (id,) = process.control._asked
    for number in range(10):
        told = {"id": id, "process": f"p{number}", "answer": number}
        process.control.take(ANSWER, json.dumps(told))

    assert len((await question).answers) == 3


async def test_answers_wait_until_they_are_sent(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crowd of questions is answered, with few answers on their way at once."""
    broker = HeldBroker(process, monkeypatch)
    for number in range(500):
        process.control.take(ASK, question(number))
    await until(lambda: broker.on_way == control_module.MAX_SENDING)
    assert len(process.control._unsent) == 500 - control_module.MAX_SENDING
    broker.may_send.set()
    await until(lambda: not process.control._senders)

    assert sorted(broker.sent, key=lambda told: int(told["id"])) == [
        {"id": str(number), "process": process.id, "answer": 2 * number} for number in range(500)
    ]
    assert broker.most_on_way == control_module.MAX_SENDING
    assert process.control._unsent_chars == 0


@pytest.mark.parametrize(
    "bound",
    [{"MAX_UNSENT": 3}, {"MAX_UNSENT_CHARS": 170}],  # each has about 60 characters
    ids=["number", "characters"],
)
async def test_questions_beyond_the_bound_of_answers_are_refused(
    process: Process,
    bound: Mapping[str, int],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """They are answered "busy" and nothing is done; far beyond it they have no answer."""
    for name, value in bound.items():
        monkeypatch.setattr(control_module, name, value)
    broker = HeldBroker(process, monkeypatch)
    looked_at: list[int] = []
    process.control.reply("note", looked_at.append)
    for number in range(10, 30):
        process.control.take(ASK, question(number, "note"))
    broker.may_send.set()
    await until(lambda: not process.control._senders)

    assert looked_at == [10, 11, 12]
    assert [told.get("fault") for told in broker.sent] == [None] * 3 + ["busy"] * 3
    assert [told["id"] for told in broker.sent] == [str(number) for number in range(10, 16)]
    assert len(caplog.records) == 1
    assert "further questions are refused" in caplog.text

    process.control.take(ASK, question(30, "note"))
    await until(lambda: not process.control._senders)
    assert looked_at == [10, 11, 12, 30]


async def test_answers_that_wait_end_with_the_process(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither they nor those on their way are sent any more."""
    broker = HeldBroker(process, monkeypatch)
    for number in range(100):
        process.control.take(ASK, question(number))
    await until(lambda: broker.on_way)
    await process.control.end()

    assert not process.control._unsent
    assert not process.control._senders
    assert broker.sent == []


async def test_process_that_has_too_many_answers_to_send_says_so(
    two: tuple[Process, Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The asker need not wait for its deadline."""
    one, other = two
    monkeypatch.setattr(other.control, "_is_full", lambda times: times == 1)
    asked = await one.control.ask("double", 4, deadline=FAR)

    assert (asked.answers, asked.faults) == ({one.id: 8}, {other.id: "busy"})
    assert asked.silent == ()


# -- asking much -----------------------------------------------------------------------------------


async def test_crowd_of_questions_is_answered(two: tuple[Process, Process]) -> None:
    """Those beyond what is asked at once wait for their turn."""
    one, other = two
    asked = await asyncio.gather(
        *(one.control.ask("double", n, deadline=20.0, to=other.id) for n in range(1000))
    )

    assert [each.answers for each in asked] == [{other.id: 2 * n} for n in range(1000)]
    assert not one.control._turns


async def test_questions_under_way_are_bounded(
    two: tuple[Process, Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that has no turn in time was not sent; questions to others have turns of their own."""
    monkeypatch.setattr(control_module, "MAX_ASKING", 2)
    one, other = two
    heard: list[int] = []

    def hear(told: Mapping[str, Any]) -> None:
        if told.get("to") == other.id:
            heard.append(told["data"])

    other.control.handle(ASK, hear, {"id", "question", "data", "to"})
    silent = [
        asyncio.create_task(one.control.ask("double", number, deadline=FAR, to=other.id))
        for number in range(2)
    ]
    await until(lambda: len(heard) == 2)
    late = await asyncio.gather(
        *(one.control.ask("double", n, deadline=NEAR, to=other.id) for n in range(2, 5)),
        return_exceptions=True,
    )

    for error in late:
        assert isinstance(error, BrokerUnavailable)
        assert "had no turn within 0.3 s. It was not sent." in str(error)
        assert not error.maybe_published
    assert (await one.control.ask("double", 4, deadline=FAR, to=one.id)).answers == {one.id: 8}
    assert (await one.control.ask("double", 4, deadline=NEAR)).answers == {one.id: 8}
    for task in silent:
        task.cancel()
    await asyncio.gather(*silent, return_exceptions=True)
    assert sorted(heard) == [0, 1]
    assert not one.control._asked


async def test_process_that_is_not_on_the_list_is_waited_for_less(
    two: tuple[Process, Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has most likely gone, so that those who ask it do not wait for each other either."""
    monkeypatch.setattr(control_module, "MAX_ASKING", 1)
    loop = asyncio.get_running_loop()
    begun_at = loop.time()
    asked = await asyncio.gather(
        *(two[0].control.ask("double", 4, deadline=8.0, to="f" * 16) for _ in range(5))
    )

    assert 2.0 <= loop.time() - begun_at < 4.0
    assert [(each.answers, each.faults, each.silent) for each in asked] == [({}, {}, ())] * 5


async def test_process_that_is_not_on_the_list_is_asked(two: tuple[Process, Process]) -> None:
    """It may have begun just now, or the list may be lost."""
    one, other = two
    await one.broker.exit({PROCESSES: [other.id]})
    assert other.id not in {process.id for process in await one.control.processes.live()}

    assert (await one.control.ask("double", 4, deadline=FAR, to=other.id)).answers == {other.id: 8}


async def test_question_that_is_too_long_is_an_error(process: Process) -> None:
    """The error names the question and the bound."""
    with pytest.raises(ValueError, match=r"'double' has .* at most 65536"):
        await process.control.ask("double", "x" * control_module.MAX_CHARS, deadline=FAR)


async def test_process_that_serves_nothing_cannot_ask() -> None:
    """It would hear no answer, so that is an error with its remedy."""
    control = Control(MemoryBroker(), ErrorLog())

    with pytest.raises(SetupError, match="Ask within a process that serves"):
        await control.ask("double", 4, deadline=FAR)


async def test_question_that_the_broker_does_not_take_is_an_error(
    redis: RedisServer, two: tuple[Process, Process]
) -> None:
    """A Redis that hangs is noticed at the deadline, and not taken for silent processes."""
    redis.freeze()
    try:
        with pytest.raises(BrokerUnavailable):
            await two[0].control.ask("double", 4, deadline=NEAR)
    finally:
        redis.thaw()


async def test_question_that_the_broker_does_not_confirm_may_have_been_sent(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the list of live processes was asked for before it."""
    HeldBroker(process, monkeypatch)

    with pytest.raises(BrokerUnavailable, match="may have been sent") as raised:
        await process.control.ask("double", 4, deadline=NEAR)
    assert raised.value.maybe_published


async def test_answer_while_the_broker_is_away_is_no_error(
    redis: RedisServer, two: tuple[Process, Process], caplog: pytest.LogCaptureFixture
) -> None:
    """A process that cannot answer is silent, and says so at level debug alone."""
    caplog.set_level(logging.DEBUG, "quart_sse")
    await redis.kill()
    two[0].control.take(ASK, json.dumps({"id": "x", "question": "double", "data": 1}))
    await until(lambda: not two[0].control._senders)

    assert "when a question was answered" in caplog.text
    assert "Traceback" not in caplog.text
