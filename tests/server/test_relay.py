"""The receive and send of one request, in one object."""

import asyncio
import sys
from typing import Any

import pytest
from quart import Quart, request

from quart_sse import SSE
from quart_sse.host import KEY
from quart_sse.server.relay import Relay

START = {"type": "http.response.start", "status": 200, "headers": []}
BODY = {"type": "http.response.body", "body": b"x", "more_body": True}


def relay_of(sent: list[Any], sender: Any = None) -> Relay:
    """Return the relay of a request whose client sends nothing."""

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    return Relay({"http_version": "1.1", "method": "GET"}, receive, send, None, sender)


async def test_replaced_answer_sends_nothing_more() -> None:
    """The messages of the answer that was replaced are dropped."""
    sent: list[Any] = []
    relay = relay_of(sent)

    async def replace(message: Any, send: Any) -> bool:
        assert message is START
        await send("other")
        return True

    relay.replace = replace
    await relay.send(START)
    await relay.send(BODY)

    assert sent == ["other"]


async def test_answer_that_stays_is_sent_as_it_is() -> None:
    """Each message goes on, as the same object."""
    sent: list[Any] = []
    relay = relay_of(sent)

    async def stay(message: Any, send: Any) -> bool:
        return False

    relay.replace = stay
    await relay.send(START)
    await relay.send(BODY)

    assert [id(message) for message in sent] == [id(START), id(BODY)]


async def test_kick_ends_a_receive_and_all_that_come() -> None:
    """The task that waits is not cancelled by it; another cancellation is one."""
    relay = relay_of([])
    task = asyncio.create_task(relay.receive())
    await asyncio.sleep(0)
    assert not relay.kick()

    assert await task == {"type": "http.disconnect"}
    assert await relay.receive() == {"type": "http.disconnect"}
    other = relay_of([])
    cancelled = asyncio.create_task(other.receive())
    await asyncio.sleep(0)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled


@pytest.mark.parametrize(
    "headers", [[(b"Content-Length", b"9")], [(b"transfer-encoding", b"gzip, chunked")]]
)
async def test_answer_with_a_length_has_no_outlet(
    headers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor has one that another coroutine has begun than the one that asks."""
    asked: list[Any] = []

    def find(scope: Any, send: Any, is_direct: bool) -> Any:
        asked.append(send)
        return "it"

    monkeypatch.setattr("quart_sse.server.relay.find_outlet", find)

    async def usual(relay: Relay, message: Any) -> Any:
        await relay.send(message)
        return relay.find_outlet(sys._getframe())

    code = usual.__code__
    assert await usual(relay_of([], code), {**START, "headers": headers}) is None
    assert await usual(relay_of([], code), START) == "it"
    assert await usual(relay_of([], None), START) is None
    begun = relay_of([], code)
    await usual(begun, START)
    assert begun.find_outlet(sys._getframe()) is None
    assert len(asked) == 2


async def test_request_that_is_over_holds_nothing_of_the_server(app: Quart, sse: SSE) -> None:
    """Its scope does not lead back to itself, or a socket would stay until garbage is collected."""
    exchanges: list[Any] = []

    @app.get("/own")
    async def own() -> str:
        exchanges.append(request.scope[KEY])  # type: ignore[literal-required]
        assert exchanges[0].kick is not None
        return "own"

    answer = await app.test_client().get("/own")

    assert await answer.get_data(as_text=True) == "own"
    assert exchanges[0].kick is None
    assert exchanges[0].find_outlet is None
