"""The hub: one render and one set of bytes for many, each brought up to date when it comes."""

import asyncio
import json
import logging
import re
from collections.abc import Callable

import pytest

from quart_sse.broker import CONTROL_HISTORY, Keep, Kind, Message
from quart_sse.broker.memory import GRACE
from quart_sse.config import Config
from quart_sse.errors import BrokerUnavailable
from quart_sse.hub import fragment as fragment_module
from quart_sse.hub.outgoing import Outgoing
from quart_sse.hub.rendered import FragmentSpec, Rendered
from quart_sse.wire.naming import member_key
from quart_sse.wire.position import ZERO
from tests.support.house import CONFIG, KEEPS, LOUD, OTHER, TOPIC, House, Viewer
from tests.support.streams import until

# -- what comes from the broker --------------------------------------------------------------------


async def test_refreshes_during_a_render_cause_one_more(house: House) -> None:
    """What changes while the renderer runs is in the next render, and in no third one."""
    viewer = await house.viewing("list")
    house.pages.gate.clear()
    await house.change("list", "1")
    await until(lambda: house.pages.rendered)
    for html in "234":
        await house.change("list", html)
    house.pages.gate.set()
    await viewer.sees("list", "4")
    await house.quiet()

    assert house.pages.rendered == ["list", "list"]


async def test_fragment_of_another_release_is_a_warning(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    """A fragment that this process does not declare is named once, and nothing else happens."""
    viewer = await house.viewing("list")
    for _ in range(3):
        await house.refresh("newer")
    await house.say("a")
    await viewer.hears("a")

    (warning,) = caplog.records
    assert "'newer'" in warning.getMessage()
    assert "Another release" in warning.getMessage()


async def test_control_messages_are_handed_on(house: House) -> None:
    """What concerns the whole process is carried out by the layers above."""
    order = Message(Kind.CONTROL, ZERO, "", "disconnect", "{}")
    await house.broker.publish(order, Keep(0, 60.0))

    assert house.pages.controls == [("disconnect", "{}")]


async def test_heartbeat_moves_the_position_and_dispatches_nothing(house: House) -> None:
    """An idle stream is sent its position, which thus never grows too old."""
    viewer = await house.viewing("list")
    await house.broker.probe()
    house.heartbeat()
    await until(lambda: len(viewer.writes) > 1)
    await until(lambda: viewer.positions)

    assert viewer.events == []
    assert viewer.position == house.broker.known


async def test_renderer_that_raised_is_tried_again(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Viewers keep the last good HTML, and their position stays below what they lack."""
    monkeypatch.setattr(fragment_module, "FIRST_RETRY", 0.001)
    caplog.set_level(logging.CRITICAL, "quart_sse")
    viewer = await house.viewing("list")
    before = house.broker.known
    house.pages.error = RuntimeError("the database is away")
    await house.change("list", "1")
    await until(lambda: len(house.pages.rendered) > 2)
    await house.say("a")
    await viewer.hears("a")
    assert viewer.shown == []
    assert viewer.position.fragments == before.fragments

    house.pages.error = None
    await viewer.sees("list", "1")
    assert viewer.position.fragments == viewer.position.events


# -- push, personal, nested, regular ---------------------------------------------------------------


async def test_pushed_html_is_sent_and_kept_without_a_render(house: House) -> None:
    """Viewers get it, and so do those that connect later."""
    since = house.broker.known
    viewer = await house.viewing("list")
    await house.push("list", "1")
    await viewer.sees("list", "1")
    late = house.view("list", since=since)
    await late.sees("list", "1")

    assert house.pages.rendered == []


async def test_render_that_began_before_a_push_does_not_undo_it(house: House) -> None:
    """The newest version wins, not the one that was ready last."""
    viewer = await house.viewing("list")
    house.pages.gate.clear()
    await house.change("list", "1")
    await until(lambda: house.pages.rendered)
    await house.push("list", "2")
    await viewer.sees("list", "2")
    house.pages.gate.set()
    await house.quiet()
    house.heartbeat()
    await house.quiet()

    assert viewer.shown == [("news.list?room=1", "2")]
    assert viewer.position.fragments == viewer.position.events


@pytest.mark.parametrize("outer", ["count", "outer"])  # by name before and after what is inside
async def test_nested_fragment_is_not_undone_by_older_html_of_its_parent(
    house: House, outer: str
) -> None:
    """After a reset the parent's HTML is sent again, and contains what has changed since."""
    house.pages.nested[outer] = "list"
    first = await house.viewing(outer, "list")
    await house.change(outer, "1")
    await until(lambda: first.shown)
    await house.change("list", "2")
    await first.sees("list", "2")
    viewer = house.view(outer, "list", since=None)
    await house.quiet()
    await house.say("end")
    await viewer.hears("end")

    assert last_nested(viewer, outer, "list") == "2"


async def test_nested_fragment_is_not_undone_by_a_slow_render_of_its_parent(house: House) -> None:
    """The parent's render began before the change inside it, and ends after that was sent."""
    viewer = await house.viewing("outer", "list")
    house.pages.nested["outer"] = "list"
    house.pages.data["list"] = "1"
    gate = asyncio.Event()
    render = house.pages.render

    async def slow(topic: str, fragment: str, root: str = "") -> Rendered:
        rendered = await render(topic, fragment)
        if fragment == "outer":
            await gate.wait()
        return rendered

    house.pages.render = slow  # type: ignore[method-assign] # the renderer has more to do
    await house.change("outer", "1")
    await until(lambda: "list" in house.pages.rendered)
    await house.change("list", "2")
    await viewer.sees("list", "2")
    gate.set()
    await until(lambda: any(key == "news.outer?room=1" for key, _ in viewer.shown))
    await house.quiet()

    assert last_nested(viewer, "outer", "list") == "2"


@pytest.fixture
async def slow_outer(house: House) -> asyncio.Event:
    """Let the outer fragment take "count" first and then its time, until this is set."""
    house.pages.nested["outer"] = "count"
    gate, render = asyncio.Event(), house.pages.render

    async def slow(topic: str, fragment: str, root: str = "") -> Rendered:
        rendered = await render(topic, fragment)
        if fragment == "outer":
            await gate.wait()
        return rendered

    house.pages.render = slow  # type: ignore[method-assign] # the renderer has more to do
    return gate


async def test_what_repairs_an_outer_fragment_is_in_its_own_message(
    house: House, slow_outer: asyncio.Event
) -> None:
    """A client that stands still is given both together, behind what came before."""
    viewer = house.view("outer", "count", is_stalled=True)
    await until(lambda: house.hub.position_of(viewer.connection) is not None)
    await house.say("a")
    await house.change("outer", "1")
    await until(lambda: "count" in house.pages.rendered)
    await house.change("count", "2")
    await until(lambda: house.pages.rendered.count("count") == 2)
    slow_outer.set()
    await house.quiet()
    viewer.flows.set()
    await house.say("end")
    await viewer.hears("a", "end")

    *_, (last, message) = [
        (event.id, event.data) for event in viewer.events if "news.outer" in event.data
    ]
    assert message.index(">-</div>") < message.index(">2</hx-partial>")
    assert last == str(viewer.positions[-2])
    assert last_nested(viewer, "outer", "count") == "2"


async def test_what_repairs_an_outer_fragment_survives_a_batch(
    house: House, slow_outer: asyncio.Event
) -> None:
    """The newest version of each fragment is sent: in one batch, too, the inner one comes last."""
    viewer = await house.viewing("outer", "count")
    await house.change("outer", "1")
    await until(lambda: "count" in house.pages.rendered)
    house.hub._batcher._not_before = asyncio.get_running_loop().time() + 0.05
    await house.change("count", "2")
    await until(lambda: house.pages.rendered.count("count") == 2)
    slow_outer.set()
    await until(lambda: any(key == "news.outer?room=1" for key, _ in viewer.shown))

    assert last_nested(viewer, "outer", "count") == "2"


async def test_position_of_an_outer_fragment_is_true_wherever_a_client_is_cut_off(
    house: House, slow_outer: asyncio.Event
) -> None:
    """After each message, what the page shows is at least what its position says."""
    viewer = await house.viewing("outer", "count")
    await house.change("outer", "1")
    await until(lambda: "count" in house.pages.rendered)
    changed = await house.change("count", "2")
    await viewer.sees("count", "2")
    slow_outer.set()
    await until(lambda: any(key == "news.outer?room=1" for key, _ in viewer.shown))
    await house.say("end")
    await viewer.hears("end")

    blocks = b"".join(viewer.writes).split(b"\n\n")
    for number in range(1, len(blocks)):
        cut = Viewer(viewer.connection, {}, [b"\n\n".join(blocks[:number]) + b"\n\n"])
        if cut.positions and cut.position.fragments >= changed:
            assert last_nested(cut, "outer", "count") == "2"


async def test_outer_fragment_is_repaired_with_what_is_of_another_topic(house: House) -> None:
    """It may include fragments of other topics, which change like its own."""
    gate = asyncio.Event()

    async def render(topic: str, fragment: str, root: str = "") -> Rendered:
        if fragment != "outer":
            return Rendered(house.pages.data.get(fragment, "-"))
        inner = await house.hub.render_now(OTHER, house.pages.specs["count"])
        await gate.wait()
        div = f'<div data-sse="{member_key(OTHER, "count")}">{inner.html}</div>'
        return Rendered(div, frozenset({(OTHER, "count")}))

    house.pages.render = render  # type: ignore[method-assign]
    viewer = house.look({TOPIC: frozenset({"outer"}), OTHER: frozenset({"count"})})
    await until(lambda: house.hub.position_of(viewer.connection) is not None)
    await house.refresh("outer")
    await until(lambda: house.hub._roots.at("").known(OTHER, "count") is not None)
    house.pages.data["count"] = "2"
    await house.refresh("count", topic=OTHER)
    await until(lambda: viewer.shown)
    gate.set()
    await until(lambda: len(viewer.shown) > 2)

    *_, last = [event for event in viewer.events if event.event == "message"]
    assert [key for key, _ in viewer.shown[-2:]] == ["news.outer?room=1", "news.count?room=2"]
    assert viewer.shown[-1][1] == "2"
    assert "news.outer" in last.data


async def test_fragment_that_appears_inside_another_one_is_as_new_as_positions_say(
    house: House, slow_outer: asyncio.Event
) -> None:
    """It changed while it was shown nowhere, after the outer one had taken it."""
    viewer = await house.viewing("outer")
    await house.paint("list")
    await house.change("outer", "1")
    await until(lambda: "count" in house.pages.rendered)
    await house.change("count", "2")
    slow_outer.set()
    await until(lambda: viewer.shown)
    await house.say("end")
    await viewer.hears("end")

    assert last_nested(viewer, "outer", "count") == "2"
    outer = [html for key, html in viewer.shown if key == "news.outer?room=1"]
    assert all(">2</div>" in html for html in outer)


async def test_page_of_another_process_is_sent_what_may_be_inside_its_fragments(
    house: House,
) -> None:
    """Of HTML that was rendered elsewhere it is not known here what is inside."""
    house.pages.nested["outer"] = "count"
    since = house.broker.known
    await house.change("count", "2")
    viewer = house.view("outer", since=since)
    await until(lambda: viewer.shown)

    assert last_nested(viewer, "outer", "count") == "2"


async def test_change_of_what_may_be_inside_a_page_of_another_process_reaches_it(
    house: House,
) -> None:
    """Once, the fragment that may contain it is rendered; from then on what is inside is known."""
    house.pages.nested["outer"] = "count"
    viewer = await house.viewing("outer")
    before = house.broker.known
    house.pages.gate.clear()
    await house.change("count", "2")
    await house.say("a")
    await viewer.hears("a")
    assert viewer.position.fragments == before.fragments
    house.pages.gate.set()
    await until(lambda: viewer.shown)
    assert last_nested(viewer, "outer", "count") == "2"

    house.pages.rendered.clear()
    await house.change("count", "3")
    await viewer.sees("count", "3")
    assert house.pages.rendered == ["count"]


async def test_fragment_with_nothing_inside_is_not_sent_again(house: House) -> None:
    """A page of another process is sent nothing because something else of its topic changed."""
    viewer = await house.viewing("list")
    for _ in range(3):
        await house.refresh("count")
        await house.say("a")
        await house.quiet()

    assert viewer.said == ["a"] * 3
    assert viewer.shown == []
    assert house.pages.rendered == ["list"]
    assert viewer.position.fragments == viewer.position.events


async def test_pushed_html_with_fragments_inside_is_rendered_instead(house: House) -> None:
    """What its publisher put there may be older than what viewers have; a render is not."""
    house.pages.nested["outer"] = "count"
    viewer = await house.viewing("outer", "count")
    await house.change("count", "2")
    await viewer.sees("count", "2")
    html = f'pushed<div data-sse="{member_key(TOPIC, "count")}">1</div>'
    await house.broker.publish(Message(Kind.PUSH, ZERO, TOPIC, "outer", html), KEEPS[TOPIC])
    await until(lambda: any(key == "news.outer?room=1" for key, _ in viewer.shown))

    assert last_nested(viewer, "outer", "count") == "2"
    assert b"pushed" not in b"".join(viewer.writes)


async def test_nested_fragment_that_changed_during_a_cut_is_sent(house: House) -> None:
    """A page that does not know what came inside its fragment later misses none of its changes."""
    first = await house.viewing("outer")
    house.pages.nested["outer"] = "count"
    await house.change("outer", "1")
    await until(lambda: first.shown)
    await house.leave(first)
    since = first.position
    await house.change("count", "2")
    second = house.view("outer", since=since)
    await second.sees("count", "2")


def last_nested(viewer: Viewer, outer: str, inner: str) -> str:
    """Return what an element inside another one shows in the end."""
    shown = ""
    for key, html in viewer.shown:
        if key == member_key(TOPIC, inner):
            shown = html
        elif key == member_key(TOPIC, outer):
            (shown,) = re.findall(r"<div data-sse=\"[^\"]*\">(.*?)</div>", html)
    return shown


@pytest.fixture
async def timers(monkeypatch: pytest.MonkeyPatch) -> list[asyncio.TimerHandle]:
    """The timers that are set for regular fragments."""
    loop = asyncio.get_running_loop()
    timers: list[asyncio.TimerHandle] = []
    call_later = loop.call_later

    def noting(delay: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        timers.append(call_later(delay, callback))
        return timers[-1]

    monkeypatch.setattr(loop, "call_later", noting)
    return timers


async def test_regular_fragment_is_rendered_while_it_has_viewers(
    house: House, timers: list[asyncio.TimerHandle]
) -> None:
    """It is refreshed by itself, once for all viewers, and no more when they have gone."""
    one, two = await house.viewing("clock"), await house.viewing("clock")
    house.pages.data["clock"] = "12:00"
    await one.sees("clock", "12:00")
    await two.sees("clock", "12:00")
    house.pages.data["clock"] = "12:01"
    await one.sees("clock", "12:01")
    await house.leave(one)
    await house.leave(two)
    renders, loop = len(house.pages.rendered), asyncio.get_running_loop()
    await until(lambda: loop.time() > timers[-1].when())
    await house.quiet()

    assert len(house.pages.rendered) == renders
    assert all(timer.when() < loop.time() for timer in timers)


async def test_regular_fragment_has_one_clock(
    house: House, timers: list[asyncio.TimerHandle]
) -> None:
    """A topic that is forgotten and comes back does not tick twice."""
    house.pages.specs["clock"] = FragmentSpec("clock", every=3600.0)
    for _ in range(3):
        await house.leave(await house.viewing("clock"))
        await house.hub.forget(asyncio.get_running_loop().time() + CONFIG.linger + 1)

    assert len([timer for timer in timers if not timer.cancelled()]) <= 1


# -- pages -----------------------------------------------------------------------------------------


async def test_pages_share_a_render_that_begins_after_both_asked(house: House) -> None:
    """Calls while a render runs share the next one."""
    house.pages.gate.clear()
    first = asyncio.create_task(house.paint("list"))
    await until(lambda: house.pages.rendered)
    house.pages.data["list"] = "1"
    others = [asyncio.create_task(house.paint("list")) for _ in range(3)]
    await house.quiet()
    house.pages.gate.set()

    assert await first == "-"
    assert [await other for other in others] == ["1", "1", "1"]
    assert house.pages.rendered == ["list", "list"]


async def test_page_that_is_given_up_does_not_stop_the_render(house: House) -> None:
    """A visitor that leaves takes nothing from the others that wait for the same HTML."""
    house.pages.gate.clear()
    one, two = (asyncio.create_task(house.paint("list")) for _ in range(2))
    await until(lambda: house.pages.rendered)
    one.cancel()
    await asyncio.gather(one, return_exceptions=True)
    house.pages.gate.set()

    assert await two == "-"
    assert house.pages.rendered == ["list"]


async def test_page_whose_renderer_raises_gets_the_error(house: House) -> None:
    """The error is the page's own; without viewers nothing is tried again."""
    house.pages.error = RuntimeError("the database is away")
    with pytest.raises(RuntimeError, match="the database is away"):
        await house.paint("list")

    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_page_alone_leaves_nothing_behind(house: House) -> None:
    """A page that never connects costs its render and no memory."""
    await house.paint("list")

    assert house.hub._roots.names() == {}


async def test_page_sees_what_changes_before_it_connects(house: House) -> None:
    """Between the render and the stream nothing is lost: the page's own position says where."""
    since = house.broker.known
    assert await house.paint("list") == "-"
    await house.change("list", "1")
    await house.say("a")
    viewer = house.view("list", since=since)
    await viewer.sees("list", "1")
    await viewer.hears("a")


# -- leaving ---------------------------------------------------------------------------------------


async def test_leaving_frees_everything(house: House) -> None:
    """After the last viewer and a while, the process knows nothing of a topic any more."""
    hub = house.hub
    viewers = [await house.viewing("list", "count", topics=(TOPIC, OTHER)) for _ in range(2)]
    viewers.append(house.view("outer", since=None))
    house.pages.gate.clear()
    await house.change("list", "1")
    await house.say("a")
    await house.quiet()
    for viewer in viewers:
        await house.leave(viewer)
    house.pages.gate.set()
    await until(lambda: len(asyncio.all_tasks()) == 1)
    assert hub.subscribers.keys() == {TOPIC, OTHER}

    await hub.forget(asyncio.get_running_loop().time() + CONFIG.linger + 1)
    groups = hub._groups
    assert not any(
        (hub.subscribers, groups._shared, groups._of, groups._joining, hub._roots.names())
    )


async def test_topic_lingers_while_a_client_changes_pages(house: House) -> None:
    """Before the time is over a topic is kept, and a viewer that comes back keeps it for longer."""
    loop = asyncio.get_running_loop()
    viewer = await house.viewing("list")
    await house.leave(viewer)
    await house.hub.forget(loop.time() + CONFIG.linger - 1)
    assert TOPIC in house.hub.subscribers

    await house.viewing("list")
    await house.hub.forget(loop.time() + CONFIG.linger + 1)
    assert TOPIC in house.hub.subscribers


async def test_connection_may_leave_twice_or_never_have_come(house: House) -> None:
    """Leaving is harmless at any time."""
    viewer = await house.viewing()
    house.hub.leave(viewer.connection)
    house.hub.leave(viewer.connection)
    house.hub.leave(house.pages.connect({}))

    assert house.hub.receivers(TOPIC) == 0


async def test_leaving_connection_takes_what_it_lacked_along(house: House) -> None:
    """A slow render without viewers left holds no other connection's position back."""
    one, two = await house.viewing("list"), await house.viewing("count")
    await house.paint("count")
    house.pages.gate.clear()
    await house.change("list", "1")
    await until(lambda: "list" in house.pages.rendered)
    await house.leave(one)
    await house.say("a")
    await two.hears("a")

    assert two.position.fragments == two.position.events
    house.pages.gate.set()


async def test_newcomer_that_leaves_does_not_separate_the_others(house: House) -> None:
    """The same page in other browsers still shares its bytes."""
    one, two = await house.viewing("list"), await house.viewing("list")
    house.broker.answers.clear()
    await house.leave(house.view("list"))
    house.broker.answers.set()
    three = await house.viewing("list")
    await house.say("a")
    for viewer in (one, two, three):
        await viewer.hears("a")

    assert one.writes[-1] is two.writes[-1]
    assert one.writes[-1] is three.writes[-1]


# -- when the broker is away, and after a gap ------------------------------------------------------


async def test_join_that_is_not_answered_gives_up() -> None:
    """A broker that never answers costs its timeout, and leaves nothing when it is left."""
    house = House(Config(join_timeout=0.01))
    await house.open()
    house.broker.answers.clear()
    viewer = house.view("list")
    assert viewer.task is not None
    with pytest.raises(BrokerUnavailable, match=r"within 0\.01 s"):
        await viewer.task

    assert not house.hub._groups.items()
    assert house.hub.receivers(TOPIC) == 0
    await house.close()


async def test_catching_up_delivers_what_was_missed(house: House) -> None:
    """After a gap within history connections are sent what happened, and no reset."""
    viewer = await house.viewing("list", "mine")
    house.broker.is_deaf = True
    await house.say("a", "b")
    await house.change("list", "1")
    await house.refresh("mine")
    await house.catch_up()
    await house.say("c")
    await viewer.hears("a", "b", "c")
    await viewer.sees("list", "1")
    await until(lambda: b"/fetch" in b"".join(viewer.writes))

    assert viewer.positions == sorted(viewer.positions)


async def test_gap_that_is_too_large_resets_before_anything_else(house: House) -> None:
    """A connection that lost events is reset first, then sent every fragment; others go on."""
    loser = await house.viewing("list", topics=(TOPIC, OTHER))
    other = await house.viewing("list")
    before = house.broker.known
    house.broker.is_deaf = True
    await house.say("lost", "lost", "lost", topic=OTHER)
    await house.say("a")
    await house.change("list", "1")
    await house.catch_up()
    await other.hears("a")
    await other.sees("list", "1")
    await loser.sees("list", "1")
    await house.say("b")
    await other.hears("a", "b")
    await until(lambda: loser.said[-1:] == ["b"])

    assert loser.named[0][0] == "sse-reset"
    assert OTHER in json.loads(loser.named[0][1])
    reset = loser.positions[0]
    assert reset.events > before.events
    assert reset.fragments == ZERO
    assert [name for name, _ in other.named] == ["news.said?room=1"] * 2


async def test_reset_after_a_gap_does_not_overtake_what_is_pending(house: House) -> None:
    """A slow client is sent no old events, and no older position, after its reset."""
    slow = await house.viewing("list", topics=(TOPIC, OTHER))
    slow.flows.clear()
    for text in "ab":
        await house.say(text)
        await house.quiet()
    house.broker.is_deaf = True
    await house.say("lost", "lost", "lost", topic=OTHER)
    await house.catch_up()
    slow.flows.set()
    await until(lambda: "sse-reset" in dict(slow.named))
    await house.say("c")
    await until(lambda: "c" in slow.said)

    names = [name if name.startswith("sse-") else data for name, data in slow.named]
    assert names[names.index("sse-reset") :] == ["sse-reset", "c"]
    events = [position.events for position in slow.positions]
    assert events == sorted(events)


async def test_what_is_added_just_when_all_was_sent_comes_before_a_reset(house: House) -> None:
    """Catching up is not the only one that waits for that moment."""
    viewer = await house.viewing()
    idle = house.hub._batcher.idle
    note = Outgoing.direct("note", "x", is_text=True, once="1")

    async def send() -> None:
        await idle.wait()
        assert house.hub.changes.send([viewer.connection], note)

    idle.clear()  # as if a batch were on its way
    house.broker.lose_data()
    tasks = [asyncio.create_task(send()), asyncio.create_task(house.catch_up())]
    await house.quiet()
    idle.set()
    await asyncio.gather(*tasks)
    await house.quiet()

    assert [name for name, _ in viewer.named] == ["note", "sse-reset"]


async def test_another_epoch_trusts_nothing_of_before(house: House) -> None:
    """When the broker's data is gone every page is reset and sent new renders."""
    viewer = await house.viewing("list", topics=(TOPIC, LOUD))
    await house.change("list", "1")
    await viewer.sees("list", "1")
    house.broker.lose_data()
    house.pages.data["list"] = "2"
    await house.catch_up()
    await viewer.sees("list", "2")
    await house.say("a")
    await viewer.hears("a")

    # Events without history are no facts: of those nothing can be lost.
    assert viewer.named[0] == ("sse-reset", json.dumps([TOPIC]))
    assert viewer.position.epoch == house.broker.known.epoch


async def test_gap_during_a_join_is_no_silent_loss(house: House) -> None:
    """A message lost after the snapshot, before its answer, arrives or leads to a reset."""
    answer = house.broker.answers = asyncio.Event()
    viewer = house.view(topics=(OTHER,))
    await until(lambda: house.broker.asked)
    house.broker.is_deaf = True
    await house.say("1", "2", "3", topic=OTHER)
    house.broker.answers = asyncio.Event()
    house.broker.answers.set()
    await house.catch_up()
    answer.set()
    await house.quiet()
    await house.say("4", topic=OTHER)
    await house.quiet()

    assert viewer.task is not None
    if viewer.task.done():  # sent away, to come back
        with pytest.raises(BrokerUnavailable):
            await viewer.task
    else:
        assert viewer.named[0][0] == "sse-reset" or viewer.said == ["1", "2", "3", "4"]


async def test_gap_while_a_replay_is_encoded_is_no_silent_loss(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others run between the events of a replay, and what is lost then may be lost for the page."""
    monkeypatch.setattr("quart_sse.serving_loop.STRETCH", -1.0)
    since = house.broker.known
    await house.say(*map(str, range(10)))
    viewer = house.view(since=since)
    await until(lambda: house.broker.asked)
    house.broker.is_deaf = True
    await house.say(*map(str, range(11)))
    await house.catch_up()
    assert viewer.task is not None
    assert not viewer.task.done()

    with pytest.raises(BrokerUnavailable, match="Messages were lost"):
        await asyncio.wait_for(viewer.task, 5)


async def test_topic_that_aged_without_a_record_is_rendered(house: House) -> None:
    """A client that was away for longer than changes are on record is sent what is current."""
    since = house.broker.known
    await house.change("list", "1")
    house.broker.now += KEEPS[TOPIC].ttl + GRACE + 1
    viewer = house.view("list", since=since)
    await viewer.sees("list", "1")

    assert [name for name, _ in viewer.named] == ["sse-reset"]


async def test_changes_that_aged_during_a_gap_are_all_rendered(house: House) -> None:
    """Of a gap that was longer than changes are remembered nothing shown is trusted."""
    viewer = await house.viewing("list", "count", topics=(LOUD,))
    house.heartbeat()
    await until(lambda: viewer.positions)
    before = viewer.position
    house.broker.is_deaf = True
    house.pages.data |= {"list": "1", "count": "1"}
    await house.refresh("list", LOUD)
    await house.refresh("count", LOUD)
    house.broker.now += KEEPS[LOUD].ttl + GRACE + 1
    house.pages.gate.clear()
    await house.catch_up()
    house.heartbeat()
    await until(lambda: viewer.position.events > before.events)
    assert viewer.position.fragments <= before.events

    house.pages.gate.set()
    keys = {member_key(LOUD, name) for name in ("list", "count")}
    await until(lambda: set(viewer.shown) == {(key, "1") for key in keys})


async def test_connection_that_joined_while_a_process_caught_up_is_not_reset(house: House) -> None:
    """A newcomer's own snapshot is newer than that of the process, which knows of a loss."""
    await house.viewing(topics=(OTHER,))
    house.broker.is_deaf = True
    await house.say("1", "2", "3", topic=OTHER)
    held = house.broker.answers = asyncio.Event()
    catching_up = asyncio.create_task(house.hub.catch_up())
    await until(lambda: house.broker.asked == 2)
    house.broker.answers = asyncio.Event()
    house.broker.answers.set()
    newcomer = house.view(topics=(OTHER,))
    await until(lambda: house.broker.asked == 3)
    await house.quiet()
    held.set()
    await catching_up
    house.broker.is_deaf = False
    await house.say("4", topic=OTHER)
    await newcomer.hears("4")

    assert newcomer.named == [("news.said?room=2", "4")]
    assert newcomer.positions == sorted(newcomer.positions)


async def test_render_that_outlasts_its_topic_is_not_trusted(house: House) -> None:
    """The process misses the changes of a forgotten topic, so that earlier renders are old."""
    viewer = await house.viewing("list")
    house.pages.gate.clear()
    await house.change("list", "1")
    await until(lambda: house.pages.rendered == ["list"])
    await house.leave(viewer)
    await house.hub.forget(asyncio.get_running_loop().time() + CONFIG.linger + 1)
    house.pages.data["list"] = "2"  # changed before a client listens again
    await house.refresh("list")
    house.broker.now += KEEPS[TOPIC].ttl + GRACE + 1
    house.pages.gate.set()
    await house.quiet()
    late = house.view("list", since=None)
    await late.sees("list", "2")
    await house.quiet()

    assert late.shown == [("news.list?room=1", "2")]


async def test_control_messages_are_caught_up_with(house: House) -> None:
    """An order that was given while the process heard nothing is carried out all the same."""
    house.broker.is_deaf = True
    await house.broker.publish(Message(Kind.CONTROL, ZERO, "", "disconnect", "{}"), CONTROL_HISTORY)
    await house.catch_up()
    await house.catch_up()

    assert house.pages.controls == [("disconnect", "{}")]


async def test_loss_of_control_messages_is_noted(house: House) -> None:
    """Neither a gap that is too long nor other data loses them silently."""
    house.broker.is_deaf = True
    await house.catch_up()
    assert house.pages.controls == []
    house.broker.is_deaf = True
    await house.broker.publish(Message(Kind.CONTROL, ZERO, "", "disconnect", "{}"), CONTROL_HISTORY)
    house.broker.now += CONTROL_HISTORY.ttl + GRACE + 1
    await house.catch_up()
    assert house.pages.controls == [("lost", "")]
    house.broker.lose_data()
    await house.catch_up()

    assert house.pages.controls == [("lost", "")] * 2
