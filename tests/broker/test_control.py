"""What processes tell and ask each other, by each broker."""

import asyncio
import json
import logging
import os
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from quart_sse.broker import CONTROL_HISTORY, Broker, Keep, Kind, Message, Start
from quart_sse.broker import control as control_module
from quart_sse.broker.control import ANSWER, ASK, Control
from quart_sse.broker.memory import MemoryBroker
from quart_sse.broker.processes import PROCESSES
from quart_sse.broker.redis import RedisBroker, commands
from quart_sse.error_log import ErrorLog
from quart_sse.errors import BrokerUnavailable, SetupError
from quart_sse.position import ZERO
from quart_sse.release import RELEASE
from tests.support.redis_server import RedisServer, running_redis
from tests.support.streams import until

#: A deadline that no test waits for, and one that the tests of it do.
FAR, NEAR = 60.0, 0.3
NOT_KEPT = Keep(events=0, ttl=0)


class Process:
    """A process that serves: its broker hands what comes to its control."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.control = Control(broker, ErrorLog())
        self.told: list[Mapping[str, Any]] = []
        self.is_deaf = False
        self.control.handle("news", self.told.append, {"number"})
        self.control.reply("double", lambda number: 2 * number)
        self.control.reply("long", lambda _: "x" * control_module.MAX_CHARS)
        self.control.reply("fails", lambda _: int("no number"))

    def receive(self, message: Message) -> None:
        """Take what the broker delivers."""
        if message.kind is Kind.CONTROL and not self.is_deaf:
            self.control.take(message.name or "", message.data or "")

    async def catch_up(self) -> None:
        """Begin with what comes next."""

    @property
    def id(self) -> str:
        """The process's id, while it serves."""
        own = self.control.processes.own
        assert own is not None
        return own.id

    async def send(self, name: str, text: str) -> None:
        """Publish a control message of any kind."""
        await self.broker.publish(Message(Kind.CONTROL, ZERO, "", name, text), NOT_KEPT)


Boot = Callable[[], AbstractAsyncContextManager[Process]]


@asynccontextmanager
async def serving(broker: Broker) -> AsyncIterator[Process]:
    """Let a process serve until the block ends."""
    process = Process(broker)
    process.control.begin()
    await broker.start(process)
    await process.control.processes.announce()
    try:
        yield process
    finally:
        await process.control.end()
        await broker.stop()


@asynccontextmanager
async def redis_server() -> AsyncIterator[RedisServer]:
    with tempfile.TemporaryDirectory() as directory:
        async with running_redis(Path(directory)) as server:
            yield server


@pytest.fixture
async def two(redis: RedisServer) -> AsyncIterator[tuple[Process, Process]]:
    """Two processes that share a Redis."""
    async with serving(RedisBroker(redis.url)) as one, serving(RedisBroker(redis.url)) as other:
        yield one, other


@pytest.fixture(params=["memory", "redis"])
async def process(request: pytest.FixtureRequest) -> AsyncIterator[Process]:
    """A process with a broker of each kind."""
    async with AsyncExitStack() as stack:
        broker: Broker = MemoryBroker()
        if request.param == "redis":
            server = await stack.enter_async_context(redis_server())
            broker = RedisBroker(server.url)
        yield await stack.enter_async_context(serving(broker))


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


# -- the list of processes -------------------------------------------------------------------------


async def test_process_is_listed_while_it_serves(process: Process) -> None:
    """The list has its id, machine, number and release, until it stops."""
    (listed,) = await process.control.processes.live()
    assert listed == process.control.processes.own
    assert (listed.host, listed.pid, listed.release) == (socket.gethostname(), os.getpid(), RELEASE)

    await process.control.end()
    assert await process.control.processes.live() == []


async def test_processes_list_each_other(two: tuple[Process, Process]) -> None:
    """Every process sees all of them."""
    one, other = two
    ids = {process.id for process in await one.control.processes.live()}

    assert ids == {one.id, other.id}
    assert await one.control.processes.live() == await other.control.processes.live()


async def test_id_is_made_when_a_process_begins_to_serve() -> None:
    """What is loaded once and forked, or serves again, has another id each time."""
    control = Control(MemoryBroker(), ErrorLog())
    assert control.processes.own is None
    await control.processes.announce()
    assert await control.processes.live() == [], "it serves nothing"
    ids = set[str]()
    for _ in range(2):
        control.begin()
        assert control.processes.own is not None
        ids.add(control.processes.own.id)
        await control.end()

    assert len(ids) == 2


async def test_killed_process_is_forgotten(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without word of it Redis forgets a process, and only that one."""
    monkeypatch.setattr(commands, "PRESENT_MS", 100)
    async with serving(RedisBroker(redis.url)) as one:
        dead = Control(RedisBroker(redis.url), ErrorLog())
        dead.begin()
        await dead.processes.announce()
        assert len(await one.control.processes.live()) == 2
        async with asyncio.timeout(5):
            while len(listed := await one.control.processes.live()) == 2:
                await one.control.processes.announce()

        assert listed == [one.control.processes.own]
        await dead._broker.stop()


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ('{"host": "a", "pid": 7, "release": "9.0", "since": 1}', "a"),
        ('{"host": "a"}', ""),
        ('{"host": "a", "pid": "x", "release": "9.0"}', ""),
        ("[]", ""),
        ("no JSON", ""),
    ],
)
async def test_process_of_another_release_is_listed(process: Process, text: str, host: str) -> None:
    """What it says of itself beyond what is known here is left out; its id stays."""
    await process.broker.enter(PROCESSES, {"other": text})
    (other,) = [each for each in await process.control.processes.live() if each.id == "other"]

    assert other.host == host
