"""Processes that tell and ask each other over one broker, without an app."""

import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from quart_sse.broker import Broker, Keep, Kind, Message
from quart_sse.broker import control as control_module
from quart_sse.broker.control import Control
from quart_sse.error_log import ErrorLog
from quart_sse.wire.position import ZERO
from tests.support.redis_server import RedisServer, running_redis

NOT_KEPT = Keep(events=0, ttl=0)


class Process:
    """A process that serves: its broker hands what comes to its control."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.control = Control(broker, ErrorLog())
        self.told: list[Mapping[str, Any]] = []
        self.is_deaf = False
        self.control.handle("news", self.told.append, {"number"})
        self.control.reply("double", lambda number: 2 * number)
        self.control.reply("long", lambda _: "x" * control_module.MAX_CHARS)
        self.control.reply("fails", lambda _: int("no number"))

    def receive(self, message: Message) -> None:
        """Take what the broker delivers."""
        if message.kind is Kind.CONTROL and not self.is_deaf:
            self.control.take(message.name or "", message.data or "")

    async def catch_up(self) -> None:
        """Begin with what comes next."""

    @property
    def id(self) -> str:
        """The process's id, while it serves."""
        own = self.control.processes.own
        assert own is not None
        return own.id

    async def send(self, name: str, text: str) -> None:
        """Publish a control message of any kind."""
        await self.broker.publish(Message(Kind.CONTROL, ZERO, "", name, text), NOT_KEPT)


@asynccontextmanager
async def serving(broker: Broker) -> AsyncIterator[Process]:
    """Let a process serve until the block ends."""
    process = Process(broker)
    process.control.begin()
    await broker.start(process)
    await process.control.processes.announce()
    try:
        yield process
    finally:
        await process.control.end()
        await broker.stop()


@asynccontextmanager
async def redis_server() -> AsyncIterator[RedisServer]:
    with tempfile.TemporaryDirectory() as directory:
        async with running_redis(Path(directory)) as server:
            yield server
