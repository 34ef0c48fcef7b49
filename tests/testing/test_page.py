"""A live page of a test: what it shows, what it waits for, and how it ends."""

import asyncio
import re
import time
from collections.abc import Callable

import pytest
from quart import Quart, render_template_string
from quart.testing import QuartClient

from quart_sse import SSE, LivePageError, SetupError, UnknownChannelError, UnknownFragmentError
from quart_sse.testing import LivePage, live
from tests.apps.tested import make_app

PAGE = "/discussion/7"


async def add(client: QuartClient, text: str, number: int = 7, **options: object) -> None:
    """Write a comment."""
    answer = await client.post(f"/discussion/{number}", form={"text": text}, **options)
    assert answer.status_code == 204


async def sign_in(client: QuartClient, name: str) -> None:
    """Let a user sign in."""
    await client.post("/sign-in", form={"name": name})


# -- fragments -----------------------------------------------------------------------------------


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


async def test_html_of_the_page_follows(client: QuartClient) -> None:
    """Before a change it is what the view has rendered; those inside others are put in place."""
    async with live(client, PAGE) as page:
        assert page.current("comments.count") == "0"
        assert page.response.status_code == 200
        before = page.html

        await add(client, "<b>")
        listed = await page.fragment("comments.list")

        assert "<li>&lt;b&gt;</li>" in listed
        assert page.current("comments.list") == listed
        assert page.current("comments.count") == "1"
        assert '<p data-sse="comments.count?discussion_id=7">1</p>' in listed
        assert page.html == before.replace("<ul></ul>", "<ul><li>&lt;b&gt;</li></ul>").replace(
            ">0</p>", ">1</p>"
        ).replace("None: 0", "None: 1")


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


async def test_refresh_without_a_change_is_none(client: QuartClient, sse: SSE) -> None:
    """The page looks as before."""
    async with live(client, "/two") as page:
        await page.event("comments.hello")
        await page.event("comments.hello")
        await sse.topic("comments", discussion_id=1).refresh()

        await page.nothing(0)


async def test_fragment_of_several_topics_is_named_by_parameters(client: QuartClient) -> None:
    """Without them the error says which there are."""
    async with live(client, "/two") as page:
        await add(client, "here", 2)

        assert "here" in await page.fragment("comments.list", discussion_id=2)
        assert "here" not in page.current("comments.list", discussion_id=1)
        with pytest.raises(LivePageError, match=r"several topics: .*discussion_id='1'"):
            await page.fragment("comments.list")
        with pytest.raises(LivePageError, match=r"does not show 'comments.list', discussion_id=3"):
            page.current("comments.list", discussion_id=3)


async def test_pushed_html_is_shown(client: QuartClient, sse: SSE) -> None:
    """A push is a change as any other; plain text is escaped."""
    async with live(client, PAGE) as page:
        await sse.topic("comments", discussion_id=7).push("count", "<3>")

        assert await page.fragment("comments.count") == "&lt;3&gt;"


@pytest.mark.parametrize("user", ["mira", "kip"])
async def test_personal_fragment_is_the_users(client: QuartClient, user: str) -> None:
    """It is fetched with the cookies of the client, as the script does."""
    await sign_in(client, user)
    async with live(client, PAGE) as page:
        assert page.current("comments.mine") == f"{user}: 0"
        await add(client, "one")

        assert await page.fragment("comments.mine") == f"{user}: 1"


async def test_personal_fragment_that_cannot_be_fetched_is_named(client: QuartClient) -> None:
    """The error says what the fetch was answered."""
    async with live(client, PAGE) as page:
        await add(client, "no mine")

        with pytest.raises(LivePageError, match="its fetch was answered 500"):
            await page.fragment("comments.mine", timeout=0.2)


# -- events --------------------------------------------------------------------------------------


async def test_events_are_taken_by_name_in_any_order(
    on_each_broker: tuple[Quart, SSE],
) -> None:
    """Each is given once, decoded as scripts have it; all of them stay in the list."""
    app, sse = on_each_broker
    client = QuartClient(app)
    topic = sse.topic("comments", discussion_id=7)
    async with live(client, PAGE) as page:
        for number, data in enumerate([{"a": 1}, "text", "42", None]):
            await topic.publish(f"e{number}", data)

        assert await page.event("comments.e3") is None
        assert await page.event("comments.e2") == "42"
        assert await page.event("comments.e1", discussion_id=7) == "text"
        assert await page.event("comments.e0") == {"a": 1}
        assert await page.event("comments.hello") == {"number": 7}
        names = [event.name for event in page.events]
        assert names == ["comments.hello", *(f"comments.e{number}" for number in range(4))]
        assert page.events[1].params == {"discussion_id": "7"}
        await page.nothing(0)


async def test_events_for_who_a_page_is(client: QuartClient, sse: SSE) -> None:
    """Of the user, of everyone, of a whole channel, of one connection, and by a filter."""
    await sign_in(client, "ada")
    async with live(client, PAGE) as page:
        await sse.user("ada").publish("saved", 1)
        await sse.user("kip").publish("saved", 2)
        await sse.everyone.publish("late", 3)
        await sse.channels["comments"].everyone.publish("closing", 4)
        await sse.topic("comments", discussion_id=7).publish("a", 5, where={"role": "admin"})
        await sse.topic("comments", discussion_id=7).publish("b", 6, where={"role": "none"})
        (connection,) = sse.connections
        await connection.send("note", 7)

        assert await page.event("user.saved") == 1
        assert await page.event("everyone.late") == 3
        assert await page.event("comments.closing") == 4
        assert await page.event("comments.a") == 5
        assert await page.event("connection.note") == 7
        await page.event("comments.hello")
        await page.nothing(0)


async def test_own_event_is_left_out(client: QuartClient) -> None:
    """A request with the page's headers is the page's own, for `to_others=True`."""
    async with live(client, PAGE) as page, live(client, PAGE) as other:
        await add(client, "mine", headers=page.headers)

        assert await other.event("comments.comment-added") == {"by": None}
        await page.fragment("comments.list")
        await page.fragment("comments.mine")
        await page.event("comments.hello")
        await page.nothing(0)


async def test_initial_events_come_once(client: QuartClient, sse: SSE) -> None:
    """As with the script, a page that comes back is no new page."""
    async with live(client, PAGE) as page:
        assert await page.event("comments.hello") == {"number": 7}
        await sse.recheck(sse.topic("comments", discussion_id=7))
        await page.settle()

        await page.nothing(0.1)


# -- nothing -------------------------------------------------------------------------------------


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


# -- errors --------------------------------------------------------------------------------------


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


@pytest.mark.parametrize(
    ("ask", "error"),
    [
        (lambda page: page.fragment("coments.list"), UnknownChannelError),
        (lambda page: page.fragment("comments.lst"), UnknownFragmentError),
        (lambda page: page.event("coments.added"), UnknownChannelError),
    ],
)
async def test_what_is_not_declared_is_an_error_at_once(
    client: QuartClient, ask: Callable[[LivePage], object], error: type[Exception]
) -> None:
    """Nobody waits for a misspelt name."""
    async with live(client, PAGE, timeout=30.0) as page:
        with pytest.raises(error):
            await ask(page)  # type: ignore[misc]


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


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/nowhere", "/nowhere is no page: it was answered 404 as text/html"),
        ("/away", "answered 302 and leads to /sign-in; is the client signed in"),
        ("/json", "answered 200 as application/json"),
        ("/dead", "/dead has no connect element, so it is not live"),
    ],
)
async def test_what_is_no_live_page_is_an_error(
    client: QuartClient, path: str, message: str
) -> None:
    """The error names the status, and what to do."""
    with pytest.raises(LivePageError, match=re.escape(message)):
        async with live(client, path):
            pass


async def test_app_without_the_extension_is_an_error() -> None:
    """As everywhere."""
    with pytest.raises(SetupError, match="not initialised"):
        async with live(Quart(__name__), "/"):
            pass


# -- how it ends ---------------------------------------------------------------------------------


async def test_closed_says_why(client: QuartClient, sse: SSE) -> None:
    """Nothing waits for a stream that has ended; the reasons are the protocol's."""
    async with live(client, PAGE) as page:
        assert page.closed is None
        await page.event("comments.hello")
        (connection,) = sse.connections
        await connection.close()

        assert await page.until_closed() == "closed"
        assert page.closed == "closed"
        for asked in (page.fragment("comments.list"), page.event("clock.x"), page.nothing(0)):
            with pytest.raises(LivePageError, match="is closed \\(closed\\)"):
                await asked


async def test_refused_page_is_closed_from_the_start(client: QuartClient) -> None:
    """It is no error, for that may be what is tested."""
    async with live(client, "/refused") as page:
        assert page.closed == "refused"


async def test_refused_topic_is_named(client: QuartClient) -> None:
    """The rest of the page goes on."""
    async with live(client, "/discussion/7") as page:
        await add(client, "hello")

        assert "hello" in await page.fragment("comments.list")
        assert page.refused == {"secrets"}
        with pytest.raises(LivePageError, match="The page was refused secrets"):
            await page.event("secrets.told", timeout=0.01)


async def test_page_that_must_be_judged_again_stays(client: QuartClient, sse: SSE) -> None:
    """A browser comes back within a second; the page of a test does at once, where it was."""
    topic = sse.topic("comments", discussion_id=7)
    async with live(client, PAGE) as page:
        await topic.publish("before")
        await page.event("comments.before")
        await sse.recheck(topic)
        await topic.publish("after")
        await add(client, "after")

        assert await page.event("comments.after") is None
        assert "after" in await page.fragment("comments.list")
        assert page.closed is None
        assert [event.name for event in page.events].count("comments.before") == 1


async def test_page_that_is_held_off_comes_back_when_asked(client: QuartClient, sse: SSE) -> None:
    """It is sent what it missed."""
    topic = sse.topic("comments", discussion_id=7)
    async with live(client, PAGE) as page:
        (connection,) = sse.connections
        await connection.close(retry=60.0)
        assert await page.until_closed() == "paused"
        await topic.publish("missed", 1)

        await page.reconnect()

        assert page.closed is None
        assert await page.event("comments.missed") == 1


async def test_reset_is_an_event(sse: SSE, app: Quart) -> None:
    """A page that missed more than is kept is told so."""
    small = sse.channel("small", "/small", public=True, history=1)
    small.fragment("a")(lambda: "a")

    @app.get("/small")
    async def page() -> str:
        return await render_template_string(
            '{% from "quart_sse/macros.html" import sse_live %}{{ sse_live("small.a") }}'
        )

    async with live(app, "/small") as opened:
        (connection,) = sse.connections
        await connection.close(retry=60.0)
        await opened.until_closed()
        for number in range(3):
            await small.topic().publish("e", number)
        await opened.reconnect()

        assert await opened.event("sse-reset") == ["small"]


async def test_end_of_the_block_ends_the_connection(client: QuartClient, sse: SSE) -> None:
    """The app has noticed it when the block is over, and hooks have run soon after."""
    async with live(client, "/apart") as watching:
        async with live(client, PAGE) as page:
            assert len(sse.connections) == 2
        assert len(sse.connections) == 1
        assert page.closed == "left"

        assert await watching.event("clock.left") is None


async def test_error_in_the_block_is_the_one_that_is_raised(client: QuartClient, sse: SSE) -> None:
    """And the page is left all the same."""
    with pytest.raises(ZeroDivisionError):
        async with live(client, PAGE):
            _ = 1 / 0

    assert len(sse.connections) == 0


async def test_app_that_stops_ends_the_page(app: Quart) -> None:
    """It does not come back, which would start the app again."""
    async with app.test_app() as served:
        async with live(served, PAGE) as page:
            pass
        assert page.closed == "left"
    client = app.test_client()
    async with app.test_app():
        page_of = live(client, PAGE)
        page = await page_of.__aenter__()
    assert page.closed == "shutdown"
    await page_of.__aexit__(None, None, None)


async def test_endless_background_task_does_not_hold_up_the_end(app: Quart) -> None:
    """Quart waits five seconds for the app's background tasks; a value of the app's own stays."""
    key = "BACKGROUND_TASK_SHUTDOWN_TIMEOUT"

    @app.before_serving
    async def begin() -> None:
        app.add_background_task(asyncio.Event().wait)

    began = time.monotonic()
    async with app.test_app() as served, live(served, PAGE):
        pass
    assert time.monotonic() - began < 4.5

    own, _ = make_app(**{key: 3})
    async with live(own, PAGE):
        assert own.config[key] == 3


async def test_each_loop_serves_the_same_app(app: Quart) -> None:
    """As with a loop for each test; nothing of one is left in the next."""
    client = QuartClient(app)

    async def test(text: str) -> None:
        async with live(client, PAGE) as page:
            await add(client, text)
            assert text in await page.fragment("comments.list")

    for text in ("one", "two", "three"):
        await asyncio.to_thread(asyncio.run, test(text))


@pytest.mark.parametrize("htmx", [2, 4])
async def test_elements_of_both_versions_of_htmx(htmx: int) -> None:
    """Several connect elements of a page share one stream, as in a browser."""
    app, sse = make_app(QUART_SSE_HTMX=htmx)
    client = QuartClient(app)
    async with live(client, "/apart") as page:
        assert len(sse.connections) == 1
        await add(client, "both", 1)
        await sse.topic("clock").push("now", "one")

        assert "both" in await page.fragment("comments.list")
        assert await page.fragment("clock.now") == "one"


async def test_pages_below_a_root_path(sse: SSE, app: Quart) -> None:
    """The options are for all requests of the page."""
    client = QuartClient(app)
    async with live(client, "/app/discussion/7", root_path="/app") as page:
        await add(client, "below")

        assert "below" in await page.fragment("comments.list")
        assert (await page.fragment("comments.mine")) == "None: 1"
