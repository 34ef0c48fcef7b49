"""Sending: one connection is found in whichever process, by its id."""

import asyncio
import os

import pytest
from quart import Response

from quart_sse import BrokerUnavailable, EventError, ParameterError, SetupError
from quart_sse.broker import Process
from quart_sse.broker.control import Answers
from tests.support.sites import Site, heard
from tests.support.streams import open_stream, until


async def test_message_reaches_a_connection_of_another_process(sites: tuple[Site, Site]) -> None:
    """And what was sent says whether it was there."""
    here, there = sites
    async with there.view(1) as (stream, handle), here.view(1):
        assert handle not in here.sse.connections
        assert await here.sse.send(handle.id, "note", {"n": 1}) is True
        assert await there.sse.send(handle.id, "note", "42") is True
        assert await heard(stream, 2) == [
            ("connection.note", '{"n": 1}'),
            ("connection.note", "42"),
        ]
    await until(lambda: not there.sse.connections)

    assert await here.sse.send(handle.id, "note", "x") is False


async def test_connection_of_another_process_is_closed(sites: tuple[Site, Site]) -> None:
    """For good, or for a time."""
    here, there = sites
    async with there.view(1) as (one, first), there.view(1) as (other, second):
        assert await here.sse.close(first.id) is True
        assert await here.sse.close(second.id, retry=3) is True
        ends = (await one.rest())[-1], (await other.rest())[-1]

    assert [(end.event, end.data) for end in ends] == [
        ("sse-stop", "closed"),
        ("sse-holdoff", "paused"),
    ]
    assert ends[1].retry == 3000


async def test_id_of_the_apps_own_is_looked_for_everywhere(sites: tuple[Site, Site]) -> None:
    """It names no process."""
    here, there = sites

    @there.app.get("/ticker")
    async def ticker() -> Response:
        return await there.sse.stream(there.news.topic(), connection_id="order-7")

    async with open_stream(there.app, "/ticker") as stream:
        await stream.next("sse-open")

        assert await here.sse.send("order-7", "paid") is True
        assert (await stream.next("paid")).data == "null"
    assert await here.sse.send("order-8", "paid") is False


async def test_unknown_ids_are_not_there(site: Site) -> None:
    """Whatever they look like."""
    for id in ("", "x", "x.y", "f" * 16 + "." + "x" * 16, "é", "x" * 5000):
        assert await site.sse.send(id, "note", "x") is False
        assert await site.sse.close(id) is False


async def test_process_that_does_not_answer_is_an_error_and_not_false(
    sites: tuple[Site, Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection may have been sent it."""
    here, there = sites
    async with there.view(1) as (_, handle):
        control = there.app.extensions["quart_sse"].control
        monkeypatch.setattr(control, "take", lambda name, text: None)

        with pytest.raises(BrokerUnavailable, match=r"No answer within 3 s.*pid") as raised:
            await here.sse.send(handle.id, "note", "x")

        assert raised.value.maybe_published
        assert str(os.getpid()) in str(raised.value)


async def test_crowd_of_messages_reaches_a_connection_of_another_process(
    sites: tuple[Site, Site],
) -> None:
    """Each is sent once, and said to be."""
    here, there = sites
    async with there.view(1) as (stream, handle):
        sent = await asyncio.gather(*(here.sse.send(handle.id, "note", n) for n in range(200)))

        assert sent == [True] * 200
        assert sorted(int(data) for _, data in await heard(stream, 200)) == list(range(200))


@pytest.mark.parametrize(
    ("faults", "is_one_silent", "text", "maybe_published"),
    [
        ({"p": "busy"}, False, r"^Process p: too many answers .* Nothing was sent\.", False),
        ({"p": "busy"}, True, "^Process p: too many answers", True),
        ({"p": "unknown", "q": "unknown"}, False, "^Processes p, q: another release", False),
        ({"q": "unknown", "p": "busy"}, False, "Process p: too many.* Process q: another", False),
        ({"p": "failed"}, False, r"^Process p: no answer \(failed\)\. The log there", True),
    ],
)
async def test_process_that_has_no_answer_is_an_error_that_says_why(
    sites: tuple[Site, Site],
    faults: dict[str, str],
    is_one_silent: bool,
    text: str,
    maybe_published: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is certain that nothing was sent if no process has done anything."""
    here, _ = sites
    silent = (Process("s"),) if is_one_silent else ()

    async def ask(*_: object, **__: object) -> Answers:
        return Answers({}, faults, silent)

    monkeypatch.setattr(here.app.extensions["quart_sse"].control, "ask", ask)
    with pytest.raises(BrokerUnavailable, match=text) as raised:
        await here.sse.send("order-7", "note", "x")
    assert raised.value.maybe_published is maybe_published


async def test_process_with_too_many_answers_to_send_is_sent_nothing(
    sites: tuple[Site, Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It refuses, and the connection has no message of which the sender does not know."""
    here, there = sites
    async with there.view(1) as (stream, handle):
        with monkeypatch.context() as patched:
            control = there.app.extensions["quart_sse"].control
            patched.setattr(control, "_is_full", lambda times: times == 1)
            with pytest.raises(BrokerUnavailable, match="Nothing was sent") as raised:
                await here.sse.send(handle.id, "note", "refused")
        assert not raised.value.maybe_published
        assert await here.sse.send(handle.id, "note", "sent")
        assert await heard(stream, 1) == [("connection.note", "sent")]


async def test_connection_of_a_process_that_has_gone_is_not_there_soon(
    sites: tuple[Site, Site],
) -> None:
    """A quarter of the time limit is enough, for any number of connections."""
    loop = asyncio.get_running_loop()
    begun_at = loop.time()
    id = "f" * 16 + "." + "x" * 16
    sent = await asyncio.gather(*(sites[0].sse.send(id, "note", n) for n in range(200)))

    assert sent == [False] * 200
    assert loop.time() - begun_at < 2.7  # QUART_SSE_BROKER_TIMEOUT is 3 s


async def test_what_cannot_be_sent_is_an_error_before_anything_is(site: Site) -> None:
    """A reserved name, data that are no JSON, a time that is none."""
    async with site.view(1) as (stream, handle):
        for name, data in (("message", "x"), ("sse-x", "x"), ("a b", "x"), ("x", object())):
            with pytest.raises(EventError):
                await site.sse.send(handle.id, name, data)
        with pytest.raises(ParameterError, match="retry"):
            await site.sse.close(handle.id, retry=-1)
        await handle.send("note", "x")
        assert await heard(stream, 1) == [("connection.note", "x")]


async def test_process_that_serves_nothing_says_so(sites: tuple[Site, Site]) -> None:
    """It would receive no answer."""
    here, _ = sites
    worker = Site(here.app.config["QUART_SSE_BROKER_URL"])
    async with worker.app.app_context():
        with pytest.raises(SetupError, match="serves nothing"):
            await worker.sse.send("x", "note")


async def test_other_threads_may_send(site: Site) -> None:
    """A sync view runs in one."""
    async with site.view(1) as (stream, handle):

        def in_thread() -> None:
            asyncio.run(handle.send("note", "x"))
            assert asyncio.run(site.sse.send(handle.id, "note", "y"))

        await asyncio.to_thread(in_thread)
        assert await heard(stream, 2) == [("connection.note", "x"), ("connection.note", "y")]
