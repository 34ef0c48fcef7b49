"""Web processes that share a Redis: apps, each with a hub and a broker of its own."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from markupsafe import Markup
from quart import Quart, render_template_string, request
from quart.testing import QuartClient

from quart_sse import SSE, Topic
from quart_sse.broker import Kind, Message
from quart_sse.broker.redis import RedisBroker
from quart_sse.errors import BrokerUnavailable
from quart_sse.wire.position import ZERO
from tests.support.network import Balancer
from tests.support.redis_server import RedisServer, running_redis
from tests.support.servers import free_port
from tests.support.streams import connect_urls

PAGE = '{% from "quart_sse/macros.html" import sse_connect %}{{ sse_connect(topics=topics) }}'
#: Seconds between two looks at something outside the process.
POLL = 0.01


@dataclass
class Database:
    """What the fragments of all processes show."""

    value: int = 0


class Process:
    """An app with its own hub and broker, as another process has them.

    Args:
        url: Of Redis.
        database: What its fragments show.
        config: More ``QUART_SSE_*`` keys, without that prefix.
    """

    def __init__(self, url: str, database: Database, config: Mapping[str, Any]) -> None:
        self.database = database
        self.renders = 0
        self.app = app = Quart(__name__)
        app.secret_key = "for tests only"
        # A machine that does much else may hold up a process for a second, which is no outage.
        keys = {
            "broker_url": url,
            "probe": 0.7,
            "broker_timeout": 1.5,
            "heartbeat": 0.1,
            "presence_linger": 0,
            **config,
        }
        app.config.update({f"QUART_SSE_{key.upper()}": value for key, value in keys.items()})
        self.sse = sse = SSE(app)
        rooms = sse.channel("rooms", "/rooms/<int:room>", public=True)
        rooms.fragment("list", debounce=0)(self._list)
        rooms.fragment("mine", personal=True)(lambda room: "mine")
        secret = sse.channel("secret", "/secret/<name>")
        secret.fragment("list", debounce=0)(lambda name: name)

        @sse.identity
        async def who() -> str | None:
            return request.cookies.get("who")

        @app.get("/page")
        async def page() -> str:
            names = request.args.getlist("secret")
            topics = [self.sse.topic("secret", name=name) for name in names] or [self.room]
            return await render_template_string(PAGE, topics=topics)

    def _list(self, room: int) -> Markup:
        self.renders += 1
        return Markup(f"<b>{self.database.value}</b>")

    @property
    def broker(self) -> RedisBroker:
        """The process's broker."""
        assert isinstance(self.sse.broker, RedisBroker)
        return self.sse.broker

    @property
    def room(self) -> Topic:
        """The topic that most tests use."""
        return self.sse.topic("rooms", room=1)

    def client(self, who: str) -> QuartClient:
        """Return the browser of a user."""
        client = QuartClient(self.app)
        client.set_cookie("localhost", "who", who)
        return client

    async def page(self, *names: str) -> str:
        """Return the URL by which a page of some secrets, or of the room, connects."""
        query = "&".join(f"secret={name}" for name in names)
        answer = await self.app.test_client().get(f"/page?{query}")
        (url,) = connect_urls(await answer.get_data(as_text=True))
        return url

    async def change(self, *, retry: bool = False) -> None:
        """Change what the fragments show, and say so; if wanted until Redis has taken it."""
        self.database.value += 1
        async with asyncio.timeout(8):
            while True:
                try:
                    return await self.room.refresh("list")
                except BrokerUnavailable:
                    if not retry:
                        raise
                    await asyncio.sleep(POLL)


Boot = Callable[..., Awaitable[Process]]


async def until_redis(redis: RedisServer, *command: str, is_so: Callable[[Any], bool]) -> None:
    """Ask Redis until it gives an answer that is wanted."""
    async with asyncio.timeout(5):
        while not is_so(await redis.ask(*command)):  # noqa: ASYNC110 - it is another program
            await asyncio.sleep(POLL)


def outages(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the warnings about Redis itself."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= logging.WARNING
        and record.getMessage().startswith(("Redis", "No message from Redis"))
    ]


class Inbox:
    """A receiver that keeps what it is given."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.catches = 0

    def receive(self, message: Message) -> None:
        """Keep a message."""
        if message.kind is not Kind.PROBE:
            self.messages.append(message)

    async def catch_up(self) -> None:
        """Count how often it was asked to."""
        self.catches += 1

    @property
    def data(self) -> list[str | None]:
        """What came."""
        return [message.data for message in self.messages]


def event(data: str, topic: str = "t") -> Message:
    """Return an event to publish."""
    return Message(Kind.EVENT, ZERO, topic, "said", data)


@asynccontextmanager
async def replicated(folder: Path) -> AsyncIterator[tuple[Balancer, Callable[[], Awaitable[None]]]]:
    """Run a server with a replica behind one address, until the block ends.

    Yields:
        The address, which leads to the first, and what makes the replica take its place.
    """
    folders = [folder / name for name in ("a", "b")]
    for each in folders:
        each.mkdir()
    first, second = free_port(), free_port()
    async with (
        running_redis(folders[0], "--port", str(first), "--repl-diskless-sync-delay", "0") as a,
        running_redis(folders[1], "--port", str(second), "--replicaof", f"127.0.0.1 {first}") as b,
        Balancer(first) as address,
    ):
        await until_redis(
            b, "INFO", "replication", is_so=lambda info: info.get("master_link_status") == "up"
        )

        async def fail_over() -> None:
            address.ports = [second]
            await b.ask("REPLICAOF", "NO", "ONE")
            await a.ask("REPLICAOF", "127.0.0.1", str(second))

        yield address, fail_over
