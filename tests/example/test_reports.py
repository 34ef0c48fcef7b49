"""The example's reports: the log of the worker, a stream that each page has to itself."""

from pathlib import Path

import pytest
from playwright.async_api import Browser, expect
from quart import Quart

from example.app import create_app
from example.jobs import Jobs
from example.store import Store
from tests.support.browsers import serve_forum, visit
from tests.support.streams import open_stream


@pytest.fixture
def app(tmp_path: Path) -> Quart:
    """The forum, with a database that no worker looks into."""
    return create_app(tmp_path / "forum.sqlite3", {"QUART_SSE_BROKER_URL": "redis://127.0.0.1:1"})


async def test_log_sends_each_line_once(app: Quart, tmp_path: Path) -> None:
    """Those of before, those that come, and after a cut those that are missing; escaped."""
    jobs = Jobs(Store(tmp_path / "forum.sqlite3"))
    await jobs.ask("mira")
    job = await jobs.claim("a worker", 60)
    assert job is not None
    await jobs.save(job, "a worker", 0, "<b>one</b>", 60)

    async with open_stream(app, "/reports/log") as stream:
        first = await stream.next("line")
        await jobs.save(job, "a worker", 1, "two", 60)
        second = await stream.next("line")
    async with open_stream(app, "/reports/log", {"Last-Event-ID": first.id}) as stream:
        again = await stream.next("line")

    assert first.data == "<li><b>Counting discussions.</b> &lt;b&gt;one&lt;/b&gt;</li>"
    assert second.data == again.data
    assert second.data.endswith("two</li>")


@pytest.mark.browser
@pytest.mark.timeout(120)
@pytest.mark.parametrize("htmx", [2, 4], ids=["htmx2", "htmx4"])
async def test_page_shows_the_log(browser: Browser, tmp_path: Path, htmx: int) -> None:
    """Every line of the report that is built, in its order and once."""
    async with (
        serve_forum(htmx, tmp_path) as server,
        visit(browser, server, "/reports") as page,
    ):
        await page.locator("#build").click()
        lines = page.locator("#log li")
        await expect(lines).to_have_count(10, timeout=60_000)
        await expect(page.locator("#report")).to_contain_class("is-done")
        assert (await lines.first.text_content() or "").startswith("Counting discussions.")
        await expect(page.locator("#log li", has_text="Looking at the board")).to_have_count(1)
