"""Personal fragments: each viewer fetches its own."""

import asyncio
import gc
import tracemalloc
from collections.abc import Mapping

import pytest
from quart import Quart
from quart.testing import QuartClient

from quart_sse import SSE
from quart_sse.access import Judgement, Token
from quart_sse.access.tokens import read_topics
from quart_sse.channels.channel import Channel
from quart_sse.streams.personal import Loader, make_loader
from tests.support.pages import get_text, loader_of, partial, viewing
from tests.support.streams import client_of, open_stream


@pytest.mark.parametrize("who", ["ada", "bob", None])
async def test_personal_fragment_is_fetched_by_its_viewer(
    app: Quart, rooms: Channel, who: str | None
) -> None:
    """A page first shows a viewer's own version, then fetches it with the viewer's cookies."""
    client = client_of(app, who)

    first = await get_text(client)
    async with viewing(client) as stream:
        await rooms.topic(room=7).refresh("mine")
        event = await stream.next("message")
    loader = loader_of(event)
    fetched = await client.get(str(loader["hx-get"]))

    own = f"<b>{who} in 7</b>"
    assert f'<div data-sse="rooms.mine?room=7">{own}</div>' in first
    assert partial(event)["hx-target"] == "[data-sse='rooms.mine?room=7']"
    assert loader["hx-target"] == "closest [data-sse='rooms.mine?room=7']"
    assert loader["hx-swap"] == "innerMorph"
    assert str(loader["hx-trigger"]).startswith("load")
    assert "hidden" in loader.attrs
    assert own not in event.data
    assert fetched.status_code == 200
    assert await fetched.get_data(as_text=True) == own
    assert fetched.headers["Cache-Control"] == "private, no-store"


async def test_personal_fragment_of_authorized_channel_asks_again(app: Quart, sse: SSE) -> None:
    """A viewer that may no longer listen cannot fetch, even by a URL from the stream."""
    allowed = True
    rooms = sse.channel("rooms", "/rooms")
    rooms.authorize(lambda: allowed)
    rooms.fragment("mine", personal=True)(lambda: "mine")
    client = QuartClient(app)
    async with asyncio.timeout(5), open_stream(client, "/sse/rooms") as stream:
        await rooms.topic().refresh("mine")
        url = str(loader_of(await stream.next("message"))["hx-get"])

    before = await client.get(url)
    allowed = False
    after = await client.get(url)

    assert (before.status_code, after.status_code) == (200, 403)


async def test_topic_of_a_long_list_takes_little_memory(app: Quart, sse: SSE) -> None:
    """A stream keeps nothing for each topic but its name and a place in one mapping."""
    rooms = sse.channel("rooms", "/rooms/<int:number>", public=True)
    rooms.fragment("list")(lambda number: "")
    gate, count = app.extensions["quart_sse"].gate, 1000
    text = " ".join(f"rooms?number={number}:list" for number in range(count))

    async def judged(text: str) -> tuple[Loader, Mapping[str, frozenset[str]]]:
        token = Token(read_topics(text), "", 0.0, is_signed=False, is_expired=False)
        admission = await Judgement(gate, [token]).admit()
        return make_loader(gate.channels, "", admission, [token], [text]), admission.subscription

    await judged(text)  # what is kept for all
    gc.collect()
    tracemalloc.start()
    kept = await judged(text)
    gc.collect()
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert len(kept[1]) == count
    assert size / count < BYTES


#: Of a topic's name, about 70, and of its entry in a mapping, about 110.
BYTES = 250
