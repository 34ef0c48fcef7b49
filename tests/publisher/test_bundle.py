"""Batches: together or not at all, in one order, each refresh once."""

import asyncio

import pytest

from quart_sse import BrokerUnavailable
from quart_sse.broker import Keep, Kind, Message
from quart_sse.broker.memory import MemoryBroker
from quart_sse.publisher import MessagePublisher
from tests.support.processes import Inbox
from tests.support.sites import Site, heard, serving

TOPIC = "board?number=7"
KEEP = Keep(events=10, ttl=60.0)


@pytest.fixture
async def inbox() -> Inbox:
    """What a process receives."""
    return Inbox()


@pytest.fixture
async def publisher(inbox: Inbox) -> MessagePublisher:
    """A publisher."""
    broker = MemoryBroker()
    await broker.start(inbox)
    return MessagePublisher(broker, 1000)


def contents(inbox: Inbox) -> list[str]:
    """Return what has come, each as a text."""
    return [f"{message.kind.name} {message.name}" for message in inbox.messages]


async def test_messages_come_together_when_the_block_ends(
    publisher: MessagePublisher, inbox: Inbox
) -> None:
    """In their order; of equal refreshes the last, which counts after a push."""
    async with publisher.batch():
        await publisher.event(TOPIC, "one", 1, KEEP)
        await publisher.refresh(TOPIC, ["list", "count"], KEEP)
        await publisher.push(TOPIC, "list", "x", KEEP, root="")
        await publisher.refresh(TOPIC, ["list"], KEEP)
        await publisher.refresh("board?number=8", ["list"], KEEP)
        await publisher.event(TOPIC, "two", 2, KEEP)
        await publisher.event(TOPIC, "two", 2, KEEP)
        assert contents(inbox) == []

    assert contents(inbox) == [
        "EVENT one",
        "REFRESH count",
        "PUSH list",
        "REFRESH list",
        "REFRESH list",
        "EVENT two",
        "EVENT two",
    ]


async def test_of_equal_refreshes_of_an_item_the_last_counts(
    publisher: MessagePublisher, inbox: Inbox
) -> None:
    """Other items of the list, and the list, are other changes."""
    async with publisher.batch():
        for item in ("1", "2", "", "1"):
            await publisher.refresh(TOPIC, ["list"], KEEP, item=item)

    assert [message.item for message in inbox.messages] == ["2", "", "1"]


@pytest.mark.parametrize("error", [KeyError, asyncio.CancelledError])
async def test_block_that_raises_publishes_nothing(
    publisher: MessagePublisher, inbox: Inbox, error: type[BaseException]
) -> None:
    """Nor does what the block has started and not waited for."""
    goes_on = asyncio.Event()

    async def later() -> None:
        await goes_on.wait()
        await publisher.event(TOPIC, "later", 1, KEEP)

    tasks: list[asyncio.Task[None]] = []

    async def block() -> None:
        async with publisher.batch():
            await publisher.event(TOPIC, "one", 1, KEEP)
            tasks.append(asyncio.create_task(later()))
            raise error

    with pytest.raises(error):
        await block()
    goes_on.set()
    await tasks[0]
    assert contents(inbox) == []
    await publisher.event(TOPIC, "two", 1, KEEP)

    assert contents(inbox) == ["EVENT two"]


async def test_inner_batch_is_a_part_of_the_outer_one(
    publisher: MessagePublisher, inbox: Inbox
) -> None:
    """What the inner one drops is dropped, and what the outer one drops, too."""

    async def inner(name: str, fails: bool) -> None:
        async with publisher.batch():
            await publisher.event(TOPIC, name, 1, KEEP)
            if fails:
                raise KeyError

    async def outer() -> None:
        async with publisher.batch():
            await inner("no", fails=False)
            raise KeyError

    async with publisher.batch():
        await publisher.event(TOPIC, "one", 1, KEEP)
        with pytest.raises(KeyError):
            await inner("no", fails=True)
        await inner("two", fails=False)
        assert contents(inbox) == []
    with pytest.raises(KeyError):
        await outer()

    assert contents(inbox) == ["EVENT one", "EVENT two"]


async def test_batch_takes_what_its_app_publishes_and_nothing_else(
    publisher: MessagePublisher, inbox: Inbox
) -> None:
    """Two apps in one process have batches of their own."""
    second = Inbox()
    broker = MemoryBroker()
    await broker.start(second)
    other = MessagePublisher(broker, 1000)

    async with publisher.batch():
        await other.event(TOPIC, "theirs", 1, KEEP)
        async with other.batch():
            await publisher.event(TOPIC, "ours", 1, KEEP)
            await other.event(TOPIC, "more", 1, KEEP)
        assert contents(second) == ["EVENT theirs", "EVENT more"]
        assert contents(inbox) == []

    assert contents(inbox) == ["EVENT ours"]


async def test_batch_waits_for_what_a_thread_has_published_in_it(site: Site) -> None:
    """Commit, then refresh: also where the work is in a thread that does not wait."""

    def work(fails: bool) -> None:
        site.room(1).publish_soon("said", "thread")
        if fails:
            raise KeyError

    async with site.view(1) as (stream, _):
        with pytest.raises(KeyError):
            async with site.sse.batch():
                await asyncio.to_thread(work, True)
        async with site.sse.batch():
            published = await site.room(1).publish("said", "view")
            await asyncio.to_thread(work, False)
        await site.room(1).publish("said", "end")

        assert [data for _, data in await heard(stream, 3)] == ["view", "thread", "end"]
    assert (published.id, published.local_receivers) == ("", 1)


async def test_error_says_whether_some_was_published(inbox: Inbox) -> None:
    """Only the first message leaves no doubt."""

    class Failing(MemoryBroker):
        left = 1

        async def publish(self, message: Message, keep: Keep) -> object:  # type: ignore[override]
            if not self.left:
                raise BrokerUnavailable("Away.")
            self.left -= 1
            return await super().publish(message, keep)

    broker = Failing()
    await broker.start(inbox)
    publisher = MessagePublisher(broker, 1000)
    doubts = []
    for _ in range(2):
        with pytest.raises(BrokerUnavailable) as raised:
            async with publisher.batch():
                await publisher.refresh(TOPIC, ["a", "b"], KEEP)
        doubts.append(raised.value.maybe_published)

    assert doubts == [True, False]
    assert [message.kind for message in inbox.messages] == [Kind.REFRESH]


async def test_batch_without_messages_asks_for_nothing() -> None:
    """It works where the broker is away."""
    site = Site("redis://127.0.0.1:1")
    async with site.sse.batch():
        pass
    async with serving(Site("memory://")):
        pass
