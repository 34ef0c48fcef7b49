"""An outlet takes batches while the server waits, and at no other time."""

import asyncio
from typing import Any

import pytest

from quart_sse.config import Config
from quart_sse.error_log import ErrorLog
from quart_sse.hub import Batch, Connection, Outgoing, Part
from quart_sse.hub.batcher import Batcher
from quart_sse.hub.connection import JOINED
from quart_sse.hub.group import Group
from quart_sse.wire import Ending, encode_preamble
from tests.support.streams import until

PREAMBLE = encode_preamble(3000)


class Taking:
    """An outlet that takes a batch if it may."""

    def __init__(self) -> None:
        self.taken: list[Batch] = []
        self.is_full = False
        self.error: Exception | None = None

    def write(self, batch: Batch) -> bool:
        """Take a batch."""
        if self.error is not None:
            raise self.error
        if not self.is_full:
            self.taken.append(batch)
        return not self.is_full


class Viewer:
    """A stream of one group, read by a task."""

    def __init__(self) -> None:
        self.connection = Connection({"news": frozenset()}, Config(), loader=lambda _: b"own")
        self.outlet = self.connection.outlet = Taking()
        self.read: list[bytes] = []
        self.task = asyncio.create_task(self.run())
        self.group = Group({"news": frozenset()}, True, None)
        self.group.members.add(self.connection)
        self.errors = ErrorLog()
        self.batcher = Batcher(lambda: None, self.errors)

    async def run(self) -> None:
        """Read until the end."""
        async for data in self.connection:
            self.read.append(data)

    @property
    def texts(self) -> list[bytes | None]:
        """What the outlet has taken."""
        return [batch.data for batch in self.outlet.taken]

    async def say(self, text: str) -> None:
        """Send a message to the group, and wait until it was fed."""
        self.group.add(Outgoing.direct("n", text, is_text=True, once=""))
        self.batcher.add(self.group)
        await self.batcher.idle.wait()


@pytest.fixture
async def viewer() -> Any:
    """Return a stream whose outlet has taken how it begins."""
    viewer = Viewer()
    for _ in range(3):
        await asyncio.sleep(0)
    assert viewer.texts == [PREAMBLE]
    viewer.outlet.taken.clear()
    yield viewer
    viewer.connection.end()
    await viewer.task


async def test_outlet_takes_batches_while_the_task_waits(viewer: Viewer) -> None:
    """The task reads nothing of it; the chunk is made once."""
    await viewer.say("1")
    (batch,) = viewer.outlet.taken

    assert batch.data is not None
    assert batch.make_chunk() == b"%x\r\n%b\r\n" % (len(batch.data), batch.data)
    assert batch.make_chunk() == batch.chunk
    assert viewer.read == []


async def test_outlet_takes_what_is_there_when_the_task_comes_for_more() -> None:
    """Messages ahead in few writes, then what is pending; the task is given nothing."""
    viewer = Viewer()
    viewer.connection.ahead([b"a", b"c" * JOINED, b"d", b"e"])
    viewer.connection.feed(Batch.of([Part(None, b"1"), Part(None, b"2")]))
    await until(lambda: viewer.connection.direct is not None)

    assert viewer.texts == [PREAMBLE + b"a" + b"c" * JOINED, b"de", b"12"]
    viewer.connection.end()
    await viewer.task
    assert viewer.read == []


async def test_task_gets_what_a_full_outlet_does_not_take() -> None:
    """Nothing of it is lost, and the order stays."""
    viewer = Viewer()
    viewer.outlet.is_full = True
    viewer.connection.ahead([b"a", b"b"])
    viewer.connection.feed(Batch.of([Part(None, b"1")]))
    await until(lambda: viewer.connection.direct is not None)

    assert viewer.read == [PREAMBLE + b"ab", b"1"]
    assert viewer.texts == []
    viewer.connection.end()
    await viewer.task


async def test_stream_that_has_ended_sends_its_ending_by_the_task() -> None:
    """The outlet takes what was before it."""
    viewer = Viewer()
    viewer.connection.ahead([b"a"])
    viewer.connection.end(Ending.REFUSED)
    await viewer.task

    assert viewer.texts == [PREAMBLE + b"a"]
    assert viewer.read == [Ending.REFUSED.encode()]


async def test_full_outlet_leaves_the_batch_to_the_task(viewer: Viewer) -> None:
    """And until the task waits again, it is not asked."""
    viewer.outlet.is_full = True
    await viewer.say("1")
    assert viewer.outlet.taken == []
    assert b"1" in viewer.read[-1]
    viewer.outlet.is_full = False
    await viewer.say("2")
    assert len(viewer.outlet.taken) == 1


async def test_ended_stream_has_no_outlet(viewer: Viewer) -> None:
    """From its end on, before its task has run."""
    viewer.connection.end(Ending.SHUTDOWN)

    assert viewer.connection.direct is None


async def test_error_of_an_outlet_ends_the_stream(viewer: Viewer) -> None:
    """Its client reconnects and resumes; the other streams are fed."""
    viewer.outlet.error = RuntimeError("the transport is broken")
    await viewer.say("1")
    await viewer.task

    assert viewer.connection.ending is Ending.ERROR
    assert b"sse-holdoff" in viewer.read[-1]


def test_batch_with_a_personal_part_has_no_chunk() -> None:
    """Its bytes differ between streams; an empty chunk would end the answer."""
    assert Batch((), None).make_chunk() is None
    assert Batch.of([Part(None, b"")]).make_chunk() is None
