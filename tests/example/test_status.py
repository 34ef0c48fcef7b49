"""The example's status page: figures, rates and messages, and what programs read."""

from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from quart import Quart
from quart.testing import QuartClient

from example.app import create_app
from example.status import SAMPLES, curves
from quart_sse import Stats
from quart_sse.testing import live


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[Quart]:
    """The forum, served."""
    app = create_app(tmp_path / "forum.sqlite3", {"QUART_SSE_BROKER_URL": "memory://"})
    async with app.test_app():
        yield app


async def test_page_shows_figures_that_move(app: Quart) -> None:
    """A comment that is written appears among the messages, and in the rates."""
    client = QuartClient(app)
    async with live(client, "/status") as page:
        assert "No events are kept." in page.html
        assert "of 1 process" in page.html

        await client.post("/discussion/1/comments", form={"text": "Hello"})
        html = await page.fragment("status.messages", timeout=20)
        assert "comment-added" in html
        assert "a guest" in html


async def test_events_of_the_moderators_room_are_not_shown(app: Quart) -> None:
    """The page is public."""
    client = QuartClient(app)
    await client.post("/sign-in", form={"nickname": "tobi"})
    rooms = await app.extensions["forum_store"].summaries()
    (room,) = [each for each in rooms if each.moderators_only]
    answer = await client.post(f"/discussion/{room.id}/comments", form={"text": "Secret"})
    assert answer.status_code == 303

    text = await (await client.get("/status")).get_data(as_text=True)

    assert "No events are kept." in text


async def test_metrics_are_told_to_prometheus(app: Quart) -> None:
    """With those of the Python process."""
    answer = await QuartClient(app).get("/metrics")

    text = await answer.get_data(as_text=True)
    assert answer.content_type.startswith("text/plain")
    assert "quart_sse_connections 0.0" in text
    assert "python_info" in text


async def test_figures_are_for_moderators(app: Quart) -> None:
    """They name identities."""
    client = QuartClient(app)
    assert (await client.get("/sse/~stats")).status_code == 403
    await client.post("/sign-in", form={"nickname": "tobi"})

    answer = await client.get("/sse/~stats")

    assert (answer.status_code, (await answer.get_json())["healthy"]) == (200, True)


async def test_inspector_is_for_moderators(app: Quart) -> None:
    """Behind the sign-in of the forum; others are shown no way there."""
    client = QuartClient(app)
    assert (await client.get("/sse/~inspector")).status_code == 403
    assert "inspector" not in await (await client.get("/status")).get_data(as_text=True)
    await client.post("/sign-in", form={"nickname": "mira"})
    assert (await client.get("/sse/~inspector")).status_code == 403
    await client.post("/sign-in", form={"nickname": "tobi"})

    assert 'href="/sse/~inspector"' in await (await client.get("/status")).get_data(as_text=True)
    async with live(client, "/sse/~inspector/topics") as page:
        assert "comments" in page.html
        await client.get("/discussion/1")
    answer = await client.get("/sse/~inspector")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_curves_show_changes_per_second() -> None:
    """Of a process that has gone no change is below zero."""
    samples = deque(
        (2.0 * number, Stats(delivered=count, written=1024 * count))
        for number, count in enumerate((0, 10, 40, 0, 2))
    )

    delivered, written = curves(samples)

    assert [bar.value for bar in delivered.bars] == [5, 15, 1]
    assert [bar.value for bar in written.bars] == [5, 15, 1]
    assert delivered.newest == 1
    assert delivered.bars[-1].x + delivered.bars[-1].width < 100
    assert all(bar.y >= 14 for bar in delivered.bars)
    assert curves(deque(maxlen=SAMPLES))[0].bars == []
