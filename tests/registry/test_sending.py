"""Sending: one connection is found in whichever process, by its id."""

import asyncio
import os

import pytest
from quart import Response

from quart_sse import BrokerUnavailable, EventError, ParameterError, SetupError
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

        with pytest.raises(BrokerUnavailable, match=r"No answer within 1 s.*pid") as raised:
            await here.sse.send(handle.id, "note", "x")

        assert raised.value.maybe_published
        assert str(os.getpid()) in str(raised.value)


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
