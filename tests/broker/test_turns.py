"""Calls wait their turn: thousands at once all run, and none waits for a server that is silent."""

import asyncio
from pathlib import Path

import pytest

from quart_sse.broker import Keep
from quart_sse.broker.redis import RedisBroker
from quart_sse.broker.redis.turns import Turns
from quart_sse.errors import BrokerUnavailable
from tests.support.network import Wire
from tests.support.processes import event
from tests.support.redis_server import running_redis

KEEP = Keep(10, 60)


async def test_calls_run_in_the_order_in_which_they_came() -> None:
    """No more at a time than there may be."""
    turns, order, most, running = Turns(2, 1.0), list[int](), 0, 0

    async def call(number: int) -> None:
        nonlocal most, running
        async with turns:
            running += 1
            most = max(most, running)
            order.append(number)
            await asyncio.sleep(0)
            running -= 1

    await asyncio.gather(*map(call, range(20)))

    assert order == list(range(20))
    assert most == 2


async def test_turn_of_a_cancelled_call_goes_to_the_next() -> None:
    """Also if it was cancelled in the moment in which it became its turn."""
    turns, ran = Turns(1, 1.0), list[int]()

    async def call(number: int) -> None:
        async with turns:
            ran.append(number)

    async with turns:
        tasks = [asyncio.create_task(call(number)) for number in range(3)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        await asyncio.sleep(0)
    tasks[1].cancel()  # it has the turn, and has not run yet
    async with asyncio.timeout(5):
        await asyncio.wait(tasks)
        async with turns:
            ran.append(3)

    assert ran == [2, 3]


@pytest.mark.parametrize("has_answered", [False, True])
async def test_those_who_wait_give_up_when_no_call_is_answered(has_answered: bool) -> None:
    """One call that takes too long is no reason, if others are answered."""
    turns, may_end = Turns(1, 0.05), asyncio.Event()

    async def call() -> None:
        async with turns:
            await may_end.wait()

    tasks = [asyncio.create_task(call()) for _ in range(3)]
    await asyncio.sleep(0)
    if has_answered:
        turns.answered()
    turns.timed_out()
    may_end.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)

    lost = [isinstance(each, BrokerUnavailable) for each in outcomes]
    assert lost == [False, not has_answered, not has_answered]
    assert not any(getattr(each, "maybe_published", False) for each in outcomes)


async def test_publishes_that_wait_long_for_their_turn_all_arrive(tmp_path: Path) -> None:
    """The timeout of each counts from its turn."""
    timeout, way = 2.0, 0.1
    async with running_redis(tmp_path) as redis, Wire(redis.socket) as wire:
        wire.delay = way
        broker = RedisBroker(wire.url, timeout=timeout)
        began = asyncio.get_running_loop().time()
        ids = await asyncio.gather(
            *(broker.publish(event(str(number)), KEEP) for number in range(1000))
        )
        seconds = asyncio.get_running_loop().time() - began
        await broker.stop()

    assert len(set(ids)) == 1000
    assert seconds > 1.5 * timeout


async def test_frozen_server_lets_all_fail_together(tmp_path: Path) -> None:
    """A thousand calls do not wait one after the other."""
    async with running_redis(tmp_path) as redis:
        broker = RedisBroker(redis.url, timeout=0.5)
        await broker.publish(event("x"), KEEP)
        redis.freeze()
        began = asyncio.get_running_loop().time()
        outcomes = await asyncio.gather(
            *(broker.publish(event(str(number)), KEEP) for number in range(1000)),
            return_exceptions=True,
        )
        seconds = asyncio.get_running_loop().time() - began
        redis.thaw()
        await broker.stop()

    assert all(isinstance(each, BrokerUnavailable) for each in outcomes)
    assert sum(not getattr(each, "maybe_published", True) for each in outcomes) >= 900
    assert seconds < 3
