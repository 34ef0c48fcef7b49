"""URL rules of channels: from parameters to URLs and names of topics, and back."""

import asyncio
import datetime
import uuid
from typing import Any

import pytest
from quart import Quart
from werkzeug.routing import BaseConverter

from quart_sse import SSE, ParameterError
from quart_sse.wire.url_rule import UrlRule, converters_of, make_map, own_converters
from tests.support.streams import open_stream

UUID = uuid.UUID("0b8f6a3e-6a39-4b6b-9a68-4a6f3c1c1c55")


class Day(BaseConverter):
    """A converter of the app's own, whose values are no strings."""

    regex = r"\d{4}-\d{2}-\d{2}"

    def to_python(self, value: str) -> datetime.date:
        return datetime.date.fromisoformat(value)

    def to_url(self, value: datetime.date) -> str:
        return value.isoformat()


class Words(BaseConverter):
    """A converter whose ``to_url`` takes text without complaint, and means something else by it."""

    regex = r"\w+(?:-\w+)*"

    def to_python(self, value: str) -> list[str]:
        return value.split("-")

    def to_url(self, value: list[str]) -> str:
        return "-".join(value)


@pytest.fixture
def app(app: Quart) -> Quart:
    """An app with converters of its own."""
    app.url_map.converters.update(day=Day, words=Words)
    return app


ROUND_TRIPS: list[tuple[str, dict[str, Any], str]] = [
    ("/rooms", {}, "rooms"),
    ("/", {}, "rooms"),
    ("/rooms/", {}, "rooms"),
    ("/<room>", {"room": "hall"}, "rooms?room=hall"),
    ("/<room>", {"room": "a&b=c"}, "rooms?room=a%26b%3Dc"),
    ("/<room>", {"room": "a b"}, "rooms?room=a%20b"),
    ("/<room>", {"room": "a+b"}, "rooms?room=a%2Bb"),
    ("/<room>", {"room": "100%"}, "rooms?room=100%25"),
    ("/<room>", {"room": "a%2Fb"}, "rooms?room=a%252Fb"),
    ("/<room>", {"room": "a?b#c"}, "rooms?room=a%3Fb%23c"),
    ("/<room>", {"room": "Käse"}, "rooms?room=K%C3%A4se"),
    ("/<room>", {"room": "🧀"}, "rooms?room=%F0%9F%A7%80"),
    ("/<room>", {"room": "'\"><b>"}, "rooms?room=%27%22%3E%3Cb%3E"),
    ("/<room>", {"room": "a,b:c;d|e"}, "rooms?room=a%2Cb%3Ac%3Bd%7Ce"),
    ("/<room>", {"room": "a\u2028b"}, "rooms?room=a%E2%80%A8b"),
    ("/<int:room>", {"room": 7}, "rooms?room=7"),
    ("/<int(signed=True):room>", {"room": -7}, "rooms?room=-7"),
    ("/<int(fixed_digits=4):room>", {"room": 7}, "rooms?room=0007"),
    ("/<float:room>", {"room": 1.5}, "rooms?room=1.5"),
    ("/<path:room>", {"room": "a/b/c.txt"}, "rooms?room=a%2Fb%2Fc.txt"),
    ("/<path:room>", {"room": "a//b"}, "rooms?room=a%2F%2Fb"),
    ("/<path:room>/end", {"room": "a b/end"}, "rooms?room=a%20b%2Fend"),
    ("/<uuid:room>", {"room": UUID}, f"rooms?room={UUID}"),
    ("/<any(hall, attic):room>", {"room": "attic"}, "rooms?room=attic"),
    ("/<day:room>", {"room": datetime.date(2026, 11, 22)}, "rooms?room=2026-11-22"),
    ("/<words:room>", {"room": ["big", "hall"]}, "rooms?room=big-hall"),
    ("/<z>/<int:a>/<M>", {"z": "1", "M": "x", "a": 3}, "rooms?M=x&a=3&z=1"),
]


@pytest.mark.parametrize(
    ("rule", "params", "name"), ROUND_TRIPS, ids=[f"{r}:{n}" for r, _, n in ROUND_TRIPS]
)
def test_topic_survives_its_url(
    app: Quart, sse: SSE, rule: str, params: dict[str, Any], name: str
) -> None:
    """A topic's name is its parameters, sorted and encoded, and says the same backwards."""
    rooms = sse.channel("rooms", rule, public=True)

    topic = rooms.topic(**params)

    assert topic.name == name
    assert dict(topic.params) == params
    assert {key: type(value) for key, value in topic.params.items()} == {
        key: type(value) for key, value in params.items()
    }
    assert rooms._declaration.url_rule.values(app.url_map, name) == params
    assert sse.topic("rooms", **params).name == name


@pytest.mark.parametrize(
    ("rule", "params", "name"), ROUND_TRIPS, ids=[f"{r}:{n}" for r, _, n in ROUND_TRIPS]
)
async def test_topic_is_reached_at_its_url(
    app: Quart, sse: SSE, rule: str, params: dict[str, Any], name: str
) -> None:
    """A client of the URL that ``url_for`` gives gets what is published to the topic."""
    rooms = sse.channel("rooms", rule, public=True)
    rooms.fragment("list")(lambda **values: repr(sorted(values.items())))
    async with app.test_request_context("/"):
        url = app.url_for("sse.rooms.stream", **params)
        fragment_url = app.url_for("sse.rooms.fragment", fragment="list", **params)

    async with asyncio.timeout(5):
        answer = await app.test_client().get(fragment_url)

    async with open_stream(app, url) as stream:
        opened = await stream.next()
        assert opened.event == "sse-open"

        published = await rooms.topic(**params).publish("said", "hello")
        said = await stream.next("said")

    assert await answer.get_data(as_text=True) == repr(sorted(params.items()))
    assert said.data == "hello"
    assert published.local_receivers == 1


@pytest.mark.parametrize(
    ("rule", "params"),
    [
        ("/<room>", {"room": "a/b"}),
        ("/<room>", {"room": ""}),
        ("/<room>", {"room": 7}),
        ("/<room>", {"room": b"hall"}),
        ("/<room>", {"room": ["hall"]}),
        ("/<room>", {"room": None}),
        ("/<room>", {"room": "\ud800"}),
        ("/<string(maxlength=3):room>", {"room": "hall"}),
        ("/<int:room>", {"room": 1.0}),
        ("/<int:room>", {"room": True}),
        ("/<int:room>", {"room": "7"}),
        ("/<int:room>", {"room": -7}),
        ("/<int:room>", {"room": "x"}),
        ("/<int:room>", {"room": object()}),
        ("/<int(max=5):room>", {"room": 7}),
        ("/<float:room>", {"room": 1}),
        ("/<float:room>", {"room": float("nan")}),
        ("/<float:room>", {"room": 1e-9}),
        ("/<path:room>", {"room": ""}),
        ("/<path:room>", {"room": "/a"}),
        ("/<path:room>", {"room": "~static/vendor"}),
        ("/<path:room>", {"room": "~/list/a"}),
        ("/<uuid:room>", {"room": str(UUID)}),
        ("/<any(hall, attic):room>", {"room": "cellar"}),
        ("/<day:room>", {"room": "2026-11-22"}),
        ("/<room>", {}),
        ("/<room>", {"room": "hall", "floor": 2}),
        ("/<room>", {"rooms": "hall"}),
        ("/rooms", {"room": "hall"}),
    ],
    ids=str,
)
def test_topic_with_parameters_that_its_url_cannot_say_raises(
    sse: SSE, rule: str, params: dict[str, Any]
) -> None:
    """What comes back from the URL as anything else is refused, so that two never differ."""
    rooms = sse.channel("rooms", rule)
    rooms.fragment("list")(lambda **_: "")

    with pytest.raises(ParameterError) as caught:
        rooms.topic(**params)

    assert "'rooms'" in str(caught.value)
    assert repr(rule) in str(caught.value)


def test_topic_that_another_channel_owns_raises(sse: SSE) -> None:
    """A URL that leads to another channel is no topic of this one."""
    rooms = sse.channel("rooms", "/rooms/<room>")
    sse.channel("attic", "/rooms/attic")

    assert rooms.topic(room="hall").name == "rooms?room=hall"
    with pytest.raises(ParameterError):
        rooms.topic(room="attic")


@pytest.mark.parametrize(
    ("rule", "params"), [("/news", {}), ("/news/<int:number>", {"number": 7})], ids=str
)
def test_topic_that_the_app_s_own_route_hides_raises(
    app: Quart, sse: SSE, rule: str, params: dict[str, Any]
) -> None:
    """A channel that the app hides behind a rule of its own could never be connected."""
    app.add_url_rule(f"/sse{rule}", "own", lambda **_: "")
    news = sse.channel("news", rule)

    with pytest.raises(ParameterError, match="'news'"):
        news.topic(**params)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "rooms",
        "rooms?",
        "rooms?room",
        "rooms?room=",
        "rooms?room=07",
        "rooms?room=7.0",
        "rooms?room=-7",
        "rooms?room=%37",
        "rooms?room=7&room=7",
        "rooms?room=7&room=8",
        "rooms?room=7&other=8",
        "rooms?other=7",
        "rooms?room=7&",
        "rooms?room=7#x",
        "rooms?room=7/../8",
        "rooms?room=\u0667",
        "rooms?room=7%0A",
        "rooms?room=1e3",
        "rooms?room=" + "9" * 5000,
        "rooms?room=\x00",
        "rooms?room=%ff",
        "other?room=7",
        " rooms?room=7",
    ],
    ids=lambda name: name[:30] or "empty",
)
def test_values_of_what_is_no_topic_is_none(app: Quart, sse: SSE, name: str) -> None:
    """A topic has one name only: any other spelling, which a client may send, is nothing."""
    rooms = sse.channel("rooms", "/rooms/<int:room>")

    assert rooms._declaration.url_rule.values(app.url_map, "rooms?room=7") == {"room": 7}
    assert rooms._declaration.url_rule.values(app.url_map, name) is None


@pytest.mark.parametrize("rule", ["/<day:room>", "/<words:room>", "/<uuid:room>", "/<float:room>"])
@pytest.mark.parametrize("text", ["x", "-", "2026-13-99", "nan", "a--b", "%", "\ud800"])
def test_values_of_hostile_text_is_none(app: Quart, sse: SSE, rule: str, text: str) -> None:
    """Text that a converter does not take never raises, because any client may send it."""
    rooms = sse.channel("rooms", rule)

    found = rooms._declaration.url_rule.values(app.url_map, f"rooms?room={text}")

    assert found is None or found == {"room": text.split("-")}


# -- without the app -------------------------------------------------------------------------------


@pytest.mark.parametrize(("rule", "params", "name"), ROUND_TRIPS)
async def test_topic_has_the_same_name_without_the_app(
    app: Quart, rule: str, params: dict[str, Any], name: str
) -> None:
    """A publisher in another process has the rule, and the converters that it was given."""
    SSE(app).channel("rooms", rule, public=True)
    own = own_converters(app.url_map, rule)
    url_map = make_map("/sse", {"rooms": rule}, own)
    selected, values = UrlRule("rooms", rule).select(url_map, params)

    assert (selected, values) == (name, params)
    assert UrlRule("rooms", rule).select(app.url_map, params) == (selected, values)


@pytest.mark.parametrize(
    ("rule", "names"),
    [
        ("/<day:day>/<int:n>", {"day"}),
        ("/<number:n>", {"number"}),
        ("/<words:w>/<day:day>", {"day", "words"}),
        ("/<uuid:id>/<path:rest>", set()),
        ("/", set()),
    ],
)
async def test_converters_of_the_app_are_found(app: Quart, rule: str, names: set[str]) -> None:
    """Those of Werkzeug need not be given to a publisher, unless the app has replaced one."""
    app.url_map.converters["number"] = app.url_map.converters["int"]

    assert own_converters(app.url_map, rule).keys() == names


async def test_converter_that_replaces_one_of_werkzeug_is_the_apps(app: Quart) -> None:
    """The same name means something else there."""
    app.url_map.converters["int"] = Words
    assert own_converters(app.url_map, "/<int:n>") == {"int": Words}


@pytest.mark.parametrize(
    ("texts", "name"),
    [
        ({"room": "7", "name": "a b"}, "rooms?name=a%20b&room=7"),
        ({"room": "07", "name": "a"}, None),
        ({"room": "x", "name": "a"}, None),
        ({"room": "7", "name": ""}, None),
        ({"room": "7", "name": "a/b"}, None),
        ({"room": "7", "name": "\ud800"}, None),
        ({"room": "7"}, None),
        ({"room": "7", "name": "a", "more": "x"}, None),
    ],
)
def test_topic_is_selected_by_the_texts_of_its_url(texts: dict[str, str], name: str | None) -> None:
    """As programs send them that know no types of Python; each topic has one name."""
    rule = UrlRule("rooms", "/<int:room>/<name>")
    url_map = make_map("/sse", {"rooms": rule.rule}, {})
    if name is None:
        with pytest.raises(ParameterError, match="'rooms'"):
            rule.select_texts(url_map, texts)
    else:
        assert rule.select_texts(url_map, texts) == (name, {"room": 7, "name": texts["name"]})


def test_rule_of_another_channel_hides_a_topic_as_in_the_app() -> None:
    """The URL would lead to the other channel, also where no app is."""
    url_map = make_map("/sse", {"any": "/<name>", "news": "/news"}, {})

    assert UrlRule("any", "/<name>").select(url_map, {"name": "tea"})[0] == "any?name=tea"
    with pytest.raises(ParameterError, match="comes back"):
        UrlRule("any", "/<name>").select(url_map, {"name": "news"})


def test_converters_of_a_rule_are_named_with_their_arguments() -> None:
    """Those of the app, too, which are not known here."""
    assert converters_of('/<a>/<int(min=1):b>/<any("x", y):c>/<slug:d>') == {
        "a": ("default", (), {}),
        "b": ("int", (), {"min": 1}),
        "c": ("any", ("x", "y"), {}),
        "d": ("slug", (), {}),
    }
