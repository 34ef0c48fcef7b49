"""One SSE object serves one app or several; what it promises of setting up, ending and telling."""

import asyncio
import json
import uuid
from collections.abc import Callable

import pytest
from bs4 import BeautifulSoup
from quart import Quart, Response, render_template_string, request
from quart.testing import QuartClient

from quart_sse import (
    SSE,
    ConfigError,
    SetupError,
)
from quart_sse.connection import id_of
from tests.support.streams import connect_urls, open_stream, until

MACROS = '{% from "quart_sse/macros.html" import sse_fragment, sse_connect, sse_scripts %}'
PAGE = MACROS + '{{ sse_fragment("board.list") }}{{ sse_connect() }}'


def make_app(name: str = "app", **config: object) -> Quart:
    """Return an app that can sign and is not initialised yet."""
    app = Quart(name)
    app.secret_key = f"of {name}"
    app.config.update(config)
    return app


# -- setting up --------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before init_app", "after init_app", "after the first request"])
async def test_channel_works_whenever_it_is_declared(when: str) -> None:
    """A channel may be declared before or after init_app, and while the app serves already."""
    app, sse = make_app(), SSE()

    def declare() -> None:
        sse.channel("board", "/board", public=True).fragment("list")(lambda: "<b>list</b>")

    @app.get("/")
    async def page() -> str:
        return await render_template_string(PAGE)

    if when == "before init_app":
        declare()
    sse.init_app(app)
    if when == "after init_app":
        declare()
    client = QuartClient(app)
    await client.get("/elsewhere")
    if when == "after the first request":
        declare()

    answer = await client.get("/")
    (url,) = connect_urls(await answer.get_data(as_text=True))
    async with open_stream(app, url) as stream:
        await sse.topic("board").publish("said", "hello")
        said = await stream.next("board.said")

    assert said.data == "hello"


async def test_works_within_a_lifespan_and_after_another() -> None:
    """An app that is started, stopped and started again streams each time."""
    app = make_app()
    topic = SSE(app).channel("news", "/news", public=True).topic()

    for number in range(2):
        async with app.test_app() as running, open_stream(app, "/sse/news") as stream:
            assert running
            await topic.publish("said", number)
            said = await stream.next("said")

        assert said.data == str(number)


async def test_second_init_app_says_what_to_do() -> None:
    """Initialising an app twice is nearly always a mistake, and named as one."""
    app = make_app()
    sse = SSE(app)

    with pytest.raises(SetupError, match=r"SSE\(\) without the app"):
        sse.init_app(app)
    with pytest.raises(SetupError, match=r"SSE\(\) without the app"):
        SSE(app)


async def test_topics_need_an_app() -> None:
    """Before init_app no URL is known that a topic could be built from."""
    channel = SSE().channel("news", "/news")

    with pytest.raises(SetupError, match="init_app"):
        channel.topic()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("QUART_SSE_HTMX", 3),
        ("QUART_SSE_URL_PREFIX", "sse"),
        ("QUART_SSE_MAX_AGE", "soon"),
        ("QUART_SSE_HISTROY", 5),
    ],
)
async def test_bad_configuration_is_refused_by_init_app(key: str, value: object) -> None:
    """A value that cannot be used, or a misspelt key, is found before anything is served."""
    app = make_app()
    app.config[key] = value

    with pytest.raises(ConfigError, match=key):
        SSE(app)

    assert "quart_sse" not in app.extensions


async def test_uninitialised_app_says_what_to_do() -> None:
    """An app that was forgotten is named, not answered with an AttributeError."""
    sse = SSE()
    sse.init_app(make_app("first"))
    sse.init_app(make_app("second"))
    topic_of = sse.channel("news", "/news", public=True).topic
    other = make_app("third")

    async with other.app_context():
        with pytest.raises(SetupError, match="init_app"):
            topic_of()


# -- several apps ------------------------------------------------------------------------------


async def test_two_apps_of_one_extension_share_channels_and_nothing_else() -> None:
    """Each app has its own broker and streams: what one publishes, the other never hears."""
    sse = SSE()
    first, second = make_app("first"), make_app("second", QUART_SSE_URL_PREFIX="/live")
    sse.init_app(first)
    news = sse.channel("news", "/news", public=True)
    sse.init_app(second)

    async with open_stream(first, "/sse/news") as one, open_stream(second, "/live/news") as two:
        async with first.app_context():
            await news.topic().publish("said", "first")
        async with second.app_context():
            published = await news.topic().publish("said", "second")
        heard = [(await stream.next("said")).data for stream in (one, two)]

    assert heard == ["first", "second"]
    assert published.local_receivers == 1


async def test_two_apps_render_fragments_without_a_context() -> None:
    """Renders, loaders and revocations know their app, whatever triggered them."""
    sse = SSE()
    apps = [make_app("first"), make_app("second")]
    board = sse.channel("board", "/board/<int:number>", public=True)
    board.fragment("list")(lambda number: f"list {number}")
    board.fragment("mine", personal=True)(lambda number: f"mine {number}")
    for app in apps:
        sse.init_app(app)
    url = "/sse?t=~board?number%3D7:list,mine&since=0"

    for app in apps:
        async with asyncio.timeout(5), open_stream(app, url) as stream:
            # Whoever knows nothing is sent everything, before anybody publishes.
            html = [(await stream.next("message")).data for _ in range(2)]
            async with app.app_context():
                await board.topic(number=7).refresh()
            html += [(await stream.next("message")).data for _ in range(2)]
            async with app.app_context():
                await sse.recheck(board.topic(number=7))
            assert (await stream.next("sse-holdoff")).data == "recheck"

        assert sum("list 7" in text for text in html) == 2
        assert sum("/sse/~/mine/board/7" in text for text in html) == 2


@pytest.mark.parametrize(
    "use",
    [
        lambda sse: sse.topic("news"),
        lambda sse: sse.broker,
    ],
    ids=["topic", "broker"],
)
async def test_two_apps_need_a_context_to_tell_which(use: Callable[[SSE], object]) -> None:
    """With several apps and no context the error says how to make one."""
    sse = SSE()
    sse.channel("news", "/news")
    for name in ("first", "second"):
        sse.init_app(make_app(name))

    with pytest.raises(SetupError, match="app_context"):
        use(sse)


async def test_two_extensions_on_two_apps_do_not_meet() -> None:
    """Two extensions in one process may declare the same names."""
    apps = [make_app("first"), make_app("second")]
    topics = [SSE(app).channel("news", "/news", public=True).topic() for app in apps]

    async with open_stream(apps[0], "/sse/news") as one, open_stream(apps[1], "/sse/news") as two:
        await topics[0].publish("said", "first")
        await topics[1].publish("said", "second")
        heard = [(await stream.next("said")).data for stream in (one, two)]

    assert heard == ["first", "second"]


# -- URLs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "values", "path"),
    [
        ("sse.connect", {"t": "x"}, "?t=x"),
        ("sse.static", {"filename": "vendor.json"}, "/~static/vendor.json"),
        ("sse.files.stream", {"number": 7, "path": "a/b"}, "/files/7/a/b"),
        (
            "sse.files.fragment",
            {"fragment": "list", "number": 7, "path": "a b"},
            "/~/list/files/7/a%20b",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and value.startswith("sse") else "",
)
@pytest.mark.parametrize("prefix", ["/sse", "/some/where-else"])
@pytest.mark.parametrize("root", ["", "/mounted"])
async def test_url_for_gives_every_endpoint(
    endpoint: str, values: dict[str, object], path: str, prefix: str, root: str
) -> None:
    """Every URL of the extension has an endpoint, under the prefix and the app's root path."""
    app = make_app(QUART_SSE_URL_PREFIX=prefix)
    SSE(app).channel("files", "/files/<int:number>/<path:path>")

    async with app.test_request_context("/", root_path=root):
        url = app.url_for(endpoint, **values)  # type: ignore[arg-type]

    assert url == root + prefix + path


async def test_mounted_app_leads_everywhere_under_its_root() -> None:
    """Below a root path, page, stream, personal fragment and scripts are all reached."""
    app = make_app()
    sse = SSE(app)
    board = sse.channel("board", "/board", public=True)
    board.fragment("list")(lambda: "list")
    board.fragment("mine", personal=True)(lambda: request.cookies.get("who", "nobody"))

    @app.get("/")
    async def page() -> str:
        return await render_template_string(
            MACROS + '{{ sse_scripts() }}{{ sse_fragment("board.list") }}'
            '{{ sse_fragment("board.mine") }}{{ sse_connect() }}'
        )

    client = QuartClient(app)
    client.set_cookie("localhost", "who", "ada")
    answer = await client.get("/mounted/", root_path="/mounted")
    soup = BeautifulSoup(await answer.get_data(as_text=True), "html.parser")
    (url,) = connect_urls(str(soup))
    scripts = [str(script["src"]) for script in soup.find_all("script")]
    script = await client.get(scripts[0], root_path="/mounted")
    async with client.request(
        url, root_path="/mounted", headers={"Accept": "text/event-stream"}
    ) as connection:
        await connection.send_complete()
        await board.topic().refresh("mine")
        received = b""
        async with asyncio.timeout(5):
            while b"hx-get" not in received:
                received += await connection.receive()
        await connection.disconnect()
    partial = BeautifulSoup(received.decode().partition("data: ")[2], "html.parser")
    loader = partial.find("span")
    assert loader is not None
    mine = await client.get(str(loader["hx-get"]), root_path="/mounted")

    assert url.startswith("/mounted/sse?")
    assert all(src.startswith("/mounted/sse/~static/") for src in scripts)
    assert script.status_code == 200
    assert await mine.get_data(as_text=True) == "ada"


async def test_other_blueprints_may_be_called_like_channels(app: Quart, sse: SSE) -> None:
    """A channel's blueprint has a name of its own, so an app may have one of the same."""
    sse.channel("news", "/news", public=True)
    app.add_url_rule("/news", "news.stream", lambda: "the app's own")

    answer = await QuartClient(app).get("/news")

    assert await answer.get_data(as_text=True) == "the app's own"


@pytest.mark.parametrize("name", ["static", "connect", "stream", "fragment", "sse", "quart_sse"])
async def test_channel_may_be_called_like_an_endpoint(app: Quart, sse: SSE, name: str) -> None:
    """No name of a channel hides what the extension itself has."""
    channel = sse.channel(name, f"/{name}", public=True)
    channel.fragment("list")(lambda: "list")
    client = QuartClient(app)

    fragment = await client.get(f"/sse/~/list/{name}")
    static = await client.get("/sse/~static/vendor.json")
    async with open_stream(client, f"/sse/{name}") as own, open_stream(client, f"/sse?t=~{name}"):
        published = await channel.topic().publish("said", "x")
        said = await own.next("said")

    assert (fragment.status_code, static.status_code) == (200, 200)
    assert (said.data, published.local_receivers) == ("x", 2)


# -- identity ----------------------------------------------------------------------------------


async def test_identity_is_asked_once_per_request(app: Quart, sse: SSE) -> None:
    """However many macros and gates need it, the application is asked once in a request."""
    asked = []
    board = sse.channel("board", "/board")
    board.fragment("list")(lambda: "list")

    @sse.identity
    def who() -> str:
        asked.append(request.path)
        return "ada"

    @app.get("/")
    async def page() -> str:
        return await render_template_string(PAGE * 3)

    client = QuartClient(app)
    answer = await client.get("/")
    url, *_ = connect_urls(await answer.get_data(as_text=True))
    async with open_stream(client, url):
        pass

    assert asked == ["/", "/sse"]


async def test_identity_that_is_no_text_raises(app: Quart, sse: SSE) -> None:
    """A user's number would never equal the text in a token, so it is refused at once."""
    caught: list[str] = []
    sse.channel("board", "/board").fragment("list")(lambda: "list")
    sse.identity(lambda: 7)

    @app.get("/")
    async def page() -> str:
        try:
            return await render_template_string(PAGE)
        except TypeError as error:
            caught.append(str(error))
            return ""

    await QuartClient(app).get("/")

    assert "str(user.id)" in caught[0]


# -- revocations -------------------------------------------------------------------------------


@pytest.fixture
def news(sse: SSE) -> str:
    """The URL of a public topic, in an app that knows who is who by a cookie."""

    @sse.identity
    async def who() -> str | None:
        return request.cookies.get("who")

    sse.channel("news", "/news", public=True)
    sse.channel("rooms", "/rooms/<int:room>", public=True)
    return "/sse/news"


async def test_disconnect_ends_the_streams_of_one_identity(app: Quart, sse: SSE, news: str) -> None:
    """Everybody of that name is sent away to be judged anew, and nobody else."""
    clients = [QuartClient(app) for _ in range(3)]
    clients[0].set_cookie("localhost", "who", "ada")
    clients[1].set_cookie("localhost", "who", "bob")

    async with (
        open_stream(clients[0], news) as ada,
        open_stream(clients[0], "/sse/rooms/1") as also_ada,
        open_stream(clients[1], news) as bob,
        open_stream(clients[2], news) as nobody,
    ):
        await sse.disconnect(identity="ada")
        gone = [(await stream.rest())[-1] for stream in (ada, also_ada)]
        published = await sse.topic("news").publish("said")
        stayed = [await stream.next("said") for stream in (bob, nobody)]

    assert [(event.event, event.data) for event in gone] == [("sse-holdoff", "disconnect")] * 2
    assert all(event.retry is not None and 0 < event.retry <= 1000 for event in gone)
    assert len(stayed) == published.local_receivers == 2


async def test_recheck_ends_the_streams_of_one_topic(app: Quart, sse: SSE, news: str) -> None:
    """Who listens to the topic is sent away to be judged anew, and nobody else."""
    both = "/sse?t=~news+rooms?room%3D1"

    async with (
        open_stream(app, both) as multiplexed,
        open_stream(app, "/sse/rooms/1") as own,
        open_stream(app, "/sse/rooms/2") as other,
        open_stream(app, news) as unrelated,
    ):
        await sse.recheck(sse.topic("rooms", room=1))
        gone = [(await stream.rest())[-1] for stream in (multiplexed, own)]
        await sse.topic("rooms", room=2).publish("said")
        await sse.topic("news").publish("said")
        stayed = [await stream.next("said") for stream in (other, unrelated)]

    assert [(event.event, event.data) for event in gone] == [("sse-holdoff", "recheck")] * 2
    assert len(stayed) == 2


async def test_recheck_lets_authorize_judge_anew(app: Quart, sse: SSE) -> None:
    """Who is no longer allowed to listen is stopped when the stream comes back."""
    allowed = {"ada"}
    rooms = sse.channel("rooms", "/rooms")
    rooms.authorize(lambda: request.cookies.get("who") in allowed)
    client = QuartClient(app)
    client.set_cookie("localhost", "who", "ada")

    async with open_stream(client, "/sse/rooms") as stream:
        allowed.clear()
        await sse.recheck(rooms.topic())
        before = await stream.rest()
    async with open_stream(client, "/sse/rooms") as stream:
        after = await stream.rest()

    assert before[-1].event == "sse-holdoff"
    assert [event.event for event in after] == ["sse-stop"]


async def test_close_all_ends_streams_and_holds_off_new_ones(
    app: Quart, sse: SSE, news: str
) -> None:
    """While a server stops, browsers are told to come back, to whoever serves then."""
    async with open_stream(app, news) as one, open_stream(app, "/sse?t=~news") as two:
        await sse.close_all()
        ended = [await stream.rest() for stream in (one, two)]
    async with open_stream(app, news) as late:
        refused = await late.rest()
    plain = await QuartClient(app).get(news)

    for events in ended:
        assert [event.event for event in events] == ["sse-open", "sse-holdoff"]
        assert events[-1].data == "shutdown"
    assert [(event.event, event.data) for event in refused] == [("sse-holdoff", "shutdown")]
    assert refused[0].retry
    assert plain.status_code == 503


async def test_close_all_holds_off_streams_of_views(app: Quart, sse: SSE, news: str) -> None:
    """A view's own stream ends, and is held off, like any other."""

    @app.get("/ticker")
    async def ticker() -> Response:
        return await sse.stream(sse.topic("news"))

    async with open_stream(app, "/ticker") as open_one:
        await sse.close_all()
        ended = await open_one.rest()
    async with open_stream(app, "/ticker") as late:
        refused = await late.rest()

    assert ended[-1].event == "sse-holdoff"
    assert [event.event for event in refused] == ["sse-holdoff"]


async def test_stop_of_the_app_ends_streams(app: Quart, news: str) -> None:
    """A lifespan that ends takes its streams with it."""
    async with app.test_app() as running, open_stream(app, news) as stream:
        await running.shutdown()
        events = await stream.rest()

    assert events[-1].event == "sse-holdoff"


async def test_ended_streams_are_forgotten(app: Quart, sse: SSE, news: str) -> None:
    """A client that goes away is no receiver any more, and nothing of it stays."""
    async with open_stream(app, news):
        pass

    assert (await sse.topic("news").publish("said")).local_receivers == 0
    await until(sse._current.connections.emptied.is_set)


# -- positions ---------------------------------------------------------------------------------


async def test_position_lets_a_page_open_its_own_stream(app: Quart, sse: SSE) -> None:
    """What is published after the page's request began is replayed to the stream it opens."""
    news = sse.channel("news", "/news", public=True)

    @app.get("/")
    async def page() -> str:
        await news.topic().publish("said", "during")
        return sse.position()

    await news.topic().publish("said", "before")
    answer = await QuartClient(app).get("/")
    since = await answer.get_data(as_text=True)
    await news.topic().publish("said", "after")
    async with open_stream(app, f"/sse/news?since={since}") as stream:
        await news.topic().publish("said", "live")
        heard = [(await stream.next("said")).data for _ in range(3)]

    assert heard == ["during", "after", "live"]


async def test_open_message_tells_the_connection(app: Quart, news: str) -> None:
    """Every stream begins with its connection's id and the secret that the id is made of."""
    async with open_stream(app, news) as one, open_stream(app, news) as two:
        opened = [json.loads((await stream.next()).data) for stream in (one, two)]

    assert [data.keys() for data in opened] == [{"id", "secret", "topics"}] * 2
    assert [data["id"] for data in opened] == [id_of(data["secret"]) for data in opened]
    assert opened[0]["id"] != opened[1]["id"]
    assert opened[0]["topics"] == [["news"]]


async def test_page_shows_as_many_topics_as_a_connection_may_have(app: Quart, sse: SSE) -> None:
    """However long the names of its topics are, what a page shows can be connected."""
    cells = sse.channel("cells", "/cells/<uuid:row>/<uuid:column>")
    cells.fragment("value")(lambda row, column: "x")

    @app.get("/")
    async def page() -> str:
        cells = [(uuid.uuid4(), uuid.uuid4()) for _ in range(128)]
        return await render_template_string(
            MACROS + '{% for row, column in cells %}{{ sse_fragment("cells.value", row=row, '
            "column=column) }}{% endfor %}{{ sse_connect() }}",
            cells=cells,
        )

    client = QuartClient(app)
    answer = await client.get("/")
    (url,) = connect_urls(await answer.get_data(as_text=True))
    async with open_stream(client, url) as stream:
        first = await stream.next()

    assert (first.event, first.data[:5]) == ("sse-open", '{"id"')
