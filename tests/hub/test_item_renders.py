"""The renders of a list's items: one of each at a time, after its debounce, until it succeeds."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from quart_sse.hub.item import Item
from quart_sse.hub.item_renders import ItemRenders
from quart_sse.hub.items import Items
from quart_sse.hub.rendered import Rendered
from quart_sse.hub.slots import Slots, Turn
from quart_sse.wire.position import ZERO, Id
from tests.support.outgoing import at
from tests.support.streams import until


class Table:
    """A list that renders items when the test lets it."""

    key = "notes.rows"

    def __init__(self, debounce: float = 0.0) -> None:
        self.items = Items()
        self.renders = ItemRenders(self, self.items, debounce)
        self.generation = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: BaseException | None = None  #: of the renderer
        self.refusal: Exception | None = None  #: of what takes the HTML
        self.rendered: list[str] = []  #: keys of the renders that have begun
        self.taken: list[tuple[str, Id, str]] = []  #: key, version and origin
        self.rested: list[str] = []
        self.failed: list[tuple[BaseException, float]] = []
        self._slots = Slots(10)

    def is_item_wanted(self, item: Item) -> bool:
        """Render what is owed or lacking."""
        return item.needed is not None or item.owed > ZERO

    def turn(self, cause: str, is_urgent: bool) -> Turn:
        """Return a turn in which there is room for all."""
        return self._slots.turn(cause, is_urgent=is_urgent)

    async def render_item(self, item: Item, traces: Sequence[str]) -> Rendered:
        """Render an item when the gate is open."""
        self.rendered.append(item.key)
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return Rendered("<li></li>")

    def take_item(self, item: Item, version: Id, rendered: Rendered) -> None:
        """Take the HTML, as if all were sent it."""
        if self.refusal is not None:
            raise self.refusal
        self.taken.append((item.key, version, item.origin))
        item.take(version, rendered, ZERO)

    def rest_item(self, item: Item) -> None:
        """Note that an item rests."""
        self.rested.append(item.key)

    def say_failed(self, error: BaseException, delay: float) -> None:
        """Note that a render has failed."""
        self.failed.append((error, delay))

    def change(self, key: str, id: int, origin: str = "") -> Item:
        """Let viewers lack a change."""
        item = self.items.get(key)
        item.requested = at(id)
        item.need(at(id), at(id - 1))
        item.note_cause("", origin)
        self.renders.start(item)
        return item


@pytest.fixture
async def table() -> AsyncIterator[Table]:
    """A list whose items may be rendered at any time."""
    table = Table()
    yield table
    await table.renders.close()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a failed render be tried again soon."""
    monkeypatch.setattr("quart_sse.hub.fragment.FIRST_RETRY", 0.01)
    monkeypatch.setattr("quart_sse.hub.item_renders.LONGEST_WAIT", 0.0)


async def test_change_during_a_render_causes_another_one_after_it(table: Table) -> None:
    """Its version is the newest change that was known when it began."""
    table.gate.clear()
    table.change("a", 1)
    await until(lambda: table.rendered == ["a"])
    table.change("a", 2)
    table.change("b", 3)
    await until(lambda: table.rendered == ["a", "b"])
    assert not table.renders.is_idle

    table.gate.set()
    await until(lambda: table.renders.is_idle)

    assert table.rendered == ["a", "b", "a"]
    assert [(key, version) for key, version, _ in table.taken if key == "a"] == [
        ("a", at(1)),
        ("a", at(2)),
    ]
    assert sorted(table.rested) == ["a", "b"]


async def test_page_is_named_that_alone_has_caused_a_render(table: Table) -> None:
    """Another one needs the HTML, and so does each if there are two."""
    table.change("a", 1, "x.page")
    await until(lambda: table.renders.is_idle)
    table.gate.clear()
    table.change("a", 2, "x.page")
    table.change("a", 3, "y.page")
    table.gate.set()
    await until(lambda: table.renders.is_idle)

    assert [origin for *_, origin in table.taken] == ["x.page", ""]


async def test_item_waits_for_its_debounce_unless_it_is_hurried() -> None:
    """Each item has one of its own."""
    table = Table(debounce=60.0)
    table.change("a", 1)
    await until(lambda: table.renders.is_idle)
    table.change("a", 2)
    table.change("b", 3)
    await until(lambda: len(table.taken) == 2)
    assert [key for key, *_ in table.taken] == ["a", "b"]
    assert not table.renders.is_idle

    assert table.renders.hurry()
    await until(lambda: table.renders.is_idle)

    assert [key for key, *_ in table.taken] == ["a", "b", "a"]
    assert not table.renders.hurry()


@pytest.mark.usefixtures("quick")
async def test_failed_item_is_rendered_again(table: Table) -> None:
    """With all that has caused it, and later each time."""
    table.error = RuntimeError("the database is away")
    item = table.change("a", 1, "x.page")
    item.owed = at(1)
    await until(lambda: len(table.failed) == 2)
    assert not table.renders.hurry()
    assert [(str(error), delay) for error, delay in table.failed] == [
        ("the database is away", 0.01),
        ("the database is away", 0.02),
    ]
    table.error = None
    await until(lambda: table.renders.is_idle)

    assert table.taken == [("a", at(1), "x.page")]
    assert (item.failures, item.owed) == (0, ZERO)


@pytest.mark.usefixtures("quick")
async def test_renderer_that_was_cancelled_from_inside_has_failed(table: Table) -> None:
    """The task goes on."""
    table.error = asyncio.CancelledError()
    table.change("a", 1)
    await until(lambda: bool(table.failed))
    assert "was cancelled" in str(table.failed[0][0])
    table.error = None
    await until(lambda: bool(table.taken))


@pytest.mark.usefixtures("quick")
async def test_html_that_cannot_be_sent_is_rendered_again(table: Table) -> None:
    """Those who waited for it wait on."""
    table.refusal = ValueError("a form feed")
    item = table.change("a", 1)
    item.owed = at(1)
    await until(lambda: bool(table.failed))
    assert item.owed == at(1)
    table.refusal = None
    await until(lambda: bool(table.taken))


async def test_html_of_ids_of_before_is_dropped(table: Table) -> None:
    """Its version cannot be compared with those of now."""
    table.gate.clear()
    item = table.change("a", 9)
    await until(lambda: table.rendered == ["a"])
    table.generation += 1
    item.invalidate()
    item.drop()
    table.gate.set()
    await until(lambda: table.renders.is_idle)

    assert table.taken == []


async def test_close_ends_renders(table: Table) -> None:
    """None goes on behind the process's end."""
    table.gate.clear()
    table.change("a", 1)
    await until(lambda: table.rendered == ["a"])

    await table.renders.close()

    assert table.renders.is_idle
    assert (table.taken, table.failed) == ([], [])
