"""Questions of a process that serves nothing: answers, faults, silence."""

import asyncio
import json

import pytest

from quart_sse.broker import Answers, Process
from quart_sse.broker.redis import RedisBroker
from quart_sse.errors import BrokerUnavailable
from quart_sse.publisher.asking import ask, is_done
from tests.support import control
from tests.support.redis_server import RedisServer


async def test_one_process_or_all_answer(redis: RedisServer) -> None:
    """Returns as soon as the answers are complete; its connection is closed."""
    asking = RedisBroker(redis.url)
    async with (
        control.serving(RedisBroker(redis.url)) as one,
        control.serving(RedisBroker(redis.url)) as other,
    ):
        connections = await redis.ask("CLIENT", "LIST")
        async with asyncio.timeout(5):
            everyone = await ask(asking, "double", {"n": 1}, 60.0, None)
            single = await ask(asking, "long", {}, 60.0, other.id)
        after = await redis.ask("CLIENT", "LIST")
        ids = one.id, other.id

    assert everyone == Answers({}, dict.fromkeys(ids, "failed"), ())
    assert single == Answers({}, {ids[1]: "too-long"}, ())
    assert after.count("sub=1") == connections.count("sub=1") == 2
    await asking.stop()


async def test_silent_process_is_named_at_the_deadline(redis: RedisServer) -> None:
    """One that is not on the list is waited for during a part of it."""
    asking = RedisBroker(redis.url)
    async with control.serving(RedisBroker(redis.url)) as process:
        process.is_deaf = True
        asked = await ask(asking, "double", {}, 0.3, process.id)
        assert [each.id for each in asked.silent] == [process.id]
        async with asyncio.timeout(5):
            assert await ask(asking, "double", {}, 12.0, "f" * 16) == Answers({}, {}, ())
    assert await ask(asking, "double", {}, 60.0, None) == Answers({}, {}, ()), "there is none"
    await asking.stop()


async def test_answers_of_others_and_nonsense_are_skipped(redis: RedisServer) -> None:
    """The channel of all processes carries much else."""
    asking = RedisBroker(redis.url)
    async with control.serving(RedisBroker(redis.url)) as process:

        async def disturb() -> None:
            while True:
                for text in ("no JSON", "[]", json.dumps({"id": "x", "process": process.id})):
                    await process.send("answer", text)

        task = asyncio.create_task(disturb())
        async with asyncio.timeout(10):
            asked = await ask(asking, "unknown", {}, 60.0, process.id)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert asked == Answers({}, {process.id: "unknown"}, ())
    await asking.stop()


def test_answers_are_judged() -> None:
    """Done, not there, or not known."""
    silent = (Process("b", "web", 7),)

    assert is_done(Answers({"a": False, "b": True}, {"c": "failed"}, ()), 1.0) is True
    assert is_done(Answers({"a": False}, {}, ()), 1.0) is False
    with pytest.raises(BrokerUnavailable, match=r"within 1 s.*web \(pid 7\)") as raised:
        is_done(Answers({}, {}, silent), 1.0)
    assert raised.value.maybe_published is True
    with pytest.raises(BrokerUnavailable, match="Nothing was sent") as raised:
        is_done(Answers({}, {"a": "busy"}, ()), 1.0)
    assert raised.value.maybe_published is False
