"""The renders of a list's items: one task for each that waits, one render of an item at a time."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from ..errors import RenderError
from ..wire import Id
from .fragment import LONGEST_WAIT, retry_delay
from .item import Causes, Item
from .items import Items
from .rendered import Rendered, next_number
from .slots import Turn


class ItemHome(Protocol):
    """The list of the items; see ``SharedList``."""

    key: str

    @property
    def generation(self) -> int:
        """How often the broker's ids have begun again."""

    def is_item_wanted(self, item: Item) -> bool:
        """Whether an item is to be rendered by itself."""

    def turn(self, cause: str, is_urgent: bool) -> Turn:
        """Return the turn of a render; see ``Slots.turn``."""

    async def render_item(self, item: Item, traces: Sequence[str]) -> Rendered:
        """Return the outcome of a render that begins now; "" if the item has gone."""

    def take_item(self, item: Item, version: Id, rendered: Rendered) -> None:
        """Take an item's HTML, and send it to those who need it."""

    def rest_item(self, item: Item) -> None:
        """Note that an item is rendered no more for now."""

    def say_failed(self, error: BaseException, delay: float) -> None:
        """Log that a render has failed, and in how many seconds it is tried again."""


class ItemRenders:
    """Renders the items of one list.

    Args:
        home: The list.
        items: Its items.
        debounce: Least time between the begins of two renders of an item, in seconds.
    """

    def __init__(self, home: ItemHome, items: Items, debounce: float) -> None:
        self._home = home
        self._items = items
        self._debounce = debounce

    @property
    def is_idle(self) -> bool:
        """Whether no item is rendered, and none waits for it."""
        return all(item.task is None for item in self._items)

    def start(self, item: Item) -> None:
        """Render an item as long as that is wanted, if no task does so already."""
        if item.task is None:
            item.task = asyncio.get_running_loop().create_task(self._work_on(item))

    def hurry(self) -> bool:
        """Let renders that wait for their debounce begin now, and return whether any is due."""
        due = [item for item in self._items if item.task is not None and not item.failures]
        for item in due:
            item.is_urgent = True
            item.nudge.set()
        return bool(due)

    async def _work_on(self, item: Item) -> None:
        try:
            while self._home.is_item_wanted(item):
                await self._pause(item)
                turn, item.cause = self._home.turn(item.cause, item.is_urgent), ""
                async with turn:
                    if self._home.is_item_wanted(item):
                        await self._render(item)
        finally:
            item.task = None
            self._home.rest_item(item)

    async def _pause(self, item: Item) -> None:
        """Wait for the debounce or the next retry."""
        loop = asyncio.get_running_loop()
        while not item.is_urgent and item.not_before > loop.time():
            item.nudge.clear()
            try:
                async with asyncio.timeout_at(item.not_before):
                    await item.nudge.wait()
            except TimeoutError:
                return

    async def _render(self, item: Item) -> None:
        loop, generation = asyncio.get_running_loop(), self._home.generation
        version, causes = item.newest, item.begin()
        number, item.not_before = next_number(), loop.time() + self._debounce
        try:
            rendered = await self._home.render_item(item, causes.traces)
        except (Exception, asyncio.CancelledError) as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # A renderer that was cancelled by something of its own has failed like any other.
            item.begin_again(causes)
            self._fail(item, error)
            return
        item.failures = 0
        if generation == self._home.generation:
            self._take(item, version, replace(rendered, number=number), causes)

    def _take(self, item: Item, version: Id, rendered: Rendered, causes: Causes) -> None:
        item.origin = next(iter(causes.origins)) if len(causes.origins) == 1 else ""
        item.settle(version)
        try:
            self._home.take_item(item, version, rendered)
        except Exception as error:
            item.owed = max(item.owed, causes.owed)
            self._fail(item, error)

    def _fail(self, item: Item, error: BaseException) -> None:
        delay = retry_delay(item.failures)
        item.failures += 1
        item.not_before = asyncio.get_running_loop().time() + max(delay, LONGEST_WAIT)
        if isinstance(error, asyncio.CancelledError):
            error = RenderError(f"The renderer of items of {self._home.key!r} was cancelled.")
        self._home.say_failed(error, delay)

    def abandon(self) -> None:
        """Stop rendering in a loop that has ended, or that will not end this properly."""
        for item in self._items:
            if item.task is not None and not item.task.get_loop().is_closed():
                item.task.cancel()

    async def close(self) -> None:
        """Stop rendering."""
        tasks = [item.task for item in self._items if item.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
