"""What every broker promises: one order, a history, and an honest answer to those who come back.

One suite over all brokers; a new one joins it with an entry in ``RIGS``. Nothing here knows how a
broker works, and messages are awaited, never expected at once.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from quart_sse.broker import (
    CONTROL_HISTORY,
    Broker,
    Budget,
    Changed,
    Claim,
    Keep,
    Kind,
    Message,
    Moves,
    Replay,
    Shelf,
    Start,
    State,
    Who,
    read_who,
)
from quart_sse.broker.changed import MOST_ITEMS
from quart_sse.broker.memory import GRACE, MemoryBroker
from quart_sse.broker.redis import RedisBroker
from quart_sse.broker.texts import LARGEST, OVERHEAD
from quart_sse.wire.position import MAX_AHEAD_MS, ZERO, Id, Position
from tests.support.redis_server import running_redis
from tests.support.streams import until

TOPIC, OTHER = "news?room=1", "news?room=2"
KEEP = Keep(events=10, ttl=60.0)
NONE = Keep(events=0, ttl=60.0)
CLAIM = Claim(Shelf.OPEN, "bob")


# -- the brokers -----------------------------------------------------------------------------------


class Ear:
    """A hub that does nothing but listen."""

    def __init__(self) -> None:
        self.heard: list[Message] = []
        self.seen = ZERO

    def receive(self, message: Message) -> None:
        self.heard.append(message)
        self.seen = message.id

    async def catch_up(self) -> None: ...

    async def hears(self, count: int) -> list[Message]:
        """Return all that came, of which there must be so much but for probes."""
        await until(lambda: len(self._said()) >= count)
        return self._said()

    def _said(self) -> list[Message]:
        return [message for message in self.heard if message.kind is not Kind.PROBE]


@dataclass
class Rig:
    """A broker that has been started, and what a test needs beside it."""

    broker: Broker
    ear: Ear
    #: sets the broker's clock forward by so many seconds, or back
    wind: Callable[[float], None]

    async def position(self) -> Position:
        return await self.broker.position()

    async def say(self, *texts: str, topic: str = TOPIC, keep: Keep = KEEP) -> list[Id]:
        """Publish events."""
        return [await self.broker.publish(event(text, topic), keep) for text in texts]

    async def change(self, fragment: str, topic: str = TOPIC, keep: Keep = KEEP) -> Id:
        """Publish a refresh of a fragment."""
        return await self.broker.publish(Message(Kind.REFRESH, ZERO, topic, fragment), keep)

    async def resume(self, position: Position | None, keep: Keep = KEEP, *shown: str) -> Replay:
        """Ask what a client of one topic has missed."""
        return await self.broker.resume({TOPIC: Start(position, frozenset(shown), keep)})


def event(text: str, topic: str = TOPIC, id: Id = ZERO) -> Message:
    """Return an event."""
    return Message(Kind.EVENT, id, topic, "said", text)


@asynccontextmanager
async def memory_rig() -> AsyncIterator[Rig]:
    """Run the broker of a single process, by a clock that stands still."""
    clock = [1_795_302_000.0]

    def wind(seconds: float) -> None:
        clock[0] += seconds

    broker, ear = MemoryBroker(lambda: clock[0]), Ear()
    await broker.start(ear)
    yield Rig(broker, ear, wind)
    await broker.stop()


@asynccontextmanager
async def redis_rig() -> AsyncIterator[Rig]:
    """Run the broker of many processes, on a server of its own."""
    with tempfile.TemporaryDirectory() as directory:
        async with running_redis(Path(directory)) as server:
            broker, ear = RedisBroker(server.url), Ear()

            def wind(seconds: float) -> None:
                broker._order.clock_offset_ms += int(seconds * 1000)

            await broker.start(ear)
            yield Rig(broker, ear, wind)
            await broker.stop()


RIGS: Mapping[str, Callable[[], AbstractAsyncContextManager[Rig]]] = {
    "memory": memory_rig,
    "redis": redis_rig,
}


@pytest.fixture(params=list(RIGS.values()), ids=list(RIGS))
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    """A broker of each kind."""
    async with request.param() as rig:
        yield rig


# -- publishing ------------------------------------------------------------------------------------


async def test_ids_rise_over_all_topics_and_kinds(rig: Rig) -> None:
    """Whatever is published has its place in one order, and the position follows."""
    ids = [
        *await rig.say("a"),
        *await rig.say("b", topic=OTHER, keep=NONE),
        await rig.change("list"),
        *await rig.say("c"),
    ]
    position = await rig.position()

    assert sorted(set(ids)) == ids
    assert position.events >= ids[-1]
    assert position.fragments == position.events


async def test_ids_rise_when_the_clock_is_set_back(rig: Rig) -> None:
    """A clock that goes back an hour stops the ids' milliseconds, never their order."""
    (before,) = await rig.say("a")
    rig.wind(-3600)
    after = await rig.say("b", "c")

    assert [before, *after] == sorted({before, *after})
    assert after[-1].ms == before.ms


async def test_ids_follow_the_clock_forward(rig: Rig) -> None:
    """A minute later an id's milliseconds are a minute later, so ages can be told."""
    (before,) = await rig.say("a")
    rig.wind(60)
    (after,) = await rig.say("b")

    assert 60_000 <= after.ms - before.ms < 70_000


async def test_messages_are_delivered_as_published_and_in_order(rig: Rig) -> None:
    """A subscriber gets every message, whole, with the id that its publisher was given."""
    published = [
        event("a"),
        Message(Kind.REFRESH, ZERO, TOPIC, "list"),
        replace(event("b|c\nd\u2028é"), retry_ms=500),
        replace(event("e"), origin="page-1"),
        Message(Kind.PUSH, ZERO, TOPIC, "list", "<b>1|2</b>", origin="/a|b;c%7C%25"),
        replace(event(""), topic=OTHER),
    ]
    await rig.broker.subscribe([TOPIC, OTHER])
    expected = [
        replace(message, id=await rig.broker.publish(message, KEEP)) for message in published
    ]
    heard = await rig.ear.hears(len(published))

    assert [replace(message, data=message.data or None) for message in heard] == [
        replace(message, data=message.data or None) for message in expected
    ]


async def test_several_messages_are_published_in_their_order(rig: Rig) -> None:
    """Of all kinds and topics, and more than one round trip has room for."""
    await rig.broker.subscribe([TOPIC, OTHER])
    messages = [
        (event(str(number), TOPIC if number % 3 else OTHER), KEEP)
        if number % 2
        else (Message(Kind.REFRESH, ZERO, TOPIC, f"f{number}"), KEEP)
        for number in range(250)
    ]
    before = await rig.position()

    published = await rig.broker.publish_all(messages)
    assert await rig.broker.publish_all([]) == []
    heard = await rig.ear.hears(250)
    replay = await rig.broker.resume({TOPIC: Start(before, frozenset(), KEEP)})

    assert [(each.topic, each.name, each.data or None) for each in heard] == [
        (message.topic, message.name, message.data) for message, _ in messages
    ]
    ids = [each.id for each in heard]
    assert ids == sorted(set(ids)) == published
    assert before.events < ids[0]
    assert ids[-1] < replay.position.events
    assert len(replay.changes) == 125


async def test_control_messages_and_probes_reach_a_process_without_topics(rig: Rig) -> None:
    """What concerns every process needs no subscription; a probe brings nothing but its id."""
    before = await rig.position()
    await rig.broker.probe()
    order = Message(Kind.CONTROL, ZERO, "", "disconnect", '{"identity": "ada"}')
    id = await rig.broker.publish(order, NONE)

    assert await rig.ear.hears(1) == [replace(order, id=id)]
    probes = [message for message in rig.ear.heard if message.kind is Kind.PROBE]
    assert before.events < probes[-1].id < id


async def test_known_position_is_never_behind_what_was_published(rig: Rig) -> None:
    """A page that is asked for after an event was published does not begin before it."""
    (id,) = await rig.say("a")
    known = rig.broker.known

    assert known is not None
    assert known.events >= id
    assert known.epoch == (await rig.position()).epoch


async def test_broker_says_what_it_can_do(rig: Rig) -> None:
    """It is ready when it was started, and stopped when it was stopped."""
    states = [rig.broker.state]
    await rig.broker.stop()
    states.append(rig.broker.state)

    assert states == [State.READY, State.STOPPED]


# -- coming back -----------------------------------------------------------------------------------


async def test_who_missed_nothing_is_complete(rig: Rig) -> None:
    """The last event is the one that the client has: nothing is sent, nothing is wrong."""
    await rig.say("a", "b")
    position = await rig.position()
    replay = await rig.resume(position)

    assert replay == Replay(replay.position)
    assert replay.position.epoch == position.epoch
    assert replay.position.events >= position.events


async def test_who_missed_some_is_sent_just_those(rig: Rig) -> None:
    """A client that stands exactly at an event is sent what comes after it, in order."""
    ids = await rig.say("a", "b", "c")
    epoch = (await rig.position()).epoch
    replay = await rig.resume(Position(epoch, ids[0], ids[0]))

    assert replay.events == [event("b", id=ids[1]), event("c", id=ids[2])]
    assert not replay.incomplete
    assert replay.position.events >= ids[2]


@pytest.mark.parametrize(("has", "is_complete"), [(0, False), (1, True), (2, True), (3, True)])
async def test_history_is_capped_and_the_gap_is_told(rig: Rig, has: int, is_complete: bool) -> None:
    """Of three events two are kept: only who has the first one already misses nothing."""
    keep = Keep(events=2, ttl=60.0)
    start = await rig.position()
    ids = [start.events, *await rig.say("a", "b", "c", keep=keep)]
    replay = await rig.resume(Position(start.epoch, ids[has], ids[has]), keep)

    kept = [event("b", id=ids[2]), event("c", id=ids[3])]
    assert replay.events == (kept[max(0, has - 1) :] if is_complete else [])
    assert replay.incomplete == (set() if is_complete else {TOPIC})


async def test_events_of_a_single_kept_one_are_judged_by_their_predecessor(rig: Rig) -> None:
    """With a history of one event, its predecessor's id alone decides."""
    keep = Keep(events=1, ttl=60.0)
    start = await rig.position()
    first, second, third = await rig.say("a", "b", "c", keep=keep)

    lost = await rig.resume(Position(start.epoch, first, first), keep)
    whole = await rig.resume(Position(start.epoch, second, second), keep)
    assert lost.incomplete == {TOPIC}
    assert whole.events == [event("c", id=third)]
    assert not whole.incomplete


async def test_events_outlive_their_topics_lifetime_by_no_silence(rig: Rig) -> None:
    """When an event has expired its topic is incomplete: nobody is told that there was none."""
    start = await rig.position()
    (id,) = await rig.say("a")
    rig.wind(KEEP.ttl + GRACE + 1)
    replay = await rig.resume(start)

    assert replay.events == [event("a", id=id)] or replay.incomplete == {TOPIC}


async def test_event_after_an_expired_one_does_not_hide_it(rig: Rig) -> None:
    """The first event of a topic's second life knows that there may have been one before."""
    start = await rig.position()
    expired = await rig.say("a")
    rig.wind(KEEP.ttl + GRACE + 1)
    newer = await rig.say("b")
    replay = await rig.resume(start)

    both = [event("a", id=expired[0]), event("b", id=newer[0])]
    assert replay.events == both or (replay.events == [] and replay.incomplete == {TOPIC})


async def test_event_within_its_lifetime_is_replayed(rig: Rig) -> None:
    """Up to the very end of its lifetime, and after younger ones have come."""
    start = await rig.position()
    await rig.say("a")
    rig.wind(KEEP.ttl - 1)
    await rig.say("b")
    rig.wind(KEEP.ttl - 1)
    replay = await rig.resume(start)

    assert [message.data for message in replay.events] == ["a", "b"]
    assert not replay.incomplete


async def test_history_survives_a_clock_that_was_set_back(rig: Rig) -> None:
    """While ids stand still positions do not age, so what they are owed must not expire."""
    start = await rig.position()
    rig.wind(-3600)
    (id,) = await rig.say("a")
    rig.wind(KEEP.ttl + GRACE + 1)
    replay = await rig.resume(start)

    assert replay.events == [event("a", id=id)] or replay.incomplete == {TOPIC}


@pytest.mark.parametrize(("age", "is_complete"), [(0, True), (50, True), (70, False)])
async def test_topic_without_events_is_judged_by_the_positions_age(
    rig: Rig, age: float, is_complete: bool
) -> None:
    """Where no event is known, only who is younger than the history's lifetime missed none."""
    start = await rig.position()
    rig.wind(age)
    replay = await rig.resume(start)

    assert replay.incomplete == (set() if is_complete else {TOPIC})
    assert replay.stale == (set() if is_complete else {TOPIC})
    assert not replay.unknown


@pytest.mark.parametrize(("ahead_ms", "is_known"), [(MAX_AHEAD_MS - 500, True), (5000, False)])
async def test_position_from_the_future_is_disbelieved(
    rig: Rig, ahead_ms: int, is_known: bool
) -> None:
    """A little ahead of the clock may be a promoted replica's doing; more is nonsense."""
    now = await rig.position()
    ahead = Id(now.events.ms + ahead_ms, 0)
    replay = await rig.resume(Position(now.epoch, ahead, ahead))

    assert replay.unknown == replay.incomplete == (set() if is_known else {TOPIC})


async def test_position_of_another_data_set_or_none_is_unknown(rig: Rig) -> None:
    """Another epoch, or something unreadable, is never taken for "now": the client is told."""
    await rig.say("a")
    now = await rig.position()
    for position in (now._replace(epoch="zzzz"), None):
        replay = await rig.resume(position)

        assert replay == Replay(replay.position, incomplete={TOPIC}, unknown={TOPIC})


async def test_client_without_a_page_starts_now(rig: Rig) -> None:
    """Who never saw a page of ours has missed nothing, and is told of no loss."""
    await rig.say("a")
    await rig.change("list")
    start = Start(None, frozenset({"list"}), KEEP, now=True)
    replay = await rig.broker.resume({TOPIC: start})

    assert (replay.events, replay.incomplete, replay.unknown) == ([], set(), set())


async def test_events_without_history_are_neither_replayed_nor_missed(rig: Rig) -> None:
    """They are no facts: whoever comes back, from wherever, is told of no loss."""
    start = await rig.position()
    await rig.say("a", "b", keep=NONE)
    rig.wind(NONE.ttl + GRACE + 1)

    foreign = start._replace(epoch="zzzz")
    for position, unknown in ((start, set()), (foreign, {TOPIC}), (None, {TOPIC})):
        replay = await rig.resume(position, NONE)
        assert (replay.events, replay.incomplete, replay.unknown) == ([], set(), unknown)


async def test_changes_of_all_fragments_are_told(rig: Rig) -> None:
    """Of each fragment, refreshed or pushed, the last change is known, shown or not.

    It may be inside one that is shown.
    """
    start = await rig.position()
    await rig.change("list")
    change = await rig.change("list")
    push = await rig.broker.publish(Message(Kind.PUSH, ZERO, TOPIC, "count", "1"), KEEP)
    hidden = await rig.change("hidden")
    await rig.change("list", topic=OTHER)
    replay = await rig.resume(start, KEEP, "list", "count", "still")

    names = {"list": change, "count": push, "hidden": hidden}
    assert replay.changes == {(TOPIC, name): id for name, id in names.items()}
    assert (replay.events, replay.incomplete, replay.stale) == ([], set(), set())


async def test_changes_are_told_to_those_who_have_them_too(rig: Rig) -> None:
    """Whether a cached render is new enough can only be told by the change's own id."""
    change = await rig.change("list")
    replay = await rig.resume(await rig.position(), KEEP, "list")

    assert replay.changes == {(TOPIC, "list"): change}


@pytest.mark.parametrize("keep", [KEEP, NONE])
async def test_change_that_expired_makes_its_topic_stale(rig: Rig, keep: Keep) -> None:
    """Who comes from before the record of changes must be rendered everything."""
    start = await rig.position()
    change = await rig.change("list", keep=keep)
    rig.wind(keep.ttl + GRACE + 1)
    replay = await rig.resume(start, keep, "list")

    assert replay.changes.get((TOPIC, "list")) == change or replay.stale == {TOPIC}


async def test_fragments_that_lag_are_judged_apart_from_events(rig: Rig) -> None:
    """A client whose fragments were never current has missed no event for it."""
    await rig.say("a")
    now = await rig.position()
    replay = await rig.resume(now._replace(fragments=ZERO))

    assert replay == Replay(replay.position, stale={TOPIC})


async def test_several_topics_are_one_list_in_order(rig: Rig) -> None:
    """Events of all topics come in the order of publishing; each topic is judged by itself."""
    start = await rig.position()
    ids = [(await rig.say(str(i), topic=(TOPIC, OTHER)[i % 2]))[0] for i in range(6)]
    middle = Position(start.epoch, ids[2], ids[2])
    replay = await rig.broker.resume(
        {
            OTHER: Start(middle, frozenset(), KEEP),
            TOPIC: Start(start, frozenset(), KEEP),
            "lost": Start(None, frozenset(), KEEP),
        }
    )

    assert [(message.topic, message.data) for message in replay.events] == [
        (TOPIC, "0"),
        (TOPIC, "2"),
        (OTHER, "3"),
        (TOPIC, "4"),
        (OTHER, "5"),
    ]
    assert replay.incomplete == replay.unknown == {"lost"}


async def test_snapshot_is_newer_than_all_before_it_and_older_than_all_after(rig: Rig) -> None:
    """What is published before a resume is in its snapshot, what comes later is above it."""
    await rig.broker.subscribe([TOPIC])
    (before,) = await rig.say("a")
    replay = await rig.resume(await rig.position())
    (after,) = await rig.say("b")

    assert before <= replay.position.events < after


# -- presence --------------------------------------------------------------------------------------


async def test_presence_counts_members_until_they_exit(rig: Rig) -> None:
    """Whoever entered a topic is present on it, and on no other, until he exits."""
    broker = rig.broker
    await broker.enter({TOPIC: {"1": "+ada", "2": "+ada", "3": "-browser|x"}})
    await broker.enter({TOPIC: {"1": "+ada"}})
    await broker.exit({TOPIC: ["2"]})
    await broker.exit({TOPIC: ["never here"]})

    assert await broker.present(TOPIC) == {"1": "+ada", "3": "-browser|x"}
    assert await broker.present(OTHER) == {}


async def test_presence_of_many_topics_is_told_at_once(rig: Rig) -> None:
    """One call names any number of topics and connections."""
    broker = rig.broker
    crowd = {str(number): f"+{number}" for number in range(1_200)}
    topics = [f"news?room={number}" for number in range(3_000)]

    await broker.enter({TOPIC: crowd, **{topic: {"a": "+ada"} for topic in topics[10:]}})
    assert await broker.present(TOPIC) == crowd
    assert await broker.present(topics[10]) == {"a": "+ada"}
    assert await broker.present(topics[-1]) == {"a": "+ada"}
    await broker.exit({TOPIC: [*crowd][1:], **{topic: ["a", "b"] for topic in topics[10:]}})
    await broker.enter({})
    await broker.exit({})

    assert await broker.present(TOPIC) == {"0": "+0"}
    assert await broker.present(topics[10]) == await broker.present(topics[-1]) == {}


async def test_presence_is_a_copy(rig: Rig) -> None:
    """What a caller was given does not change under his hands."""
    await rig.broker.enter({TOPIC: {"1": "+ada"}})
    present = await rig.broker.present(TOPIC)
    await rig.broker.exit({TOPIC: ["1"]})

    assert present == {"1": "+ada"}
    assert await rig.broker.present(TOPIC) == {}


async def test_presence_is_of_a_topic_and_harmless_to_leave(rig: Rig) -> None:
    """Whoever they are, entering twice is once, and who is unknown can exit."""
    await rig.broker.enter({TOPIC: {"1": "+ada", "2": "-x|y"}})
    await rig.broker.enter({TOPIC: {"1": "+ada"}})
    await rig.broker.exit({TOPIC: ["unknown"]})

    assert await rig.broker.present(TOPIC) == {"1": "+ada", "2": "-x|y"}
    assert await rig.broker.present(OTHER) == {}


async def test_texts_are_kept(rig: Rig) -> None:
    """A text is found by its reference, the same for the same text."""
    text = "é\n" * 5000
    reference = await rig.broker.keep_text(text, 10, CLAIM)

    assert reference is not None
    assert await rig.broker.keep_text(text, 10, CLAIM) == reference
    assert await rig.broker.kept_text(reference) == text
    assert await rig.broker.kept_text("unknown") is None


async def test_control_messages_are_replayed_to_processes(rig: Rig) -> None:
    """A process that was cut off asks for them as for events; probes are not among them."""
    before = await rig.position()
    order = Message(Kind.CONTROL, ZERO, "", "disconnect", '{"identity": "ada"}')
    id = await rig.broker.publish(order, CONTROL_HISTORY)
    await rig.broker.probe()
    replay = await rig.broker.resume({"": Start(before, frozenset(), CONTROL_HISTORY)})

    assert replay.events == [replace(order, id=id)]
    assert not replay.incomplete


async def test_text_of_one_owner_pushes_out_no_other(rig: Rig) -> None:
    """What is too much is refused; what is kept stays, and others have room."""
    broker = rig.broker
    signed = await broker.keep_text("signed", 60, Claim(Shelf.SIGNED, "bob"))
    first = await broker.keep_text("first", 60, CLAIM)
    references = []
    for number in range(8):
        text = f"{number}" * (CLAIM.shelf.share // 5)
        references.append(await broker.keep_text(text, 60, CLAIM))

    assert None not in references[:4]
    assert references[4:] == [None] * 4
    assert first is not None
    assert await broker.keep_text("first", 60, CLAIM) == first
    assert await broker.kept_text(first) == "first"
    assert signed is not None
    assert await broker.kept_text(signed) == "signed"
    assert await broker.keep_text("7" * 10, 60, CLAIM._replace(owner="another")) is not None


async def test_texts_have_bounds_in_all(rig: Rig) -> None:
    """Many owners together have as much as their shelf holds, and leave the others theirs."""
    text, most = "x" * (LARGEST - OVERHEAD - 2), CLAIM.shelf.most // LARGEST
    kept = [
        await rig.broker.keep_text(f"{number:02}{text}", 60, Claim(Shelf.OPEN, f"{number}"))
        for number in range(most + 3)
    ]

    assert None not in kept[:most]
    assert kept[most:] == [None] * 3
    assert await rig.broker.keep_text(text, 60, Claim(Shelf.SIGNED, "0")) is not None


async def test_longest_text_has_a_bound_of_its_own(rig: Rig) -> None:
    """However much room there is, because no other call is answered while it is taken."""
    longest = "x" * (LARGEST - OVERHEAD)

    assert await rig.broker.keep_text(longest, 60, CLAIM) is not None
    assert await rig.broker.keep_text(longest + "x", 60, CLAIM) is None


async def test_text_that_has_ended_makes_room(rig: Rig) -> None:
    """Its bytes are those of another one, as soon as another one comes."""
    claim = Claim(Shelf.USERS, "ada")
    size = claim.shelf.share // 2
    assert await rig.broker.keep_text("1" * size, 0.001, claim) is not None
    rig.wind(1.0)
    async with asyncio.timeout(5):
        while await rig.broker.keep_text("2" * size, 60, claim) is None:
            await rig.broker.probe()

    assert await rig.broker.keep_text("3" * size, 60, claim) is None


# -- what is too much ------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [Budget(events=29), Budget(bytes=29 * 70)])
async def test_budget_is_of_all_topics_together(rig: Rig, budget: Budget) -> None:
    """One event too many resets every topic that has some, read or not; the others keep still."""
    since = await rig.position()
    topics = [f"news?room={number}" for number in range(10)]
    for topic in topics:
        await rig.say("1", "2", "3", topic=topic)
        await rig.change("list", topic)
    start = Start(since, frozenset({"list"}), KEEP)
    starts = dict.fromkeys([*topics, "still"], start)
    cut = await rig.broker.resume(starts, budget)
    whole = await rig.broker.resume(starts, Budget(events=30))

    assert (cut.events, cut.incomplete) == ([], set(topics))
    assert set(cut.changes) == {(topic, "list") for topic in topics}
    assert (len(whole.events), whole.incomplete) == (30, set())


async def test_what_is_published_around_a_split_comes_once(rig: Rig) -> None:
    """Events of the replay, and those after its position that come live, are all there are."""
    topics = [f"news?room={number}" for number in range(400)]
    await rig.broker.subscribe(topics)
    since, published = await rig.position(), dict[Id, str]()
    keep = Keep(events=3, ttl=60.0)

    async def publish(step: int) -> None:
        for number in range(0, 3 * len(topics), 2):
            topic = topics[number * step % len(topics)]
            published[await rig.broker.publish(event("x", topic), keep)] = topic

    publishing = asyncio.gather(publish(1), publish(7))
    starts = dict.fromkeys(topics, Start(since, frozenset(), keep))
    replays = []
    while not publishing.done():
        replays.append(await rig.broker.resume(starts, Budget(10_000)))
        await asyncio.sleep(0)
    await publishing
    heard = {message.id: message.topic for message in await rig.ear.hears(len(published))}

    assert heard == published
    for replay in replays:
        got = [message.id for message in replay.events]
        assert got == sorted(set(got))
        assert all(id <= replay.position.events for id in got)
        assert set(got) == {
            id
            for id, topic in published.items()
            if id <= replay.position.events and topic not in replay.incomplete
        }


def moved(moves: Moves) -> tuple[list[str], list[str]]:
    """Return by which members people have joined, and whom those count as who have left."""
    assert {*moves.joined, *moves.left} <= {TOPIC}
    return moves.joined.get(TOPIC, []), moves.left.get(TOPIC, [])


async def test_people_join_with_their_first_member_and_leave_with_their_last(rig: Rig) -> None:
    """Whatever metadata the members have; only those with an identity, and no renewal."""
    ada, other = Who("+ada", '{"name": "A"}').write(), Who("+ada", '{"name": "B"}').write()
    enter, exit = rig.broker.enter, rig.broker.exit

    assert moved(await enter({TOPIC: {"1": ada, "2": "-b", "3": "@h:b", "4": "+bob"}})) == (
        ["1", "4"],
        [],
    )
    assert moved(await enter({TOPIC: {"1": ada}})) == ([], [])
    assert moved(await enter({TOPIC: {"5": other}, OTHER: {}})) == ([], [])
    assert moved(await enter({TOPIC: {"1": other}})) == ([], [])
    assert moved(await exit({TOPIC: ["1", "2", "3", "unknown"]})) == ([], [])
    assert moved(await exit({TOPIC: ["4", "5"]})) == ([], ["+bob", other])
    assert moved(await enter({TOPIC: {"5": "+bob"}})) == (["5"], [])
    # The connection is another user's from now on.
    assert moved(await enter({TOPIC: {"5": ada}})) == (["5"], ["+bob"])


@pytest.mark.parametrize("name", ["+", "+!a", "+{}", "+a\0b\r\nc", "+{\0+x", "-{\0"])
async def test_any_identity_is_recorded_as_it_is(rig: Rig, name: str) -> None:
    """No identity passes for metadata or a mark."""
    texts = [
        Who(name, metadata, is_showing).write()
        for metadata in ("", '{"a": "!"}')
        for is_showing in (False, True)
    ]

    moves = await rig.broker.enter({TOPIC: dict(zip("abcd", texts, strict=True))})
    record = await rig.broker.present(TOPIC)

    assert [*record.values()] == texts or sorted(record.values()) == sorted(texts)
    assert {read_who(text).name for text in record.values()} == {name}
    assert moved(moves)[0] == (["a"] if name.startswith("+") else [])
    assert moves.showing == {TOPIC}
    left = moved(await rig.broker.exit({TOPIC: [*"abcd"]}))[1]
    assert [read_who(text).name for text in left] == ([name] if name.startswith("+") else [])


async def test_calls_say_whether_any_page_shows_presence(rig: Rig) -> None:
    """As long as one member does so, whichever call it is."""
    showing = Who("-x", is_showing=True).write()
    enter, exit = rig.broker.enter, rig.broker.exit

    assert (await enter({TOPIC: {"1": "+ada"}, OTHER: {"1": "+ada"}})).showing == set()
    assert (await enter({TOPIC: {"2": showing}, OTHER: {"1": "+ada"}})).showing == {TOPIC}
    assert (await exit({TOPIC: ["1"], OTHER: ["1"]})).showing == {TOPIC}
    assert (await enter({TOPIC: {"2": "-x"}})).showing == set()


async def test_changed_items_of_a_list_are_told(rig: Rig) -> None:
    """Each with its last change; a change of the whole list ends that, and is the next base."""

    async def change(item: str) -> Id:
        message = Message(Kind.REFRESH, ZERO, TOPIC, "list", item=item)
        return await rig.broker.publish(message, KEEP)

    await rig.broker.subscribe([TOPIC])
    start = await rig.position()
    whole = await rig.change("list")
    first, again, other = [await change(item) for item in ("a", "a", "b%2F")]
    replay = await rig.resume(start, KEEP, "list")
    heard = await rig.ear.hears(4)

    assert replay.changes == {(TOPIC, "list"): other}
    assert replay.items == {(TOPIC, "list"): Changed(whole, {"a": again, "b%2F": other})}
    assert [(each.item, each.id) for each in heard[1:]] == [
        ("a", first),
        ("a", again),
        ("b%2F", other),
    ]
    await rig.change("list")
    assert (await rig.resume(start, KEEP, "list")).items == {}


async def test_oldest_changed_items_are_forgotten(rig: Rig) -> None:
    """The newest of them says who must be sent the whole list."""
    ids = [
        await rig.broker.publish(Message(Kind.REFRESH, ZERO, TOPIC, "list", item=str(n)), KEEP)
        for n in range(MOST_ITEMS + 2)
    ]
    replay = await rig.resume(await rig.position(), KEEP, "list")
    (changed,) = replay.items.values()

    assert changed.base == ids[1]
    assert list(changed.items.values()) == ids[2:]
