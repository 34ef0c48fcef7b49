"""What an app declares of a channel."""

from collections.abc import Callable
from typing import Any

import pytest
from quart import Quart, abort, render_template_string

from quart_sse import SSE, DeclarationError, FragmentError
from quart_sse.testing import live
from quart_sse.wire.items import item_attributes as sse_item
from tests.support.streams import open_stream


def test_decorators_return_the_function(sse: SSE) -> None:
    """So that it can still be called, or have another decorator."""
    channel = sse.channel("x", "/x")

    def function(**_: object) -> None: ...

    for decorator in (channel.validate, channel.initial, channel.authorize, sse.metadata):
        assert decorator(function) is function


@pytest.mark.parametrize(
    "declare", [lambda sse: sse.channel("x", "/x").validate, lambda sse: sse.metadata]
)
def test_second_function_is_an_error(sse: SSE, declare: Callable[[SSE], Any]) -> None:
    """It would be called in vain."""
    decorator = declare(sse)
    decorator(lambda: True)
    with pytest.raises(DeclarationError, match="Combine the two"):
        decorator(lambda: True)


async def first_of(app: Quart, url: str) -> str:
    """Return the name and the data of a stream's first event."""
    async with open_stream(app, url) as stream:
        event = await stream.next()
        return event.event if event.event == "sse-open" else f"{event.event} {event.data}"


@pytest.mark.parametrize(
    ("answer", "first"),
    [
        (lambda: True, "sse-open"),
        (lambda: False, "sse-stop refused"),
        (lambda: None, "sse-stop refused"),
        (lambda: abort(404), "sse-stop refused"),
        (lambda: "yes", "sse-holdoff error"),
        (lambda: 1 / 0, "sse-holdoff error"),
    ],
)
async def test_parameters_are_looked_at(
    app: Quart, sse: SSE, answer: Callable[[], Any], first: str
) -> None:
    """Of a public channel, too, by the page's token and at the channel's own URL."""
    prices = sse.channel("prices", "/prices/<symbol>", public=True)
    asked: list[str] = []

    @prices.validate
    async def is_listed(symbol: str) -> Any:
        asked.append(symbol)
        return answer()

    assert await first_of(app, "/sse/prices/A") == first
    assert await first_of(app, "/sse?t=~prices?symbol=B&since=0") == first
    assert asked == ["A", "B"]


async def test_token_and_rule_do_not_overrule_it(app: Quart, sse: SSE) -> None:
    """A refused topic looks like one that does not exist, and no rule is asked."""
    rooms = sse.channel("rooms", "/rooms/<int:room>")
    asked: list[int] = []

    @rooms.authorize
    def may_read(room: int) -> bool:
        asked.append(room)
        return True

    @rooms.validate
    def is_there(room: int) -> bool:
        return room < 10

    assert await first_of(app, "/sse/rooms/99") == "sse-stop refused"
    assert asked == []
    assert await first_of(app, "/sse/rooms/9") == "sse-open"
    assert asked == [9]


async def test_fragment_of_a_refused_topic_is_not_shown(app: Quart, sse: SSE) -> None:
    """By its own URL, either."""
    prices = sse.channel("prices", "/prices/<symbol>", public=True)
    prices.fragment("last")(lambda symbol: symbol)
    prices.validate(lambda symbol: symbol == "A")
    client = app.test_client()

    assert (await client.get("/sse/~/last/prices/A")).status_code == 200
    assert (await client.get("/sse/~/last/prices/B")).status_code == 403


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("nothing", {}, "Declare the whole list first"),
        ("mine", {}, r"Use topic\.refresh\('mine'\)"),
        ("list", {"place": "top"}, "'start' or 'end'"),
        ("list", {"keep": 0}, "number of items"),
        ("list", {"keep": True}, "number of items"),
        ("done", {}, "has items of 'done' already"),
    ],
)
def test_items_that_cannot_be_are_refused(
    sse: SSE, name: str, options: dict[str, Any], message: str
) -> None:
    """The error says what to write instead."""
    channel = sse.channel("x", "/x")
    channel.fragment("list")(lambda: "")
    channel.fragment("mine", personal=True)(lambda: "")
    channel.fragment("done")(lambda: "")
    channel.item("done")(lambda key: key)

    with pytest.raises(DeclarationError, match=message):
        channel.item(name, **options)(lambda key: key)


def test_rule_of_a_channel_with_items_has_no_key(sse: SSE) -> None:
    """The renderer takes the item's key by this name."""
    channel = sse.channel("x", "/x/<key>")
    channel.fragment("list")(lambda key: key)

    with pytest.raises(DeclarationError, match="Rename the parameter"):
        channel.item("list")(lambda key: key)


@pytest.mark.parametrize(
    ("fragments", "item", "message"),
    [
        ((), 1, "0 names"),
        (("list", "count"), 1, "2 names"),
        (("count",), 1, "has no items"),
        (("mine",), 1, r"refresh\('mine'\)"),
        (("list",), 1.5, "a str or an int"),
        (("list",), "", "0 characters"),
    ],
)
async def test_item_that_is_of_no_list_is_refused(
    app: Quart, sse: SSE, fragments: tuple[str, ...], item: Any, message: str
) -> None:
    """Before anything is published."""
    channel = sse.channel("x", "/x")
    for name in ("list", "count"):
        channel.fragment(name)(lambda: "")
    channel.fragment("mine", personal=True)(lambda: "")
    channel.item("list")(lambda key: key)

    async with app.app_context():
        with pytest.raises(FragmentError, match=message):
            await channel.topic().refresh(*fragments, item=item)


async def test_page_that_asks_leaves_the_html_out(app: Quart, sse: SSE) -> None:
    """Of an item, and of any other fragment; others take it."""
    channel = sse.channel("x", "/x", public=True)
    rows = {"1": "one"}
    channel.fragment("list")(lambda: f"<li {sse_item(1)}>{rows['1']}</li>")
    channel.item("list")(lambda key: f"<li {sse_item(key)}>{rows[key]}</li>")

    async def page() -> str:
        return await render_template_string(
            '{% from "quart_sse/macros.html" import sse_live %}{{ sse_live("x.list") }}'
        )

    async def change(text: str) -> str:
        rows["1"] = text
        await channel.topic().refresh("list", item=1, to_others=True)
        return ""

    app.add_url_rule("/page", view_func=page)
    app.add_url_rule("/change/<text>", view_func=change, methods=["POST"])
    async with app.test_app():
        client = app.test_client()
        async with live(client, "/page") as mine, live(client, "/page") as other:
            await client.post("/change/two", headers=mine.headers)
            assert "two" in str(await other.item("x.list", 1))
            await mine.settle()
            assert "one" in mine.current("x.list")
            rows["1"] = "three"
            async with app.app_context():
                await channel.topic().refresh("list", item=1)
            assert "three" in str(await mine.item("x.list", 1))
