"""The link that blocks: calls from threads, and a server that moves or closes connections."""

import asyncio
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from quart_sse.broker import Claim, Keep, Kind, Message, Shelf
from quart_sse.broker.redis import BlockingLink, RedisBroker, blocking
from quart_sse.errors import BrokerUnavailable
from quart_sse.publisher.steps import run
from quart_sse.wire import ZERO
from tests.support import control
from tests.support.processes import event, replicated
from tests.support.redis_server import RedisServer

KEEP = Keep(10, 60)


def blocking_broker(url: str, timeout: float = 1.0) -> RedisBroker:
    """Return a broker whose coroutines end in one step."""
    return RedisBroker(url, timeout=timeout, link=BlockingLink(url, timeout))


async def apart(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine to its end in a thread, in one step."""
    return await asyncio.to_thread(run, work)


async def test_calls_are_those_of_the_link_that_awaits(redis: RedisServer) -> None:
    """Scripts are loaded where they are missing, and answers read alike."""
    broker, other = blocking_broker(redis.url), RedisBroker(redis.url)
    await redis.ask("SCRIPT", "FLUSH")
    id = await apart(broker.publish(event("x"), KEEP))
    await apart(broker.enter({"t": {"a": "mira"}}))
    reference = await apart(broker.keep_text("long", 60, Claim(Shelf.OPEN, "a")))

    assert [(each.id, each.data) for each in await other.kept("t", 5)] == [(id, "x")]
    assert await apart(broker.kept("t", 5)) == await other.kept("t", 5)
    assert await other.present("t") == await apart(broker.present("t")) == {"a": "mira"}
    assert await other.kept_text(reference) == "long"
    await other.stop()
    run(broker.stop())


@pytest.mark.parametrize("option", ["protocol=3", "decode_responses=true", "db=1"])
async def test_options_of_the_url_that_would_break_reading_do_not(
    redis: RedisServer, option: str
) -> None:
    """Those of the library have no effect; a database is one."""
    broker = blocking_broker(f"{redis.url}?{option}")
    await apart(broker.publish(event("x"), KEEP))

    assert [each.data for each in await apart(broker.kept("t", 5))] == ["x"]
    keys = await redis.ask("INFO", "keyspace")
    assert ("db1" in keys) is (option == "db=1")
    run(broker.stop())


async def test_connection_that_was_closed_is_replaced_before_a_call(redis: RedisServer) -> None:
    """Nothing is sent over it, so nothing may have been published."""
    broker = blocking_broker(redis.url)
    for number in range(3):
        await apart(broker.publish(event(str(number)), KEEP))
        await redis.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    assert [each.data for each in await apart(broker.kept("t", 5))] == ["0", "1", "2"]
    run(broker.stop())


async def test_calls_beyond_the_bound_wait_for_a_turn(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And give up after the timeout, if none comes."""
    monkeypatch.setattr(blocking, "MAX_CALLS", 2)
    broker = blocking_broker(f"{redis.url}?client_name=bounded")
    calls = [apart(broker.publish(event(str(number)), KEEP)) for number in range(20)]
    await asyncio.gather(*calls)
    assert (await redis.ask("CLIENT", "LIST")).count("name=bounded") <= 2

    redis.freeze()
    late = blocking_broker(redis.url, timeout=0.3)
    taken = threading.Barrier(3)

    def hold() -> BrokerUnavailable:
        taken.wait(5)
        with pytest.raises(BrokerUnavailable) as raised:
            run(late.publish(event("x"), KEEP))
        return raised.value

    holding = [asyncio.to_thread(hold) for _ in range(3)]
    errors = await asyncio.gather(*holding)
    redis.thaw()
    assert any("under way" in str(error) for error in errors) or all(
        error.maybe_published or "Nothing" in str(error) for error in errors
    )
    for each in (broker, late):
        run(each.stop())


async def test_refusal_is_certain_and_names_its_reason(redis: RedisServer) -> None:
    """A full Redis, and a wrong kind of key."""
    broker = blocking_broker(redis.url)
    await apart(broker.publish(event("x"), KEEP))
    await redis.ask("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(BrokerUnavailable, match=r"Redis refused: .*maxmemory") as raised:
        await apart(broker.publish(event("y"), KEEP))
    await redis.ask("CONFIG", "SET", "maxmemory", "0")

    assert raised.value.maybe_published is False
    assert await apart(broker.publish(event("z"), KEEP))
    run(broker.stop())


async def test_address_that_moves_to_another_server_is_followed(tmp_path: Path) -> None:
    """A server that is a replica now is left: the next call asks the address again."""
    async with replicated(tmp_path) as (address, fail_over):
        broker = blocking_broker(f"redis://127.0.0.1:{address.port}")
        await apart(broker.publish(event("before"), KEEP))
        await fail_over()
        with pytest.raises(BrokerUnavailable, match="read only replica"):
            await apart(broker.publish(event("refused"), KEEP))

        assert await apart(broker.publish(event("after"), KEEP))
        run(broker.stop())


async def test_conversation_ends_with_its_answer_or_its_time(redis: RedisServer) -> None:
    """Over a connection of its own, which is closed."""
    broker = blocking_broker(redis.url)
    heard: list[Message] = []

    def take(message: Message) -> bool:
        heard.append(message)
        return message.name == "answer"

    question = Message(
        Kind.CONTROL, ZERO, "", "ask", '{"id": "x", "question": "double", "data": 2}'
    )
    async with control.serving(RedisBroker(redis.url)):
        await apart(broker.converse(question, take, 30.0))
        assert [message.name for message in heard] == ["ask", "answer"]
        assert (await redis.ask("CLIENT", "LIST")).count("sub=1") == 1
    heard.clear()
    await apart(broker.converse(question, take, 0.2))
    assert [message.name for message in heard] == ["ask"], "no process lives"
    run(broker.stop())
    away = blocking_broker("unix:///nowhere/redis.sock")
    with pytest.raises(BrokerUnavailable, match="Nothing was published"):
        run(away.converse(question, take, 1.0))


async def test_several_messages_are_published_in_their_order(redis: RedisServer) -> None:
    """A refusal after the first says that those before it were published."""
    broker = blocking_broker(redis.url)
    await apart(broker.publish_all([(event(str(number)), KEEP) for number in range(3)]))
    assert [each.data for each in await apart(broker.kept("t", 5))] == ["0", "1", "2"]

    await redis.ask("SET", "{sse:1}:events:other", "no history")
    messages = [(event("3"), KEEP), (event("4", "other"), KEEP)]
    await redis.ask("ACL", "SETUSER", "default", "-del")
    with pytest.raises(BrokerUnavailable) as raised:
        await apart(broker.publish_all(messages))
    await redis.ask("ACL", "SETUSER", "default", "+del")
    assert raised.value.maybe_published is True
    assert [each.data for each in await apart(broker.kept("t", 5))][-1] == "3"
    with pytest.raises(BrokerUnavailable) as raised:
        await apart(blocking_broker("unix:///nowhere").publish_all(messages))
    assert raised.value.maybe_published is False
    run(broker.stop())


async def test_subscription_is_refused(redis: RedisServer) -> None:
    """A program that blocks receives nothing."""
    with pytest.raises(RuntimeError, match="no subscription"):
        BlockingLink(redis.url, 1.0).subscription()
