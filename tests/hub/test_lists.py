"""Lists in one process: which items are rendered, what is sent, and to whom."""

import re
from collections.abc import AsyncIterator, Mapping

import pytest

from quart_sse.broker import Kind, Message
from quart_sse.config import Config
from quart_sse.hub.lists import SharedList
from quart_sse.hub.rendered import FragmentSpec, ItemSpec, Rendered
from quart_sse.wire.items import item_attributes
from quart_sse.wire.position import ZERO, Id, Position
from tests.support.house import CONFIG, KEEPS, TOPIC, Broker, House, Pages, Viewer
from tests.support.streams import until

#: Most bytes on the wire beside the item's own.
MOST_BESIDE = 200
ROW = "<b>Ada</b> <time>12:31</time> says that all of it went well, and that it is over."
_ITEM = re.compile(r"<hx-partial '\S+' (\S+) [^>]*>(.*?)</hx-partial>", re.S)
_WHOLE = re.compile(r"<hx-partial hx-target=\"\[data-sse='\S+'\]\" \S+>(.*?)</hx-partial>", re.S)


class ListPages(Pages):
    """The application, with a list."""

    def __init__(self, broker: Broker, config: Config) -> None:
        super().__init__(broker, config)
        self.specs["rows"] = FragmentSpec("rows", item=ItemSpec("end"))
        self.rows: dict[str, str] = {}
        self.is_ordered = True

    def _html(self, key: str) -> str:
        return f"<li {item_attributes(key, key if self.is_ordered else None)}>{self.rows[key]}</li>"

    async def render(self, topic: str, fragment: str, root: str = "") -> Rendered:
        if fragment != "rows":
            return await super().render(topic, fragment, root)
        html = "".join(map(self._html, self.rows))
        self.rendered.append("*")
        await self.gate.wait()
        return Rendered(html, items=tuple(self.rows), is_ordered=self.is_ordered)

    async def render_item(self, topic: str, fragment: str, root: str, item: str) -> Rendered:
        html = self._html(item) if item in self.rows else ""
        self.rendered.append(item)
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return Rendered(html, items=(item,), is_ordered=self.is_ordered)


class ListHouse(House):
    """A process with a list."""

    pages: ListPages

    def __init__(self) -> None:
        super().__init__(CONFIG)
        self.pages = ListPages(self.broker, CONFIG)
        self.hub = self.pages.hub

    async def fill(self, rows: Mapping[str, str]) -> None:
        """Show a page the list, so that the process knows it."""
        self.pages.rows.update(rows)
        await self.hub.render_now(TOPIC, self.pages.specs["rows"])
        self.pages.rendered.clear()

    @property
    def list(self) -> SharedList:
        """The list, which this process knows."""
        shared = self.hub._roots.at("").known(TOPIC, "rows")
        assert isinstance(shared, SharedList)
        return shared

    async def edit(self, key: str, html: str | None, origin: str = "") -> Id:
        """Change an item, and say so."""
        if html is None:
            del self.pages.rows[key]
        else:
            self.pages.rows[key] = html
        return await self.tell(key, origin)

    async def tell(self, key: str, origin: str = "") -> Id:
        """Say that an item has changed."""
        message = Message(Kind.REFRESH, ZERO, TOPIC, "rows", origin=origin, item=key)
        return await self.broker.publish(message, KEEPS[TOPIC])


@pytest.fixture
async def house() -> AsyncIterator[ListHouse]:
    """A process that has begun to serve."""
    house = ListHouse()
    await house.open()
    yield house
    await house.close()


def text_of(viewer: Viewer) -> str:
    """Return all that a viewer was sent as HTML."""
    return "".join(event.data for event in viewer.events if event.event == "message")


def items_of(viewer: Viewer) -> list[tuple[str, str]]:
    """Return the items that a viewer was sent, one by one."""
    return _ITEM.findall(text_of(viewer))


def wholes_of(viewer: Viewer) -> list[str]:
    """Return the whole lists that a viewer was sent."""
    return _WHOLE.findall(text_of(viewer))


async def test_changed_item_is_rendered_and_sent_alone(house: ListHouse) -> None:
    """However long the list is; what is beside the item in the message is little."""
    viewer = await house.viewing("rows", "rows/")
    await house.fill({str(number): ROW for number in range(500)})
    viewer.writes.clear()

    await house.edit("500", ROW)
    await until(lambda: len(items_of(viewer)) == 1)

    ((key, html),) = items_of(viewer)
    assert (key, house.pages.rendered, wholes_of(viewer)) == ("500", ["500"], [])
    assert sum(map(len, viewer.writes)) <= len(html.encode()) + MOST_BESIDE


async def test_item_is_rendered_once_for_all_pages(house: ListHouse) -> None:
    """And not at all without a page."""
    await house.fill({"a": "one"})
    await house.tell("a")
    viewers = [await house.viewing("rows", "rows/") for _ in range(3)]

    await house.edit("a", "ONE")
    for viewer in viewers:
        await until(lambda viewer=viewer: bool(items_of(viewer)))  # type: ignore[misc]

    assert house.pages.rendered == ["a"]


async def test_item_that_has_gone_is_sent_without_html(house: ListHouse) -> None:
    """The page takes it away."""
    viewer = await house.viewing("rows", "rows/")
    await house.fill({"a": "one", "b": "two"})

    await house.edit("a", None)
    await until(lambda: items_of(viewer) == [("a", "")])


async def test_page_that_takes_no_items_gets_the_whole_list(house: ListHouse) -> None:
    """One of another release, or one that htmx's own extension serves; others go on with items."""
    await house.fill({"a": "one"})
    plain = await house.viewing("rows")
    viewer = await house.viewing("rows", "rows/")

    await house.edit("a", "ONE")
    await until(lambda: "ONE" in "".join(wholes_of(plain)))
    await until(lambda: bool(items_of(viewer)))

    assert (items_of(plain), wholes_of(viewer)) == ([], [])


async def test_page_that_comes_back_gets_the_items_that_it_missed(house: ListHouse) -> None:
    """Nothing else is rendered, and nothing is sent twice."""
    other = await house.viewing("rows", "rows/")
    await house.fill({"a": "one", "b": "two", "c": "three"})
    position = house.broker.known
    await house.edit("a", "ONE")
    await house.edit("b", "TWO")
    await until(lambda: len(items_of(other)) == 2)

    viewer = house.view("rows", "rows/", since=position)
    await until(lambda: len(items_of(viewer)) == 2)

    assert sorted(house.pages.rendered) == ["a", "b"]
    assert wholes_of(viewer) == []


async def test_many_missed_items_are_one_whole_list(house: ListHouse) -> None:
    """That is one render."""
    other = await house.viewing("rows", "rows/")
    await house.fill({str(number): "row" for number in range(60)})
    position = house.broker.known
    for number in range(51):
        await house.tell(str(number))

    viewer = house.view("rows", "rows/", since=position)
    await until(lambda: len(wholes_of(viewer)) == 1)
    await until(lambda: bool(wholes_of(other)))

    assert (house.pages.rendered.count("*") <= 2, items_of(viewer)) == (True, [])


async def test_many_changes_at_once_are_one_whole_list(house: ListHouse) -> None:
    """More than are sent one by one."""
    viewer = await house.viewing("rows", "rows/")
    await house.fill({str(number): "row" for number in range(60)})
    house.pages.gate.clear()
    for number in range(60):
        await house.tell(str(number))
    house.pages.gate.set()
    await until(lambda: bool(wholes_of(viewer)))
    await until(lambda: house.hub.position.fragments == house.hub.position.events)

    assert house.pages.rendered.count("*") == 1


async def test_two_new_items_without_order_are_one_whole_list(house: ListHouse) -> None:
    """Which of them comes first only the list says; one that is known stays where it is."""
    house.pages.is_ordered = False
    viewer = await house.viewing("rows", "rows/")
    await house.fill({"a": "one", "b": "two"})
    await house.edit("a", "ONE")
    await house.edit("b", "TWO")
    await until(lambda: len(items_of(viewer)) == 2)
    house.pages.gate.clear()

    await house.edit("c", "three")
    await house.edit("d", "four")
    house.pages.gate.set()

    await until(lambda: "four" in "".join(wholes_of(viewer)))


async def test_older_item_is_not_put_back_by_the_whole_list(house: ListHouse) -> None:
    """A list that was read before an item has changed is sent with the item behind it."""
    viewer = await house.viewing("rows", "rows/")
    await house.fill({"a": "one", "b": "two"})
    house.pages.gate.clear()
    await house.refresh("rows")
    await until(lambda: house.pages.rendered == ["*"])
    gate, house.pages.gate = house.pages.gate, type(house.pages.gate)()
    house.pages.gate.set()
    await house.edit("a", "ONE")
    await until(lambda: bool(items_of(viewer)))
    gate.set()
    await until(lambda: bool(wholes_of(viewer)))

    assert "one" in wholes_of(viewer)[0]
    assert items_of(viewer)[-1][1].endswith(">ONE</li>")
    assert len(items_of(viewer)) == 2


async def test_pushed_item_is_sent_as_it_is(house: ListHouse) -> None:
    """No process renders it."""
    viewer = await house.viewing("rows", "rows/")
    await house.fill({"a": "one"})
    html = f"<li {item_attributes('a', 'a')}>pushed</li>"
    message = Message(Kind.PUSH, ZERO, TOPIC, "rows", html, item="a")

    await house.broker.publish(message, KEEPS[TOPIC])
    await until(lambda: items_of(viewer) == [("a", html)])

    assert house.pages.rendered == []


async def test_position_of_a_pushed_item_waits_for_pages_that_take_none(house: ListHouse) -> None:
    """They are owed the whole list, and the position would go back with the next message."""
    viewer = await house.viewing("rows", "rows/")
    await house.viewing("rows")
    await house.fill({"a": "one"})
    html = f"<li {item_attributes('a', 'a')}>pushed</li>"
    message = Message(Kind.PUSH, ZERO, TOPIC, "rows", html, item="a")

    pushed = await house.broker.publish(message, KEEPS[TOPIC])
    await until(lambda: items_of(viewer) == [("a", html)])

    position = Position.parse(viewer.events[-1].id)
    assert position is not None
    assert position.fragments < pushed == position.events


async def test_page_that_caused_a_change_is_named_in_the_message(house: ListHouse) -> None:
    """Unless others have changed the item as well, so that it needs the HTML."""
    viewer = await house.viewing("rows", "rows/")
    await house.fill({"a": "one"})

    await house.edit("a", "ONE", origin="x.page")
    await until(lambda: len(items_of(viewer)) == 1)
    assert b"\norigin: x.page\n" in b"".join(viewer.writes)
    viewer.writes.clear()
    house.pages.gate.clear()
    await house.edit("a", "2", origin="x.page")
    await until(lambda: house.pages.rendered[-1:] == ["a"])
    await house.edit("a", "3", origin="x.page")
    await house.edit("a", "4")
    house.pages.gate.set()
    await until(lambda: any("4" in html for _, html in items_of(viewer)))

    assert b"origin" not in b"".join(viewer.writes).rpartition(b"id: ")[2]


async def test_page_older_than_the_record_gets_the_whole_list(house: ListHouse) -> None:
    """Whatever is on record, items that are not may have changed, too."""
    other = await house.viewing("rows", "rows/")
    await house.fill({"a": "one", "b": "two"})
    position = house.broker.known
    await house.edit("a", "ONE")
    await until(lambda: bool(items_of(other)))
    await house.hub.render_now(TOPIC, house.pages.specs["rows"])

    older = position._replace(fragments=Id(position.fragments.ms - 10**9, 0))
    viewer = house.view("rows", "rows/", since=older)
    await until(lambda: len(wholes_of(viewer)) == 1)

    assert items_of(viewer) == []


async def test_html_of_an_item_is_kept_until_a_newer_change_is_known(house: ListHouse) -> None:
    """No page that joins is sent less than this process knows of."""
    viewer = await house.viewing("rows", "rows/")
    await house.fill({"a": "one"})
    shared = house.list
    first = await house.edit("a", "ONE")
    await until(lambda: bool(items_of(viewer)))
    assert shared.ready_item("a", first) is not None
    house.pages.gate.clear()

    second = await house.edit("a", "1")

    assert shared.ready_item("a", first) is None
    house.pages.gate.set()
    await until(lambda: shared.ready_item("a", second) is not None)


async def test_change_that_viewers_were_sent_already_is_not_rendered_again(
    house: ListHouse,
) -> None:
    """A process may hear of it later, as when it catches up."""
    viewer = await house.viewing("rows", "rows/")
    await house.fill({"a": "one"})
    item = await house.edit("a", "ONE")
    await until(lambda: bool(items_of(viewer)))
    whole = await house.refresh("rows")
    await until(lambda: bool(wholes_of(viewer)))
    house.pages.rendered.clear()

    for id, key in ((item, "a"), (item, "b"), (whole, "")):
        house.list.refresh(id, ZERO, item=key)
    await house.quiet()

    assert (house.pages.rendered, house.list.floor) == ([], None)


@pytest.mark.parametrize("fragments", [("rows",), ("rows", "rows/")])
async def test_page_is_sent_no_less_than_what_is_on_record(
    house: ListHouse, fragments: tuple[str, ...]
) -> None:
    """Although this process has yet to hear of it, and has HTML that is current otherwise."""
    await house.viewing("list")
    await house.fill({"a": "one"})
    position = house.broker.known
    house.broker.late = []
    await house.edit("a", "ONE")

    viewer = house.view(*fragments, since=position)
    await until(lambda: "hx-partial" in text_of(viewer))

    assert "ONE" in text_of(viewer)
    house.broker.arrive()


async def test_whole_list_for_one_page_leaves_it_to_be_sent_to_the_others(
    house: ListHouse,
) -> None:
    """A process keeps apart what it has rendered and what all were sent."""
    viewer = await house.viewing("rows", "rows/")
    await house.fill({"a": "one"})
    position = house.broker.known
    house.broker.late = []
    house.pages.rows["a"] = "ONE"
    await house.refresh("rows")
    joined = house.view("rows", "rows/", since=position)
    await until(lambda: bool(wholes_of(joined)))
    await house.quiet()
    assert text_of(viewer) == ""

    house.broker.arrive()
    await until(lambda: bool(wholes_of(viewer)))

    assert "ONE" in wholes_of(viewer)[0]


async def test_item_that_has_gone_from_a_list_that_is_cut_is_answered_by_the_whole_list(
    house: ListHouse,
) -> None:
    """What takes its place is none of the page's; positions wait for it."""
    house.pages.specs["rows"] = FragmentSpec("rows", item=ItemSpec("end", 2))
    viewer = await house.viewing("rows", "rows/")
    await house.fill({"a": "one", "b": "two"})
    house.pages.gate.clear()

    gone = await house.edit("a", None)
    await until(lambda: house.pages.rendered == ["a"])
    gate, house.pages.gate = house.pages.gate, type(house.pages.gate)()
    gate.set()
    await until(lambda: house.pages.rendered == ["a", "*"])
    assert house.hub.position.fragments < gone
    house.pages.gate.set()
    await until(lambda: bool(wholes_of(viewer)))

    assert items_of(viewer) == []
    assert house.hub.position.fragments == house.hub.position.events


async def test_page_that_missed_such_an_item_waits_for_the_whole_list(house: ListHouse) -> None:
    """In place of the item, which it can no longer be sent."""
    house.pages.specs["rows"] = FragmentSpec("rows", item=ItemSpec("end", 2))
    await house.viewing("list")
    await house.fill({"a": "one", "b": "two"})
    position = house.broker.known
    gone = await house.edit("a", None)

    viewer = house.view("rows", "rows/", since=position)
    await until(lambda: bool(wholes_of(viewer)))

    assert house.pages.rendered[-2:] == ["a", "*"]
    assert viewer.position.fragments >= gone
