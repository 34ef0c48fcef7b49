"""The processes of an app, and the connections of all of them."""

import os
import socket

import pytest

from quart_sse import FilterError, ParameterError
from quart_sse.registry import processes
from quart_sse.release import RELEASE
from tests.support.sites import Site
from tests.support.streams import open_stream, until


async def test_every_process_knows_all_connections(sites: tuple[Site, Site]) -> None:
    """With what its own process says of each."""
    here, there = sites
    async with (
        here.view(1, who="ada", meta={"role": "admin"}) as (_, ada),
        there.view(1, 2, who="bob", meta={"role": "guest"}) as (_, bob),
    ):
        for site in sites:
            found = await site.sse.processes.connections()
            infos = {info.id: info for info in found}

            assert len(found) == 2
            assert found.silent == ()
            assert infos.keys() == {ada.id, bob.id}
            info = infos[bob.id]
            assert info.topics == ("rooms?room=1", "rooms?room=2")
            assert (info.identity, info.metadata) == ("bob", {"role": "guest"})
            assert (info.connected_at, info.last_event_id) == (bob.connected_at, None)
            assert (info.remote_address, info.user_agent) == (bob.remote_address, bob.user_agent)
            assert info.process != infos[ada.id].process
            assert (info.process.pid, info.process.host) == (os.getpid(), socket.gethostname())

        ask = here.sse.processes
        assert [info.id for info in await ask.connections(topic=here.room(2))] == [bob.id]
        assert [info.id for info in await ask.connections(where={"role": "admin"})] == [ada.id]
        assert [info.id for info in await ask.connections(identity="bob")] == [bob.id]
        counted = await ask.count(channel=here.rooms)
        assert (counted.total, counted.silent) == (2, ())
        assert sorted(counted.by_process.values()) == [1, 1]
        assert (await ask.count(channel="news")).total == 0


async def test_one_process_is_asked_without_others(site: Site) -> None:
    """The same with each broker."""
    async with site.view(1, who="ada") as (_, ada):
        found = await site.sse.processes.connections()
        listed = [process async for process in site.sse.processes]

        assert [info.id for info in found] == [ada.id]
        assert [info.process for info in found] == listed
        assert [(each.pid, each.release) for each in listed] == [(os.getpid(), RELEASE)]
        assert (await site.sse.processes.count()).total == 1


async def test_process_that_does_not_answer_is_named(
    sites: tuple[Site, Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the others have answered is there all the same."""
    here, there = sites
    async with here.view(1) as (_, handle), there.view(1):
        control = there.app.extensions["quart_sse"].control
        monkeypatch.setattr(control, "take", lambda name, text: None)

        found = await here.sse.processes.connections()
        counted = await here.sse.processes.count()

    assert [info.id for info in found] == [handle.id]
    assert counted.total == 1
    silent = control.processes.own
    assert found.silent == counted.silent == (silent,)


async def test_more_connections_than_an_answer_holds(
    sites: tuple[Site, Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are asked for in parts."""
    monkeypatch.setattr(processes, "PAGE_CHARS", 700)
    here, there = sites
    async with (
        there.view(1) as (_, a),
        there.view(1) as (_, b),
        there.view(1) as (_, c),
        there.view(1) as (_, d),
        there.view(1) as (_, e),
    ):
        found = await here.sse.processes.connections()

        assert {info.id for info in found} == {each.id for each in (a, b, c, d, e)}
        assert len(found) == 5
        assert found.silent == ()
    await until(lambda: not there.sse.connections)


async def test_bad_conditions_are_errors(site: Site) -> None:
    """Other processes cannot call a function."""
    for ask in (site.sse.processes.connections, site.sse.processes.count):
        with pytest.raises(FilterError, match="no mapping"):
            await ask(where=lambda metadata: True)  # type: ignore[arg-type]
        with pytest.raises(FilterError, match="empty"):
            await ask(where={})
        with pytest.raises(ParameterError, match="no Channel"):
            await ask(channel=site.room())  # type: ignore[arg-type]


async def test_header_of_any_length_hides_no_connection(site: Site) -> None:
    """An answer about connections has a bound, which no client reaches by what it sends."""
    headers = {"Last-Event-ID": "\u00ff" * 12_000, "User-Agent": "\u00ff" * 12_000}
    async with (
        site.view(1, who="ada") as (_, ada),
        open_stream(site.client(), "/sse/rooms/1", headers) as stream,
    ):
        await stream.next("sse-open")
        found = await site.sse.processes.connections()
        (other,) = [info for info in found if info.id != ada.id]

        assert found.silent == ()
        assert len(found) == 2
        assert other.last_event_id is None
