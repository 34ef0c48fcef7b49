"""The shared fragments of a process: what is inside another one is never older than elsewhere."""

import asyncio
from collections.abc import AsyncIterator, Mapping

import pytest

from quart_sse.error_log import ErrorLog
from quart_sse.hub.fragment import SharedFragment
from quart_sse.hub.fragments import Fragments, Whole
from quart_sse.hub.item import Item
from quart_sse.hub.lists import SharedList
from quart_sse.hub.rendered import FragmentSpec, Inside, Rendered
from quart_sse.hub.slots import Slots
from quart_sse.wire.naming import member_key

TOPIC, OTHER = "news?room=1", "users"


class Shelf:
    """Fragments of a process, rendered from what a test gives."""

    tracing = None

    def __init__(self) -> None:
        self.next: dict[tuple[str, str], Rendered] = {}  #: what the next render returns
        self.fragments = Fragments("", {}, 0.0, self, self, ErrorLog(), Slots(4))

    async def render(self, topic: str, fragment: str, root: str) -> Rendered:
        """Return what the next render of a fragment returns."""
        return self.next[(topic, fragment)]

    async def render_item(self, topic: str, fragment: str, root: str, item: str) -> Rendered:
        """Render no item."""
        raise NotImplementedError

    def deliver_item(self, fragments: Fragments, shared: SharedList, item: Item) -> bool:
        """Take an item's HTML, for no page."""
        return True

    def replace_item(self, fragments: Fragments, shared: SharedList, item: Item) -> None:
        """Let no connection wait."""

    def viewers(self, topic: str, fragment: str, root: str) -> tuple[bool, bool]:
        """Let pages take items."""
        return True, False

    def deliver(self, fragments: Fragments, shared: SharedFragment, is_wanted: bool) -> bool:
        """Take a fragment's HTML, for no page."""
        return True

    def is_viewed(self, topic: str, fragment: str, root: str) -> bool:
        """Let a page show every fragment."""
        return True

    async def put(self, name: str, html: str, *inside: Inside, topic: str = TOPIC) -> Rendered:
        """Render a fragment; returns it as others put it inside theirs."""
        pairs = {(each.topic, each.fragment) for each in inside}
        nested = pairs.union(*(each.rendered.nested for each in inside))
        self.next[(topic, name)] = Rendered(html, frozenset(nested), inside)
        return await self.fragments.render_now(
            topic, FragmentSpec(name), is_kept=lambda: True, is_urgent=True
        )

    def shown(self, name: str) -> tuple[str, Mapping[str, str]]:
        """Return a fragment's HTML as viewers are sent it, and what goes behind."""
        whole = self.whole(name)
        return whole.html, whole.behind

    def whole(self, name: str, topic: str = TOPIC) -> Whole:
        """Return a fragment as viewers are sent it."""
        shared = self.fragments.known(topic, name)
        assert shared is not None
        assert shared.rendered is not None
        return self.fragments.whole(shared.rendered, frozenset({shared.key}))


def put(name: str, rendered: Rendered, tag: str = "div", topic: str = TOPIC) -> Inside:
    """Put a fragment into another one's HTML, as the macro does."""
    opening = f'<{tag} data-sse="{member_key(topic, name)}">'
    return Inside(topic, name, rendered, opening, f"</{tag}>")


@pytest.fixture
async def shelf() -> AsyncIterator[Shelf]:
    """Nothing rendered yet."""
    shelf = Shelf()
    yield shelf
    await shelf.fragments.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_nothing_is_changed_where_nothing_is_newer(shelf: Shelf) -> None:
    """HTML with the newest of what is inside goes out as it is, without a copy."""
    count = put("count", await shelf.put("count", "1"))
    await shelf.put("list", f"a{count.element}", count)

    whole = shelf.whole("list")

    assert whole.html == 'a<div data-sse="news.count?room=1">1</div>'
    assert whole.behind == {}
    assert whole.html is shelf.next[(TOPIC, "list")].html


@pytest.mark.parametrize("topic", [TOPIC, OTHER])
async def test_newer_html_takes_the_place_of_what_is_inside(shelf: Shelf, topic: str) -> None:
    """Also that of another topic, and wherever it stands; what is around it stays."""
    old = await shelf.put("count", "", topic=topic)
    one, two = put("count", old, topic=topic), put("count", old, "b", topic)
    await shelf.put("list", f"{one.element}|{two.element}|{one.element}|", one, two)
    await shelf.put("count", "<i>2</i>", topic=topic)

    key = member_key(topic, "count")
    new = f'<div data-sse="{key}"><i>2</i></div>'
    html = f'{new}|<b data-sse="{key}"><i>2</i></b>|{new}|'
    assert shelf.shown("list") == (html, {})


async def test_renders_of_one_version_are_told_apart(shelf: Shelf) -> None:
    """Two that are inside may be of different age, and what was put there last is kept."""
    first = put("count", await shelf.put("count", "1"))
    second = put("count", await shelf.put("count", "2"))
    await shelf.put("list", first.element + second.element, first, second)

    assert shelf.shown("list") == (second.element * 2, {})


async def test_html_that_a_renderer_has_changed_is_followed_by_what_is_newer(
    shelf: Shelf,
) -> None:
    """What the macro gave is not found in it: the newer HTML goes behind, in the same message."""
    count = put("count", await shelf.put("count", "1"))
    await shelf.put("list", count.element.upper(), count)
    assert shelf.whole("list").behind == {}
    await shelf.put("count", "2")

    assert shelf.shown("list") == (count.element.upper(), {"news.count?room=1": "2"})


async def test_what_is_deep_inside_is_the_newest_too(shelf: Shelf) -> None:
    """Of three in each other any may be newer than where it stands."""
    count = put("count", await shelf.put("count", "1"))
    table = put("table", await shelf.put("table", f"t{count.element}", count))
    await shelf.put("page", f"p{table.element}{count.element}", table, count)
    await shelf.put("count", "2")
    newer = count.around("2")
    assert shelf.shown("page") == (f"p{table.around(f't{newer}')}{newer}", {})

    newest = put("count", await shelf.put("count", "3"))
    await shelf.put("table", f"u{newest.element}", newest)
    last = put("count", await shelf.put("count", "4")).element
    assert shelf.shown("page") == (f"p{table.around(f'u{last}')}{last}", {})


async def test_what_goes_behind_comes_after_all_that_contains_it(shelf: Shelf) -> None:
    """Whatever their names: what stands behind must not be put back by what follows."""
    a = put("a", await shelf.put("a", "1"))
    b = put("b", await shelf.put("b", f"b{a.element}", a))
    c = put("c", await shelf.put("c", "odd", b))
    await shelf.put("d", "odder", c, a)
    newer = put("a", await shelf.put("a", "2"))
    await shelf.put("b", "odd, too", newer)
    await shelf.put("a", "3")

    behind = shelf.whole("d").behind
    assert behind["news.a?room=1"] == "3"
    assert list(behind)[-1] == "news.a?room=1"
    assert behind["news.b?room=1"] == "odd, too"


async def test_what_is_inside_without_a_note_goes_behind(shelf: Shelf) -> None:
    """If it is not known which render was put there, the newest that is known follows."""
    await shelf.put("count", "2")
    nested = frozenset({(TOPIC, "count"), (TOPIC, "gone")})
    shelf.next[(TOPIC, "list")] = Rendered("by hand", nested)
    await shelf.fragments.render_now(
        TOPIC, FragmentSpec("list"), is_kept=lambda: True, is_urgent=True
    )

    assert shelf.shown("list") == ("by hand", {"news.count?room=1": "2"})


async def test_what_came_with_newer_html_is_known(shelf: Shelf) -> None:
    """Clients are judged for all that they are sent, also for what has come in since."""
    table = put("table", await shelf.put("table", "empty"))
    await shelf.put("page", table.element, table)
    secret = put("secret", await shelf.put("secret", "1", topic=OTHER), topic=OTHER)
    await shelf.put("table", secret.element, secret)

    assert shelf.whole("page").nested == {(TOPIC, "table"), (OTHER, "secret")}


async def test_circle_over_time_has_an_end(shelf: Shelf) -> None:
    """One contained the other, which now contains the one."""
    a = put("a", await shelf.put("a", "1"))
    b = put("b", await shelf.put("b", f"b{a.element}", a))
    await shelf.put("a", f"a{b.element}", b)

    assert shelf.shown("b") == (f"b{a.around(f'a{b.element}')}", {})
    assert shelf.shown("a") == (f"a{b.element}", {})
