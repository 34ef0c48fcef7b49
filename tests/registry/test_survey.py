"""The survey: what all processes have, put together a page at a time."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

import pytest

from quart_sse import RenderError
from quart_sse.broker import Answers, Process
from quart_sse.hub.limits import PROCESS_FULL
from quart_sse.registry import Survey
from quart_sse.release import RELEASE
from tests.support.sites import Site
from tests.support.streams import until


def survey_of(site: Site) -> Survey:
    """Return the survey of an app."""
    survey: Survey = site.app.extensions["quart_sse"].survey
    return survey


async def all_rows(survey: Survey, what: str, find: Mapping[str, Any], most: int) -> list[Any]:
    """Return the rows of all pages of a list."""
    rows, after = [], ""
    while True:
        sheet = await getattr(survey, what)(find, after, most)
        assert len(sheet.rows) <= most
        rows += sheet.rows
        if not sheet.next:
            return rows
        after = sheet.next


async def test_figures_of_all_processes_are_added_up(sites: tuple[Site, Site]) -> None:
    """With each process's own, and the limit of the process that is nearest to it."""
    here, there = sites
    async with here.view(1, who="ada"), there.view(1, who="ada"), there.view(2):
        found = await survey_of(here).figures()

    assert (found.total.connections, found.total.processes, found.silent) == (3, 2, ())
    assert found.total.top_identities == {"ada": 2}
    assert found.total.top_topics == {"rooms?room=1": 2, "rooms?room=2": 1}
    assert sorted(each.connections for each in found.by_process.values()) == [1, 2]
    assert {each.release for each in found.by_process} == {RELEASE}
    assert found.limits["QUART_SSE_MAX_CONNECTIONS"] == (2, 10_000)


async def test_connections_come_in_pages_the_newest_first(sites: tuple[Site, Site]) -> None:
    """Each once, whatever process has it, and none is left out where pages meet."""
    here, there = sites
    async with AsyncExitStack() as stack:
        ids = []
        for number in range(7):
            site = (here, there)[number % 3 == 0]
            _, handle = await stack.enter_async_context(site.view(1, who=f"user-{number}"))
            ids.append((handle.connected_at, handle.id))

        rows = await all_rows(survey_of(there), "connections", {}, 2)
        sheet = await survey_of(there).connections({}, "", 2)

    assert [row["id"] for row in rows] == [id for _, id in sorted(ids, reverse=True)]
    assert (len(sheet.rows), sheet.total) == (2, 7)
    assert len({row["process"].id for row in rows}) == 2


async def test_connections_are_filtered_where_they_are(site: Site) -> None:
    """By channel, by parts of topic and identity, and by metadata."""
    survey = survey_of(site)

    async def found(**find: Any) -> list[str | None]:
        sheet = await survey.connections(find, "", 10)
        assert sheet.total == len(sheet.rows)
        return sorted(row["identity"] or "-" for row in sheet.rows)

    async with (
        site.view(1, who="ada", meta={"role": "admin"}),
        site.view(12, who="bob", meta={"role": "user"}),
        site.view(2),
    ):
        assert await found() == ["-", "ada", "bob"]
        assert await found(channel="rooms") == ["-", "ada", "bob"]
        assert await found(channel="news") == []
        assert await found(topic="room=1") == ["ada", "bob"]
        assert await found(identity="a") == ["ada"]
        assert await found(where={"role": ["admin", "editor"]}) == ["ada"]
        assert await found(topic="room=1", where={"role": "user"}) == ["bob"]


async def test_one_connection_is_looked_into_in_any_process(sites: tuple[Site, Site]) -> None:
    """With all of its topics."""
    here, there = sites
    async with there.view(1, 2, 3, 4, 5, who="ada", meta={"role": "admin"}) as (_, handle):
        row = await survey_of(here).connection(handle.id)
        brief = (await survey_of(here).connections({}, "", 10)).rows[0]

    assert row is not None
    assert [topic for topic, _ in row["topics"]] == [f"rooms?room={n}" for n in range(1, 6)]
    assert (row["identity"], row["metadata"]) == ("ada", '{"role": "admin"}')
    assert (len(brief["topics"]), brief["more_topics"]) == (3, 2)
    await until(lambda: not there.sse.connections)
    assert await survey_of(here).connection(handle.id) is None


async def test_topics_of_all_processes_by_name(sites: tuple[Site, Site]) -> None:
    """Their connections are added up, also where pages meet."""
    here, there = sites
    async with here.view(1, 2, 3), there.view(2, 3, 4), there.view(4, 15):
        await here.room(2).publish("hello")
        rows = await all_rows(survey_of(here), "topics", {}, 2)
        some = await survey_of(here).topics({"part": "room=1", "channel": "rooms"}, "", 10)
        none = await survey_of(here).topics({"channel": "news"}, "", 10)

    assert {row["name"].partition("=")[2]: row["viewers"] for row in rows} == {
        "1": 1,
        "15": 1,
        "2": 2,
        "3": 2,
        "4": 2,
    }
    assert [row["name"] for row in rows] == sorted(row["name"] for row in rows)
    assert [row["name"] for row in some.rows] == ["rooms?room=1", "rooms?room=15"]
    assert none.rows == ()


async def test_renders_say_how_long_they_take_and_what_failed(site: Site) -> None:
    """Those with an error come first; a page that is shown is not disturbed by it."""

    async def people(room: int) -> str:
        if room == 13:
            raise LookupError("no such room")
        return "<b>5</b>"

    site.rooms.fragment("people", debounce=0)(people)
    hub = site.app.extensions["quart_sse"].hub
    spec = hub._declared.spec("rooms?room=1", "people")
    async with site.view(1), site.view(13):
        await hub.render_now("rooms?room=1", spec)
        with pytest.raises(RenderError):
            await hub.render_now("rooms?room=13", spec)
        failed, good = await all_rows(survey_of(site), "renders", {}, 1)
        (one,) = (await survey_of(site).renders({"topic": "rooms?room=1"}, "", 10)).rows

    assert (failed["topic"], failed["error"], failed["failed"]) == (
        "rooms?room=13",
        "LookupError",
        1,
    )
    assert failed["reason"] == "no such room"
    assert (good["topic"], good["fragment"], good["number"], good["failed"]) == (
        "rooms?room=1",
        "people",
        1,
        0,
    )
    assert 0 < good["seconds"] <= good["slowest"] < 5
    assert good["size"] == len("<b>5</b>")
    assert one["topic"] == good["topic"]


async def test_limits_that_were_reached_are_counted(site: Site) -> None:
    """Each stream that had to wait, by the limit that it met."""
    connections = site.app.extensions["quart_sse"].connections
    connections.say_full(PROCESS_FULL, limit=1, seconds=1.0)
    connections.say_full(PROCESS_FULL, limit=1, seconds=1.0)

    assert (await survey_of(site).figures()).reached == {"process-full": 2}


async def test_page_ends_before_what_a_process_has_not_said() -> None:
    """Of one that answers with less than it has, the rows behind may come before others."""
    answers = {
        "a": {"rows": [["1", [1, None]], ["4", [1, None]]], "more": True, "total": 3},
        "b": {
            "rows": [["2", [1, None]], ["5", [1, None]], ["6", [1, 3.0]]],
            "more": False,
            "total": 3,
        },
    }

    async def ask(question: str, data: Any = None, *, deadline: float, to: Any = None) -> Answers:
        return Answers(answers, {}, ())

    async def live() -> dict[str, Process]:
        return {"c": Process("c")}

    sheet = await Survey(ask, live, 1.0).topics({}, "", 10)

    assert [row["name"] for row in sheet.rows] == ["1", "2", "4"]
    assert (sheet.next, sheet.total) == ("4", 6)
