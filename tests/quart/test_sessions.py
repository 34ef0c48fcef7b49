"""Which answers send the cookie of the session: none that a page asks for by itself."""

import pytest
from quart import Quart, Response, session

from quart_sse import SSE
from quart_sse.channels.channel import Channel
from quart_sse.pages import STATIC
from tests.support.pages import loader_of, viewing
from tests.support.streams import SSE_ACCEPT, Stream, client_of

pytestmark = pytest.mark.usefixtures("rooms")


@pytest.fixture
def app() -> Quart:
    """An app whose sessions live long, and longer with each answer."""
    app = Quart(__name__)
    app.secret_key = "for tests only"

    @app.post("/sign-in")
    async def sign_in() -> str:
        session["who"] = "ada"
        session.permanent = True
        return ""

    @app.get("/other")
    async def other() -> str:
        return ""

    return app


def is_refreshed(answer: Response | Stream) -> bool:
    """Whether an answer has the session's cookie."""
    headers = answer.connection.headers if isinstance(answer, Stream) else answer.headers
    assert headers is not None
    return any(each.startswith("session=") for each in headers.getlist("set-cookie"))


async def test_view_of_the_app_refreshes_the_session(app: Quart) -> None:
    """As ever."""
    client = client_of(app, "ada")
    assert is_refreshed(await client.post("/sign-in"))
    assert is_refreshed(await client.get("/other"))


async def test_what_a_page_asks_for_by_itself_leaves_the_session(
    app: Quart, sse: SSE, rooms: Channel
) -> None:
    """Streams, also of the app's own views, refusals, personal fragments and scripts."""

    @app.get("/own")
    async def own() -> Response:
        return await sse.stream(iter(["done"]))

    client = client_of(app, "ada")
    await client.post("/sign-in")

    async with viewing(client) as stream:
        await rooms.topic(room=7).refresh("mine")
        mine = str(loader_of(await stream.next("message"))["hx-get"])
        assert not is_refreshed(stream)
    for path in (mine, "/own", "/sse/rooms/7", f"/sse/~static/{next(iter(STATIC))}"):
        answer = await client.get(path, headers=SSE_ACCEPT)
        assert not is_refreshed(answer), path


async def test_change_of_the_session_is_sent(app: Quart) -> None:
    """By whatever function of the app, for whatever answer."""

    @app.after_request
    async def count(response: Response) -> Response:
        session["requests"] = session.get("requests", 0) + 1
        return response

    client = client_of(app, "ada")
    async with viewing(client) as stream:
        assert is_refreshed(stream)
    assert is_refreshed(await client.get("/sse/rooms/7", headers=SSE_ACCEPT))
