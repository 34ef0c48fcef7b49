"""Bundles: what is published together, or not at all."""

import asyncio
import threading
from collections.abc import Iterable
from concurrent.futures import Future
from contextvars import ContextVar
from functools import partial
from typing import Any

from ..broker import Keep, Kind, Message


class Bundle:
    """Collects messages until it ends; calls may come from several threads.

    Args:
        publisher: Whose messages it collects: others pass it by.
        outer: The bundle around it; None if there is none.

    Attributes:
        started: Calls that were made in it and not waited for.
    """

    def __init__(self, publisher: object, outer: "Bundle | None") -> None:
        self.started: list[Future[Any]] = []
        self._publisher = publisher
        self._outer = outer
        self._messages: list[tuple[Message, Keep]] = []
        self._is_over = False
        self._is_dropped = False
        # A signal handler may come in between, in the same thread.
        self._lock = threading.RLock()

    def of(self, publisher: object) -> "Bundle | None":
        """Return this bundle or the nearest around it that takes messages of a publisher."""
        if self._publisher is publisher and (self._is_dropped or not self._is_over):
            return self
        return None if self._outer is None else self._outer.of(publisher)

    def add(self, *messages: tuple[Message, Keep]) -> bool:
        """Add messages, and return whether the bundle has taken them; later it has ended.

        What comes after it was dropped is dropped, too.

        Args:
            messages: Messages, each with how its topic's history is kept.
        """
        with self._lock:
            if not self._is_over:
                self._messages += messages
            return self._is_dropped or not self._is_over

    def drop(self) -> None:
        """Forget all that was added, and all that will be."""
        with self._lock:
            self._is_over = self._is_dropped = True
            self._messages.clear()

    def end(self) -> list[tuple[Message, Keep]]:
        """Take no more, and return what was added: of equal refreshes only the last.

        The last, because a refresh after a push of the same fragment counts, and so does a push
        after a refresh.
        """
        with self._lock:
            self._is_over = True
        last = {
            _refreshed(message): number
            for number, (message, _) in enumerate(self._messages)
            if message.kind is Kind.REFRESH
        }
        return [
            (message, keep)
            for number, (message, keep) in enumerate(self._messages)
            if message.kind is not Kind.REFRESH or last[_refreshed(message)] == number
        ]


def _refreshed(message: Message) -> tuple[str, str | None, str, str]:
    return message.topic, message.name, message.item, message.origin


async def all_done(futures: Iterable[Future[Any]]) -> None:
    """Wait for futures of other threads, without asking for their results."""
    loop = asyncio.get_running_loop()
    for future in futures:
        waiter: asyncio.Future[None] = loop.create_future()
        future.add_done_callback(partial(_wake, loop, waiter))
        await waiter


def _wake(loop: asyncio.AbstractEventLoop, waiter: asyncio.Future[None], _: Future[Any]) -> None:
    def wake() -> None:
        if not waiter.done():
            waiter.set_result(None)

    loop.call_soon_threadsafe(wake)


#: The innermost bundle in which the code runs; None outside of bundlees.
current: ContextVar[Bundle | None] = ContextVar("current", default=None)
