"""The functions of an app: metadata, which are asked in the request of who connects."""

import json
import logging
from typing import Any

import pytest
from quart import Quart, abort, request
from quart.testing import QuartClient

from quart_sse import SSE, AnswerError
from tests.support.pages import add_page
from tests.support.streams import connect_urls, open_stream


@pytest.mark.parametrize(
    ("given", "first"),
    [
        ({"a": 1}, "sse-open"),
        (None, "sse-open"),
        ("text", "sse-holdoff"),
        ({"a": object()}, "sse-holdoff"),
        ({1: 1}, "sse-holdoff"),
    ],
)
async def test_metadata_are_checked(
    app: Quart, sse: SSE, news: str, caplog: pytest.LogCaptureFixture, given: Any, first: str
) -> None:
    """What is no metadata is logged, and the client comes back."""
    sse.metadata(lambda: given)

    async with open_stream(app, news) as stream:
        assert (await stream.next()).event == first
        if first == "sse-open":
            (connection,) = sse.connections
            assert connection.metadata == given
    assert bool([each for each in caplog.records if each.levelno >= logging.ERROR]) is (
        first != "sse-open"
    )


async def test_function_may_refuse(app: Quart, sse: SSE, news: str) -> None:
    """As that of identities may."""
    sse.metadata(lambda: abort(403))

    async with open_stream(app, news) as stream:
        assert [event.data for event in await stream.rest()] == ["refused"]


async def test_metadata_are_of_the_clients_own_request(app: Quart, sse: SSE) -> None:
    """Not of the page's, and once for each connect; nothing is asked of who is refused."""
    asked: list[str] = []

    @sse.metadata
    async def metadata() -> dict[str, object]:
        asked.append(request.path)
        return {"agent": request.headers.get("User-Agent")}

    sse.channel("news", "/news", public=True)
    sse.channel("hidden", "/hidden")
    add_page(app, '{{ sse_connect(topics=["news"]) }}')
    client = QuartClient(app)
    (url,) = connect_urls(await (await client.get("/")).get_data(as_text=True))

    async with open_stream(client, url, {"User-Agent": "x"}) as stream:
        await stream.next("sse-open")
        assert [each.metadata for each in sse.connections] == [{"agent": "x"}]
    async with open_stream(client, "/sse/hidden") as stream:
        await stream.rest()
    assert asked == ["/sse"]


async def test_view_gives_its_own(app: Quart, sse: SSE, news: str) -> None:
    """Or none, or by default that of the function."""
    sse.metadata(lambda: {"by": "function"})
    given: dict[str, Any] = {"own": {"metadata": {"by": "view"}}, "none": {"metadata": None}}

    @app.get("/ticker/<name>")
    async def ticker(name: str) -> Any:
        return await sse.stream(sse.topic("news"), **given.get(name, {}))

    found: dict[str, Any] = {}
    for name in ("own", "none", "default"):
        async with open_stream(app, f"/ticker/{name}") as stream:
            await stream.next("sse-open")
            ((found[name]),) = (each.metadata for each in sse.connections)

    assert found == {"own": {"by": "view"}, "none": None, "default": {"by": "function"}}


async def test_view_that_gives_no_json_raises(app: Quart, sse: SSE, news: str) -> None:
    """The error is the view's own."""
    errors: list[str] = []

    @app.get("/ticker")
    async def ticker() -> Any:
        try:
            return await sse.stream(sse.topic("news"), metadata={"a": object()})
        except AnswerError as error:
            errors.append(str(error))
            return json.dumps(errors)

    await app.test_client().get("/ticker")
    assert "metadata= of sse.stream() is what JSON cannot hold" in errors[0]
