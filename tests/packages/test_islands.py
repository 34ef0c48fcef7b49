"""Clients that choose topics, and answers in JSON, where quart-auth knows the users."""

import json

import httpx
import pytest
from httpx_sse import aconnect_sse

from tests.support.servers import serve

pytestmark = [pytest.mark.packages, pytest.mark.timeout(120)]


async def test_users_are_those_of_quart_auth() -> None:
    """Its user enters the room of that name, by a chosen topic and by the URL of an answer."""
    command = ("-m", "uvicorn", "--no-access-log", "tests.apps.islands:app", "--port")
    async with serve(lambda port: (*command, str(port)), {"AUTH": "1"}) as server:
        base = f"http://127.0.0.1:{server.port}"
        async with httpx.AsyncClient(base_url=base) as ada, httpx.AsyncClient(base_url=base) as bob:
            await ada.get("/login/ada")
            await bob.get("/login/bob")
            chosen = httpx.QueryParams({"topic": "rooms?name=ada"})
            refused = await bob.get("/sse", params=chosen)
            url = (await ada.get("/api/shelf/a")).json()["stream"]
            stolen = await bob.get(url)
            await ada.post("/shelf/a/book")
            heard = []
            for client, params in ((ada, None), (ada, chosen)):
                async with aconnect_sse(
                    client, "GET", url if params is None else "/sse", params=params
                ) as source:
                    async for event in source.aiter_sse():
                        if event.event == "sse-open" and params is not None:
                            await ada.post("/publish/ada/hello")
                        if "." in event.event:
                            heard.append((event.event, event.data))
                            break

    assert (refused.status_code, stolen.status_code) == (403, 403)
    assert [name for name, _ in heard] == ["shelf.added?name=a", "rooms.said?name=ada"]
    assert json.loads(heard[0][1])["title"] == "book"
    assert heard[1][1] == "hello"
