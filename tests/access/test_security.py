"""Holes that a gate may have: answers that are none, tokens that open too much or for too long."""

import asyncio
import html
import json
import logging
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from quart import Quart, Response, abort, render_template_string, request, stream_template_string
from quart.testing import QuartClient

from quart_sse import SSE, AnswerError, Channel, ConfigError
from quart_sse.host import KEY
from tests.support.pages import MACROS, add_page
from tests.support.streams import SSE_ACCEPT, client_of, connect_urls, open_stream, until

if TYPE_CHECKING:
    from quart_sse.wiring import Services

DAY = 86_400.0


@pytest.fixture
def sse(app: Quart) -> SSE:
    """An extension that soon finds out that a stream stands where all do."""
    app.config["QUART_SSE_PROBE"] = 0.1
    return SSE(app)


@pytest.fixture
def desk(sse: SSE) -> Channel:
    """A channel that only pages open, with three fragments; a page shows one of them."""
    desk = sse.channel("desk", "/desk/<int:number>")
    desk.fragment("title")(lambda number: "title")
    desk.fragment("queue")(lambda number: "secret queue")
    desk.fragment("mine", personal=True)(lambda number: "secret mine")
    return desk


async def url_of(client: QuartClient, path: str = "/") -> str:
    """Return the stream's URL of a page."""
    answer = await client.get(path)
    assert answer.status_code == 200
    (url,) = connect_urls(await answer.get_data(as_text=True))
    return url


def query_of(url: str) -> str:
    return url.partition("?")[2]


async def aged(
    monkeypatch: pytest.MonkeyPatch, client: QuartClient, seconds: float, path: str = "/"
) -> str:
    """Return the stream's URL of a page as it was made some seconds ago."""
    then = time.time() - seconds
    with monkeypatch.context() as past:
        past.setattr(time, "time", lambda: then)
        return await url_of(client, path)


async def first_of(client: QuartClient, url: str) -> str:
    """Return what a stream begins with: the name, and for farewells the reason."""
    async with open_stream(client, url) as stream:
        event = await stream.next()
        return event.event if event.event == "sse-open" else f"{event.event} {event.data}"


# -- the answers of functions that decide ----------------------------------------------------------


class Nobody:
    """A function of identities that is an object."""

    async def __call__(self) -> None:
        return None


async def _ada() -> str:
    return "ada"


IDENTITIES: dict[str, tuple[Callable[[], Any], str, int]] = {
    "a name": (lambda: "ada", "sse-open", 200),
    "a coroutine's name": (lambda: _ada(), "sse-open", 200),
    "an object's None": (Nobody(), "sse-open", 200),
    "an empty text": (lambda: "", "sse-holdoff error", 500),
    "a number": (lambda: 7, "sse-holdoff error", 500),
    "a response": (lambda: Response("who?"), "sse-holdoff error", 500),
    "abort 401": (lambda: abort(401), "sse-stop refused", 403),
    "abort 500": (lambda: abort(500), "sse-holdoff error", 500),
}


@pytest.mark.parametrize("case", IDENTITIES)
async def test_identity_is_a_name_or_none(
    app: Quart, sse: SSE, caplog: pytest.LogCaptureFixture, case: str
) -> None:
    """What is no identity opens neither stream nor fragment, and is logged once for all."""
    function, expected, status = IDENTITIES[case]
    sse.identity(function)
    rooms = sse.channel("rooms", "/rooms")
    rooms.fragment("list")(lambda: "list")
    rooms.authorize(lambda: True)
    client = QuartClient(app)

    told = {await first_of(client, url) for url in ("/sse/rooms", "/sse?t=~rooms")}
    plain = await client.get("/sse/rooms") if status != 200 else None
    fragment = await client.get("/sse/~/list/rooms?t=~rooms:list")

    assert told == {expected}
    assert plain is None or plain.status_code == status
    assert fragment.status_code == status
    assert len([record for record in caplog.records if record.exc_info]) == (status == 500)


async def test_page_of_a_wrong_identity_is_told_what_to_return(app: Quart, sse: SSE) -> None:
    """In a page the error is the app's own, and names the function and the remedy."""
    sse.identity(lambda: "")
    sse.channel("rooms", "/rooms").fragment("list")(lambda: "list")

    async with app.test_request_context("/"):
        with pytest.raises(AnswerError, match=r"@sse\.identity.*''.*or None"):
            await render_template_string(MACROS + '{{ sse_live("rooms.list") }}')


async def test_wrong_answer_is_logged_once_for_each_function(
    app: Quart, sse: SSE, caplog: pytest.LogCaptureFixture
) -> None:
    """A thousand requests cannot fill the log; each function has its own traceback."""
    for name in ("one", "two"):
        sse.channel(name, f"/{name}/<int:number>").authorize(lambda number: "yes")
    client = QuartClient(app)
    topics = "+".join(f"{name}?number%3D{n}" for name in ("one", "two") for n in range(8))

    for number in range(20):
        assert await first_of(client, f"/sse/one/{number}") == "sse-holdoff error"
        assert await first_of(client, f"/sse/two/{number}") == "sse-holdoff error"
        assert await first_of(client, f"/sse?t=~{topics}") == "sse-holdoff error"

    records = [record for record in caplog.records if record.levelname == "ERROR"]
    assert [re.findall("channel '(...)'", record.getMessage())[0] for record in records] == [
        "one",
        "two",
    ]
    assert "True, False or None" in caplog.text


# -- what is signed is what is checked -------------------------------------------------------------


@pytest.mark.parametrize("fragment", ["queue", "mine"])
async def test_token_opens_no_fragment_that_its_page_did_not_show(
    app: Quart, desk: Channel, fragment: str
) -> None:
    """A page that shows the title alone gives a token for the title alone."""
    add_page(app, '{{ sse_fragment("desk.title", number=7) }}{{ sse_connect() }}')
    client = QuartClient(app)
    query = query_of(await url_of(client))

    shown = await client.get(f"/sse/~/title/desk/7?{query}")
    hidden = await client.get(f"/sse/~/{fragment}/desk/7?{query}")

    assert (shown.status_code, await shown.get_data(as_text=True)) == (200, "title")
    assert (hidden.status_code, await hidden.get_data(as_text=True)) == (403, "")


@pytest.mark.parametrize("asked", ["", "&fragments=queue", "&fragments=title,queue,mine"])
async def test_stream_of_a_token_has_no_fragment_that_its_page_did_not_show(
    app: Quart, desk: Channel, asked: str
) -> None:
    """``fragments=`` of a channel's own URL picks among those that were signed."""
    add_page(app, '{{ sse_fragment("desk.title", number=7) }}{{ sse_connect() }}')
    client = QuartClient(app)
    query = query_of(await url_of(client))
    topic = desk.topic(number=7)

    async with open_stream(client, f"/sse/desk/7?{query}{asked}") as stream:
        await stream.next("sse-open")
        await topic.refresh("queue")
        await topic.refresh("title")
        await topic.publish("last")
        events = [await stream.next()]
        while events[-1].event != "last":
            events.append(await stream.next())

    assert not any("secret" in event.data for event in events)


async def test_pages_that_share_a_stream_fetch_each_by_its_own_token(
    app: Quart, desk: Channel
) -> None:
    """A personal fragment is fetched by the token that names it, not by another page's."""
    add_page(app, '{{ sse_fragment("desk.title", number=7) }}{{ sse_connect() }}', "/title")
    add_page(app, '{{ sse_fragment("desk.mine", number=7) }}{{ sse_connect() }}', "/mine")
    client = QuartClient(app)
    title, mine = await url_of(client, "/title"), await url_of(client, "/mine")

    for url in (f"{title}&{query_of(mine)}", f"{mine}&{query_of(title)}"):
        async with open_stream(client, url) as stream:
            await stream.next("sse-open")
            await desk.topic(number=7).refresh("mine")
            (path,) = re.findall('hx-get="([^"]+)"', (await stream.next("message")).data)
        answer = await client.get(html.unescape(path))

        assert await answer.get_data(as_text=True) == "secret mine"


async def test_whole_topic_is_open_where_authorize_says_so(app: Quart, sse: SSE) -> None:
    """A rule of the app's own grants all fragments, with or without the page that shows one."""
    room = sse.channel("room", "/room")
    room.authorize(lambda: True)
    room.fragment("title")(lambda: "title")
    room.fragment("queue")(lambda: "queue")
    add_page(app, '{{ sse_fragment("room.title") }}{{ sse_connect() }}')
    client = QuartClient(app)
    query = query_of(await url_of(client))

    for url in ("/sse/~/queue/room", f"/sse/~/queue/room?{query}"):
        assert (await client.get(url)).status_code == 200
    async with open_stream(client, f"/sse/room?{query}&fragments=queue") as stream:
        await stream.next("sse-open")
        await room.topic().refresh("queue")
        assert "queue" in (await stream.next("message")).data


@pytest.fixture
def nest(app: Quart, sse: SSE) -> dict[str, bool]:
    """An outer fragment with one of a guarded channel inside; returns the identities it lets in."""
    allowed = {"ada": True, "bob": False}
    sse.identity(lambda: request.cookies.get("who"))
    inner = sse.channel("inner", "/inner/<int:number>")
    inner.authorize(lambda number: allowed[request.cookies["who"]])
    inner.fragment("list")(lambda number: "secret list")
    outer = sse.channel("outer", "/outer", public=True)
    outer.fragment("title")(lambda: "title")

    @outer.fragment("all", includes=["inner.list"])
    async def everything() -> str:
        return await render_template_string(MACROS + '{{ sse_fragment("inner.list", number=1) }}')

    add_page(
        app, '{{ sse_fragment("outer.all") }}{{ sse_fragment("outer.title") }}{{ sse_connect() }}'
    )
    return allowed


@pytest.mark.parametrize("who", ["ada", "bob"])
@pytest.mark.parametrize("way", ["page", "own URL", "unsigned"])
async def test_fragment_is_refused_with_what_it_contains(
    app: Quart, sse: SSE, nest: dict[str, bool], who: str, way: str
) -> None:
    """A client that may not see the inner fragment gets no outer one, and its name as refused."""
    client = client_of(app, who)
    page = (await url_of(client)).partition("&since")[0]
    urls = {"page": page, "own URL": "/sse/outer?", "unsigned": "/sse?t=~outer:all,title"}
    told: list[tuple[str, str]] = []

    def is_settled() -> bool:
        has_title = any("title" in data for _, data in told)
        has_list = any("secret list" in data for _, data in told)
        return has_title and (has_list or any(name == "sse-refused" for name, _ in told))

    # What is inside is known when it was rendered once; then the stream is sent back to the gate.
    async with asyncio.timeout(10):
        while not is_settled():
            async with open_stream(client, f"{urls[way]}&since=0") as stream:
                while not is_settled() and (told[-1:] or [("", "")])[0][0] != "sse-holdoff":
                    event = await stream.next()
                    told.append((event.event, event.data))
                if told[-1][0] == "sse-holdoff":
                    assert told[-1][1] == "recheck"
                    assert way != "page"
                    told.append(("back", ""))
    fragment = await client.get("/sse/~/all/outer")

    if who == "ada":
        assert fragment.status_code == 200
        assert not any(name == "sse-refused" for name, _ in told)
    else:
        (refused,) = [json.loads(data) for name, data in told if name == "sse-refused"]
        assert refused["fragments"] == ["outer.all"]
        assert not any("secret list" in data for _, data in told)
        assert any("title" in data for _, data in told)
        assert (fragment.status_code, await fragment.get_data(as_text=True)) == (403, "")


@pytest.mark.parametrize("rule", ["authorize", "pages"])
@pytest.mark.parametrize("who", ["ada", "bob"])
async def test_what_is_deeper_inside_counts_too(app: Quart, sse: SSE, rule: str, who: str) -> None:
    """An outer fragment names only what is directly inside; the client may see all or nothing."""
    inner = sse.channel("inner", "/inner/<int:number>")
    inner.fragment("list")(lambda number: "secret list")
    if rule == "authorize":
        inner.authorize(lambda number: request.cookies["who"] == "ada")
    outer = sse.channel("outer", "/outer", public=True)

    @outer.fragment("middle", includes=["inner.list"])
    async def middle() -> str:
        return await render_template_string(MACROS + '{{ sse_fragment("inner.list", number=1) }}')

    @outer.fragment("all")
    async def everything() -> str:
        return await render_template_string(MACROS + '{{ sse_fragment("outer.middle") }}')

    add_page(app, '{{ sse_fragment("outer.all") }}{{ sse_connect() }}')
    client = client_of(app, who)
    query = "?" if rule == "authorize" else f"?{query_of(await url_of(client))}&"
    if who == "bob":
        query = "?"
    told: list[tuple[str, str]] = []

    def is_settled() -> bool:
        return any("secret list" in data or name == "sse-refused" for name, data in told)

    async with asyncio.timeout(10):
        while not is_settled():
            async with open_stream(client, f"/sse/outer{query}since=0&fragments=all") as stream:
                with suppress(EOFError):
                    while not is_settled():
                        event = await stream.next()
                        told.append((event.event, event.data))
                        await outer.topic().refresh("all")

    assert ("secret list" in str(told)) is (who == "ada")
    assert len([name for name, _ in told if name == "sse-holdoff"]) <= 1
    fragment = await client.get(f"/sse/~/all/outer{query}")
    assert fragment.status_code == (200 if who == "ada" else 403)


async def test_inner_fragment_that_only_pages_open_needs_the_page(app: Quart, sse: SSE) -> None:
    """Where the inner channel has no rule, the page that showed the outer one is what opens it."""
    sse.channel("inner", "/inner").fragment("list")(lambda: "secret list")
    outer = sse.channel("outer", "/outer", public=True)

    @outer.fragment("all", includes=["inner.list"])
    async def everything() -> str:
        return await render_template_string(MACROS + '{{ sse_fragment("inner.list") }}')

    add_page(app, '{{ sse_fragment("outer.all") }}{{ sse_connect() }}')
    client = QuartClient(app)
    query = query_of(await url_of(client))

    assert (await client.get("/sse/~/all/outer")).status_code == 403
    assert (await client.get(f"/sse/~/all/outer?{query}")).status_code == 200
    async with open_stream(client, "/sse/outer?since=0") as stream:
        assert json.loads((await stream.next("sse-refused")).data)["fragments"] == ["outer.all"]


async def test_client_that_was_sent_back_is_remembered_until_it_returns(app: Quart) -> None:
    """What is inside is known when it comes back, also where topics are forgotten at once."""
    app.config["QUART_SSE_LINGER"] = 0
    sse = SSE(app)
    inner = sse.channel("inner", "/inner")
    inner.authorize(lambda: False)
    inner.fragment("list")(lambda: "secret list")
    outer = sse.channel("outer", "/outer", public=True)

    @outer.fragment("middle", includes=["inner.list"])
    async def middle() -> str:
        return await render_template_string(MACROS + '{{ sse_fragment("inner.list") }}')

    @outer.fragment("all")
    async def everything() -> str:
        return await render_template_string(MACROS + '{{ sse_fragment("outer.middle") }}')

    client = QuartClient(app)
    hub = app.extensions[KEY].hub
    url = "/sse/outer?fragments=all&since=0"
    async with open_stream(client, url) as stream:
        assert (await stream.next("sse-holdoff")).data == "recheck"
    await until(lambda: not app.extensions[KEY].connections)
    await hub.forget(asyncio.get_running_loop().time() + 1.5)  # it returns within 0.75 s

    async with open_stream(client, url) as stream:
        assert json.loads((await stream.next("sse-refused")).data)["fragments"] == ["outer.all"]


async def test_page_opens_an_outer_fragment_whatever_it_has_shown_before(
    app: Quart, sse: SSE
) -> None:
    """A connect element of an outer fragment is signed, also where another has the inner one."""
    sse.channel("inner", "/inner").fragment("list")(lambda: "list")
    outer = sse.channel("outer", "/outer", public=True)

    @outer.fragment("all", includes=["inner.list"])
    async def everything() -> str:
        return await render_template_string(MACROS + '{{ sse_fragment("inner.list") }}')

    add_page(app, '{{ sse_fragment("inner.list") }}{{ sse_connect() }}{{ sse_live("outer.all") }}')
    client = QuartClient(app)

    for url in connect_urls(await (await client.get("/")).get_data(as_text=True)):
        assert await first_of(client, url) == "sse-open"


async def test_client_is_judged_for_what_came_inside_later(app: Quart, sse: SSE) -> None:
    """What an inner fragment contains by now counts, not what it did for the outer's render."""
    contains = False
    inner = sse.channel("inner", "/inner")
    inner.authorize(lambda: request.cookies["who"] == "ada")
    inner.fragment("list")(lambda: "secret list")
    middle = sse.channel("middle", "/middle", public=True)
    outer = sse.channel("outer", "/outer", public=True)
    outer.fragment("title")(lambda: "title")

    @middle.fragment("all", includes=["inner.list"], debounce=0)
    async def everything() -> str:
        body = '{{ sse_fragment("inner.list") }}' if contains else "nothing"
        return await render_template_string(MACROS + body)

    @outer.fragment("all", includes=["middle.all"], debounce=0)
    async def all_of_it() -> str:
        return await render_template_string(MACROS + '{{ sse_fragment("middle.all") }}')

    add_page(app, '{{ sse_fragment("outer.all") }}{{ sse_connect() }}')
    ada, bob = client_of(app, "ada"), client_of(app, "bob")
    url = (await url_of(ada)).partition("&since")[0]

    async with open_stream(ada, f"{url}&since=0") as stream:
        await stream.next("message")
        contains = True
        await middle.topic().refresh("all")
        await stream.next("sse-holdoff")
    async with open_stream(ada, f"{url}&since=0") as stream:
        assert "secret list" in (await stream.next("message")).data
        told: list[tuple[str, str]] = []
        for _ in range(3):  # sent back while a render is under way, but not for ever
            async with open_stream(bob, "/sse/outer?since=0") as refused:
                while not told or told[-1][0] not in ("sse-refused", "sse-holdoff"):
                    event = await refused.next()
                    told.append((event.event, event.data))
                if told[-1][0] == "sse-refused":
                    assert "title" in (await refused.next("message")).data
                    break
            told.append(("back", ""))
        assert told[-1][0] == "sse-refused"
        assert json.loads(told[-1][1])["fragments"] == ["outer.all"]
        assert not any("secret list" in data for _, data in told)


# -- a bearer has an end ---------------------------------------------------------------------------

WEEK = 7 * DAY


@contextmanager
def at(now: float, monkeypatch: pytest.MonkeyPatch, client: QuartClient) -> Iterator[None]:
    """Let it be another time for whatever signs and verifies."""
    state: Services = client.app.extensions[KEY]
    with monkeypatch.context() as later:
        later.setattr(time, "time", lambda: now)
        later.setattr(state.signer, "_clock", lambda: now)
        yield


async def renewals(
    monkeypatch: pytest.MonkeyPatch, client: QuartClient, url: str, now: float
) -> str | None:
    """Return the URL by which a stream renews itself, at a time; None if it is not let in."""
    with at(now, monkeypatch, client):
        async with open_stream(client, url) as stream:
            if (await stream.next()).event != "sse-open":
                return None
            (renewed,) = connect_urls((await stream.next("message")).data)
            return renewed


async def test_token_that_renews_itself_ends(
    monkeypatch: pytest.MonkeyPatch, app: Quart, sse: SSE, desk: Channel
) -> None:
    """However often a stream renews a token, it is good for seven days after its page was made."""
    add_page(app, '{{ sse_fragment("desk.title", number=7) }}{{ sse_connect() }}')
    client = QuartClient(app)
    url: str | None = await url_of(client)
    began, days = time.time(), 0.0

    while url is not None and days < 20:
        days += 0.9
        last, url = url, await renewals(monkeypatch, client, url, began + days * DAY)

    assert WEEK < days * DAY < WEEK + DAY
    with at(began + days * DAY, monkeypatch, client):
        assert await first_of(client, last) == "sse-stop expired"


async def test_what_a_rule_or_nobody_guards_outlives_the_signature(
    monkeypatch: pytest.MonkeyPatch, app: Quart, sse: SSE
) -> None:
    """Seven days after the page was made only the topics end that nothing but it speaks for."""
    sse.channel("signed", "/signed").fragment("list")(lambda: "x")
    ruled = sse.channel("ruled", "/ruled")
    ruled.fragment("list")(lambda: "x")
    ruled.authorize(lambda: True)
    sse.channel("open", "/open", public=True).fragment("list")(lambda: "x")
    names = ("signed", "ruled", "open")
    body = "".join(f'{{{{ sse_fragment("{name}.list") }}}}' for name in names)
    add_page(app, body + "{{ sse_connect() }}")
    client = QuartClient(app)
    url, now = await url_of(client), time.time() + WEEK + 60

    with at(now, monkeypatch, client):
        async with open_stream(client, url) as stream:
            refused = json.loads((await stream.next("sse-refused")).data)
            opened = json.loads((await stream.next("sse-open")).data)
            (renewed,) = connect_urls((await stream.next("message")).data)
        first = await first_of(client, renewed)
        read = app.extensions[KEY].signer.verify(parse_qs(query_of(renewed))["t"][0], None)

    assert refused["topics"] == ["signed"]
    assert opened["topics"] == [["open", "ruled"]]
    assert first == "sse-open"
    assert set(read.topics) == {"ruled", "open"}
    assert read.is_expired


async def test_renewal_names_nothing_that_was_refused(
    monkeypatch: pytest.MonkeyPatch, app: Quart, sse: SSE
) -> None:
    """A token that is too old is given no second life by a topic that needs none."""
    sse.channel("inner", "/inner").fragment("list")(lambda: "secret list")
    outer = sse.channel("outer", "/outer")
    outer.authorize(lambda: True)
    outer.fragment("title")(lambda: "title")

    @outer.fragment("all", includes=["inner.list"])
    async def everything() -> str:
        return await render_template_string(MACROS + '{{ sse_fragment("inner.list") }}')

    add_page(
        app, '{{ sse_fragment("outer.all") }}{{ sse_fragment("outer.title") }}{{ sse_connect() }}'
    )
    client = QuartClient(app)
    url = await url_of(client)
    assert (await client.get(f"/sse/~/all/outer?{query_of(url)}")).status_code == 200

    now = time.time() + 2 * DAY
    with at(now, monkeypatch, client):
        async with open_stream(client, url) as stream:
            await stream.next("sse-open")
            (renewed,) = connect_urls((await stream.next("message")).data)
        for name, status in (("all", 403), ("title", 200)):
            answer = await client.get(f"/sse/~/{name}/outer?{query_of(renewed)}")
            assert answer.status_code == status


async def test_open_stream_ends_when_its_signature_does(
    monkeypatch: pytest.MonkeyPatch, app: Quart, sse: SSE, desk: Channel
) -> None:
    """A stream lives no longer than what it stands on; one with a rule has its maximum age."""
    add_page(app, '{{ sse_fragment("desk.title", number=7) }}{{ sse_connect() }}')
    client = QuartClient(app)
    url = await url_of(client)
    now = time.time() + 0.9 * DAY
    url = await renewals(monkeypatch, client, url, now) or ""
    state: Services = app.extensions[KEY]
    state.signer._max_lifetime = 0.9 * DAY + 60

    with at(now, monkeypatch, client):
        async with open_stream(client, url) as stream:
            await stream.next("sse-open")
            (connection,) = state.connections
            left = connection.ends_at - asyncio.get_running_loop().time()

    assert 50 < left < 60.5


async def test_shared_stream_says_which_of_its_tokens_has_expired(
    monkeypatch: pytest.MonkeyPatch, app: Quart, sse: SSE, desk: Channel
) -> None:
    """A tab whose token has expired stops, while the stream goes on for the others."""
    add_page(app, '{{ sse_live("desk.title", number=request.args.number | int) }}')
    client = QuartClient(app)
    old = await aged(monkeypatch, client, 2 * DAY, "/?number=1")
    new = await url_of(client, "/?number=2")

    async with open_stream(client, f"{old}&{query_of(new)}") as stream:
        opened = json.loads((await stream.next("sse-open")).data)

    assert opened["expired"] == [0]
    assert opened["topics"] == [[], ["desk?number=2"]]


# -- what pages give away --------------------------------------------------------------------------


def key_of(url: str) -> str:
    return parse_qs(urlsplit(url).query)["k"][0]


async def test_key_of_a_page_cannot_be_guessed_back_to_an_identity(
    app: Quart, sse: SSE, desk: Channel
) -> None:
    """Pages of one identity share a key that depends on the app's secret; no guess confirms it."""
    sse.identity(lambda: request.cookies.get("who"))
    add_page(app, '{{ sse_fragment("desk.title", number=7) }}{{ sse_connect() }}')

    ada, again = [key_of(await url_of(client_of(app, "7"))) for _ in range(2)]
    bob = key_of(await url_of(client_of(app, "8")))
    app.secret_key = "another secret"
    other = key_of(await url_of(client_of(app, "7")))

    assert ada == again
    assert len({ada, bob, other}) == 3


@pytest.mark.parametrize("way", ["rendered", "streamed"])
async def test_page_with_a_personal_fragment_is_private(app: Quart, sse: SSE, way: str) -> None:
    """No shared cache keeps the page of one viewer, even if every client may listen."""
    news = sse.channel("news", "/news", public=True)
    news.fragment("mine", personal=True)(lambda: "for you")
    news.fragment("list")(lambda: "for all")
    body = MACROS + '{{ sse_fragment("news.mine") }}{{ sse_connect() }}'

    @app.get("/mine")
    async def mine() -> Any:
        if way == "streamed":
            return await stream_template_string(body)
        return await render_template_string(body)

    add_page(app, '{{ sse_fragment("news.list") }}{{ sse_connect() }}', "/list")
    client = QuartClient(app)

    page = await client.get("/mine")
    shared = await client.get("/list")

    assert page.headers["Cache-Control"] == "private, no-store"
    assert "Cache-Control" not in shared.headers


async def test_asking_for_a_fragment_again_and_again_renders_it_once_in_a_debounce(
    app: Quart, sse: SSE
) -> None:
    """``debounce`` also holds for GETs of a fragment's URL, whether pages show it or not."""
    begun: list[float] = []
    news = sse.channel("news", "/news", public=True)

    @news.fragment("list", debounce=0.3)
    async def render() -> str:
        begun.append(asyncio.get_running_loop().time())
        return f"{len(begun)}"

    client = QuartClient(app)

    async def ask(times: int) -> list[str]:
        answers = [await client.get("/sse/~/list/news") for _ in range(times)]
        return [await answer.get_data(as_text=True) for answer in answers]

    given = await asyncio.gather(*(ask(3) for _ in range(20)))

    assert all(answers == sorted(answers, key=int) for answers in given)
    assert len(begun) <= 4
    assert all(later - earlier >= 0.29 for earlier, later in pairwise(begun))


async def test_page_does_not_wait_for_the_debounce(app: Quart, sse: SSE) -> None:
    """A first paint is rendered at once, for its user waits."""
    news = sse.channel("news", "/news", public=True)
    news.fragment("list", debounce=1_000)(lambda: "list")
    add_page(app, '{{ sse_fragment("news.list") }}{{ sse_connect() }}')
    client = QuartClient(app)

    async with asyncio.timeout(5):
        for _ in range(3):
            assert (await client.get("/")).status_code == 200


async def test_list_that_was_changed_at_the_broker_is_refused(
    app: Quart, sse: SSE, caplog: pytest.LogCaptureFixture
) -> None:
    """A list of topics that is too long for a URL is what its page signed, or nothing."""
    desk = sse.channel("desk", "/desk/<name>")
    desk.fragment("title")(lambda name: name[:5])
    names = [secrets.token_hex(40) for _ in range(120)]
    body = "".join(f'{{{{ sse_fragment("desk.title", name="{name}") }}}}' for name in names)
    add_page(app, body + "{{ sse_connect() }}")
    client = QuartClient(app)
    url = await url_of(client)
    assert await first_of(client, url) == "sse-open"
    broker: Any = sse.broker
    if not broker._texts._kept:
        pytest.fail("the list was not kept at the broker, so nothing was tried")

    for kept in broker._texts._kept.values():
        kept.text = "desk?name=stolen:title"

    assert await first_of(client, url) == "sse-stop refused"
    assert "was changed at the broker" in caplog.text


# -- HEAD ------------------------------------------------------------------------------------------

STREAMS = [
    "/sse/news",
    "/sse/desk/1",
    "/sse?t=~news",
    "/sse?t=~desk?number%3D1",
    "/sse?t=x",
    "/sse",
]


@pytest.mark.parametrize("accept", [{}, SSE_ACCEPT], ids=["plain", "event stream"])
@pytest.mark.parametrize("site", [{}, {"Sec-Fetch-Site": "cross-site"}], ids=["own", "foreign"])
@pytest.mark.parametrize("url", [*STREAMS, "/sse/nothing", "/own", "/sse/~/title/desk/1"])
async def test_head_has_the_status_of_get(
    app: Quart, sse: SSE, desk: Channel, url: str, accept: dict[str, str], site: dict[str, str]
) -> None:
    """HEAD is judged as GET is, has its status and type, and opens nothing."""
    news = sse.channel("news", "/news", public=True)

    @app.get("/own")
    async def own() -> Response:
        return await sse.stream(news.topic())

    client = QuartClient(app)
    headers = {**accept, **site}

    head = await client.head(url, headers=headers)
    async with client.request(url, headers=headers) as get:
        await get.send_complete()
        await get.receive()
        await get.disconnect()

    assert head.status_code == get.status_code  # type: ignore[attr-defined]
    assert head.headers["Content-Type"] == (get.headers or {})["Content-Type"]  # type: ignore[attr-defined]
    if head.status_code == 200 and "~" not in url:
        assert await head.get_data(as_text=False) == b""
    assert not app.extensions[KEY].connections


# -- the log ---------------------------------------------------------------------------------------


async def test_one_request_writes_one_traceback_for_each_fragment(
    app: Quart, caplog: pytest.LogCaptureFixture
) -> None:
    """A stream of many topics whose renderers fail is one fault for each declared fragment."""
    app.config |= {"QUART_SSE_MAX_UNSIGNED_TOPICS": 60, "QUART_SSE_PROBE": 0.1}
    sse = SSE(app)
    board = sse.channel("board", "/board/<int:number>", public=True)

    def fail(number: int) -> str:
        raise ZeroDivisionError(number)

    for name in ("one", "two", "three"):
        board.fragment(name)(fail)
    topics = "+".join(f"board?number%3D{n}:one,two,three" for n in range(60))

    async with open_stream(app, f"/sse?t=~{topics}&since=0") as stream:
        await stream.next("sse-reset")
        await asyncio.wait_for(_until_quiet(app, 180), 10)

    tracebacks = [record for record in caplog.records if record.exc_info]
    assert len(tracebacks) == 3
    assert all(record.levelno == logging.ERROR for record in tracebacks)
    said = app.extensions[KEY].errors._said
    assert sum(entry.more for entry in said.values()) >= 177


async def _until_quiet(app: Quart, number: int) -> None:
    """Wait until a number of errors was logged or counted."""
    said = app.extensions[KEY].errors._said
    while sum(entry.more + 1 for entry in said.values()) < number:  # noqa: ASYNC110 - in turns
        await asyncio.sleep(0)


async def test_fragment_that_fails_is_no_flood_of_tracebacks(
    app: Quart, sse: SSE, caplog: pytest.LogCaptureFixture
) -> None:
    """GETs of a fragment that cannot be rendered answer 500, leave the page, and are counted."""
    board = sse.channel("board", "/board/<int:number>", public=True)

    def fail(number: int) -> str:
        raise ZeroDivisionError(number)

    board.fragment("shared", debounce=0)(fail)
    board.fragment("mine", personal=True)(fail)
    client = QuartClient(app)

    for name in ("shared", "mine"):
        for number in range(10):
            answer = await client.get(f"/sse/~/{name}/board/{number}")
            assert answer.status_code == 500
            assert answer.headers["HX-Reswap"] == "none"
            assert await answer.get_data(as_text=True) == ""

    assert len([record for record in caplog.records if record.exc_info]) == 2


@pytest.mark.parametrize("personal", [False, True], ids=["shared", "personal"])
@pytest.mark.parametrize(
    "error", [PermissionError, KeyError, LookupError], ids=lambda e: e.__name__
)
async def test_error_of_a_renderer_is_no_refusal(
    app: Quart, sse: SSE, personal: bool, error: type[Exception]
) -> None:
    """A file that may not be read is a fault of the app, and is not taken for its "no"."""

    def fail() -> str:
        raise error

    sse.channel("board", "/board", public=True).fragment("list", personal=personal)(fail)

    assert (await QuartClient(app).get("/sse/~/list/board")).status_code == 500


@pytest.mark.parametrize("path", ["/sse/price/{}", "/sse/~/list/price/{}"])
@pytest.mark.parametrize("value", ["1" + "0" * 23 + ".0", "9" * 400 + ".0"], ids=["1e23", "inf"])
async def test_url_that_can_be_no_topic_is_not_found(
    app: Quart, sse: SSE, caplog: pytest.LogCaptureFixture, path: str, value: str
) -> None:
    """A parameter that does not come back from its URL is no error of the app, nor in its log."""
    prices = sse.channel("price", "/price/<float:limit>", public=True)
    prices.fragment("list")(lambda limit: "list")
    client = QuartClient(app)

    assert (await client.head(path.format("1.5"))).status_code == 200
    assert (await client.get(path.format(value))).status_code == 404
    assert caplog.records == []


# -- what one request may cost ---------------------------------------------------------------------


def topics_of(number: int) -> str:
    """Return as many topics of a channel "cell", as a token has them."""
    return "+".join(f"cell?n={place}:a" for place in range(number))


async def cost(client: QuartClient, url: str) -> float:
    """Return the seconds of the processor that it takes to judge a request, at best."""
    costs = []
    for _ in range(3):
        begun = time.process_time()
        answer = await client.head(url, headers=SSE_ACCEPT)
        costs.append(time.process_time() - begun)
        assert answer.status_code == 200
    return min(costs)


async def test_token_that_comes_many_times_costs_no_more_each_time(app: Quart, sse: SSE) -> None:
    """What a client is judged for grows with what it asks for, and not with the square of it."""
    cell = sse.channel("cell", "/cell/<int:n>")
    for name in "abcd":
        cell.fragment(name)(lambda n: "x")
    names = "".join(f"{{{{ sse_fragment('cell.{name}', n=n) }}}}" for name in "abcd")
    add_page(app, f"{{% for n in range(120) %}}{names}{{% endfor %}}{{{{ sse_connect() }}}}")
    client = QuartClient(app)
    token = query_of(await url_of(client)).partition("&")[0]

    once = await cost(client, f"/sse?{token}")
    often = await cost(client, "/sse?" + "&".join([token] * 8))

    assert often < 8 * once
    assert once < 0.1


async def test_list_that_nobody_signed_is_short(app: Quart, sse: SSE) -> None:
    """Else one request would ask the app about hundreds of topics; not one is asked about."""
    asked: list[int] = []
    guarded = sse.channel("guarded", "/guarded/<int:n>")

    @guarded.authorize
    def authorize(n: int) -> bool:
        asked.append(n)
        return False

    lists = [f"t=~{'+'.join(f'guarded?n={n}' for n in range(at, at + 300))}" for at in (0, 300)]
    for query in ("&".join(lists), lists[0], f"{lists[0]}+~{'0' * 24}"):
        assert await first_of(QuartClient(app), f"/sse?{query}") == "sse-stop too-long"
    assert asked == []
    short = "+".join(f"guarded?n={n}" for n in range(16))
    assert await first_of(QuartClient(app), f"/sse?t=~{short}") == "sse-stop refused"
    assert asked == list(range(16))


@pytest.mark.parametrize("has_key", [True, False])
async def test_page_of_many_public_topics(app: Quart, sse: SSE, has_key: bool) -> None:
    """With a key it is connected, may be kept by caches, and grants nothing by itself."""
    cell = sse.channel("cell", "/cell/<int:n>", public=True)
    cell.fragment("a")(lambda n: "x")
    if not has_key:
        app.secret_key = None

    @app.get("/cells")
    async def cells() -> str:
        return await render_template_string(
            '{% from "quart_sse/macros.html" import sse_connect %}{{ sse_connect(topics=topics) }}',
            topics=[cell.topic(n=n) for n in range(100)],
        )

    client = QuartClient(app)
    answer = await client.get("/cells")
    if not has_key:
        assert answer.status_code == 500
        with pytest.raises(ConfigError, match=r"UNSIGNED_TOPICS.*at least 100.*secret_key"):
            async with app.test_request_context("/cells"):
                await cells()
        return
    (url,) = connect_urls(await answer.get_data(as_text=True))
    assert "Cache-Control" not in answer.headers
    assert await first_of(client, url) == "sse-open"
    options = cell._declaration.options
    cell._declaration.options = replace(options, public=False)
    assert await first_of(client, url) == "sse-stop refused"


@pytest.mark.parametrize(("most", "expected"), [(128, "sse-stop too-long"), (1100, "sse-open")])
async def test_stream_takes_as_many_topics_as_our_script_sends(
    app: Quart, most: int, expected: str
) -> None:
    """What is beyond 1,024 has no page asked for, unless a page may show more."""
    app.config |= {"QUART_SSE_MAX_TOPICS": most, "QUART_SSE_MAX_QUERY": 60_000}
    sse = SSE(app)
    sse.channel("c", "/c/<int:n>", public=True)
    signer = app.extensions[KEY].gate._signer
    # Some topics twice, which count once.
    tokens = [
        quote(signer.vouch(" ".join(f"c?n={n}" for n in range(at, at + 128))), safe="~")
        for at in (*range(0, 1024, 128), 64, 900)
    ]

    for count, answer in ((9, "sse-open"), (10, expected)):
        query = "&".join(f"t={token}" for token in tokens[:count])
        assert await first_of(QuartClient(app), f"/sse?{query}") == answer


async def test_positions_of_a_url_are_read_once_for_all_its_topics(app: Quart, sse: SSE) -> None:
    """A URL that is full of positions costs no more for a hundred topics than for each alone."""
    sse.channel("cell", "/cell/<int:n>", public=True).fragment("a")(lambda n: "x")
    client = QuartClient(app)
    url = f"/sse?t=~{topics_of(100)}&since="

    few = await cost(client, f"{url}a.1-1")
    room = 6000 - len(url)
    many = await cost(client, url + ",".join(["a.1-1"] * (room // 6)))
    different = await cost(client, url + ",".join(f"a.{n}-1" for n in range(room // 8)))

    assert many < few + 0.05
    assert different < few + 0.1


async def test_debounce_of_one_fragment_keeps_no_note_of_others(app: Quart, sse: SSE) -> None:
    """Of what was asked for and forgotten only that is noted whose debounce is not over."""
    cell = sse.channel("cell", "/cell/<int:n>", public=True)
    cell.fragment("slow", debounce=3600)(lambda n: "x")
    cell.fragment("fast", debounce=0.001)(lambda n: "x")
    client = QuartClient(app)

    await client.get("/sse/~/slow/cell/1")
    for n in range(20):
        assert (await client.get(f"/sse/~/fast/cell/{n}")).status_code == 200
    fragments = app.extensions[KEY].hub._roots.at("")
    assert len(fragments._forgotten) < 8
