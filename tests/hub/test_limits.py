"""Limits: which of them a new connection meets, what the log says, and who makes room."""

import time

import pytest

from quart_sse.config import Config
from quart_sse.hub.connection import Connection
from quart_sse.hub.group import Joining
from quart_sse.hub.limits import ChannelLimits, Limits
from quart_sse.hub.page import NO_LISTS, Listed
from quart_sse.hub.subscribers import Subscribers

CONFIG = Config(max_connections=5, max_per_topic=3, max_per_address=2)
RETRIES = "; new streams retry in about 10 s. "


class Channels:
    """Channels: ``rooms`` has limits of its own, any other has none."""

    def limits(self, topic: str) -> ChannelLimits:
        name = topic.partition("?")[0]
        return ChannelLimits(name, 4, 2) if name == "rooms" else ChannelLimits(name)


class Process:
    """What counts the connections of a process."""

    def __init__(self, config: Config = CONFIG) -> None:
        self.subscribers = Subscribers()
        self.limits = Limits(config, self.subscribers, Channels())

    def open(self, *topics: str) -> Connection:
        """Let a connection to these topics enter."""
        shown = dict.fromkeys(topics, frozenset[str]())
        connection = Connection(shown, CONFIG, loader=lambda _: b"")
        self.subscribers.add(Joining(connection, None))
        self.limits.change((), connection.subscription)
        return connection

    def is_full(
        self, *topics: str, number: int = 0, of_address: int = 0, listed: Listed = NO_LISTS
    ) -> bool:
        """Whether another connection to these topics must wait."""
        return self.limits.is_full(number, topics, "192.0.2.7", of_address, listed)


async def test_channel_counts_the_connections_of_all_its_topics() -> None:
    """A connection to several topics of one channel counts once; one that left counts no more."""
    process = Process()
    process.open("rooms?room=1", "rooms?room=2", "news")
    assert not process.is_full("rooms?room=9")
    others = [process.open(f"rooms?room={number}") for number in range(3, 6)]

    assert process.is_full("rooms?room=9")
    assert process.is_full("news", "rooms?room=9")
    assert not process.is_full("news")

    process.limits.change(others[0].subscription, ())
    assert not process.is_full("rooms?room=9")

    process.open("rooms?room=9")
    assert process.is_full("rooms?room=10")
    process.limits.clear()
    assert not process.is_full("rooms?room=10")


async def test_count_of_a_channel_costs_the_same_however_many_are_open() -> None:
    """What is counted is kept by channel, and nothing is left of a channel without connections."""
    process = Process()
    opened = [process.open("a?x=1", "a?x=2", "b") for _ in range(50)]
    assert process.limits._by_channel == {"a": 50, "b": 50}

    for connection in opened:
        process.limits.change(connection.subscription, ())

    assert not process.limits._by_channel


@pytest.mark.parametrize(
    ("topic", "limit"), [("rooms?room=1", 2), ("news", 3), ("rooms?room=2", 2), ("other?x=1", 3)]
)
async def test_topic_has_the_limit_of_its_channel_or_that_of_the_app(
    topic: str, limit: int
) -> None:
    """What a channel declares takes the place of ``QUART_SSE_MAX_PER_TOPIC``."""
    process = Process()
    for _ in range(limit):
        assert not process.is_full(topic)
        process.open(topic)

    assert process.is_full(topic)


async def test_channel_may_have_more_connections_per_topic_than_the_app(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A limit of its own may be larger, too."""
    process = Process(Config(max_per_topic=1))
    process.open("rooms?room=1")
    assert not process.is_full("rooms?room=1")
    process.open("rooms?room=1")

    assert process.is_full("rooms?room=1")
    assert "max_per_topic of the channel" in caplog.text


LINES = {
    "process": (
        f"Connection limit reached (5, QUART_SSE_MAX_CONNECTIONS){RETRIES}"
        "Raise the limit, or serve from more processes."
    ),
    "channel": (
        "Connection limit of channel 'rooms' reached (4, max_connections of the channel)"
        f"{RETRIES}Raise it in sse.channel(), or serve from more processes."
    ),
    "topic": (
        f"Connection limit of topic 'news' reached (3, QUART_SSE_MAX_PER_TOPIC){RETRIES}"
        "Raise the limit, or serve from more processes."
    ),
    "address": (
        f"Connection limit of address '192.0.2.7' reached (2, QUART_SSE_MAX_PER_ADDRESS){RETRIES}"
        "Raise the limit, or let the app see the addresses of clients behind its proxy."
    ),
    "unsigned": (
        "Topic limit of address '192.0.2.7' reached (1024, 64 x QUART_SSE_MAX_UNSIGNED_TOPICS)"
        f"{RETRIES}Raise the limit, or let the app see the addresses of clients behind its proxy."
    ),
    "listed": (
        "Topic limit of address '192.0.2.7' reached (16384, 16 streams full of topics)"
        f"{RETRIES}Raise the limit, or let the app see the addresses of clients behind its proxy."
    ),
}


@pytest.mark.parametrize(
    ("topics", "number", "of_address", "listed", "what"),
    [
        ([], 5, 0, Listed(), "process"),
        (["rooms?room=3"], 4, 0, Listed(), "channel"),
        (["news"], 4, 0, Listed(), "topic"),
        (["other"], 4, 2, Listed(), "address"),
        (["other"], 4, 1, Listed(1025, 1025), "unsigned"),
        (["other"], 4, 1, Listed(16385, 1024), "listed"),
    ],
)
async def test_log_names_the_limit_and_the_remedy(
    topics: list[str],
    number: int,
    of_address: int,
    listed: Listed,
    what: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each line is logged once a minute, however many clients knock."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    process = Process()
    for _ in range(4):
        process.open("rooms?room=1", "news")
    assert not process.is_full("other", number=4, of_address=1, listed=Listed(16384, 1024))
    assert not caplog.records

    for seconds in (0.0, 1.0, 58.0, 1.0, 1.0):
        now[0] += seconds
        assert process.is_full(*topics, number=number, of_address=of_address, listed=listed)

    assert [record.getMessage() for record in caplog.records] == [LINES[what]] * 2


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "::/64", "fd00::/64"])
async def test_proxy_has_no_limit_and_one_line_in_the_log(
    address: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its clients share an address that says nothing of them; the line names the remedy."""
    limits = Process().limits
    assert not limits.is_full(0, [], address, 1)
    assert not caplog.records

    assert not any(limits.is_full(0, [], other, 2) for other in (address, "10.9.9.9", address))

    assert not limits.is_full(0, [], address, 0, Listed(2000, 2000))
    (record,) = caplog.records
    assert record.getMessage() == (
        f"More streams came from {address} than QUART_SSE_MAX_PER_ADDRESS allows (2); addresses of "
        "loopback and private networks are not limited. If a proxy has this one, let the app see "
        "its clients' addresses: Hypercorn's ProxyFixMiddleware, Uvicorn's --proxy-headers. This "
        "is logged once."
    )


@pytest.mark.parametrize(
    ("owner", "is_multiplexed", "limit"),
    [("identity", False, 6), ("identity", True, 6), ("browser", False, 2), ("browser", True, 6)],
)
def test_oldest_of_an_owner_make_room(owner: str, is_multiplexed: bool, limit: int) -> None:
    """As many as are over the limit, when one more comes."""
    limits = Limits(Config(max_per_identity=6, max_per_browser=2), Subscribers())

    assert [limits.to_evict(owner, limit + more, is_multiplexed) for more in (-1, 0, 3)] == [
        *(0, 1, 4)
    ]


async def test_process_without_channels_has_the_limits_of_the_app() -> None:
    """So that the other rooms of the hub can be used without declarations."""
    subscribers = Subscribers()
    limits = Limits(Config(max_per_topic=1), subscribers)
    connection = Connection({"news": frozenset()}, CONFIG, loader=lambda _: b"")
    assert not limits.is_full(0, ["news"], None, 0)

    subscribers.add(Joining(connection, None))

    assert limits.is_full(0, ["news"], None, 0)
