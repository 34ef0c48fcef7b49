"""An app begins and ends to serve: its tasks, its loops, one time after another."""

import asyncio

from tests.support.streams import open_stream, until
from tests.support.topic import make_topic


async def test_lifespan_leaves_no_task() -> None:
    """What the lifespan starts, it ends."""
    app, _ = make_topic()
    before = asyncio.all_tasks()

    async with app.test_app(), open_stream(app, "/sse/news"):
        during = asyncio.all_tasks() - before
    await until(lambda: asyncio.all_tasks() <= before)

    assert during


def test_app_serves_in_one_loop_after_another() -> None:
    """Tests and command lines run an app in several event loops, one after the other."""
    app, topic = make_topic(QUART_SSE_HEARTBEAT=0.1, QUART_SSE_PROBE=0.1)

    async def serve() -> str:
        async with open_stream(app, "/sse/news") as stream:
            while not stream.last_id:  # a heartbeat, so the sweeper runs in this loop
                await stream._read()
            await topic.publish("said", "x")
            return (await stream.next("said")).data

    assert [asyncio.run(serve()) for _ in range(2)] == ["x", "x"]


async def test_works_within_a_lifespan_and_after_another() -> None:
    """An app that is started, stopped and started again streams each time."""
    app, topic = make_topic()

    for number in range(2):
        async with app.test_app() as running, open_stream(app, "/sse/news") as stream:
            assert running
            await topic.publish("said", number)
            said = await stream.next("said")

        assert said.data == str(number)
