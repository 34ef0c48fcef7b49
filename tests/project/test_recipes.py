"""docs/recipes.md: each app runs as printed, shows its page, and sends what changes."""

import asyncio
import json
import re
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, expect
from quart import Quart
from quart.testing import QuartClient

from quart_sse.testing import live
from tests.support.browsers import OPEN, visit
from tests.support.documents import RECIPES, ROOT, blocks, run_whole
from tests.support.redis_server import running_redis
from tests.support.servers import serve
from tests.support.streams import Stream, client_of, connect_urls, open_stream

HEADINGS = [block.heading for block in blocks(RECIPES, "python", whole=True)]


@asynccontextmanager
async def served(heading: str) -> AsyncIterator[dict[str, Any]]:
    """Run the app of a recipe; yields its names."""
    namespace = await run_whole(RECIPES, heading)
    async with namespace["app"].test_app():
        yield namespace


@asynccontextmanager
async def look_at(
    app: Quart, path: str, client: QuartClient | None = None
) -> AsyncIterator[tuple[str, Stream]]:
    """Open a page and its stream, as a browser does; yields the page's HTML and the stream."""
    browser = client_of(app) if client is None else client
    page = await (await browser.get(path)).get_data(as_text=True)
    (url,) = connect_urls(page)
    async with open_stream(browser, url) as stream:
        yield page, stream


async def signed_in(app: Quart, name: str) -> QuartClient:
    """Return the browser of a user who has signed in by the form."""
    client = client_of(app)
    assert (await client.post("/login", form={"user": name})).status_code == 302
    return client


def test_every_recipe_is_tried_here() -> None:
    """A recipe without a test may be wrong."""
    assert [
        *("Chat", "Who is here", "A list that grows", "A log and a table of orders", "Dashboard"),
        *("Admin page", "Login gate"),
        "Kicked page to login",
        *("Sync views and threads", "Flask beside Quart", "Rate limits"),
        "Notifications with a badge",
        *("Progress", "Log tail"),
    ] == HEADINGS


async def test_chat_shows_what_others_say() -> None:
    """A message reaches the other page of its room, and the room knows who is there."""
    async with served("Chat") as names, look_at(names["app"], "/lobby") as (page, stream):
        assert "<h1>lobby</h1>" in page
        answer = (
            await names["app"].test_client().post("/lobby", form={"name": "Mira", "text": "<Hi>"})
        )

        assert answer.status_code == 204
        received = ""
        while "Mira" not in received or "1 person here" not in received:
            received += (await stream.next("message")).data
        assert "<b>Mira</b> &lt;Hi&gt;" in received


async def test_room_shows_who_is_here() -> None:
    """By name, and to all; what else is known of a connection goes to no page."""
    async with served("Who is here") as names:
        app = names["app"]
        app.config["QUART_SSE_PRESENCE_LINGER"] = 0
        ada, bob = client_of(app), client_of(app)
        await ada.post("/", form={"name": "Ada"})
        await bob.post("/", form={"name": "Bob <b>"})
        async with look_at(app, "/", ada) as (page, stream):
            assert "1 person here" in page
            received = ""
            async with look_at(app, "/", bob):
                while "<li>Bob &lt;b&gt;</li>" not in received:
                    received = (await stream.next("message")).data
            assert "2 people here" in received
            assert "<li>Ada</li>" in received
            event = await stream.next("room.left")
            assert json.loads(event.data) == {"name": "Bob <b>"}


async def test_log_and_orders_are_sent_item_by_item() -> None:
    """A new order, its line in the log, its new state, and its end."""
    async with served("A log and a table of orders") as names:
        client = names["app"].test_client()
        async with live(client, "/") as page:
            await client.post("/orders", form={"what": "<Tea>"})
            row = await page.item("shop.orders", 1)
            assert row is not None
            assert "&lt;Tea&gt;" in row
            line = await page.item("shop.log", 0)
            assert line is not None
            assert "was ordered" in line
            await client.post("/orders/1", form={"state": "sent"})
            assert "<td>sent</td>" in str(await page.item("shop.orders", 1))
            await client.post("/orders/1", form={"state": "gone"})
            assert await page.item("shop.orders", 1) is None


async def test_list_that_grows_marks_what_it_shows() -> None:
    """A line that is listed and sent again is recognized; on paper the page connects nothing."""
    async with served("A list that grows") as names:
        app: Quart = names["app"]
        client = client_of(app)
        await client.post("/", form={"text": "<first>"})
        async with look_at(app, "/", client) as (page, stream):
            await client.post("/", form={"text": "second"})
            event = await stream.next("journal.written")
        paper = await (await client.get("/?print=1")).get_data(as_text=True)
        answer = await (await client.get("/api")).get_json()
        await client.post("/", form={"text": "third"})
        async with open_stream(client, answer["stream"]) as stream:
            third = await stream.next("journal.written")

    assert '<li data-sse-seen="journal.written id 1">&lt;first&gt;</li>' in page
    assert json.loads(event.data) == {"id": 2, "text": "second"}
    assert not connect_urls(paper)
    assert "data-sse-off" in paper
    assert [line["id"] for line in answer["lines"]] == [1, 2]
    assert json.loads(third.data)["id"] == 3


@pytest.mark.browser
async def test_list_that_grows_in_a_browser(browser: Browser, tmp_path: Path) -> None:
    """Each window has each line once."""
    (block,) = (
        each
        for each in blocks(RECIPES, "python", whole=True)
        if each.heading == "A list that grows"
    )
    (tmp_path / "app.py").write_text(block.code, "utf-8")
    command = ("-m", "hypercorn", "app:app", "-b")
    async with (
        serve(
            lambda port: (*command, f"127.0.0.1:{port}"),
            {"PYTHONPATH": f"{tmp_path}:{ROOT}"},
            folder=tmp_path,
        ) as server,
        visit(browser, server, until=OPEN) as one,
        visit(browser, server) as other,
    ):
        for text in ("first", "second"):
            await one.fill("input", text)
            await one.click("button")
            await one.wait_for_function(OPEN)

        await expect(one.locator("li")).to_have_text(["first", "second"])
        await expect(other.locator("li")).to_have_text(["first", "second"])


async def test_dashboard_counts_orders_and_time() -> None:
    """An order is counted at once, and the clock goes on without one."""
    async with served("Dashboard") as names, look_at(names["app"], "/") as (page, stream):
        assert "<dt>Orders</dt><dd>0</dd>" in page
        await names["app"].test_client().post("/sold")
        assert "<dt>Orders</dt><dd>1</dd>" in (await stream.next("message")).data
        assert "<dt>Orders</dt><dd>1</dd>" in (await stream.next("message")).data


async def test_admin_page_is_for_admins_while_they_are() -> None:
    """Admins see an order go; who is dismissed has the stream ended, and gets no other."""
    async with served("Admin page") as names:
        app = names["app"]
        ada, bob = client_of(app), client_of(app)
        await ada.get("/login/ada")
        await bob.get("/login/bob")
        assert (await app.test_client().get("/")).status_code == 403
        async with look_at(app, "/", bob) as (page, stream):
            (url,) = connect_urls(page)
            assert "Cake" in page
            await ada.post("/ship/2")
            assert "Cake" not in (await stream.next("message")).data
            await ada.post("/dismiss/bob")
            assert (await stream.next("sse-holdoff")).data == "recheck"
        async with open_stream(bob, url) as again:
            assert (await again.next("sse-stop")).data == "refused"
        async with look_at(app, "/", ada) as (_, stream):
            assert await stream.next("sse-open")


async def test_login_gate_lets_streams_through_and_ends_them() -> None:
    """The gate is for pages; a letter reaches its reader alone, until that one signs out."""
    async with served("Login gate") as names:
        app = names["app"]
        turned_away = await app.test_client().get("/")
        assert (turned_away.status_code, turned_away.location) == (302, "/login")
        mira, kip = await signed_in(app, "mira"), await signed_in(app, "kip")
        async with look_at(app, "/", mira) as (page, stream):
            assert "Inbox of mira" in page
            await kip.post("/send", form={"to": "mira", "text": "Hello"})
            assert "<li>kip: Hello</li>" in (await stream.next("message")).data
            await mira.post("/logout")
            assert (await stream.next("sse-holdoff")).data == "disconnect"
        async with open_stream(app, "/sse/inbox/mira") as stream:
            assert (await stream.next("sse-stop")).data == "refused"


async def test_kicked_user_has_no_stream() -> None:
    """The room is live until its user is kicked; then the page's token is good no more."""
    async with served("Kicked page to login") as names:
        app = names["app"]
        mira, kip = await signed_in(app, "mira"), await signed_in(app, "kip")
        async with look_at(app, "/", kip) as (page, stream):
            (url,) = connect_urls(page)
            await mira.post("/say", form={"text": "Good bye"})
            assert "<li>Good bye</li>" in (await stream.next("message")).data
            await mira.post("/kick", form={"user": "kip"})
            assert (await stream.next("sse-holdoff")).data == "disconnect"
        async with open_stream(kip, url) as again:
            assert (await again.next("sse-stop")).data == "refused"
        assert (await kip.get("/")).location == "/login"


async def test_sync_views_and_threads_change_the_page() -> None:
    """What a plain function and a thread have changed is shown, to the last item."""
    async with served("Sync views and threads") as names:
        client = names["app"].test_client()
        async with look_at(names["app"], "/", client) as (page, stream):
            assert "<li>apples: 20</li>" in page
            await client.post("/sell")
            assert "<li>apples: 19</li>" in (await stream.next("message")).data
            await client.post("/deliver")
            html = ""
            while "<li>pears: 30</li>" not in html:
                html = (await stream.next("message")).data
            for thread in [each for each in threading.enumerate() if "unload" in each.name]:
                await asyncio.to_thread(thread.join)


async def test_orders_of_a_flask_app_appear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They share a Redis and a database."""
    monkeypatch.chdir(tmp_path)
    async with running_redis(tmp_path) as redis:
        monkeypatch.setenv("QUART_SSE_BROKER_URL", redis.url)
        async with served("Flask beside Quart") as names:
            await names["app"].extensions["quart_sse"].control.processes.announce()
            async with look_at(names["app"], "/") as (page, stream):
                assert "<ol></ol>" in page
                flask = names["shop"].test_client()
                answer = await asyncio.to_thread(flask.post, "/orders/<cake>")
                assert answer.text == "Thank you."
                assert "<li>&lt;cake&gt;</li>" in (await stream.next("message")).data
            names["publisher"].close()


async def test_notice_is_a_toast_and_an_unread_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Live, and for the user who was away; only the own ones can be marked as read."""
    monkeypatch.chdir(tmp_path)
    async with served("Notifications with a badge") as names:
        app = names["app"]
        mira, kip = await signed_in(app, "mira"), await signed_in(app, "kip")
        async with look_at(app, "/", mira) as (page, stream):
            assert "0 unread" in page
            await kip.post("/send", form={"user": "mira", "text": "<Hi>"})
            toast = json.loads((await stream.next("user.sse-notification")).data)
            assert (toast["id"], toast["message"]) == ("notice:1", "kip: <Hi>")
            assert "1 unread" in (await stream.next("message")).data
        async with look_at(app, "/", mira) as (page, stream):
            assert "<b>kip: &lt;Hi&gt;</b>" in page
            assert 'data-notification="{' in page
            await kip.post("/read/1")
            await mira.post("/read/1")
            assert "0 unread" in (await stream.next("message")).data
            assert "<b>" not in await (await mira.get("/")).get_data(as_text=True)
        names["db"].close()


@pytest.mark.packages
async def test_limited_streams_come_back_later() -> None:
    """Each connect counts once; over the limit a stream is held off, and others get a 429."""
    async with served("Rate limits") as names:
        app, client = names["app"], names["app"].test_client()
        began, connects = time.monotonic(), 1
        async with look_at(app, "/", client) as (page, stream):
            (url,) = connect_urls(page)
            assert "<p>Tea: 40</p>" in page
            for value in range(41, 46):
                await client.post("/raise")
                while f"<p>Tea: {value}</p>" not in (await stream.next("message")).data:
                    pass
            while True:
                async with open_stream(client, url) as other:
                    first = await other.next()
                    if first.event != "sse-open":
                        break
                connects += 1
            seconds = time.monotonic() - began
            plain = await client.get(url)
            async with open_stream(client, "/sse/prices") as program:
                opened = await program.next()
            await client.post("/raise")
            while "<p>Tea: 46</p>" not in (await stream.next("message")).data:
                pass

    assert 30 <= connects <= 30 + seconds / 2  # one more is allowed every two seconds
    assert (other.status, first.event, first.data) == (200, "sse-holdoff", "error")
    assert first.retry
    assert plain.status_code == 429
    assert 0 < int(plain.headers["Retry-After"]) <= 60
    assert opened.event == "sse-open"  # another endpoint is counted by itself


@pytest.mark.browser
@pytest.mark.timeout(90)
@pytest.mark.parametrize("htmx", [2, 4])
async def test_kicked_page_goes_to_the_login(browser: Browser, tmp_path: Path, htmx: int) -> None:
    """In a browser the kicked user's page becomes the login page; the other one stays."""
    (block,) = (
        block
        for block in blocks(RECIPES, "python", whole=True)
        if block.heading == "Kicked page to login"
    )
    (tmp_path / "kicked_app.py").write_text(block.code, "utf-8")
    command = [
        *("-m", "uvicorn", "--app-dir", str(tmp_path), "kicked_app:app", "--log-level", "warning"),
        *("--timeout-graceful-shutdown", "5", "--port"),
    ]
    signed_in = "() => document.querySelector('input[name=user]') !== null"
    async with (
        serve(lambda port: [*command, str(port)], {"QUART_SSE_HTMX": str(htmx)}) as server,
        visit(browser, server, "/login", signed_in) as mira,
        visit(browser, server, "/login", signed_in) as kip,
    ):
        for page, name in ((mira, "mira"), (kip, "kip")):
            await page.locator("input[name=user]").fill(name)
            await page.get_by_role("button", name="Sign in").click()
            await page.wait_for_function(OPEN)
        await mira.locator("input[name=user]").fill("kip")
        await mira.get_by_role("button", name="Kick").click()

        await expect(kip).to_have_url(re.compile(r"/login$"))
        await expect(kip.get_by_role("button", name="Sign in")).to_be_visible()
        await mira.locator("input[name=text]").fill("Still here")
        await mira.get_by_role("button", name="Say").click()
        await expect(mira.get_by_text("Still here")).to_be_visible()


async def test_progress() -> None:
    """The page opens the stream of the job, which says how far it is, and ends once."""
    async with served("Progress") as recipe:
        page = await (await client_of(recipe["app"]).get("/")).get_data(as_text=True)
        assert 'sse-stream="/build"' in page
        async with open_stream(recipe["app"], "/build") as stream:
            events = await stream.rest()

    bars = [event.data for event in events if event.event == "progress"]
    assert [re.findall(r'value="(\d)"', bar) for bar in bars] == [["0"], ["1"], ["2"], ["3"]]
    assert (events[-1].event, events[-1].data) == ("sse-stop", "done")


async def test_log_tail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines come as they are written, escaped; who was cut off misses none."""
    monkeypatch.chdir(tmp_path)
    async with served("Log tail") as recipe:
        log = recipe["LOG"]
        log.write_text("one\n<two>\nthr")
        async with open_stream(recipe["app"], "/tail") as stream:
            first = await stream.next("line")
            with log.open("a") as file:
                file.write("ee\n")
            second = await stream.next("line")
        async with open_stream(recipe["app"], "/tail", {"Last-Event-ID": first.id}) as stream:
            again = await stream.next("line")

    assert first.data == "<li>one</li><li>&lt;two&gt;</li>"
    assert second.data == again.data == "<li>three</li>"
