"""The inspector: pages that show what is live, for those whom the app allows and nobody else."""

import asyncio
import json
import re
from collections.abc import Callable
from urllib.parse import quote

import pytest
from jinja2 import StrictUndefined
from quart import Quart
from quart.testing import QuartClient

from quart_sse import SSE, DeclarationError
from tests.support.operators import URL, Operator, may_inspect
from tests.support.sites import Site, serving
from tests.support.streams import SSE_ACCEPT, connect_urls, open_stream, until
from tests.support.verdicts import verdict

PAGES = ["", "/connections", "/connection", "/topics", "/topic", "/renders", "/messages"]
PAGES += ["/configuration"]
#: The live part of the overview: a stream of it alone, and its HTML.
STREAM, BODY = "/sse/sse-inspector/overview/-", "/sse/~/body/sse-inspector/overview/-"
#: What each kind of page of another origin sends.
OUTSIDE = [
    {"Origin": "https://evil.example"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "empty"},
    {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
]
LINK = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


# -- who may look ----------------------------------------------------------------------------------


async def test_there_is_no_inspector_by_default(site: Site) -> None:
    """Nor a channel of its own."""
    assert (await site.client("op").get(URL)).status_code == 404
    assert "sse-inspector" not in site.sse.channels


async def test_call_without_a_function_refuses_everybody(site: Site) -> None:
    """Pages, streams and actions."""
    site.sse.inspector()
    client = site.client("op-ada")

    for path in ("", "/connections", "/nothing"):
        assert (await client.get(f"{URL}{path}")).status_code == 403
    assert (await client.post(f"{URL}/~act", form={})).status_code == 403
    assert await verdict(client, STREAM) == "sse-stop refused"


async def test_pages_are_for_those_whom_the_app_allows(shop: Site) -> None:
    """It is judged at each request, also of a browser that was shown a page before."""
    shop.app.jinja_env.undefined = StrictUndefined  # as some apps have it
    client, visitor = shop.client("op-ada"), shop.client()
    for page in PAGES:
        client.set_cookie("localhost", "who", "op-ada")
        assert (await client.get(f"{URL}{page}")).status_code == 200
        client.set_cookie("localhost", "who", "mallory")
        assert (await client.get(f"{URL}{page}")).status_code == 403
        assert (await visitor.get(f"{URL}{page}")).status_code == 403


def _fails() -> bool:
    raise LookupError("no rights are known")


@pytest.mark.parametrize("answer", [lambda: 1, _fails, lambda: "yes", lambda: None])
async def test_only_true_allows(answer: Callable[[], object]) -> None:
    """An error, or what is true by accident, refuses."""
    app = Quart(__name__)
    SSE(app).inspector(authorize=answer)

    assert (await QuartClient(app).get(URL)).status_code == 403


async def test_streams_are_judged_by_the_same_function(shop: Site, operator: Operator) -> None:
    """At each connect: the token of a page that was shown before opens nothing by itself."""
    (url,) = connect_urls(await operator.look())
    async with open_stream(operator.client, url) as stream:
        opened = json.loads((await stream.next("sse-open")).data)
        handle = shop.sse.connections.get(opened["id"])
        assert handle is not None
        assert "sse-inspector?asked=-&view=overview" in {each.name for each in handle.topics}
        assert handle._newest.ends_at - asyncio.get_running_loop().time() <= 60, (
            "and once more, a minute later"
        )
    operator.client.set_cookie("localhost", "who", "mallory")

    assert await verdict(operator.client, STREAM) == "sse-stop refused"
    assert await verdict(operator.client, url) == "sse-stop refused"
    assert (await operator.client.get(BODY)).status_code == 403


async def test_it_is_declared_once(shop: Site) -> None:
    """Two functions would leave open which one judges."""
    with pytest.raises(DeclarationError, match="called already"):
        shop.sse.inspector(authorize=may_inspect)


async def test_app_may_come_later() -> None:
    """As with a factory, and with a prefix of its own."""
    sse, app = SSE(), Quart(__name__)
    app.secret_key = "for tests only"
    app.config["QUART_SSE_URL_PREFIX"] = "/live"
    sse.inspector(authorize=lambda: True)
    sse.init_app(app)

    assert (await QuartClient(app).get("/live/~inspector")).status_code == 200


async def test_it_is_at_every_host_of_the_app() -> None:
    """Where an app has rules for several, with scripts, streams and actions at each."""
    app = Quart(__name__, host_matching=True, static_host="cdn.example.com")
    app.secret_key = "for tests only"
    app.add_url_rule("/", "home", lambda: "", host="www.example.com")
    SSE(app).inspector(authorize=lambda: True)
    async with app.test_app():
        headers = {"Host": "www.example.com"}
        for page in PAGES:
            answer = await QuartClient(app).get(f"{URL}{page}", headers=headers)
            assert answer.status_code == 200, page
        answer = await QuartClient(app).post(f"{URL}/~act", headers=headers)
        assert answer.status_code == 403


# -- other origins ---------------------------------------------------------------------------------


async def test_pages_of_other_origins_get_nothing(shop: Site) -> None:
    """Neither pages, nor streams, nor fragments, nor actions; a link to it leads there."""
    client = shop.client("op-ada")
    for headers in OUTSIDE:
        for path in (f"{URL}/connections", BODY, STREAM):
            answer = await client.get(path, headers={**SSE_ACCEPT, **headers})
            assert answer.status_code == 403, path
        answer = await client.post(f"{URL}/~act", headers=headers, form={})
        assert answer.status_code == 403
    assert (await client.get(URL, headers=LINK)).status_code == 200
    assert (await client.post(f"{URL}/~act", headers=LINK, form={})).status_code == 403


async def test_origins_that_may_open_streams_may_not_look() -> None:
    """``QUART_SSE_ORIGINS`` is for the streams of the app."""
    site = Site("memory://", origins="https://friend.example")
    site.sse.inspector(authorize=may_inspect)
    headers = {**SSE_ACCEPT, "Origin": "https://friend.example", "Sec-Fetch-Site": "cross-site"}
    async with serving(site):
        client = site.client("op-ada")
        for path in (URL, BODY):
            answer = await client.get(path, headers=headers)
            assert answer.status_code == 403, path
        assert await verdict(client, STREAM, **headers) == "sse-stop refused"
        assert await verdict(client, "/sse/news", **headers) == "open"


# -- what is shown ---------------------------------------------------------------------------------


async def test_what_clients_bring_is_escaped(shop: Site, operator: Operator) -> None:
    """On every page that shows it."""
    evil = '"><script>alert(1)</script>'
    shop.app.jinja_env.autoescape = False  # templates of the app may be of text
    shouts = shop.sse.channel("shouts", "/shouts/<path:name>", public=True)

    @shouts.fragment("loud")
    async def loud(name: str) -> str:
        raise LookupError(evil)

    topic = shouts.topic(name=evil)
    shop.shown[:] = [topic]
    seen = []
    async with shop.view(1, who=f"u{evil}", meta={"note": evil}) as (_, handle):
        await topic.publish("spoken", evil)
        hub = shop.app.extensions["quart_sse"].hub
        with pytest.raises(Exception, match="alert"):
            await hub.render_now(topic.name, hub._declared.spec(topic.name, "loud"))
        for page in (
            "",
            "/connections",
            f"/connections?identity={evil}&metadata={evil}&topic={evil}",
            f"/connection?id={handle.id}",
            f"/connection?id={evil}",
            "/topics",
            f"/topics?part={evil}",
            f"/topic?name={quote(topic.name)}",
            f"/topic?name={evil}",
            "/renders",
            "/messages",
            f"/messages?topic={evil}",
            f"/messages?done={evil}",
        ):
            html = await operator.look(page)
            assert "<script>alert" not in html, page
            seen += re.findall(r"&gt;&lt;script&gt;alert\(1\)", html)

    assert len(seen) > 8


async def test_page_allows_nothing_but_files_of_the_app(operator: Operator) -> None:
    """And may be in no frame, no cache, and in the clear by no mistake."""
    answer = await operator.client.get(URL)
    html = await answer.get_data(as_text=True)

    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert not re.findall(r"\son\w+=|\sstyle=|<style|<script>", html)
    assert answer.headers["Cache-Control"] == "private, no-store"
    cookie = answer.headers["Set-Cookie"]
    assert all(each in cookie for each in ("HttpOnly", "SameSite=Lax", f"Path={URL}"))
    assert "htmx" not in " ".join(re.findall(r"<script[^>]*>", html)), "the app's is not needed"


async def test_payloads_can_be_hidden(site: Site) -> None:
    """Data of events, conditions, and what errors say."""
    site.sse.inspector(authorize=may_inspect, payloads=False)

    @site.rooms.fragment("people")
    async def people(room: int) -> str:
        raise LookupError("kanarienvogel")

    operator, hub = Operator(site), site.app.extensions["quart_sse"].hub
    async with site.view(1):
        await site.room().publish("paid", "kanarienvogel", where={"role": "kanarienvogel"})
        with pytest.raises(Exception, match="kanarienvogel"):
            await hub.render_now("rooms?room=1", hub._declared.spec("rooms?room=1", "people"))
        pages = [
            await operator.look(page)
            for page in ("/messages", "/topic?name=rooms%3Froom%3D1", "/renders")
        ]

    assert "paid" in pages[0]
    assert "The data are hidden." in pages[0]
    assert "LookupError" in pages[2]
    assert "kanarienvogel" not in "".join(pages)


async def test_pages_show_all_processes(shops: tuple[Site, Site]) -> None:
    """Whichever process is asked."""
    here, there = shops
    operator = Operator(here)
    async with here.view(1, who="ada"), there.view(2, who="bob") as (_, handle):
        await there.room(2).publish("hello", {"n": 1})
        html = await operator.look("/connections")
        assert "ada" in html
        assert "bob" in html
        assert "bob" in await operator.look(f"/connection?id={handle.id}")
        assert "rooms?room=2" in await operator.look("/topics")
        assert "hello" in await operator.look("/messages")
        assert len(re.findall(r'id="process-\w+"', await operator.look())) == 2
        html = await operator.look("/connections?identity=bob&channel=rooms")
        assert 'id="connection-' in html
        assert ">ada<" not in html


async def test_list_of_many_is_one_page(shop: Site, operator: Operator) -> None:
    """10,000 connections are as long as 50, and each is found on some page."""
    connections = shop.app.extensions["quart_sse"].connections
    async with shop.view(1) as (_, handle):
        one = connections.get(handle.id)
        before = len(await operator.look("/connections"))

        def crowd() -> list[object]:
            """Return that connection 10,000 times, as it looks to a survey."""
            return [_Alias(one, number) for number in range(10_000)]

        pages = connections._chains
        try:
            connections._chains = _Crowd(pages, crowd())
            html = await operator.look("/connections")
        finally:
            connections._chains = pages

    assert html.count('id="connection-') == 50
    assert "10000 connections" in html
    assert len(html) < before + 50 * 2_000
    (link,) = re.findall(r'href="([^"]*after=[^"]*)"', html)
    assert link.startswith(f"{URL}/connections?after=")


class _Alias:
    """One of many connections, which are made of one."""

    def __init__(self, connection: object, number: int) -> None:
        self._connection = connection
        self.id = f"{number:05d}"

    def __getattr__(self, name: str) -> object:
        return getattr(self._connection, name)


class _Crowd:
    """The chains of connections with many newest ones."""

    def __init__(self, chains: object, newest: list[object]) -> None:
        self._chains = chains
        self.newest = newest

    def __getattr__(self, name: str) -> object:
        return getattr(self._chains, name)

    def __len__(self) -> int:
        return len(self._chains)  # type: ignore[arg-type]


async def test_page_is_kept_current_while_somebody_looks(shop: Site, operator: Operator) -> None:
    """By one fragment, rendered on the server; without a look nothing is asked or rendered."""
    statistics = shop.app.extensions["quart_sse"].statistics
    (url,) = connect_urls(await operator.look("/connections"))
    async with open_stream(operator.client, url) as stream:
        await stream.next("sse-open")
        async with shop.view(1, who="bob"):
            html = ""
            while "bob" not in html:
                html = (await stream.next()).data
    await until(lambda: not shop.sse.connections)
    key = "sse-inspector?asked=-&view=connections"
    hub = shop.app.extensions["quart_sse"].hub
    (body,) = [each for each in hub.fragments if (each.topic, each.spec.name) == (key, "body")]

    assert body._every is None or not body.is_viewed()
    body._tick()
    assert body._every is None, "the next one would only be for those who look"
    assert body.is_idle
    assert statistics.renders.number > 0
