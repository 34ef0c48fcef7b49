"""The host: one suite for every framework, and a whole app on one that is not Quart."""

import asyncio
import contextvars
import inspect
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import pytest
from quart import Quart

from quart_sse.config import Config
from quart_sse.errors import RenderError
from quart_sse.host import Exchange, Host
from quart_sse.quart.host import QuartHost
from quart_sse.wire import ZERO, Position
from tests.support.plain_host import PlainApp, PlainHost
from tests.support.streams import connect_urls, until

KNOWN = Position("e", ZERO, ZERO)


@dataclass
class Framework:
    """A host, and how a request of its framework begins."""

    host: Host
    request: Callable[..., AbstractAsyncContextManager[None]]
    let_hook_answer: Callable[[], None]


def on_quart() -> Framework:
    """Return the host of a Quart app."""
    app = Quart(__name__)
    app.secret_key = "for tests only"

    @asynccontextmanager
    async def request(root: str = "", **headers: str) -> AsyncIterator[None]:
        async with app.test_request_context("/page", root_path=root, headers=headers):
            yield

    def let_hook_answer() -> None:
        app.before_request(lambda: "Please sign in.")

    return Framework(QuartHost(app, Config(), lambda: KNOWN), request, let_hook_answer)


def on_plain_asgi() -> Framework:
    """Return the host of an app without a framework."""
    host = PlainHost(lambda: KNOWN)

    @asynccontextmanager
    async def request(root: str = "", **headers: str) -> AsyncIterator[None]:
        given = [(name.encode(), value.encode()) for name, value in headers.items()]
        scope: dict[str, Any] = {"method": "GET", "path": "/page", "root_path": root}
        token = host.enter({**scope, "headers": given})
        try:
            yield
        finally:
            host.leave(token)

    def let_hook_answer() -> None:
        host.hook = lambda _: "Please sign in."

    return Framework(host, request, let_hook_answer)


@pytest.fixture(params=[on_quart, on_plain_asgi], ids=["quart", "plain ASGI"])
def framework(request: pytest.FixtureRequest) -> Framework:
    """Each host that there is."""
    return cast("Framework", request.param())


@pytest.mark.parametrize("name", [name for name in vars(Host) if not name.startswith("_")])
def test_host_of_quart_is_the_protocol(name: str) -> None:
    """Arguments have the same names, for callers may give them by name."""
    asked, given = inspect.getattr_static(Host, name), inspect.getattr_static(QuartHost, name)

    assert type(given) is type(asked)
    if not isinstance(asked, property):
        assert list(inspect.signature(given).parameters) == list(
            inspect.signature(asked).parameters
        )
        assert inspect.iscoroutinefunction(given) == inspect.iscoroutinefunction(asked)


# -- the contract ----------------------------------------------------------------------------------


async def test_exchange_is_one_for_each_request(framework: Framework) -> None:
    """All that runs in one request shares it; it begins where the process stands."""
    host, seen = framework.host, list[Exchange]()
    for _ in range(2):
        async with framework.request():
            seen += [host.exchange(), host.exchange()]

    assert seen[0] is seen[1] is not seen[2]
    assert seen[0].since == KNOWN
    assert not seen[0].is_identified


async def test_header_and_root_are_those_of_the_request(framework: Framework) -> None:
    """A header that a request lacks is empty, and the root path has no slash at its end."""
    async with framework.request(root="/mounted", Accept="text/html"):
        assert framework.host.header("Accept") == "text/html"
        assert framework.host.header("X-Other") == ""
        assert framework.host.root() == "/mounted"
    async with framework.request():
        assert framework.host.root() == ""


async def test_call_awaits_all_that_is_awaitable(framework: Framework) -> None:
    """A coroutine that a sync function returns is no answer; what is raised comes through."""

    async def later(value: int) -> int:
        return value

    def fail(value: int) -> int:
        raise LookupError(value)

    async with framework.request():
        assert await framework.host.call(lambda value: value, {"value": 7}) == 7
        assert await framework.host.call(lambda value: later(value), {"value": 7}) == 7
        with pytest.raises(LookupError, match="7"):
            await framework.host.call(fail, {"value": 7})


async def test_render_is_a_request_of_its_own(framework: Framework) -> None:
    """It has the exchange and root path that it is given, and nothing of who asked for it."""
    host, own = framework.host, Exchange(KNOWN, is_identified=True)

    async def function() -> str:
        assert host.exchange() is own
        return f"{host.root()} {host.header('X-User')}"

    async with framework.request(root="/other", **{"X-User": "ada"}):
        outer = host.exchange()
        work = host.render("/sse/~/list/board", "/app", own, function)
        task = asyncio.get_running_loop().create_task(work, context=contextvars.Context())
        assert await task == "/app "
        assert host.exchange() is outer


async def test_render_that_a_hook_answers_is_an_error(framework: Framework) -> None:
    """A login page must never be shown as a fragment's HTML."""
    framework.let_hook_answer()

    async def function() -> str:
        return "secret"

    with pytest.raises(RenderError, match="/sse/~/list/board"):
        await framework.host.render("/sse/~/list/board", "", Exchange(KNOWN), function)


async def test_json_and_keys_are_those_of_the_app(framework: Framework) -> None:
    """Data of events are written and topics signed as the app does it."""
    assert json.loads(framework.host.dumps({"a": [1, None]})) == {"a": [1, None]}
    assert framework.host.keys() == [b"for tests only"]


# -- a whole app on a host that is not Quart -------------------------------------------------------


class Client:
    """One request of an app without a framework; leaves when the test says so."""

    def __init__(self, app: PlainApp, url: str, **headers: str) -> None:
        self.status = 0
        self.text = ""
        self._has_gone = asyncio.Event()
        self._task = asyncio.create_task(app(self._scope(url, headers), self._receive, self._send))

    @staticmethod
    def _scope(url: str, headers: dict[str, str]) -> dict[str, Any]:
        path, _, query = url.partition("?")
        given = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        return {
            "type": "http",
            "http_version": "1.1",
            "method": "GET",
            "path": path,
            "query_string": query.encode(),
            "headers": given,
        }

    async def _receive(self) -> dict[str, object]:
        await self._has_gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        self.status = message.get("status", self.status)
        self.text += message.get("body", b"").decode()

    async def sees(self, text: str) -> None:
        """Wait until the answer contains a text."""
        await until(lambda: text in self.text or self._task.done())
        assert text in self.text

    async def answer(self) -> str:
        """Return the whole answer."""
        await self._task
        return self.text

    async def leave(self) -> None:
        """Go away, as a browser does."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


@pytest.fixture
async def plain() -> AsyncIterator[PlainApp]:
    """An app without a framework, with one page; of its streams nothing is left in the end."""
    app = PlainApp(Config(debounce=0.0))
    board = app.channel("board", "/board/<int:number>")
    counts = {7: 0}
    board.fragment("count")(lambda number: f"<b>{counts[number]}</b>")

    async def page() -> str:
        counts[7] += 1
        macros = app.services.macros
        shown = await macros.fragment("board.count", {"number": 7})
        return shown + await macros.connect()

    app.pages["/"] = page
    yield app
    await until(lambda: not app.services.connections)
    await app.services.lifecycle.stop()


async def test_page_without_quart_is_live(plain: PlainApp) -> None:
    """It is rendered, signed, connected, sent events and new HTML, and resumed."""
    topic = plain.channels["board"].topic(number=7)
    page = await Client(plain, "/").answer()
    assert '<div data-sse="board.count?number=7"><b>1</b></div>' in page
    (url,) = connect_urls(page)

    stream = Client(plain, url, Accept="text/event-stream")
    await stream.sees("event: sse-open")
    await topic.publish("said", {"text": "hello"})
    await stream.sees('event: board.said?number=7\ndata: {"text": "hello"}')
    await topic.refresh("count")
    await stream.sees("<b>1</b>")
    await stream.leave()
    last = re.findall(r"(?m)^id: (.*)$", stream.text)[-1]

    await topic.publish("said", "again")
    back = Client(plain, url, Accept="text/event-stream", **{"Last-Event-ID": last})
    await back.sees("data: again")
    assert "hello" not in back.text
    await back.leave()


async def test_page_without_quart_is_guarded(plain: PlainApp) -> None:
    """A topic that no page has shown is refused, as is a page of another origin."""
    unsigned = Client(plain, "/sse/board/7", Accept="text/event-stream")
    assert "event: sse-stop\ndata: refused" in await unsigned.answer()
    plainly = Client(plain, "/sse/board/7")
    await plainly.answer()
    assert plainly.status == 403
    (url,) = connect_urls(await Client(plain, "/").answer())
    foreign = Client(plain, url, Accept="text/event-stream", **{"Sec-Fetch-Site": "cross-site"})
    await foreign.answer()
    assert foreign.status == 403


async def test_token_without_quart_is_bound_to_its_user(plain: PlainApp) -> None:
    """Who the page was made for is asked of the host's own request."""
    (url,) = connect_urls(await Client(plain, "/", **{"X-User": "ada"}).answer())
    own = Client(plain, url, Accept="text/event-stream", **{"X-User": "ada"})
    await own.sees("event: sse-open")
    await own.leave()

    other = Client(plain, url, Accept="text/event-stream", **{"X-User": "bob"})
    assert "event: sse-stop\ndata: refused" in await other.answer()


async def test_pushed_template_without_quart_is_rendered_by_the_host(plain: PlainApp) -> None:
    """A template is rendered in a request of its own, and sent as the fragment's HTML."""
    plain.host.templates["count.html"] = "<i>{number}</i>"
    (url,) = connect_urls(await Client(plain, "/").answer())
    stream = Client(plain, url, Accept="text/event-stream")
    await stream.sees("event: sse-open")
    await plain.channels["board"].topic(number=7).push("count", template="count.html", number=8)
    await stream.sees("<i>8</i>")
    await stream.leave()
