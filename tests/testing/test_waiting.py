"""What a test waits for: what was published, all of it, and nothing else."""

import asyncio

import pytest
from quart import Quart
from quart.testing import QuartClient

from quart_sse import SSE, LivePageError
from quart_sse.testing import live

PAGE = "/discussion/7"


async def add(client: QuartClient, text: str, number: int = 7, **options: object) -> None:
    """Write a comment."""
    answer = await client.post(f"/discussion/{number}", form={"text": text}, **options)
    assert answer.status_code == 204


async def test_change_reaches_the_page_without_a_wait_for_debounces(
    on_each_broker: tuple[Quart, SSE],
) -> None:
    """However long the debounce is, each change is there at once, on every broker."""
    app, _ = on_each_broker
    client = QuartClient(app)
    async with live(client, PAGE) as page:
        for text in ("one", "two", "three"):
            await add(client, text)

            # The debounce is a minute, after which the page would have given up.
            assert f"<li>{text}</li>" in await page.fragment("comments.list", timeout=30.0)


async def test_newest_version_counts(on_each_broker: tuple[Quart, SSE]) -> None:
    """All that was published before the call is in the HTML, so no test sees half of it."""
    app, _ = on_each_broker
    client = QuartClient(app)
    async with live(client, PAGE) as page:
        for number in range(10):
            await add(client, f"text {number}")

        assert "<li>text 9</li>" in await page.fragment("comments.list")
        await page.event("comments.hello")
        for _ in range(10):
            await page.event("comments.comment-added")
        await page.fragment("comments.mine")
        await page.nothing(0)


async def test_fragment_waits_for_what_comes_later(client: QuartClient) -> None:
    """It need not be published when the test begins to wait."""
    async with live(client, PAGE) as page:
        waiting = asyncio.ensure_future(page.fragment("comments.list"))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not waiting.done()

        await add(client, "late")

        assert "late" in await waiting


async def test_refresh_without_a_change_is_none(client: QuartClient, sse: SSE) -> None:
    """The page looks as before."""
    async with live(client, "/two") as page:
        await page.event("comments.hello")
        await page.event("comments.hello")
        await sse.topic("comments", discussion_id=1).refresh()

        await page.nothing(0)


async def test_inner_fragment_is_seen_with_the_outer_one(client: QuartClient) -> None:
    """What a test has seen as a part of another fragment is no news, and is asked for again."""
    async with live(client, PAGE) as page:
        await page.event("comments.hello")
        await add(client, "one")
        await page.fragment("comments.list")
        await page.fragment("comments.mine")
        await page.event("comments.comment-added")
        await page.nothing(0)

        await add(client, "two")

        assert await page.fragment("comments.count") == "2"


async def test_nothing_sees_what_came_before_and_what_comes(client: QuartClient, sse: SSE) -> None:
    """What the test has not taken is something, also if it came before the call."""
    topic = sse.topic("clock")
    async with live(client, "/apart") as page:
        await page.event("comments.hello")
        await page.nothing(0)
        await topic.publish("ticked", {"n": 1})
        with pytest.raises(LivePageError, match=r"event 'clock.ticked' with \{'n': 1\}"):
            await page.nothing(0)
        assert await page.event("clock.ticked") == {"n": 1}

        async def soon() -> None:
            await topic.push("now", "one o'clock")

        waiting = asyncio.ensure_future(page.nothing(30.0))
        await asyncio.gather(soon())
        with pytest.raises(LivePageError, match=r"a change of 'clock.now': one o&#39;clock"):
            await waiting


async def test_other_topics_are_nothing(client: QuartClient, sse: SSE) -> None:
    """Neither what the page does not show nor another user's is sent to it."""
    async with live(client, PAGE) as page:
        await page.event("comments.hello")
        await add(client, "elsewhere", 8)
        await sse.topic("secrets").publish("told")

        await page.nothing(0)


async def test_error_names_what_came_instead(client: QuartClient, sse: SSE) -> None:
    """A name that is wrong is seen by the one that is right."""
    async with live(client, PAGE) as page:
        await add(client, "hello")
        with pytest.raises(LivePageError) as caught:
            await page.event("comments.added", timeout=0.05)

    message = str(caught.value)
    assert message.startswith("No event 'comments.added' came within 0.05 s. There was ")
    assert "event 'comments.comment-added', discussion_id='7' with {'by': None}" in message
    assert "a change of 'comments.list?discussion_id=7': <ul><li>hello</li>" in message
    assert isinstance(caught.value, AssertionError)


async def test_failing_renderer_is_named(
    app: Quart, sse: SSE, caplog: pytest.LogCaptureFixture
) -> None:
    """The page keeps what it had, and the error says why."""
    async with live(app, "/apart") as page:
        app.config["BROKEN"] = True
        await sse.topic("clock").refresh()
        with pytest.raises(LivePageError, match="A renderer has failed; the log says why"):
            await page.fragment("clock.now", timeout=0.1)

    assert "Rendering fragment 'now' of topic" in caplog.text
