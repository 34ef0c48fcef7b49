"""What comes over a stream is put into the page as quart-sse.js does."""

from collections.abc import AsyncIterator

import pytest
from quart import Quart, request
from quart.testing import QuartClient

from quart_sse.testing.document import Document
from quart_sse.testing.listening import Listener, ReceivedEvent

PAGE = '<i data-sse="clock.now">noon</i><div sse-connect="/sse?t=clock%3A&k=a&since=0"></div>'


@pytest.fixture
async def listener(app: Quart) -> AsyncIterator[Listener]:
    """A page whose stream is refused, so that a test alone gives it blocks."""
    made = Listener(QuartClient(app), Document(PAGE), {"headers": {"X-From": "here"}})
    await made.until_changed(20)
    made.closed = None
    made._take({"event": "sse-open", "data": '{"secret": "p.s", "names": [["clock"]]}'})
    yield made
    await made.stop()


async def test_event_is_decoded_once(listener: Listener) -> None:
    """A second copy is dropped: of the same id, or of the same name if it has none."""
    for id in ("e.5-0", "e.5-0~e.4-0"):
        listener._take({"event": "clock.a", "data": "[1]", "id": id})
    for once in ("x", "x", "y"):
        listener._take({"event": "clock.b", "data": "2", "type": "text", "once": once})

    assert listener.unseen == listener.events
    assert listener.events == [
        ReceivedEvent("clock.a", {}, [1]),
        ReceivedEvent("clock.b", {}, "2"),
        ReceivedEvent("clock.b", {}, "2"),
    ]


async def test_what_is_refused_and_renewed_is_noted(listener: Listener) -> None:
    """A new token is for the next stream; what is refused is named to the test."""
    refused = '{"tokens": [], "topics": ["rooms"], "fragments": ["clock.mine"]}'
    listener._take({"event": "sse-refused", "data": refused})
    listener._take({"token": "a new e.1-0 0", "data": "<hx-partial>"})

    assert listener.refused == {"rooms", "clock.mine"}
    assert "t=new" in listener.shares.url


@pytest.mark.parametrize("event", ["sse-stop", "sse-holdoff"])
async def test_farewell_says_how_the_stream_ends(listener: Listener, event: str) -> None:
    """Its id is no position."""
    before = listener.position

    assert listener._take({"event": event, "data": "evicted", "id": "stop"}) == "evicted"
    assert listener.position == before


async def test_personal_fragment_is_fetched_again_if_it_changes_meanwhile(
    app: Quart, listener: Listener
) -> None:
    """And shared HTML that came during the fetch is put in place again, for it may be newer."""
    fetched: list[str] = []

    @app.get("/mine")
    async def mine() -> str:
        fetched.append(request.headers["HX-Request"] + request.headers["X-From"])
        if len(fetched) == 1:
            listener._take({"key": "clock.now", "load": "0 /mine", "data": "<hx-partial>"})
        return f"fetched {len(fetched)}"

    listener._take({"key": "clock.now", "load": "5 /mine", "data": "<hx-partial>"})
    assert listener.is_fetching
    while listener.is_fetching:
        await listener.until_changed(20)

    assert fetched == ["truehere", "truehere"]
    assert listener.document.inner("clock.now") == "fetched 2"


async def test_error_of_the_app_is_kept(app: Quart) -> None:
    """The test is told of it, in an app that hands errors on."""
    app.config["PROPAGATE_EXCEPTIONS"] = True

    @app.before_request
    async def fail() -> None:
        raise ZeroDivisionError

    listener = Listener(QuartClient(app), Document(PAGE), {})
    await listener.until_changed(20)

    assert listener.closed == "error"
    assert isinstance(listener.error, ZeroDivisionError)
    await listener.stop()


async def test_cookie_of_the_stream_is_the_browsers(app: Quart) -> None:
    """So that the app knows it again, as for `sse.logout()`."""
    client = QuartClient(app)
    page = await (await client.get("/apart")).get_data(as_text=True)
    listener = Listener(client, Document(page), {})
    while not (listener.is_open or listener.closed):
        await listener.until_changed(20)

    assert listener.closed is None
    assert client.cookie_jar is not None
    assert [cookie.name for cookie in client.cookie_jar] == ["sse_browser"]
    await listener.stop()
