"""An outlet takes batches while the server waits, and at no other time."""

import asyncio
from typing import Any

import pytest

from quart_sse.config import Config
from quart_sse.error_log import ErrorLog
from quart_sse.hub import Batch, Connection, Outgoing, Part
from quart_sse.hub.batcher import Batcher
from quart_sse.hub.group import Group
from quart_sse.wire import Ending


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

    async def say(self, text: str) -> None:
        """Send a message to the group, and wait until it was fed."""
        self.group.add(Outgoing.direct("n", text, is_text=True, once=""))
        self.batcher.add(self.group)
        await self.batcher.idle.wait()


@pytest.fixture
async def viewer() -> Any:
    """Return a stream that has read how it begins."""
    viewer = Viewer()
    for _ in range(3):
        await asyncio.sleep(0)
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
    assert len(viewer.read) == 1


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
