"""One SSE object serves one app or several; what it promises of setting up, ending and telling."""

import asyncio
import cProfile
import gc
import json
import time
import uuid
from collections.abc import Callable

import pytest
from bs4 import BeautifulSoup
from quart import Quart, render_template_string, request
from quart.testing import QuartClient

from quart_sse import SSE, ConfigError, FragmentError, ParameterError, SetupError
from quart_sse.hub.lasting import id_of
from tests.support.streams import SSE_ACCEPT, client_of, connect_urls, open_stream

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
    apps = [make_app("first"), make_app("second")]
    for app in apps:
        sse.init_app(app)
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
            # A client without a position gets all fragments, before the first message is published.
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
    apps = [make_app("first"), make_app("second")]
    for app in apps:
        sse.init_app(app)

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


async def test_answer_that_is_no_page_has_the_url_of_its_stream(app: Quart, sse: SSE) -> None:
    """It starts where the request began, grants its topics to the user, and is kept by no cache."""
    sse.identity(lambda: request.cookies.get("who"))
    news = sse.channel("news", "/news", public=True)
    rooms = sse.channel("rooms", "/rooms/<int:room>")
    guarded = sse.channel("guarded", "/guarded")
    may_enter = [True]
    guarded.authorize(lambda: may_enter[0])

    @app.get("/api")
    async def view() -> dict[str, str]:
        await rooms.topic(room=7).publish("said", "during")
        return {"stream": await sse.connect_url(rooms.topic(room=7), news.topic(), guarded.topic())}

    await rooms.topic(room=7).publish("said", "before")
    ada, bob = client_of(app, "ada"), client_of(app, "bob")
    answer = await ada.get("/api")
    url = (await answer.get_json())["stream"]
    await rooms.topic(room=7).publish("said", "after")
    await sse.user("ada").publish("said", "hello")
    may_enter[0] = False
    async with open_stream(ada, url) as stream:
        refused = json.loads((await stream.next("sse-refused")).data)
        heard = [await stream.next() for _ in range(4)]
    async with open_stream(bob, url) as stream:
        await stream.next("sse-open")
        await rooms.topic(room=7).publish("said", "not for bob")
        await news.topic().publish("said", "x")
        other = await stream.next("news.said")

    assert answer.headers["Cache-Control"] == "private, no-store"
    assert refused["topics"] == ["guarded"]
    assert [(each.event, each.data) for each in heard[1:]] == [
        ("rooms.said?room=7", "during"),
        ("rooms.said?room=7", "after"),
        ("user.said", "hello"),
    ]
    assert other.data == "x"


async def test_url_of_public_topics_may_be_kept(app: Quart, sse: SSE) -> None:
    """Nothing in it is for one viewer, and the view may say how long it is good."""
    news = sse.channel("news", "/news", public=True)

    @app.get("/api")
    async def view() -> dict[str, str]:
        return {"stream": await sse.connect_url(news.topic())}

    answer = await QuartClient(app).get("/api")

    assert "Cache-Control" not in answer.headers
    async with open_stream(app, (await answer.get_json())["stream"]) as stream:
        assert (await stream.next()).event == "sse-open"


async def test_url_without_topics_has_what_is_for_everyone(app: Quart, sse: SSE) -> None:
    """Such as the events of the user."""
    sse.identity(lambda: request.cookies.get("who"))

    @app.get("/api")
    async def view() -> str:
        return await sse.connect_url()

    ada = client_of(app, "ada")
    url = await (await ada.get("/api")).get_data(as_text=True)
    async with open_stream(ada, url) as stream:
        await stream.next("sse-open")
        await sse.user("ada").publish("said", "x")
        await sse.everyone.publish("said", "y")
        heard = [(await stream.next()).event for _ in range(2)]

    assert heard == ["user.said", "everyone.said"]


async def test_url_expires_as_a_page_does(app: Quart) -> None:
    """A client asks for another one then."""
    app.config["QUART_SSE_TOKEN_LIFETIME"] = 1
    sse = SSE(app)
    rooms = sse.channel("rooms", "/rooms")

    @app.get("/api")
    async def view() -> str:
        return await sse.connect_url(rooms.topic())

    client = QuartClient(app)
    url = await (await client.get("/api")).get_data(as_text=True)
    signer = app.extensions["quart_sse"].signer
    signer._clock = lambda: time.time() + 3

    answer = await client.get(url, headers=SSE_ACCEPT)

    assert "data: expired" in await answer.get_data(as_text=True)


async def test_url_is_of_one_client_in_a_request(app: Quart, sse: SSE) -> None:
    """A channel is no topic, a shared fragment is for all, and a worker has no client."""
    rooms = sse.channel("rooms", "/rooms")
    rooms.fragment("list")(lambda: sse.connect_url(rooms.topic()))

    async with app.test_request_context("/"):
        with pytest.raises(ParameterError, match="which is no topic"):
            await sse.connect_url(rooms)  # type: ignore[arg-type]
        with pytest.raises(FragmentError, match="for all viewers"):
            await render_template_string(
                '{% from "quart_sse/macros.html" import sse_fragment %}'
                '{{ sse_fragment("rooms.list") }}'
            )
    async with app.app_context():
        with pytest.raises(SetupError, match="outside a request"):
            await sse.connect_url(rooms.topic())


async def test_open_message_tells_the_connection(app: Quart, news: str) -> None:
    """Every stream begins with its connection's id and the secret that the id is made of."""
    async with open_stream(app, news) as one, open_stream(app, news) as two:
        opened = [json.loads((await stream.next()).data) for stream in (one, two)]

    assert [data.keys() for data in opened] == [{"id", "secret", "topics", "names"}] * 2
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


# -- many channels ---------------------------------------------------------------------------------


def declare(sse: SSE, names: range) -> None:
    """Declare one channel for each number, with a parameter and a fragment."""
    for name in names:
        sse.channel(f"c{name}", f"/c{name}/<int:x>").fragment("list")(lambda x: "")


def calls(function: Callable[[], None]) -> int:
    """Return how many functions a call calls, which no other work on the machine changes."""
    profile = cProfile.Profile()
    gc.collect()  # what other tests have left is finalized by calls, too
    gc.disable()
    profile.runcall(function)
    gc.enable()
    return sum(entry.callcount for entry in profile.getstats())


def test_channel_costs_the_same_however_many_are_declared() -> None:
    """A search of all others would show here long before it takes most of the time."""
    sse = SSE()
    sse.init_app(one := Quart(__name__))
    sse.init_app(two := Quart(__name__))
    first = calls(lambda: declare(sse, range(50)))
    few = calls(lambda: sse.init_app(Quart(__name__)))
    declare(sse, range(50, 750))
    last = calls(lambda: declare(sse, range(750, 800)))
    many = calls(lambda: sse.init_app(Quart(__name__)))

    assert last < 1.02 * first
    assert many < 16 * 1.02 * few
    assert len([*one.url_map.iter_rules()]) == len([*two.url_map.iter_rules()])
