"""The connect element: its attributes, its token, and what it asks of the app."""

import base64
import time
import uuid
from urllib.parse import parse_qs, urlsplit

import pytest
from bs4 import BeautifulSoup
from quart import Quart, render_template_string, request
from quart.testing import QuartClient

from quart_sse import SSE, BrokerUnavailable, ConfigError, MissingSecretKeyError
from quart_sse.broker import Shelf
from quart_sse.channels.channel import Channel
from tests.support.connecting import page_url, verdict
from tests.support.pages import (
    LIST,
    LIST_AND_CONNECT,
    SIGNED,
    add_page,
    connect_elements,
    get_page,
    make_app,
    render,
    url_of,
)
from tests.support.streams import connect_urls, open_stream


@pytest.mark.parametrize("number", [2, 4])
async def test_connect_element_is_what_htmx_needs(number: int) -> None:
    """A connect element is empty, for htmx 2 or 4, with an id of its own in each render."""
    app = make_app(QUART_SSE_HTMX=number)
    add_page(app, LIST_AND_CONNECT)

    (first,), (second,) = [connect_elements(await get_page(app)) for _ in range(2)]

    attributes = dict(first.attrs)
    url = attributes.pop("sse-connect" if number == 2 else "hx-sse:connect")
    assert attributes.pop("id") != second["id"]
    assert attributes.pop("hidden") == ""
    assert first.name == "div"
    assert first.contents == []
    assert urlsplit(str(url)).path == "/sse"
    assert attributes == (
        {
            "hx-ext": "sse",
            "sse-swap": "message",
            "sse-close": "sse-stop",
            "hx-swap": "none",
        }
        if number == 2
        else {
            "hx-sse:close": "sse-stop",
            "hx-swap": "none",
            "hx-trigger": "load, htmx:after:request delay:10s, htmx:error delay:10s",
            "hx-sync": "this:drop",
        }
    )


async def test_page_with_too_many_topics_names_the_key() -> None:
    """More topics than one connection may have are an error of the page, not of its viewers."""
    app = make_app(QUART_SSE_MAX_TOPICS=2)
    body = (
        '{% for seat in range(3) %}{{ sse_fragment("rooms.list", room="x", seat=seat) }}'
        "{% endfor %}{{ sse_connect() }}"
    )

    with pytest.raises(ConfigError, match=r"QUART_SSE_MAX_TOPICS.*at least 3"):
        await render(app, body)


@pytest.mark.parametrize(
    ("body", "needs_key"),
    [
        (LIST_AND_CONNECT, False),
        ('{{ sse_live("board.list") }}', False),
        ("{{ sse_connect() }}", False),
        ("{{ sse_scripts() }}", False),
        ('{{ sse_fragment("hidden.list") }}', False),
        (SIGNED, True),
        ('{{ sse_live("hidden.list") }}', True),
        (LIST + SIGNED, True),
        ('{{ sse_connect(topics=["hidden"]) }}', True),
    ],
)
async def test_secret_key_is_asked_for_only_to_sign(body: str, needs_key: bool) -> None:
    """Without a secret key public pages work, and others say what to do."""
    app = make_app()
    app.secret_key = None

    if needs_key:
        with pytest.raises(MissingSecretKeyError, match=r"app\.secret_key"):
            await render(app, body)
    else:
        await render(app, body)


async def test_token_tells_no_identity(app: Quart, sse: SSE) -> None:
    """Every client can read a token, so it does not contain the identity that it is for."""
    sse.identity(lambda: "ada@example.org")
    sse.channel("hidden", "/hidden").fragment("list")(lambda: "hidden")

    (element,) = connect_elements(await render(app, SIGNED))

    (token,) = parse_qs(urlsplit(url_of(element)).query)["t"]
    payload = token.split(".")[0]
    decoded = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
    assert b"hidden:list" in decoded
    assert b"ada" not in decoded


CELLS = (
    '{% from "quart_sse/macros.html" import sse_connect, sse_fragment %}'
    '{% for row, column in cells %}{{ sse_fragment("cells.mine", row=row, column=column) }}'
    "{% endfor %}{{ sse_connect() }}"
)


def make_cells(*, public: bool) -> tuple[Quart, Channel, list[tuple[uuid.UUID, uuid.UUID]]]:
    """Return an app with a page of as many topics as one may show, with long names."""
    app = Quart(__name__)
    app.secret_key = "for tests only"
    channel = SSE(app).channel("cells", "/cells/<uuid:row>/<uuid:column>", public=public)
    channel.fragment("mine", personal=True)(lambda row, column: f"{row} {column}")
    cells = [(uuid.uuid4(), uuid.uuid4()) for _ in range(128)]

    @app.get("/")
    async def page() -> str:
        return await render_template_string(CELLS, cells=cells)

    return app, channel, cells


@pytest.mark.parametrize("public", [True, False], ids=["public", "signed"])
async def test_page_of_many_topics_is_wholly_live(public: bool) -> None:
    """However long its list of topics is, each is heard, and its fragments can be fetched."""
    app, channel, cells = make_cells(public=public)
    client = QuartClient(app)
    url = await page_url(client, "")
    row, column = cells[-1]

    async with open_stream(client, url) as stream:
        await channel.topic(row=row, column=column).refresh()
        message = BeautifulSoup((await stream.next("message")).data, "html.parser")
    loader = message.find("span")
    assert loader is not None
    answer = await client.get(str(loader["hx-get"]))

    assert len(url) < 7000
    assert answer.status_code == 200
    assert await answer.get_data(as_text=True) == f"{row} {column}"


async def test_page_of_many_topics_without_a_key_says_so_or_is_live() -> None:
    """A public page whose list cannot be made short is an error of the page, or is connected."""
    app, *_ = make_cells(public=True)
    app.secret_key = None
    client = QuartClient(app)

    answer = await client.get("/")
    if answer.status_code == 200:
        (url,) = connect_urls(await answer.get_data(as_text=True))
        result = await verdict(client, url)
    else:
        result = ("open", 200)

    assert result == ("open", 200)


# -- lists that are too long for a URL -------------------------------------------------------------


def make_rooms(**config: object) -> Quart:
    """Return an app with a page of any rooms, for a user or for a visitor."""
    app = Quart(__name__)
    app.secret_key = "for tests only"
    app.config.update({"QUART_SSE_MAX_QUERY": 512} | config)
    sse = SSE(app)
    sse.identity(lambda: request.cookies.get("who"))
    for name, public in (("open", True), ("closed", False)):
        sse.channel(name, f"/{name}/<uuid:room>", public=public).fragment("list")(lambda room: "")

    @app.get("/<channel>")
    async def page(channel: str) -> str:
        return await render_template_string(
            '{% from "quart_sse/macros.html" import sse_connect, sse_fragment %}'
            '{% for room in rooms %}{{ sse_fragment(channel + ".list", room=room) }}{% endfor %}'
            "{{ sse_connect() }}",
            channel=channel,
            rooms=[uuid.uuid4() for _ in range(40)],
        )

    return app


async def look(app: Quart, page: str, who: str = "", address: str = "10.0.0.1") -> str:
    """Return the URL of the stream of another page, which is served in any case."""
    client = QuartClient(app)
    if who:
        client.set_cookie("localhost", "who", who)
    answer = await client.get(page, scope_base={"client": (address, 1)})
    assert answer.status_code == 200
    (url,) = connect_urls(await answer.get_data(as_text=True))
    return url


async def is_open(app: Quart, url: str, who: str = "") -> bool:
    """Whether a stream opens; all others are refused for good."""
    client = QuartClient(app)
    if who:
        client.set_cookie("localhost", "who", who)
    given = await verdict(client, url)
    assert given in {("open", 200), ("sse-stop refused", 403)}
    return given == ("open", 200)


async def test_lists_of_one_visitor_push_out_no_others(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A visitor who opens too many has some pages that are not live; the log says why, once."""
    for shelf in Shelf:
        monkeypatch.setattr(shelf, "share", 10_000)
    app = make_rooms()
    others = [
        (await look(app, "/closed", "ada"), "ada"),
        (await look(app, "/closed", address="10.0.0.2"), ""),
        (await look(app, "/open", address="10.0.0.2"), ""),
    ]
    urls = [await look(app, "/open") for _ in range(20)]
    live = [await is_open(app, url) for url in urls]

    assert live == sorted(live, reverse=True)
    assert 0 < live.count(True) < 10
    assert [await is_open(app, url, who) for url, who in others] == [True] * 3
    assert await is_open(app, await look(app, "/closed"))
    assert await is_open(app, await look(app, "/open", address="10.0.0.3"))
    (said,) = [text for text in caplog.messages if "keeps no more lists" in text]
    assert "visitors' public pages" in said
    assert "QUART_SSE_MAX_QUERY" in said


@pytest.mark.parametrize("address", ["10.0.0.{}", "2001:db8:0:{}::1"])
async def test_lists_of_all_visitors_together_are_bounded(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    """Many addresses fill a shelf, and leave users theirs."""
    monkeypatch.setattr(Shelf.SIGNED, "most", 20_000)
    app = make_rooms()
    urls = [await look(app, "/closed", address=address.format(n)) for n in range(20)]
    live = [await is_open(app, url) for url in urls]

    assert live == sorted(live, reverse=True)
    assert 0 < live.count(True) < 20
    assert await is_open(app, await look(app, "/closed", "ada"), "ada")


async def test_page_is_served_when_its_list_cannot_be_kept(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The broker is away: its stream waits, as all others do."""
    caplog.set_level("DEBUG", "quart_sse")
    app = make_rooms(QUART_SSE_BROKER_URL="unix:///nowhere/redis.sock")
    async with app.test_app():
        given = await verdict(QuartClient(app), await look(app, "/closed"))

    assert given == ("sse-holdoff broker-away", 503)
    assert "do not fit into its URL" in caplog.text


async def test_renewed_token_whose_list_is_not_kept_replaces_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A page goes on with the token that it has, which names a list that is kept."""
    monkeypatch.setattr(Shelf.OPEN, "share", 10)
    elements = make_rooms().extensions["quart_sse"].macros._elements
    topics = {f"open?room={uuid.uuid4()}": ["list"] for _ in range(40)}

    with pytest.raises(BrokerUnavailable, match="renewed token"):
        await elements.make(topics, root="", identity=None, first=time.time())


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("2001:db8:0:7:1:2:3:4", "2001:db8:0:7::/64"),
        ("2001:db8:0:7::9", "2001:db8:0:7::/64"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("", ""),
        ("<local>", "<local>"),
    ],
)
def test_addresses_of_one_client_are_one(address: str, network: str) -> None:
    """A client with IPv6 has as many addresses as it likes; those of version 4 stay as they are."""
    elements = make_rooms().extensions["quart_sse"].macros._elements

    claim = elements._claim({}, None, address)

    assert claim.owner == elements._signer.name(f"address {network}")
