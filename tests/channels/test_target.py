"""Targets: events for a user, a whole channel, everyone, and for those whom a filter means."""

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from quart import Response

from quart_sse import (
    AnswerError,
    ConnectionHandle,
    DeclarationError,
    EventError,
    FilterError,
    KeptEvent,
    ParameterError,
    Target,
)
from quart_sse.wire import member_key
from tests.support.sites import Site, heard, serving
from tests.support.streams import Stream, open_stream, until

ROOM = "rooms.said?room=1"


async def ends(*streams: Stream) -> list[list[tuple[str, str]]]:
    """Return what streams of room 1 were sent before an event with the data "end"."""
    found: list[list[tuple[str, str]]] = []
    for stream in streams:
        seen: list[tuple[str, str]] = []
        while not seen or seen[-1][1] != "end":
            seen += await heard(stream, 1)
        found.append(seen[:-1])
    return found


# -- users and everyone ----------------------------------------------------------------------------


async def test_user_is_reached_in_all_browsers_and_nobody_else(site: Site) -> None:
    """At the event's place in the order."""
    async with (
        site.view(1, who="ada") as (one, _),
        site.view(who="ada") as (other, _),
        site.view(1, who="bob") as (bob, _),
        site.view(1) as (visitor, _),
    ):
        await site.room().publish("said", "a")
        sent = await site.sse.user("ada").publish("saved", {"id": 1})
        await site.room().publish("said", "b")
        await site.sse.user("ada").publish("said", "end")
        await site.room().publish("said", "end")

        assert sent.local_receivers == 2
        assert await ends(one, other, bob, visitor) == [
            [(ROOM, "a"), ("user.saved", '{"id": 1}'), (ROOM, "b")],
            [("user.saved", '{"id": 1}')],
            [(ROOM, "a"), (ROOM, "b")],
            [(ROOM, "a"), (ROOM, "b")],
        ]


async def test_everyone_is_reached(site: Site) -> None:
    """Pages with and without topics, streams of one's own, visitors."""
    async with (
        site.view(1, who="ada") as (ada, _),
        site.view() as (visitor, _),
        open_stream(site.app, "/sse/news") as own,
    ):
        sent = await site.sse.everyone.publish("maintenance", "soon")

        assert sent.local_receivers == 3
        for stream in (ada, visitor, own):
            assert await heard(stream, 1) == [("everyone.maintenance", "soon")]


async def test_channel_as_a_whole_is_reached_once(site: Site) -> None:
    """However many of its topics a page shows."""
    async with (
        site.view(1, 2) as (two, _),
        open_stream(site.app, "/sse/rooms/3") as bare,
        open_stream(site.app, "/sse/news") as news,
    ):
        sent = await site.rooms.everyone.publish("closing", "now")
        await site.sse.everyone.publish("said", "end")

        assert sent.local_receivers == 2
        assert await ends(two, bare, news) == [
            [("rooms.closing", "now")],
            [("closing", "now")],
            [],
        ]


async def test_other_processes_are_reached(sites: tuple[Site, Site]) -> None:
    """Whichever publishes."""
    here, there = sites
    async with there.view(1, who="ada", meta={"role": "admin"}) as (ada, _):
        await here.sse.user("ada").publish("a")
        await here.sse.everyone.publish("b")
        await here.rooms.everyone.publish("c")
        await here.room().publish("said", "d", where={"role": "admin"})
        await here.room().publish("said", "no", where={"role": "guest"})
        await here.room().publish("said", "e")

        assert await heard(ada, 5) == [
            *(("user.a", "null"), ("everyone.b", "null"), ("rooms.c", "null")),
            *((ROOM, "d"), (ROOM, "e")),
        ]


async def test_what_a_client_missed_is_replayed(site: Site) -> None:
    """All of it in one order, by the header and by what the page says."""
    client = site.client("ada")
    url = await site.page(1, client=client)
    async with open_stream(client, url) as stream:
        await site.room().publish("said", "before")
        await heard(stream, 1)
        last = stream.last_id
    await site.sse.user("ada").publish("a")
    await site.room().publish("said", "b")
    await site.sse.everyone.publish("c")
    await site.sse.user("bob").publish("no")
    await site.rooms.everyone.publish("d")
    await site.sse.user("ada").publish("e")
    missed = [
        *(("user.a", "null"), (ROOM, "b"), ("everyone.c", "null")),
        *(("rooms.d", "null"), ("user.e", "null")),
    ]

    async with open_stream(client, url, {"Last-Event-ID": last}) as stream:
        assert await heard(stream, 5) == missed
    async with open_stream(client, url) as stream:
        assert await heard(stream, 6) == [(ROOM, "before"), *missed]


async def test_lost_events_of_a_user_reset_the_page() -> None:
    """They are facts like all others."""
    site = Site("memory://", history=2)
    async with serving(site):
        client = site.client("ada")
        url = await site.page(1, client=client)
        for _ in range(3):
            await site.sse.user("ada").publish("x")
        async with open_stream(client, url) as stream:
            await stream.next("sse-reset")


async def test_page_of_another_user_gets_nothing_of_this_one(site: Site) -> None:
    """A page that stays open while users change belongs to whom it was rendered for."""
    ada, bob = site.client("ada"), site.client("bob")
    page_of_ada = await site.page(1, client=ada)
    async with open_stream(bob, page_of_ada) as stream:
        await site.sse.user("ada").publish("no")
        await site.sse.user("bob").publish("no")
        await site.room().publish("said", "end")
        assert await ends(stream) == [[]]


async def test_user_who_signs_in_again_misses_nothing(site: Site) -> None:
    """A position that was given out meanwhile does not cover the user's events."""
    ada, visitor = site.client("ada"), site.client()
    url = await site.page(1, client=ada)
    async with open_stream(visitor, url) as stream:
        await site.sse.user("ada").publish("missed")
        await site.room().publish("said", "seen")
        assert await heard(stream, 1) == [(ROOM, "seen")]
        last = stream.last_id
    async with open_stream(ada, url, {"Last-Event-ID": last}) as stream:
        assert await heard(stream, 1) == [("user.missed", "null")]


async def test_unsigned_lists_reach_no_user(site: Site) -> None:
    """Nor does a client that makes up the name of an audience."""
    ada = site.client("ada")
    for topic in ("user?identity=ada", "everyone", "everyone?channel=rooms", "user"):
        async with open_stream(ada, f"/sse?t=~{topic}") as stream:
            assert [event.event for event in await stream.rest()] == ["sse-stop"]
    async with open_stream(ada, "/sse?t=~rooms?room=1&since=0") as stream:
        await stream.next("sse-open")
        await site.sse.user("ada").publish("no")
        await site.room().publish("said", "end")
        assert await ends(stream) == [[]]


async def test_stream_of_a_view_belongs_to_its_user(site: Site) -> None:
    """By the identity that the view gives, else by that of the request."""

    @site.app.get("/ticker/<who>")
    async def ticker(who: str) -> Response:
        return await site.sse.stream(site.news.topic(), identity=who)

    async with (
        open_stream(site.app, "/ticker/ada") as ada,
        open_stream(site.client("bob"), "/sse/news") as bob,
    ):
        await ada.next("sse-open")
        await bob.next("sse-open")
        await site.sse.user("ada").publish("a")
        await site.sse.user("bob").publish("b")

        assert await heard(ada, 1) == [("user.a", "null")]
        assert await heard(bob, 1) == [("user.b", "null")]


@pytest.mark.parametrize("identity", [None, "", 7])
def test_user_is_named_by_a_text(identity: Any) -> None:
    """None would be everybody who is not signed in."""
    with pytest.raises(AnswerError, match="identity"):
        Site("memory://").sse.user(identity)


@pytest.mark.parametrize("name", ["user", "everyone", "connection"])
def test_names_of_audiences_are_no_channels(name: str) -> None:
    """Clients could not tell their events apart."""
    with pytest.raises(DeclarationError, match="cannot name a channel"):
        Site("memory://").sse.channel(name, f"/{name}")


async def test_identity_may_be_any_text(site: Site) -> None:
    """It is encoded in the topic's name."""
    for who in ("a b", "ä/ö?&=#", "x" * 300, "user?identity=ada"):

        @site.app.get(f"/own/{len(who)}", endpoint=f"own{len(who)}")
        async def own(who: str = who) -> Response:
            return await site.sse.stream(site.news.topic(), identity=who)

        async with open_stream(site.app, f"/own/{len(who)}") as stream:
            await stream.next("sse-open")
            await site.sse.user("ada").publish("no")
            await site.sse.user(who).publish("yes")
            assert await heard(stream, 1) == [("user.yes", "null")]


async def test_reload_is_for_pages(site: Site) -> None:
    """It says which file does it; a later page does not reload."""
    async with site.view(1, who="ada") as (stream, _):
        await site.sse.user("ada").reload()
        await site.sse.everyone.reload()
        first, second = await heard(stream, 2)
    async with site.view(1, who="ada") as (stream, _):
        await site.room().publish("said", "end")
        assert await ends(stream) == [[]]

    assert (first[0], second[0]) == ("user.sse-reload", "everyone.sse-reload")
    name, path, integrity = first[1].split(" ")
    assert name == "update"
    assert path.startswith("quart-sse-update.min.js?v=")
    assert integrity.startswith("sha384-")


# -- filters ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "meant"),
    [
        ({"role": "admin"}, "a"),
        ({"role": ["admin", "guest"]}, "ab"),
        ({"role": "admin", "n": 2}, ""),
        ({"n": 1}, "a"),
        ({"n": True}, ""),
        ({"n": "1"}, ""),
        ({"tags": [["x", "y"]]}, "a"),
        ({"tags": ["x", "y"]}, ""),
        ({"extra": None}, "b"),
        ({"missing": None}, ""),
        ({"role": []}, ""),
    ],
)
async def test_filter_means_what_equals(site: Site, where: Any, meant: str) -> None:
    """Of JSON; others are sent not one byte."""
    metas: list[object] = [
        {"role": "admin", "n": 1, "tags": ["x", "y"]},
        {"role": "guest", "n": 2, "extra": None},
        None,
    ]
    async with (
        site.view(1, meta=metas[0]) as (a, _),
        site.view(1, meta=metas[1]) as (b, _),
        site.view(1, meta=metas[2]) as (c, _),
    ):
        sent = await site.room().publish("said", "some", where=where)
        await site.room().publish("said", "end")
        streams = dict(zip("abc", (a, b, c), strict=True))
        for name, stream in streams.items():
            expected = [(ROOM, "some")] if name in meant else []
            assert await ends(stream) == [expected]
        assert sent.local_receivers == len(meant)


async def test_filter_holds_in_replays(site: Site) -> None:
    """It is kept with the event."""
    url = await site.page(1)
    await site.room().publish("said", "admins", where={"role": "admin"})
    await site.sse.everyone.publish("said", "guests", where={"role": "guest"})
    await site.room().publish("said", "end")
    found: dict[str, list[tuple[str, str]]] = {}
    for meta in ('{"role":"admin"}', '{"role":"guest"}', "{}"):
        async with open_stream(site.app, f"{url}&meta={meta}") as stream:
            (found[meta],) = await ends(stream)

    assert list(found.values()) == [[(ROOM, "admins")], [("everyone.said", "guests")], []]


async def test_function_is_a_filter_in_one_process() -> None:
    """It is called once for each distinct metadata, also of replays."""
    site = Site("memory://")
    calls: list[object] = []

    def is_admin(metadata: Any) -> bool:
        calls.append(metadata)
        return bool(metadata["role"] == "admin")

    async with serving(site):
        admin, guest = {"role": "admin"}, {"role": "guest"}
        url = await site.page(1)
        async with (
            site.view(1, meta=admin) as (one, _),
            site.view(1, meta=admin) as (two, _),
            site.view(1, meta=guest) as (three, _),
            site.view(1) as (four, _),
        ):
            await site.room().publish("said", "x", where=is_admin)
            await site.room().publish("said", "end")
            expected = [[(ROOM, "x")], [(ROOM, "x")], [], []]
            assert await ends(one, two, three, four) == expected
        # The delivery, and the number of receivers, share the answers.
        assert len(calls) == 2
        async with open_stream(site.app, f'{url}&meta={{"role":"admin"}}') as stream:
            assert await ends(stream) == [[(ROOM, "x")]]


async def test_function_that_fails_means_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged; an answer that is no bool is an error, too."""
    site = Site("memory://")
    async with serving(site), site.view(1, meta={"a": 1}) as (stream, _):
        for where in (lambda metadata: metadata["b"], lambda metadata: "yes"):
            await site.room().publish("said", "no", where=where)  # type: ignore[arg-type]
        await site.room().publish("said", "end")
        assert await ends(stream) == [[]]
    assert "where= failed" in caplog.text


async def test_function_cannot_go_to_other_processes(sites: tuple[Site, Site]) -> None:
    """The error says what to do instead, and nothing is published."""
    here, there = sites
    async with there.view(1, meta={"a": 1}) as (stream, _):
        with pytest.raises(FilterError, match="no other process can call"):
            await here.room().publish("said", "no", where=lambda metadata: True)
        await here.room().publish("said", "end")
        assert await ends(stream) == [[]]


async def test_one_connection_is_excluded(site: Site) -> None:
    """By itself or by its id; also when it resumes."""
    async with site.view(1) as (one, first), site.view(1) as (other, second):
        await site.room().publish("said", "a", exclude=first)
        sent = await site.room().publish("said", "b", exclude=second.id)
        await site.room().publish("said", "c", exclude="unknown")
        await site.room().publish("said", "end")

        assert await ends(one, other) == [[(ROOM, "b"), (ROOM, "c")], [(ROOM, "a"), (ROOM, "c")]]
        assert sent.local_receivers == 1
        for excluded in (7, "", site.room(), object()):
            with pytest.raises(ParameterError, match="exclude="):
                await site.room().publish("said", "x", exclude=excluded)  # type: ignore[call-overload]


async def test_hook_s_connection_and_another_one_are_both_excluded(site: Site) -> None:
    """Now, and when they resume; all others are sent the event."""
    excluded: list[ConnectionHandle] = []
    receivers: list[int] = []

    @site.sse.on_connect
    async def came(connection: ConnectionHandle) -> None:
        if connection.identity == "ada":
            sent = await site.room().publish("said", "a", to_others=True, exclude=excluded[0])
            receivers.append(sent.local_receivers)

    async with site.view(1) as (other, _), site.view(1) as (one, handle):
        excluded.append(handle)
        async with site.view(1, who="ada") as (ada, _):
            await until(lambda: receivers)
            await site.room().publish("said", "end")

            assert await ends(ada, one, other) == [[], [], [(ROOM, "a")]]
            assert receivers == [1]


# -- histories -------------------------------------------------------------------------------------


async def test_history_is_what_is_kept(site: Site) -> None:
    """With ids, times and the data as they were published."""
    assert await site.room().history() == []
    before = datetime.now(UTC) - timedelta(seconds=2)
    data: list[Any] = ["text", "42", {"a": [1, None]}, 42, None]
    ids = [(await site.room().publish("said", each)).id for each in data]
    await site.room(2).publish("other", "x")
    events = await site.room().history()

    assert [event.id for event in events] == ids
    assert [event.data for event in events] == data
    assert {event.name for event in events} == {"said"}
    assert all(before < event.time < datetime.now(UTC) + timedelta(seconds=2) for event in events)
    assert [event.id for event in await site.room().history(limit=2)] == ids[-2:]
    assert await site.sse.user("ada").history() == []
    await site.sse.user("ada").publish("saved", "x")
    (saved,) = await site.sse.user("ada").history()
    assert isinstance(saved, KeptEvent)
    assert (saved.name, saved.data) == ("saved", "x")
    for limit in (0, -1, True, "5"):
        with pytest.raises(ParameterError, match="limit"):
            await site.room().history(limit=limit)  # type: ignore[arg-type]


async def test_request_to_reload_is_no_event_of_a_history(site: Site) -> None:
    """It is asked of pages, and the app has not published it."""
    for target in (site.sse.user("ada"), site.sse.everyone):
        await target.reload()
        assert await target.history() == []
        await target.publish("saved", 1)
        await target.reload()
        await target.publish("saved", 2)

        assert [(event.name, event.data) for event in await target.history()] == [
            ("saved", 1),
            ("saved", 2),
        ]


async def test_channel_without_history_has_none() -> None:
    """Its events are no facts."""
    site = Site("memory://")
    loud = site.sse.channel("loud", "/loud", public=True, history=0)
    async with serving(site):
        await loud.topic().publish("said", "x")
        assert await loud.topic().history() == []


def test_targets_are_equal_by_what_they_name() -> None:
    """So that they can be keys."""
    site, other = Site("memory://"), Site("memory://")

    assert site.room(1) == site.room(1)
    assert len({site.room(1), site.room(1), site.room(2)}) == 2
    assert site.room(1) != other.room(1)
    assert site.sse.user("ada") == site.sse.user("ada") != site.sse.everyone
    assert site.room(1) != "rooms?room=1"
    assert isinstance(site.sse.everyone, Target)
    assert repr(site.sse.everyone) == "<Everyone 'everyone'>"


async def test_id_of_ones_own_is_an_error(site: Site) -> None:
    """It says where the id belongs."""
    for target in (site.room(), site.sse.everyone, site.rooms.everyone, site.sse.user("ada")):
        with pytest.raises(EventError, match=r"Put it into the data"):
            await target.publish("said", "x", id=7)
    assert await site.room().history() == []


# -- notifications ---------------------------------------------------------------------------------


async def test_notification_reaches_each_target_as_an_event(site: Site) -> None:
    """Under a name that no app's event has; with a broker of each kind."""
    async with site.view(1, who="ada") as (stream, _):
        targets = {
            "user": site.sse.user("ada"),
            "everyone": site.sse.everyone,
            "rooms": site.rooms.everyone,
            "rooms?room=1": site.room(),
        }
        for target in targets.values():
            sent = await target.notify("Saved", level="success", title="Oh", data={"a": [1]})

        for name in targets:
            event = await stream.next(member_key(name, "sse-notification"))
            written = json.loads(event.data)
            assert written.pop("time").startswith(f"{sent.time:%Y-%m-%d}")
            assert len(written.pop("id")) == 16
            assert written == {
                "message": "Saved",
                "level": "success",
                "title": "Oh",
                "data": {"a": [1]},
            }


async def test_notification_is_kept_apart_from_the_apps_events(site: Site) -> None:
    """In their order, and of equal ids once; a filter keeps those for others out."""
    ada = site.sse.user("ada")
    await ada.publish("saved")
    first = await ada.notify("One")
    await ada.notify("Two", id="x", data={"n": 1})
    await ada.notify("Two", id="x")
    await ada.notify("Three", where={"role": "admin"})

    assert [each.name for each in await ada.history()] == ["saved"]
    found = await ada.notifications()
    assert [(each.message, each.data) for each in found] == [("One", None), ("Two", {"n": 1})]
    assert found[0].id == first.id
    admins = await ada.notifications(metadata={"role": "admin"})
    assert [each.message for each in admins] == ["One", "Two", "Three"]
    assert await site.sse.user("bob").notifications() == []


async def test_old_notification_is_not_kept_by_a_newer_event(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A browser remembers what it has shown for the history's time, and no longer."""
    ada = site.sse.user("ada")
    await ada.notify("old")
    await ada.publish("saved")
    now, counts = time.time(), []
    for ahead in (290, 310):  # of QUART_SSE_HISTORY_TTL
        clock = partial(float, now + ahead)
        monkeypatch.setattr("quart_sse.channels.kept.time.time", clock)
        counts.append(len(await ada.notifications()))

    assert counts == [1, 0]
    assert len(await ada.history()) == 1


async def test_channel_without_history_keeps_no_notification(site: Site) -> None:
    """As it keeps no event."""
    quiet = site.sse.channel("quiet", "/quiet", public=True, history=0)
    await quiet.topic().notify("One")

    assert await quiet.topic().notifications() == []


async def test_notification_has_the_options_of_an_event(site: Site) -> None:
    """A filter, and a connection that it is not for."""
    async with (
        site.view(1, who="ada", meta={"role": "admin"}) as (ada, _),
        site.view(1, who="bob", meta={"role": "admin"}) as (bob, handle),
        site.view(1, who="eve") as (eve, _),
    ):
        await site.room().notify("Hello", where={"role": "admin"}, exclude=handle)
        await site.room().publish("said", "end")

        assert (await ada.next("rooms.sse-notification?room=1")).data
        assert await ends(bob, eve) == [[], []]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"level": "bad"}, "has the level 'bad'"),
        ({"data": object()}, "cannot be written as JSON"),
        ({"data": float("nan")}, "JSON has no NaN"),
        ({"data": "x" * 2_000_000}, "QUART_SSE_PENDING_BYTES"),
        ({"title": 7}, "title of a notification is 7"),
    ],
)
async def test_bad_notification_is_an_error(
    site: Site, given: dict[str, Any], message: str
) -> None:
    """At the call, also where it is not waited for; nothing is published."""
    ada = site.sse.user("ada")
    with pytest.raises(EventError, match=message):
        await ada.notify("x", **given)
    with pytest.raises(EventError, match=message):
        ada.notify_soon("x", **given).result(1)
    assert await ada.notifications() == []


async def test_threads_and_batches_notify(site: Site) -> None:
    """In the order of the thread; a batch that fails notifies nobody."""
    ada = site.sse.user("ada")

    def work() -> None:
        for text in ("one", "two"):
            ada.notify_soon(text)
        ada.notify_soon("three", level="error").result(10)

    await asyncio.to_thread(work)
    async with site.sse.batch():
        await ada.notify("four")
        assert len(await ada.notifications()) == 3

    async def fail() -> None:
        async with site.sse.batch():
            await ada.notify("five")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    found = [(each.message, each.level) for each in await ada.notifications()]
    assert found == [("one", "info"), ("two", "info"), ("three", "error"), ("four", "info")]


async def test_notification_goes_to_pages_of_another_process(sites: tuple[Site, Site]) -> None:
    """And what one process has published, the other one keeps."""
    here, there = sites
    async with there.view(1, who="ada") as (stream, _):
        sent = await here.sse.user("ada").notify("Saved")

        assert json.loads((await stream.next("user.sse-notification")).data)["id"] == sent.id
    assert [each.id for each in await there.sse.user("ada").notifications()] == [sent.id]
