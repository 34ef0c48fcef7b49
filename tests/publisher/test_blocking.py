"""The publisher that blocks: the same code, in threads, in forked processes, and without an app."""

import asyncio
import multiprocessing
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from quart_sse import (
    AsyncPublisher,
    AsyncPublisherChannel,
    AsyncPublisherTopic,
    BrokerUnavailable,
    Publisher,
    PublisherChannel,
    PublisherTopic,
    SetupError,
)
from quart_sse.publisher import catalog
from tests.support.redis_server import RedisServer
from tests.support.servers import ROOT
from tests.support.sites import Site, heard
from tests.support.streams import until

WORKER = """
import sys
from quart_sse import Publisher, UnknownChannelError

with Publisher(sys.argv[1]) as publisher:
    publisher.topic("rooms", room=3).publish("said", {"from": "a worker"})
    sent = publisher.user("ada").notify("Done", level="success", title="Oh", data=[1], id="job:1")
    assert sent.id == "job:1"
    try:
        publisher.topic("roms", room=3).publish("said")
    except UnknownChannelError as error:
        print(error)
print([name for name in ("quart", "flask", "jinja2") if name in sys.modules])
"""


async def test_worker_without_a_framework_publishes(site: Site, redis: RedisServer) -> None:
    """A process of its own, in which neither Quart, Flask nor Jinja is loaded."""
    async with site.view(3) as (stream, _):
        worker = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "error", "-c", WORKER, redis.url),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        printed, complaints = await worker.communicate()

        assert complaints.decode() == ""
        assert printed.decode().splitlines()[-1] == "[]"
        assert "Unknown channel 'roms'. Did you mean 'rooms'?" in printed.decode()
        assert await heard(stream, 1) == [("rooms.said?room=3", '{"from": "a worker"}')]
    (kept,) = await site.sse.user("ada").notifications()
    assert (kept.id, kept.message, kept.level) == ("job:1", "Done", "success")
    assert (kept.title, kept.data) == ("Oh", [1])


async def test_all_targets_are_reached(site: Site, redis: RedisServer) -> None:
    """As by the publisher that awaits."""

    def work(id: str) -> list[bool]:
        with Publisher(redis.url) as publisher:
            topic = publisher.topic("rooms", room=3)
            topic.publish("said", "a topic", where={"role": "admin"})
            publisher.topic_of_texts("rooms", {"room": "3"}).publish("said", "by texts")
            publisher.channel("rooms").topic(room=3).publish("said", "by a channel", exclude="x")
            publisher.channel("rooms").everyone.publish("closing")
            publisher.user("mira").publish("saved")
            publisher.everyone.publish("maintenance")
            topic.refresh("list")
            topic.push("list", "<b>")
            found = [publisher.send(id, "note", "hello"), publisher.send(f"{id}x", "note")]
            topic.close()
            publisher.channel("rooms").close()
            return found

    async with site.view(3, 4, who="mira", meta={"role": "admin"}) as (stream, handle):
        assert await asyncio.to_thread(work, handle.id) == [True, False]
        events = await heard(stream, 7)
        await until(lambda: not handle.topics)

    assert [data for _, data in events[:3]] == ["a topic", "by texts", "by a channel"]
    assert [name for name, _ in events[3:]] == [
        "rooms.closing",
        "user.saved",
        "everyone.maintenance",
        "connection.note",
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Publisher, AsyncPublisher),
        (PublisherTopic, AsyncPublisherTopic),
        (PublisherChannel, AsyncPublisherChannel),
    ],
)
def test_both_publishers_have_the_same_methods(one: type, other: type) -> None:
    """What one can do the other can do."""

    def public(kind: type) -> set[str]:
        names = {name for each in kind.__mro__ for name in vars(each) if name[0] != "_"}
        return {name.removeprefix("a") if name == "aclose" else name for name in names}

    assert public(one) == public(other)


async def test_threads_share_a_publisher(site: Site, redis: RedisServer) -> None:
    """Each call is whole, and there are no more connections than threads."""
    publisher = Publisher(f"{redis.url}?client_name=worker")
    barrier = threading.Barrier(8)

    def work(number: int) -> list[str]:
        barrier.wait(10)
        topic = publisher.topic("rooms", room=number)
        return [topic.publish("said", f"{number}.{at}") for at in range(20)]

    with ThreadPoolExecutor(8) as threads:
        calls = [asyncio.wrap_future(threads.submit(work, number)) for number in range(8)]
        ids = [id for found in await asyncio.gather(*calls) for id in found]
    clients = await redis.ask("CLIENT", "LIST")

    assert len(set(ids)) == 160
    for number in range(8):
        events = await site.room(number).history()
        assert [event.data for event in events] == [f"{number}.{at}" for at in range(20)]
    assert 1 <= clients.count("name=worker") <= 8
    publisher.close()
    assert "name=worker" not in await redis.ask("CLIENT", "LIST")


FORKS = """
import os, sys
from redis import Redis
from quart_sse import Publisher
publisher = Publisher(sys.argv[1] + "?client_name=forked")
topic = publisher.topic("rooms", room=3)
(has_said, say_so), (may_end, let_end) = os.pipe(), os.pipe()

def say(who, number):
    for at in range(number):
        id = topic.publish("said", f"{who}.{at}")
        os.write(1, f"{id} {who}.{at}\\n".encode())

say("before", 1)
children = []
for number in range(3):
    child = os.fork()
    if child == 0:
        os.close(let_end)
        say(f"child {number}", 20)
        os.write(say_so, b"x")
        os.read(may_end, 1)
        os._exit(0)
    children.append(child)
say("parent", 20)
for _ in children:
    os.read(has_said, 1)
clients = Redis.from_url(sys.argv[1]).client_list()
assert sum(each["name"] == "forked" for each in clients) == 4
os.close(let_end)
assert not any(os.waitpid(child, 0)[1] for child in children)
say("after", 1)
"""


async def test_forked_processes_have_connections_of_their_own(
    site: Site, redis: RedisServer
) -> None:
    """As workers of a task queue: parent and children publish at once, and each answer is its."""
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", FORKS, redis.url), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await worker.communicate()
    told = dict(line.split(" ", 1) for line in printed.decode().splitlines())

    assert worker.returncode == 0
    assert told == {event.id: event.data for event in await site.room(3).history()}
    assert len(told) == 82


def publish_in_pool(url: str, number: int) -> str:
    """Publish in a process of a pool."""
    with Publisher(url) as publisher:
        return publisher.topic("rooms", room=number).publish("said", number)


@pytest.mark.parametrize("method", ["fork", "spawn"])
async def test_pool_of_processes_publishes(site: Site, redis: RedisServer, method: str) -> None:
    """By multiprocessing, however it starts them."""
    code = f"""
import multiprocessing, sys
from tests.publisher.test_blocking import publish_in_pool
if __name__ == "__main__":
    with multiprocessing.get_context({method!r}).Pool(2) as pool:
        print(len(set(pool.starmap(publish_in_pool, [(sys.argv[1], n) for n in range(6)]))))
"""
    assert method in multiprocessing.get_all_start_methods()
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", code, redis.url],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )

    assert done.stdout.strip() == "6", done.stderr
    assert (await site.room(5).history())[0].data == 5


async def test_restart_of_redis_costs_no_call(site: Site, redis: RedisServer) -> None:
    """A connection that Redis has closed meanwhile is replaced before anything is sent."""
    publisher = Publisher(redis.url)
    topic = publisher.topic("rooms", room=3)
    await asyncio.to_thread(topic.publish, "said", "before")
    await redis.restart()

    assert await asyncio.to_thread(topic.publish, "said", "after")
    publisher.close()


async def test_frozen_redis_is_an_error_in_time(site: Site, redis: RedisServer) -> None:
    """It may have been published; the late answer is not taken for the next call's."""
    publisher = Publisher(redis.url, timeout=0.3)
    topic = publisher.topic("rooms", room=3)
    first = await asyncio.to_thread(topic.publish, "said", "before")
    redis.freeze()
    try:
        with pytest.raises(BrokerUnavailable, match="It may have been published") as raised:
            await asyncio.to_thread(topic.publish, "said", "lost?")
    finally:
        redis.thaw()
    after = await asyncio.to_thread(topic.publish, "said", "after")
    data = {event.id: event.data for event in await site.room(3).history()}

    assert raised.value.maybe_published is True
    assert (data[first], data[after]) == ("before", "after")
    publisher.close()


USES: list[Callable[[Publisher], object]] = [
    lambda publisher: publisher.topic("rooms", room=3),
    lambda publisher: publisher.channel("rooms"),
    lambda publisher: publisher.user("mira"),
    lambda publisher: publisher.everyone,
    lambda publisher: publisher.send("x", "y"),
]


@pytest.mark.parametrize("use", USES)
def test_closed_publisher_refuses(use: Callable[[Publisher], object]) -> None:
    """It says so, instead of opening connections that nothing closes."""
    with Publisher("unix:///nowhere/redis.sock") as publisher:
        pass
    with pytest.raises(SetupError, match="closed"):
        use(publisher)


async def test_new_channel_is_found_as_soon_as_it_is_declared(
    site: Site, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a process that announces it, also within the minute for which the others are known."""
    publisher = Publisher(redis.url)
    await asyncio.to_thread(publisher.everyone.publish, "x")
    site.sse.channel("later", "/later", public=True)
    processes = site.app.extensions["quart_sse"].control.processes
    await processes.announce()
    monkeypatch.setattr(catalog, "AGAIN", 0.0)

    await asyncio.to_thread(publisher.topic("later").publish, "said")
    publisher.close()
