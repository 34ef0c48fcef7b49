"""Topics that clients choose: each is judged for itself, and the list is bounded and explained."""

import json
import time
from contextlib import AsyncExitStack
from urllib.parse import quote, urlencode

import pytest
import quart
from httpx_sse import ServerSentEvent
from quart import Quart, abort
from quart.testing import QuartClient

from quart_sse import SSE
from quart_sse.wire import Ending
from tests.support.pages import add_page
from tests.support.streams import SSE_ACCEPT, client_of, connect_urls, open_stream


@pytest.fixture
def asked() -> list[str]:
    """Names of the rooms for which ``authorize`` was called."""
    return []


@pytest.fixture
def sse(request: pytest.FixtureRequest, app: Quart, asked: list[str]) -> SSE:
    """An extension with a public channel, one with a rule, and one that only pages open.

    A parameter is how many topics a list may have.
    """
    app.config["QUART_SSE_MAX_UNSIGNED_TOPICS"] = getattr(request, "param", 16)
    sse = SSE(app)

    @sse.identity
    async def who() -> str | None:
        return quart.request.cookies.get("who")

    news = sse.channel("news", "/news", public=True)
    news.fragment("list", debounce=0)(lambda: "<b>list</b>")
    news.fragment("mine", personal=True)(lambda: "mine")
    sse.channel("prices", "/prices/<name>/<place>", public=True)
    rooms = sse.channel("rooms", "/rooms/<name>")
    sse.channel("secrets", "/secrets")

    @rooms.authorize
    async def may_enter(name: str) -> bool:
        asked.append(name)
        return name == "open" or abort(404)

    add_page(app, '{{ sse_connect(topics=["secrets", "news"]) }}')
    return sse


def url_of(*topics: str, **options: str) -> str:
    """Return the URL of a stream, written as a client does that knows how."""
    return f"/sse?{urlencode([('topic', each) for each in topics] + [*options.items()])}"


async def first_of(app: Quart, url: str, number: int = 1) -> list[ServerSentEvent]:
    """Return the first messages of a stream."""
    async with open_stream(app, url) as stream:
        return [await stream.next() for _ in range(number)]


async def test_each_topic_is_judged_for_itself(app: Quart, sse: SSE, asked: list[str]) -> None:
    """What is public or allowed is live; the rest is named, without a reason."""
    refused = ["rooms?name=closed", "secrets", "nothing", "rooms", "prices?name=a", ""]
    url = url_of("news", *refused, "rooms?name=open")

    async with open_stream(app, url) as stream:
        said, opened = await stream.next(), await stream.next()
        await sse.topic("secrets").publish("said", "not for you")
        await sse.topic("rooms", name="closed").publish("said", "not for you")
        await sse.topic("news").publish("said", "x")
        await sse.topic("rooms", name="open").publish("said", "y")
        events = [await stream.next() for _ in range(2)]

    assert said.event == "sse-refused"
    assert json.loads(said.data) == {"tokens": [], "topics": refused, "fragments": []}
    granted = ["news", "rooms?name=open"]
    assert json.loads(opened.data)["topics"] == [granted]
    assert [(each.event, each.data) for each in events] == [
        ("news.said", "x"),
        ("rooms.said?name=open", "y"),
    ]
    assert sorted(asked) == ["closed", "open"]


async def test_one_topic_has_full_names_too(app: Quart, sse: SSE) -> None:
    """A client that asks for one more topic goes on hearing those that it had."""
    async with open_stream(app, url_of("news")) as stream:
        await sse.topic("news").publish("said", "x")
        assert (await stream.next("news.said")).data == "x"


@pytest.mark.usefixtures("sse")
async def test_refused_topics_cannot_be_told_apart(app: Quart) -> None:
    """Whether a topic exists is nothing that a client learns without being let in."""
    names = ["nothing", "secrets", "secrets?x=1", "rooms", "rooms?name=closed", "rooms?name=*", "*"]
    names += ["everyone", "user?identity=ada", "everyone?channel=news", "~secrets", "prices?name=x"]
    client = QuartClient(app)

    answers = set()
    for name in names:
        stream = await client.get(url_of(name), headers=SSE_ACCEPT)
        plain = await client.get(url_of(name))
        answers.add((await stream.get_data(as_text=True), plain.status_code))

    assert answers == {(Ending.REFUSED.encode().decode(), 403)}


async def test_name_counts_once_however_it_is_written(app: Quart, sse: SSE) -> None:
    """The order of parameters, and what of them is encoded, makes no other topic."""
    names = [
        "prices?name=a%2Bb&place=c%20d",
        "prices?place=c d&name=a%2bb",
        "prices?name=%61%2Bb&place=c%20d",
    ]

    async with open_stream(app, url_of(*names, *["news"] * 20)) as stream:
        opened = await stream.next()
        await sse.topic("prices", name="a+b", place="c d").publish("said", "x")
        said = await stream.next()

    assert json.loads(opened.data)["topics"] == [["prices?name=a%2Bb&place=c%20d", "news"]]
    assert (said.event, said.data) == ("prices.said?name=a%2Bb&place=c%20d", "x")


async def test_star_is_a_value_and_no_pattern(app: Quart, sse: SSE) -> None:
    """A client listens to no topic that it has not named."""
    async with open_stream(app, url_of("prices?name=*&place=*", "news")) as stream:
        await sse.topic("prices", name="a", place="b").publish("said", "another topic")
        await sse.topic("news").publish("said", "x")
        events = [await stream.next() for _ in range(2)]

    assert [each.event for each in events] == ["sse-open", "news.said"]


# -- malformed lists -------------------------------------------------------------------------------

TEN_THOUSAND = "/sse?" + "&".join(f"topic=rooms%3Fname%3D{number}" for number in range(10_000))


@pytest.mark.parametrize(
    ("url", "reason", "status", "detail"),
    [
        ("/sse", "no-token", 400, ""),
        ("/sse?topic=", "no-token", 400, "topic= is empty."),
        ("/sse?topic=&topic=", "no-token", 400, "topic= is empty."),
        ("/sse?topic=news&t=~news", "malformed", 400, "It has t= and topic=."),
        ("/sse?t=&topic=news", "malformed", 400, "It has t= and topic=."),
        ("/sse?topic=news&since=0&since=0", "malformed", 400, "It has several since=."),
        ("/sse?topic=news&fragments=list", "malformed", 400, "fragments= is neither 1"),
        ("/sse?topic=%ff%fe", "refused", 403, ""),
        ("/sse?topic=rooms%3Fname%3D%2541%00", "refused", 403, ""),
        (url_of(*(f"rooms?name={number}" for number in range(17))), "too-long", 400, "at most 16"),
        (TEN_THOUSAND, "too-long", 400, ""),
        (url_of("rooms?name=" + "x" * 6200), "too-long", 400, ""),
    ],
    ids=lambda each: str(each)[:40],
)
@pytest.mark.usefixtures("sse")
async def test_malformed_list_is_explained(
    app: Quart, asked: list[str], url: str, reason: str, status: int, detail: str
) -> None:
    """A stream says it in one message and a comment, a plain answer in words, by its status."""
    client = QuartClient(app)

    stream = await client.get(url, headers=SSE_ACCEPT)
    plain = await client.get(url)
    head = await client.head(url, headers=SSE_ACCEPT)

    wire, page = await stream.get_data(as_text=True), await plain.get_data(as_text=True)
    assert f"event: sse-stop\ndata: {reason}\n" in wire.replace("id: stop\n", "").replace(
        "retry: 3600000\n", ""
    )
    assert detail in wire
    assert detail in page
    assert wire.count("\n\n") == 1
    assert (stream.status_code, plain.status_code, head.status_code) == (200, status, 200)
    assert await head.get_data() == b""
    assert not asked or reason == "refused"


@pytest.mark.usefixtures("sse")
async def test_list_that_is_too_long_costs_little(app: Quart, asked: list[str]) -> None:
    """No function of the app is asked, and the answer takes no longer than one of a few topics."""
    client = QuartClient(app)
    began = time.perf_counter()
    for _ in range(5):
        assert (await client.get(TEN_THOUSAND)).status_code == 400

    assert time.perf_counter() - began < 2.5
    assert not asked


async def test_function_that_fails_holds_the_list_off(app: Quart, sse: SSE) -> None:
    """A topic is not lost for good because a database was away; the client comes back."""
    sse.channel("broken", "/broken").authorize(lambda: 1 / 0)

    async with open_stream(app, url_of("news", "broken")) as stream:
        (said,) = await stream.rest()

    assert (said.event, said.data) == ("sse-holdoff", "error")


# -- what counts for unsigned lists ----------------------------------------------------------------


@pytest.mark.parametrize("sse", [1], indirect=True)
async def test_lists_are_bounded_per_address(app: Quart, sse: SSE, asked: list[str]) -> None:
    """Chosen topics count as unsigned lists do, over all streams of an address."""
    sse.channel("halls", "/halls/<int:x>", public=True)

    async with AsyncExitStack() as stack:
        for x in range(64):
            stream = await stack.enter_async_context(
                open_stream(app, url_of(f"halls?x={x}"), address="192.0.2.7")
            )
            assert (await stream.next()).event == "sse-open"
        async with open_stream(app, url_of("rooms?name=a"), address="192.0.2.7") as stream:
            (said,) = await stream.rest()
        async with open_stream(app, url_of("news"), address="192.0.2.8") as stream:
            other = await stream.next()

    assert (said.event, said.data) == ("sse-holdoff", "overloaded")
    assert not asked
    assert other.event == "sse-open"


async def test_list_has_no_events_of_its_user(app: Quart, sse: SSE) -> None:
    """Only a page that was made for a user is sent what is for the user; everyone's it has."""
    async with open_stream(client_of(app, "ada"), url_of("news")) as stream:
        await sse.user("ada").publish("said", "private")
        await sse.everyone.publish("said", "x")
        await sse.channels["news"].everyone.publish("said", "y")
        events = [await stream.next() for _ in range(3)]

    assert [each.event for each in events] == ["sse-open", "everyone.said", "news.said"]


async def test_list_takes_the_place_of_no_page(app: Quart, sse: SSE) -> None:
    """A page's stream has topics that a list must not inherit."""
    client = client_of(app)
    (url,) = connect_urls(await (await client.get("/")).get_data(as_text=True))
    async with open_stream(client, f"{url}&replaces=") as page:
        secret = json.loads((await page.next("sse-open")).data)["secret"]
        async with open_stream(client, url_of("news", replaces=secret)) as stream:
            opened = json.loads((await stream.next("sse-open")).data)
            await sse.topic("secrets").publish("said", "not for you")
            await sse.topic("news").publish("said", "x")
            assert (await stream.next()).event == "news.said"

    assert opened["secret"] != secret


@pytest.mark.parametrize(
    ("origin", "status", "allowed"),
    [
        ("https://evil.example", 403, None),
        ("https://friend.example", 200, "https://friend.example"),
        ("http://localhost", 200, None),
    ],
)
async def test_origins_are_those_of_all_streams(
    app: Quart, origin: str, status: int, allowed: str | None
) -> None:
    """A page of another site listens if the app lists it, and reads the answer then."""
    app.config["QUART_SSE_ORIGINS"] = "https://friend.example"
    SSE(app).channel("news", "/news", public=True)
    headers = {"Origin": origin, "Last-Event-ID": "x"}

    answer = await QuartClient(app).head(url_of("news"), headers={**headers, **SSE_ACCEPT})

    assert answer.status_code == status
    assert answer.headers.get("Access-Control-Allow-Origin") == allowed


# -- where it starts, and fragments ----------------------------------------------------------------


@pytest.mark.parametrize("how", ["since", "lastEventId", "Last-Event-ID", None])
async def test_list_starts_where_its_client_stands(app: Quart, sse: SSE, how: str | None) -> None:
    """One position is good for all topics; without any the stream starts with what comes."""
    topics = "news", "rooms?name=open"
    async with open_stream(app, url_of(*topics)) as stream:
        await sse.topic("news").publish("said", "1")
        await stream.next("news.said")
        position = stream.last_id
    await sse.topic("rooms", name="open").publish("said", "2")
    await sse.topic("news").publish("said", "3")

    headers = {"Last-Event-ID": position} if how == "Last-Event-ID" else {}
    options = {how: position} if how in ("since", "lastEventId") else {}
    async with open_stream(app, url_of(*topics, **options), headers) as stream:
        await stream.next("sse-open")
        await sse.topic("news").publish("said", "4")
        said: list[str] = []
        while "4" not in said:
            said.append((await stream.next()).data)

    assert said == (["4"] if how is None else ["2", "3", "4"])


async def test_topic_that_is_granted_later_is_no_silent_gap(app: Quart, sse: SSE) -> None:
    """The position says what was refused, so its events count as lost and not as had."""
    doors = sse.channel("doors", "/doors")
    is_open = False

    @doors.authorize
    async def may_enter() -> bool:
        return is_open

    url = url_of("news", "doors")
    async with open_stream(app, url) as stream:
        await sse.topic("news").publish("said", "1")
        await stream.next("news.said")
        position = stream.last_id
    await sse.topic("doors").publish("said", "2")
    is_open = True

    async with open_stream(app, url, {"Last-Event-ID": position}) as stream:
        said = await stream.next("sse-reset")

    assert position.endswith("@1")
    assert "doors" in json.loads(said.data)


@pytest.mark.parametrize(("fragments", "number"), [("1", 2), ("0", 0), (None, 0)])
async def test_fragments_come_if_they_are_asked_for(
    app: Quart, sse: SSE, fragments: str | None, number: int
) -> None:
    """Programs want events; a page of another kind may want the HTML, too."""
    options = {} if fragments is None else {"fragments": fragments}
    async with open_stream(app, url_of("news", **options)) as stream:
        await stream.next("sse-open")
        await sse.topic("news").refresh()
        html = [await stream.next("message") for _ in range(number)]
        await sse.topic("news").publish("said", "x")
        last = await stream.next()

    assert last.event == "news.said"
    assert sorted("<b>list</b>" in each.data for each in html) == [False, True][:number]
    assert all("?t=" not in each.data for each in html)


async def test_initial_events_are_sent_to_who_begins(app: Quart, sse: SSE) -> None:
    """As to every client without a last event."""
    hello = sse.channel("hello", "/hello", public=True)
    hello.initial(lambda: [("said", {"a": 1})])

    (_, said) = await first_of(app, url_of("hello"), 2)

    assert (said.event, said.data) == ("hello.said", '{"a": 1}')


async def test_names_that_look_encoded_are_safe_in_answers(app: Quart, sse: SSE) -> None:
    """A client reads its own text back as JSON, and nothing of it becomes a field."""
    name = 'x\r\nevent: evil\n\n"<script>\u2028\0'
    (said, _) = await first_of(app, f"/sse?topic=news&topic={quote(name)}", 2)

    assert said.event == "sse-refused"
    assert json.loads(said.data)["topics"] == [name]
