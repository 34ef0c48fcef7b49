"""Channels are declared once, topics survive their URL, and what is published is checked."""

import datetime
import json
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from quart import Quart
from quart.json.provider import DefaultJSONProvider

from quart_sse import (
    SSE,
    DeclarationError,
    EventError,
    FragmentError,
    UnknownChannelError,
    UnknownFragmentError,
)
from quart_sse.channels.channel import Channel
from quart_sse.channels.target import PAGE_HEADER
from quart_sse.hub.lasting import id_of
from tests.support.streams import open_stream

UUID = uuid.UUID("0b8f6a3e-6a39-4b6b-9a68-4a6f3c1c1c55")


async def nothing(**params: object) -> str:
    """Render nothing."""
    return ""


#: What a stream's client alone has.
SECRET = "abcdefghijklmn-_01234567"


# -- declaring ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "1st", "a b", "a.b", "a/b", "ä", "-a", "a?b", "a:b", "a\n"])
def test_channel_with_bad_name_raises(sse: SSE, name: str) -> None:
    """A channel's name is a letter, then letters, digits, underscores and hyphens."""
    with pytest.raises(DeclarationError, match="cannot name a channel"):
        sse.channel(name, "/rooms")

    assert not sse.channels


@pytest.mark.parametrize(
    ("name", "rule", "message"),
    [("rooms", "/other", "'rooms' is declared already"), ("other", "/rooms", "channel 'rooms'")],
    ids=["name", "rule"],
)
def test_channel_declared_twice_raises(sse: SSE, name: str, rule: str, message: str) -> None:
    """Neither a name nor a rule can be taken twice, and the error says by whom it is taken."""
    sse.channel("rooms", "/rooms")

    with pytest.raises(DeclarationError, match=message):
        sse.channel(name, rule)

    assert set(sse.channels) == {"rooms"}


@pytest.mark.parametrize(
    "options",
    [
        {"history": -1},
        {"history_ttl": 0},
        {"history_ttl": 0.5},
        {"history_ttl": float("inf")},
        {"history_ttl": float("nan")},
    ],
    ids=str,
)
def test_channel_with_bad_history_raises(sse: SSE, options: dict[str, Any]) -> None:
    """History is a number of events and a number of seconds that a broker can keep."""
    with pytest.raises(DeclarationError, match=next(iter(options))):
        sse.channel("rooms", "/rooms", **options)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("", {}, "cannot name a fragment"),
        ("a.b", {}, "cannot name a fragment"),
        ("a b", {}, "cannot name a fragment"),
        ("taken", {}, "has a fragment 'taken' already"),
        ("list", {"every": 0}, "every"),
        ("list", {"every": -1}, "every"),
        ("list", {"every": float("nan")}, "every"),
        ("list", {"every": float("inf")}, "every"),
        ("list", {"every": 1, "personal": True}, "personal"),
        ("list", {"debounce": -0.1}, "debounce"),
        ("list", {"debounce": float("inf")}, "debounce"),
    ],
    ids=str,
)
def test_fragment_declared_badly_raises(
    sse: SSE, name: str, options: dict[str, Any], message: str
) -> None:
    """A fragment's name and times are checked where it is declared."""
    rooms = sse.channel("rooms", "/rooms")
    rooms.fragment("taken")(nothing)

    with pytest.raises(DeclarationError, match=message):
        rooms.fragment(name, **options)

    assert set(rooms._declaration.fragments) == {"taken"}


def test_decorators_return_the_function(sse: SSE) -> None:
    """What is decorated stays an ordinary function."""
    rooms = sse.channel("rooms", "/rooms")

    assert rooms.fragment("list")(nothing) is nothing
    assert rooms.authorize(nothing) is nothing
    assert sse.identity(nothing) is nothing


def test_authorize_of_public_channel_raises(sse: SSE) -> None:
    """A channel that is public would never ask, so the two together are a mistake."""
    rooms = sse.channel("rooms", "/rooms", public=True)

    with pytest.raises(DeclarationError, match="public=True"):
        rooms.authorize(nothing)


def test_second_authorize_raises(sse: SSE) -> None:
    """A second authorize would silently replace the first."""
    rooms = sse.channel("rooms", "/rooms")
    rooms.authorize(nothing)

    with pytest.raises(DeclarationError, match="already"):
        rooms.authorize(nothing)


def test_second_identity_raises(sse: SSE) -> None:
    """A second identity function would silently replace the first."""
    sse.identity(nothing)

    with pytest.raises(DeclarationError, match="identity"):
        sse.identity(nothing)


# -- topics ------------------------------------------------------------------------------------


def test_topic_of_unknown_channel_names_those_declared(sse: SSE) -> None:
    """A misspelt channel is answered with the names that there are."""
    sse.channel("rooms", "/rooms")
    sse.channel("news", "/news")

    with pytest.raises(UnknownChannelError, match=r"'nws'.*Declared: 'news', 'rooms'"):
        sse.topic("nws")


def test_topic_shows_its_name(sse: SSE) -> None:
    """In a log or a debugger a topic is recognised."""
    topic = sse.channel("rooms", "/rooms/<int:room>").topic(room=7)

    assert repr(topic) == "<Topic 'rooms?room=7'>"


# -- publishing --------------------------------------------------------------------------------


@dataclass
class Comment:
    """Something of an application's."""

    id: int
    text: str


class Provider(DefaultJSONProvider):
    """A JSON provider of the app's own."""

    @staticmethod
    def default(object_: Any) -> Any:
        """Write what JSON has no form for."""
        if isinstance(object_, complex):
            return [object_.real, object_.imag]
        return DefaultJSONProvider.default(object_)


@pytest.fixture
def news(app: Quart, sse: SSE) -> Channel:
    """A public channel of one topic, in an app with a JSON provider of its own."""
    app.json = Provider(app)
    return sse.channel("news", "/news", public=True)


@pytest.mark.parametrize(
    ("data", "received"),
    [
        ("text", "text"),
        ("", ""),
        ("two\nlines", "two\nlines"),
        ("\r\n", "\n"),
        (" leading and\ttab ", " leading and\ttab "),
        (":colon", ":colon"),
        ("data: not a field", "data: not a field"),
        ("\u2028\x0b\x0c\x85", "\u2028\x0b\x0c\x85"),
        ("🧀", "🧀"),
    ],
    ids=repr,
)
async def test_publish_sends_text_as_it_is(
    app: Quart, news: Channel, data: str, received: str
) -> None:
    """Text arrives unchanged but for the ends of its lines."""
    async with open_stream(app, "/sse/news") as stream:
        await news.topic().publish("said", data)
        said = await stream.next("said")

    assert said.data == received


@pytest.mark.parametrize(
    ("data", "received"),
    [
        (None, None),
        (7, 7),
        (False, False),
        ([], []),
        ({"a": [1, {"b": None}], "c": "ä\n"}, {"a": [1, {"b": None}], "c": "ä\n"}),
        (Comment(7, "<b>"), {"id": 7, "text": "<b>"}),
        ([Comment(7, "x")], [{"id": 7, "text": "x"}]),
        (UUID, str(UUID)),
        (
            datetime.datetime(2026, 11, 22, 12, tzinfo=datetime.UTC),
            "Sun, 22 Nov 2026 12:00:00 GMT",
        ),
        (1 + 2j, [1.0, 2.0]),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_publish_sends_anything_else_as_json(
    app: Quart, news: Channel, data: object, received: object
) -> None:
    """Data goes through the app's own JSON provider."""
    async with open_stream(app, "/sse/news") as stream:
        await news.topic().publish("said", data)
        said = await stream.next("said")

    assert json.loads(said.data) == received


def _circle() -> list[object]:
    circle: list[object] = []
    circle.append(circle)
    return circle


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (object(), "'said' cannot be written as JSON"),
        ({1, 2}, "'said' cannot be written as JSON"),
        (b"bytes", "'said' cannot be written as JSON"),
        (_circle(), "'said' cannot be written as JSON"),
        ("\ud800", "UTF-8"),
        ("x" * 1024, "QUART_SSE_PENDING_BYTES"),
        (["x" * 1024], "QUART_SSE_PENDING_BYTES"),
        ("ä" * 512, "QUART_SSE_PENDING_BYTES"),
        ("\n" * 200, "QUART_SSE_PENDING_BYTES"),
    ],
    ids=["object", "set", "bytes", "circle", "surrogate", "text", "json", "utf-8", "lines"],
)
async def test_publish_of_what_cannot_be_sent_raises(
    app: Quart, data: object, message: str
) -> None:
    """Data that no connection can be given is the publisher's error, and reaches no client."""
    app.config["QUART_SSE_PENDING_BYTES"] = 1024
    news = SSE(app).channel("news", "/news", public=True)
    async with open_stream(app, "/sse/news") as stream:
        with pytest.raises(EventError, match=message):
            await news.topic().publish("said", data)
        await news.topic().publish("after")
        await stream.next("sse-open")
        after = await stream.next()

    assert after.event == "after"


@pytest.mark.parametrize(
    "name",
    ["message", "open", "error", "sse-stop", "sse-", "htmx", "htmxLoad", "htmx:load", "", "1st"],
)
@pytest.mark.parametrize("suffix", ["", " ", "\n", ":", "ä", "?"], ids=repr)
async def test_publish_under_a_bad_name_raises(news: Channel, name: str, suffix: str) -> None:
    """Names that mean something to browsers, htmx or us, or that no stream carries, are refused."""
    with pytest.raises(EventError, match="name"):
        await news.topic().publish(name + suffix)


@pytest.mark.parametrize("name", ["a", "Message", "comment-added", "a.b_c-1", "opened", "ssex"])
async def test_publish_under_a_good_name_arrives(app: Quart, news: Channel, name: str) -> None:
    """Letters, digits, dots, hyphens and underscores make a name."""
    async with open_stream(app, "/sse/news") as stream:
        await news.topic().publish(name)
        event = await stream.next(name)

    assert event.event == name


async def test_publish_tells_id_and_receivers(app: Quart, news: Channel) -> None:
    """The publisher learns the event's place in the order, and how many here listened."""
    first = await news.topic().publish("said")
    async with open_stream(app, "/sse/news"), open_stream(app, "/sse/news"):
        second = await news.topic().publish("said")

    assert first.local_receivers == 0
    assert second.local_receivers == 2
    assert first.id
    assert second.id
    assert first.id != second.id


async def test_publish_with_retry_puts_it_on_the_wire(app: Quart, news: Channel) -> None:
    """A publisher can say how long clients wait before they reconnect."""
    async with open_stream(app, "/sse/news") as stream:
        await news.topic().publish("said", "x", retry_ms=12_345)
        said = await stream.next("said")

    assert said.retry == 12_345


@pytest.mark.parametrize(
    ("header", "line"),
    [
        (f"{SECRET}.abc-1_X", f"origin: {id_of(SECRET)}.abc-1_X\n"),
        (f"{id_of(SECRET)}.x", ""),  # what all are sent
        (None, ""),
        ("", ""),
        ("0123456789012345", ""),  # as pages said it that have been open for long
        (SECRET, ""),
        (f"{SECRET}.", ""),
        (f".{SECRET}", ""),
        (f"{SECRET[:15]}.x", ""),
        (f"{SECRET}.a.b", ""),
        (f"{SECRET}.a b", ""),
        (f"{SECRET}.\xb5", ""),
        (f"{SECRET}.{'x' * 65}", ""),
        (f"{'x' * 65}.x", ""),
    ],
)
async def test_event_for_others_says_which_page_knows(
    app: Quart, news: Channel, header: str | None, line: str
) -> None:
    """The page that asked is named on the wire by what it alone can ask for, if by anything."""

    @app.post("/say")
    async def say() -> str:
        await news.topic().publish("said", "to others", to_others=True)
        await news.topic().publish("said", "to all")
        return ""

    async with open_stream(app, "/sse/news") as stream:
        await stream.next("sse-open")
        await app.test_client().post(
            "/say", headers={} if header is None else {PAGE_HEADER: header}
        )
        raw = b""
        while b"to all" not in raw:
            raw += await stream.connection.receive()

    others, _, everybody = raw.decode().partition("data: to others")
    assert line in others
    assert ("origin" in others) == bool(line)
    assert "origin" not in everybody


async def test_event_for_others_outside_a_request_goes_to_all(app: Quart, news: Channel) -> None:
    """Outside a request no page is left out."""
    async with open_stream(app, "/sse/news") as stream:
        await stream.next("sse-open")
        await news.topic().publish("said", "x", to_others=True)

        assert (await stream.next("said")).data == "x"


async def test_each_stream_has_a_secret(app: Quart, news: Channel) -> None:
    """Its id, which others may come to know, is made of it, and does not lead back."""
    async with open_stream(app, "/sse/news") as one, open_stream(app, "/sse/news") as other:
        told = [json.loads((await stream.next("sse-open")).data) for stream in (one, other)]

    assert len({each["secret"] for each in told}) == 2
    for each in told:
        assert each["id"] == id_of(each["secret"])
        assert each["secret"] not in each["id"]
        assert re.fullmatch(r"[0-9a-f]{16}[\w-]{24}", each["secret"])


@pytest.mark.parametrize("retry_ms", [-1, True])
async def test_publish_with_bad_retry_raises(news: Channel, retry_ms: int) -> None:
    """A time to wait is a whole number of milliseconds."""
    with pytest.raises(EventError, match="retry_ms"):
        await news.topic().publish("said", retry_ms=retry_ms)


async def test_events_of_all_topics_keep_their_order(app: Quart, sse: SSE) -> None:
    """Events reach everybody in the order of publishing, each once, over all topics."""
    rooms = sse.channel("rooms", "/rooms/<int:room>", public=True)
    topics = [rooms.topic(room=number) for number in range(3)]
    names = [f"rooms.said?room={number % 3}" for number in range(60)]
    url = f"/sse?t=~{'+'.join(topic.name for topic in topics)}"

    async with open_stream(app, url) as left, open_stream(app, url) as right:
        for number in range(60):
            await topics[number % 3].publish("said", number)
        seen = [[await stream.next() for _ in range(61)] for stream in (left, right)]

    for events in seen:
        assert [event.event for event in events] == ["sse-open", *names]
        assert [event.data for event in events[1:]] == [str(number) for number in range(60)]
        ids = [event.id for event in events[1:]]
        assert len(set(ids)) == 60


async def test_event_has_bare_name_on_own_url_and_full_name_on_a_shared_one(
    app: Quart, sse: SSE
) -> None:
    """On a stream of many topics the name says which; on a channel's own URL that is known."""
    rooms = sse.channel("rooms", "/rooms/<int:room>", public=True)
    topic = rooms.topic(room=7)

    async with (
        open_stream(app, "/sse/rooms/7") as own,
        open_stream(app, f"/sse?t=~{topic.name}") as shared,
    ):
        await topic.publish("said", "x")
        bare, full = [[await stream.next() for _ in range(2)][1] for stream in (own, shared)]

    assert bare.event == "said"
    assert full.event == "rooms.said?room=7"
    assert (bare.data, bare.id) == (full.data, full.id)


@pytest.mark.parametrize(
    "call",
    [lambda topic: topic.refresh("lst"), lambda topic: topic.push("lst", html="x")],
    ids=["refresh", "push"],
)
async def test_unknown_fragment_names_those_declared(sse: SSE, call: Callable[[Any], Any]) -> None:
    """A misspelt fragment is answered with the names that there are."""
    rooms = sse.channel("rooms", "/rooms")
    rooms.fragment("list")(nothing)
    rooms.fragment("count")(nothing)

    with pytest.raises(UnknownFragmentError, match=r"'lst'.*Declared: 'count', 'list'"):
        await call(rooms.topic())


@pytest.mark.parametrize(
    ("fragment", "options", "message"),
    [
        ("list", {}, "either html= or template="),
        ("list", {"html": "x", "template": "x.html"}, "either html= or template="),
        ("mine", {"html": "x"}, "personal"),
    ],
    ids=["neither", "both", "personal"],
)
async def test_push_that_cannot_mean_anything_raises(
    sse: SSE, fragment: str, options: dict[str, Any], message: str
) -> None:
    """A push needs HTML from one place, for a fragment that is the same for everybody."""
    rooms = sse.channel("rooms", "/rooms")
    rooms.fragment("list")(nothing)
    rooms.fragment("mine", personal=True)(nothing)

    with pytest.raises(FragmentError, match=message):
        await rooms.topic().push(fragment, **options)
