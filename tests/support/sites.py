"""A site of one or more processes with users, roles and rooms, whose connections a test handles."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from quart import Quart, render_template_string, request
from quart.testing import QuartClient

from quart_sse import SSE, ConnectionHandle, Topic
from quart_sse.broker import Budget, Replay, Start
from tests.support.streams import Stream, connect_urls, open_stream

PAGE = (
    '{% from "quart_sse/macros.html" import sse_connect %}'
    "{{ sse_connect(topics=topics, user=request.args.get('user')) }}"
)


class Site:
    """One process of the site.

    Users have the cookie ``who``, and say their role and the like as ``?meta=<JSON>``.

    Args:
        url: Of the broker.
        config: Further ``QUART_SSE_*`` keys, without that prefix.
    """

    def __init__(self, url: str, **config: Any) -> None:
        self.app = app = Quart(__name__)
        app.secret_key = "for tests only"
        keys = {"broker_url": url, "broker_timeout": 3.0, "heartbeat": 30, "probe": 0.5, **config}
        app.config.update({f"QUART_SSE_{key.upper()}": value for key, value in keys.items()})
        self.sse = sse = SSE(app)
        self.rooms = sse.channel("rooms", "/rooms/<int:room>", public=True)
        self.news = sse.channel("news", "/news", public=True)
        self.seen: list[str] = []  #: what hooks have noted
        self.shown: list[Topic] = []  #: further topics of pages

        @sse.identity
        def who() -> str | None:
            return request.cookies.get("who")

        @sse.metadata
        def metadata() -> Any:
            text = request.args.get("meta")
            return None if text is None else json.loads(text)

        @app.get("/page")
        async def page() -> str:
            rooms = request.args.getlist("room", type=int)
            topics = [self.rooms.topic(room=room) for room in rooms] + self.shown
            return await render_template_string(PAGE, topics=topics)

    def room(self, number: int = 1) -> Topic:
        """Return a room."""
        return self.rooms.topic(room=number)

    def client(self, who: str | None = None) -> QuartClient:
        """Return the browser of a user."""
        client = QuartClient(self.app)
        if who is not None:
            client.set_cookie("localhost", "who", who)
        return client

    async def page(self, *rooms: int, client: QuartClient | None = None, more: str = "") -> str:
        """Return the URL by which a page of some rooms connects."""
        query = "&".join([*(f"room={room}" for room in rooms), more])
        answer = await (client or self.client()).get(f"/page?{query}")
        (url,) = connect_urls(await answer.get_data(as_text=True))
        return url

    @asynccontextmanager
    async def view(
        self, *rooms: int, who: str | None = None, meta: object = None, more: str = ""
    ) -> AsyncIterator[tuple[Stream, ConnectionHandle]]:
        """Look at a page of some rooms, and yield its open stream and the handle of it.

        Args:
            rooms: Numbers of the rooms.
            who: The user; None for a visitor.
            meta: The user's metadata, for JSON; None for none.
            more: Further parameters of the stream's URL.
        """
        client = self.client(who)
        url = await self.page(*rooms, client=client, more="" if rooms or who else "user=1")
        about = "" if meta is None else f"&meta={json.dumps(meta)}"
        async with open_stream(client, f"{url}{about}{more}") as stream:
            opened = json.loads((await stream.next("sse-open")).data)
            handle = self.sse.connections.get(opened["id"])
            assert handle is not None
            yield stream, handle


class HeldReplays:
    """Replays of a process that has opened, each of which waits until a test lets it go.

    Args:
        site: The process.
        monkeypatch: Puts the broker back in the end.
    """

    def __init__(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        broker = site.app.extensions["quart_sse"].broker.inner
        self._resume = broker.resume
        self.waiting: list[asyncio.Event] = []
        monkeypatch.setattr(broker, "resume", self._hold)

    async def _hold(self, starts: Mapping[str, Start], *budget: Budget) -> Replay:
        if starts:  # else it is asked for its position
            self.waiting.append(asyncio.Event())
            await self.waiting[-1].wait()
        replay: Replay = await self._resume(starts, *budget)
        return replay


@asynccontextmanager
async def serving(*sites: Site) -> AsyncIterator[None]:
    """Let processes serve until the block ends."""
    async with AsyncExitStack() as stack:
        for site in sites:
            await site.app.startup()
            stack.push_async_callback(site.app.shutdown)
            await site.app.extensions["quart_sse"].control.processes.announce()
        yield


async def heard(stream: Stream, count: int) -> list[tuple[str, str]]:
    """Return name and data of the next events of the app."""
    found: list[tuple[str, str]] = []
    while len(found) < count:
        event = await stream.next()
        if not event.event.startswith("sse-"):
            found.append((event.event, event.data))
    return found
