"""The response that is a stream: its headers, its first bytes, and the one a view returns."""

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any, Literal

import pytest
from quart import Quart, Response, request
from quart.testing import QuartClient

from quart_sse import SSE, AnswerError, Event, ParameterError
from tests.support import settings
from tests.support.streams import SSE_ACCEPT, open_stream


@pytest.fixture
def sse(app: Quart) -> SSE:
    """An extension with public channels, one that is not, and views with streams of their own."""
    sse = SSE(app)
    sse.channel("news", "/news", public=True)
    sse.channel("rooms", "/rooms/<int:room>", public=True)
    inner = sse.channel("inner", "/inner")
    inner.fragment("list", debounce=0)(lambda: "<b>list</b>")
    inner.fragment("mine", personal=True)(lambda: "mine")

    @app.get("/one")
    async def one() -> Response:
        return await sse.stream(sse.topic("inner"))

    @app.get("/several")
    async def several() -> Response:
        return await sse.stream(sse.topic("inner"), sse.topic("rooms", room=7))

    return sse


ALL = ["/sse/news", "/sse?t=~news", "/sse?topic=news", "/one", "/several"]


# -- every stream ----------------------------------------------------------------------------------


@pytest.mark.parametrize("url", [*ALL, "/sse/inner", "/sse?t=nonsense"])
@pytest.mark.usefixtures("sse")
async def test_stream_has_the_headers_of_one(app: Quart, url: str) -> None:
    """No cache keeps it, no proxy holds it back or changes it, refused or not."""
    async with open_stream(app, url) as stream:
        headers = dict(stream.headers)

    headers.pop("set-cookie", None)
    headers.pop("vary", None)
    assert stream.status == 200
    assert headers == {
        "content-type": "text/event-stream; charset=utf-8",
        "cache-control": "no-store, no-transform",
        "x-accel-buffering": "no",
        "x-content-type-options": "nosniff",
    }


@pytest.mark.parametrize("url", ALL)
@pytest.mark.usefixtures("sse")
async def test_first_bytes_come_at_once(app: Quart, url: str) -> None:
    """A stream begins with bytes that dispatch nothing, so that headers leave every proxy."""
    async with QuartClient(app).request(url, headers=SSE_ACCEPT) as connection:
        await connection.send_complete()
        first = await connection.receive()
        second = await connection.receive()
        await connection.disconnect()

    assert first == b"retry: 3000\n:\n\n"
    assert second.startswith(b"retry: 3000\nevent: sse-open\n")


@pytest.mark.parametrize(
    ("url", "retry_ms"),
    [
        ("/sse/rooms/1", 1500),
        ("/own", 1500),
        ("/both", 1500),
        ("/sse/news", 2000),
        ("/sse?t=~rooms?room=1", 2000),
        ("/sse?t=~rooms?room=1+news", 2000),
    ],
)
async def test_stream_says_when_to_reconnect(url: str, retry_ms: int) -> None:
    """In its first block, and in ``sse-open`` for htmx 4, which ignores ``retry:`` alone."""
    app, _ = settings.make_app({"retry": 1.5}, QUART_SSE_RETRY=2)

    async with QuartClient(app).request(url, headers=SSE_ACCEPT) as connection:
        await connection.send_complete()
        first = await connection.receive()
        second = await connection.receive()
        await connection.disconnect()

    assert first == f"retry: {retry_ms}\n:\n\n".encode()
    assert second.startswith(f"retry: {retry_ms}\nevent: sse-open\n".encode())


@pytest.mark.parametrize("url", ["/sse/closed", "/sse?t=~nothing", "/sse"])
async def test_refusal_has_a_delay_of_its_own(app: Quart, sse: SSE, url: str) -> None:
    """A stream that is none says nothing of when to reconnect after a cut."""
    sse.channel("closed", "/closed", retry=1)

    answer = await QuartClient(app).get(url, headers=SSE_ACCEPT)

    assert (await answer.get_data(as_text=True)).count("retry: ") == 1


@pytest.mark.parametrize(
    "url",
    [*ALL, "/sse/inner", "/sse?t=nonsense", "/sse?t=~nothing", "/sse"],
)
async def test_head_gets_headers_and_no_stream(app: Quart, sse: SSE, url: str) -> None:
    """HEAD is answered at once and registers nothing."""
    async with asyncio.timeout(5):
        answer = await QuartClient(app).head(url, headers=SSE_ACCEPT)

    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store, no-transform"
    assert await answer.get_data(as_text=False) == b""
    assert (await sse.topic("news").publish("said")).local_receivers == 0


@pytest.mark.parametrize("url", ALL)
@pytest.mark.usefixtures("sse")
async def test_other_methods_are_not_allowed(app: Quart, url: str) -> None:
    """Streams are read; posting to one is an error."""
    answer = await QuartClient(app).post(url, headers=SSE_ACCEPT)

    assert answer.status_code == 405


async def test_stream_outlives_the_response_timeout(app: Quart) -> None:
    """Quart's time limit for responses does not count for streams."""
    app.config["RESPONSE_TIMEOUT"] = 0.01
    clock = SSE(app).channel("clock", "/clock", public=True)
    clock.fragment("face", every=0.02, debounce=0)(lambda: "tick")

    async with open_stream(app, "/sse/clock") as stream:
        ticks = [(await stream.next("message")).data for _ in range(3)]

    assert all("tick" in tick for tick in ticks)


@pytest.mark.parametrize("url", ALL)
async def test_client_that_leaves_is_forgotten(app: Quart, sse: SSE, url: str) -> None:
    """Nothing stays of a stream whose client has gone."""
    connections = app.extensions["quart_sse"].connections
    async with open_stream(app, url):
        open_ones = len(connections)

    assert open_ones == 1
    assert not connections
    assert (await sse.topic("news").publish("said")).local_receivers == 0


async def test_response_that_is_never_sent_registers_nothing(app: Quart, sse: SSE) -> None:
    """A stream that another function replaces with its own answer leaves nothing behind."""

    @app.after_request
    async def replace(response: Response) -> Response:
        return Response("instead") if request.path == "/one" else response

    answer = await QuartClient(app).get("/one", headers=SSE_ACCEPT)

    assert await answer.get_data(as_text=True) == "instead"
    assert (await sse.topic("inner").publish("said")).local_receivers == 0


# -- a view's own stream ---------------------------------------------------------------------------


async def test_view_s_stream_of_one_topic_has_bare_names(app: Quart, sse: SSE) -> None:
    """The view decided who may listen, so a channel that is not public needs nothing else."""
    async with open_stream(app, "/one") as stream:
        published = await sse.topic("inner").publish("said", {"a": 1})
        said = await stream.next("said")

    assert json.loads(said.data) == {"a": 1}
    assert published.local_receivers == 1


async def test_view_s_stream_of_several_topics_has_full_names(app: Quart, sse: SSE) -> None:
    """Events of several topics say which one they are of."""
    async with open_stream(app, "/several") as stream:
        await stream.next("sse-open")
        await sse.topic("inner").publish("said", "x")
        await sse.topic("rooms", room=8).publish("said", "not here")
        await sse.topic("rooms", room=7).publish("said", "y")
        events = [await stream.next() for _ in range(2)]

    assert [(event.event, event.data) for event in events] == [
        ("inner.said", "x"),
        ("rooms.said?room=7", "y"),
    ]


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize(
    ("names", "expected"), [("full", "rooms.said?room=7"), ("bare", "said")], ids=str
)
async def test_view_says_which_names_events_have(
    app: Quart, sse: SSE, names: Literal["full", "bare"], expected: str, number: int
) -> None:
    """A client hears the same names however many topics it has asked for."""
    topics = [sse.topic("rooms", room=room) for room in (7, 8)[:number]]
    hello = Event("0", name="hello")

    @app.get("/names")
    async def view() -> Response:
        return await sse.stream(*topics, names=names, initial=[hello])

    sse.channels["rooms"].initial(lambda room: [("said", room)])
    async with open_stream(app, "/names") as stream:
        await topics[0].publish("said", "x")
        events = [await stream.next() for _ in range(number + 3)]

    assert [each.event for each in events][-1] == expected
    assert sum(each.event == expected for each in events) == (number + 1 if names == "bare" else 2)


@pytest.mark.parametrize("names", ["short", "", False, b"bare"])
async def test_what_is_no_kind_of_names_is_refused(app: Quart, sse: SSE, names: Any) -> None:
    """A misspelt word must not become a default."""
    async with app.test_request_context("/"):
        with pytest.raises(ParameterError, match="Pass 'full' or 'bare'"):
            await sse.stream(sse.topic("inner"), names=names)


async def test_view_s_stream_carries_fragments(app: Quart, sse: SSE) -> None:
    """Shared fragments of its topics come, too, rendered once for all."""
    async with open_stream(app, "/one") as stream:
        await sse.topic("inner").refresh("list")
        message = await stream.next("message")

    assert "[data-sse='inner.list']" in message.data
    assert "<b>list</b>" in message.data


async def test_view_s_stream_leaves_out_personal_fragments(app: Quart, sse: SSE) -> None:
    """They belong to pages, so nothing is sent of them, and the stream goes on."""
    async with QuartClient(app).request("/one", headers=SSE_ACCEPT) as connection:
        await connection.send_complete()
        received = b""
        while b"sse-open" not in received:
            received += await connection.receive()
        await sse.topic("inner").refresh("mine")
        for _ in range(20):  # turns of the loop, in which it would be sent
            await asyncio.sleep(0)
        await sse.topic("inner").publish("said", "x")
        chunks: list[bytes] = []
        async with asyncio.timeout(5):
            while b"event: said" not in b"".join(chunks):
                chunks.append(await connection.receive())
        await connection.disconnect()

    assert b"hx-" not in b"".join(chunks)
    assert b"" not in chunks


async def test_view_s_stream_begins_with_its_initial_events(app: Quart, sse: SSE) -> None:
    """What the view wants sent first is sent before all else."""
    initial = [Event("hello", name="welcome"), Event("two\nlines", name="more", retry_ms=5)]

    @app.get("/ticker")
    async def ticker() -> Response:
        return await sse.stream(sse.topic("news"), initial=initial)

    async with open_stream(app, "/ticker") as stream:
        await sse.topic("news").publish("said", "x")
        events = [await stream.next() for _ in range(4)]

    assert [(event.event, event.data) for event in events if event.event != "sse-open"] == [
        ("welcome", "hello"),
        ("more", "two\nlines"),
        ("said", "x"),
    ]
    assert events[1].retry == 5


async def test_view_s_stream_keeps_its_metadata(app: Quart, sse: SSE) -> None:
    """What an application wants to know of a connection is kept with it, as a copy."""
    metadata = {"tab": 3}

    @app.get("/ticker")
    async def ticker() -> Response:
        return await sse.stream(sse.topic("news"), metadata=metadata)

    async with open_stream(app, "/ticker"):
        metadata["tab"] = 4
        (connection,) = app.extensions["quart_sse"].connections

        assert connection.metadata.copy() == {"tab": 3}


async def test_view_s_stream_has_the_identity_that_the_view_gives(app: Quart, sse: SSE) -> None:
    """It counts in presence, and is ended with the others of that identity."""

    @app.get("/ticker/<who>")
    async def ticker(who: str) -> Response:
        return await sse.stream(sse.topic("news"), identity=who)

    async with open_stream(app, "/ticker/ada") as ada, open_stream(app, "/ticker/bob") as bob:
        present = await sse.topic("news").presence()
        await sse.disconnect(identity="ada")
        gone = await ada.rest()
        await sse.topic("news").publish("said", "x")
        said = await bob.next("said")

    assert present.identities == {"ada", "bob"}
    assert gone[-1].event == "sse-holdoff"
    assert said.data == "x"


async def test_view_s_stream_resumes(app: Quart, sse: SSE) -> None:
    """It starts after Last-Event-ID, else after ``since`` in the query, else with what comes."""
    topic = sse.topic("inner")
    async with open_stream(app, "/one") as stream:
        for number in range(3):
            await topic.publish("said", number)
        ids = [(await stream.next("said")).id for _ in range(3)]

    heard = []
    for live, (url, headers) in enumerate(
        [
            ("/one", {"Last-Event-ID": ids[0]}),
            (f"/one?since={ids[1]}", {}),
            (f"/one?since={ids[1]}", {"Last-Event-ID": ids[0]}),
            ("/one", {}),
        ]
    ):
        async with open_stream(app, url, headers) as stream:
            await topic.publish("said", f"live {live}")
            data = [(await stream.next("said")).data]
            while data[-1] != f"live {live}":
                data.append((await stream.next("said")).data)
            heard.append(data)

    assert heard == [
        ["1", "2", "live 0"],
        ["2", "live 0", "live 1"],
        ["1", "2", "live 0", "live 1", "live 2"],
        ["live 3"],
    ]


async def test_view_s_stream_knows_who_listens(app: Quart, sse: SSE) -> None:
    """Without an identity given it has that of ``@sse.identity``, so revocations reach it."""
    sse.identity(lambda: request.cookies.get("who"))

    @app.get("/ticker")
    async def ticker() -> Response:
        return await sse.stream(sse.topic("news"))

    @app.get("/nobody")
    async def nobody() -> Response:
        return await sse.stream(sse.topic("news"), identity=None)

    ada = QuartClient(app)
    ada.set_cookie("localhost", "who", "ada")
    async with open_stream(ada, "/ticker") as hers, open_stream(ada, "/nobody") as free:
        present = await sse.topic("news").presence()
        await sse.disconnect(identity="ada")
        gone = await hers.rest()
        await sse.topic("news").publish("said", "x")
        await free.next("said")

    assert present.identities == {"ada"}
    assert (gone[-1].event, gone[-1].data) == ("sse-holdoff", "disconnect")


@pytest.mark.parametrize("who", ["", 7, b"ada", ["ada"], True], ids=repr)
async def test_what_is_no_identity_is_refused(app: Quart, sse: SSE, who: Any) -> None:
    """An identity that no stream can have would silently reach no client."""
    async with app.test_request_context("/"):
        with pytest.raises(AnswerError, match=r"identity= of sse\.stream"):
            await sse.stream(sse.topic("news"), identity=who)
    with pytest.raises(AnswerError, match=r"identity= of sse\.disconnect"):
        await sse.disconnect(identity=who)
    with pytest.raises(AnswerError, match="None, which names no user"):
        await sse.disconnect(identity=None)  # type: ignore[arg-type]


async def test_what_is_no_topic_is_refused(app: Quart, sse: SSE) -> None:
    """A channel is not a topic, and a stream of nothing would stay silent for ever."""
    wrong: list[Any] = [sse.channels["news"], "news", None]
    async with app.test_request_context("/"):
        with pytest.raises(ParameterError, match="needs a topic"):
            await sse.stream()
        for topic in wrong:
            with pytest.raises(ParameterError, match=r"is no topic.*channel\.topic"):
                await sse.stream(topic)
            with pytest.raises(ParameterError, match=r"is no topic.*channel\.topic"):
                await sse.recheck(topic)


async def test_view_s_stream_is_for_pages_of_ours(app: Quart, sse: SSE) -> None:
    """A page of another origin gets a plain 403, as everywhere; nothing is opened."""

    @app.get("/ticker")
    async def ticker() -> Response:
        return await sse.stream(sse.topic("news"))

    for headers in (SSE_ACCEPT, {}):
        answer = await QuartClient(app).get(
            "/ticker", headers={**headers, "Sec-Fetch-Site": "cross-site"}
        )
        assert answer.status_code == 403
    assert not app.extensions["quart_sse"].connections


async def test_view_s_refusal_is_its_own(app: Quart, sse: SSE) -> None:
    """At an application's own URL its answers stay as they are."""

    @app.get("/ticker")
    async def ticker() -> tuple[str, int]:
        return "not today", 418

    answer = await QuartClient(app).get("/ticker", headers=SSE_ACCEPT)

    assert answer.status_code == 418
    assert await answer.get_data(as_text=True) == "not today"


async def test_many_streams_of_one_topic_all_hear(app: Quart, sse: SSE) -> None:
    """One publish reaches every stream that listens."""
    async with AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(open_stream(app, "/one")) for _ in range(20)]

        published = await sse.topic("inner").publish("said", "x")
        heard = {(await stream.next("said")).id for stream in streams}

    assert published.local_receivers == 20
    assert len(heard) == 1
