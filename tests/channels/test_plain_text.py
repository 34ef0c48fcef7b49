"""Text is text, of whatever class: members of ``class Name(str, Enum)`` mean what they equal."""

from collections.abc import AsyncIterator
from enum import Enum
from pathlib import Path

import pytest
from quart import Quart, render_template_string
from quart.testing import QuartClient

from quart_sse import SSE, Channel, Event
from tests.support.pages import MACROS, get_page, next_html, viewing
from tests.support.redis_server import running_redis
from tests.support.streams import open_stream


class Name(str, Enum):  # noqa: UP042 - a StrEnum is written as what it equals
    """What an app names by an enumeration."""

    CHANNEL = "board"
    FRAGMENT = "list"
    PATH = "board.list"
    EVENT = "added"
    ROOM = "kitchen"
    DATA = "some text"
    USER = "ada"
    LABEL = "a label"


@pytest.fixture(params=["memory", "redis"])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """The URL of each broker."""
    if request.param == "memory":
        yield "memory://"
        return
    async with running_redis(tmp_path) as redis:
        yield redis.url


@pytest.fixture
async def board(app: Quart, url: str) -> Channel:
    """A channel whose names are members of an enumeration, and a page."""
    app.config["QUART_SSE_BROKER_URL"] = url
    sse = SSE(app)
    board = sse.channel(Name.CHANNEL, "/board/<room>", public=True)
    numbers = iter(range(100))

    @board.fragment(Name.FRAGMENT)
    async def show(room: str) -> str:
        return f"{room} {next(numbers)}"

    @sse.identity
    async def identity() -> str:
        return Name.USER

    @app.get("/")
    async def page() -> str:
        return await render_template_string(
            MACROS + "{{ sse_fragment(path, room=room, attrs={'title': label}) }}"
            "{{ sse_event(event, room=room) }}{{ sse_connect() }}",
            path=Name.PATH,
            room=Name.ROOM,
            label=Name.LABEL,
            event=f"board.{Name.EVENT.value}",
        )

    return board


async def test_names_and_data_go_out_as_what_they_equal(app: Quart, board: Channel) -> None:
    """In pages, events, refreshes and pushes, in one process and through Redis."""
    topic = board.topic(room=Name.ROOM)
    soup = await get_page(app)
    async with app.test_app(), viewing(QuartClient(app)) as stream:
        await topic.publish(Name.EVENT, Name.DATA)
        said = await stream.next("board.added?room=kitchen")
        await topic.refresh(Name.FRAGMENT)
        refreshed = await next_html(stream)
        await topic.push(Name.FRAGMENT, html=Name.DATA)
        pushed = await next_html(stream)

    assert topic.name == "board?room=kitchen"
    assert soup.select_one("[data-sse='board.list?room=kitchen'][title='a label']") is not None
    assert said.data == "some text"
    assert refreshed[0] == "board.list?room=kitchen"
    assert refreshed[1].startswith("kitchen ")
    assert pushed == ("board.list?room=kitchen", "some text")


async def test_users_of_an_enumeration_are_found(app: Quart, board: Channel) -> None:
    """Their streams end by their name."""
    (sse,) = [app.extensions["quart_sse"]]
    async with app.test_app(), open_stream(app, "/sse/board/kitchen") as stream:
        await stream.next("sse-open")
        await sse.revocations.disconnect("ada")

        assert (await stream.next("sse-holdoff")).data == "disconnect"


def test_event_of_a_view_is_written_as_what_it_equals() -> None:
    """Also one that is encoded by itself."""
    assert Event(Name.DATA, name=Name.EVENT, id=Name.ROOM).encode() == (
        b"id: kitchen\nevent: added\ndata: some text\n\n"
    )
