"""Resuming: a client is sent what it lacks, and its position never says more than that."""

import asyncio
import json
from collections.abc import Iterable

import pytest

from quart_sse.broker import Replay, Start
from quart_sse.broker.memory import GRACE
from quart_sse.config import Config
from quart_sse.hub.rendered import FragmentSpec, Rendered
from quart_sse.hub.resume import PERSONAL_AGAIN_MS, lacks, may_hide
from quart_sse.wire.position import ZERO, Id, Position
from tests.support.house import KEEPS, OTHER, TOPIC, House
from tests.support.streams import until


async def test_joiner_is_sent_what_changed_and_nothing_else(house: House) -> None:
    """Of two fragments one changed after the page was rendered: that one is sent."""
    await house.change("count", "1")
    since = house.broker.known
    await house.change("list", "1")
    viewer = house.view("list", "count", since=since)
    await viewer.sees("list", "1")
    await house.quiet()

    assert viewer.shown == [("news.list?room=1", "1")]
    assert house.pages.rendered == ["list"]
    assert viewer.position.fragments == viewer.position.events


async def test_joiner_uses_html_that_is_new_enough(house: House) -> None:
    """What another viewer was sent is sent again, without a render."""
    since = house.broker.known
    first = await house.viewing("list")
    await house.change("list", "1")
    await first.sees("list", "1")
    second = house.view("list", since=since)
    await second.sees("list", "1")

    assert house.pages.rendered == ["list"]


async def test_joiner_is_not_sent_html_that_is_too_old(house: House) -> None:
    """The fragment changed without viewers: its HTML has aged, and is rendered again."""
    since = house.broker.known
    first = await house.viewing("list")
    await house.change("list", "1")
    await first.sees("list", "1")
    await house.leave(first)
    await house.change("list", "2")
    second = house.view("list", since=since)
    await second.sees("list", "2")

    assert second.shown == [("news.list?room=1", "2")]
    assert house.pages.rendered == ["list", "list"]


async def test_joiner_shares_a_render_that_began_after_the_change(house: House) -> None:
    """A render in flight that contains the change serves clients that join while it runs."""
    since = house.broker.known
    first = await house.viewing("list")
    house.pages.gate.clear()
    await house.change("list", "1")
    await until(lambda: house.pages.rendered)
    second = house.view("list", since=since)
    await until(lambda: house.hub.receivers(TOPIC) == 2)
    house.pages.gate.set()
    await first.sees("list", "1")
    await second.sees("list", "1")


async def test_joiner_is_not_satisfied_by_a_render_that_began_too_early(house: House) -> None:
    """The fragment changed while a render was under way: the joiner gets the next one."""
    since = house.broker.known
    await house.viewing("list")
    house.pages.gate.clear()
    await house.change("list", "1")
    await until(lambda: house.pages.rendered)
    await house.change("list", "2")
    viewer = house.view("list", since=since)
    await until(lambda: viewer.writes)
    house.pages.gate.set()
    await viewer.sees("list", "2")
    await house.quiet()

    assert viewer.position.fragments == viewer.position.events
    lagging = [position for position in viewer.positions if position.fragments < position.events]
    assert all(position.fragments == since.fragments for position in lagging)


async def test_join_while_messages_flow_misses_none_and_repeats_none(house: House) -> None:
    """What comes before, during and after the broker's answer comes once, in order."""
    since = house.broker.known
    await house.say("a")
    house.broker.answers.clear()
    viewer = house.view("list", since=since)
    await until(lambda: house.broker.asked)
    await house.say("b")
    await house.change("list", "1")
    await house.quiet()
    await house.say("c")
    house.broker.answers.set()
    await viewer.hears("a", "b", "c")
    await viewer.sees("list", "1")
    await house.say("d")
    await viewer.hears("a", "b", "c", "d")

    assert viewer.positions == sorted(viewer.positions)


async def test_answer_may_overtake_the_messages_that_it_contains(house: House) -> None:
    """An event of the replay is not sent again when it arrives live."""
    since = house.broker.known
    house.broker.late = []
    await house.say("a")
    viewer = house.view(since=since)
    await viewer.hears("a")
    house.broker.arrive()
    await house.say("b")
    await viewer.hears("a", "b")

    assert viewer.positions == sorted(viewer.positions)


async def test_change_known_before_it_is_heard_holds_no_position_back(house: House) -> None:
    """Viewers have its HTML already; the refresh that arrives later leaves nothing missing."""
    since = house.broker.known
    house.broker.late = []
    await house.change("list", "1")
    viewer = house.view("list", since=since)
    await viewer.sees("list", "1")
    house.broker.arrive()
    await house.quiet()
    house.heartbeat()
    await house.quiet()

    assert viewer.position.fragments == viewer.position.events


async def test_replay_is_in_order_over_topics_and_kept_apart_from_the_bound(house: House) -> None:
    """More than a connection may hold pending is replayed to it, in one order over its topics."""
    since = house.broker.known
    for number in range(10):
        await house.say(str(number))
    await house.say("x", "y", topic=OTHER)
    small = House(Config(pending_events=1))
    small.broker, small.hub = house.broker, house.hub
    viewer = small.view(since=since, topics=(TOPIC, OTHER))
    await viewer.hears(*"0123456789", "x", "y")
    await small.leave(viewer)


async def test_reset_comes_with_a_position_that_knows_no_fragments(house: House) -> None:
    """Then every fragment is sent once, and the position says that all are current."""
    await house.say("a")
    viewer = house.view("list", "count", since=None)
    await viewer.sees("list", "-")
    await viewer.sees("count", "-")
    await house.quiet()
    house.heartbeat()
    await house.quiet()

    assert viewer.named == [("sse-reset", json.dumps([TOPIC]))]
    assert sorted(viewer.shown) == [("news.count?room=1", "-"), ("news.list?room=1", "-")]
    reset, first, second, beat = viewer.positions
    assert reset.fragments == first.fragments == ZERO
    assert reset.events <= first.events <= second.events <= beat.events
    assert beat.fragments == beat.events


async def test_reset_stands_alone(house: House) -> None:
    """No position goes past events that were lost before the client is reset."""
    since = house.broker.known
    await house.say("a", "b", "c", topic=OTHER)
    lost = await house.say("d")
    viewer = house.view(since=since, topics=(TOPIC, OTHER))
    await until(lambda: viewer.named)

    (name, topics) = viewer.named[0]
    assert name == "sse-reset"
    assert set(json.loads(topics)) == {TOPIC, OTHER}
    assert viewer.positions[0].events >= lost[0]


async def test_position_says_what_was_sent_although_more_is_ready(house: House) -> None:
    """Of all that a joiner is sent at once, no position speaks of what stands behind it."""
    since = house.broker.known
    await house.change("list", "1")
    await house.refresh("mine")
    first = house.view("list", since=since)
    await first.sees("list", "1")
    viewer = house.view("list", "mine", since=since)
    await viewer.sees("list", "1")
    await until(lambda: b"/fetch" in b"".join(viewer.writes))

    assert [position.fragments for position in viewer.positions[:-1]] == [since.fragments]


async def test_page_that_is_ahead_is_sent_nothing_older(house: House) -> None:
    """A page that has a change of which this process has not heard keeps what it shows."""
    house.pages.data["list"] = "v1"
    other = await house.viewing("list")
    house.pages.gate.clear()
    await house.refresh("list")
    await until(lambda: house.pages.rendered)
    house.broker.late = []
    house.pages.data["list"] = "v2"
    id = await house.refresh("list")
    viewer = house.view("list", since=house.broker.known)
    await until(lambda: viewer.writes)
    house.pages.gate.set()
    await other.sees("list", "v1")
    await house.quiet()
    assert viewer.shown == []

    house.broker.arrive()
    await other.sees("list", "v2")
    await house.say("end")
    await viewer.hears("end")
    assert viewer.shown == []
    assert viewer.position.fragments == viewer.position.events > id


async def test_page_that_is_ahead_joins_no_group_before_the_process_has_caught_up(
    house: House,
) -> None:
    """Then older HTML of a slow render would reach it with what others are sent."""
    house.pages.data["list"] = "v1"
    other = await house.viewing("list")
    house.broker.late = []
    house.pages.data["list"] = "v2"
    await house.refresh("list")
    viewer = house.view("list", since=house.broker.known)
    await until(lambda: viewer.writes)
    house.pages.gate.clear()
    house.broker.arrive()
    await until(lambda: house.pages.rendered)
    house.heartbeat()
    await house.quiet()

    assert house.hub.position_of(viewer.connection) is None
    house.pages.gate.set()
    await other.sees("list", "v2")
    house.heartbeat()
    await until(lambda: house.hub.position_of(viewer.connection) is not None)
    assert viewer.shown == []


async def test_slow_render_does_not_make_up_for_a_newer_change(house: House) -> None:
    """The record of a change has expired, but the process has heard of it."""
    since = house.broker.known
    await house.viewing("list")
    house.pages.data["list"] = "v1"
    house.pages.gate.clear()
    await house.refresh("list")
    await until(lambda: house.pages.rendered)
    await house.change("list", "v2")
    house.broker.now += KEEPS[TOPIC].ttl + GRACE + 1
    await house.broker.probe()
    viewer = house.view("list", since=since)
    await until(lambda: viewer.writes)
    first, house.pages.gate = house.pages.gate, asyncio.Event()
    first.set()
    await until(lambda: len(house.pages.rendered) == 2)
    await house.quiet()
    assert viewer.shown == []

    house.pages.gate.set()
    await viewer.sees("list", "v2")
    assert viewer.shown == [("news.list?room=1", "v2")]


async def test_page_that_is_ahead_is_sent_nothing_older_without_a_record(house: House) -> None:
    """Nothing tells what it lacks, so all is sent; but what is here may be older than the page."""
    house.pages.data["list"] = "v1"
    await house.viewing("list")
    await house.paint("list")
    house.broker.late = []
    await house.change("list", "v2")
    since = house.broker.known
    house.broker.now += KEEPS[TOPIC].ttl + GRACE + 1
    viewer = house.view("list", since=since)
    await until(lambda: viewer.shown)

    assert viewer.shown == [("news.list?room=1", "v2")]


async def test_html_from_before_a_topic_was_heard_is_rendered_again(house: House) -> None:
    """What changed between a page's render and the subscription may be on record no more."""
    confirmed, subscribe = asyncio.Event(), house.broker.subscribe

    async def slow(topics: Iterable[str]) -> None:
        await confirmed.wait()
        await subscribe(topics)

    house.broker.subscribe = slow  # type: ignore[method-assign] # as over a network
    first = house.view("count")
    await until(lambda: house.hub.receivers(TOPIC) == 1)
    await house.paint("list")
    house.broker.is_deaf = True
    await house.change("list", "1")
    house.broker.is_deaf = False
    confirmed.set()
    await until(lambda: first.writes)
    house.broker.now += KEEPS[TOPIC].ttl + GRACE + 1
    await house.broker.probe()
    second = house.view("list", since=None)
    await until(lambda: second.shown)

    assert second.shown == [("news.list?room=1", "1")]


async def test_regular_fragment_goes_on_while_another_one_is_missing(house: House) -> None:
    """What was rendered since a page came is not older than the page, whatever its version."""
    viewer = house.view("clock", "list", since=house.broker.known)
    await house.viewing("clock")
    since = house.broker.known
    await house.change("list", "1")
    house.pages.specs["list"] = FragmentSpec("list")
    render = house.pages.render

    async def failing(topic: str, fragment: str, root: str = "") -> Rendered:
        if fragment == "list":
            raise RuntimeError("the database is away")
        return await render(topic, fragment)

    house.pages.render = failing  # type: ignore[method-assign]
    viewer = house.view("clock", "list", since=since)
    await until(lambda: viewer.writes)
    house.pages.data["clock"] = "12:01"
    await viewer.sees("clock", "12:01")
    house.pages.data["clock"] = "12:02"
    await viewer.sees("clock", "12:02")

    assert viewer.position.fragments == since.fragments
    house.pages.render = render  # type: ignore[method-assign]


async def test_position_never_goes_back(house: House) -> None:
    """Through joining, slow renders, heartbeats and sharing bytes with others."""
    await house.say("a")
    viewers = [house.view("list", "count") for _ in range(3)]
    for number in range(4):
        house.pages.gate.clear()
        await house.change("list", str(number))
        await house.say(str(number))
        house.heartbeat()
        viewers.append(house.view("list"))
        await house.quiet()
        house.pages.gate.set()
        await house.change("count", str(number))
        await house.quiet()
    *others, last = viewers
    for viewer in others:
        await viewer.sees("list", "3")
    await house.say("end")
    await last.hears("end")

    assert last.shown == []  # its page was made with the last change
    for viewer in viewers:
        positions = viewer.positions
        assert [p.events for p in positions] == sorted(p.events for p in positions)
        assert [p.fragments for p in positions] == sorted(p.fragments for p in positions)


async def test_position_of_a_page_is_not_sent_back_to_it(house: House) -> None:
    """A page with current fragments keeps its position while others wait for theirs."""
    await house.viewing("list")
    house.pages.gate.clear()
    await house.change("list", "1")
    await until(lambda: house.pages.rendered)
    viewer = house.view("count")
    since = house.broker.known
    await house.say("a")
    await viewer.hears("a")

    assert viewer.position.fragments >= since.fragments
    house.pages.gate.set()


async def test_position_lags_behind_a_fragment_that_is_not_sent(house: House) -> None:
    """An event that overtakes a slow render says that fragments are older than it is."""
    viewer = await house.viewing("list")
    before = house.broker.known
    house.pages.gate.clear()
    await house.change("list", "1")
    (id,) = await house.say("a")
    await viewer.hears("a")
    assert viewer.position == before._replace(events=id)

    house.pages.gate.set()
    await viewer.sees("list", "1")
    assert viewer.position.fragments == viewer.position.events == id


@pytest.mark.parametrize(("seconds", "is_again"), [(0, True), (59, True), (61, False)])
async def test_personal_fragment_is_signalled_again_on_resume(
    house: House, seconds: int, is_again: bool
) -> None:
    """A client may have been cut off before its fetch: for a minute, the signal repeats."""
    await house.refresh("mine")
    house.broker.now += seconds
    await house.broker.probe()
    viewer = house.view("mine")
    await house.quiet()
    await house.say("end")
    await viewer.hears("end")

    assert (b"/fetch" in b"".join(viewer.writes)) == is_again


# -- the rules for fragments, without a hub --------------------------------------------------------

BEFORE, POSITION, AFTER = Id(1_000_000, 0), Id(1_500_000, 0), Id(2_000_000, 0)
SHARED, PERSONAL = FragmentSpec("list"), FragmentSpec("mine", personal=True)


def start(*, now: bool = False, is_known: bool = True) -> Start:
    """Return the start of a client that shows the list, at a position or at none."""
    position = Position("e", POSITION, POSITION) if is_known else None
    return Start(position, frozenset({"list"}), KEEPS[TOPIC], now=now)


def replayed(**changes: Id) -> Replay:
    """Return what a broker says of a topic: fragment -> its last change."""
    replay = Replay(Position("e", AFTER, AFTER))
    replay.changes = {(TOPIC, name): change for name, change in changes.items()}
    return replay


@pytest.mark.parametrize("spec", [SHARED, PERSONAL], ids=["shared", "personal"])
@pytest.mark.parametrize(
    ("change", "is_lacking"), [(None, False), (BEFORE, False), (AFTER, True)], ids=str
)
def test_fragment_is_lacking_if_it_changed_after_the_position(
    spec: FragmentSpec, change: Id | None, is_lacking: bool
) -> None:
    """A change that is on record decides; without one nothing has changed for that long."""
    assert lacks(spec, start(), change, TOPIC, replayed()) is is_lacking


def test_personal_fragment_that_changed_just_before_is_fetched_again() -> None:
    """Its fetch may have failed in the very deploy that cut the stream."""
    change = Id(POSITION.ms - PERSONAL_AGAIN_MS + 1, 0)

    assert lacks(PERSONAL, start(), change, TOPIC, replayed())
    assert not lacks(SHARED, start(), change, TOPIC, replayed())
    assert not lacks(PERSONAL, start(), Id(change.ms - 1, 0), TOPIC, replayed())


@pytest.mark.parametrize("what", ["incomplete", "unknown", "stale"])
def test_where_the_record_does_not_reach_everything_is_lacking(what: str) -> None:
    """A client is sent too much rather than left with what is old."""
    replay = replayed()
    getattr(replay, what).add(TOPIC)

    assert lacks(SHARED, start(), None, TOPIC, replay)
    assert may_hide(start(), TOPIC, replay)


def test_client_without_a_position_lacks_all_and_a_new_one_nothing() -> None:
    """One that never saw a page of ours shows nothing that could be old."""
    assert lacks(SHARED, start(is_known=False), None, TOPIC, replayed())
    assert may_hide(start(is_known=False), TOPIC, replayed())
    assert not lacks(SHARED, start(now=True), AFTER, TOPIC, replayed())
    assert not may_hide(start(now=True), TOPIC, replayed(item=AFTER))


@pytest.mark.parametrize(
    ("changes", "may_be_inside"),
    [({}, False), ({"list": AFTER}, False), ({"item": AFTER}, True), ({"item": BEFORE}, False)],
    ids=str,
)
def test_what_a_client_does_not_show_may_be_inside_what_it_shows(
    changes: dict[str, Id], may_be_inside: bool
) -> None:
    """That is any other fragment of the topic that changed since."""
    assert may_hide(start(), TOPIC, replayed(**changes)) is may_be_inside
    assert not may_hide(start(), OTHER, replayed(**changes))
