"""What an app declares of a channel."""

from collections.abc import Callable
from typing import Any

import pytest
from quart import Quart, abort

from quart_sse import SSE, DeclarationError
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
