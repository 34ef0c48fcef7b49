"""Initial events: what a client that begins is sent before all else."""

import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from quart import Response, request

from quart_sse import Event
from tests.support.sites import Site, heard, serving
from tests.support.streams import open_stream


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """A site whose rooms greet who comes."""
    site = Site("memory://")

    @site.rooms.initial
    async def greet(room: int) -> list[tuple[str, object]]:
        return [("hello", {"room": room, "who": request.cookies.get("who")}), ("text", "42")]

    @site.news.initial
    def newest() -> Any:
        yield Event("old", name="said", retry_ms=7)

    async with serving(site):
        yield site


async def lines_of(site: Site, url: str, headers: dict[str, str] | None = None) -> list[str]:
    """Return the lines of what a stream is sent before an event that comes."""
    async with open_stream(site.client("ada"), url, headers) as stream:
        text = ""
        await site.sse.everyone.publish("end")
        while "everyone.end" not in text:
            chunk = await stream.connection.receive()
            text += chunk.decode()
    return text.split("\n")


async def test_who_begins_is_sent_them_first(site: Site) -> None:
    """Before what the page has missed, in the client's own request."""
    url = await site.page(1)
    await site.room().publish("said", "missed")
    async with open_stream(site.client("ada"), url) as stream:
        first, second, third = await heard(stream, 3)

    assert first == ("rooms.hello?room=1", '{"room": 1, "who": "ada"}')
    assert second == ("rooms.text?room=1", "42")
    assert third == ("rooms.said?room=1", "missed")


async def test_text_that_reads_like_json_is_marked(site: Site) -> None:
    """As that of events that are published."""
    lines = await lines_of(site, await site.page(1))

    assert lines[lines.index("event: rooms.text?room=1") + 1] == "type: text"


async def test_who_resumes_is_not(site: Site) -> None:
    """By the header, and by the query of clients that cannot set it."""
    async with open_stream(site.app, "/sse/news") as stream:
        event = await stream.next("said")
        await site.news.topic().publish("said", "x")
        await stream.next("said")
        last = stream.last_id
    for url, headers in (
        ("/sse/news", {"Last-Event-ID": last}),
        (f"/sse/news?lastEventId={last}", {}),
    ):
        async with open_stream(site.app, url, headers) as stream:
            await site.news.topic().publish("said", "next")
            assert (await stream.next("said")).data == "next"
    assert (event.data, event.retry) == ("old", 7)


async def test_our_script_says_which_page_is_new(site: Site) -> None:
    """Only that page takes them; one that resumes names none."""
    client = site.client("ada")
    one, two = await site.page(1, client=client), await site.page(2, client=client)
    both = f"{one}&{two.partition('?')[2]}&replaces="

    lines = await lines_of(site, f"{both}&first=,&first=77,")
    two_tabs = await lines_of(site, f"{both}&first=5,,6&first=7")
    none = await lines_of(site, both)
    mad = await lines_of(site, f"{both}&first=a\rb,{'x' * 99},;&first=&first=9")

    named = [line for line in lines if line.startswith("event: rooms.")]
    assert named == ["event: rooms.hello?room=2", "event: rooms.text?room=2"]
    assert lines.count("for: 77") == 2
    # Tabs that share a token share the events: a request multiplies nothing.
    assert [line for line in two_tabs if line.startswith("for: ")] == [
        *["for: 5 6"] * 2,
        *["for: 7"] * 2,
    ]
    assert not [line for line in [*none, *mad] if line.startswith("event: rooms.")]


async def test_stream_of_a_view_has_them_too(site: Site) -> None:
    """With the initial events of its own before."""

    @site.app.get("/ticker")
    async def ticker() -> Response:
        own = [Event("hi", name="welcome")]
        return await site.sse.stream(site.news.topic(), site.room(3), initial=own)

    async with open_stream(site.client("ada"), "/ticker") as stream:
        assert await heard(stream, 3) == [
            ("welcome", "hi"),
            ("news.said", "old"),
            ("rooms.hello?room=3", json.dumps({"room": 3, "who": "ada"})),
        ]


@pytest.mark.parametrize(
    "given", [[("message", "x")], ["x"], 7, [Event("x")], [("a", "b", "c")], [("x", object())]]
)
async def test_what_is_no_event_is_logged_and_left_out(
    site: Site, caplog: pytest.LogCaptureFixture, given: Any
) -> None:
    """The stream opens all the same; what the other functions give comes."""
    site.news.initial(lambda: given)
    async with open_stream(site.app, "/sse/news") as stream:
        await site.news.topic().publish("said", "next")
        assert await heard(stream, 2) == [("said", "old"), ("said", "next")]

    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert "initial function of channel 'news'" in record.getMessage()
