"""What processes tell and ask each other, by each broker."""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from quart_sse.broker import CONTROL_HISTORY, Start
from quart_sse.broker import control as control_module
from quart_sse.broker.control import ANSWER, ASK, Control
from quart_sse.broker.memory import MemoryBroker
from quart_sse.error_log import ErrorLog
from quart_sse.errors import BrokerUnavailable, SetupError
from tests.support.control import Process
from tests.support.redis_server import RedisServer
from tests.support.streams import until

#: A deadline that no test waits for, and one that the tests of it do.
FAR, NEAR = 60.0, 0.3


Boot = Callable[[], AbstractAsyncContextManager[Process]]


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


async def test_questions_under_way_are_bounded(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that has more answers to send than it may leaves further questions unanswered."""
    monkeypatch.setattr(control_module, "MAX_UNSENT", 3)
    for number in range(10):
        process.control.take(ASK, json.dumps({"id": str(number), "question": "double", "data": 1}))

    assert len(process.control._unsent) == 3
    await process.control.end()
    assert not process.control._unsent


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


async def test_answer_while_the_broker_is_away_is_no_error(
    redis: RedisServer, two: tuple[Process, Process], caplog: pytest.LogCaptureFixture
) -> None:
    """A process that cannot answer is silent, and says so at level debug alone."""
    caplog.set_level(logging.DEBUG, "quart_sse")
    await redis.kill()
    two[0].control.take(ASK, json.dumps({"id": "x", "question": "double", "data": 1}))
    await until(lambda: not two[0].control._unsent)

    assert "when a question was answered" in caplog.text
    assert "Traceback" not in caplog.text
