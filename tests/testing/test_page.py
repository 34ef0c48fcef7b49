"""A live page of a test: what it shows, what it waits for, and how it ends."""

from collections.abc import Callable

import pytest
from quart import Quart, render_template_string
from quart.testing import QuartClient

from quart_sse import SSE, LivePageError, UnknownChannelError, UnknownFragmentError
from quart_sse.testing import LivePage, live

PAGE = "/discussion/7"


async def add(client: QuartClient, text: str, number: int = 7, **options: object) -> None:
    """Write a comment."""
    answer = await client.post(f"/discussion/{number}", form={"text": text}, **options)
    assert answer.status_code == 204


async def sign_in(client: QuartClient, name: str) -> None:
    """Let a user sign in."""
    await client.post("/sign-in", form={"name": name})


# -- fragments -----------------------------------------------------------------------------------


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


async def test_notifications_are_taken_in_their_order(client: QuartClient, sse: SSE) -> None:
    """Of whichever target; one that does not come is named, and one that was not asked for."""
    await sign_in(client, "mira")
    async with live(client, PAGE) as page:
        await sse.topic("comments", discussion_id=7).notify("One")
        await sse.everyone.publish("late")
        await sse.user("mira").notify("Two", level="error", title="Oh", data={"a": 1})

        assert (await page.notification()).message == "One"
        two = await page.notification()
        assert (two.message, two.level, two.title, two.data) == ("Two", "error", "Oh", {"a": 1})
        with pytest.raises(LivePageError, match=r"No notification came within 0 s.*late"):
            await page.notification(timeout=0)
        await page.event("everyone.late")
        await sse.everyone.notify("Three")
        with pytest.raises(LivePageError, match="Three"):
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
