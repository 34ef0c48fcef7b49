"""Redis carries messages between processes, and no outage of it leaves anybody stale.

Two apps in one process, each with a hub and a broker of its own, are two processes to Redis.
"""

import asyncio
import re
import secrets
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from markupsafe import Markup

from quart_sse.access import revocation
from quart_sse.broker import Claim, Keep, Kind, Message, Shelf, State
from quart_sse.broker.redis import FORMAT, RedisBroker, listener
from quart_sse.errors import BrokerUnavailable
from quart_sse.wire.position import ZERO, Id, Position
from tests.support.processes import POLL, Boot, Inbox, Process, event, outages, until_redis
from tests.support.redis_server import RedisServer, running_redis
from tests.support.streams import Stream, open_stream, until

pytestmark = pytest.mark.skipif(
    shutil.which("redis-server") is None, reason="there is no redis-server"
)

PREFIX = f"{{sse:{FORMAT}}}"
#: Seconds that an outage lasts.
OUTAGE, LONG_OUTAGE = 1.0, 20.0
#: Seconds in which a publish fails that is not tried: less than the broker's timeout.
QUICKLY = 1.2


# -- processes and their viewers -------------------------------------------------------------------


@dataclass
class Published:
    """The numbers that were published as events, and what became of each."""

    kept: list[int] = field(default_factory=list)
    maybe: set[int] = field(default_factory=set)
    next: int = 0

    async def one(self, process: Process) -> bool:
        """Publish the next number."""
        number, self.next = self.next, self.next + 1
        try:
            await process.room.publish("said", number)
        except BrokerUnavailable as error:
            if error.maybe_published:
                self.maybe.add(number)
            return False
        self.kept.append(number)
        return True

    async def surely(self, process: Process) -> None:
        """Publish numbers until Redis takes one."""
        async with asyncio.timeout(8):
            while not await self.one(process):  # noqa: ASYNC110 - Redis is another program
                await asyncio.sleep(POLL)


@dataclass
class Told:
    """What a stream has told its page."""

    stream: Stream
    numbers: list[int] = field(default_factory=list)
    resets: int = 0
    shown: str = ""

    async def next(self) -> None:
        """Take one message."""
        event = await self.stream.next()
        if event.event == "said":
            self.numbers.append(int(event.data))
        elif event.event == "sse-reset":
            self.resets += 1
            self.numbers.append(-1)
        elif event.event == "message" and "<b>" in event.data:
            self.shown = "".join(re.findall(r"<b>(\d+)</b>", event.data))
        elif event.event == "sse-holdoff":
            raise EOFError("the stream was told to come back later")
        else:
            assert event.event in {"sse-open", "message"}

    async def up_to(self, number: int, value: int, *, or_reset: bool = False) -> None:
        """Read until a number has come, or a reset says that it may not, and a value is shown."""
        async with asyncio.timeout(8):
            while self.shown != str(value) or not (
                number in self.numbers or (or_reset and self.resets)
            ):
                await self.next()


def check(told: Told, published: Published) -> None:
    """Whatever was acknowledged has come, once and in order, or a reset said that it may not."""
    numbers = [number for number in told.numbers if number >= 0]
    assert all(a < b for a, b in pairwise(numbers)), "out of order or twice"
    assert set(numbers) <= {*published.kept, *published.maybe}
    if not told.resets:
        assert set(published.kept) <= set(numbers), "lost in silence"


# -- between processes -----------------------------------------------------------------------------


@pytest.mark.usefixtures("redis")
async def test_events_of_both_processes_come_in_one_order(boot: Boot) -> None:
    """A stream gets what either process publishes, in order, with ids that rise."""
    a, b = await boot(), await boot()
    async with open_stream(b.app, "/sse/rooms/1?fragments=") as stream:
        ids = [
            Id.parse((await process.room.publish("said", number)).id)
            for number, process in enumerate([a, b, a, a, b, b, a])
        ]
        got = [await stream.next("said") for _ in ids]

    assert [event.data for event in got] == [str(number) for number in range(7)]
    assert ids == sorted(set(ids))
    positions = [Position.parse(event.id) for event in got]
    assert [position.events for position in positions if position] == ids


@pytest.mark.usefixtures("redis")
async def test_refresh_renders_once_per_process_with_viewers(boot: Boot) -> None:
    """Each process renders once for all its viewers, and not at all without any."""
    a, b, c = await boot(), await boot(), await boot()
    async with (
        open_stream(a.app, "/sse/rooms/1?fragments=list") as one,
        open_stream(a.app, "/sse/rooms/1?fragments=list") as two,
        open_stream(b.app, "/sse/rooms/1?fragments=list") as three,
    ):
        await c.change()
        shown = [(await stream.next("message")).data for stream in (one, two, three)]

    assert all("<b>1</b>" in html for html in shown)
    assert (a.renders, b.renders, c.renders) == (1, 1, 0)


@pytest.mark.usefixtures("redis")
async def test_pushed_html_is_rendered_nowhere_else(boot: Boot) -> None:
    """The other process sends what was pushed."""
    a, b = await boot(), await boot()
    async with open_stream(b.app, "/sse/rooms/1?fragments=list") as stream:
        await a.room.push("list", Markup("<i>a | b</i>\n<i>é</i>"))
        event = await stream.next("message")

    assert "<i>a | b</i>\n<i>é</i>" in event.data
    assert b.renders == 0


@pytest.mark.usefixtures("redis")
async def test_personal_fragments_are_signalled(boot: Boot) -> None:
    """The viewers of the other process are told to fetch theirs."""
    a, b = await boot(), await boot()
    async with open_stream(b.app, "/sse/rooms/1?fragments=mine") as stream:
        await a.room.refresh("mine")
        event = await stream.next("message")

    assert 'hx-get="/sse/~/mine/rooms/1' in event.data


@pytest.mark.usefixtures("redis")
async def test_presence_counts_over_both_processes(boot: Boot) -> None:
    """Somebody with a tab at each process is one person with two connections."""
    a, b = await boot(), await boot()

    async def until_connections(process: Process, number: int) -> int:
        async with asyncio.timeout(5):
            present = await process.room.presence()
            while present.connections != number:
                await asyncio.sleep(0)
                present = await process.room.presence()
        return present.people

    async with (
        open_stream(a.client("ada"), "/sse/rooms/1"),
        open_stream(b.client("bob"), "/sse/rooms/1"),
    ):
        async with open_stream(b.client("ada"), "/sse/rooms/1"):
            assert await until_connections(a, 3) == 2
            assert (await a.room.presence()).identities == {"ada", "bob"}
        assert await until_connections(a, 2) == 2
    assert await until_connections(a, 0) == 0


@pytest.mark.usefixtures("redis")
async def test_revocations_reach_the_other_process(boot: Boot) -> None:
    """Somebody's streams, and those of a topic, end in every process."""
    a, b = await boot(), await boot()
    async with (
        open_stream(b.client("ada"), "/sse/rooms/1") as ada,
        open_stream(b.client("bob"), "/sse/rooms/1") as bob,
    ):
        await a.sse.disconnect(identity="ada")
        assert [event.event for event in await ada.rest()][-1] == "sse-holdoff"
        assert not bob.is_over
        await a.sse.recheck(a.room)
        assert [event.event for event in await bob.rest()][-1] == "sse-holdoff"


@pytest.mark.usefixtures("redis")
async def test_long_lists_of_topics_are_known_to_all(boot: Boot) -> None:
    """A page of one process connects to another, although its topics do not fit into a URL."""
    a, b = await boot(max_query=512), await boot(max_query=512)
    names = [secrets.token_urlsafe(12) for _ in range(100)]
    url = await a.page(*names)
    assert len(url) < 512
    async with open_stream(b.app, url) as stream:
        await a.sse.topic("secret", name=names[99]).publish("said", "1")
        assert (await stream.next()).event == "sse-open"
        assert (await stream.next()).data == "1"


@pytest.mark.usefixtures("redis")
async def test_page_of_one_process_starts_at_another(boot: Boot) -> None:
    """What was published since the page was made comes, once, and nothing of before."""
    a, b = await boot(), await boot()
    await a.room.publish("said", "before")
    url = await a.page()
    await b.room.publish("said", "1")
    async with open_stream(b.app, url) as stream:
        await a.room.publish("said", "2")
        got = [await stream.next() for _ in range(3)]

    assert [event.data for event in got[1:]] == ["1", "2"]


@pytest.mark.usefixtures("redis")
async def test_stream_goes_on_at_another_process(boot: Boot) -> None:
    """A browser that comes back to another process gets all it missed, once."""
    a, b = await boot(), await boot()
    published = Published()
    url = "/sse/rooms/1?fragments=list"
    async with open_stream(a.app, url) as stream:
        told = Told(stream)
        for _ in range(3):
            await published.one(b)
        await b.change()
        await told.up_to(2, 1)
        last = stream.last_id
    for _ in range(3):
        await published.one(a)
    await a.change()
    async with open_stream(b.app, url, {"Last-Event-ID": last}) as stream:
        told.stream = stream
        await published.one(a)
        await told.up_to(6, 2)

    assert told.numbers == published.kept == list(range(7))


# -- faults ----------------------------------------------------------------------------------------


@dataclass
class Scene:
    """Two processes, and a viewer of each."""

    a: Process
    b: Process
    one: Told
    two: Told
    published: Published = field(default_factory=Published)

    async def current(self) -> None:
        """Publish and change something, and see that both viewers have all."""
        for or_reset in (True, False):
            await self.published.surely(self.a)
            await self.a.change(retry=True)
            for told in (self.one, self.two):
                number, value = self.published.kept[-1], self.a.database.value
                await told.up_to(number, value, or_reset=or_reset)
                check(told, self.published)

    async def ready(self) -> None:
        """Wait until both processes have healed."""
        await until(lambda: self.a.broker.state is self.b.broker.state is State.READY)

    async def away(self) -> None:
        """Wait until both processes know that Redis is away."""
        await until(lambda: self.a.broker.state is self.b.broker.state is State.AWAY)


@pytest.fixture
async def scene(boot: Boot, redis: RedisServer) -> AsyncIterator[Scene]:
    """Return two processes with a viewer each, both up to date."""
    a, b = await boot(), await boot()
    url = "/sse/rooms/1?fragments=list"
    async with open_stream(a.app, url) as one, open_stream(b.app, url) as two:
        scene = Scene(a, b, Told(one), Told(two))
        await scene.current()
        yield scene


@pytest.mark.parametrize("kind", ["pubsub", "normal", "all"])
async def test_killed_connections_lose_nothing(
    scene: Scene, redis: RedisServer, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    """Subscriptions and calls that are cut while 50 events are published are made up for."""
    for number in range(50):
        if number % 10 == 5:
            await scene.ready()
            for each in ["pubsub", "normal"] if kind == "all" else [kind]:
                await redis.ask("CLIENT", "KILL", "TYPE", each, "SKIPME", "yes")
            if kind != "normal":
                await scene.away()
        await scene.published.one(scene.a)
        await scene.a.change(retry=True)
    await scene.current()

    assert not scene.one.resets
    assert not scene.two.resets
    await scene.ready()
    assert len(outages(caplog)) == (0 if kind == "normal" else 10)


@pytest.mark.parametrize("keeps", [False, True], ids=["without data", "with data"])
async def test_restart(
    scene: Scene, redis: RedisServer, caplog: pytest.LogCaptureFixture, keeps: bool
) -> None:
    """A restarted server may have lost something: pages are reset, and are current again."""
    if keeps:
        await redis.ask("CONFIG", "SET", "appendonly", "yes")
        await until_redis(
            redis, "INFO", "persistence", is_so=lambda info: not info["aof_rewrite_in_progress"]
        )
        redis.options += ["--appendonly", "yes"]
        await scene.published.one(scene.a)
    await redis.restart()
    await scene.current()

    assert scene.one.resets
    assert scene.two.resets
    await scene.ready()
    assert len(outages(caplog)) == 2


@pytest.mark.parametrize(
    "seconds", [OUTAGE, pytest.param(LONG_OUTAGE, marks=pytest.mark.slow, id="long")]
)
async def test_away_for_a_while(
    scene: Scene, redis: RedisServer, caplog: pytest.LogCaptureFixture, seconds: float
) -> None:
    """While Redis is away publishing fails quickly and says so; later all are current."""
    await redis.kill()
    await scene.away()
    async with asyncio.timeout(QUICKLY):
        with pytest.raises(BrokerUnavailable) as caught:
            await scene.a.room.publish("said", "1")
    assert not caught.value.maybe_published
    scene.a.database.value += 1
    with pytest.raises(BrokerUnavailable):
        await scene.a.room.refresh("list")
    await asyncio.sleep(seconds)  # the fault itself lasts: several tries to connect fail
    assert scene.a.broker.state is State.AWAY

    await redis.start()
    await scene.current()

    await scene.ready()
    assert len(outages(caplog)) == 2


async def test_stream_that_comes_while_redis_is_away(scene: Scene, redis: RedisServer) -> None:
    """It is told to come back later; pages are served."""
    await redis.kill()
    await scene.away()
    url = await scene.a.page()
    async with open_stream(scene.a.app, url) as stream:
        events = await stream.rest()

    assert [event.event for event in events][-1] == "sse-holdoff"


async def test_flushed_data(scene: Scene, redis: RedisServer) -> None:
    """After FLUSHALL another epoch begins: pages are reset, although no connection was cut."""
    await redis.ask("FLUSHALL")
    await scene.current()

    assert scene.one.resets
    assert scene.two.resets


async def test_flushed_data_without_a_message_after_it(scene: Scene, redis: RedisServer) -> None:
    """The probe finds out that the data have gone, even if nobody publishes."""
    await redis.ask("FLUSHALL")
    async with asyncio.timeout(5):
        while not (scene.one.resets and scene.two.resets):
            await (scene.two if scene.one.resets else scene.one).next()


async def test_clock_that_was_set_back(scene: Scene) -> None:
    """Ids still rise, and nothing is held back, with a clock ten minutes behind."""
    first = Id.parse((await scene.a.room.publish("said", 100)).id)
    scene.published.kept.append(100)
    scene.published.next = 101
    scene.a.broker._order.clock_offset_ms = -600_000
    second = Id.parse((await scene.a.room.publish("said", 101)).id)
    scene.published.kept.append(101)
    scene.published.next = 102
    await scene.current()

    assert first < second
    assert not scene.one.resets
    assert not scene.two.resets


@pytest.mark.parametrize(
    "key",
    [
        "last",
        "epoch",
        "replid",
        "tip:rooms?room=1",
        "events:rooms?room=1",
        "fragments:rooms?room=1",
    ],
)
async def test_evicted_key(scene: Scene, redis: RedisServer, key: str) -> None:
    """Whichever key goes, live streams have all; who comes back has all events, or is told."""
    last = scene.one.stream.last_id
    for _ in range(2):
        await scene.published.one(scene.a)
    back = Told(scene.one.stream, list(scene.one.numbers))
    assert await redis.ask("DEL", f"{PREFIX}:{key}") == 1
    async with open_stream(
        scene.b.app, "/sse/rooms/1?fragments=list", {"Last-Event-ID": last}
    ) as stream:
        back.stream = stream
        await scene.current()
        try:
            await back.up_to(scene.published.kept[-1], scene.a.database.value)
        except EOFError:
            assert key in {"last", "epoch"}  # told to come back in a moment
        else:
            check(back, scene.published)


@pytest.mark.parametrize("other", [False, True], ids=["alone", "and another change"])
@pytest.mark.parametrize("key", ["fragments", "tip"])
async def test_evicted_record_of_a_change(
    boot: Boot, redis: RedisServer, key: str, other: bool
) -> None:
    """Who was away when a fragment changed is sent it, although what says so was evicted."""
    a, b = await boot(), await boot()
    await a.change()
    before = str(await a.broker.position())
    await a.change()
    assert await redis.ask("DEL", f"{PREFIX}:{key}:rooms?room=1") == 1
    if other:
        await a.room.refresh("mine")
    url = "/sse/rooms/1?fragments=list"
    async with open_stream(b.app, url, {"Last-Event-ID": before}) as stream:
        told = Told(stream)
        async with asyncio.timeout(5):
            while told.shown != "2":
                await told.next()

    assert not told.resets


async def test_revocations_told_during_a_cut_are_carried_out(
    boot: Boot, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was cut off ends the streams that were to end meanwhile."""
    a, b = await boot(), await boot()
    async with (
        open_stream(b.client("ada"), "/sse/rooms/1") as ada,
        open_stream(b.client("bob"), "/sse/rooms/1") as bob,
    ):
        monkeypatch.setattr(listener, "FIRST_RETRY", 0.5)
        await redis.ask("CLIENT", "KILL", "TYPE", "pubsub")
        await until(lambda: b.broker.state is State.AWAY)
        await a.sse.disconnect(identity="ada")
        assert b.broker.state is State.AWAY
        assert [event.event for event in await ada.rest()][-1] == "sse-holdoff"
        assert not bob.is_over


async def test_revocations_lost_with_the_data_are_made_up_for(
    boot: Boot, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Streams that they may have meant end soon, and are judged anew."""
    monkeypatch.setattr(revocation, "SPREAD", 0.1)
    a, b = await boot(), await boot()
    async with open_stream(b.client("ada"), "/sse/rooms/1") as ada:
        await redis.ask("FLUSHALL")
        await a.sse.disconnect(identity="ada")
        assert [event.event for event in await ada.rest()][-1] == "sse-holdoff"


@pytest.mark.parametrize("seed", range(3))
async def test_browsers_that_come_and_go_while_connections_are_cut(
    boot: Boot, redis: RedisServer, seed: int
) -> None:
    """Browsers that reconnect to any process, at any moment, have all events, once, in order."""
    random = Random(seed)
    processes = [await boot(linger=0), await boot(linger=0)]
    published, is_over = Published(), asyncio.Event()

    async def browse() -> Told:
        told, last = None, str(processes[0].broker.known)
        while True:
            process, take = random.choice(processes), random.randrange(1, 8)
            url, headers = "/sse/rooms/1?fragments=list", {"Last-Event-ID": last}
            async with open_stream(process.app, url, headers) as stream:
                told = Told(stream) if told is None else told
                told.stream = stream
                try:
                    while take > 0 or stream._events:
                        await told.next()
                        take -= 1
                    while is_over.is_set():
                        if max(told.numbers) == 10_000 and told.shown == "10000":
                            return told
                        await told.next()
                except EOFError:
                    await asyncio.sleep(POLL)
                last = stream.last_id or last

    async def cut() -> None:
        while not is_over.is_set():
            kind = random.choice(["pubsub", "pubsub", "normal"])
            await redis.ask("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
            await asyncio.sleep(random.uniform(0.05, 0.2))

    async with asyncio.TaskGroup() as group:
        browsers = [group.create_task(browse()) for _ in range(4)]
        cutter = group.create_task(cut())
        for _ in range(150):
            await published.surely(random.choice(processes))
            if random.random() < 0.3:
                await random.choice(processes).change(retry=True)
            await asyncio.sleep(random.uniform(0, 0.02))
        is_over.set()
        await cutter
        await until(lambda: all(p.broker.state is State.READY for p in processes))
        for _ in range(8):  # as many as a browser takes before it looks
            await published.surely(processes[0])
        processes[0].database.value = 9_999
        await processes[0].change(retry=True)
        published.next = 10_000
        await published.surely(processes[0])

    for browser in browsers:
        check(browser.result(), published)
        assert not browser.result().resets


async def test_wrong_password(
    redis: RedisServer, boot: Boot, caplog: pytest.LogCaptureFixture
) -> None:
    """The app starts and serves pages; whoever publishes is told."""
    await redis.ask("CONFIG", "SET", "requirepass", "right")
    a = await boot(url=f"{redis.url}?password=wrong")

    with pytest.raises(BrokerUnavailable) as caught:
        await a.room.publish("said", 1)
    assert not caught.value.maybe_published
    assert "since=0" in await a.page()
    assert a.broker.state is State.AWAY
    (warning,) = outages(caplog)
    assert "password" in warning


async def test_older_snapshot_is_no_lie(scene: Scene, redis: RedisServer) -> None:
    """Redis crashes and comes back with what it was before the last events: pages are reset."""
    await redis.ask("SAVE")
    for _ in range(3):
        await scene.published.one(scene.a)
    await scene.a.change()
    await redis.restart()
    await scene.current()

    assert scene.one.resets
    assert scene.two.resets


async def test_frozen_server(
    scene: Scene, redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Publishing to a server that hangs ends in time; afterwards nobody has lost anything."""
    redis.freeze()
    try:
        async with asyncio.timeout(5):
            with pytest.raises(BrokerUnavailable) as caught:
                await scene.a.room.publish("said", scene.published.next)
        assert caught.value.maybe_published
        scene.published.maybe.add(scene.published.next)
        scene.published.next += 1
        await scene.away()  # the probe has found out
    finally:
        redis.thaw()
    await scene.current()

    assert not scene.one.resets
    assert not scene.two.resets
    await scene.ready()
    assert len(outages(caplog)) == 2


async def test_start_without_redis(
    tmp_path: Path, boot: Boot, caplog: pytest.LogCaptureFixture
) -> None:
    """The app starts, serves pages that know nothing, and heals when Redis comes."""
    a = await boot()
    assert a.broker.state is State.AWAY
    assert "since=0" in await a.page()
    async with asyncio.timeout(QUICKLY):
        with pytest.raises(BrokerUnavailable) as caught:
            await a.room.publish("said", 1)
    assert not caught.value.maybe_published
    assert len(outages(caplog)) == 1

    async with running_redis(tmp_path):
        await until(lambda: a.broker.state is State.READY)
        async with open_stream(a.app, "/sse/rooms/1?fragments=") as stream:
            await a.room.publish("said", 1)
            assert (await stream.next("said")).data == "1"
        await a.app.shutdown()
    assert len(outages(caplog)) == 1


async def test_start_with_a_redis_that_hangs(
    redis: RedisServer, boot: Boot, caplog: pytest.LogCaptureFixture
) -> None:
    """The app starts after a second without it, and heals when it answers."""
    redis.freeze()
    try:
        a = await boot(broker_timeout=1.5)
        assert a.broker.state is State.AWAY
    finally:
        redis.thaw()
    await until(lambda: a.broker.state is State.READY)
    await a.room.publish("said", 1)

    assert len(outages(caplog)) == 1


async def test_keys_that_may_be_evicted_are_a_warning(
    redis: RedisServer, boot: Boot, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that may evict keys works, and is said to lose history."""
    await redis.ask("CONFIG", "SET", "maxmemory", "100mb")
    await redis.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    a = await boot()

    assert a.broker.state is State.DEGRADED
    (warning,) = outages(caplog)
    assert "noeviction" in warning
    await a.room.publish("said", 1)


async def test_server_that_is_full_refuses_and_says_so(redis: RedisServer, boot: Boot) -> None:
    """Without memory nothing is published, and the publisher knows it for certain."""
    a = await boot()
    await redis.ask("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(BrokerUnavailable, match="maxmemory") as caught:
        await a.room.publish("said", 1)
    assert not caught.value.maybe_published
    await redis.ask("CONFIG", "SET", "maxmemory", "0")
    await a.room.publish("said", 1)


# -- brokers without an app ------------------------------------------------------------------------


KEEP = Keep(5, 100)


async def test_topics_without_viewers_are_given_up(redis: RedisServer, boot: Boot) -> None:
    """A process holds no subscription of a topic whose last viewer has long gone."""
    a = await boot(linger=0)
    async with open_stream(a.app, "/sse/rooms/1"):
        assert f"{PREFIX}:rooms?room=1" in await redis.ask("PUBSUB", "CHANNELS", "*")
    await until_redis(redis, "PUBSUB", "CHANNELS", "*", is_so=lambda names: names == [f"{PREFIX}!"])


async def test_prefixes_do_not_meet(redis: RedisServer) -> None:
    """Two apps on one Redis see nothing of each other, and every key has the format's number."""
    one, two = (RedisBroker(redis.url, prefix=prefix) for prefix in ("one", "two"))
    first, second = Inbox(), Inbox()
    await one.start(first)
    await two.start(second)
    try:
        for broker in (one, two):
            await broker.subscribe(["t"])
            await broker.enter({"t": {"c": "+ada"}})
        reference = await one.keep_text("text", 10, Claim(Shelf.OPEN, "a")) or ""
        await one.publish(event("1"), KEEP)
        await one.publish(Message(Kind.REFRESH, ZERO, "t", "list"), KEEP)
        await two.publish(event("2"), KEEP)
        await until(lambda: len(first.messages) == 2 and second.messages)
        await two.exit({"t": ["c"]})

        assert (first.data, second.data) == (["1", ""], ["2"])
        assert await one.present("t") == {"c": "+ada"}
        assert await one.kept_text(reference) == "text"
        assert await two.kept_text(reference) is None
        keys = await redis.ask("KEYS", "*")
        assert all(key.startswith((f"{{one:{FORMAT}}}:", f"{{two:{FORMAT}}}:")) for key in keys)
    finally:
        await one.stop()
        await two.stop()


BAD = {
    "an event": ("events:rooms?room=1", ("XADD", "*", "b", "x", "m", "{epoch}|no payload")),
    "an event without fields": ("events:rooms?room=1", ("XADD", "*", "other", "field")),
    "an event that is no text": (
        "events:rooms?room=1",
        ("XADD", "*", "b", "1-1", "m", b"\xff\xfe"),
    ),
    "a change": ("fragments:rooms?room=1", ("HSET", "list", "{epoch}|never")),
    "a tip": ("tip:rooms?room=1", ("SET", "{epoch}|never|ever")),
    "the last id": ("last", ("SET", "never")),
    "an order": ("events", ("XADD", "*", "b", "1-1", "m", "{epoch}|disconnect|||no JSON")),
}


@pytest.mark.parametrize("what", BAD)
async def test_entry_that_cannot_be_read_keeps_nobody_away(
    boot: Boot, redis: RedisServer, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    """It is skipped and logged: processes catch up, streams resume, and what is lost is told."""
    a, b = await boot(), await boot()
    await a.change()
    name, (command, *rest) = BAD[what]
    epoch = (await a.broker.position()).epoch
    before = str(await a.broker.position())
    arguments = [each.replace("{epoch}", epoch) if isinstance(each, str) else each for each in rest]
    await redis.ask(command, f"{PREFIX}:{name}", *arguments)

    old = b.broker._listener._subscription
    await redis.ask("CLIENT", "KILL", "TYPE", "pubsub")
    await until(
        lambda: (
            b.broker.state is State.READY and b.broker._listener._subscription not in (None, old)
        )
    )
    await a.change()
    url = "/sse/rooms/1?fragments=list"
    async with open_stream(b.app, url, {"Last-Event-ID": before}) as stream:
        told = Told(stream)
        async with asyncio.timeout(10):
            while told.shown != str(a.database.value):
                await told.next()
        await a.room.publish("said", 7)
        async with asyncio.timeout(10):
            while 7 not in told.numbers:
                await told.next()

    assert len([record for record in caplog.records if record.exc_info]) <= 2
    if what.startswith("an event"):
        assert told.resets
        assert "cannot be read" in caplog.text


@pytest.mark.parametrize(
    "payload",
    [b"nonsense", b"\xff", b"1|e|event|1-0", "1|{epoch}|event|9999999999999-0|a", b""],
    ids=repr,
)
async def test_message_that_cannot_be_read_cuts_nobody_off(
    boot: Boot, redis: RedisServer, caplog: pytest.LogCaptureFixture, payload: str | bytes
) -> None:
    """What another program publishes on our channels is skipped; the subscription stays."""
    process = await boot()
    if isinstance(payload, str):
        payload = payload.replace("{epoch}", (await process.broker.position()).epoch).encode()
    async with open_stream(process.app, "/sse/rooms/1") as stream:
        await stream.next("sse-open")
        subscription = process.broker._listener._subscription
        for _ in range(20):
            await redis.ask("PUBLISH", f"{PREFIX}:rooms?room=1", payload)
        await process.room.publish("said", 1)
        said = await stream.next("said")

    assert said.data == "1"
    assert process.broker._listener._subscription is subscription
    assert len([record for record in caplog.records if record.exc_info]) == 1


NEWER = {
    "a kind": "1|{epoch}|dance|{id}|whatever it is",
    "a format": "2|{epoch}|event|{id}|said||1",
    "a format that is no number": "1;x=1|{epoch}|event|{id}|said|||1",
}


@pytest.mark.parametrize("what", NEWER)
async def test_messages_of_a_newer_release_are_skipped_and_said_once(
    boot: Boot, redis: RedisServer, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    """What an older release cannot know is one plain warning, however many such messages come."""
    process = await boot()
    position = await process.broker.position()
    payload = NEWER[what].format(epoch=position.epoch, id=f"{position.events.ms}-999")
    async with open_stream(process.app, "/sse/rooms/1") as stream:
        await stream.next("sse-open")
        subscription = process.broker._listener._subscription
        for _ in range(20):
            await redis.ask("PUBLISH", f"{PREFIX}:rooms?room=1", payload)
        await process.room.publish("said", 7)
        said = await stream.next("said")

    assert said.data == "7"
    assert process.broker._listener._subscription is subscription
    (warning,) = caplog.records
    assert (warning.levelname, warning.exc_info) == ("WARNING", None)
    assert "Another release" in caplog.text


#: Takes an id, keeps an event under it and publishes it, each with fields that were added.
NEWER_PUBLISH = """
local epoch, last = redis.call("GET", KEYS[2]), redis.call("GET", KEYS[1])
local ms, n = last:match("(%d+)-(%d+)")
local id = ms .. "-" .. (n + 1)
local payload = "said|7;colour=red;x|page|1"
redis.call("SET", KEYS[1], id)
redis.call("XADD", KEYS[3], id, "b", "1-0", "m", epoch .. "|" .. payload, "extra", "more")
redis.call("HSET", KEYS[4], "mine", epoch .. "|" .. id .. "|more")
redis.call("SET", KEYS[5], epoch .. "|" .. id .. "|" .. id .. "|more|and more")
redis.call("PUBLISH", ARGV[1], "1|" .. epoch .. "|event|" .. id .. "|" .. payload)
"""


async def test_fields_of_a_newer_release_are_left_out_and_said_once(
    boot: Boot, redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Fields that were added to messages, histories, changes and tips change nothing else."""
    a, b = await boot(), await boot()
    headers = {"Last-Event-ID": str(await a.broker.position())}
    names = ["last", "epoch", *(f"{key}:rooms?room=1" for key in ("events", "fragments", "tip"))]
    keys = [f"{PREFIX}:{name}" for name in names]
    url = "/sse/rooms/1?fragments=mine"
    async with open_stream(b.app, url) as stream:
        await stream.next("sse-open")
        await redis.ask("EVAL", NEWER_PUBLISH, "5", *keys, f"{PREFIX}:rooms?room=1")
        live = await stream.next("said")
    async with open_stream(b.app, url, headers) as stream:
        replayed = [await stream.next() for _ in range(3)]
        await a.room.publish("said", 2)
        last = await stream.next("said")
    async with open_stream(b.app, url, headers) as stream:
        again = [(await stream.next()).event for _ in range(4)]

    assert (live.data, live.retry, last.data) == ("1", 7, "2")
    assert [event.event for event in replayed] == ["sse-open", "said", "message"]
    assert again == ["sse-open", "said", "said", "message"]
    warnings = [record.getMessage() for record in caplog.records]
    fields = [text.partition("field ")[2].partition(",")[0] for text in warnings]
    assert sorted(fields) == ["'colour'", "'extra'", "'x'"]
    assert not any(record.exc_info for record in caplog.records)
