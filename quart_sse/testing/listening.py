"""Does for a page under test what quart-sse.js does in a browser."""

import asyncio
import json
import secrets
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

from quart.testing import QuartClient

from ..hub import id_of
from ..wire import Ending, Position, decode_data, parse_topic
from .document import Document
from .shares import Shares
from .stream import Block, PageStream

#: Endings after which a page comes back within about a second, so that a test page does at once.
_RESUMED = frozenset(
    each.reason for each in (Ending.MAX_AGE, Ending.OVERFLOW, Ending.DISCONNECT, Ending.RECHECK)
)
#: How often a stream may end before it opens, until the page gives up.
_MOST_ATTEMPTS = 5
#: Time in which the server says why a page has nothing left to listen to, in seconds.
_FAREWELL = 0.5


@dataclass(frozen=True, slots=True)
class ReceivedEvent:
    """An event that a page has received.

    Attributes:
        name: Its name, such as ``comments.comment-added``.
        params: The parameters of its topic, as text.
        data: Its data, as scripts in a page get them.
    """

    name: str
    params: Mapping[str, str]
    data: Any


class Listener:
    """Reads the stream of a page, and puts what comes into the page.

    Args:
        client: The test client whose browser shows the page.
        document: The page's HTML, which is changed.
        options: Options of the client's requests, such as ``headers``.
    """

    def __init__(self, client: QuartClient, document: Document, options: dict[str, Any]) -> None:
        # Of the same cookies; the user's client may keep the context of its last request.
        self._client = copy(client)
        self._client.preserve_context = False
        self._options = options
        self.document: Document = document
        self.shares: Shares = Shares(document.connects)
        self.page: str = secrets.token_hex(8)  #: names the page in the header of its requests
        self.events: list[ReceivedEvent] = []
        self.unseen: list[ReceivedEvent] = []
        self.refused: set[str] = set()
        self.failures: dict[str, str] = {}  #: key of a personal fragment -> why its fetch failed
        self.closed: str | None = None
        self.error: BaseException | None = None  #: what the app has raised
        self.position: Position | None = None
        self.is_open: bool = False
        self._stopped: str | None = None  #: why the page has nothing left to listen to
        self._own: set[str] = set()  #: origins of events that this page has caused
        self._ids: set[str] = set()
        self._received: dict[str, str] = {}
        self._fetching: dict[str, bool] = {}  #: key -> whether it has changed since
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self.start()

    @property
    def is_fetching(self) -> bool:
        """Whether a personal fragment is on its way."""
        return bool(self._fetching)

    def start(self) -> None:
        """Open the stream, and read it until it ends."""
        self.closed, self.is_open = None, False
        self._spawn(self._run())

    async def stop(self) -> None:
        """Leave the page."""
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._close("left")

    async def until_changed(self, seconds: float | None) -> None:
        """Wait until something happens, at most so long."""
        changed = self._changed
        try:
            async with asyncio.timeout(seconds):
                await changed.wait()
        except TimeoutError:
            pass

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _close(self, reason: str) -> None:
        self.closed = self.closed or reason
        self.is_open = False
        self._notify()

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self) -> None:
        attempts = 0
        try:
            while attempts < _MOST_ATTEMPTS:
                self.is_open = False
                ending = await self._read()
                attempts = 0 if self.is_open else attempts + 1
                if ending not in _RESUMED or not self.shares.open:
                    break
            self._close(ending)
        except Exception as error:
            self.error = error
            self._close("error")

    async def _read(self) -> str:
        """Read one stream to its end, and return how it ended."""
        options = {"http_version": "2"} | self._options  # one socket, as browsers share a stream
        headers = {**options.pop("headers", {}), "Accept": "text/event-stream"}
        connection: Any = self._client.request(self.shares.url, headers=headers, **options)
        async with PageStream(connection) as stream:
            blocks = await stream.read()
            if stream.refusal is not None:
                return stream.refusal
            self._keep(stream.cookies)
            while blocks is not None:
                for block in blocks:
                    ending = self._take(block)
                    if ending is not None:
                        return ending
                self._notify()
                try:
                    async with asyncio.timeout(_FAREWELL if self._stopped else None):
                        blocks = await stream.read()
                except TimeoutError:
                    break
        return self._stopped or "cut"

    def _keep(self, cookies: Mapping[str, str]) -> None:
        """Keep the cookies of the answer in the browser, which the test client leaves out."""
        if self._client.cookie_jar is not None:
            for name, value in cookies.items():
                self._client.set_cookie("localhost", name, value)

    def _take(self, block: Block) -> str | None:
        """Take a block of the stream, and return how the stream ends if it says so."""
        event, data = block.get("event", ""), block.get("data", "")
        if event in ("sse-stop", "sse-holdoff"):
            return data
        if event == "sse-open":
            opening = json.loads(data)
            self._stopped = self.shares.opened(opening)
            self._own.add(f"{id_of(opening['secret'])}.{self.page}")
            self.is_open = self._stopped is None
        if event == "sse-refused":
            refused = json.loads(data)
            self.refused |= {*refused["topics"], *refused["fragments"]}
        is_taken = self.shares.takes(block)
        if is_taken and "data" in block:
            self._show(block, event, data)
        if "id" in block:
            self.position = Position.parse(block["id"]) or self.position
        return None

    def _show(self, block: Block, event: str, data: str) -> None:
        key = block.get("key", "")
        if event:
            self._dispatch(block, event, data)
        elif "token" in block:
            self.shares.renew(block["token"])
        elif "load" in block:
            self._load(key, urljoin(self.shares.path, block["load"].partition(" ")[2]))
        else:
            self._received[key] = data
            if block.get("origin") not in self._own:
                self.document.take(data)

    def _dispatch(self, block: Block, event: str, data: str) -> None:
        if block.get("origin") in self._own:
            return
        exact = block.get("once") or block.get("id", "").partition("~")[0].partition("@")[0]
        if exact and event != "sse-reset":
            if exact in self._ids:
                return
            self._ids.add(exact)
        name, params = parse_topic(event)
        received = ReceivedEvent(name, params, decode_data(data, "type" in block))
        self.events.append(received)
        self.unseen.append(received)

    # -- personal fragments ------------------------------------------------------------------------

    def _load(self, key: str, url: str) -> None:
        is_fetching = key in self._fetching
        if not self._fetching:
            self._received.clear()
        self._fetching[key] = True
        if not is_fetching:
            self._spawn(self._fetch(key, url))

    async def _fetch(self, key: str, url: str) -> None:
        """Fetch a personal fragment with the user's cookies, again if it changes meanwhile."""
        options = dict(self._options)
        headers = {**options.pop("headers", {}), "HX-Request": "true"}
        try:
            while self._fetching[key] and self.document.inner(key) is not None:
                self._fetching[key] = False
                answer = await self._client.get(url, headers=headers, **options)
                if answer.status_code == 200:
                    self.document.put(key, await answer.get_data(as_text=True))
                    self.failures.pop(key, None)
                else:
                    self.failures[key] = f"its fetch was answered {answer.status_code}"
                for data in self._received.values():  # it may be newer than what is inside
                    self.document.take(data)
        except Exception as error:
            self.failures[key] = f"its fetch raised {error!r}"
            self.error = error
        finally:
            del self._fetching[key]
            self._notify()
