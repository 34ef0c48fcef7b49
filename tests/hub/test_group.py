"""Connections that share bytes, and the newcomer whose positions are still its own."""

import re
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quart_sse.config import Config
from quart_sse.hub.batch import Batch
from quart_sse.hub.connection import Connection
from quart_sse.hub.group import MAX_HELD, MAX_HELD_BYTES, Group, Joining, Missing
from quart_sse.hub.outgoing import Outgoing
from quart_sse.hub.rendered import FragmentSpec
from quart_sse.hub.traffic import Traffic
from quart_sse.wire.naming import item_key
from quart_sse.wire.position import ZERO, Position
from tests.support.house import House
from tests.support.outgoing import LIST, at, event, heartbeat, html, position
from tests.support.streams import until

SUBSCRIPTION = {"notes?room=7": frozenset({"list", "count"}), "board": frozenset[str]()}


def newcomer(granted: int | None = None, *, bare: bool = False) -> Joining:
    """Return the group of a connection that has just come."""
    connection = Connection(SUBSCRIPTION, Config(), loader=lambda _: b"", bare=bare)
    return Joining(connection, granted)


def taken(group: Group) -> bytes:
    """Return the bytes that have gathered."""
    data = group.take(Traffic()).data
    assert data is not None
    return data


def positions_of(wire: bytes) -> list[Position]:
    """Return the positions that a client comes to, one after the other."""
    read = [Position.parse(line.decode()) for line in re.findall(rb"(?m)^id: (.*)$", wire)]
    assert None not in read
    return [found for found in read if found is not None]


def bodies_of(wire: bytes) -> list[str]:
    """Return the data of every message, in order."""
    return [line.decode() for line in re.findall(rb"(?m)^data: (.*)$", wire)]


# -- groups ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("topic", "fragment", "is_wanted"),
    [
        ("notes?room=7", "list", True),
        ("notes?room=7", "item", True),
        ("notes?room=7", "other", False),
        ("notes?room=7", "elsewhere", False),
        ("notes?room=8", "list", False),
        ("board", "list", False),
        ("board", "item", False),
    ],
)
def test_group_wants_what_its_pages_show(topic: str, fragment: str, is_wanted: bool) -> None:
    """A fragment is wanted where it is shown, also inside another one that is shown."""
    group = Group(SUBSCRIPTION, bare=False, granted=None)
    parents = {"item": {"table", "list"}, "elsewhere": {"table"}}

    assert group.shows(topic, fragment, parents) is is_wanted


def test_group_joins_what_has_gathered() -> None:
    """A batch has what was added since the last one, and only the newest of each fragment."""
    group = Group(SUBSCRIPTION, bare=False, granted=None)

    assert group.add(html(1, version=1))
    assert group.add(event(2))
    assert group.add(heartbeat(2))
    assert group.add(html(3, version=3))
    assert group.add(heartbeat(3))
    batch = group.take(Traffic())

    assert batch.data == (
        b"id: e.2-0\ndata: 2\n\nid: e.3-0\ndata: v3\n\nid: e.3-0\n\n"  # the newest of each key
    )
    assert group.take(Traffic()) == Batch.of([])


def test_groups_share_the_bytes_of_a_message() -> None:
    """Two groups of one kind are given the same object for one message."""
    one, other = Group(SUBSCRIPTION, False, None), Group({}, False, None)
    item = event(5)

    one.add(item)
    other.add(item)

    assert one.take(Traffic()).data is other.take(Traffic()).data


# -- the newcomer ----------------------------------------------------------------------------------


async def test_newcomer_holds_what_comes_before_the_replay() -> None:
    """While the broker is asked what was missed, messages wait; those of the replay are dropped."""
    joining = newcomer()

    assert not any([joining.add(event(4)), joining.add(event(5)), joining.add(event(6))])
    assert joining.pending == []
    joining.release(at(5))

    assert taken(joining) == b"id: e.6-0\ndata: 6\n\n"
    assert joining.add(event(7))
    assert taken(joining) == b"id: e.7-0\ndata: 7\n\n"


async def test_held_fragments_are_never_dropped() -> None:
    """HTML that came during the join is sent, although its position is below the snapshot."""
    joining = newcomer()
    joining.add(html(4, version=4))
    joining.add(heartbeat(4))
    joining.add(event(6))

    joining.release(at(5))

    wire = taken(joining)
    assert bodies_of(wire) == ["v4", "6"]
    assert positions_of(wire) == [position(5, 4), position(6)]


async def test_newcomer_gets_its_own_kind_of_message() -> None:
    """A stream of one topic alone gets bare names, and its position says what was granted."""
    joining = newcomer(granted=5, bare=True)
    joining.release(ZERO)

    joining.add(event(7))

    assert taken(joining) == b"id: e.7-0@5\nbare data: 7\n\n"
    assert joining.replayed(event(8)) == b"id: e.8-0@5\nbare data: 8\n\n"


async def test_replay_moves_the_position() -> None:
    """What was replayed is never below what comes next."""
    joining = newcomer()
    joining.lag(at(3))

    replayed = [joining.replayed(event(4)), joining.replayed(event(6))]
    joining.release(at(8))
    joining.mark_current()
    joining.add(heartbeat(8))

    assert replayed == [b"id: e.4-0~3-0\ndata: 4\n\n", b"id: e.6-0~3-0\ndata: 6\n\n"]
    assert taken(joining) == b"id: e.8-0\n\n"


async def test_position_stays_where_the_page_was_until_all_was_sent() -> None:
    """Until the last fragment that a page lacks was sent, positions do not say it has them."""
    joining = newcomer()
    joining.lag(at(3))
    joining.missing = {LIST: Missing(at(5)), "notes.count?room=7": Missing(at(6))}
    joining.release(at(7))
    count = html(10, version=6)
    count.key = "notes.count?room=7"

    for item in (event(8), html(9, version=5), count, event(11)):
        joining.add(item)

    wire = taken(joining)
    assert bodies_of(wire) == ["8", "v5", "v6", "11"]
    assert positions_of(wire) == [position(8, 3), position(9, 3), position(10), position(11)]


async def test_older_version_does_not_make_up_for_a_missing_one() -> None:
    """HTML that lacks the change which the page lacks is sent, and the missing stays."""
    joining = newcomer()
    joining.lag(at(3))
    joining.missing = {LIST: Missing(at(5))}
    joining.release(at(7))

    joining.add(html(8, version=4))
    assert joining.missing == {LIST: Missing(at(5))}
    joining.add(html(9, version=5))

    assert joining.missing == {}
    assert bodies_of(taken(joining)) == ["v5"]


def taker(**missing: int) -> Joining:
    """Return a newcomer that lacks versions of items, or of all of the list (``whole``)."""
    shown = {"notes?room=7": frozenset({"list", "list/"})}
    joining = Joining(Connection(shown, Config(), loader=lambda _: b""), None)
    joining.lag(at(3))
    for name, version in missing.items():
        key = LIST if name == "whole" else item_key(LIST, name)
        joining.missing[key] = Missing(at(version))
    joining.release(at(7))
    return joining


def of_list(events: int, version: int, item: str = "", **newer: int) -> Outgoing:
    """Return a version of an item, or of all of the list with some items that are newer."""
    found = html(events, 3, version=version)
    found.within = LIST
    if item:
        found.key, found.body = item_key(LIST, item), b"data: %s%d\n\n" % (item.encode(), version)
    else:
        found.newer = {key: at(each) for key, each in newer.items()}
    return found


@pytest.mark.parametrize("item", ["", "a"])
async def test_state_of_a_list_that_only_others_lack_is_not_sent(item: str) -> None:
    """It may be older than what the page has been sent."""
    joining = taker(b=5)
    outgoing = of_list(8, 9, item)
    outgoing.is_targeted = True

    assert not joining.add(outgoing)


async def test_page_that_lacks_the_whole_list_is_sent_no_item_before_it() -> None:
    """There is nothing yet into which the item goes."""
    joining = taker(whole=5)

    assert not joining.add(of_list(8, 9, "a"))
    assert joining.add(of_list(9, 9))
    assert bodies_of(taken(joining)) == ["v9"]


async def test_page_is_sent_no_item_older_than_the_whole_list_that_it_was_sent() -> None:
    """By the versions of both, as positions say nothing while others lack something."""
    joining = taker(whole=5)
    joining.add(of_list(8, 9))

    assert not joining.add(of_list(10, 9, "a"))
    assert joining.add(of_list(11, 10, "a"))
    assert bodies_of(taken(joining)) == ["v9", "a10"]


async def test_whole_list_makes_up_for_the_missing_items_that_it_has() -> None:
    """By its own version, or by that of the item behind it; for other lists it does not."""
    joining = taker(a=9, b=9, c=10, d=10)
    joining.missing["notes.others/a?room=7"] = Missing(at(5))

    joining.add(of_list(8, 9, d=10))

    assert set(joining.missing) == {item_key(LIST, "c"), "notes.others/a?room=7"}


async def test_page_has_what_the_whole_list_shows_that_it_was_sent() -> None:
    """Before positions have come so far, it shares no bytes with others."""
    joining = taker(whole=5)
    joining.add(of_list(8, 9))
    taken(joining)

    assert joining.is_caught_up
    assert joining.page_current == at(9)


async def test_page_that_is_ahead_of_others_keeps_its_position() -> None:
    """A render that others wait for does not hold back a page that was made after the change."""
    joining = newcomer()
    joining.lag(at(6))
    joining.release(at(7))
    joining.mark_current()

    joining.add(event(8, 4))

    assert positions_of(taken(joining)) == [position(8, 6)]


async def test_newcomer_is_caught_up_when_nothing_is_left() -> None:
    """Bytes are shared only after the replay, with nothing missing, and with nothing on its way."""
    joining = newcomer()
    assert not joining.is_caught_up

    joining.missing = {LIST: Missing(at(5))}
    joining.release(at(7))
    assert not joining.is_caught_up

    joining.add(html(8, version=5))
    assert joining.missing == {}
    assert not joining.is_caught_up

    joining.take(Traffic())
    assert joining.is_caught_up


# -- a newcomer's life, as the hub leads it --------------------------------------------------------

STEP = st.sampled_from(["event", "refresh", "render", "other", "heartbeat"])


@dataclass
class Life:
    """What a newcomer was sent, and what was true when it was."""

    seen: int = 10  #: number of the broker's last message
    floor: int | None = None  #: where the hub stood before a refresh that is not yet rendered
    changed: int = 0  #: number of the list's last change
    history: list[int] = field(default_factory=list)  #: numbers of all events
    wire: bytes = b""

    @property
    def fragments(self) -> int:
        """Up to where all connections were sent all fragments."""
        return self.seen if self.floor is None else self.floor

    def step(self, step: str) -> Outgoing | None:
        """Let one thing happen to the hub; returns the message that it has for connections."""
        if step == "render" and self.floor is not None:  # else there is nothing to render
            self.floor = None
            return html(self.seen, version=self.changed)
        if step in ("heartbeat", "render"):
            return heartbeat(self.seen, self.fragments)
        before = self.seen
        self.seen += 1
        if step == "event":
            self.history.append(self.seen)
            return event(self.seen, self.fragments)
        if step == "refresh":
            self.changed = self.seen
            self.floor = before if self.floor is None else self.floor
        return None

    def send(self, joining: Joining) -> None:
        """Send what has gathered."""
        self.wire += taken(joining)


@st.composite
def lives(draw: st.DrawFn) -> tuple[Life, Position, list[str]]:
    """Draw a newcomer's life: before its page, until it joins, during the join, and afterwards."""
    life = Life()
    for step in draw(st.lists(STEP, max_size=6)):
        life.step(step)
    page = position(life.seen)  # its HTML was rendered for it, so it lacks nothing before
    for step in draw(st.lists(STEP, max_size=6)):
        life.step(step)

    joining = newcomer()
    snapshot, steps = life.seen, draw(st.lists(STEP, max_size=6))
    asked_at = draw(st.integers(0, len(steps)))
    changed = life.changed
    for number, step in enumerate(steps):
        item = life.step(step)
        if item is not None:
            joining.add(item)
        if number < asked_at:  # the broker had not been asked yet
            snapshot, changed = life.seen, life.changed

    joining.lag(page.fragments)
    for number in life.history:
        if page.events < at(number) <= at(snapshot):
            life.wire += joining.replayed(event(number, min(life.fragments, number)))
    if at(changed) > page.fragments:
        joining.missing = {LIST: Missing(at(changed))}
    joining.release(at(snapshot))
    life.send(joining)
    if not joining.missing:
        joining.mark_current()

    for step in draw(st.lists(STEP, max_size=8)):
        item = life.step(step)
        if item is not None and joining.add(item):
            life.send(joining)
    return life, page, bodies_of(life.wire)


@settings(deadline=None)
@given(data=st.data())
async def test_newcomer_is_sent_each_event_once_and_says_so(data: st.DataObject) -> None:
    """Each event after the page comes once and in order, and no position says otherwise."""
    life, page, bodies = data.draw(lives())

    expected = [str(number) for number in life.history if number > page.events.ms]
    assert [body for body in bodies if body.isdecimal()] == expected
    sent = [found.events for found in positions_of(life.wire)]
    assert sent == sorted(sent)
    for message in life.wire.split(b"\n\n"):
        for where, body in zip(positions_of(message), bodies_of(message), strict=False):
            assert not body.isdecimal() or where.events == at(int(body))


@settings(deadline=None)
@given(data=st.data())
async def test_position_is_never_past_what_a_newcomer_lacks(data: st.DataObject) -> None:
    """A position is past a change only if HTML that contains the change was sent before it."""
    life, page, _ = data.draw(lives())

    has = page.fragments
    for message in life.wire.split(b"\n\n"):
        for body in bodies_of(message):
            has = max(has, at(int(body[1:]))) if body.startswith("v") else has
        for where in positions_of(message):
            assert where.fragments <= where.events
            if life.changed > has.ms:
                assert where.fragments < at(life.changed)


@settings(deadline=None)
@given(data=st.data())
async def test_position_of_a_newcomer_never_goes_back(data: st.DataObject) -> None:
    """Both ids of the positions that a newcomer was sent only grow."""
    life, _, _ = data.draw(lives())

    sent = positions_of(life.wire)

    assert [found.events for found in sent] == sorted(found.events for found in sent)
    assert [found.fragments for found in sent] == sorted(found.fragments for found in sent)


# -- HTML that is sent again although nothing changed ----------------------------------------------


async def test_html_is_not_promised_before_it_is_sent(house: House) -> None:
    """A repeated version does not move HTML behind a position that says it was sent already.

    A slow client may be cut off between any two messages, and resumes from the last one's id.
    """
    house.pages.specs["list"] = FragmentSpec("list", debounce=0.0, every=0.001)
    slow = house.view("list", is_stalled=True)
    await until(lambda: slow.writes)

    change = await house.change("list", "the newest")
    await until(lambda: house.hub.position.fragments >= change)
    await house.say("a fact")
    renders = len(house.pages.rendered)
    await until(lambda: len(house.pages.rendered) >= renders + 3)
    slow.connection.end()
    slow.flows.set()
    assert slow.task is not None
    await slow.task

    wire = b"".join(slow.writes)
    before = wire[: wire.index(b"a fact")]
    assert b"the newest" in wire
    assert b"the newest" in before or positions_of(before)[-1].fragments < change


async def test_newcomer_holds_a_bounded_number_of_messages() -> None:
    """A connection that waits too long for its replay ends before it fills the memory."""
    joining = newcomer()

    for number in range(MAX_HELD + 1):
        joining.add(event(number + 1))

    assert joining.connection.is_ended


async def test_newcomer_holds_a_bounded_number_of_bytes() -> None:
    """A few large messages fill the memory as well as many small ones."""
    joining = newcomer()
    large = Outgoing(position(1), "", None, None, b"x" * (MAX_HELD_BYTES // 3))
    for _ in range(3):
        joining.add(large)
    assert not joining.connection.is_ended

    joining.add(large)

    assert joining.connection.is_ended
