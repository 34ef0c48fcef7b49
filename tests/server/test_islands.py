"""Clients that are no pages of ours, on a real server: they choose topics, or get a URL as JSON."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from httpx_sse import EventSource, ServerSentEvent, aconnect_sse

from tests.support.redis_server import running_redis
from tests.support.servers import RawStream, Server, serve

pytestmark = [pytest.mark.servers, pytest.mark.timeout(90)]

APP = "tests.apps.islands:app"


@asynccontextmanager
async def running(
    folder: Path, *, broker: str = "memory", root: str = "", prefix: str = "/sse", **environ: str
) -> AsyncIterator[Server]:
    """Serve the app by Uvicorn; below a root path, clients ask as a proxy does that cuts it off."""
    options = ("--root-path", root) if root else ()
    command = ("-m", "uvicorn", "--no-access-log", *options, APP, "--port")
    environ["PREFIX"] = prefix

    def on(port: int) -> tuple[str, ...]:
        return (*command, str(port))

    if broker == "memory":
        async with serve(on, environ) as server:
            yield server
        return
    async with running_redis(folder) as redis:
        environ["QUART_SSE_BROKER_URL"] = redis.url
        async with serve(on, environ) as server:
            yield server


async def said(source: EventSource) -> AsyncIterator[ServerSentEvent]:
    """Yield what a browser dispatches: the parser yields blocks without data, too."""
    async for event in source.aiter_sse():
        if event.data:
            yield event


SITES = [
    pytest.param("memory", "", "/sse", id="memory"),
    pytest.param("memory", "/app", "/live/sse", id="memory below a path"),
    pytest.param("redis", "", "/sse", id="redis"),
    pytest.param("redis", "/app", "/live/sse", id="redis below a path"),
]


@pytest.mark.parametrize(("broker", "root", "prefix"), SITES)
async def test_client_chooses_topics(tmp_path: Path, broker: str, root: str, prefix: str) -> None:
    """A plain client has what is public and what is its user's, and hears what it has not."""
    async with (
        running(tmp_path, broker=broker, root=root, prefix=prefix) as server,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as client,
    ):
        await client.get("/login/ada")
        params = httpx.QueryParams({"topic": ["news", "rooms?name=ada", "rooms?name=bob"]})
        async with aconnect_sse(
            client, "GET", prefix, params=params.add("fragments", "1")
        ) as source:
            events = said(source)
            refused, opened = await anext(events), await anext(events)
            await client.post("/publish/bob/secret")
            await client.post("/publish/ada/x")
            await client.post("/publish/news/y")
            rest = [await anext(events) for _ in range(3)]
        head = await client.head(prefix, params=params)
        mixed = await client.get(prefix, params=params.add("t", "~news"))

    assert source.response.headers["x-outer"] == "yes"
    assert json.loads(refused.data)["topics"] == ["rooms?name=bob"]
    assert opened.event == "sse-open"
    assert [(each.event, each.data) for each in rest[:2]] == [
        ("rooms.said?name=ada", "x"),
        ("news.said", "y"),
    ]
    assert "<b>list</b>" in rest[2].data
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"].startswith("text/event-stream")
    assert mixed.status_code == 400
    assert "It has t= and topic=." in mixed.text


@pytest.mark.parametrize(("broker", "root", "prefix"), SITES)
async def test_island_misses_no_event(tmp_path: Path, broker: str, root: str, prefix: str) -> None:
    """Whenever it fetches its JSON, the list and the stream together have every book in order."""
    number, several = 100, {"QUART_SSE_MAX_PER_BROWSER": "9"}
    async with (
        running(tmp_path, broker=broker, root=root, prefix=prefix, **several) as server,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as client,
    ):
        await client.get("/login/ada")

        async def write() -> None:
            for book in range(number):
                await client.post(f"/shelf/a/{book}")

        async def island(delay: int) -> list[int]:
            for _ in range(delay):
                await client.get("/one")
            answer = await client.get("/api/shelf/a")
            assert answer.headers["cache-control"] == "private, no-store"
            url = answer.json()["stream"]
            assert urlsplit(url).path == root + prefix
            had = [book["id"] for book in answer.json()["books"]]
            heard: list[int] = []
            async with aconnect_sse(client, "GET", url.removeprefix(root)) as source:
                async for event in said(source):
                    if event.event == "sse-open" and number in had:
                        break
                    if event.event == "shelf.added?name=a":
                        heard.append(json.loads(event.data)["id"])
                    if heard[-1:] == [number]:
                        break
            return had + [book for book in heard if book not in had]

        async with asyncio.timeout(60):
            _, *islands = await asyncio.gather(write(), *(island(10 * each) for each in range(6)))

    for seen in islands:
        assert seen == list(range(1, number + 1))


@pytest.mark.parametrize("path", ["/sse?topic=news&topic=secrets", "/sse?topic=news"])
async def test_curl_hears_what_it_names(tmp_path: Path, path: str) -> None:
    """The command of the guide works as it stands."""
    curl = shutil.which("curl")
    assert curl, "install curl"
    async with running(tmp_path) as server:
        url = f"http://127.0.0.1:{server.port}{path}"
        process = await asyncio.create_subprocess_exec(
            *(curl, "-sN", "-H", "Accept: text/event-stream", url), stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout
        async with asyncio.timeout(20):
            await process.stdout.readuntil(b"event: sse-open")
            await server.post("/publish/news/hello")
            text = await process.stdout.readuntil(b"data: hello")
        process.kill()
        await process.wait()

    assert b"event: news.said\n" in text


async def test_token_of_one_user_is_no_use_to_another(tmp_path: Path) -> None:
    """The URL of an answer is as good as a page: for whom it was made."""
    async with running(tmp_path) as server:
        ada = httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}")
        bob = httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}")
        async with ada, bob:
            await ada.get("/login/ada")
            await bob.get("/login/bob")
            url = (await ada.get("/api/shelf/a")).json()["stream"]
            refused = await bob.get(url, headers={"Accept": "text/event-stream"})
            by_status = await bob.get(url)
            stream = await RawStream.open(server.port, url, {"Cookie": "who=ada"})
            await stream.close()
            plain = await ada.get("/api/news")

    assert "data: refused" in refused.text
    assert by_status.status_code == 403
    assert "shelf?name=a" in stream.text
    assert "t=" in plain.json()["stream"]
