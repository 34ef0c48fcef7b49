"""Root paths: pages below each get their own URLs, whatever order middleware comes in."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from quart import Quart, render_template_string, url_for
from quart.testing import QuartClient

from quart_sse import SSE, Channel, RenderError
from quart_sse.hub.roots import MOST
from tests.support.streams import Stream, connect_urls, open_stream, until

MACROS = '{% from "quart_sse/macros.html" import sse_fragment, sse_connect, sse_scripts %}'


class Prefixes:
    """Middleware that mounts an app below whatever a path begins with, such as ``/-app``."""

    def __init__(self, inner: Callable[..., Awaitable[None]]) -> None:
        self.inner = inner

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            found = re.match(r"(/-\w+)(?=/|$)", scope["path"])
            scope = {**scope, "root_path": found[1] if found else ""}
        await self.inner(scope, receive, send)


def mount(app: Quart) -> None:
    app.asgi_app = Prefixes(app.asgi_app)  # type: ignore[method-assign]


class House:
    """An app with one live page, mounted before or after the extension."""

    def __init__(self, is_first: bool = False, **config: object) -> None:
        self.app = Quart(__name__)
        self.app.secret_key = "for tests only"
        self.app.config.update(config)
        if is_first:
            mount(self.app)
        self.sse = SSE(self.app)
        if not is_first:
            mount(self.app)
        self.number = 0
        self.rendered: list[str] = []
        self.board: Channel = self.sse.channel("board", "/board", public=True)
        self.board.fragment("list", debounce=0)(self._render)
        self.app.add_url_rule("/", "page", self._page)
        self.client = QuartClient(self.app)

    async def _page(self) -> str:
        body = '{{ sse_scripts() }}{{ sse_fragment("board.list") }}{{ sse_connect() }}'
        return await render_template_string(MACROS + body)

    async def _render(self) -> str:
        self.rendered.append(url_for("page"))
        return f'<a href="{url_for("page")}">{self.number}</a>'

    async def page(self, root: str) -> str:
        answer = await self.client.get(f"{root}/")
        assert answer.status_code == 200
        return str(await answer.get_data(as_text=True))

    async def change(self) -> None:
        self.number += 1
        await self.board.topic().refresh("list")


async def link(stream: Stream) -> str:
    """Return the next link that a stream brings."""
    return str(re.findall("<a .*</a>", (await stream.next("message")).data)[0])


@pytest.mark.parametrize("is_first", [False, True], ids=["after SSE(app)", "before SSE(app)"])
async def test_pages_below_each_root_path_have_their_own_urls(is_first: bool) -> None:
    """Links, scripts and streams begin with the page's root path, and stay so after a refresh."""
    house = House(is_first)
    roots = ["", "/-app", "/-other"]

    async with AsyncExitStack() as stack:
        streams = []
        for root in roots:
            text = await house.page(root)
            assert f'<a href="{root}/">0</a>' in text
            assert set(re.findall(r'src="(.*?)/sse/~static', text)) == {root}
            (url,) = connect_urls(text)
            assert url.startswith(f"{root}/sse?")
            streams.append(await stack.enter_async_context(open_stream(house.client, url)))
        house.rendered.clear()
        await house.change()

        shown = [await link(stream) for stream in streams]

    assert shown == [f'<a href="{root}/">1</a>' for root in roots]
    assert sorted(house.rendered) == sorted(f"{root}/" for root in roots)


async def test_base_url_has_the_last_word() -> None:
    """With ``QUART_SSE_BASE_URL`` no request says where the app is, and one render serves all."""
    house = House(QUART_SSE_BASE_URL="https://shop.example/shop")

    async with AsyncExitStack() as stack:
        streams = []
        for root in ("", "/-app"):
            text = await house.page(root)
            assert '<a href="/shop/">0</a>' in text
            (url,) = connect_urls(text)
            assert url.startswith("/shop/sse?")
            url = url.replace("/shop", root, 1)
            streams.append(await stack.enter_async_context(open_stream(house.client, url)))
        house.rendered.clear()
        await house.change()
        shown = {await link(stream) for stream in streams}

    assert shown == {'<a href="/shop/">1</a>'}
    assert len(house.rendered) == 1


async def test_pushed_template_is_for_pages_below_the_publisher_s_root_path() -> None:
    """Pages below another root path are sent a render, whose URLs are theirs."""
    house = House()
    urls = [connect_urls(await house.page(root))[0] for root in ("", "/-app")]

    @house.app.post("/push")
    async def push() -> str:
        await house.board.topic().push("list", html=url_for("page").join(["<a >", "</a>"]))
        return "pushed"

    async with (
        open_stream(house.client, urls[0]) as here,
        open_stream(house.client, urls[1]) as there,
    ):
        house.rendered.clear()
        await house.client.post("/push")
        pushed = (await here.next("message")).data
        rendered = await link(there)

    assert "&lt;a &gt;/&lt;/a&gt;" in pushed
    assert rendered == '<a href="/-app/">0</a>'
    assert house.rendered == ["/-app/"]


async def test_more_root_paths_than_an_app_has_are_refused(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Clients that make up root paths cannot make a process render for each; the log says so."""
    house = House()
    roots = [f"/-app{number}" for number in range(MOST)]

    async with AsyncExitStack() as stack:
        streams = []
        for root in roots:
            (url,) = connect_urls(await house.page(root))
            streams.append(await stack.enter_async_context(open_stream(house.client, url)))
        page = await house.client.get("/-evil/")
        async with open_stream(house.client, "/-evil/sse/board") as refused:
            (farewell,) = await refused.rest()
        await house.change()
        shown = [await link(stream) for stream in streams]

    assert page.status_code == 500
    assert (farewell.event, farewell.data) == ("sse-holdoff", "overloaded")
    assert shown == [f'<a href="{root}/">1</a>' for root in roots]
    assert "QUART_SSE_BASE_URL" in caplog.text


async def test_root_paths_of_pages_that_are_gone_make_room() -> None:
    """What a stranger made up is forgotten with the page; the app's own pages are served."""
    house = House(QUART_SSE_LINGER=0)

    for number in range(3 * MOST):
        assert f'href="/-app{number}/"' in await house.page(f"/-app{number}")


async def test_root_paths_that_were_made_up_make_room_while_others_look() -> None:
    """Requests for a fragment that others look at leave nothing that keeps pages away."""
    house = House()
    (url,) = connect_urls(await house.page(""))

    async with open_stream(house.client, url) as stream:
        await stream.next("sse-open")
        for number in range(3 * MOST):
            answer = await house.client.get(f"/-evil{number}/sse/~/list/board")
            assert answer.status_code == 200
        assert 'href="/-app/"' in await house.page("/-app")
        await house.change()
        assert await link(stream) == '<a href="/">1</a>'


async def test_error_of_too_many_root_paths_names_the_remedy() -> None:
    """The error says which root paths there are and which key decides."""
    house = House()
    hub = house.app.extensions["quart_sse"].hub
    for number in range(MOST):
        hub._roots.at(f"/{number}")
        hub._roots.enter(f"/{number}")

    with pytest.raises(RenderError, match=r"'/0', '/1'.*QUART_SSE_BASE_URL"):
        hub._roots.at("/evil")
    hub._roots.leave("/0")
    hub._roots.at("/evil")


async def test_change_is_known_below_a_root_path_that_comes_later() -> None:
    """A page that is the first below its root path shows what others were sent before."""
    house = House()
    (url,) = connect_urls(await house.page(""))
    (other,) = connect_urls(await house.page("/-app"))

    async with open_stream(house.client, url) as one:
        await house.change()
        assert await link(one) == '<a href="/">1</a>'
        async with asyncio.timeout(5), open_stream(house.client, other) as two:
            assert await link(two) == '<a href="/-app/">1</a>'
            await house.change()
            assert await link(one) == '<a href="/">2</a>'
            assert await link(two) == '<a href="/-app/">2</a>'
    services = house.app.extensions["quart_sse"]
    await until(lambda: not services.connections)
