"""Settings: every key's default, what it takes, what it refuses, and where it is read from."""

import dataclasses
from typing import Any

import pytest

from quart_sse.config import PREFIX, Config
from quart_sse.errors import ConfigError

#: Key -> values that it does not take.
WRONG: dict[str, list[object]] = {
    "broker_url": ["", "memory", "memory://x", "redis://", "amqp://host", b"redis://host", 5],
    "url_prefix": ["", "/", "sse", "/sse/", "//sse", "/a//b", "/~sse", "/a b", "/sse?x", "/sse\n"],
    "base_url": [
        *("", "example.org", "ftp://example.org", "https://", "https://e.org?x=1"),
        *("https://e.org/#x", "http://[", "https://e.org\n", " https://e.org", b"https://e.org", 5),
    ],
    "htmx": ["", 3, "3", "two", True, 24, "2.0.11"],
    "origins": [
        *("*", "example.org", "https://e.org/", "https://e.org/app", "ws://e.org", 5),
        *("https://a.org,https://b.org", ["https://e.org", 5], ["https://e.org", ""], [None]),
    ],
    "history": [-1, "-1"],
    "history_ttl": [0, 0.9, "0"],
    "replay_events": [0],
    "replay_bytes": [1023],
    "debounce": [-0.1],
    "render_timeout": [0],
    "max_renders": [0],
    "heartbeat": [0, 0.09, 31],
    "broker_timeout": [0, 0.04],
    "probe": [0, 0.09],
    "max_age": [0, 0.9],
    "retry": [0, 0.09, 86_401],
    "send_timeout": [0, 0.09],
    "linger": [-1],
    "join_timeout": [0, 0.09],
    "presence_linger": [-1],
    "direct": ["", "yes", "true", 2, -1, 1.5, [], "01"],
    "pending_events": [0],
    "pending_bytes": [1023],
    "token_lifetime": [0],
    "token_max_lifetime": [0],
    "max_topics": [0],
    "max_unsigned_topics": [0],
    "max_tokens": [0],
    "max_query": [255],
    "max_connections": [0],
    "max_per_topic": [0],
    "max_per_identity": [0],
    "max_per_browser": [0],
    "max_per_address": [0],
    "sync_streams": [0],
    "browser_cookie": ["a b", "a=b", "a;b", "a,b", "a\n", 5],
    "redis_prefix": ["", "a b", "{a}", "a\n", 5],
}
#: What no key that takes a number takes.
NO_NUMBERS = ["", "x", "1,5", True, False, [], "nan", float("nan"), float("inf"), "-inf"]
#: What a key that takes a whole number does not take besides.
NO_WHOLE_NUMBERS = [300.5, "300.5", "3e2", "1_0.0"]

FIELDS = {field.name: field for field in dataclasses.fields(Config)}


def wrong_values() -> list[tuple[str, object]]:
    """Return every key with every value that it must refuse."""
    found = [(name, value) for name, values in WRONG.items() for value in values]
    for name, field in FIELDS.items():
        if field.type is int and name != "htmx":
            found += [(name, value) for value in [*NO_NUMBERS, *NO_WHOLE_NUMBERS]]
        elif field.type is float:
            found += [(name, value) for value in NO_NUMBERS]
    return found


def read(**values: Any) -> Config:
    """Read settings that stand in an app's config."""
    return Config.read({PREFIX + name.upper(): value for name, value in values.items()}, {})


def test_every_key_is_tried_with_wrong_values() -> None:
    """No key of the extension is missing in the table above."""
    assert WRONG.keys() == FIELDS.keys()


@pytest.mark.parametrize(("name", "value"), wrong_values())
def test_wrong_value_raises_and_names_its_key(name: str, value: object) -> None:
    """A value that its key does not take is an error: the key, the value, what it must be."""
    key = PREFIX + name.upper()
    expected = FIELDS[name].metadata["expected"]

    with pytest.raises(ConfigError) as raised:
        read(**{name: value})

    assert str(raised.value) == f"{key} is {value!r}. It must be {expected}."


@pytest.mark.parametrize(
    ("name", "value", "taken"),
    [
        ("broker_url", "memory://", "memory://"),
        ("broker_url", "redis://:secret@host:6379/0?x=1", "redis://:secret@host:6379/0?x=1"),
        ("broker_url", "rediss://host", "rediss://host"),
        ("broker_url", "unix:///run/redis.sock", "unix:///run/redis.sock"),
        ("url_prefix", "/live/v1.0_a-b", "/live/v1.0_a-b"),
        ("base_url", "https://example.org", "https://example.org"),
        ("base_url", "http://example.org:8000/app/", "http://example.org:8000/app"),
        ("htmx", 4, 4),
        ("htmx", "4", 4),
        ("htmx", "2", 2),
        ("origins", "https://a.org http://b.org:81", ("https://a.org", "http://b.org:81")),
        ("origins", ["https://a.org"], ("https://a.org",)),
        ("origins", "", ()),
        ("origins", [], ()),
        ("history", 0, 0),
        ("history", "500", 500),
        ("history", 500.0, 500),
        ("history_ttl", 1, 1.0),
        ("history_ttl", "1.5", 1.5),
        ("debounce", 0, 0.0),
        ("render_timeout", 0.01, 0.01),
        ("heartbeat", 0.1, 0.1),
        ("pending_bytes", 1024, 1024),
        ("max_query", "256", 256),
        ("max_per_browser", 1, 1),
        ("direct", "0", False),
        ("direct", 0, False),
        ("direct", False, False),
        ("direct", "1", True),
        ("browser_cookie", "", ""),
        ("browser_cookie", "my-cookie_1", "my-cookie_1"),
        ("redis_prefix", "my.app:sse-1", "my.app:sse-1"),
    ],
)
def test_value_is_read_into_its_type(name: str, value: object, taken: object) -> None:
    """What a key takes is normalised once: text to numbers, lists to tuples, URLs without end."""
    config = read(**{name: value})

    assert getattr(config, name) == taken
    assert type(getattr(config, name)) is type(taken)


def test_defaults_are_used_where_nothing_is_set() -> None:
    """Without settings, or with None, every key has its default."""
    unset = Config.read({}, {})
    nothing = read(**dict.fromkeys(FIELDS))

    assert unset == nothing == Config()
    assert (unset.broker_url, unset.url_prefix, unset.base_url) == ("memory://", "/sse", None)
    assert (unset.htmx, unset.history, unset.history_ttl) == (2, 256, 300.0)
    assert (unset.debounce, unset.heartbeat, unset.probe) == (0.1, 15.0, 5.0)


def test_defaults_are_values_that_their_keys_take() -> None:
    """Each default, written into the config, is read as itself."""
    defaults = dataclasses.asdict(Config())

    assert read(**defaults) == Config()


def test_environment_is_read_where_the_config_is_silent() -> None:
    """A key that the app's config does not have comes from the environment, as text."""
    environ = {
        "QUART_SSE_HISTORY": "7",
        "QUART_SSE_DEBOUNCE": "0.5",
        "QUART_SSE_ORIGINS": "https://a.org https://b.org",
        "PATH": "/bin",
    }

    config = Config.read({"DEBUG": True}, environ)

    assert config == Config(history=7, debounce=0.5, origins=("https://a.org", "https://b.org"))


def test_config_beats_the_environment() -> None:
    """A value in the app's config is used although the environment has another."""
    environ = {"QUART_SSE_HISTORY": "7", "QUART_SSE_HTMX": "4"}

    config = Config.read({"QUART_SSE_HISTORY": 9}, environ)

    assert config == Config(history=9, htmx=4)


def test_wrong_value_in_the_environment_raises() -> None:
    """The environment is checked as the config is."""
    with pytest.raises(ConfigError, match="QUART_SSE_HISTORY is 'many'"):
        Config.read({}, {"QUART_SSE_HISTORY": "many"})


def test_misspelt_key_is_answered_by_the_nearest_one() -> None:
    """One letter is enough to lose an evening."""
    with pytest.raises(ConfigError) as raised:
        Config.read({"QUART_SSE_HISTROY": 5}, {})

    assert str(raised.value) == (
        "QUART_SSE_HISTROY is 5. It must be removed, for there is no such key. "
        "Did you mean QUART_SSE_HISTORY?"
    )


def test_key_that_is_like_none_is_answered_by_all() -> None:
    """A key of another release, or of another extension."""
    with pytest.raises(ConfigError, match="no such key") as raised:
        Config.read({"QUART_SSE_X": 5}, {})

    keys = (PREFIX + field.name.upper() for field in dataclasses.fields(Config))
    assert all(key in str(raised.value) for key in keys)


@pytest.mark.parametrize("key", ["QUART_SSE", "SSE_HISTORY", "QUART_AUTH_MODE", "quart_sse_x"])
def test_keys_of_others_are_left_alone(key: str) -> None:
    """Keys that do not begin with our prefix are none of our business."""
    assert Config.read({key: object()}, {key: "x"}) == Config()


def test_settings_cannot_be_changed_afterwards() -> None:
    """Settings are read once; a later change is an error, for it has no effect."""
    config = Config()

    with pytest.raises(dataclasses.FrozenInstanceError):
        config.history = 5  # type: ignore[misc]  # that is what is tried
