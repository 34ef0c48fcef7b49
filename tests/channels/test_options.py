"""The settings of a channel: what each takes, what it refuses, and which of several counts."""

from typing import Any

import pytest

from quart_sse import SSE, DeclarationError
from quart_sse.channels.options import RESERVED, ChannelOptions, settings_of, shortest
from quart_sse.config import Config
from quart_sse.streams import HEADERS

NEVER = [True, False, float("nan"), float("inf"), float("-inf"), -1, "5", b"5", [], {}]
#: Option -> values that it does not take.
WRONG: dict[str, list[object]] = {
    "history": [*NEVER, 1.5],
    "history_ttl": [*NEVER, 0, 0.9],
    "max_connections": [*NEVER, 0, 1.5],
    "max_per_topic": [*NEVER, 0, 1.5],
    "max_age": [*NEVER, 0, 0.9],
    "max_idle": [*NEVER, 0, 0.9],
    "heartbeat": [*NEVER, 0, 0.09, 31],
    "retry": [*NEVER, 0, 0.09, 86_401],
    "headers": [
        *("X-Name: a", ["X-Name"], {"": "a"}, {"X Name": "a"}, {"X-Näme": "a"}, {b"X": "a"}),
        *({"X-Name\r\nX-Other": "a"}, {"X-Name\n": "a"}, {"X-Name:": "a"}, {"X-Name\0": "a"}),
        *({"X-Name": "a\r\nX-Other: b"}, {"X-Name": "a\n"}, {"X-Name": "a\rb"}, {"X-Name": "\0"}),
        *({"X-Name": " a"}, {"X-Name": "a\t"}, {"X-Name": "ä"}, {"X-Name": b"a"}, {"X-Name": 1}),
        {"X-Name": "a", "x-name": "b"},
    ],
    "origins": [
        *("*", "example.org", ["https://e.org/app"], ["null"], [""], [b"https://e.org"], [None]),
        *(5, None),
    ],
}
#: Option -> values that it takes, at the ends of its range.
RIGHT: dict[str, list[object]] = {
    "history": [0, 10**6],
    "history_ttl": [1, 1e9],
    "max_connections": [1, 10**6],
    "max_per_topic": [1, 10**6],
    "max_age": [1, 1e9],
    "max_idle": [1, 1e9],
    "heartbeat": [0.1, 30],
    "retry": [0.1, 86_400],
    "headers": [{}, {"X-Name": "a b"}, {"x!#$%&'*+.^_`|~9": '"a"\t;=,'}, {"X-Name": ""}],
    "origins": [[], ["https://a.org", "http://b.org:81"]],
}


@pytest.mark.parametrize(
    ("option", "value"), [(option, value) for option in WRONG for value in WRONG[option]], ids=repr
)
def test_wrong_value_is_refused_where_the_channel_is_declared(
    sse: SSE, option: str, value: Any
) -> None:
    """The error names the thing and says what may stand there; nothing is declared."""
    with pytest.raises(DeclarationError) as raised:
        sse.channel("rooms", "/rooms", **{option: value})

    named = option.removesuffix("s")
    text = str(raised.value)
    assert text.startswith((named, f"The {named}"))
    assert any(remedy in text for remedy in ("must be", "Pass", "Use", "List", "Remove"))
    assert not sse.channels


@pytest.mark.parametrize(
    ("option", "value"), [(option, value) for option in RIGHT for value in RIGHT[option]], ids=repr
)
def test_value_is_taken_up_to_the_ends_of_its_range(sse: SSE, option: str, value: Any) -> None:
    """What is allowed can be declared, and is kept."""
    rooms = sse.channel("rooms", "/rooms", **{option: value})

    kept = getattr(rooms._declaration.options, option)
    assert kept == (tuple(value) if option == "origins" else value)


@pytest.mark.parametrize("name", [*HEADERS, *RESERVED, "Access-Control-Allow-Origin"])
def test_header_that_the_stream_has_itself_is_refused(name: str) -> None:
    """Its framing, its caching, its cookie, and what ``origins=`` sets."""
    with pytest.raises(DeclarationError, match="cannot be set") as raised:
        ChannelOptions(headers={name: "a"})

    assert ("origins=" in str(raised.value)) == name.lower().startswith("access-")


def test_options_are_copies_that_cannot_be_changed() -> None:
    """What was checked stays, whatever becomes of the caller's own."""
    headers, origins = {"X-Name": "a"}, ["https://a.org"]
    options = ChannelOptions(headers=headers, origins=origins)
    headers["X-Name"] = "a\n"
    origins.append("*")

    assert options.headers == {"X-Name": "a"}
    assert options.origins == ("https://a.org",)


CONFIG = Config(max_age=100.0, heartbeat=10.0, retry=5.0)


@pytest.mark.parametrize(
    ("channels", "settings"),
    [
        ([{}], (100.0, float("inf"), 10.0, 5.0)),
        ([{"max_age": 50, "max_idle": 7, "heartbeat": 1, "retry": 2}], (50.0, 7.0, 1.0, 2.0)),
        ([{"max_age": 500, "heartbeat": 20, "retry": 9}], (500.0, float("inf"), 20.0, 9.0)),
        ([{"max_age": 50, "max_idle": 9}, {"max_age": 60, "max_idle": 8}], (50.0, 8.0, 10.0, 5.0)),
        # A channel without its own has the app's, so another one cannot make it longer.
        (
            [{"max_age": 500, "max_idle": 9, "heartbeat": 20, "retry": 9}, {}],
            (100.0, 9.0, 10.0, 5.0),
        ),
    ],
    ids=str,
)
def test_shortest_of_several_channels_counts(
    channels: list[dict[str, Any]], settings: tuple[float, ...]
) -> None:
    """No channel of a stream gets a longer time than it has declared, or than the app has."""
    found = [settings_of(ChannelOptions(**each), CONFIG) for each in channels]

    assert shortest(found) == settings
    assert shortest(found[::-1]) == settings
