"""State machines of lists: items come, change, move and go, and browsers miss any of it.

Beside what ``tests.support.model`` checks, each position must be true of each item: a page whose
position passes a change shows it, or something newer. After things have quietened each list equals
the data: keys and content always, the order too where items carry one.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from quart_sse.broker import Kind, Message
from quart_sse.hub.rendered import FragmentSpec, ItemSpec, Rendered
from quart_sse.wire.items import item_attributes
from quart_sse.wire.naming import items_of
from quart_sse.wire.position import ZERO, Position
from tests.support.model import (
    DEEP,
    KEEPS,
    LOUD,
    SHALLOW,
    WHICH,
    Application,
    Block,
    Browser,
    DistantModel,
    Model,
    Moment,
    Name,
    NearBroker,
    PairRules,
    Process,
    VirtualLoop,
    World,
    pick,
    rule_if,
)

if TYPE_CHECKING:
    from asyncio import Future

ROWS, TOPS, LOG = Name(DEEP, "rows"), Name(SHALLOW, "tops"), Name(LOUD, "log")
COUNT = Name(DEEP, "count")
SPECS = {
    COUNT: FragmentSpec("count"),
    LOG: FragmentSpec("log", item=ItemSpec("end")),
    ROWS: FragmentSpec("rows", debounce=0.0, item=ItemSpec("end")),
    TOPS: FragmentSpec("tops", item=ItemSpec("start", 3)),
}
LISTS = [name for name, spec in SPECS.items() if spec.item is not None]
LIST_SPECS = {name: SPECS[name] for name in LISTS}
KEYS = [f"k{number}" for number in range(8)]


class Row(NamedTuple):
    """An item: the number of its last edit, and its order; None if it has gone."""

    number: int
    order: float | None


class Table(Application):
    """The application, with the items of its lists."""

    def __init__(self, specs: Mapping[Name, FragmentSpec], loop: VirtualLoop) -> None:
        super().__init__(specs, loop)
        self.rows: dict[Name, dict[str, Row]] = {name: {} for name in LISTS}
        self.went: dict[Name, int] = {}  #: item -> number of the last edit that took it away
        self.wholes: set[Name] = set()  #: lists of which an edit must be told as a whole
        self.edits = 1
        self.orders = 0.0
        self.data = {name: 1 for name in specs if name not in LISTS}

    def listed(self, name: Name, rows: Mapping[str, Row]) -> list[str]:
        """Return the keys that a list shows, in their order."""
        place, keep = SPECS[name].item or ItemSpec()
        here = [key for key, row in rows.items() if row.order is not None]
        here.sort(key=lambda key: rows[key].order or 0.0, reverse=place == "start")
        if keep is None:
            return here
        return here[:keep] if place == "start" else here[-keep:]

    def edit(self, name: Name, what: str, which: int) -> Name:
        """Change a list, and return the item that has changed."""
        rows = self.rows[name]
        here = [key for key, row in rows.items() if row.order is not None]
        away = [key for key in KEYS if key not in here]
        if not here or (what == "add" and away):
            what, key = "add", (away or here)[which % len(away or here)]
        else:
            key = here[which % len(here)]
        self.edits += 1
        if what == "add":
            self.orders += 10
            rows[key] = Row(self.edits, self.orders)
        elif what == "remove":
            rows[key] = Row(self.edits, None)
            self.went[item_name(name, key)] = self.edits
        elif what == "move":
            rows[key] = Row(self.edits, (which * 7.3) % (self.orders + 10))
            spec = SPECS[name].item
            if spec is not None and spec.keep is not None:
                self.wholes.add(name)  # what takes its place may be none of the page's
        else:
            rows[key] = Row(self.edits, rows[key].order)
        self.data[item_name(name, key)] = self.edits
        return item_name(name, key)


def item_name(name: Name, key: str) -> Name:
    """Return the name of an item, as if it were a fragment."""
    return Name(name.topic, f"{name.fragment}/{key}")


def list_of(item: Name) -> Name:
    """Return the list of an item, or a fragment that is none."""
    return Name(item.topic, item.fragment.partition("/")[0])


def item_html(name: Name, key: str, row: Row) -> str:
    """Return an item's HTML: its number."""
    order = None if name == LOG else row.order
    return f"<li {item_attributes(key, order)}>{row.number}</li>"


class ListProcess(Process):
    """A process that renders lists and items of them."""

    app: Table

    async def render(self, topic: str, fragment: str, root: str = "") -> Rendered:
        name = Name(topic, fragment)
        if name not in LISTS:
            return await super().render(topic, fragment, root)
        return await self._render_alone(name, None)

    async def render_item(self, topic: str, fragment: str, root: str, item: str) -> Rendered:
        return await self._render_alone(Name(topic, fragment), item)

    async def _render_alone(self, name: Name, item: str | None) -> Rendered:
        with self.alone(name if item is None else item_name(name, item)):
            return await self._render_list(name, item)

    async def _render_list(self, name: Name, item: str | None) -> Rendered:
        app, is_late = self.app, False
        rows = dict(app.rows[name])
        if app.is_failing:
            raise RuntimeError("the database is away")
        if app.is_slow:
            outcome: Future[str] = app.loop.create_future()
            app.renders.append(outcome)
            try:
                match await outcome:
                    case "fail":
                        raise RuntimeError("the database went away")
                    case "late":
                        is_late = True
            finally:
                app.renders.remove(outcome)
        rows = dict(app.rows[name]) if is_late else rows
        is_ordered = name != LOG
        if item is not None:
            row = rows.get(item, Row(0, None))
            html = "" if row.order is None else item_html(name, item, row)
            return Rendered(html, items=(item,) if html else (), is_ordered=is_ordered)
        keys = app.listed(name, rows)
        numbers = " ".join(f"{key}:{row.number}" for key, row in rows.items())
        html = "".join(item_html(name, key, rows[key]) for key in keys)
        return Rendered(
            f"<!--{numbers}-->{html}", items=tuple(keys), is_ordered=is_ordered and bool(keys)
        )


_PARTIAL = re.compile(r"<hx-partial (.*?)>(.*?)</hx-partial>", re.S)
_ITEM = re.compile(r"'([^']*)' (\S+) (\S+)(?: (\d+))?")
_WHOLE = re.compile(r"\[data-sse='([^']*)'\]")
_LI = re.compile(r'<li data-sse-item="([^"]*)"(?: data-sse-order="([^"]*)")?>(\d+)</li>')


class ListBrowser(Browser):
    """A page with lists, as our script keeps them; a plain one takes no items."""

    world: "ListWorld"

    def __init__(
        self, world: "World", shown: dict[str, frozenset[str]], who: str | None = None
    ) -> None:
        super().__init__(world, shown, who)
        self.takes_items = not self.world.has_plain or len(world.browsers) % 3 != 2
        #: list -> keys on the screen, in their order
        self.lists: dict[Name, list[str]] = {}
        self.orders: dict[Name, float | None] = {}
        self.numbers: dict[Name, int] = {}  #: item -> the edit that the page knows

    async def load(self, process: Process) -> None:
        await super().load(process)
        if self.takes_items:
            self.shown |= {
                topic: names | {items_of(name) for name in names if Name(topic, name) in LISTS}
                for topic, names in self.shown.items()
            }

    async def _paint(self, process: Process, name: Name) -> None:
        if name not in LISTS:
            await super()._paint(process, name)
            return
        rendered = await process.hub.render_now(name.topic, SPECS[name])
        self._take_whole(name, rendered.html)

    def _swap_partials(self, data: str) -> None:
        partials = _PARTIAL.findall(data)
        assert partials, f"no fragment in {data!r}"
        for target, content in partials:
            if (item := _ITEM.fullmatch(target)) is not None:
                assert self.takes_items
                self._take_item(self._list(item[1]), item[2], item[3], item[4], content)
            elif self._list((_WHOLE.findall(target) or [""])[0]) in LISTS:
                self._take_whole(self._list(_WHOLE.findall(target)[0]), content)
            else:
                super()._swap_partials(data)

    def _list(self, key: str) -> Name:
        return next((name for name in LISTS if name.key == key), COUNT)

    def _take_whole(self, name: Name, content: str) -> None:
        numbers = content.partition("<!--")[2].partition("-->")[0].split()
        for pair in numbers:
            key, _, number = pair.partition(":")
            self.numbers[item_name(name, key)] = int(number)
        self.lists[name] = []
        for key, order, _ in _LI.findall(content):
            self.lists[name].append(key)
            self.orders[item_name(name, key)] = float(order) if order else None

    def _take_item(self, name: Name, key: str, place: str, keep: str | None, content: str) -> None:
        of = item_name(name, key)
        keys = self.lists[name]
        if not content:
            self.numbers[of] = self.world.app.went[of]
            if key in keys:
                keys.remove(key)
            return
        ((other, order, number),) = _LI.findall(content)
        assert other == key
        self.numbers[of] = int(number)
        value = float(order) if order else None
        if key not in keys or (value is not None and value != self.orders[of]):
            if key in keys:
                keys.remove(key)
            self.orders[of] = value
            keys.insert(self._index(name, value, place), key)
        while keep and len(keys) > int(keep):
            keys.pop(0 if place == "end" else -1)

    def _index(self, name: Name, value: float | None, place: str) -> int:
        keys = self.lists[name]
        at = 0 if place == "start" else len(keys)
        if value is None:
            return at
        others = [self.orders[item_name(name, key)] or 0.0 for key in keys]
        if place == "start":
            return sum(other > value for other in others)
        return sum(other <= value for other in others)

    def _check_position(self, position: Position, block: Block) -> None:
        super()._check_position(position, block)
        if position.fragments == ZERO:
            return
        fragments = self.world.moment(position.epoch, position.fragments)
        changes = self.world.changes
        newest: dict[Name, Moment] = {}
        for of, (changed, _) in changes.items():
            newest[list_of(of)] = max(changed, newest.get(list_of(of), changed))
        for of, (changed, number) in changes.items():
            name = list_of(of)
            # To a plain page a list is one fragment: its newest HTML is buffered last, behind
            # events that pass an older change, and a page that is cut before it is sent it again.
            is_owed_all = not self.takes_items and newest[name] > fragments
            if name in self.lists and name != of and changed <= fragments and not is_owed_all:
                shown = self.numbers.get(of, 0)
                assert shown >= number, f"{block} says {of} is {number}, but it shows {shown}"

    def check_all(self) -> None:
        app = self.world.app
        lists, self.lists = self.lists, {}
        super().check_all()
        self.lists = lists
        for name, keys in lists.items():
            expected = app.listed(name, app.rows[name])
            assert sorted(keys) == sorted(expected), f"{name.key}: {keys}, not {expected}"
            for key in keys:
                of = item_name(name, key)
                assert self.numbers[of] == app.rows[name][key].number, f"{of.key} is stale"
            if name != LOG:
                assert keys == expected, f"{name.key} has another order"


class ListWorld(World):
    """The processes, and everybody who has to do with lists."""

    application = Table
    process = ListProcess
    app: Table
    #: whether every third page is plain; where one is, the whole list is rendered for each change
    has_plain = True

    def announce(self, name: Name, kind: Kind, age: int = 0) -> None:
        fragment, _, key = name.fragment.partition("/")
        of = Name(name.topic, fragment)
        if of not in LISTS:
            super().announce(name, kind, age)
        elif not key or of in self.app.wholes:
            self.announce_whole(of)
        else:
            row = self.app.rows[of][key]
            html = item_html(of, key, row) if kind is Kind.PUSH and row.order is not None else None
            kind = Kind.REFRESH if html is None else Kind.PUSH
            message = Message(kind, ZERO, of.topic, of.fragment, html, item=key)
            self.changes[name] = self._publish(message), row.number

    def announce_whole(self, name: Name) -> None:
        """Tell that a whole list has changed."""
        self.app.wholes.discard(name)
        moment = self._publish(Message(Kind.REFRESH, ZERO, name.topic, name.fragment))
        for key, row in self.app.rows[name].items():
            self.changes[item_name(name, key)] = moment, row.number


class ListRules(Model):
    """What can happen to lists."""

    specs = SPECS
    make_world = ListWorld
    make_browser = ListBrowser
    world: ListWorld
    tell = None  # type: ignore[assignment]

    @rule(
        name=st.sampled_from([ROWS, ROWS, ROWS, TOPS, TOPS, LOG]),
        what=st.sampled_from(["add", "add", "change", "change", "remove", "move"]),
        which=st.integers(0, 7),
        how=st.sampled_from(["item", "item", "item", "item", "push", "whole", "later", "twice"]),
    )
    def change(self, name: Name, what: str, which: int, how: str) -> None:
        """An item comes, changes, moves or goes; the message comes at once, or later."""
        of = self.world.app.edit(name, "change" if name == LOG and what == "move" else what, which)
        if how == "whole":
            self.world.announce_whole(name)
        elif how != "later":
            self.world.announce(of, Kind.PUSH if how == "push" else Kind.REFRESH)
            if how == "twice":
                self.world.announce(of, Kind.REFRESH)

    @rule(which=st.integers(0, 7), count=st.sampled_from([3, 4, 6]))
    def change_many(self, which: int, count: int) -> None:
        """More items change than are sent one by one."""
        for number in range(count):
            self.world.announce(self.world.app.edit(ROWS, "add", which + number), Kind.REFRESH)


class ListModel(ListRules):
    """Lists in one process, with the memory broker."""

    broker: type[NearBroker] = NearBroker


class ListCrowdModel(ListRules):
    """Nothing else than lists, slow renders, and browsers that stall, go and come back.

    With fewer things that can happen, what needs many of them in one order happens more often.
    """

    specs = LIST_SPECS
    tell = render = tick = open_page = close_page = advance = None  # type: ignore[assignment]

    @initialize(is_slow=st.booleans(), has_plain=st.booleans())
    def begin_crowded(self, is_slow: bool, has_plain: bool) -> None:
        """Two more browsers show everything, one of which may take no items."""
        self.world.has_plain = has_plain
        for where in (0, 1):
            self._open(set(KEEPS), set(self.names), where)
            self.connect(0, "last", where)
        self.world.app.is_slow = is_slow

    @rule(topic=st.sampled_from([DEEP, DEEP, SHALLOW]))
    def say(self, topic: str) -> None:
        """The application publishes an event, behind which state must not be promised."""
        self.world.say(topic, 1)

    @rule(seconds=st.sampled_from([0.1, 0.1, 1.0]))
    def wait(self, seconds: float) -> None:
        """A little time passes: less than records are kept."""
        self._notice()
        self.world.advance(seconds)

    @rule_if(lambda self: self.connected, which=WHICH, size=st.none() | st.integers(0, 400))
    def resume(self, which: int, size: int | None) -> None:
        """A connection breaks after some bytes, and its browser comes back at once."""
        browser = pick(self.connected, which)
        stream = browser.stream
        assert stream is not None
        browser.read(size)
        if browser.state == "loaded" and browser.stream is not None:
            self._lose(browser)
            browser.connect("last", pick(self.world.processes, which))
            self.world.settle()

    @rule(
        name=st.sampled_from(LISTS),
        keys=st.lists(st.integers(0, 2), min_size=2, max_size=4),
        what=st.sampled_from(["change", "change", "move", "remove"]),
    )
    def change_in_turn(self, name: Name, keys: list[int], what: str) -> None:
        """Some items change one after another, and each is rendered before the next does."""
        for key in keys:
            kind = "change" if name == LOG and what == "move" else what
            self.world.announce(self.world.app.edit(name, kind, key), Kind.REFRESH)
            for render in self.world.app.renders:
                render.set_result("late")
            self.world.settle()
            self.world.advance(0.1)

    @rule(name=st.sampled_from(LISTS), which=st.integers(0, 2), is_first=st.booleans())
    def overtake(self, name: Name, which: int, is_first: bool) -> None:
        """An item changes and is rendered while a slow render of all of its list goes on."""
        app = self.world.app
        app.is_slow = True
        self.world.announce_whole(name)
        self.world.advance(0.2)
        others = [*app.renders]
        self.world.announce(app.edit(name, "change", which), Kind.REFRESH)
        self.world.advance(0.2)
        for render in app.renders:
            if render not in others:
                render.set_result("early")
        self.world.settle()
        if is_first and others and others[-1] in app.renders:
            others[-1].set_result("early")
            self.world.settle()


class ListPairModel(ListRules, PairRules, DistantModel):
    """Lists in two processes, which hear of what was published at different times."""


class ListCrowdPairModel(PairRules, ListCrowdModel, DistantModel):
    """The same with two processes."""

    deliver = break_subscription = answer = None  # type: ignore[assignment]

    @initialize(is_lagging=st.booleans())
    def begin_lagging(self, is_lagging: bool) -> None:
        """The second process may hear later than the first."""
        self.distant(1).is_lagging = is_lagging


__all__ = [
    "ListCrowdModel",
    "ListCrowdPairModel",
    "ListModel",
    "ListPairModel",
    "ListRules",
    "Moment",
]
