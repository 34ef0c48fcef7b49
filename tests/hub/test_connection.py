"""One open stream: what it is sent, in which order, how much it may hold, and how it ends."""

import asyncio
import re
from collections.abc import Callable

import pytest
from httpx import Response
from httpx_sse import EventSource, ServerSentEvent

from quart_sse.config import Config
from quart_sse.hub.batch import Batch, Part, Personal
from quart_sse.hub.connection import Connection
from quart_sse.hub.metadata import metadata_of
from quart_sse.wire.ending import Ending
from quart_sse.wire.event import encode_preamble
from quart_sse.wire.position import Id
from tests.support.streams import until

PREAMBLE = encode_preamble(3000)
#: A farewell that is always the same.
BYE = Ending.REFUSED.encode()
PERSONAL = Personal(b"id: e.1-0\n", "notes", "mine", viewers=2)


def no_loader(personal: Personal) -> bytes:
    """Refuse to load: the test has no personal fragment."""
    raise AssertionError(personal)


def connect(
    *, pending_events: int = 1000, loader: Callable[[Personal], bytes] = no_loader
) -> Connection:
    """Return a connection whose bound in bytes is the least that can be configured."""
    config = Config(pending_events=pending_events, pending_bytes=1024)
    return Connection({"notes": frozenset()}, config, loader=loader)


def events(*bodies: bytes) -> Batch:
    """Return a batch of events."""
    return Batch.of([Part(None, body) for body in bodies])


def fragment(key: str, html: bytes) -> Batch:
    """Return a batch of one version of a fragment."""
    return Batch.of([Part(key, html)])


def of_list(at: int, what: str) -> Batch:
    """Return an event (``said``), a list (``* 2``: version 2) or an item (``a 2``) at an id."""
    name, _, version = what.partition(" ")
    data = f"id: e.{at}-0\ndata: {name}{version}\n\n".encode()
    if not version:
        return events(data)
    key = "notes.rows" if name == "*" else f"notes.rows/{name}"
    return Batch.of([Part(key, data, Id(int(version), 0), "notes.rows")])


async def take(connection: Connection) -> bytes:
    """Return the next bytes, as a server does."""
    async with asyncio.timeout(5):
        return await anext(connection)


async def take_all(connection: Connection) -> list[bytes]:
    """Return all chunks until the stream ends."""
    async with asyncio.timeout(5):
        return [chunk async for chunk in connection]


async def begin(connection: Connection) -> Connection:
    """Take the first bytes, which every stream has."""
    assert await take(connection) == PREAMBLE
    return connection


async def wait_for_more(connection: Connection) -> "asyncio.Task[bytes]":
    """Return a task in which a server waits already for the next bytes."""
    task = asyncio.create_task(take(connection))
    await until(lambda: connection.busy_since is None)
    return task


def read(message: bytes) -> list[ServerSentEvent]:
    """Decode a message by a parser that is not ours."""
    headers = {"Content-Type": "text/event-stream"}
    return list(EventSource(Response(200, headers=headers, content=message)).iter_sse())


# -- what is sent, and in which order --------------------------------------------------------------


async def test_first_bytes_come_at_once() -> None:
    """A stream begins with bytes although there is nothing to say."""
    connection = connect()

    assert await take(connection) == PREAMBLE


async def test_waiting_server_is_given_the_batch() -> None:
    """What is fed while the server waits for more is what it gets."""
    connection = await begin(connect())
    waiting = await wait_for_more(connection)

    connection.feed(events(b"1", b"2"))

    assert await waiting == b"12"


async def test_idle_connections_are_given_the_very_same_bytes() -> None:
    """A joined batch is one object for all connections that wait, however many."""
    connections = [await begin(connect()) for _ in range(3)]
    waiting = [await wait_for_more(connection) for connection in connections]
    batch = events(b"1" * 100, b"2" * 100)

    for connection in connections:
        connection.feed(batch)

    for chunk in await asyncio.gather(*waiting):
        assert chunk is batch.data


async def test_order_is_kept() -> None:
    """What is fed while the server is busy comes joined, in the order in which it was fed."""
    connection = await begin(connect())

    connection.feed(events(b"1", b"2"))
    connection.feed(fragment("a", b"3"))
    connection.feed(events(b"4"))
    connection.feed(fragment("b", b"5"))

    assert await take(connection) == b"12345"


async def test_order_is_kept_between_the_wake_and_the_next_wait() -> None:
    """What is fed after the server was woken, but before it ran, comes next."""
    connection = await begin(connect())
    waiting = await wait_for_more(connection)

    connection.feed(events(b"1"))
    connection.feed(events(b"2"))
    connection.feed(events(b"3"))

    assert await waiting == b"1"
    assert await take(connection) == b"23"


async def test_newer_version_takes_its_place_at_the_end() -> None:
    """Of a fragment only the newest version is held, behind what was fed before that."""
    connection = await begin(connect())

    connection.feed(fragment("a", b"old"))
    connection.feed(fragment("b", b"b"))
    connection.feed(events(b"1"))
    connection.feed(fragment("a", b"new"))
    connection.feed(events(b"2"))

    assert await take(connection) == b"b1new2"


@pytest.mark.parametrize(
    ("fed", "taken"),
    [
        (["1 a 1", "2 said", "3 a 3"], "1 a3 2 said"),
        (["1 a 3", "2 said", "3 a 1"], "1 a3 2 said"),
        (["1 a 1", "2 said", "3 b 3"], "1 a1 2 said 3 b3"),
        (["1 said", "2 a 2", "3 said", "4 b 4", "5 * 5"], "1 said 2 *5 3 said"),
        (["1 * 1", "2 said", "3 a 3"], "1 *1 2 said 3 a3"),
        (["1 a 1", "2 * 2", "3 said", "4 * 4"], "1 *4 3 said"),
        (["1 * 1", "2 a 2", "3 said", "4 * 4"], "1 *4 3 said"),
        (["1 * 4", "2 said", "3 * 2"], "1 *4 2 said"),
    ],
    ids=[
        "newer item",
        "older item",
        "other item",
        "whole behind items",
        "item behind a whole",
        "whole behind both",
        "whole behind a whole and an item",
        "older whole",
    ],
)
async def test_state_of_a_list_comes_earlier_and_never_later(fed: list[str], taken: str) -> None:
    """The newest takes the place, and the id line, of the first that it replaces."""
    connection = await begin(connect())

    for each in fed:
        at, _, what = each.partition(" ")
        connection.feed(of_list(int(at), what))

    text = (await take(connection)).decode()
    assert re.sub(r"id: e\.(\d+)-0\ndata: (.*)\n\n", r"\1 \2 ", text).strip() == taken


async def test_what_was_taken_is_not_sent_again() -> None:
    """Each message is sent once."""
    connection = await begin(connect())
    connection.feed(events(b"1"))
    connection.feed(fragment("a", b"2"))

    assert await take(connection) == b"12"

    connection.feed(events(b"3"))
    assert await take(connection) == b"3"


async def test_personal_part_is_made_for_each_connection() -> None:
    """Each connection gets its own message of a personal fragment, in the order of the batch."""
    one = await begin(connect(loader=lambda personal: b"<one %d>" % personal.viewers))
    other = await begin(connect(loader=lambda personal: personal.id_line + b"<other>"))
    waiting = await wait_for_more(one)
    batch = Batch.of([Part(None, b"1"), Part("notes.mine", PERSONAL), Part(None, b"2")])

    one.feed(batch)
    other.feed(batch)

    assert await waiting == b"1<one 2>2"
    assert await take(other) == b"1id: e.1-0\n<other>2"


async def test_chunks_ahead_come_before_all_else() -> None:
    """A replay goes out before what was fed live, after the first bytes, chunk by chunk."""
    connection = connect()
    connection.feed(events(b"live"))

    connection.ahead([b"first"])
    connection.ahead([b"second", b"third"])

    chunks = [await take(connection) for _ in range(5)]
    assert chunks == [PREAMBLE, b"first", b"second", b"third", b"live"]


async def test_chunks_ahead_wake_a_waiting_server() -> None:
    """A replay that comes while the server waits is sent, too, and before what is fed then."""
    connection = await begin(connect())
    waiting = await wait_for_more(connection)

    connection.ahead([b"first", b"second"])
    connection.feed(events(b"live"))

    assert await waiting == b"first"
    assert await take(connection) == b"second"
    assert await take(connection) == b"live"


async def test_nothing_ahead_wakes_no_waiter() -> None:
    """An empty replay sends nothing."""
    connection = await begin(connect())
    waiting = await wait_for_more(connection)

    connection.ahead([])
    connection.feed(events(b"1"))

    assert await waiting == b"1"


# -- what it may hold ------------------------------------------------------------------------------


async def test_too_many_events_end_the_stream() -> None:
    """Over the bound the stream drops what it holds, tells the browser to come back, and ends."""
    connection = await begin(connect(pending_events=3))
    connection.feed(fragment("a", b"html"))
    for body in (b"1", b"2", b"3"):
        connection.feed(events(body))
    assert not connection.is_ended

    connection.feed(events(b"4"))

    assert connection.is_ended
    (farewell,) = await take_all(connection)
    (event,) = read(farewell)
    assert (event.event, event.data) == ("sse-holdoff", "overflow")
    assert event.retry is not None


async def test_too_many_bytes_end_the_stream() -> None:
    """The bytes of all events that are held count, and exactly the bound is not too much."""
    connection = await begin(connect())
    connection.feed(events(b"x" * 1000))
    connection.feed(events(b"x" * 24))
    assert not connection.is_ended

    connection.feed(events(b"x"))

    assert connection.is_ended
    (farewell,) = await take_all(connection)
    assert [event.data for event in read(farewell)] == ["overflow"]


async def test_fragments_do_not_count_against_the_bounds() -> None:
    """However large fragments are, and however often they change, they end no stream."""
    connection = await begin(connect(pending_events=1))
    connection.feed(events(b"1"))

    for number in range(50):
        connection.feed(fragment(f"key-{number % 5}", b"%02d" % number * 1000))

    assert not connection.is_ended
    newest = b"".join(b"%02d" % number * 1000 for number in range(45, 50))
    assert await take(connection) == b"1" + newest


async def test_items_count_against_the_bounds_as_events_do() -> None:
    """A newer version counts in place of the one before; the whole list counts nothing."""
    connection = await begin(connect(pending_events=2))
    for number in range(1, 9):
        connection.feed(of_list(number, f"a {number}"))
    connection.feed(of_list(9, "b 9"))
    connection.feed(of_list(10, "* 10"))
    connection.feed(of_list(11, "a 11"))
    connection.feed(events(b"1"))
    assert not connection.is_ended

    connection.feed(of_list(12, "b 12"))

    assert connection.is_ended
    (farewell,) = await take_all(connection)
    assert [event.data for event in read(farewell)] == ["overflow"]


async def test_bytes_of_items_count_as_those_of_events_do() -> None:
    """Those of the versions that are held."""
    connection = await begin(connect())
    long = "x" * 600
    for number in range(1, 9):
        connection.feed(of_list(number, f"{long} {number}"))
    assert not connection.is_ended

    connection.feed(of_list(9, f"{long}y 9"))

    assert connection.is_ended


async def test_chunks_ahead_do_not_count_against_the_bounds() -> None:
    """A replay may be larger than what a slow connection may hold."""
    connection = await begin(connect(pending_events=1))

    connection.ahead([b"x" * 1000] * 20)
    connection.feed(events(b"1"))

    assert not connection.is_ended
    assert [await take(connection) for _ in range(21)] == [b"x" * 1000] * 20 + [b"1"]


async def test_bounds_start_again_after_everything_was_taken() -> None:
    """A connection that keeps up may be sent any number of events."""
    connection = await begin(connect(pending_events=2))

    for _ in range(5):
        connection.feed(events(b"x" * 500))
        connection.feed(events(b"y" * 500))
        assert await take(connection) == b"x" * 500 + b"y" * 500

    assert not connection.is_ended


@pytest.mark.parametrize("is_shared", [True, False])
async def test_waiting_server_may_be_given_more_than_the_bounds(is_shared: bool) -> None:
    """A batch that goes out at once is never held, so it is never too large."""
    connection = await begin(connect(pending_events=1, loader=lambda _: b"!"))
    waiting = await wait_for_more(connection)
    parts = [Part(None, b"x" * 500)] * 5
    batch = Batch.of(parts if is_shared else [*parts, Part("a", PERSONAL)])

    connection.feed(batch)

    assert await waiting == b"x" * 2500 + (b"" if is_shared else b"!")
    assert not connection.is_ended
    connection.feed(events(b"1"))
    assert await take(connection) == b"1"


# -- how it ends -----------------------------------------------------------------------------------


async def test_end_sends_what_is_pending_then_the_farewell() -> None:
    """A stream that is ended loses nothing: replay, pending, farewell, and then it stops."""
    connection = connect()
    connection.ahead([b"replay"])
    connection.feed(events(b"1"))

    connection.end(Ending.REFUSED)

    assert connection.is_ended
    assert await take_all(connection) == [PREAMBLE, b"replay", b"1", BYE]
    assert await take_all(connection) == []


async def test_end_wakes_a_waiting_server() -> None:
    """A server that waits gets the farewell at once."""
    connection = await begin(connect())
    waiting = await wait_for_more(connection)

    connection.end(Ending.REFUSED)

    assert await waiting == BYE
    assert await take_all(connection) == []


async def test_end_without_farewell_stops() -> None:
    """A stream can end without a word, whether or not the server waits."""
    idle, busy = await begin(connect()), await begin(connect())
    waiting = asyncio.create_task(take_all(idle))
    await until(lambda: idle.busy_since is None)

    idle.end()
    busy.end()

    assert await waiting == []
    assert await take_all(busy) == []


async def test_end_between_the_wake_and_the_next_wait_loses_nothing() -> None:
    """What the server was woken for is sent although the stream was ended in the meantime."""
    connection = await begin(connect())
    waiting = await wait_for_more(connection)
    connection.feed(events(b"1"))

    connection.end(Ending.REFUSED)

    assert await waiting == b"1"
    assert await take_all(connection) == [BYE]


async def test_first_farewell_counts() -> None:
    """A stream that has ended already is not ended for another reason."""
    connection = await begin(connect())

    connection.end(Ending.REFUSED)
    connection.end(Ending.EXPIRED)
    connection.end()

    assert await take_all(connection) == [BYE]


@pytest.mark.parametrize("pending_events", [1, 1000])
async def test_feed_after_the_end_is_ignored(pending_events: int) -> None:
    """Nothing is added to a stream that has ended, not even to overflow it."""
    connection = await begin(connect(pending_events=pending_events))
    connection.end(Ending.REFUSED)

    connection.feed(events(b"1", b"2", b"3"))
    connection.feed(fragment("a", b"html"))

    assert await take_all(connection) == [BYE]


@pytest.mark.parametrize("is_over", [False, True])
@pytest.mark.parametrize("call", ["feed", "ahead", "end"])
async def test_cancelled_wait_disturbs_no_other(call: str, is_over: bool) -> None:
    """When a server stops waiting, feeding and ending the connection are harmless."""
    connection = await begin(connect())
    waiting = await wait_for_more(connection)

    waiting.cancel()
    if is_over:
        await asyncio.wait([waiting])
    if call == "feed":
        connection.feed(events(b"1"))
    elif call == "ahead":
        connection.ahead([b"1"])
    connection.end(Ending.REFUSED)

    await asyncio.wait([waiting])
    assert waiting.cancelled()
    assert (await take_all(connection))[-1] == BYE


@pytest.mark.parametrize("fed", ["before", "during", "after"])
async def test_cancelled_wait_loses_nothing(fed: str) -> None:
    """A server that stops waiting, as by a timeout, gets what was fed meanwhile when it returns."""
    connection = await begin(connect())
    waiting = await wait_for_more(connection)

    if fed == "before":  # the bytes are on their way when the wait is given up
        connection.feed(events(b"1"))
    waiting.cancel()
    if fed == "during":
        connection.feed(events(b"1"))
    await asyncio.wait([waiting])
    if fed == "after":
        connection.feed(events(b"1"))
    connection.feed(events(b"2"))
    connection.end()

    assert waiting.cancelled()
    assert b"".join(await take_all(connection)) == b"12"


async def test_connection_whose_loader_fails_can_still_be_ended() -> None:
    """After a message that cannot be made, the server still waits, and gets the farewell."""

    def fail(personal: Personal) -> bytes:
        raise RuntimeError("no URL can be built")

    connection = await begin(connect(loader=fail))
    waiting = await wait_for_more(connection)

    with pytest.raises(RuntimeError, match="no URL"):
        connection.feed(Batch.of([Part("notes.mine", PERSONAL)]))
    connection.end(Ending.REFUSED)

    assert await waiting == BYE


# -- what others can see of it ---------------------------------------------------------------------


async def test_time_is_taken_while_the_server_is_busy() -> None:
    """It is known since when the server has not come back for more, and that it waits."""
    loop = asyncio.get_running_loop()
    connection = connect()
    assert connection.busy_since is None

    before = loop.time()
    await begin(connection)
    assert connection.busy_since is not None
    assert before <= connection.busy_since <= loop.time()

    waiting = await wait_for_more(connection)
    assert connection.busy_since is None

    before = loop.time()
    connection.feed(events(b"1"))
    assert connection.busy_since is not None
    assert before <= connection.busy_since <= loop.time()
    await waiting

    connection.feed(events(b"2"))
    before = loop.time()
    await take(connection)
    assert before <= connection.busy_since <= loop.time()


async def test_connection_remembers_whose_it_is() -> None:
    """A connection has an id of its own and keeps what it was made with."""
    given: dict[str, object] = {"plan": "free"}
    metadata = metadata_of(given, "given")
    connection = Connection(
        {"notes": frozenset({"mine"})},
        Config(),
        loader=no_loader,
        identity="7",
        browser="b",
        address="::1",
        bare=True,
        metadata=metadata,
    )

    given["plan"] = "changed later"

    assert connection.subscription == {"notes": frozenset({"mine"})}
    assert (connection.identity, connection.browser, connection.address) == ("7", "b", "::1")
    assert connection.bare
    assert connection.metadata is metadata
    assert metadata is not None
    assert metadata.copy() == {"plan": "free"}
    assert len({connection.id, *(connect().id for _ in range(20))}) == 21
