"""Limits: a new connection evicts only older ones of the same identity or browser."""

import asyncio

import pytest

from quart_sse.config import Config
from quart_sse.hub.connection import Connection
from quart_sse.hub.connections import Connections
from quart_sse.hub.page import Listed
from quart_sse.hub.subscribers import Subscribers
from quart_sse.wire.ending import Ending


def connect(
    identity: str | None = None, browser: str | None = None, address: str | None = None
) -> Connection:
    """Return a connection of an identity, a browser and an address."""
    return Connection(
        {}, Config(), loader=lambda _: b"", identity=identity, browser=browser, address=address
    )


def limited(
    max_per_browser: int = 4, max_per_identity: int = 64, max_per_address: int = 10_000
) -> Connections:
    """Return a process without connections that has these limits."""
    config = Config(
        max_per_browser=max_per_browser,
        max_per_identity=max_per_identity,
        max_per_address=max_per_address,
    )
    return Connections(config, Subscribers())


def fill(open_: Connections, *connections: Connection) -> None:
    """Let connections enter one after the other, on sockets of their own."""
    for connection in connections:
        open_.enter(connection, is_multiplexed=False)


def ended(*connections: Connection) -> list[bool]:
    """Tell of each connection whether it was ended."""
    return [connection.is_ended for connection in connections]


async def sent_by(connection: Connection) -> bytes:
    """Return everything that an ended connection still sends."""
    async with asyncio.timeout(5):
        return b"".join([chunk async for chunk in connection])


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 8])
async def test_browser_may_have_as_many_as_the_limit_says(limit: int) -> None:
    """Connections up to the limit stay; each further one ends the oldest, and only that."""
    open_ = limited(max_per_browser=limit)
    connections = [connect(browser="b") for _ in range(limit)]
    one_more, another = connect(browser="b"), connect(browser="b")

    fill(open_, *connections)
    assert ended(*connections) == [False] * limit

    fill(open_, one_more)
    assert ended(*connections, one_more) == [True] + [False] * limit

    fill(open_, another)
    expected = [True, True] + [False] * limit
    assert ended(*connections, one_more, another) == expected


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
async def test_identity_may_have_as_many_as_the_limit_says(limit: int) -> None:
    """An identity's limit holds over all of its browsers."""
    open_ = limited(max_per_identity=limit)
    connections = [connect(identity="i", browser=str(number)) for number in range(limit)]
    further = connect(identity="i", browser="another")

    fill(open_, *connections)
    assert ended(*connections) == [False] * limit

    fill(open_, further)
    assert ended(*connections, further) == [True] + [False] * limit


async def test_evicted_connection_reconnects_later() -> None:
    """An evicted client reconnects after a while, because its tab may outlive the newer one."""
    open_ = limited(max_per_browser=1)
    old, new = connect(browser="b"), connect(browser="b")

    fill(open_, old, new)

    sent = await sent_by(old)
    assert b"retry: " in sent
    assert sent.endswith(b"event: sse-holdoff\ndata: evicted\n\n")


async def test_others_are_never_evicted() -> None:
    """However many connections one browser opens, none of another browser or identity ends."""
    open_ = limited(max_per_browser=1, max_per_identity=2)
    others = [
        connect(identity="me", browser="mine", address="1.1.1.1"),
        connect(identity=None, browser="other", address="9.9.9.9"),
        connect(identity=None, browser=None, address="9.9.9.9"),
        connect(identity="other", browser=None, address="9.9.9.9"),
        connect(identity="b", browser="they", address="i"),
    ]
    flood = [connect(identity="i", browser="b", address="9.9.9.9") for _ in range(20)]

    fill(open_, *others, *flood)

    assert ended(*others) == [False] * len(others)
    assert ended(*flood) == [True] * 19 + [False]


async def test_addresses_never_evict() -> None:
    """People behind one address without a cookie do not end each other's streams."""
    open_ = limited(max_per_address=2, max_per_browser=1, max_per_identity=1)
    connections = [connect(address="1.1.1.1") for _ in range(10)]

    fill(open_, *connections)

    assert ended(*connections) == [False] * 10
    assert open_.of("address", "1.1.1.1") == connections


async def test_browser_with_one_socket_for_all_may_have_more() -> None:
    """On HTTP/2 streams do not block requests, so the limit of an identity holds."""
    open_ = limited(max_per_browser=1, max_per_identity=3)
    connections = [connect(browser="b") for _ in range(4)]

    for connection in connections:
        open_.enter(connection, is_multiplexed=True)

    assert ended(*connections) == [True, False, False, False]


async def test_connection_that_left_counts_no_longer() -> None:
    """A closed tab makes room, so that the next one evicts no other."""
    open_ = limited(max_per_browser=2)
    first, second, third = (connect(browser="b") for _ in range(3))
    fill(open_, first, second)

    open_.leave(first)
    fill(open_, third)

    assert ended(first, second, third) == [False] * 3
    assert open_.of("browser", "b") == [second, third]


async def test_connection_that_has_ended_counts_no_longer() -> None:
    """A stream that is ending already leaves its place, so no open one has to go for the next."""
    open_ = limited(max_per_browser=2)
    first, second, third = (connect(browser="b") for _ in range(3))
    fill(open_, first, second)

    second.end(Ending.SHUTDOWN)
    fill(open_, third)

    assert ended(first, second, third) == [False, True, False]
    assert (await sent_by(second)).endswith(b"data: shutdown\n\n")


async def test_leaving_is_harmless_at_any_time() -> None:
    """A connection that never entered, or has left already, can leave."""
    open_ = limited()
    stranger, one = connect("i", "b", "a"), connect("i", "b", "a")
    fill(open_, one)

    open_.leave(stranger)
    assert open_.of("identity", "i") == [one]

    open_.leave(one)
    open_.leave(one)
    assert open_.of("identity", "i") == []


async def test_connections_are_found_by_their_owner() -> None:
    """Connections are listed by identity, browser and address, oldest first."""
    open_ = limited()
    first, second = connect("i", "b", "a"), connect("i", None, "a")

    fill(open_, first, second)

    assert open_.of("identity", "i") == [first, second]
    assert open_.of("browser", "b") == [first]
    assert open_.of("address", "a") == [first, second]
    assert open_.of("identity", None) == []
    assert open_.of("identity", "b") == []


async def test_full_process_logs_its_limit_and_the_delay_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The line names the limit that is reached; a flood of streams does not repeat it."""
    open_ = Connections(Config(max_connections=1), Subscribers())
    fill(open_, connect())

    assert [open_.is_full() for _ in range(3)] == [True] * 3
    (record,) = caplog.records
    assert record.getMessage() == (
        "Connection limit reached (1, QUART_SSE_MAX_CONNECTIONS); new streams retry in about 10 s. "
        "Raise the limit, or serve from more processes."
    )


async def test_stream_that_takes_the_place_of_another_evicts_none() -> None:
    """Both are one connection of the browser, however many streams are open of it meanwhile."""
    open_ = limited(max_per_browser=2)
    one, other, third = connect(browser="b"), connect(browser="b"), connect(browser="b")
    next_, after = connect(browser="b"), connect(browser="b")
    next_.lasting = after.lasting = one.lasting

    fill(open_, one, other, next_, after)
    assert ended(one, other, next_, after) == [False] * 4
    fill(open_, third)
    assert ended(one, other, next_, after) == [True, False, True, True]


async def test_stream_that_takes_the_place_of_another_needs_no_room() -> None:
    """Of the process, and of an address; but a second one at once does."""
    open_ = Connections(Config(max_connections=1, max_per_address=1), Subscribers())
    one, next_ = connect(address="1.2.3.4"), connect(address="1.2.3.4")
    next_.lasting = one.lasting
    fill(open_, one)

    assert open_.is_full()
    assert open_.is_full((), "1.2.3.4")
    assert not open_.is_full((), "1.2.3.4", one.id)
    assert open_.is_full((), "1.2.3.4", "of none")
    assert not open_.is_full((), "4.3.2.1", one.id)
    fill(open_, next_)
    assert open_.is_full((), "1.2.3.4", one.id)


async def test_replaced_streams_that_stay_open_are_no_way_around_the_limit_of_an_address() -> None:
    """One stream more may be open meanwhile, and not one more for each connection."""
    open_ = limited(max_per_address=3)
    streams = [connect(address="1.2.3.4") for _ in range(3)]
    fill(open_, *streams)
    next_ = connect(address="1.2.3.4")
    next_.lasting = streams[0].lasting
    fill(open_, next_)

    assert open_.is_full((), "1.2.3.4", streams[1].id)
    open_.leave(streams[0])
    assert not open_.is_full((), "1.2.3.4", streams[1].id)
    fill(open_, connect(address="4.3.2.1"))
    assert not open_.is_full((), "4.3.2.1", streams[1].id)
    fill(open_, *(connect(address="4.3.2.1") for _ in range(2)))
    assert open_.is_full((), "4.3.2.1", streams[1].id)


async def test_topics_in_unsigned_lists_are_summed_over_the_streams_of_an_address() -> None:
    """Those that leave count no more, and a stream that is replaced makes room for its own."""
    open_ = limited()
    streams = [connect(address="1.2.3.4") for _ in range(63)]
    for stream in streams:
        stream.listed = Listed(16, 16)
    fill(open_, *streams)
    lasting = streams[0].lasting.id

    assert not open_.is_full((), "1.2.3.4", listed=Listed(16, 16))
    assert open_.is_full((), "1.2.3.4", listed=Listed(17, 17))
    assert not open_.is_full((), "1.2.3.4", lasting, listed=Listed(32, 32))
    assert open_.is_full((), "1.2.3.4", lasting, listed=Listed(33, 33))
    assert not open_.is_full((), "1.2.3.4")
    assert not open_.is_full((), "4.3.2.1", listed=Listed(1024, 1024))
    open_.leave(streams[1])
    open_.leave(streams[1])
    assert not open_.is_full((), "1.2.3.4", listed=Listed(32, 32))
    assert open_.is_full((), "1.2.3.4", listed=Listed(33, 33))
    for stream in streams:
        open_.leave(stream)
    assert not open_._listed


async def test_connection_counts_for_the_channels_that_it_has_now() -> None:
    """What the app has added counts against a limit, and what it has taken away does not."""
    open_, connection = limited(), connect()
    fill(open_, connection)
    counts = open_._limits._by_channel

    open_.recount(connection, ["rooms?room=1", "rooms?room=2", "news"])
    connection.subscription = dict.fromkeys(["rooms?room=1", "rooms?room=2", "news"], frozenset())
    assert counts == {"rooms": 1, "news": 1}
    open_.recount(connection, ["news"])
    connection.subscription = {"news": frozenset()}
    assert counts == {"news": 1}
    open_.recount(connect(), ["news"])  # which has not entered
    assert counts == {"news": 1}
    open_.leave(connection)
    assert not counts


@pytest.mark.parametrize("owner", ["browser", "identity"])
async def test_stream_that_is_replaced_makes_room_for_the_next(owner: str) -> None:
    """It ends by itself, so no other of its identity or browser is evicted; a new one evicts."""
    open_ = limited(max_per_browser=2) if owner == "browser" else limited(max_per_identity=2)
    other, old, new, further = (
        connect("i", str(number) if owner == "identity" else "b") for number in range(4)
    )
    fill(open_, other, old)

    new.lasting = old.lasting
    fill(open_, new)
    assert ended(other, old, new) == [False] * 3

    open_.leave(old)
    fill(open_, further)
    assert ended(other, new, further) == [True, False, False]


async def test_topics_in_all_lists_are_summed_over_the_streams_of_an_address() -> None:
    """As many as sixteen full streams have, whoever has written the lists."""
    open_ = limited()
    streams = [connect(address="1.2.3.4") for _ in range(15)]
    for stream in streams:
        stream.listed = Listed(1024)
    fill(open_, *streams)

    assert not open_.is_full((), "1.2.3.4", listed=Listed(1024))
    assert open_.is_full((), "1.2.3.4", listed=Listed(1025))
    assert not open_.is_full((), "4.3.2.1", listed=Listed(1025))
    open_.leave(streams[0])
    assert not open_.is_full((), "1.2.3.4", listed=Listed(2048))
