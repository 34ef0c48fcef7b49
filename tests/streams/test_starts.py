"""Where a stream starts: by the page's position, the last id, or the oldest of several."""

import json
import re
from urllib.parse import quote

import pytest
from quart import Quart, render_template_string
from quart.testing import QuartClient

from quart_sse import SSE
from tests.support.connecting import PAGE, channel_of, make_app, page_url, publish, said
from tests.support.streams import SSE_ACCEPT, open_stream


@pytest.fixture
def app() -> Quart:
    """An app with the default settings."""
    return make_app()


async def test_nothing_between_render_and_connect_is_missed(app: Quart) -> None:
    """What was published, refreshed or pushed after the page was asked for is sent at once."""
    client = QuartClient(app)
    topic = channel_of(app, "a").topic()
    await publish(app, "a before")
    url = await page_url(client, "show=a.list&show=a.count&show=a.mine")
    await publish(app, "a 1")
    await topic.refresh("list", "mine")
    await topic.push("count", html="4")
    await publish(app, "a 2")

    async with open_stream(client, url) as stream:
        seen = [(await stream.next()) for _ in range(6)]

    by_name = {event.event: event.data for event in seen}
    html = "".join(event.data for event in seen if event.event == "message")
    assert [event.data for event in seen if event.event == "a.said"] == ["a 1", "a 2"]
    assert "sse-reset" not in by_name
    assert "<b>a</b>" in html
    assert "/sse/~/mine/a" in html
    assert "[data-sse='a.count']" in html


async def test_page_is_not_sent_what_it_shows_already(app: Quart) -> None:
    """A page that is current is sent nothing but what comes."""
    client = QuartClient(app)
    await publish(app, "a before")
    await channel_of(app, "a").topic().refresh("list")
    url = await page_url(client, "show=a.list")

    async with open_stream(client, url) as stream:
        assert await said(stream, app) == []


async def test_fragment_is_sent_where_it_changed_only(app: Quart) -> None:
    """A page gets those of its fragments that have changed since."""
    client = QuartClient(app)
    url = await page_url(client, "show=a.list&show=a.count&show=b.list")
    await channel_of(app, "a").topic().refresh("count")

    async with open_stream(client, url) as stream:
        message = await stream.next("message")
        rest = await said(stream, app)

    assert "[data-sse='a.count']" in message.data
    assert rest == []


async def ids_of(app: Quart, url: str, *data: str) -> list[str]:
    """Publish events to an open stream, and return the position that it had after each."""
    async with open_stream(app, url) as stream:
        await stream.next("sse-open")
        await publish(app, *data)
        return [(await stream.next("a.said")).id for _ in data]


async def test_last_event_id_wins_over_since_for_one_token(app: Quart) -> None:
    """A browser that comes back knows better than its page where it was."""
    client = QuartClient(app)
    url = await page_url(client, "topic=a")
    ids = await ids_of(app, url, "a 1", "a 2", "a 3")

    heard = []
    for number, headers in enumerate([{}, *({"Last-Event-ID": id} for id in ids)]):
        async with open_stream(client, url, headers) as stream:
            heard.append(await said(stream, app, f"a end {number}"))

    assert heard == [
        ["a 1", "a 2", "a 3"],
        ["a 2", "a 3", "a end 0"],
        ["a 3", "a end 0", "a end 1"],
        ["a end 0", "a end 1", "a end 2"],
    ]


async def test_reconnect_resumes_after_each_cut(app: Quart) -> None:
    """However often a stream is cut, each event comes once and in order."""
    client = QuartClient(app)
    url = await page_url(client, "topic=a")
    headers: dict[str, str] = {}
    heard: list[str] = []

    for number in range(0, 30, 3):
        await publish(app, f"a {number}", f"a {number + 1}")
        async with open_stream(client, url, headers) as stream:
            await publish(app, f"a {number + 2}")
            for _ in range(3 if number % 2 else 2):  # cut before or after the last one was read
                event = await stream.next("a.said")
                heard.append(event.data)
                headers = {"Last-Event-ID": event.id}
    async with open_stream(client, url, headers) as stream:
        while heard[-1] != "a 29":
            heard.append((await stream.next("a.said")).data)

    assert heard == [f"a {number}" for number in range(30)]


@pytest.mark.parametrize(
    "last",
    [
        "nonsense",
        "0",
        "foreign.1795302000123-0",
        "{epoch}.1",
        "{epoch}.1-0~2-0",
        "{epoch}.-1-0",
        "{epoch}.99999999999999-0",
        "{epoch}.1-0@xyz",
        "{id} {id}",
        "{id},",
        "%00",
    ],
)
@pytest.mark.parametrize("where", ["Last-Event-ID", "since"])
async def test_position_that_cannot_be_used_is_a_reset_and_never_now(
    app: Quart, last: str, where: str
) -> None:
    """A client without a usable position gets a reset, and every fragment."""
    client = QuartClient(app)
    url = await page_url(client, "show=a.list&show=a.count")
    (id,) = await ids_of(app, url, "a 1")
    last = last.format(id=id, epoch=id.partition(".")[0])

    if where == "since":
        base, _, _ = url.partition("&since=")
        opened = open_stream(client, f"{base}&since={quote(last)}")
    else:
        opened = open_stream(client, url, {"Last-Event-ID": last})
    async with opened as stream:
        assert (await stream.next()).event == "sse-open"
        reset = await stream.next()
        fragments = [(await stream.next("message")).data for _ in range(2)]
        rest = await said(stream, app)

    assert (reset.event, json.loads(reset.data)) == ("sse-reset", ["a"])
    assert sorted("a.list" in data for data in fragments) == [False, True]
    assert rest == []


async def test_since_0_is_a_reset(app: Quart) -> None:
    """A page that was made while the broker was away says that it knows nothing."""
    await publish(app, "a before")

    async with open_stream(app, "/sse?t=~a:list&since=0") as stream:
        await stream.next("sse-open")
        reset = await stream.next()
        message = await stream.next()
        rest = await said(stream, app)

    assert (reset.event, message.event, rest) == ("sse-reset", "message", [])


async def test_position_after_a_reset_resumes(app: Quart) -> None:
    """A reset tells the position from which all is well."""
    async with open_stream(app, "/sse?t=~a:list&since=0") as stream:
        await stream.next("message")
        last = stream.last_id
    await publish(app, "a 1")

    async with open_stream(app, "/sse?t=~a:list&since=0", {"Last-Event-ID": last}) as stream:
        assert await said(stream, app) == ["a 1"]


async def test_client_that_sets_no_header_resumes_by_its_query(app: Quart) -> None:
    """The header wins over lastEventId, and sse-stop is known by it, too."""
    async with open_stream(app, "/sse?t=~a:list&since=0") as stream:
        await stream.next("message")
        first = stream.last_id
    await publish(app, "a 1")
    async with open_stream(app, f"/sse?t=~a:list&since=0&lastEventId={quote(first)}") as stream:
        heard = await said(stream, app)
        second = stream.last_id
    await publish(app, "a 2")
    url = f"/sse?t=~a:list&since=0&lastEventId={quote(first)}"
    async with open_stream(app, url, {"Last-Event-ID": second}) as stream:
        later = await said(stream, app)
    stopped = await QuartClient(app).get("/sse?t=~a&lastEventId=stop", headers=SSE_ACCEPT)

    assert heard == ["a 1"]
    assert later == ["a 2"]
    assert stopped.status_code == 204


async def test_stream_cut_between_reset_and_render_is_healed(app: Quart) -> None:
    """The position of a reset itself says that fragments are still owed."""
    async with open_stream(app, "/sse?t=~a:list,count&since=0") as stream:
        reset = await stream.next("sse-reset")

    async with open_stream(
        app, "/sse?t=~a:list,count&since=0", {"Last-Event-ID": reset.id}
    ) as stream:
        names = [(await stream.next("message")).data for _ in range(2)]

    assert sorted("a.list" in data for data in names) == [False, True]


@pytest.mark.parametrize("url", ["/sse?t=~a:list", "/sse/a"])
async def test_client_without_any_position_starts_now(app: Quart, url: str) -> None:
    """A hand-written EventSource gets new events, and neither a reset nor fragments."""
    await publish(app, "a before")

    async with open_stream(app, url) as stream:
        assert await said(stream, app) == []


async def test_history_of_events_is_bounded(app: Quart) -> None:
    """A client that missed more than is kept gets a reset, and no part of it."""
    sse_channel = channel_of(app, "a")
    url = await page_url(QuartClient(app), "topic=a")
    for number in range(257):
        await sse_channel.topic().publish("said", f"a {number}")

    async with open_stream(app, url) as stream:
        seen = await said(stream, app)

    assert seen == ["sse-reset"]


@pytest.mark.parametrize(
    ("config", "count", "expected"),
    [
        ({"QUART_SSE_HISTORY": 1}, 1, ["a 0"]),
        ({"QUART_SSE_HISTORY": 2}, 2, ["a 0", "a 1"]),
        ({"QUART_SSE_HISTORY": 2}, 3, ["sse-reset"]),
        ({"QUART_SSE_HISTORY": 0}, 1, []),
        ({"QUART_SSE_REPLAY_EVENTS": 2}, 2, ["a 0", "a 1"]),
        ({"QUART_SSE_REPLAY_EVENTS": 2}, 3, ["sse-reset"]),
    ],
    ids=str,
)
async def test_replay_is_as_long_as_is_set(
    config: dict[str, int], count: int, expected: list[str]
) -> None:
    """History and replay have bounds; a channel without history promises and loses nothing."""
    app = make_app(**config)
    url = await page_url(QuartClient(app), "topic=a")
    await publish(app, *(f"a {number}" for number in range(count)))

    async with open_stream(app, url) as stream:
        assert await said(stream, app) == expected


async def test_replay_is_bounded_in_bytes() -> None:
    """A replay of many bytes is a reset, too."""
    app = make_app(QUART_SSE_REPLAY_BYTES=1024)
    url = await page_url(QuartClient(app), "topic=a")
    await publish(app, *("a" + "x" * 300 for _ in range(4)))

    async with open_stream(app, url) as stream:
        assert await said(stream, app) == ["sse-reset"]


async def test_two_topics_of_a_token_are_replayed_in_one_order(app: Quart) -> None:
    """Events of all topics come in the order in which they were published."""
    client = QuartClient(app)
    url = await page_url(client, "topic=a&topic=b")
    await publish(app, "a 1", "b 1", "b 2", "a 2", "b 3")

    async with open_stream(client, url) as stream:
        assert await said(stream, app) == ["a 1", "b 1", "b 2", "a 2", "b 3"]


async def test_reset_takes_the_whole_stream_in_one_message() -> None:
    """Nothing is replayed beside a reset: a client that is cut off in between would miss it."""
    app = make_app(QUART_SSE_HISTORY=2)
    url = await page_url(QuartClient(app), "topic=a&topic=b")
    await publish(app, "a 1", "b 1", "a 2", "a 3")

    async with open_stream(app, url) as stream:
        await stream.next("sse-open")
        reset = await stream.next()
        await publish(app, "b 2")
        after = await stream.next("b.said")

    assert (reset.event, json.loads(reset.data)) == ("sse-reset", ["a", "b"])
    assert after.data == "b 2"


def join(*urls: str) -> str:
    """Return the URL of one stream for several pages."""
    return "/sse?" + "&".join(url.partition("?")[2] for url in urls)


async def test_each_token_has_its_own_since(app: Quart) -> None:
    """Tabs that share a stream are replayed from where each of them stood."""
    client = QuartClient(app)
    await publish(app, "a 0", "b 0")
    first = await page_url(client, "topic=a")
    await publish(app, "a 1", "b 1")
    second = await page_url(client, "topic=b")
    await publish(app, "b 2", "a 2")

    for url in (join(first, second), join(second, first)):
        async with open_stream(client, url) as stream:
            heard = await said(stream, app, "b end")

        assert [text for text in heard if not text.endswith("end")] == ["a 1", "b 2", "a 2"]


async def test_several_tokens_ignore_last_event_id(app: Quart) -> None:
    """One id cannot say where each of several pages stood."""
    client = QuartClient(app)
    first = await page_url(client, "topic=a")
    second = await page_url(client, "topic=b")
    (last, *_) = await ids_of(app, first, "a 1")
    await publish(app, "b 1")
    last = (await ids_of(app, first + "&x=", "a 2"))[0] if last else last

    async with open_stream(client, join(first, second), {"Last-Event-ID": last}) as stream:
        assert await said(stream, app) == ["a 1", "b 1", "a 2"]


@pytest.mark.parametrize("order", ["older first", "newer first"])
async def test_topic_of_two_tokens_starts_at_the_older_since(app: Quart, order: str) -> None:
    """Two tabs with the same topic are both given what they lack, whichever stands first."""
    client = QuartClient(app)
    older = await page_url(client, "topic=a&show=a.list")
    await publish(app, "a 1")
    await channel_of(app, "a").topic().refresh("list")
    newer = await page_url(client, "topic=a&show=a.list")
    await publish(app, "a 2")

    url = join(older, newer) if order == "older first" else join(newer, older)
    async with open_stream(client, url) as stream:
        heard = await said(stream, app, also="<a.list>")

    assert sorted(heard) == ["<a.list>", "a 1", "a 2"]


async def test_token_without_a_since_knows_nothing(app: Quart) -> None:
    """One of several tokens without its since resets the stream, which says so at once."""
    client = QuartClient(app)
    first = await page_url(client, "topic=a")
    await publish(app, "a 1")

    async with open_stream(client, join(first, "/sse?t=~b")) as stream:
        await stream.next("sse-open")
        reset = await stream.next()

    assert (reset.event, json.loads(reset.data)) == ("sse-reset", ["a", "b"])


async def test_refused_token_costs_only_its_own_topics(app: Quart) -> None:
    """One page's token that is no good leaves the others of the stream live."""
    client = QuartClient(app)
    first = await page_url(client, "topic=a")
    second = await page_url(client, "topic=b")
    await publish(app, "a 1", "b 1")

    async with open_stream(client, join(first, "/sse?t=nonsense&since=0", second)) as stream:
        refused = await stream.next()
        heard = await said(stream, app)

    assert refused.event == "sse-refused"
    assert json.loads(refused.data) == {"tokens": [1], "topics": [], "fragments": []}
    assert heard == ["a 1", "b 1"]


async def test_tabs_that_share_a_token_start_where_the_last_of_them_stands(app: Quart) -> None:
    """One token, the positions of several tabs: no tab lacks an event, or a render that was due."""
    client = QuartClient(app)
    behind = await page_url(client, "topic=a&show=a.list")
    token, _, since = behind.partition("&since=")
    await publish(app, "a 1")
    await channel_of(app, "a").topic().refresh("list")
    async with open_stream(client, behind) as stream:
        first = (await stream.next("a.said")).id
    await publish(app, "a 2")

    # The second has the event, but not yet the render that was due before.
    epoch, _, event = first.partition(".")
    for sinces, expected in (
        (f"{first},{since}", ["a 1", "a 2", "<a.list>"]),
        (f"{since},{first}", ["a 1", "a 2", "<a.list>"]),
        (f"{first},{epoch}.{event.partition('~')[0]}~0", ["a 2", "<a.list>"]),
        (f"{first},0", ["sse-reset", "<a.list>"]),
    ):
        async with open_stream(client, f"{token}&since={quote(sinces, safe='')}") as stream:
            assert await said(stream, app, also="<a.list>") == expected, sinces


class Door:
    """A channel that can be closed and opened, and a page that shows it beside an open one."""

    def __init__(self, app: Quart) -> None:
        self.is_open = True
        self.app = app
        sse = SSE(app)
        for name in "ab":
            channel = sse.channel(name, f"/{name}")
            channel.authorize(lambda name=name: name == "a" or self.is_open)
            channel.fragment("list", debounce=0)(lambda name=name: name)

        @app.get("/")
        async def page() -> str:
            return await render_template_string(PAGE)

    async def url(self) -> str:
        """Return the stream's URL of a page that shows both."""
        return await page_url(QuartClient(self.app), "show=a.list&show=b.list")


@pytest.fixture
def door() -> Door:
    """The open door."""
    app = Quart(__name__)
    app.secret_key = "for tests only"
    return Door(app)


async def test_partly_refused_token_says_so_in_its_positions(door: Door) -> None:
    """What was granted is part of the position, so that it is never taken for the whole."""
    url = await door.url()
    await publish(door.app, "a 1", "b 1")
    await channel_of(door.app, "b").topic().refresh("list")
    door.is_open = False

    async with open_stream(door.app, url) as stream:
        refused = await stream.next()
        replayed = await stream.next("a.said")
        await publish(door.app, "b 2", "a 2")
        live = await stream.next()

    assert json.loads(refused.data) == {"tokens": [], "topics": ["b"], "fragments": []}
    assert (replayed.data, live.data) == ("a 1", "a 2")
    assert replayed.id.endswith("@1")
    assert live.id.endswith("@1")


async def test_topic_that_was_refused_starts_at_the_page_s_since(door: Door) -> None:
    """Once it is granted, it is replayed from the page, while the others go on where they were."""
    url = await door.url()
    await publish(door.app, "a 1", "b 1")
    door.is_open = False
    async with open_stream(door.app, url) as stream:
        heard = await said(stream, door.app, "a 2")
        last = stream.last_id
    await publish(door.app, "b 2", "a 3")
    await channel_of(door.app, "b").topic().refresh("list")
    door.is_open = True

    async with open_stream(door.app, url, {"Last-Event-ID": last}) as stream:
        resumed = await said(stream, door.app, also="<b.list>")
        whole = stream.last_id

    assert heard == ["sse-refused", "a 1"]
    assert [name for name in resumed if name != "<b.list>"] == ["b 1", "b 2", "a 3"]
    assert "@" not in whole


async def test_topic_that_was_refused_is_reset_where_only_an_id_is_known(door: Door) -> None:
    """Our script puts an id into the URL: it says nothing of a topic that it does not cover."""
    url = await door.url()
    door.is_open = False
    async with open_stream(door.app, url) as stream:
        await said(stream, door.app, "a 1")
        last = stream.last_id
    await publish(door.app, "b 1", "a 2")
    door.is_open = True

    url = re.sub("since=[^&]*", f"since={quote(last, safe='')}", url)
    async with open_stream(door.app, url) as stream:
        reset = await stream.next("sse-reset")
        resumed = await said(stream, door.app, also="<b.list>")

    assert "b" in json.loads(reset.data)
    assert "<b.list>" in resumed


async def test_topic_that_is_refused_later_leaves_the_others_where_they_were(door: Door) -> None:
    """A topic that is taken away costs the rest nothing."""
    url = await door.url()
    await publish(door.app, "a 1", "b 1")
    async with open_stream(door.app, url) as stream:
        await said(stream, door.app, "a 2")
        last = stream.last_id
    await publish(door.app, "a 3", "b 2")
    door.is_open = False

    async with open_stream(door.app, url, {"Last-Event-ID": last}) as stream:
        resumed = await said(stream, door.app)
        last = stream.last_id

    assert resumed == ["sse-refused", "a 3"]
    assert last.endswith("@1")


async def test_granted_positions_resume_while_nothing_changes(door: Door) -> None:
    """A position of a part is good for that part."""
    url = await door.url()
    door.is_open = False
    headers: dict[str, str] = {}
    heard: list[str] = []

    for number in range(4):
        await publish(door.app, f"a {number}", f"b {number}")
        async with open_stream(door.app, url, headers) as stream:
            event = await stream.next("a.said")
            heard.append(event.data)
            headers = {"Last-Event-ID": event.id}

    assert heard == ["a 0", "a 1", "a 2", "a 3"]
